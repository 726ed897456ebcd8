"""Values that backends take and return: secrets, identities, recipients files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.system.record import Record

if TYPE_CHECKING:
    from filevault.system.secret_buffer import SecretBytes


class Secret(Record):
    """A passphrase or the text of a key file, with its origin for messages.

    `content` can be overwritten if it is a bytearray; `value` is a copy that cannot.
    """

    _secret = ("content",)

    kind: str  # "passphrase" or "keyfile"
    content: SecretBytes
    origin: str

    @property
    def value(self) -> bytes:
        """A copy that stays valid when `content` is overwritten."""
        return bytes(self.content)


class IdentityText(Record):
    """The bytes of an identity file, or of a variable that has one, and their origin.

    `cached` is true for the output of `RecipientsBackend.vault_key`.
    """

    _secret = ("data",)

    data: bytes
    origin: str
    cached: bool = False


class RecipientsFile(Record):
    """A file that lists the recipients of its folder and of those below, or such a variable.

    `path` is relative to the store, or `env:` and the variable's name. `recipients` are full
    fingerprints (gpg) or recipient strings (age), sorted, without duplicates; one that cannot
    be resolved is listed as it is written. `unresolved` are those that cannot be encrypted to.
    """

    path: str
    recipients: tuple[str, ...]
    unresolved: tuple[str, ...] = ()
