"""The state directory of a vault on this machine, with its sessions and `trust.json`."""

from __future__ import annotations

import os

from filevault.errors import StorageError
from filevault.system.files import Folder
from filevault.system.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.config.settings import Settings
    from filevault.system.inputs import Inputs
    from filevault.vault.choose import VaultChoice

SSO_FOLDER = "sso"
TOKEN_FOLDERS = (SSO_FOLDER, "login")
"""The folders of token records below the state directory."""


def open_state_directory(
    settings: Settings, choice: VaultChoice, notice: Callable[[str], None]
) -> tuple[Folder | None, bool]:
    """Open a vault's state directory; return whether it can be written.

    Args:
        settings: with the folder of all state directories.
        choice: the vault.
        notice: called with the reason if nothing can be stored there.

    Returns:
        The directory, None if it must not be used, and whether it can be written.
    """
    home = settings.state_home
    path = f"{home}/{choice.state_id}"
    shown = printable(path)
    try:
        folder = Folder.make(path, settings.home_if_known, inputs=settings.inputs)
    except (StorageError, FileNotFoundError) as error:
        notice(
            f"no session is kept and nothing is remembered: {error}; HOME or XDG_STATE_HOME "
            "can name a folder for that"
        )
        return None, False
    if not _is_trusted_owner(os.fstat(folder.fd).st_uid, choice, settings.inputs):
        folder.close()
        notice(f"no session is kept: {shown} belongs to another user")
        return None, False
    if not os.access(".", os.W_OK | os.X_OK, dir_fd=folder.fd, effective_ids=True):
        notice(f"no session is kept and nothing is remembered: {shown} is read-only")
        return folder, False
    inputs = settings.inputs
    inputs.writable(path)
    return folder, _is_private(home, notice, inputs) and _is_private(path, notice, inputs)


def _is_trusted_owner(owner: int, choice: VaultChoice, inputs: Inputs) -> bool:
    """Return whether to believe a state directory of this owner.

    That is this user; for root also the owner of the vault, for whom root works then.
    """
    if owner == os.geteuid():
        return True
    inputs.spoil("the state directory belongs to another user")
    if os.geteuid() != 0:
        return False
    try:
        return os.stat(choice.store).st_uid == owner
    except OSError:
        return True  # the vault does not exist


def _is_private(path: str, notice: Callable[[str], None], inputs: Inputs) -> bool:
    """Make a state directory writable by this user only; return whether it is."""
    try:
        with Folder.open(path, inputs=inputs) as folder:
            info = os.fstat(folder.fd)
            if not info.st_mode & 0o022:
                return True
            if info.st_uid == os.geteuid():
                os.fchmod(folder.fd, 0o700)
                notice(f"others could write {printable(path)}; its mode is 0700 now")
                return True
    except (OSError, StorageError):
        pass
    notice(f"no session is kept: others can write {printable(path)}")
    return False
