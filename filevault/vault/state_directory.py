"""The state directory of a vault on this machine: sessions and `trust.json` lie in it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from filevault.errors import StorageError
from filevault.system.files import Folder
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.config.settings import Settings
    from filevault.vault.choose import VaultChoice


def open_state_directory(
    settings: Settings, choice: VaultChoice, notice: Callable[[str], None]
) -> tuple[Folder | None, bool]:
    """Open a vault's state directory; tell whether it can be written.

    Args:
        settings: which say where state directories lie.
        choice: the vault.
        notice: hears why nothing can be kept.
    """
    home = settings.state_home
    path = f"{home}/{choice.state_id}"
    shown = printable(path)
    try:
        folder = Folder.make(path, settings.home_if_known)
    except (StorageError, FileNotFoundError) as error:
        notice(
            f"no session is kept and nothing is remembered: {error}; HOME or XDG_STATE_HOME "
            "can name a folder for that"
        )
        return None, False
    if not _is_theirs(os.fstat(folder.fd).st_uid, choice):
        folder.close()
        notice(f"no session is kept: {shown} belongs to another user")
        return None, False
    if not os.access(".", os.W_OK | os.X_OK, dir_fd=folder.fd, effective_ids=True):
        notice(f"no session is kept and nothing is remembered: {shown} is read-only")
        return folder, False
    return folder, _is_private(home, notice) and _is_private(path, notice)


def _is_theirs(owner: int, choice: VaultChoice) -> bool:
    """Tell whether the owner of a state directory may say what was seen, and seal sessions.

    Root works for the owner of a vault, who gets what it writes, and for nobody else.
    """
    if owner == os.geteuid():
        return True
    if os.geteuid() != 0:
        return False
    try:
        return os.stat(choice.store).st_uid == owner
    except OSError:
        return True  # there is no vault


def _is_private(path: str, notice: Callable[[str], None]) -> bool:
    """See to it that nobody else can write a state directory; tell whether that is so."""
    try:
        with Folder.open(path) as folder:
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
