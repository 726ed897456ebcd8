"""Everything that says whom a `pass` store's items are encrypted to, read at one time.

Read once, verified and resolved; which file governs an item is decided on that, so a file that is
changed meanwhile changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.backends.gpg import gpg_id
from filevault.backends.gpg.keys import Recipient
from filevault.backends.gpg.signature import check_signature, signing_keys
from filevault.backends.protocols import RecipientsFile
from filevault.errors import BackendError, ProgramError, TamperedError
from filevault.system.digest import sha256_hex
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filevault.backends.gpg.gpg_id import GpgIdFile, GpgIds
    from filevault.backends.gpg.keys import GpgKeys
    from filevault.backends.gpg.process import Gpg
    from filevault.system.files import Folder

VARIABLE = "PASSWORD_STORE_KEY"
OVERRIDE = f"env:{VARIABLE}"


class Governor(Record):
    """A recipients file with what its ids are resolved to."""

    file: RecipientsFile
    recipients: tuple[Recipient, ...]


class GpgRecipients(Record):
    """What was read. `depth` is the number of folders from the store to the vault's root."""

    root: Governor | None
    below: dict[str, Governor]
    override: Governor | None
    notices: tuple[str, ...]
    depth: int

    def files(self) -> tuple[RecipientsFile, ...]:
        """Return what governs the root, then those below it by place, then the override."""
        everything = (self.root, *self.below.values(), self.override)
        return tuple(governor.file for governor in everything if governor is not None)

    def nearest(self, folders: Sequence[str]) -> Governor | None:
        """Return what governs a folder, given from the store, at or below the root."""
        if self.override is not None:
            return self.override
        for length in range(len(folders), self.depth, -1):
            governor = self.below.get("/".join(folders[:length]))
            if governor is not None:
                return governor
        return self.root


def read(store: Folder, prefix: Sequence[str], gpg: Gpg, keyring: GpgKeys) -> GpgRecipients:
    """Read every recipients file that concerns a vault, and PASSWORD_STORE_KEY.

    One below the root that cannot be used stands with the hash of its bytes, unresolved: it must
    not keep the rest of the store from being written.

    Raises:
        BackendError: for one that names nobody or cannot be read.
        TamperedError: for one without the signature that PASSWORD_STORE_SIGNING_KEY demands.
        ProgramError: if gpg cannot be run.
    """
    keys = signing_keys(gpg.environment)
    notices: list[str] = []

    def governor(place: str, ids: GpgIds) -> Governor:
        notices.extend(ids.notices)
        recipients = keyring.resolve(ids.ids)
        names = tuple(recipient.name for recipient in recipients)
        unresolved = tuple(r.name for r in recipients if r.problem is not None)
        return Governor(RecipientsFile(place, names, unresolved), recipients)

    def verified(file: GpgIdFile) -> Governor:
        if keys:
            check_signature(gpg, file.data, file.signature, keys, file.place)
        return governor(file.place, gpg_id.parse(file.data, file.place))

    def verified_or_not(file: GpgIdFile) -> Governor:
        """Let a file that cannot be used hinder nobody but what it governs."""
        try:
            return verified(file)
        except (BackendError, TamperedError) as error:
            if isinstance(error, ProgramError):
                raise
            name = f"unusable, sha256:{sha256_hex(file.data)}"
            problem = f"is no list of keys: {error.message}"
            unusable = Recipient(name, frozenset(), problem)
            return Governor(RecipientsFile(file.place, (name,), (name,)), (unusable,))

    above = gpg_id.read_above(store, prefix)
    below = gpg_id.read_below(store, prefix)
    override = gpg.environment.get(VARIABLE, "")
    return GpgRecipients(
        None if above is None else verified(above),
        {file.place.removesuffix(f"/{gpg_id.FILE}"): verified_or_not(file) for file in below},
        governor(OVERRIDE, gpg_id.parse_variable(override, VARIABLE)) if override else None,
        tuple(notices),
        len(prefix),
    )
