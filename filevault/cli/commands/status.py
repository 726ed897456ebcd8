"""`filevault status`: show which keys are cached and who is signed in, and until when."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from filevault.backends.definition import SEALED
from filevault.cli.open_vault import choose_vault, open_vault, session_key_mark
from filevault.cli.sign_ins import sign_ins
from filevault.errors import FilevaultError
from filevault.keycache.cached_key import IDENTITIES_MARK, SESSION
from filevault.system.printable import printable
from filevault.system.times import format_time
from filevault.vault.choose import must_exist

if TYPE_CHECKING:
    import argparse

    from filevault.cli.context import Context
    from filevault.vault.choose import VaultChoice

DESCRIPTION = """Show which keys of the vault are cached, where, and until when; and the sign-ins.

Nothing is unlocked."""


def configure(_parser: argparse.ArgumentParser) -> None:
    """Declare no options: there are only the global ones."""


def run(_args: argparse.Namespace, context: Context) -> int:
    """Print the vault, a line for each cached key, and one for each sign-in."""
    choice = choose_vault(context)
    cached = context.key_cache.entries(choice.state_id)
    if not cached:
        # A key may be cached for a vault that was deleted; if not, the path may be mistyped.
        must_exist(choice, context.settings.state_home)
    context.reporter.result(f"vault: {printable(choice.root)} ({choice.backend.name})")
    marks = _marks(choice, context) if cached else ()
    for status in cached:
        what = "sessions" if status.key_type == SESSION else "long-term keys"
        state = "unlocked" if status.mark in marks else "locked; a former key is cached"
        until = format_time(round(context.runtime.clock() + status.seconds))
        context.reporter.result(f"{what}: {state} until {until} ({status.store})")
    if not cached:
        context.reporter.result("locked")
    with (
        contextlib.suppress(FilevaultError),
        open_vault(choice, context, checks_pin=False) as opened,
    ):
        for each in sign_ins(opened, context.runtime.clock()):
            context.reporter.result(each.sentence())
    return 0


def _marks(choice: VaultChoice, context: Context) -> set[str | None]:
    """Return the marks of the keys that open the vault as it is now."""
    marks: set[str | None] = {IDENTITIES_MARK} if choice.backend.has_identities else set()
    marks.add(session_key_mark(choice, context))
    if choice.backend.family == SEALED:
        with (
            contextlib.suppress(FilevaultError),
            open_vault(choice, context, checks_pin=False) as opened,
        ):
            marks.add(opened.pin().commitment)
    return marks
