"""`filevault unlock`: open the vault once, for some hours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.cli.agent import start
from filevault.cli.arguments import duration
from filevault.errors import BackendError, UsageError
from filevault.keycache import IDENTITIES, LIMIT
from filevault.times import format_time

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from filevault.cli.context import Context

DESCRIPTION = """Open the vault once, so that nobody is asked for its passphrase for some hours.

What is held opens cached sessions, never a long-term key, unless --vault-key asks for that. It
lies in the kernel's keyring or, where the kernel refuses, in the memory of an agent."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--ttl",
        type=duration,
        metavar="TIME",
        help="for how long, e.g. 30m or 12h (config.toml's cache_ttl; default 8h)",
    )
    parser.add_argument(
        "--vault-key",
        action="store_true",
        help="hold what opens the long-term keys as well",
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Unlock and tell until when, and where the keys are held."""
    seconds = context.settings.config.cache_ttl if args.ttl is None else args.ttl
    if seconds <= 0:
        raise UsageError(
            "nothing is to be held: the time is 0", hint="give another with --ttl, e.g. --ttl 8h"
        )
    context.use_fresh_keys()
    vault = context.vault
    if args.vault_key and context.choice.backend == "pass":
        raise UsageError(
            "the keys of a pass vault are held by gpg-agent, not by filevault",
            hint="set default-cache-ttl and max-cache-ttl in gpg-agent.conf",
        )
    vault.unlock()
    vault.session_key()
    place = _hold(context, lambda: context.keys.hold_session_key(seconds))
    if not args.vault_key and context.keys.forget_vault_key():
        context.say("what opened the long-term keys was held, and is forgotten")
    if args.vault_key:
        key = vault.backend.vault_key()
        if key is None or len(key) > LIMIT:
            why = "ssh keys and plugins cannot be" if key is None else "there are too many"
            raise BackendError(f"sessions are unlocked, but no identity is held: {why}")
        mark = context.pin().commit or IDENTITIES
        _hold(context, lambda: context.keys.hold_vault_key(key, mark, seconds))
        context.warn(
            "until then every program that you run can read the long-term keys; filevault lock "
            "ends it"
        )
    context.remember_slot()
    what = "sessions and long-term keys" if args.vault_key else "sessions"
    print(f"Unlocked for {what} until {format_time(context.runtime.clock() + seconds)} ({place}).")
    return 0


def _hold(context: Context, put: Callable[[], str | None]) -> str:
    """Hold a key, starting an agent if there is no other place."""
    place = put()
    if place is None and "agent" in context.runtime.places:
        trouble = context.key_cache.trouble()
        if trouble is not None:
            raise trouble  # another agent cannot take the place of one that hangs
        start(context)
        place = put()
    if place is None:
        raise BackendError(
            "the key is held nowhere: the kernel keyring refuses it, and so does the agent"
        )
    return place
