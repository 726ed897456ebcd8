"""The recipients files of a `pass` store, and which of them governs an item.

All are read at once, verified and resolved. The file that governs an item is chosen from the
result, so that a later change of a file has no effect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.backends.gpg import gpg_id
from filevault.backends.gpg.keys import Recipient
from filevault.backends.gpg.signature import check_signature, signing_keys
from filevault.backends.values import RecipientsFile
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


class ResolvedFile(Record):
    """A recipients file with the recipients that its ids are resolved to."""

    file: RecipientsFile
    recipients: tuple[Recipient, ...]


class GpgRecipients(Record):
    """The files that were read. `depth` counts the folders from the store to the root."""

    root: ResolvedFile | None
    below: dict[str, ResolvedFile]
    override: ResolvedFile | None
    notices: tuple[str, ...]
    depth: int

    def files(self) -> tuple[RecipientsFile, ...]:
        """Return the file that governs the root, those below it by path, and the override."""
        everything = (self.root, *self.below.values(), self.override)
        return tuple(governor.file for governor in everything if governor is not None)

    def nearest(self, folders: Sequence[str]) -> ResolvedFile | None:
        """Return the file that governs a folder, given from the store, at or below the root."""
        if self.override is not None:
            return self.override
        for length in range(len(folders), self.depth, -1):
            governor = self.below.get("/".join(folders[:length]))
            if governor is not None:
                return governor
        return self.root


def read(store: Folder, prefix: Sequence[str], gpg: Gpg, gpg_keys: GpgKeys) -> GpgRecipients:
    """Read every recipients file of a vault, and PASSWORD_STORE_KEY.

    An unusable one below the root is represented by the hash of its bytes, unresolved: it must not
    prevent writes to the rest of the store.

    Raises:
        BackendError: for one that has no recipients or cannot be read.
        TamperedError: for one without the signature that PASSWORD_STORE_SIGNING_KEY requires.
        ProgramError: if gpg cannot be run.
    """
    keys = signing_keys(gpg.environment)
    notices: list[str] = []

    def resolved(path: str, ids: GpgIds) -> ResolvedFile:
        notices.extend(ids.notices)
        recipients = gpg_keys.resolve(ids.ids)
        names = tuple(recipient.name for recipient in recipients)
        unresolved = tuple(r.name for r in recipients if r.problem is not None)
        return ResolvedFile(RecipientsFile(path, names, unresolved), recipients)

    def verified(file: GpgIdFile) -> ResolvedFile:
        if keys:
            check_signature(gpg, file.data, file.signature, keys, file.path)
        return resolved(file.path, gpg_id.parse(file.data, file.path))

    def verified_or_not(file: GpgIdFile) -> ResolvedFile:
        """Return a placeholder for an unusable file, which affects only its own folder."""
        try:
            return verified(file)
        except (BackendError, TamperedError) as error:
            if isinstance(error, ProgramError):
                raise
            name = f"unusable, sha256:{sha256_hex(file.data)}"
            problem = f"is no list of keys: {error.message}"
            unusable = Recipient(name, frozenset(), problem)
            return ResolvedFile(RecipientsFile(file.path, (name,), (name,)), (unusable,))

    above = gpg_id.read_above(store, prefix)
    below = gpg_id.read_below(store, prefix)
    override = gpg.environment.get(VARIABLE, "")
    return GpgRecipients(
        None if above is None else verified(above),
        {file.path.removesuffix(f"/{gpg_id.FILE}"): verified_or_not(file) for file in below},
        resolved(OVERRIDE, gpg_id.parse_variable(override, VARIABLE)) if override else None,
        tuple(notices),
        len(prefix),
    )
