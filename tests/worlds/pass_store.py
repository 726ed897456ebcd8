"""A machine whose vault is a `pass` store, and the gpg home that opens it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.worlds.machine import Machine


class GpgHome:
    """A keyring in a short path: the agent's socket may not be longer than 107 bytes."""

    def __init__(self) -> None:
        self.path = tempfile.mkdtemp(prefix="fvg", dir="/tmp")
        # Protecting a key takes half a second otherwise, and so does each use of it.
        Path(self.path, "gpg-agent.conf").write_text("s2k-count 65536\n")

    def env(self) -> dict[str, str]:
        """Return the variables that lead to it."""
        return {"GNUPGHOME": self.path}

    def make_key(self, name: str, passphrase: str = "") -> str:
        """Make a key that can encrypt and return its fingerprint."""
        argv = ["gpg", "--batch", "--quiet", "--pinentry-mode", "loopback"]
        argv += ["--passphrase-fd", "0", "--quick-gen-key", name, "future-default"]
        self._run([*argv, "default", "never"], passphrase + "\n")
        listing = self._run(["gpg", "--batch", "--with-colons", "--list-keys", f"={name}"])
        return next(row.split(":")[9] for row in listing.splitlines() if row.startswith("fpr"))

    def export_key(self, name: str) -> str:
        """Return the public half of a key."""
        return self._run(["gpg", "--batch", "--armor", "--export", f"={name}"])

    def import_key(self, text: str) -> None:
        """Take in the public half of somebody's key."""
        self._run(["gpg", "--batch", "--quiet", "--import"], text)

    def _run(self, argv: list[str], stdin: str = "") -> str:
        env = {"PATH": os.environ["PATH"], "GNUPGHOME": self.path, "HOME": self.path}
        done = subprocess.run(argv, env=env, input=stdin, text=True, capture_output=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def forget_passphrases(self) -> None:
        """Restart the agent, so that it remembers nothing."""
        self._run(["gpgconf", "--kill", "all"])

    def close(self) -> None:
        """End the agent and delete the keyring."""
        self.forget_passphrases()
        shutil.rmtree(self.path, ignore_errors=True)


def pass_machine(home: Path, gpg: GpgHome) -> Machine:
    """Return a machine that uses a pass store; the store is not made yet."""
    machine = Machine(home)
    machine.env |= {**gpg.env(), "FILEVAULT_BACKEND": "pass"}
    return machine
