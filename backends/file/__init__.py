"""The `file` backend: items under a master key that passphrases and key files unwrap."""

from __future__ import annotations

from filevault.backends.definition import SEALED, Backend

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.backends.definition import VaultParts
    from filevault.backends.file.vault_json import Marker
    from filevault.backends.kdf import KdfParameters, KdfPolicy
    from filevault.backends.protocols import SealedBackend
    from filevault.system.files import Folder


def _open(parts: VaultParts) -> SealedBackend:
    """Open a vault, as `FileBackend.open` does."""
    from filevault.backends.file.backend import FileBackend

    return FileBackend.open(parts)


def _create(
    root: Folder,
    *,
    passphrase: bytes | None,
    keyfile_text: bytes | None,
    policy: KdfPolicy,
    parameters: KdfParameters | None,
    clock: Callable[[], float],
) -> SealedBackend:
    """Make a vault, as `filevault.backends.file.new_vault.create` does."""
    from filevault.backends.file import new_vault

    return new_vault.create(
        root,
        passphrase=passphrase,
        keyfile_text=keyfile_text,
        policy=policy,
        parameters=parameters,
        clock=clock,
    )


def unlocked_backend(marker: Marker, master: bytes) -> SealedBackend:
    """Return the unlocked backend of a vault from its master key.

    Args:
        marker: what its vault.json says, or said when this was its key.
        master: the master key.
    """
    from filevault.backends.file.backend import FileBackend
    from filevault.backends.file.unlock import UnlockResult

    return FileBackend.opened(marker, UnlockResult(master, None))


FILE = Backend(
    name="file",
    suffix=".fv",
    marker=".filevault/vault.json",
    family=SEALED,
    opener=_open,
    aliases=("passphrase",),
    creator=_create,
    has_keyslots=True,
)
