"""New passphrases: from their own variables, or typed twice at the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import LockedError, NoTerminalError
from filevault.system.secret_buffer import overwrite
from filevault.unlock import secret_sources
from filevault.unlock.secret_sources import check_text
from filevault.unlock.unlocker import TRIES

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.config.settings import Settings
    from filevault.system.secret_buffer import SecretBytes
    from filevault.unlock.given_passphrases import GivenPassphrases
    from filevault.unlock.prompt import Prompter


def new_passphrase(
    settings: Settings,
    prompter: Prompter,
    *,
    ordinary: bool,
    instead: str = "--generate",
    check: Callable[[bytes], None] | None = None,
    given: GivenPassphrases | None = None,
) -> bytes:
    """Return a new passphrase: from FILEVAULT_NEW_PASSPHRASE*, else from the terminal, twice.

    With `ordinary`, as for `init`, `--passphrase-*` and `FILEVAULT_PASSPHRASE*` are sources, too.
    `instead` names the options of the command that make one unnecessary. `check` raises for one
    that is too weak, before it is asked for again. `given` has what this run has read already.
    Raises NoTerminalError without a source and a terminal, LockedError if the answers are empty or
    differ three times.
    """
    source = secret_sources.new_passphrase_source(settings)
    if source is None and ordinary:
        source = secret_sources.named_source(settings, "passphrase")
    if source is not None:
        read = secret_sources.read_source if given is None else given.read
        secret = read(source, settings, lambda text: prompter.say(f"filevault: {text}"))
        return _checked(_kept(secret.content), check)
    provided = secret_sources.provided_secret(settings, "passphrase") if ordinary else None
    if provided is not None:
        return _checked(_kept(provided.content), check)
    if not prompter.present:
        raise NoTerminalError(
            "there is no terminal to ask for a new passphrase, and no source of one is given",
            hint="set FILEVAULT_NEW_PASSPHRASE or its _FILE, _FD, _COMMAND forms, or give "
            f"{'--passphrase-file, ' if ordinary else ''}{instead}",
        )
    for _ in range(TRIES):
        first = prompter.hidden("New passphrase: ")
        if not first:
            raise LockedError("no passphrase was given")
        passphrase = _checked(check_text(_kept(first), "the passphrase"), check)
        second = prompter.hidden("The same again: ")
        same = passphrase == second
        overwrite(second)
        if same:
            return passphrase
        prompter.say("The two are not the same. Try again.")
    raise LockedError("the two passphrases differed three times")


def _checked(passphrase: bytes, check: Callable[[bytes], None] | None) -> bytes:
    if check is not None:
        check(passphrase)
    return passphrase


def _kept(secret: SecretBytes) -> bytes:
    """Return a copy of a secret for the rest of this run, and overwrite the original."""
    kept = bytes(secret)
    overwrite(secret)
    return kept


def has_new_passphrase(settings: Settings, *, ordinary: bool) -> bool:
    """Return whether a source of a new passphrase is named, so that the user is not asked."""
    return secret_sources.new_passphrase_source(settings) is not None or (
        ordinary and secret_sources.named_source(settings, "passphrase") is not None
    )
