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
from filevault.system.times import format_local, format_time
from filevault.vault.choose import must_exist

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from filevault.cli.context import Context
    from filevault.cli.parser import Parser
    from filevault.cli.sign_ins import SignIn
    from filevault.keycache.cache import CacheEntry
    from filevault.vault.choose import VaultChoice

DESCRIPTION = """Show which keys of the vault are cached, where, and until when; and the sign-ins.

Nothing is unlocked."""


def configure(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument("--local", action="store_true", help="show local times")
    parser.add_argument("--json", action="store_true", help="print an object")


def run(args: argparse.Namespace, context: Context) -> int:
    """Print the vault, a line for each cached key, and one for each sign-in."""
    choice = choose_vault(context)
    cached = context.key_cache.entries(choice.state_id)
    if not cached:
        # A key may be cached for a vault that was deleted; if not, the path may be mistyped.
        must_exist(choice, context.settings.state_home)
    marks = _marks(choice, context) if cached else set()
    now = context.runtime.clock()
    signed_in: list[SignIn] = []
    with (
        contextlib.suppress(FilevaultError),
        open_vault(choice, context, checks_pin=False) as opened,
    ):
        signed_in = sign_ins(opened, now)
    if args.json:
        _print_json(choice, cached, marks, signed_in, context)
        return 0
    context.reporter.result(f"vault: {printable(choice.root)} ({choice.backend.name})")
    shown = format_local if args.local else format_time
    for status in cached:
        what = "sessions" if status.key_type == SESSION else "long-term keys"
        state = "unlocked" if status.mark in marks else "locked; a former key is cached"
        until = shown(round(now + status.seconds))
        context.reporter.result(f"{what}: {state} until {until} ({status.store})")
    if not cached:
        context.reporter.result("locked")
    for each in signed_in:
        context.reporter.result(each.sentence(local=args.local))
    return 0


def _print_json(
    choice: VaultChoice,
    cached: Sequence[CacheEntry],
    marks: set[str | None],
    signed_in: Sequence[SignIn],
    context: Context,
) -> None:
    now = context.runtime.clock()
    context.reporter.json(
        {
            "vault": choice.root,
            "backend": choice.backend.name,
            "unlocked": any(each.mark in marks for each in cached),
            "keys": [
                {
                    "opens": "sessions" if each.key_type == SESSION else "long-term keys",
                    "former": each.mark not in marks,
                    "until": format_time(round(now + each.seconds)),
                    "seconds_left": round(each.seconds),
                    "store": each.store,
                }
                for each in cached
            ],
            "signed_in": [each.json() for each in signed_in],
        }
    )


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
