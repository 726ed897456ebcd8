"""Parse identity texts: the secret keys that decrypt age files.

A text is a list of age identities in lines, an OpenSSH private key, or a protected identity file:
an age file, encrypted with a passphrase, that has identities in lines. Nothing is asked. Unusable
parts are kept as problems, which are reported only if nothing else decrypts a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from filevault.backends import kdf
from filevault.backends.age import age_file, ssh_keys
from filevault.backends.age.library import library, said
from filevault.errors import DamagedError, FilevaultError, LockedError
from filevault.system.digest import sha256_hex
from filevault.system.printable import printable
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from filevault.backends.age.age_file import AgeFile, Stanza
    from filevault.backends.age.ssh_keys import PublicKey
    from filevault.backends.values import IdentityText

_X25519 = "AGE-SECRET-KEY-1"
_POST_QUANTUM = "AGE-SECRET-KEY-PQ-1"
_PLUGIN = "AGE-PLUGIN-"
_MAX_IDENTITIES = 1000


class AgeKey(Record):
    """An identity that is ready for use, with its recipient."""

    _secret = ("identity",)

    identity: Any
    recipient: str
    origin: str


class PluginIdentity(Record):
    """An identity that only a plugin can use."""

    _secret = ("identity",)

    identity: Any
    plugin: str
    origin: str


class LockedSshKey(Record):
    """An ssh private key with a passphrase. `public` is None if the file does not show it."""

    _secret = ("data",)

    data: bytes
    public: PublicKey | None
    origin: str

    def may_open(self, stanzas: Sequence[Stanza]) -> bool:
        """Return whether it could decrypt a file with these stanzas."""
        if self.public is None:
            return any(stanza.type == ssh_keys.RSA for stanza in stanzas)
        return self.public.fits(stanzas)

    def open(self, passphrase: bytes) -> ParsedIdentities | None:
        """Return the key, None if the passphrase is wrong. Raises as `ssh_keys.unlock`."""
        what = printable(self.origin)
        key = ssh_keys.unlock(self.data, passphrase, what)
        if key is None:
            return None
        return ParsedIdentities((AgeKey(key.identity, key.public.line, self.origin),))


class LockedFile(Record):
    """A protected identity file, its costs within bounds."""

    file: AgeFile
    origin: str

    @property
    def digest(self) -> str:
        """SHA-256 of the file as hex, which identifies it once it was decrypted."""
        return sha256_hex(self.file.data)

    def may_open(self, stanzas: Sequence[Stanza]) -> bool:
        """Return True: its recipients are unknown until it is decrypted."""
        return bool(stanzas)

    def open(self, passphrase: bytes) -> ParsedIdentities | None:
        """Return its identities, None if the passphrase is wrong. Raises as `decrypt`."""
        data = self.decrypt(passphrase)
        return None if data is None else parse_plain(data, self.origin)

    def decrypt(self, passphrase: bytes) -> bytes | None:
        """Return its text, None if the passphrase is wrong.

        Raises DamagedError if the passphrase is right and the file damaged, LockedError for a
        passphrase that is not UTF-8 and for a cost that the library refuses.
        """
        age = library()
        what = printable(self.origin)
        try:
            text = passphrase.decode("utf-8")
        except UnicodeDecodeError:
            raise LockedError(f"the passphrase for {what} is not UTF-8") from None
        try:
            return bytes(age.passphrase.decrypt(self.file.data, text))
        except age.DecryptError as error:
            reason = said(error)
            if reason == "Decryption failed":
                return None
            if reason.startswith("Excessive work"):
                raise LockedError(
                    f"{what} asks for more work than this machine does in a reasonable time",
                    hint="encrypt it again with a cheaper one: age -d FILE | age -p > NEW",
                ) from error
            raise DamagedError(f"{what} is damaged: {reason}") from error


Locked = LockedSshKey | LockedFile


class ParsedIdentities(Record):
    """The content of a text: ready keys, plugins' identities, locked ones, and errors."""

    keys: tuple[AgeKey, ...] = ()
    plugins: tuple[PluginIdentity, ...] = ()
    locked: tuple[Locked, ...] = ()
    problems: tuple[FilevaultError, ...] = ()


