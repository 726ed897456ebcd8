"""What a vault's storage can be encrypted with.

A backend turns an item's bytes into a file's bytes and back, nothing else: it knows neither AWS
nor where files lie. The table below is the whole of discovery: the vault's own marker says which
backend it is, and only that one is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from filevault.errors import VaultChoiceError
from filevault.system.printable import printable
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from filevault.backends.age.backend import AgeBackend
    from filevault.backends.age.identities import IdentitySource
    from filevault.backends.age.plugins import Person
    from filevault.backends.file.vault_json import Marker
    from filevault.backends.kdf import KdfParameters, KdfPolicy
    from filevault.system.files import Folder
    from filevault.system.secret_buffer import SecretBytes

SUFFIXES = {"file": ".fv", "pass": ".gpg", "age": ".age"}
"""Backend name to the suffix of its item files."""


class ItemHeader(Record):
    """What is authenticated along with an item (`docs/format.md` §4).

    `generation` and `created` are as in the format; `created_from` is set for `credentials`
    only, `source` for `session` and the SSO kinds only.
    """

    kind: str
    name: str
    generation: int
    created: str
    created_from: str | None = None
    source: str | None = None


class Secret(Record):
    """A passphrase or the text of a key file, with where it came from for messages.

    `content` can be overwritten if it is a bytearray; `value` is a copy of it that cannot.
    """

    kind: str  # "passphrase" or "keyfile"
    content: SecretBytes
    origin: str

    @property
    def value(self) -> bytes:
        """The bytes, for whoever needs them longer."""
        return bytes(self.content)

    def __repr__(self) -> str:
        return f"Secret(kind={self.kind!r}, origin={self.origin!r}, ...)"


class SecretSource(Protocol):
    """Where a backend gets what opens it, asked only when it must be opened."""

    def secret(self) -> Secret:
        """Return a passphrase or key; raises LockedError where there is none."""
        ...

    def on_rejected(self, secret: Secret) -> None:
        """Hear that it opened nothing; return to be asked again, or raise WrongPassphraseError."""
        ...


class Backend(Protocol):
    """One way of encrypting items."""

    suffix: str
    head_size: int
    """How many first bytes of an item file `created` wants to see."""

    def created(self, head: bytes) -> tuple[str, str | None] | None:
        """Return (time, origin) that the beginning of an item file says, None if it does not.

        For listings: quick, and nothing of it is authenticated.
        """
        ...

    def encrypt(self, header: ItemHeader, plaintext: bytes) -> bytes:
        """Return the bytes of an item file."""
        ...

    def decrypt(self, kind: str, name: str, data: bytes) -> bytes:
        """Return an item's plaintext.

        Raises IntegrityError for damage and for an item of another kind, name or vault,
        NewerFormatError, and LockedError if the vault cannot be opened.
        """
        ...

    def unlock(self) -> None:
        """Open the vault now; encrypt and decrypt do it when they must.

        Raises LockedError, IntegrityError, NewerFormatError or BackendError.
        """
        ...

    def vault_key(self) -> bytes | None:
        """Return what opens the vault without asking anybody, opening it now for that.

        None where there is nothing of the kind. Raises as `unlock`.
        """
        ...

    def peek(self, data: bytes, what: str = "the item") -> ItemHeader | None:
        """Return what an item says of itself without opening it, None where nothing is said.

        Nothing of it is authenticated. `what` is how messages call it. Raises IntegrityError or
        NewerFormatError.
        """
        ...


class FileBackend(Backend, Protocol):
    """The backend of a `file` vault: it has an identity to pin, and slots that open it."""

    @property
    def vault_id(self) -> str:
        """The vault's id, 32 hex digits, as vault.json has it."""
        ...

    @property
    def commit(self) -> str:
        """The commitment to the master key, 64 hex digits, as vault.json has it.

        Once the vault is unlocked it is known to be that of the key.
        """
        ...

    @property
    def master_id(self) -> str:
        """The key id of items, 16 hex digits, as vault.json has it."""
        ...

    @property
    def opened_slot(self) -> str | None:
        """The id of the keyslot that opened the vault, None before."""
        ...

    def confirm(self) -> None:
        """Raise StorageError if the vault has got other keys since; call it under the lock."""
        ...


