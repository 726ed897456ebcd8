"""Identities: what opens age files. Their texts, taken apart without asking anybody.

A text holds age identities in lines, or is one OpenSSH private key, or an age file that a
passphrase opens and that holds identities in lines. What is unusable in it is kept as a problem:
it is told only if nothing else opens.
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
    from filevault.backends.protocols import IdentityText

_X25519 = "AGE-SECRET-KEY-1"
_POST_QUANTUM = "AGE-SECRET-KEY-PQ-1"
_PLUGIN = "AGE-PLUGIN-"
_MAX_IDENTITIES = 1000


class Key(Record):
    """An identity that is ready for use, with the recipient that it opens files of."""

    identity: Any
    recipient: str
    origin: str

    def __repr__(self) -> str:
        return f"Key({self.recipient!r}, origin={self.origin!r}, ...)"


class PluginKey(Record):
    """An identity that only a plugin can use."""

    identity: Any
    plugin: str
    origin: str

    def __repr__(self) -> str:
        return f"PluginKey({self.plugin!r}, origin={self.origin!r}, ...)"


class LockedSshKey(Record):
    """A private key with a passphrase. `public` is None where the file does not show it."""

    data: bytes
    public: PublicKey | None
    origin: str

    def __repr__(self) -> str:
        return f"LockedSshKey(origin={self.origin!r}, ...)"

    def may_open(self, stanzas: Sequence[Stanza]) -> bool:
        """Tell whether it is worth asking for its passphrase."""
        if self.public is None:
            return any(stanza.type == ssh_keys.RSA for stanza in stanzas)
        return self.public.fits(stanzas)

    def open(self, passphrase: bytes) -> Opened | None:
        """Return what it holds, None if the passphrase is wrong; raises as `ssh_keys.unlock`."""
        what = printable(self.origin)
        key = ssh_keys.unlock(self.data, passphrase, what)
        if key is None:
            return None
        return Opened((Key(key.identity, key.public.line, self.origin),))


class LockedFile(Record):
    """An age file with identities in it, its costs within bounds."""

    file: AgeFile
    origin: str

    @property
    def digest(self) -> str:
        """What the file is known by, once it was opened."""
        return sha256_hex(self.file.data)

    def may_open(self, stanzas: Sequence[Stanza]) -> bool:
        """Tell whether it is worth asking for its passphrase: it does not say."""
        return bool(stanzas)

    def open(self, passphrase: bytes) -> Opened | None:
        """Return what it holds, None if the passphrase is wrong; raises as `decrypt`."""
        data = self.decrypt(passphrase)
        return None if data is None else parse_plain(data, self.origin)

    def decrypt(self, passphrase: bytes) -> bytes | None:
        """Return its text, None if the passphrase is wrong.

        Raises DamagedError for a file that the right passphrase does not open, LockedError for a
        passphrase that is no text or a cost that the library refuses.
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
                    hint="encrypt it anew with a cheaper one: age -d FILE | age -p > NEW",
                ) from error
            raise DamagedError(f"{what} is damaged: {reason}") from error


Locked = LockedSshKey | LockedFile


class Opened(Record):
    """What texts hold: ready, only for plugins, locked, and what is wrong with the rest."""

    keys: tuple[Key, ...] = ()
    plugins: tuple[PluginKey, ...] = ()
    locked: tuple[Locked, ...] = ()
    problems: tuple[FilevaultError, ...] = ()


def parse(text: IdentityText, available: Callable[[], int] = kdf.available_memory) -> Opened:
    """Take an identity text apart; what is wrong with it is in `problems`.

    `available` tells the KiB of memory that this process may count on. Raises ProgramError if
    pyrage is not installed.
    """
    what = printable(text.origin)
    try:
        if age_file.is_age(text.data):
            file = age_file.parse_protected(text.data, what, available)
            return Opened(locked=(LockedFile(file, text.origin),))
        if ssh_keys.is_private(text.data):
            return _ssh(text)
    except FilevaultError as error:
        return Opened(problems=(error,))
    return parse_plain(text.data, text.origin)


def _ssh(text: IdentityText) -> Opened:
    what = printable(text.origin)
    if ssh_keys.is_protected(text.data, what):
        public = ssh_keys.visible_public(text.data)
        return Opened(locked=(LockedSshKey(text.data, public, text.origin),))
    key = ssh_keys.unlock(text.data, None, what)
    if key is None:
        raise LockedError(f"{what} is no private key that age can use")
    return Opened((Key(key.identity, key.public.line, text.origin),))


def parse_plain(data: bytes, origin: str) -> Opened:
    """Read identities in lines; what is wrong with a line never quotes it."""
    keys: list[Key] = []
    plugins: list[PluginKey] = []
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
        if isinstance(found, Key):
            keys.append(found)
        else:
            plugins.append(found)
    if not keys and not plugins and not problems:
        problems.append(
            LockedError(
                f"{what} holds no identity", hint="age-keygen makes one, and filevault init"
            )
        )
    return Opened(tuple(keys), tuple(plugins), (), tuple(problems))


def _line(line: bytes, origin: str) -> Key | PluginKey:
    """Return the identity in a line; raises LockedError that goes on after the line's number."""
    age = library()
    text = line.decode("ascii", "replace")
    try:
        if text.startswith(_X25519):
            identity = age.x25519.Identity.from_str(text)
            return Key(identity, str(identity.to_public()), origin)
        if text.startswith(_POST_QUANTUM):
            raise LockedError(
                "is a post-quantum identity, which pyrage, the age library that filevault uses, "
                "cannot read",
                hint="use an identity that begins with AGE-SECRET-KEY-1: age-keygen of age 1.2 "
                "makes one, and so does filevault init",
            )
        if text.startswith(_PLUGIN):
            identity = age.plugin.Identity.from_str(text)
            return PluginKey(identity, identity.plugin(), origin)
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
