"""gpg without a desktop: its home, its agent's pinentry, and the terminal that it asks on."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from filevault.backends.definition import RECIPIENTS
from filevault.backends.gpg.process import refuse_others
from filevault.checks.diagnosis import Diagnosis
from filevault.checks.finding import ERROR, WARNING, Finding
from filevault.errors import ProgramError
from filevault.system.printable import printable, shell_word
from filevault.system.search_path import find_program, is_executable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filevault.checks.diagnosis import MachineState

_LIMIT = 64 << 10  # bytes of gpg-agent.conf
_GRAPHICAL = ("pinentry-gnome3", "pinentry-gtk", "pinentry-gtk-2", "pinentry-qt", "pinentry-qt5")


def check(machine: MachineState) -> Diagnosis:
    """Return what keeps gpg from opening a key here; nothing for another backend."""
    choice = machine.vault_if_chosen()
    if choice is None or choice.backend.family != RECIPIENTS or choice.backend.has_identities:
        return Diagnosis()
    return Diagnosis(findings=tuple(_findings(machine)))


def _findings(machine: MachineState) -> Iterator[Finding]:
    home = machine.get("GNUPGHOME")
    path = machine.settings.expand(home) if home else f"{machine.settings.home}/.gnupg"
    try:
        info = os.stat(path)
    except OSError:
        message = "gpg has no keys here: the folder is missing"
        hint = "gpg --import the secret key, or set GNUPGHOME"
        yield Finding(printable(path), "gpg", ERROR, message, 7, hint)
        return
    try:
        refuse_others(path, machine.settings.environ)
    except ProgramError as error:
        yield Finding(printable(path), "gpg", ERROR, error.message, 7, error.hint)
    if info.st_uid == os.geteuid() and info.st_mode & 0o077:
        message = "others have access to gpg's folder"
        hint = f"chmod 700 {shell_word(path)}"
        yield Finding(printable(path), "gpg", WARNING, message, hint=hint)
    yield from _pinentry(machine, f"{path}/gpg-agent.conf")
    yield from _tty(machine)


def _pinentry(machine: MachineState, path: str) -> Iterator[Finding]:
    program = None
    try:
        with open(path, "rb") as file:
            lines = file.read(_LIMIT).decode("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        word, _, rest = line.strip().partition(" ")
        if word == "pinentry-program":
            program = rest.strip()
    hint = "install pinentry-curses or pinentry-tty and name it there; then gpgconf --kill all"
    if program is None:
        if find_program("pinentry", machine.settings.environ.get("PATH")) is None:
            message = "there is no pinentry: gpg-agent cannot ask for a passphrase"
            yield Finding("gpg-agent", "gpg", WARNING, message, hint=f"{hint} (gpg-agent.conf)")
        return
    if not is_executable(program):
        message = f"its pinentry-program {printable(program, 200)!r} is not there"
        yield Finding(printable(path), "gpg", ERROR, message, 7, hint)
    elif os.path.basename(program) in _GRAPHICAL and not (
        machine.get("DISPLAY") or machine.get("WAYLAND_DISPLAY")
    ):
        message = f"{printable(program, 200)!r} needs a desktop, and there is none"
        yield Finding(printable(path), "gpg", WARNING, message, hint=hint)


def _tty(machine: MachineState) -> Iterator[Finding]:
    tty = machine.get("GPG_TTY")
    if tty is None:
        return  # filevault sets it for gpg
    try:
        there = stat.S_ISCHR(os.stat(tty).st_mode)
    except (OSError, ValueError):
        there = False
    if not there:
        message = f"names {printable(tty, 80)!r}, which is no terminal: gpg cannot ask there"
        hint = "export GPG_TTY=$(tty) in the shell's start file, or unset it"
        yield Finding("GPG_TTY", "gpg", WARNING, message, hint=hint)
    elif not os.access(tty, os.R_OK | os.W_OK):
        message = f"names {printable(tty, 80)!r}, which belongs to another session"
        hint = "export GPG_TTY=$(tty)"
        yield Finding("GPG_TTY", "gpg", WARNING, message, hint=hint)
