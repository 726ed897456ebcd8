"""A machine with two keys in a vault of any backend, whose commands meet injected faults."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filevault.backends.age.library import library
from filevault.backends.protocols import SealedBackend
from filevault.credentials import AccessKey
from filevault.system.files import Folder
from filevault.vault.item import parse
from filevault.vault.trust import Trust
from tests.conditions.tools import tool
from tests.faults.harness import HarnessCommand, Snapshot, survey
from tests.faults.scenarios import NOW, ONE, SECRETS, TEMPORARY, TWO, adding
from tests.samples import ANN, JON
from tests.worlds.file_vault import KnownPassphrase, opened
from tests.worlds.machine import PASSPHRASE, Machine
from tests.worlds.pass_store import GpgHome

KINDS = ("file", "pass", "age")
BOTH = {"one": ONE, "team/two": TWO}
_SUFFIXES = {"file": ".fv", "pass": ".gpg", "age": ".age"}


@contextmanager
def keyring() -> Iterator[GpgHome]:
    """Jon's gpg home, with Ann's key in it."""
    tool("gpg")
    home = GpgHome()
    for name in (JON, ANN):
        home.make_key(name)
    yield home
    home.close()


class FaultStore:
    """A machine for a vault of one backend, which `make` makes; it is read without filevault."""

    def __init__(self, kind: str, machine: Machine, gpg: GpgHome) -> None:
        self.kind, self.machine, self.gpg = kind, machine, gpg
        self.suffix = _SUFFIXES[kind]
        self.identities = machine.home / ".config/filevault/identities"
        self.words: tuple[str, ...] = ()
        self._opened: dict[bytes, AccessKey] = {}
        self._backend: SealedBackend | None = None
        machine.env["FILEVAULT_BACKEND"] = kind
        machine.freeze(NOW)
        self.root = machine.vault
        self.recipients = self.root / ".age-recipients"
        if kind == "pass":
            machine.env |= gpg.env()
            self.root = machine.home / ".password-store/aws"
            self.recipients = self.root.parent / ".gpg-id"
            self.words = ("--recipient", JON)
        elif kind == "age":
            tool("age")
            self.words = ("--no-passphrase",)
        else:
            machine.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE

    def make(self) -> FaultStore:
        """Make the vault and store both keys."""
        self.run(
            HarnessCommand(("init", *self.words)),
            adding("one", ONE, "--no-config"),
            adding("team/two", TWO, "--no-config"),
        )
        return self

    def run(self, *commands: HarnessCommand) -> None:
        """Run commands and require success."""
        for command in commands:
            made = survey(command, self.machine)
            assert made.status == 0, (command.argv, made)

    def holds(self, path: str) -> bool:
        """Tell whether a path below the home is that of an item."""
        return (self.machine.home / path).is_relative_to(self.root) and path.endswith(self.suffix)

    def items(self) -> dict[str, Path]:
        """Return the file of every item by its name."""
        return {
            str(path.relative_to(self.root))[: -len(self.suffix)]: path
            for path in sorted(self.root.rglob(f"*{self.suffix}"))
            if ".filevault" not in path.relative_to(self.root).parts
        }

    def read(self) -> dict[str, AccessKey]:
        """Open every item; what was opened before is known by its bytes."""
        found = {}
        for name, path in self.items().items():
            data = path.read_bytes()
            if data not in self._opened:
                self._opened[data] = parse(self._open(name, path, data), name).key
            found[name] = self._opened[data]
        return found

    def _open(self, name: str, path: Path, data: bytes) -> bytes:
        if self.kind == "file":
            if self._backend is None:
                root = Folder.open(str(self.root))
                self._backend = opened(root, KnownPassphrase())
                self._backend.unlock()
            return self._backend.decrypt("credentials", name, data)
        argv = [tool("age"), "-d", "-i", str(self.identities), str(path)]
        if self.kind == "pass":
            argv = [tool("gpg"), "--batch", "--quiet", "--homedir", self.gpg.path, "-d", str(path)]
        return subprocess.run(argv, capture_output=True, check=True).stdout

    def opens_with(self, identity: str) -> set[str]:
        """Return the items that an age identity opens, or that two gpg keys do."""
        found = set()
        for name, path in self.items().items():
            if self.kind == "age":
                pyrage = library()
                one = pyrage.x25519.Identity.from_str(identity)
                try:
                    pyrage.decrypt(path.read_bytes(), [one])
                except pyrage.DecryptError:
                    continue
                found.add(name)
            else:
                words = ("--batch", "--list-only", "--list-packets", str(path))
                argv = [tool("gpg"), "--homedir", self.gpg.path, *words]
                packets = subprocess.run(argv, capture_output=True, check=True)
                if (packets.stdout + packets.stderr).count(b"pubkey enc packet") == 2:
                    found.add(name)
        return found

    def trust(self) -> Trust | None:
        """Return what this machine remembers of the vault."""
        for path in self.machine.state.glob("*/trust.json"):
            with Folder.open(str(path.parent)) as state:
                return Trust(state)
        return None

    def check_whole(self, *, leftovers: bool) -> None:
        """Require that nothing is torn, foreign or open to others."""
        for name, (mode, data) in Snapshot.take(self.machine.home).entries.items():
            if data is None:
                continue
            if TEMPORARY.fullmatch(name.rpartition("/")[2]):
                assert leftovers, f"{name} is left"
            if name.startswith((".local", ".password-store")) and "/.git/" not in name:
                assert mode == 0o600, (name, oct(mode))
            for secret in SECRETS:
                assert secret.encode() not in data, f"{name} holds a secret"
        self.trust()

    def git(self, *words: str) -> str:
        """Run git in the vault's repository and return what it prints."""
        top = self.root.parent if self.kind == "pass" else self.root
        argv = [tool("git"), "-C", str(top), *words]
        env = self.machine.environment({"LAUNCH": None})
        return subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout
