"""ssh keys for age: parse public keys, and unlock private keys.

age supports `ssh-ed25519` and `ssh-rsa`, and names a key in a file's header by four bytes of the
SHA-256 of its public blob. A private key file shows that blob without the passphrase, so that
the passphrase is asked for only if the key can decrypt the file.
"""

from __future__ import annotations

import binascii
import re
from typing import TYPE_CHECKING, Any

from filevault.backends.age.library import library
from filevault.errors import FilevaultError, LockedError, ProgramError
from filevault.system.digest import sha256
from filevault.system.installation import install_hint
from filevault.system.printable import printable, shell_word
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filevault.backends.age.age_file import Stanza

ED25519 = "ssh-ed25519"
RSA = "ssh-rsa"
MIN_RSA_BITS = 2048  # below it, the age program ignores the key
_TAG_SIZE = 4
_OPENSSH = b"-----BEGIN OPENSSH PRIVATE KEY-----"
_MAGIC = b"openssh-key-v1\x00"
_MAX_FILE = 64 << 10
_CIPHERS = frozenset(
    {
        *("none", "aes256-ctr", "aes256-cbc", "aes256-gcm@openssh.com"),
        *("DES-EDE3-CBC", "AES-128-CBC", "AES-256-CBC"),
    }
)
"""The ciphers of private keys that cryptography supports: in OpenSSH's form, and in PEM's."""
_USUAL_CIPHER = "aes256-ctr"  # ssh-keygen's own choice
_DEK_INFO = re.compile(rb"^Proc-Type: 4,ENCRYPTED\r?\nDEK-Info: ([^,\s]{1,64})", re.MULTILINE)


class PublicKey(Record):
    """An ssh public key: its type and its blob."""

    type: str
    blob: bytes

    @property
    def line(self) -> str:
        """The two words of a public key line, without a comment."""
        return f"{self.type} {binascii.b2a_base64(self.blob, newline=False).decode('ascii')}"

    @property
    def supported(self) -> bool:
        """Whether age can encrypt to it."""
        if self.type == RSA:
            return _rsa_bits(self.blob) >= MIN_RSA_BITS
        return self.type == ED25519

    @property
    def tag(self) -> str:
        """The tag that names it in the header of a file."""
        digest = sha256(self.blob)[:_TAG_SIZE]
        return binascii.b2a_base64(digest, newline=False).rstrip(b"=").decode("ascii")

    def fits(self, stanzas: Sequence[Stanza]) -> bool:
        """Return whether one of a file's stanzas is for this key."""
        return any(
            stanza.type == self.type and stanza.args[:1] == (self.tag,) for stanza in stanzas
        )


class PrivateKey(Record):
    """An unlocked key: pyrage's identity, and the public key."""

    _secret = ("identity",)

    identity: Any
    public: PublicKey


def public_key(line: str) -> PublicKey | None:
    """Return the key of a public key line, None for an invalid line; a comment may follow."""
    words = re.split(r"[ \t]+", line, maxsplit=2)
    if len(words) < 2:
        return None
    try:
        blob = binascii.a2b_base64(words[1].encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    key_type, _ = _string(blob, 0)
    if key_type is None or key_type != words[0].encode("ascii", "replace"):
        return None
    # Keys of a type that age ignores are not checked further.
    sizes = [len(part) for part in _strings(blob)]
    if words[0] == ED25519 and sizes[1:] != [32]:
        return None
    if words[0] == RSA and len(sizes) != 3:
        return None
    return PublicKey(words[0], blob)


def is_private(data: bytes) -> bool:
    """Return whether a text is a PEM file, as private keys are."""
    return data.startswith(b"-----BEGIN ")


def visible_public(data: bytes) -> PublicKey | None:
    """Return the public key in an OpenSSH private key, None for other formats."""
    blob = _openssh_blob(data)
    position = len(_MAGIC)
    for _ in range(3):  # cipher, KDF, its options
        text, position = _string(blob, position)
        if text is None:
            return None
    found, _ = _string(blob, position + 4)
    if found is None:
        return None
    key_type, _ = _string(found, 0)
    return None if key_type is None else PublicKey(key_type.decode("ascii", "replace"), found)


def _openssh_blob(data: bytes) -> bytes:
    """Return the data in the armor of an OpenSSH private key, b"" for other formats."""
    if not data.startswith(_OPENSSH):
        return b""
    inner = data.partition(b"\n")[2].partition(b"-----END")[0]
    try:
        blob = binascii.a2b_base64(b"".join(inner.split()))
    except binascii.Error:
        return b""
    return blob if blob.startswith(_MAGIC) else b""


def is_protected(data: bytes, what: str) -> bool:
    """Return whether a private key needs a passphrase. Raises LockedError for an invalid one."""
    try:
        _load(data, None, what)
    except TypeError:
        return True
    return False


def unlock(data: bytes, passphrase: bytes | None, what: str) -> PrivateKey | None:
    """Return a private key, None if the passphrase is wrong.

    It is re-encoded in memory without a passphrase, in the only form that pyrage reads.

    Raises:
        LockedError: for a key that age cannot use.
        ProgramError: if pyrage or bcrypt is not installed.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives import serialization

    try:
        key = _load(data, passphrase, what)
    except (ValueError, InvalidTag):  # the latter from an authenticating cipher
        return None
    try:
        text = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        )
    except ValueError as error:
        raise _unusable(what) from error
    public = visible_public(text)
    age = library()
    try:
        identity = age.ssh.Identity.from_buffer(text)
    except age.IdentityError as error:
        raise _unusable(what) from error
    if public is None or public.type not in (ED25519, RSA):
        raise _unusable(what)
    return PrivateKey(identity, public)


def _load(data: bytes, passphrase: bytes | None, what: str) -> Any:  # noqa: ANN401
    """Return cryptography's private key.

    Raises TypeError if a passphrase is needed and not given, ValueError if it is wrong.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    load = (
        serialization.load_ssh_private_key
        if data.startswith(_OPENSSH)
        else serialization.load_pem_private_key
    )
    if len(data) > _MAX_FILE:
        raise _unusable(what)
    _refuse_cipher(data, what)
    try:
        return load(data, passphrase)
    except UnsupportedAlgorithm as error:
        if "bcrypt" in str(error).lower():
            raise ProgramError(
                f"{what} has a passphrase, and the Python package bcrypt, which opens it, is "
                "not installed",
                hint=install_hint("bcrypt"),
            ) from error
        raise _unusable(what) from error
    except ValueError:
        if passphrase is not None:
            raise
        raise _unusable(what) from None  # the library's text may quote the key


def _refuse_cipher(data: bytes, what: str) -> None:
    """Raise LockedError for an unsupported cipher.

    The library reports some of them as a wrong passphrase.
    """
    found = re.search(_DEK_INFO, data)
    blob = _openssh_blob(data)
    cipher = found[1] if found else _string(blob, len(_MAGIC))[0] if blob else None
    name = (cipher or b"none").decode("latin-1")
    if name in _CIPHERS:
        return
    file = shell_word(what) if what.startswith("/") else "FILE, the key's,"
    raise LockedError(
        f"{what} is encrypted with the cipher {printable(name, 40)} that is not read here",
        hint=f"ssh-keygen -p -Z {_USUAL_CIPHER} -f {file} encrypts it with another one",
    )


def _unusable(what: str) -> FilevaultError:
    return LockedError(
        f"{what} is not a private key that age can use",
        hint=f"age uses {ED25519} and {RSA} keys of {MIN_RSA_BITS} to 4096 bits",
    )


def _string(data: bytes, position: int) -> tuple[bytes | None, int]:
    """Return a length-prefixed string (RFC 4251 §5) and its end, None if it is truncated."""
    start = position + 4
    end = start + int.from_bytes(data[position:start], "big")
    if start > len(data) or end > len(data):
        return None, position
    return data[start:end], end


def _strings(data: bytes) -> list[bytes]:
    """Return the strings that a blob consists of, none if it is malformed."""
    found = []
    position = 0
    while position < len(data):
        part, position = _string(data, position)
        if part is None:
            return []
        found.append(part)
    return found


def _rsa_bits(blob: bytes) -> int:
    return int.from_bytes(_strings(blob)[-1], "big").bit_length()
