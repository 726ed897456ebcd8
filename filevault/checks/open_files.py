"""Files with credentials, and the vault's own, that other users can read or write."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from filevault.backends.definition import SEALED
from filevault.checks.diagnosis import Diagnosis
from filevault.checks.finding import WARNING, Finding
from filevault.checks.leftovers import CACHES
from filevault.system.printable import printable, shell_word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filevault.checks.diagnosis import MachineState

_MAX_FILES = 200  # of one folder


def check(machine: MachineState) -> Diagnosis:
    """Return what has too open a mode. Contents are not read."""
    return Diagnosis(findings=(*_credentials(machine), *_vault(machine)))


def _credentials(machine: MachineState) -> Iterator[Finding]:
    settings, home = machine.settings, machine.home()
    paths = [settings.aws_credentials_path]
    for folder, _hint in CACHES if home is not None else ():
        paths += _files(f"{home}/{folder}")
    for path in paths:
        info = _status(path)
        if info is not None and stat.S_ISREG(info.st_mode) and info.st_mode & 0o077:
            message = f"others can {_what(info.st_mode)} it, and it is for credentials"
            hint = f"chmod 600 {shell_word(path)}"
            yield Finding(printable(path), "mode", WARNING, message, hint=hint)
    for path in (settings.aws_config_path, settings.config_path):
        info = _status(path)
        if info is not None and stat.S_ISREG(info.st_mode) and info.st_mode & 0o022:
            message = "others can write it, and so choose your accounts and programs"
            hint = f"chmod go-w {shell_word(path)}"
            yield Finding(printable(path), "mode", WARNING, message, hint=hint)


def _vault(machine: MachineState) -> Iterator[Finding]:
    choice = machine.vault_if_chosen()
    if choice is None:
        return
    info = _status(choice.root) or _status(choice.store)
    if info is None:
        return
    subject = printable(choice.root)
    if info.st_mode & 0o002:
        message = "every user can delete and exchange items of the vault"
        hint = f"chmod o-w {shell_word(choice.root)}"
        yield Finding(subject, "mode", WARNING, message, hint=hint)
    elif choice.backend.family == SEALED and info.st_mode & 0o005:
        message = "every user can copy the vault, and guess its passphrase at leisure"
        hint = f"chmod o-rwx {shell_word(choice.root)}"
        yield Finding(subject, "mode", WARNING, message, hint=hint)


def _what(mode: int) -> str:
    return "write" if mode & 0o022 else "read"


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except (OSError, ValueError):
        return None


def _files(path: str) -> list[str]:
    found = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                found.append(f"{path}/{entry.name}")
                if len(found) >= _MAX_FILES:
                    break
    except OSError:
        return []
    return sorted(found)
