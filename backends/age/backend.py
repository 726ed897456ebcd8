"""An opened `age` vault: items are age files, encrypted to the recipients of the nearest file.

Writing needs no secret; reading needs one of the user's identities. Nothing proves who wrote a
file: anyone who can write to the vault can replace an item by another valid one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from filevault.backends import kdf
from filevault.backends.age import AGE, age_file, recipients_file
from filevault.backends.age.age_identities import AgeIdentities
from filevault.backends.age.governing import GoverningFiles
from filevault.backends.age.library import library, said
from filevault.backends.age.plugins import Plugins
from filevault.backends.age.plugins import refusal as plugin_refusal
from filevault.backends.age.recipients_file import AgeRecipients
from filevault.backends.definition import RECIPIENTS, SecretRequest
from filevault.errors import (
    BackendError,
    LockedError,
    NotARecipientError,
    NoVaultError,
    ProgramError,
)
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from filevault.backends.definition import VaultParts
    from filevault.backends.item_header import ItemHeader
    from filevault.backends.values import RecipientsFile

_SESSION_KEY = "session-key"
_GREASE = "-grease"


class AgeBackend:
    """An age vault; made by `open`."""

    __slots__ = ("_folders_of", "_governing", "_identities", "_pinned", "_plugins")

    name = AGE.name
    suffix = AGE.suffix
    family: Literal["recipients"] = RECIPIENTS

    def __init__(
        self,
        governing: GoverningFiles,
        identities: AgeIdentities,
        plugins: Plugins,
        folders_of: Callable[[str], Sequence[str]],
        pinned: Callable[[], Sequence[str]],
    ) -> None:
        self._governing = governing
        self._identities = identities
        self._plugins = plugins
        self._folders_of = folders_of
        self._pinned = pinned

    @classmethod
    def open(
        cls, parts: VaultParts, available_memory: Callable[[], int] = kdf.available_memory
    ) -> AgeBackend:
        """Open a vault; nothing is read and nothing asked yet.

        `available_memory` returns the KiB that this process may count on.
        """
        source, environment = parts.identities(), parts.environment()
        passphrase = parts.secrets(
            SecretRequest(("passphrase",), "age identity of yours", lambda: source.origin)
        )
        plugins = Plugins(environment, parts.person)
        identities = AgeIdentities(source, passphrase, plugins, available_memory)
        governing = GoverningFiles(
            parts.store,
            parts.prefix,
            environment=environment,
            passage=parts.other_tools,
            own=lambda: _recipients_of(identities),
            warn=parts.warn,
        )
        return cls(governing, identities, plugins, parts.folders_of, parts.pinned_recipients)

    def governing(self) -> tuple[RecipientsFile, ...]:
        """Return the recipients files that are pinned, see `RecipientsBackend.governing`.

        In a passage store without a recipients file it loads the user's identities, and may ask
        for a passphrase.
        """
        return self._governing.all()

    def governs(self, name: str) -> RecipientsFile:
        """Return the recipients file that governs an item.

        Raises NoVaultError, BackendError or LockedError.
        """
        return self._governing.of(self._folders_of(name))

    def forget(self) -> None:
        """Drop the recipients files that were read, so that they are read again."""
        self._governing.forget()

    def resolve(self, ids: Sequence[str], *, usable: bool = True) -> tuple[str, ...]:
        """Return recipients in the form that `.age-recipients` has. Raises as `checked`."""
        return tuple(recipients_file.checked(each, usable=usable) for each in ids)

    def recipients_files(self, wanted: Sequence[str], old: bytes = b"") -> dict[str, bytes]:
        """Return `.age-recipients`, see `filevault.backends.protocols.RecipientsBackend`."""
        return {recipients_file.FILE: recipients_file.build(wanted, old)}

    def own_recipients(self) -> tuple[str, ...]:
        """Return the recipients of the user's identities; may ask for a passphrase."""
        return _recipients_of(self._identities).all

    def unlock(self) -> None:
        """Load the identities, once, and unlock one. Raises LockedError if there is none."""
        self._identities.unlock()

    def vault_key(self) -> bytes | None:
        """Return the identities in lines; None if they are all ssh keys and plugins.

        Raises LockedError if there is none, and as the source of passphrases.
        """
        self._identities.unlock()
        self._identities.unlock_files()
        return self._identities.lines()

    def encrypt(self, header: ItemHeader, plaintext: bytes) -> bytes:
        """Return the bytes of an item file, encrypted to exactly the recipients of its file.

        The session key is encrypted to the root's recipients that are the user's identities.

        Raises:
            NoVaultError: if no recipients file governs it.
            BackendError: for an item that is too long, an unusable recipient, and a missing or
                failing plugin.
            LockedError: for the session key, if no recipient of the root is the user's identity.
        """
        what = _item(header.kind, header.name)
        if header.kind == _SESSION_KEY:
            return self._seal(self._own(), plaintext, what)
        return self._seal(_usable(self.governs(header.name), what), plaintext, what)

    def decrypt(self, kind: str, name: str, data: bytes) -> bytes:
        """Return an item's plaintext.

        Raises:
            DamagedError: if the file was changed.
            TamperedError: if it is encrypted with a passphrase.
            LockedError: if none of the user's identities can decrypt it.
        """
        what = _item(kind, name)
        return self._identities.decrypt(age_file.parse_item(data, what), what)

    def differs(self, name: str, data: bytes) -> bool | None:
        """Return whether an item's recipients differ from the file that governs it.

        Stanzas for ssh keys name their recipient, those for X25519 only show their number, and a
        plugin may write any. Raises DamagedError if it is not an age file, and as `governs`.
        """
        wanted = [recipients_file.stanza(each) for each in self.governs(name).recipients]
        stanzas = age_file.parse(data, _item("credentials", name)).stanzas
        # pyrage adds a stanza of a random type, so that readers learn to ignore unknown ones.
        found = [
            (stanza.type, *(stanza.args[:1] if stanza.type.startswith("ssh-") else ()))
            for stanza in stanzas
            if not stanza.type.endswith(_GREASE)
        ]
        known = [each for each in wanted if each is not None]
        if len(known) < len(wanted):
            left = list(found)
            for each in known:
                if each not in left:
                    return True
                left.remove(each)
            return True if len(left) < len(wanted) - len(known) else None
        if sorted(found) != sorted(known):
            return True
        return None if (recipients_file.X25519,) in known else False

    def opens(self, recipients: Sequence[str]) -> bool | None:
        """Return whether one of the user's identities can decrypt what these recipients can.

        None if only a plugin could determine it. May ask for a passphrase. Raises LockedError if
        none is right.
        """
        identities = self._identities
        try:
            identities.load()
        except LockedError:
            return False
        wanted = frozenset(recipients)
        if not identities.recipients & wanted and identities.hides_recipients:
            identities.unlock_files()
        if identities.recipients & wanted:
            return True
        plugins = map(recipients_file.plugin, recipients)
        return None if any(name in identities.plugin_names for name in plugins) else False

    def try_set(self, recipients: Sequence[str], *, programs: bool = True) -> None:
        """Try recipients together, see `filevault.backends.protocols.RecipientsBackend`."""
        tried = [
            each
            for each in recipients
            if recipients_file.can_encrypt_to(each)
            and (programs or not recipients_file.is_plugin(each))
        ]
        if tried:
            self._seal(tried, b"probe", "an item", probing=True)

    def candidates(self, recipient: str) -> tuple[str, ...]:  # noqa: ARG002
        """Return none: an age recipient is never ambiguous."""
        return ()

    def _own(self) -> tuple[str, ...]:
        """Return the recipients of the session key."""
        identities = self._identities
        identities.load()
        root = self._governing.of(())
        own = identities.recipients.intersection(root.recipients)
        if not own and identities.hides_recipients:
            identities.unlock_files()
            own = identities.recipients.intersection(root.recipients)
        if own:
            return tuple(sorted(own))
        if identities.plugin_names:
            # A plugin's recipients cannot be determined, and those of a file are not trusted.
            pinned = tuple(filter(recipients_file.can_encrypt_to, self._pinned()))
            if pinned:
                return pinned
        raise NotARecipientError(
            f"none of the recipients in {printable(root.path)!r} is an identity here",
            hint="without one nothing in this vault can be opened, and no session is kept",
        )

    def _seal(
        self, recipients: Sequence[str], plaintext: bytes, what: str, *, probing: bool = False
    ) -> bytes:
        """Return an age file; when `probing`, b"" if a plugin asks and there is no answer."""
        age = library()
        ready: list[Any] = []
        plugins: dict[str, list[Any]] = {}
        for recipient in recipients:
            loaded = recipients_file.load(recipient)
            if recipients_file.is_plugin(recipient):
                plugins.setdefault(loaded.plugin(), []).append(loaded)
            else:
                ready.append(loaded)
        dialogues = []
        for name in sorted(plugins):
            encrypting, dialogue = self._plugins.recipient(plugins[name])
            ready.append(encrypting)
            dialogues.append((name, dialogue))
        try:
            data = bytes(age.encrypt(plaintext, ready))
        except age.EncryptError as error:
            for name, dialogue in dialogues:
                refusal = plugin_refusal(name, dialogue, "", "recipient")
                if dialogue.declined and probing:
                    return b""  # that proves nothing about the set
                if dialogue.declined:
                    raise ProgramError(refusal.message, hint=refusal.hint) from error
            if recipients_file.do_not_mix(said(error)):
                raise BackendError(
                    f"{what} cannot be encrypted: {recipients_file.mixture(recipients)}",
                    hint="keep recipients of one type only: filevault recipients remove takes one "
                    "out",
                ) from error
            raise BackendError(f"{what} cannot be encrypted: {said(error)}") from error
        if len(data) > age_file.MAX_FILE:
            raise BackendError(f"{what} is longer than an item may be")
        return data


def _item(kind: str, name: str) -> str:
    return "the session key" if kind == _SESSION_KEY else f"item {printable(name, 200)!r}"


def _usable(file: RecipientsFile, what: str) -> tuple[str, ...]:
    """Return a file's recipients. Raises BackendError if one is unusable."""
    for recipient in file.unresolved:
        raise BackendError(
            f"{what} cannot be encrypted to {printable(recipient, 100)!r} of "
            f"{printable(file.path)!r}: {recipients_file.why_not(recipient)}",
            hint="filevault recipients remove takes it out, for everybody",
        )
    return file.recipients


def _recipients_of(identities: AgeIdentities) -> AgeRecipients:
    """Return the recipients of the user's identities; those of plugins are unknown."""
    identities.unlock()
    identities.unlock_files()
    found = {name: recipients_file.can_encrypt_to(name) for name in identities.recipients}
    found.update({f"an identity of age-plugin-{name}": False for name in identities.plugin_names})
    if not found:
        raise NoVaultError("no recipients are known, and no identity here shows one")
    return recipients_file.recipients(found)
