"""`filevault unlock`: open the vault once, for some hours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.backends.protocols import Family
from filevault.cli.parser import duration
from filevault.cli.start_agent import start_agent
from filevault.errors import BackendError, UsageError
from filevault.keycache.cached_key import IDENTITIES_MARK, MAX_KEY_SIZE
from filevault.system.times import format_time

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from filevault.cli.context import Context
    from filevault.errors import FilevaultError
    from filevault.keycache.cache import StoredKey

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


def needs_stdout(_args: argparse.Namespace) -> bool:
    """Return False: what is printed only confirms what was done."""
    return False


def run(args: argparse.Namespace, context: Context) -> int:
    """Unlock and tell until when, and where the keys are held."""
    seconds = context.settings.config.cache_ttl if args.ttl is None else args.ttl
    if seconds <= 0:
        raise UsageError(
            "nothing is to be held: the time is 0", hint="give another with --ttl, e.g. --ttl 8h"
        )
    context.use_fresh_keys()
    vault = context.vault
    backend = context.choice.backend
    if args.vault_key and backend.agent is not None:
        raise UsageError(
            f"the keys of {backend.title} are held by {backend.agent.name}, not by filevault",
            hint=backend.agent.lifetime_hint,
        )
    vault.require_state()  # before anybody is asked for anything
    vault.unlock()
    _tell_weakness(context)
    vault.session_key()
    place = _hold(context, lambda: context.keys.cache_session_key(seconds))
    if args.vault_key:
        key = vault.backend.vault_key()
        if key is None or len(key) > MAX_KEY_SIZE:
            why = "ssh keys and plugins cannot be" if key is None else "there are too many"
            raise BackendError(f"sessions are unlocked, but no identity is held: {why}")
        mark = context.pin().commitment or IDENTITIES_MARK
        _hold(context, lambda: context.keys.cache_vault_key(key, mark, seconds))
        context.reporter.warn(
            "until then every program that you run can read the long-term keys; filevault lock "
            "ends it"
        )
    else:
        _forget_vault_key(context)
    context.remember_slot()
    what = "sessions and long-term keys" if args.vault_key else "sessions"
    until = format_time(context.runtime.clock() + seconds)
    context.reporter.result(f"Unlocked for {what} until {until} ({place}).")
    if not args.vault_key and backend.agent is None:
        context.reporter.hint(
            "the first session of the day, and each of a profile without MFA, is made with a "
            "long-term key: for that you are asked once more, or give unlock --vault-key"
        )
    return 0


def _hold(context: Context, put: Callable[[], StoredKey | None]) -> str:
    """Hold a key, starting an agent if there is no other place."""
    taken = put()
    if taken is None and "agent" in context.runtime.places:
        trouble = context.key_cache.last_error()
        if trouble is not None:
            raise trouble  # another agent cannot take the place of one that hangs

        def answers() -> bool:
            nonlocal taken
            taken = put()
            return taken is not None

        if start_agent(context, answers):
            taken = put()
    if taken is None:
        raise BackendError(
            "the key is held nowhere: the kernel keyring refuses it, and so does the agent"
        )
    if taken.error is not None:
        _warn_of_former(context, taken.error)
    return taken.store


def _forget_vault_key(context: Context) -> None:
    try:
        if context.keys.forget_vault_key():
            context.reporter.say("what opened the long-term keys was held, and is forgotten")
    except BackendError as error:
        _warn_of_former(context, error)


def _warn_of_former(context: Context, error: FilevaultError) -> None:
    """Say what an earlier unlock may have left: this one has done what it was to do."""
    hint = f" ({error.hint})" if error.hint else ""
    context.reporter.warn(f"a key that was held before may be held still: {error.message}{hint}")


def _tell_weakness(context: Context) -> None:
    """Say so if the keyslot that opened the vault costs less to guess at than a new one would."""
    from filevault.backends.file import keyslots

    vault = context.vault
    backend = vault.backend
    opened = backend.opened_slot if backend.family is Family.SEALED else None
    if opened is None:
        return
    found = [slot for slot in keyslots.listing(vault.folder) if slot.id == opened]
    if keyslots.weaker(found, context.kdf_policy.default):
        context.reporter.say(
            f"{keyslots.described(opened)} is weaker than new ones are: filevault passphrase "
            "makes it anew, with the same passphrase if you like"
        )
