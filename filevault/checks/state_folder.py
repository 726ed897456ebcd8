"""The state directory of the vault: sessions and what this machine remembers of it."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from filevault.checks.diagnosis import Diagnosis, Fact
from filevault.checks.finding import WARNING, Finding
from filevault.system.printable import printable, shell_word

if TYPE_CHECKING:
    from filevault.checks.diagnosis import MachineState


def check(machine: MachineState) -> Diagnosis:
    """Return the folder, and whether sessions can be kept there."""
    choice = machine.vault_if_chosen()
    if choice is None:
        return Diagnosis()
    home = machine.settings.state_home
    path = f"{home}/{choice.state_id}"
    shown = printable(path)
    try:
        info = os.stat(path)
    except FileNotFoundError:
        return _not_made(path)
    except OSError as error:
        return _unusable(path, (error.strerror or "cannot be read").lower())
    if not stat.S_ISDIR(info.st_mode):
        return _unusable(path, "is no folder")
    vaults = os.stat(choice.store).st_uid
    if info.st_uid != os.geteuid() and not (os.geteuid() == 0 and info.st_uid == vaults):
        return _unusable(path, f"belongs to user {info.st_uid}")
    if not os.access(path, os.W_OK | os.X_OK, effective_ids=True):
        return _unusable(path, "is read-only")
    for each in (home, path):
        if os.stat(each).st_mode & 0o022:
            message = "others can write the state directory"
            hint = f"chmod 700 {shell_word(each)}"
            found = Finding(printable(each), "state", WARNING, message, hint=hint)
            return Diagnosis((Fact("state", shown),), (found,))
    return Diagnosis((Fact("state", shown),))


def _not_made(path: str) -> Diagnosis:
    folder = os.path.dirname(path)
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    if os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        return Diagnosis((Fact("state", f"{printable(path)} (not made yet)"),))
    return _unusable(path, f"cannot be made: {printable(folder)} is not writable")


def _unusable(path: str, why: str) -> Diagnosis:
    message = f"{why}, so no session is kept and nothing is remembered"
    hint = "HOME or XDG_STATE_HOME can name a folder for that"
    found = Finding(printable(path), "state", WARNING, message, hint=hint)
    return Diagnosis((Fact("state", printable(path)),), (found,))
