"""What would unlock the vault: each source of a secret, in its order. None of them is read."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from filevault.backends.definition import SEALED
from filevault.checks.diagnosis import Diagnosis, Fact
from filevault.checks.finding import ERROR, WARNING, Finding, error_finding
from filevault.errors import FilevaultError, LockedError
from filevault.system.printable import printable, shell_word
from filevault.system.search_path import find_program
from filevault.unlock import secret_sources
from filevault.unlock.identities import NamedIdentities

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from filevault.checks.diagnosis import MachineState
    from filevault.config.settings import Settings
    from filevault.unlock.secret_sources import NamedSource
    from filevault.vault.choose import VaultChoice

_TERMINAL = "a person at the terminal"


def check(machine: MachineState) -> Diagnosis:
    """Return what opens the vault, and what is wrong with it."""
    choice = machine.vault_if_chosen()
    if choice is None:
        return Diagnosis()
    if choice.backend.family == SEALED:
        return _sealed(machine, choice)
    if choice.backend.has_identities:
        return _identities(machine, choice)
    agent = "gpg" if choice.backend.agent is None else choice.backend.agent.name
    return Diagnosis((Fact("opened by", f"{choice.backend.keys_name or 'keys'}, by {agent}"),))


def _sealed(machine: MachineState, choice: VaultChoice) -> Diagnosis:
    settings, kinds = machine.settings, ("passphrase", "keyfile")
    try:
        source = secret_sources.named_source(settings, *kinds)
    except FilevaultError as error:
        return Diagnosis(findings=(error_finding("unlocking", "unlocking", error),))
    if source is not None:
        return Diagnosis(
            (Fact("opened by", f"{printable(source.origin)} ({_transport(source, settings)})"),),
            tuple(_source_findings(source, settings)),
        )
    provided = _provided(settings, *reversed(kinds))
    if provided is not None:
        return Diagnosis((Fact("opened by", f"the credential {printable(provided)}"),))
    if machine.terminal:
        return Diagnosis((Fact("opened by", _TERMINAL),))
    if machine.key_cache().entries(choice.state_id):
        return Diagnosis((Fact("opened by", "cached keys only, as long as they last"),))
    message = "there is no terminal here, no cached key, and no other source of the passphrase"
    hint = "filevault unlock on a terminal first, or set FILEVAULT_PASSPHRASE_FILE or the like"
    found = Finding("unlocking", "unlocking", WARNING, message, hint=hint)
    return Diagnosis((Fact("opened by", "nothing"),), (found,))


def _identities(machine: MachineState, choice: VaultChoice) -> Diagnosis:
    settings = machine.settings
    try:
        named = secret_sources.identity_files(settings)
        if not named:
            source = secret_sources.named_source(settings, "identity")
            named = [] if source is None else [source]
        files = NamedIdentities(settings, passage=choice.passage).files()
    except FilevaultError as error:
        return Diagnosis(findings=(error_finding("unlocking", "unlocking", error),))
    if named:
        names = ", ".join(
            f"{printable(each.origin)} ({_transport(each, settings)})" for each in named
        )
        found = [finding for each in named for finding in _source_findings(each, settings)]
        return Diagnosis((Fact("opened by", names),), tuple(found))
    provided = _provided(settings, "identity")
    if provided is not None:
        return Diagnosis((Fact("opened by", f"the credential {printable(provided)}"),))
    return Diagnosis(
        (Fact("opened by", ", ".join(map(printable, files))),),
        tuple(finding for path in files for finding in _file_findings(path, path)),
    )


def _provided(settings: Settings, *kinds: str) -> str | None:
    """Return the credential of systemd or a container runtime that would be used."""
    names = {
        "keyfile": "filevault-key",
        "passphrase": "filevault-passphrase",
        "identity": "filevault-age-identity",
    }
    for kind in kinds:
        for path in settings.system_credentials(names[kind]):
            if os.path.lexists(path):
                return path
    return None


def _transport(source: NamedSource, settings: Settings) -> str:
    if source.transport == "file":
        is_path = secret_sources.not_a_path(source, settings) is None
        return printable(source.content) if is_path else "no file"
    return {"value": "its value", "fd": "a descriptor", "command": "what a command prints"}[
        source.transport
    ]


def _source_findings(source: NamedSource, settings: Settings) -> Iterator[Finding]:
    if source.transport == "file":
        mistaken = secret_sources.not_a_path(source, settings)
        if mistaken is not None:
            yield error_finding(source.origin, "unlocking", mistaken)
            return
        yield from _file_findings(settings.expand(source.content), source.origin)
    elif source.transport == "fd":
        try:
            os.fstat(int(source.content))
        except (OSError, ValueError):
            message = "names no open descriptor"
            yield Finding(source.origin, "unlocking", ERROR, message, LockedError.exit_status)
    elif source.transport == "command":
        yield from _command_findings(source, settings)


def _file_findings(path: str, origin: str) -> Iterator[Finding]:
    """Yield why the file of a secret would be refused, as `read_secret` would."""
    shown, status = printable(path), LockedError.exit_status
    try:
        info = os.stat(path)
    except OSError as error:
        message = f"{shown!r} cannot be read: {(error.strerror or 'unknown reason').lower()}"
        yield Finding(origin, "unlocking", ERROR, message, status, "check the path")
        return
    if not stat.S_ISREG(info.st_mode):
        return
    if info.st_uid not in (0, os.geteuid()):
        message = f"{shown!r} belongs to user {info.st_uid}, so it is refused"
        hint = "make a copy of your own with install -m 600"
        yield Finding(origin, "unlocking", ERROR, message, status, hint)
    elif info.st_mode & 0o022 or (info.st_uid == os.geteuid() and info.st_mode & 0o077):
        message = f"others can read or write {shown!r}, so it is refused"
        yield Finding(origin, "unlocking", ERROR, message, status, f"chmod 600 {shell_word(path)}")
    elif not os.access(path, os.R_OK, effective_ids=True):
        message = f"{shown!r} cannot be read: permission denied"
        yield Finding(origin, "unlocking", ERROR, message, status)


def _command_findings(source: NamedSource, settings: Settings) -> Iterator[Finding]:
    from filevault.system.programs import split

    words: Sequence[str]
    try:
        words = split(source.content, source.origin)
    except FilevaultError as error:
        yield error_finding(source.origin, "unlocking", error)
        return
    if find_program(words[0], settings.environ.get("PATH")) is None:
        # The words may contain a secret, and are not shown.
        message = "names a program that is not there"
        hint = "name it by its path"
        yield Finding(source.origin, "unlocking", ERROR, message, 7, hint)