class RecipientsFile(Record):
    """A file that says who can read what lies beside and below it, or a variable that does.

    `place` is its path relative to the store, or `env:` and the variable's name. `recipients`
    are full fingerprints (gpg) or recipient strings (age), sorted, each once; one that cannot be
    resolved stands as it is written. `unresolved` are those that cannot be encrypted to.
    """

    place: str
    recipients: tuple[str, ...]
    unresolved: tuple[str, ...] = ()


class RecipientsBackend(Backend, Protocol):
    """The backend of a `pass` or `age` vault: items are encrypted to the nearest recipients.

    Recipients files are read once; what was read is used until `forget`.
    """

    def governing(self) -> tuple[RecipientsFile, ...]:
        """Return what is pinned.

        That is the file that governs the root, every one below the root, and each override in
        force from the environment. Raises BackendError for one that cannot be used.
        """
        ...

    def governs(self, name: str) -> RecipientsFile:
        """Return the one that is used for an item; raises NoVaultError where there is none."""
        ...

    def differs(self, name: str, data: bytes) -> bool | None:
        """Tell whether an item file is encrypted to others than those that govern it.

        None where that cannot be told. Needs no secret key and asks nobody.
        """
        ...

    def opens(self, recipients: Sequence[str]) -> bool | None:
        """Tell whether a key that is here opens what is encrypted to these recipients.

        None where that cannot be told. Raises as what asks for passphrases does.
        """
        ...

    def try_set(self, recipients: Sequence[str], *, programs: bool = True) -> None:
        """Encrypt a few bytes to exactly these recipients, and throw the result away.

        Each may be usable and the set not: age refuses to mix post-quantum recipients with others.
        Without `programs`, what only a program encrypts to is left out, and none is started.
        Raises BackendError.
        """
        ...

    def candidates(self, recipient: str) -> tuple[str, ...]:
        """Return the recipients that an unresolved one may mean, if there are several."""
        ...

    def forget(self) -> None:
        """Read the recipients files anew when they are needed next."""
        ...

    def resolve(self, ids: Sequence[str], *, usable: bool = True) -> tuple[str, ...]:
        """Return what people call recipients as a recipients file shall have them.

        Raises BackendError or UsageError for one that is none or, if it must be `usable`, cannot
        be encrypted to.
        """
        ...

    def recipients_files(self, wanted: Sequence[str], old: bytes = b"") -> dict[str, bytes]:
        """Return, by name, the files that make `wanted` a folder's recipients.

        The last is the recipients file itself; `old` is the folder's as it is, whose comments
        and lines are kept where they can be. Raises BackendError or UsageError for recipients
        that cannot stand there, LockedError where a signature is wanted and cannot be made.
        """
        ...


def open_backend(
    name: str,
    root: Folder,
    source: SecretSource,
    policy: KdfPolicy,
    *,
    last_slot: str | None = None,
    only_slot: str | None = None,
    held: Callable[[str], bytes | None] = lambda _commit: None,
) -> FileBackend:
    """Open the backend of an existing vault; nobody is asked for anything yet.

    Args:
        name: a key of `SUFFIXES`.
        root: the vault's folder, which must stay open as long as the backend is used.
        source: asked once, when something must be opened.
        policy: which costs a keyslot may have.
        last_slot: the slot that opened this vault last time, tried first.
        only_slot: the one slot to try (`--slot`).
        held: what `vault_key` gave for a commitment to it, asked before the source.

    Raises:
        VaultChoiceError: for an unknown name.
        NoVaultError: if the folder has no marker.
        DamagedError: if the marker is damaged.
        NewerFormatError: if a newer filevault made it.
    """
    if name == "file":
        from filevault.backends.file.backend import PassphraseBackend

        return PassphraseBackend.open(
            root, source, policy, last_slot=last_slot, only_slot=only_slot, held=held
        )
    raise VaultChoiceError(
        f"there is no backend {printable(name, 40)!r}", hint=f"there are: {', '.join(SUFFIXES)}"
    )


