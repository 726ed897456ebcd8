"""`filevault status`: what is open, and until when."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from filevault.backends.protocols import Family
from filevault.cli.wiring import session_key_mark
from filevault.errors import FilevaultError
from filevault.keycache.cached_key import IDENTITIES_MARK, SESSION
from filevault.system.printable import printable
from filevault.system.times import format_time
from filevault.vault.choose import must_exist

if TYPE_CHECKING:
    import argparse

    from filevault.cli.context import Context

DESCRIPTION = """Show which keys of the vault are held, where, and until when.

Nothing is unlocked for it."""


def configure(_parser: argparse.ArgumentParser) -> None:
    """Declare nothing: there are the global options only."""


def run(_args: argparse.Namespace, context: Context) -> int:
    """Print the vault and one line for each key that is held."""
    choice = context.choice
    held = context.key_cache.entries(choice.state_id)
    if not held:
        # A key may be left of a vault that is gone; without one, the name may be mistyped.
        must_exist(choice, context.settings.state_home)
    context.reporter.result(f"vault: {printable(choice.root)} ({choice.backend.name})")
    marks = _marks(context) if held else ()
    for status in held:
        what = "sessions" if status.key_type == SESSION else "long-term keys"
        state = "unlocked" if status.mark in marks else "locked; a former key is held"
        until = format_time(round(context.runtime.clock() + status.seconds))
        context.reporter.result(f"{what}: {state} until {until} ({status.store})")
    if not held:
        context.reporter.result("locked")
    return 0


def _marks(context: Context) -> set[str | None]:
    """Return what keys belong to that open the vault as it is now."""
    choice = context.choice
    marks: set[str | None] = {IDENTITIES_MARK} if choice.backend.has_identities else set()
    marks.add(session_key_mark(context))
    if choice.backend.family is Family.SEALED:
        with contextlib.suppress(FilevaultError):
            context.open_unpinned()
            marks.add(context.pin().commitment)
    return marks
