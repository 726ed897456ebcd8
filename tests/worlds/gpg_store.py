"""A `pass` store opened in this process, with a copied gpg home that has every sort of key.

Keys are made once in a run; each test gets a copy of that home, with an agent of its own that is
ended. Paths are short: the agent's socket lies there.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from filevault.backends.gpg.backend import GpgBackend
from filevault.system.files import Folder
from tests.conditions.tools import tool
from tests.worlds.file_vault import GivenSecrets, SameAnswer, parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from filevault.backends.protocols import SecretSource

PASSPHRASE = "pässwörd with blanks".encode()
_PAST = ("--faked-system-time", "20200101T000000")


class CopiedGpgHome:
    """A GNUPGHOME."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": str(self.path),
            "GNUPGHOME": str(self.path),
            "LC_ALL": "C.UTF-8",
        }

    def gpg(
        self, *arguments: str, data: bytes = b"", check: bool = True
    ) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            [tool("gpg"), "--batch", "--yes", "--quiet", "--no-tty", *arguments],
            input=data,
            capture_output=True,
            env=self.environment,
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    def make_key(self, user_id: str, passphrase: bytes = b"", *options: str) -> str:
        expiry = "1d" if options == _PAST else "never"
        self.gpg(
            *options,
            *("--pinentry-mode", "loopback", "--passphrase-fd", "0"),
            *("--quick-gen-key", user_id, "future-default", "default", expiry),
            data=passphrase + b"\n",
        )
        return self.fingerprint(user_id)

    def fingerprint(self, user_id: str) -> str:
        return self.fingerprints(user_id)[0]

    def fingerprints(self, user_id: str) -> list[str]:
        """Fingerprints of a key and of its subkeys."""
        listing = self.gpg("--list-keys", "--with-colons", f"={user_id}").stdout.decode()
        return [line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:")]

    def encrypt(self, data: bytes, *recipients: str, options: Sequence[str] = ()) -> bytes:
        names = [word for recipient in recipients for word in ("-r", recipient)]
        return self.gpg("--trust-model", "always", *options, "-e", *names, data=data).stdout

    def forget_secret(self, user_id: str) -> None:
        listing = self.gpg("--list-keys", "--with-colons", "--with-keygrip", f"={user_id}").stdout
        for line in listing.decode().splitlines():
            if line.startswith("grp:"):
                (self.path / "private-keys-v1.d" / f"{line.split(':')[9]}.key").unlink()

    def revoke(self, fingerprint: str) -> None:
        """Revoke a key that was made in this very home."""
        certificate = self.path / "openpgp-revocs.d" / f"{fingerprint}.rev"
        text = certificate.read_text().replace(":-----BEGIN", "-----BEGIN")
        self.gpg("--import", data=text.encode())

    def kill_agent(self) -> None:
        subprocess.run(
            [tool("gpgconf"), "--kill", "all"], env=self.environment, capture_output=True
        )

    def configure_agent(self, *lines: str) -> None:
        self.kill_agent()
        (self.path / "gpg-agent.conf").write_text("".join(f"{line}\n" for line in lines))


class GpgStore:
    """A store, the gpg home that opens it, and the `pass` backend."""

    def __init__(self, home: CopiedGpgHome, store: Path, keys: dict[str, str]) -> None:
        self.home = home
        self.store = store
        self.keys = keys
        self.environment = home.environment
        self.notes: list[str] = []
        self._folders: list[Folder] = []

    def write_ids(self, *names: str, folder: str = "") -> None:
        """Write a .gpg-id; names of keys stand for their fingerprints."""
        place = self.store / folder
        place.mkdir(parents=True, exist_ok=True)
        (place / ".gpg-id").write_text("".join(f"{self.keys.get(n, n)}\n" for n in names))

    def backend(
        self,
        prefix: tuple[str, ...] = (),
        *,
        passphrase: SecretSource | None = None,
        terminal: bool = False,
        trusted: Sequence[str] = (),
        timeout: float = 60,
        asked: Callable[[], None] = lambda: None,
        **variables: str,
    ) -> GpgBackend:
        folder = Folder.open(str(self.store))
        self._folders.append(folder)
        given = parts(
            folder,
            GivenSecrets(),
            prefix=prefix,
            environment=lambda: {**self.environment, **variables},
            named_secrets=lambda _request: passphrase,
            person=(lambda: SameAnswer("")) if terminal else None,
            pinned_recipients=lambda: trusted,
            warn=self.notes.append,
            on_asked=asked,
        )
        return GpgBackend.open(given, timeout=timeout)

    def run_pass(
        self, *arguments: str, data: bytes = b"", **variables: str
    ) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            [tool("pass"), *arguments],
            input=data,
            capture_output=True,
            env={**self.environment, "PASSWORD_STORE_DIR": str(self.store), **variables},
        )
        assert done.returncode == 0, done.stderr
        return done

    def close(self) -> None:
        for folder in self._folders:
            folder.close()


@functools.cache
def _base() -> tuple[CopiedGpgHome, dict[str, str]]:
    home = CopiedGpgHome(Path(tempfile.mkdtemp(prefix="fvg", dir="/tmp")))
    atexit.register(shutil.rmtree, home.path, ignore_errors=True)
    # Protecting a key takes half a second otherwise, and so does each use of it.
    (home.path / "gpg-agent.conf").write_text("s2k-count 65536\n")
    keys = {
        "alice": home.make_key("Alice Liddell <alice@example.com>"),
        "bob": home.make_key("Bob <bob@example.com>"),
        "jbob": home.make_key("J. Bob <jbob@example.com>"),
        "locked": home.make_key("Locked <locked@example.com>", PASSPHRASE),
        "expired": home.make_key("Old <old@example.com>", b"", *_PAST),
        "revoked": home.make_key("Gone <gone@example.com>"),
        "disabled": home.make_key("Off <off@example.com>"),
    }
    home.revoke(keys["revoked"])
    home.gpg("--command-fd", "0", "--edit-key", keys["disabled"], data=b"disable\nsave\n")
    home.kill_agent()
    return home, keys


@pytest.fixture
def gpg_store(tmp_path: Path) -> Iterator[GpgStore]:
    """An empty store, and a home with every key and no agent running."""
    tool("gpg")
    base, keys = _base()
    path = Path(tempfile.mkdtemp(prefix="fvg", dir="/tmp"))
    for entry in ("pubring.kbx", "trustdb.gpg", "gpg-agent.conf"):
        shutil.copy(base.path / entry, path / entry)
    shutil.copytree(base.path / "private-keys-v1.d", path / "private-keys-v1.d")
    store = tmp_path / "store"
    store.mkdir()
    made = GpgStore(CopiedGpgHome(path), store, dict(keys))
    yield made
    made.close()
    made.home.kill_agent()
    shutil.rmtree(path, ignore_errors=True)
