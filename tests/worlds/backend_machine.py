"""A machine with a vault of any backend, for tests of what every command does alike on each."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from filevault.backends import BACKENDS
from filevault.backends.item_header import ItemHeader
from tests.conditions.tools import tool
from tests.samples import ANN, JON, KEY_ID, SECRET, ZOE
from tests.worlds import file_vault
from tests.worlds.age_store import new_identity
from tests.worlds.in_process import InProcess
from tests.worlds.machine import PASSPHRASE, Machine
from tests.worlds.other_programs import OtherPrograms, commit_identity
from tests.worlds.pass_store import GpgHome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filevault.backends.protocols import OpenBackend

KINDS = ("file", "pass", "age")
WHEN = "2026-11-23T21:45:13Z"


class GpgHomes:
    """The gpg homes of a test module: Jon's with Ann's key in it, a stranger's, an empty one.

    Of Zoe's key Jon's home has the public half alone.
    """

    def __init__(self) -> None:
        tool("gpg")
        self.jon = GpgHome()
        self.stranger = GpgHome()
        self.empty = GpgHome()
        self.fingerprints = {name: self.jon.make_key(name) for name in (JON, ANN)}
        self.stranger.make_key("eve@example.com")
        self.fingerprints[ZOE] = self.stranger.make_key(ZOE)
        self.jon.import_key(self.stranger.export_key(ZOE))

    def close(self) -> None:
        for home in (self.jon, self.stranger, self.empty):
            home.close()


def _kind(name: str) -> str:
    return "totp" if name.startswith("mfa/") else "credentials"


class BackendMachine:
    """A machine with an empty vault of one backend, and access to its items without filevault.

    `missing` and `wrong` are variables with which nothing, or the wrong thing, is there to
    unlock the vault.
    """

    def __init__(self, kind: str, home: Path, keyrings: GpgHomes | None = None) -> None:
        self.kind = kind
        self.suffix = BACKENDS[kind].suffix
        self.machine = machine = Machine(home)
        self.tools = OtherPrograms(machine)
        self.missing: Mapping[str, str | None]
        self.wrong: Mapping[str, str | None]
        commit_identity(machine)
        if kind == "file":
            machine.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
            self.inside("init")
            self.store = self.root = machine.vault
            self.missing = {"FILEVAULT_PASSPHRASE": None}
            self.wrong = {"FILEVAULT_PASSPHRASE": "this is not the passphrase"}
        elif kind == "pass":
            assert keyrings is not None
            machine.env |= {"FILEVAULT_BACKEND": "pass", **keyrings.jon.env()}
            self.inside("init", "--recipient", JON)
            self.store = home / ".password-store"
            self.root = self.store / "aws"
            self.missing = keyrings.empty.env()
            self.wrong = keyrings.stranger.env()
        else:
            machine.env["FILEVAULT_BACKEND"] = "age"
            self.inside("init", "--no-passphrase")
            self.store = self.root = machine.vault
            new_identity(home / "stranger")
            self.missing = {"XDG_CONFIG_HOME": str(home / "nothing")}
            self.wrong = {"FILEVAULT_AGE_IDENTITY_FILE": str(home / "stranger")}
            self.identities = home / ".config/filevault/identities"

    def inside(self, *argv: str, **env: str) -> None:
        """Run filevault in this process, to prepare what a test is about in less time."""
        ended = InProcess({**self.machine.env, **env}).run(*argv)
        assert ended.status == 0, (argv, ended)

    def add(self, name: str) -> None:
        """Store KEY_ID under a name, in the same way."""
        key = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET}
        self.inside("add", name, "--env", "--no-config", **key)

    def path(self, name: str) -> Path:
        """Return the file of an item whose name needs no escaping."""
        return self.root / f"{name}{self.suffix}"

    def entry(self, name: str) -> str:
        """Return what the history calls an item."""
        return str((self.root / name).relative_to(self.store))

    def show(self, name: str) -> bytes:
        """Return an item's text as gpg or age decrypts it; for `file` as the backend does."""
        file = str(self.path(name))
        if self.kind == "file":
            return self._backend().decrypt(_kind(name), name, self.path(name).read_bytes())
        if self.kind == "pass":
            return self._output("gpg", "--batch", "--quiet", "-d", file)
        return self._output(tool("age"), "-d", "-i", str(self.identities), file)

    def _output(self, *argv: str) -> bytes:
        env = self.machine.environment({"LAUNCH": None})
        done = subprocess.run(argv, env=env, stdout=subprocess.PIPE, check=True)
        return bytes(done.stdout)

    def put(self, name: str, text: bytes) -> None:
        """Put an item with any text into the vault, past filevault's commands."""
        path = self.path(name)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.kind == "file":
            kind = _kind(name)
            header = ItemHeader(kind, name, 1, WHEN, "add" if kind == "credentials" else None)
            path.write_bytes(self._backend().encrypt(header, text))
            return
        clear = self.machine.home / "clear"
        clear.write_bytes(text)
        argv: tuple[str, ...] = ("gpg", "--batch", "--quiet", "--yes", "-e", "-r", JON)
        if self.kind == "age":
            argv = (tool("age"), "-e", "-R", str(self.store / ".age-recipients"))
        self.tools.run(*argv, "-o", str(path), str(clear))
        clear.unlink()

    def _backend(self) -> OpenBackend:
        return file_vault.reopen(self.root, file_vault.GivenSecrets(PASSPHRASE.encode()))

    def snapshot(self) -> dict[str, bytes]:
        """Return every file of the store outside of `.git`."""
        return {
            str(path.relative_to(self.store)): path.read_bytes()
            for path in sorted(self.store.rglob("*"))
            if path.is_file() and ".git" not in path.relative_to(self.store).parts
        }