def parse(
    text: IdentityText, available: Callable[[], int] = kdf.available_memory
) -> ParsedIdentities:
    """Parse an identity text; errors in it are returned as `problems`.

    `available` returns the KiB of memory that this process may count on. Raises ProgramError if
    pyrage is not installed.
    """
    what = printable(text.origin)
    try:
        if age_file.is_age(text.data):
            file = age_file.parse_protected(text.data, what, available)
            return ParsedIdentities(locked=(LockedFile(file, text.origin),))
        if ssh_keys.is_private(text.data):
            return _ssh(text)
    except FilevaultError as error:
        return ParsedIdentities(problems=(error,))
    return parse_plain(text.data, text.origin)


def _ssh(text: IdentityText) -> ParsedIdentities:
    what = printable(text.origin)
    if ssh_keys.is_protected(text.data, what):
        public = ssh_keys.visible_public(text.data)
        return ParsedIdentities(locked=(LockedSshKey(text.data, public, text.origin),))
    key = ssh_keys.unlock(text.data, None, what)
    if key is None:
        raise LockedError(f"{what} is no private key that age can use")
    return ParsedIdentities((AgeKey(key.identity, key.public.line, text.origin),))


def parse_plain(data: bytes, origin: str) -> ParsedIdentities:
    """Parse identities in lines; an error names the line's number and never quotes it."""
    keys: list[AgeKey] = []
    plugins: list[PluginIdentity] = []
    problems: list[FilevaultError] = []
    what = printable(origin)
    for number, raw in enumerate(data.split(b"\n"), 1):
        line = raw.removesuffix(b"\r")
        if not line or line.startswith(b"#"):
            continue
        if len(keys) + len(plugins) + len(problems) >= _MAX_IDENTITIES:
            problems.append(LockedError(f"{what} has more than {_MAX_IDENTITIES} lines of keys"))
            break
        try:
            found = _line(line, origin)
        except LockedError as error:
            problems.append(LockedError(f"line {number} of {what} {error}", hint=error.hint))
            continue
        if isinstance(found, AgeKey):
            keys.append(found)
        else:
            plugins.append(found)
    if not keys and not plugins and not problems:
        problems.append(
            LockedError(
                f"{what} contains no identity", hint="age-keygen makes one, and filevault init"
            )
        )
    return ParsedIdentities(tuple(keys), tuple(plugins), (), tuple(problems))


def _line(line: bytes, origin: str) -> AgeKey | PluginIdentity:
    """Return the identity in a line. Raises LockedError whose message follows the number."""
    age = library()
    text = line.decode("ascii", "replace")
    try:
        if text.startswith(_X25519):
            identity = age.x25519.Identity.from_str(text)
            return AgeKey(identity, str(identity.to_public()), origin)
        if text.startswith(_POST_QUANTUM):
            raise LockedError(
                "is a post-quantum identity, which pyrage, the age library that filevault uses, "
                "cannot read",
                hint="use an identity that begins with AGE-SECRET-KEY-1: age-keygen of age 1.2 "
                "makes one, and so does filevault init",
            )
        if text.startswith(_PLUGIN):
            identity = age.plugin.Identity.from_str(text)
            return PluginIdentity(identity, identity.plugin(), origin)
    except age.IdentityError:
        raise LockedError(
            "is an identity that was changed or cut short", hint="copy the line as a whole"
        ) from None
    if text.startswith("age1"):
        raise LockedError(
            "is a recipient, not an identity", hint="identities begin with AGE-SECRET-KEY-1"
        )
    raise LockedError(
        "is no identity", hint="an identity alone in its line, comments on lines of their own"
    )
