"""An `age` vault opened in this process, with identities, ssh keys and an age plugin."""

from __future__ import annotations

import base64
import hmac
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from filevault.backends.age.backend import AgeBackend
from filevault.backends.age.library import library
from filevault.backends.values import IdentityText
from filevault.errors import LockedError
from tests.conditions.tools import tool
from tests.worlds.file_vault import GivenSecrets, OwnedFolder, parts

pyrage = library()
PLENTY = 1 << 40
_FACTOR = 10  # of scrypt: cheap
_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


class GivenIdentities:
    """A source of age identities that returns given texts and counts the requests."""

    origin = "identities"

    def __init__(self, *texts: bytes | str | IdentityText) -> None:
        self.asked = 0
        self._texts = [
            text
            if isinstance(text, IdentityText)
            else IdentityText(text.encode() if isinstance(text, str) else text, f"identities-{n}")
            for n, text in enumerate(texts, 1)
        ]

    def texts(self) -> list[IdentityText]:
        self.asked += 1
        if not self._texts:
            raise LockedError("there is no identity")
        return self._texts


def pair() -> tuple[str, str]:
    """Return a new x25519 identity and its recipient."""
    identity = pyrage.x25519.Identity.generate()
    return str(identity), str(identity.to_public())


def new_identity(path: Path) -> str:
    """Make an age identity in a file of its own and return its recipient."""
    made = subprocess.run([tool("age-keygen")], capture_output=True, text=True, check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(made.stdout)
    path.chmod(0o600)
    return made.stderr.split()[-1]


def open_store(
    store: Path,
    *texts: bytes | str | IdentityText,
    prefix: tuple[str, ...] = (),
    source: GivenSecrets | None = None,
    environment: dict[str, str] | None = None,
    passage: bool = False,
    identities: GivenIdentities | None = None,
    **more: Any,
) -> AgeBackend:
    """Open an age vault; its store is closed when nothing refers to the vault any more."""
    given = parts(
        OwnedFolder.open(str(store)),
        source or GivenSecrets(),
        prefix=prefix,
        environment=lambda: dict(os.environ) if environment is None else environment,
        identities=lambda: identities or GivenIdentities(*texts),
        other_tools=passage,
        **more,
    )
    return AgeBackend.open(given)


def make_store(path: Path, *recipients: str) -> Path:
    path.mkdir(parents=True)
    (path / ".age-recipients").write_text("".join(f"{line}\n" for line in recipients))
    return path


@cache
def ssh_key(kind: str, passphrase: str = "", *more: str) -> tuple[bytes, str]:
    """Return a private key that ssh-keygen made, and its public line."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "key"
        subprocess.run(
            [
                *(tool("ssh-keygen"), "-q", "-t", kind, "-N", passphrase),
                *("-C", "me@here", "-f", str(path), *more),
            ],
            check=True,
        )
        return path.read_bytes(), path.with_suffix(".pub").read_text().strip()


def age(*arguments: str, given: bytes = b"") -> bytes:
    """Run the age program and return what it prints."""
    done = subprocess.run([tool("age"), *arguments], input=given, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def age_at_terminal(answer: bytes, *arguments: str) -> bytes:
    """Run the age program on a terminal where every question is answered the same."""
    import pty

    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(tool("age"), ["age", *arguments])
    said = b""
    asked = 0
    try:
        while part := os.read(terminal, 4096):
            said += part
            if said.count(b"passphrase") > asked and said.rstrip().endswith(b":"):
                asked = said.count(b"passphrase")
                os.write(terminal, answer + b"\n")
    except OSError:
        pass  # the terminal of a process that has ended
    finally:
        os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, said
    return said


def protect(text: bytes, passphrase: bytes) -> bytes:
    """Encrypt with a passphrase, as age-encryption.org/v1 says, at a low cost."""
    file_key, salt, nonce = os.urandom(16), os.urandom(16), os.urandom(16)
    label = b"age-encryption.org/v1/scrypt"
    wrapping = Scrypt(label + salt, 32, 1 << _FACTOR, 8, 1).derive(passphrase)
    wrapped = ChaCha20Poly1305(wrapping).encrypt(bytes(12), file_key, None)
    header = b"age-encryption.org/v1\n-> scrypt %s %d\n%s\n---" % (
        _unpadded(salt),
        _FACTOR,
        _unpadded(wrapped),
    )
    mac = hmac.digest(_derived(file_key, b"", b"header"), header, "sha256")
    key = ChaCha20Poly1305(_derived(file_key, nonce, b"payload"))
    body = key.encrypt(bytes(11) + b"\x01", text, None)
    return b"%s %s\n%s%s" % (header, _unpadded(mac), nonce, body)


def protect_file(path: Path, passphrase: str) -> None:
    """Protect an identity file; what `init` makes itself takes a second for each use of it."""
    path.write_bytes(protect(path.read_bytes(), passphrase.encode()))


def _unpadded(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")


def _derived(key: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt, info).derive(key)


def bech32(prefix: str, data: bytes) -> str:
    """Encode as BIP 173 says, without its length limit, as age does."""
    bits = int.from_bytes(data, "big") << (-len(data) * 8 % 5)
    count = (len(data) * 8 + 4) // 5
    values = [(bits >> 5 * (count - 1 - n)) & 31 for n in range(count)]
    expanded = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]
    checksum = 1
    for value in [*expanded, *values, 0, 0, 0, 0, 0, 0]:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for n, constant in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            checksum ^= constant if top >> n & 1 else 0
    checksum ^= 1
    values += [checksum >> 5 * (5 - n) & 31 for n in range(6)]
    return f"{prefix}1{''.join(_ALPHABET[value] for value in values)}"


PLUGIN_RECIPIENT = bech32("age1toy", b"toy")
PLUGIN_IDENTITY = bech32("age-plugin-toy-", b"toy").upper()
_PLUGIN = '''#!{python}
"""An age plugin that hides file keys by turning their bits over; it notes that it was run."""
import base64, os, sys
here = os.path.dirname(os.path.abspath(__file__))
open(os.path.join(here, "runs"), "a").write(sys.argv[1] + "\\n")
ask = {ask!r}
source = sys.stdin.buffer
def read():
    words = source.readline().decode().split()[1:]
    body = b""
    while True:
        line = source.readline().strip()
        body += line
        if len(line) < 64:
            return words, base64.b64decode(body + b"=" * (-len(body) % 4))
def send(words, body=b""):
    text = base64.b64encode(body).rstrip(b"=").decode()
    lines = [text[n:n + 64] for n in range(0, len(text), 64)] or [""]
    if len(lines[-1]) == 64:
        lines.append("")
    sys.stdout.write("-> " + " ".join(words) + "\\n" + "\\n".join(lines) + "\\n")
    sys.stdout.flush()
def turned(data):
    return bytes(byte ^ 255 for byte in data)
given = []
while True:
    words, body = read()
    if words[0] == "done":
        break
    given.append((words, body))
allowed = True
if ask:
    send(["request-secret"], b"PIN?")
    words, body = read()
    allowed = words[0] == "ok" and body == b"1234"
if not allowed:
    send(["error", "internal"], b"no PIN")
    read()
elif sys.argv[1] == "--age-plugin=recipient-v1":
    for words, body in given:
        if words[0] == "wrap-file-key":
            send(["recipient-stanza", "0", "toy"], turned(body))
            read()
else:
    for words, body in given:
        if words[0] == "recipient-stanza" and words[2] == "toy":
            send(["file-key", words[1]], turned(body))
            read()
            break
send(["done"])
'''


def install_plugin(folder: Path, *, ask: bool = False) -> Path:
    """Put a plugin named toy into a folder; return the file that counts its runs."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "age-plugin-toy"
    program.write_text(_PLUGIN.format(python=sys.executable, ask=ask))
    program.chmod(0o755)
    return folder / "runs"
