"""filevault, Python, and the programs that filevault starts, with their versions."""

from __future__ import annotations

import os
import platform
import re
from typing import TYPE_CHECKING

from filevault import __version__
from filevault.backends.definition import RECIPIENTS
from filevault.checks.diagnosis import Diagnosis, Fact
from filevault.checks.finding import ERROR, Finding, error_finding
from filevault.errors import FilevaultError, ProgramError
from filevault.git.environment import for_git
from filevault.git.program import refuse_others
from filevault.system.printable import printable
from filevault.system.programs import run
from filevault.system.search_path import find_program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filevault.checks.diagnosis import MachineState

# Each prints its version with --version.
_PROGRAMS = ("gpg", "git", "pass", "age", "ykman", "aws")
_TIMEOUT = 5.0  # seconds for one program


def check(machine: MachineState) -> Diagnosis:
    """Return the versions, and which program the vault needs and lacks, or may not run."""
    facts = [
        Fact("filevault", __version__),
        Fact("python", f"{platform.python_version()} on {platform.system()} {platform.release()}"),
    ]
    facts += [Fact(name, _distribution(name)) for name in ("botocore", "cryptography")]
    path = machine.settings.environ.get("PATH")
    missing = []
    for name in _PROGRAMS:
        program = find_program(name, path)
        if program is None:
            missing.append(name)
        else:
            facts.append(Fact(name, f"{printable(program)} {_version(machine, program)}".rstrip()))
    if missing:
        facts.append(Fact("not there", ", ".join(missing)))
    return Diagnosis(tuple(facts), tuple(_needed(machine, missing)))


def _needed(machine: MachineState, missing: list[str]) -> Iterator[Finding]:
    choice = machine.vault_if_chosen()
    if choice is None:
        return
    status = ProgramError.exit_status
    uses_gpg = choice.backend.family == RECIPIENTS and not choice.backend.has_identities
    if uses_gpg and "gpg" in missing:
        message = "is not in PATH, and the vault cannot be opened without it"
        yield Finding("gpg", "tools", ERROR, message, status, "install gnupg")
    if not os.path.lexists(f"{choice.store}/.git"):
        return
    if "git" in missing:
        message = "is not in PATH, and the vault is in a git repository"
        yield Finding("git", "tools", ERROR, message, status, "install git")
        return
    try:
        refuse_others(for_git(machine.settings.program_environment()))
    except ProgramError as error:
        yield error_finding("git", "tools", error)


def _distribution(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _version(machine: MachineState, program: str) -> str:
    """Return the version that a program prints, "" if it prints none in time.

    Its HOME is no folder, so that it can neither read nor write anything there.
    """
    environment = {
        "PATH": machine.settings.environ.get("PATH", ""),
        "HOME": os.devnull,
        "GNUPGHOME": os.devnull,
        "LC_ALL": "C",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    try:
        result = run((program, "--version"), environment, origin=program, timeout=_TIMEOUT)
    except FilevaultError:
        return ""
    first = result.output[:2000].decode("utf-8", "replace")
    found = re.search(r"\d+(?:\.\d+)+[\w.+-]*", first)
    return found.group() if found else ""
