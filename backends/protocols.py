"""Protocols of backends, and of what backends call; imported by type checkers only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from filevault.backends.item_header import ItemHeader
    from filevault.backends.kdf import KdfParameters, KdfPolicy
    from filevault.backends.values import IdentityText, RecipientsFile, Secret
    from filevault.system.files import Folder


class SecretSource(Protocol):
    """Source of the secrets that unlock a vault; called only when the vault must be unlocked."""

    def secret(self) -> Secret:
        """Return a passphrase or key. Raises LockedError if there is none."""
        ...

    def on_rejected(self, secret: Secret) -> None:
        """Called if a secret unlocks nothing.

        Return to be asked for another one, or raise WrongPassphraseError.
        """
        ...


class IdentitySource(Protocol):
    """Source of age identities; read once, when an item must be opened."""

    def texts(self) -> list[IdentityText]:
        """Return the texts in the order of trying. Raises LockedError if there is none.

        Owner and mode of files are checked here.
        """
        ...


class NamedIdentitySource(IdentitySource, Protocol):
    """An identity source that messages can name."""

    @property
    def origin(self) -> str:
        """The path that identities are read from, or the name of their provider."""
        ...


class Person(Protocol):
    """The user at a terminal, e.g. `filevault.unlock.prompt.Prompter`."""

    @property
    def present(self) -> bool:
        """Whether there is a terminal."""
        ...

    def say(self, text: str) -> None:
        """Show one line."""
        ...

    def line(self, question: str) -> str:
        """Ask with echo."""
        ...

    def hidden(self, question: str) -> bytes | bytearray:
        """Ask without echo."""
        ...


class ItemCipher(Protocol):
    """The methods of both families: turning an item's bytes into a file's bytes and back."""

    name: str
    suffix: str

    def encrypt(self, header: ItemHeader, plaintext: bytes) -> bytes:
        """Return the bytes of an item file."""
        ...

    def decrypt(self, kind: str, name: str, data: bytes) -> bytes:
        """Return an item's plaintext.

        Raises IntegrityError for damage and for an item of another kind, name or vault,
        NewerFormatError, and LockedError if the vault cannot be unlocked.
        """
        ...

    def unlock(self) -> None:
        """Unlock the vault now; `encrypt` and `decrypt` do so when they need to.

        Raises LockedError, IntegrityError, NewerFormatError or BackendError.
        """
        ...

    def vault_key(self) -> bytes | None:
        """Return the bytes that unlock the vault without a question, unlocking it first.

        None if no such bytes exist. Raises as `unlock`.
        """
        ...


class SealedBackend(ItemCipher, Protocol):
    """An opened vault with a master key: it has an identity, and its items have a header."""

    family: Literal["sealed"]
    head_size: int
    """How many of an item file's first bytes `created` needs."""

    @property
    def vault_id(self) -> str:
        """The vault's id, 32 hex digits, as the marker has it."""
        ...

    @property
    def commitment(self) -> str:
        """The commitment to the master key, 64 hex digits, as the marker has it.

        Once the vault is unlocked, it has been verified against the key.
        """
        ...

    @property
    def opened_slot(self) -> str | None:
        """The id of the keyslot that unlocked the vault; None before, and without keyslots."""
        ...

    def confirm(self) -> None:
        """Raise StorageError if the master key was replaced since; call it under the lock."""
        ...

    def peek(self, data: bytes, what: str = "the item") -> ItemHeader:
        """Return an item's header without decrypting the item. It is not authenticated.

        `what` names the item in messages. Raises IntegrityError or NewerFormatError.
        """
        ...

    def created(self, head: bytes) -> tuple[str, str | None] | None:
        """Return (time, origin) from the first bytes of an item file, None if they have none.

        Fast, for listings; not authenticated.
        """
        ...


class RecipientsBackend(ItemCipher, Protocol):
    """An opened vault for recipients: each item is encrypted to those of the nearest file.

    Recipients files are read once; the result is reused until `forget`.
    """

    family: Literal["recipients"]

    def governing(self) -> tuple[RecipientsFile, ...]:
        """Return the recipients files that are pinned.

        These are the file that governs the root, every file below the root, and each override in
        force from the environment. Raises BackendError for one that cannot be used.
        """
        ...

    def governs(self, name: str) -> RecipientsFile:
        """Return the recipients file that governs an item. Raises NoVaultError if none does."""
        ...

    def differs(self, name: str, data: bytes) -> bool | None:
        """Return whether an item file's recipients differ from the file that governs it.

        None if that cannot be determined. Needs no secret key and asks no question.
        """
        ...

    def opens(self, recipients: Sequence[str]) -> bool | None:
        """Return whether an available secret key can decrypt what these recipients can.

        None if that cannot be determined. Raises as the source of passphrases does.
        """
        ...

    def try_set(self, recipients: Sequence[str], *, programs: bool = True) -> None:
        """Encrypt a few bytes to exactly these recipients, and discard the result.

        Each may be usable and the set not: age refuses to mix post-quantum recipients with
        others. Without `programs`, recipients that only a program can encrypt to are left out,
        and no program is started. Raises BackendError.
        """
        ...

    def candidates(self, recipient: str) -> tuple[str, ...]:
        """Return the recipients that an ambiguous one may stand for; empty if there is none."""
        ...

    def forget(self) -> None:
        """Drop the recipients files that were read, so that they are read again."""
        ...

    def own_recipients(self) -> tuple[str, ...]:
        """Return the recipients of the user's identities, for a new vault; may ask a question.

        Empty if an agent keeps the keys. Raises LockedError and NoVaultError.
        """
        ...

    def resolve(self, ids: Sequence[str], *, usable: bool = True) -> tuple[str, ...]:
        """Return recipients in the form that a recipients file has.

        Raises BackendError or UsageError for one that is invalid or, if it must be `usable`,
        cannot be encrypted to.
        """
        ...

    def recipients_files(self, wanted: Sequence[str], old: bytes = b"") -> dict[str, bytes]:
        """Return, by name, the files that make `wanted` a folder's recipients.

        The last is the recipients file itself; `old` is the present one, whose comments and
        lines are kept if possible. Raises BackendError or UsageError for recipients that it
        cannot list, LockedError if a signature is required and cannot be made.
        """
        ...


class Creator(Protocol):
    """Makes a sealed vault in an existing folder and returns its backend, unlocked."""

    def __call__(
        self,
        root: Folder,
        *,
        passphrase: bytes | None,
        keyfile_text: bytes | None,
        policy: KdfPolicy,
        parameters: KdfParameters | None,
        clock: Callable[[], float],
    ) -> SealedBackend:
        """Make the vault; the caller holds the lock on `root`.

        A crash at any instant leaves no vault or a complete one.

        Args:
            root: an existing folder.
            passphrase: unlocks the vault.
            keyfile_text: the text of a key file that unlocks the vault.
            policy: bounds of a passphrase's costs, and the costs if `parameters` gives none.
            parameters: the passphrase's costs.
            clock: returns Unix seconds.

        Raises:
            VaultChoiceError: if there is a vault already.
            UsageError: for costs out of bounds, and for neither passphrase nor key file.
            LockedError: for an invalid passphrase or key file.
            StorageError: if it cannot be written.
        """
        ...


OpenBackend: TypeAlias = SealedBackend | RecipientsBackend
"""The backend of an opened vault; `family` is the family that it belongs to."""
