"""A team's vault, `pass` or `age`, whose recipients a test changes."""

from __future__ import annotations

import json
from pathlib import Path

from tests.conditions.tools import tool
from tests.samples import ANN, JON, KEY_ID, SECRET, ZOE
from tests.worlds.age_store import ssh_key
from tests.worlds.backend_machine import GpgHomes
from tests.worlds.in_process import InProcess
from tests.worlds.machine import Machine, ProcessResult
from tests.worlds.other_programs import OtherPrograms, commit_identity
from tests.worlds.pass_store import pass_machine

ADD = ("--stdin", "--no-config")
NAMES = ("one", "team/two", "three")


class Team:
    """A vault of Jon's with three items and a repository; Ann is to be let in.

    The recipients of an age vault are ssh keys here: only for those a file says whom it is for.
    `zoe` is somebody whose secret key is not here.
    """

    def __init__(self, kind: str, home: Path, keyrings: GpgHomes) -> None:
        self.kind = kind
        if kind == "pass":
            self.machine = pass_machine(home, keyrings.jon)
            self.jon, self.ann, self.zoe = (keyrings.fingerprints[n] for n in (JON, ANN, ZOE))
            self.store, self.file = home / ".password-store", ".gpg-id"
            self.root = self.store / "aws"
        else:
            tool("age")
            self.machine = Machine(home)
            key, self.jon = ssh_key("ed25519")
            self.ann = ssh_key("ed25519", "", "-b", "256")[1]
            self.jon, self.ann, self.zoe = (
                " ".join(line.split()[:2])
                for line in (self.jon, self.ann, ssh_key("ed25519", "", "-C", "zoe")[1])
            )
            (home / "key").write_bytes(key)
            (home / "key").chmod(0o600)
            self.machine.env |= {
                "FILEVAULT_BACKEND": "age",
                "FILEVAULT_AGE_IDENTITY_FILE": str(home / "key"),
            }
            self.store, self.file = self.machine.vault, ".age-recipients"
            self.root = self.store
        self.suffix = ".gpg" if kind == "pass" else ".age"
        commit_identity(self.machine)
        stored = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET}
        inside = InProcess({**self.machine.env, **stored})  # in this process, to save time
        assert inside.run("init", "--recipient", self.jon).status == 0
        for name in NAMES:
            assert inside.run("add", name, "--env", "--no-config").status == 0
        if kind == "pass":
            (self.store / ".gpg-id").rename(self.root / ".gpg-id")  # the prefix is all we have
            self.file = "aws/.gpg-id"
            self.machine.ok("recipients", "accept")
        self.machine.ok("git", "init", "--quiet")

    @property
    def recipients(self) -> list[str]:
        return (self.store / self.file).read_text().splitlines()

    def path(self, name: str) -> Path:
        return self.root / f"{name}{self.suffix}"

    def whom(self, name: str) -> int:
        """Count whom an item is encrypted to."""
        data = self.path(name).read_bytes()
        if self.kind == "age":
            return data.partition(b"\n---")[0].count(b"\n-> ssh-ed25519 ")
        words = ("gpg", "--batch", "--list-only", "--list-packets", str(self.path(name)))
        listing = OtherPrograms(self.machine).run(*words)
        return (listing.out + listing.err).count("pubkey enc packet")

    def write_recipients(self, *recipients: str, folder: str = "") -> Path:
        """Write a recipients file as another member does, or their editor."""
        path = self.root / folder / Path(self.file).name
        path.write_text("".join(f"{each}\n" for each in recipients))
        return path

    def encrypt(self, name: str, *recipients: str) -> None:
        """Encrypt the key to somebody with gpg or age."""
        text = f"{SECRET}\naws_access_key_id: {KEY_ID}\n"
        words = [word for each in recipients for word in ("-r", each)]
        gpg = ("gpg", "--batch", "--yes", "--quiet", "--trust-model", "always")
        argv = (*gpg, "-e", *words) if self.kind == "pass" else ("age", *words)
        OtherPrograms(self.machine).run(*argv, "-o", str(self.path(name)), stdin=text)

    def noted(self) -> dict[str, object]:
        """Return what is remembered of a change that is not finished."""
        (trust,) = self.machine.state.glob("*/trust.json")
        content = json.loads(trust.read_bytes())
        return {key: content[key] for key in ("pending", "unfinished", "writing") if key in content}

    def subjects(self) -> list[str]:
        """Return the subjects of the commits that filevault made."""
        return self.machine.ok("git", "log", "--format=%s").out.splitlines()

    def files(self) -> dict[str, tuple[bytes, int]]:
        return {n: (self.path(n).read_bytes(), self.path(n).stat().st_ino) for n in NAMES}

    def clean(self) -> bool:
        return self.machine.ok("git", "status", "--porcelain").out == ""


def refused(result: ProcessResult, status: int, *texts: str) -> None:
    assert (result.status, result.out) == (status, ""), result
    assert len(result.err.splitlines()) <= 2, result.err
    for text in texts:
        assert text in result.err