def open_gpg(
    store: Folder,
    prefix: tuple[str, ...],
    *,
    environment: Mapping[str, str],
    folders_of: Callable[[str], Sequence[str]],
    passphrase: SecretSource | None,
    terminal: bool,
    trusted: Callable[[], Sequence[str]],
    warn: Callable[[str], None],
    asked: Callable[[], None],
) -> RecipientsBackend:
    """Open the backend of a `pass` store; see `filevault.backends.gpg.backend.GpgBackend.open`."""
    from filevault.backends.gpg.backend import GpgBackend

    return GpgBackend.open(
        store,
        prefix,
        environment=environment,
        folders_of=folders_of,
        passphrase=passphrase,
        terminal=terminal,
        trusted=trusted,
        warn=warn,
        asked=asked,
    )


def open_age(
    store: Folder,
    prefix: tuple[str, ...],
    *,
    environment: Mapping[str, str],
    folders_of: Callable[[str], Sequence[str]],
    identities: IdentitySource,
    passphrase: SecretSource,
    passage: bool,
    person: Person,
    trusted: Callable[[], Sequence[str]],
    warn: Callable[[str], None],
) -> RecipientsBackend:
    """Open the backend of an `age` vault; see `filevault.backends.age.backend.AgeBackend.open`."""
    from filevault.backends.age.backend import AgeBackend

    return AgeBackend.open(
        store,
        prefix,
        environment=environment,
        folders_of=folders_of,
        identities=identities,
        passphrase=passphrase,
        passage=passage,
        person=person,
        trusted=trusted,
        warn=warn,
    )


def own_recipients(backend: RecipientsBackend) -> tuple[str, ...]:
    """Return whom the own identities of an age vault open files of; may ask for a passphrase.

    Raises LockedError and NoVaultError as `AgeBackend.own_recipients`.
    """
    return cast("AgeBackend", backend).own_recipients()


def opened_backend(vault: Marker, master: bytes) -> FileBackend:
    """Return the backend of a `file` vault, unlocked, for a master key that is at hand.

    Args:
        vault: what its vault.json says, or said when this was its key.
        master: the master key.
    """
    from filevault.backends.file.backend import PassphraseBackend
    from filevault.backends.file.unlock import Opened

    return PassphraseBackend.opened(vault, Opened(master, None))


def create_vault(
    root: Folder,
    *,
    passphrase: bytes | None = None,
    keyfile_text: bytes | None = None,
    policy: KdfPolicy,
    parameters: KdfParameters | None = None,
    label: str = "",
    clock: Callable[[], float],
) -> FileBackend:
    """Make a `file` vault and return its backend, unlocked.

    The caller holds the lock on `root`. A crash at any instant leaves no vault or a whole one.

    Args:
        root: an existing folder.
        passphrase: gets a slot of the type `argon2id`.
        keyfile_text: the text of a key file, gets a slot of the type `keyfile`.
        policy: bounds, and the costs where `parameters` gives none.
        parameters: the passphrase slot's costs.
        label: published with each slot.
        clock: tells the time that slots carry.

    Raises:
        VaultChoiceError: if there is a vault already.
        UsageError: for costs out of bounds, a label too long, neither passphrase nor key file.
        LockedError: for a passphrase that is none, or a key file's text that is none.
        StorageError: if it cannot be written.
    """
    from filevault.backends.file import backend as passphrases

    return passphrases.create(
        root,
        passphrase=passphrase,
        keyfile_text=keyfile_text,
        policy=policy,
        parameters=parameters,
        label=label,
        clock=clock,
    )


def new_keyfile_text() -> bytes:
    """Return the text of a new key file, one line."""
    from filevault.backends.file import keyslots

    return keyslots.new_keyfile_text()
