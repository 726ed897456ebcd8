"""An opened `pass` store: items encrypted by gpg to the keys of the nearest `.gpg-id`.

Anyone can encrypt to public keys, so nothing proves who wrote an item. Guaranteed is who can read
a written item: exactly the resolved recipients, and none that gpg.conf, a key look-up or a changed
file adds (`docs/format.md` §9).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from filevault.backends.definition import RECIPIENTS, SecretRequest
from filevault.backends.gpg import PASS, governing, gpg_id, keys, openpgp, status
from filevault.backends.gpg.keys import GpgKeys
from filevault.backends.gpg.process import Gpg
from filevault.backends.gpg.signature import check_signature, signing_keys
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
    from filevault.backends.gpg.governing import GpgRecipients, ResolvedFile
    from filevault.backends.gpg.keys import Recipient
    from filevault.backends.gpg.status import Reply
    from filevault.backends.item_header import ItemHeader
    from filevault.backends.protocols import SecretSource
    from filevault.backends.values import RecipientsFile, Secret

_LONGEST_SOCKET = 107  # sun_path, with its NUL
_SOCKET = "/S.gpg-agent"


class GpgBackend:
    """A `pass` store, or a folder of one; nothing is read or run before it is needed."""

    __slots__ = (
        "_folders_of",
        "_gpg",
        "_keys",
        "_on_asked",
        "_passphrase",
        "_pinned",
        "_prefix",
        "_recipients",
        "_secret",
        "_store",
        "_warn",
    )

    name = PASS.name
    suffix = PASS.suffix
    family: Literal["recipients"] = RECIPIENTS

    def __init__(self, parts: VaultParts, gpg: Gpg, passphrase: SecretSource | None) -> None:
        self._store = parts.store
        self._prefix = parts.prefix
        self._gpg = gpg
        self._folders_of = parts.folders_of
        self._passphrase = passphrase
        self._pinned = parts.pinned_recipients
        self._warn = parts.warn
        self._on_asked = parts.on_asked
        self._secret: Secret | None = None
        self._keys = GpgKeys(gpg)
        self._recipients: GpgRecipients | None = None

    @classmethod
    def open(cls, parts: VaultParts, timeout: float = 60) -> GpgBackend:
        """Open a store, with or without a `.gpg-id`; nothing is read yet.

        gpg-agent asks for passphrases, unless a source of them is named. `timeout` is how many
        seconds gpg may take, including the user's answers.
        """
        terminal = parts.person is not None and parts.person().present
        request = SecretRequest(("passphrase",), "gpg key of yours", lambda: parts.root)
        passphrase = parts.named_secrets(request)
        ask = terminal and passphrase is None
        gpg = Gpg(parts.environment(), terminal=terminal, ask=ask, timeout=timeout)
        return cls(parts, gpg, passphrase)

    def unlock(self) -> None:
        """Do nothing: gpg-agent unlocks keys when they are needed."""

    def vault_key(self) -> None:
        """Return None: gpg-agent keeps the keys."""

    def governing(self) -> tuple[RecipientsFile, ...]:
        """Return the recipients files that are pinned, see `RecipientsBackend.governing`.

        Raises:
            BackendError: for a `.gpg-id` that cannot be used or, with PASSWORD_STORE_SIGNING_KEY,
                is not signed by such a key.
            ProgramError: if gpg cannot be run.
        """
        return self._read().files()

    def governs(self, name: str) -> RecipientsFile:
        """Return the recipients file that governs an item. Raises NoVaultError if none does."""
        return self._governor(name).file

    def forget(self) -> None:
        """Drop the recipients files and the keys that were read, so that they are read again."""
        self._recipients = None
        self._keys = GpgKeys(self._gpg)

    def resolve(self, ids: Sequence[str], *, usable: bool = True) -> tuple[str, ...]:
        """Return the full fingerprints of keys, sorted.

        Raises:
            BackendError: naming the first id that is not a key, or no `usable` one.
            ProgramError: if gpg cannot be run.
        """
        recipients = self._keys.resolve(gpg_id.parse(gpg_id.build(ids), "the list of keys").ids)
        if usable:
            _check_usable(recipients, "the vault", "name another one", "name one of these instead")
        return tuple(recipient.name for recipient in recipients)

    def encrypt(self, header: ItemHeader, plaintext: bytes) -> bytes:
        """Return a message to exactly the recipients that govern the item.

        The session key is encrypted to the root's recipients whose secret key is available.
        Raises LockedError if there is none, BackendError for a recipient that is unusable.
        """
        if header.kind == "session-key":
            recipients = self._present()
            what = "the session key"
        else:
            recipients = self._governor(header.name).recipients
            what = _item(header.name)
        _check_usable(recipients, what)
        if len(plaintext) > openpgp.MAX_TEXT:
            raise BackendError(f"{what} is longer than an item may be")
        return self._encrypted(recipients, plaintext, what)

    def try_set(self, recipients: Sequence[str], *, programs: bool = True) -> None:
        """Try recipients together, see `filevault.backends.protocols.RecipientsBackend`."""
        if programs:
            what = "an item"
            found = self._keys.resolve(recipients)
            _check_usable(found, what)
            self._encrypted(found, b"probe", what)

    def _encrypted(self, recipients: Sequence[Recipient], plaintext: bytes, what: str) -> bytes:
        reply = self._gpg.encrypt(plaintext, [recipient.name for recipient in recipients])
        if reply.status != 0 or not reply.count("END_ENCRYPTION") or not reply.output:
            raise ProgramError(f"gpg cannot encrypt {what}: {reply.complaint()}")
        message = openpgp.parse(reply.output, what)
        if not keys.exact(message.key_ids, recipients):
            raise BackendError(
                f"gpg encrypted {what} to others than its recipients, so it was not stored",
                hint="look for recipient and hidden-recipient in gpg.conf and "
                "PASSWORD_STORE_GPG_OPTS",
            )
        return message.data

    def decrypt(self, kind: str, name: str, data: bytes) -> bytes:
        """Return an item's plaintext.

        Raises:
            DamagedError: if it is not a complete OpenPGP message.
            TamperedError: if it is not encrypted to public keys only, or is too long.
            LockedError: if no secret key is available, or its passphrase is wrong or missing.
            ProgramError: if gpg cannot be run, takes too long, or has no agent.
        """
        what = "the session key" if kind == "session-key" else _item(name)
        message = openpgp.parse(data, what)

        def attempt(passphrase: bytes | None) -> Reply:
            reply = self._gpg.decrypt(message.data, passphrase)
            return self._explained(reply, message.key_ids, passphrase)

        return status.plaintext(self._unlocked(attempt), what)

    def differs(self, name: str, data: bytes) -> bool | None:
        """Return whether an item's recipients differ from the file that governs it.

        None if that cannot be determined: for a hidden recipient, and a missing public key.
        Raises IntegrityError if it is not an encrypted message.
        """
        message = openpgp.parse(data, _item(name))
        recipients = self._governor(name).recipients
        if openpgp.HIDDEN in message.key_ids or not all(each.key_ids for each in recipients):
            return None
        return not keys.exact(message.key_ids, recipients)

    def opens(self, recipients: Sequence[str]) -> bool | None:
        """Return whether an available secret key can decrypt what these recipients can."""
        known = [each for each in self._keys.resolve(recipients) if each.key_ids]
        here = self._keys.secret(known)
        return None if here is None else bool(here)

    def candidates(self, recipient: str) -> tuple[str, ...]:
        """Return the fingerprints of the keys that fit an ambiguous id."""
        found = self._keys.resolve([recipient])
        return tuple(fingerprint for each in found for fingerprint in each.candidates)

    def own_recipients(self) -> tuple[str, ...]:
        """Return none: gpg-agent keeps the keys."""
        return ()

    def recipients_files(self, wanted: Sequence[str], old: bytes = b"") -> dict[str, bytes]:
        """Return `.gpg-id` and, with PASSWORD_STORE_SIGNING_KEY, its signature.

        See `filevault.backends.protocols.RecipientsBackend`. Raises as `sign`.
        """

        def names_of(entry: str) -> list[str]:
            return [recipient.name for recipient in self._keys.resolve([entry])]

        data = gpg_id.build(wanted, old, names_of)
        signature = self.sign(data)
        files = {} if signature is None else {gpg_id.SIGNATURE: signature}
        return {**files, gpg_id.FILE: data}

    def sign(self, data: bytes) -> bytes | None:
        """Return the `.gpg-id.sig` for the bytes of a `.gpg-id`, None if none is required.

        It is made with the first key of PASSWORD_STORE_SIGNING_KEY, as by pass, and verified.
        Raises as `decrypt`.
        """
        keys = signing_keys(self._gpg.environment)
        if not keys:
            return None
        what = f"a signature by {keys[0]}"
        reply = self._unlocked(lambda passphrase: self._gpg.sign(data, keys[0], passphrase))
        if reply.status != 0 or not reply.output:
            if status.NO_AGENT in reply.codes():
                raise self._no_agent(reply)
            raise status.refusal(reply, what) or LockedError(
                f"{what} cannot be made: {reply.complaint()}"
            )
        check_signature(self._gpg, data, reply.output, keys, gpg_id.FILE)
        return reply.output

    def _unlocked(self, attempt: Callable[[bytes | None], Reply]) -> Reply:
        """Run an operation that needs a secret key, with a passphrase only if it needs one.

        Keys that gpg-agent has unlocked already are used first.
        """
        reply = attempt(self._secret.value if self._secret else None)
        if reply.count("PINENTRY_LAUNCHED"):
            self._on_asked()
        if self._passphrase is None:
            return reply
        while status.wants_passphrase(reply) or status.rejects_passphrase(reply):
            if self._secret is not None and status.rejects_passphrase(reply):
                rejected, self._secret = self._secret, None
                self._passphrase.on_rejected(rejected)
            if self._secret is not None:
                return reply  # the passphrase was not rejected: the cause is another one
            secret = self._passphrase.secret()
            if secret.kind != "passphrase":
                raise LockedError(
                    f"gpg keys are opened with a passphrase, and {printable(secret.origin)} gives "
                    "a key"
                )
            self._secret = secret
            reply = attempt(secret.value)
        return reply

    def _explained(self, reply: Reply, key_ids: Sequence[str], passphrase: bytes | None) -> Reply:
        """Add the reason why no secret key was used, if gpg does not report it.

        Either there is none, or gpg cannot reach its agent (which raises ProgramError), or
        gpg.conf has `quiet`.
        """
        if reply.status == 0 or not status.no_secret_key(reply):
            return reply
        listing = self._gpg.listing("--list-secret-keys", "--", *key_ids)
        if status.NO_AGENT in listing.codes():
            raise self._no_agent(listing)
        if not keys.secret_key_ids(listing) & set(key_ids):
            return reply
        if passphrase is not None:
            return status.with_code(reply, status.BAD_PASSPHRASE)
        asked = self._gpg.may_ask
        code = status.NO_PASSPHRASE if asked else status.NO_PINENTRY
        return status.with_code(reply, code)

    def _no_agent(self, reply: Reply) -> ProgramError:
        home = self._gpg.home
        if not os.access(home, os.W_OK):
            reason = f"{printable(home)!r} cannot be written to"
        elif len(os.fsencode(home + _SOCKET)) > _LONGEST_SOCKET:
            reason = f"the path {printable(home)!r} is too long for its socket"
        else:
            reason = reply.agent_complaint()
        return ProgramError(
            f"gpg cannot start its agent, which keeps the secret keys: {reason}",
            hint="set GNUPGHOME to a writable folder with a short path; in a container with a "
            "read-only home, copy ~/.gnupg to a tmpfs first",
        )

    def _present(self) -> tuple[Recipient, ...]:
        """Return the root's recipients whose secret key is available.

        If that cannot be determined, those that are pinned: never those that only a file names.
        """
        governor = self._read().nearest(self._prefix)
        if governor is None:
            raise _no_recipients(self._store.path)
        here = self._keys.secret([r for r in governor.recipients if r.problem is None])
        if here is None:
            here = self._keys.resolve(self._pinned())
        if not here:
            raise NotARecipientError(
                f"no secret key of the recipients in {printable(governor.file.path)!r} is here"
            )
        return here

    def _governor(self, name: str) -> ResolvedFile:
        governor = self._read().nearest([*self._prefix, *self._folders_of(name)])
        if governor is None:
            raise _no_recipients(self._store.path)
        return governor

    def _read(self) -> GpgRecipients:
        if self._recipients is None:
            self._recipients = governing.read(self._store, self._prefix, self._gpg, self._keys)
            for notice in self._recipients.notices:
                self._warn(notice)
        return self._recipients


def _item(name: str) -> str:
    return f"item {printable(name, 200)!r}"


def _no_recipients(path: str) -> NoVaultError:
    return NoVaultError(
        f"nothing in {printable(path)!r} says which gpg keys to encrypt to: there is no "
        f"{gpg_id.FILE}",
        hint="filevault init --backend pass makes one",
    )


def _check_usable(
    recipients: Sequence[Recipient],
    what: str,
    otherwise: str = f"change the {gpg_id.FILE}",
    choose: str = "filevault recipients add with one of these replaces the id",
) -> None:
    for recipient in recipients:
        if recipient.problem is not None:
            hint = "gpg --import the key, gpg --locate-keys or extend it, or " + otherwise
            if recipient.candidates:
                hint = f"write the full fingerprint; {choose}: {' or '.join(recipient.candidates)}"
            raise BackendError(
                f"{what} cannot be encrypted to {printable(recipient.name, 200)!r}: it "
                f"{recipient.problem}",
                hint=hint,
            )
