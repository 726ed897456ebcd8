"""`filevault unlock`: cache the keys of the vault for some hours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.backends.definition import SEALED
from filevault.cli.open_vault import choose_vault, open_vault
from filevault.cli.parser import duration
from filevault.cli.start_agent import start_agent
from filevault.errors import BackendError, UsageError
from filevault.keycache.cached_key import IDENTITIES_MARK, MAX_KEY_SIZE
from filevault.system.times import format_time

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from filevault.cli.context import Context
    from filevault.cli.open_vault import OpenVault
    from filevault.cli.parser import Parser
    from filevault.errors import FilevaultError
    from filevault.keycache.cache import PutResult

DESCRIPTION = """Unlock the vault for some hours, so that commands do not ask for its passphrase.

The cached key opens cached sessions, and long-term keys only with --vault-key. It is kept in the
kernel keyring or, where the kernel refuses, in the memory of an agent."""


def configure(parser: Parser) -> None:
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
        help="also cache the key that opens the long-term keys",
    )


def needs_stdout(_args: argparse.Namespace) -> bool:
    """Return False: the output is only a confirmation."""
    return False


def run(args: argparse.Namespace, context: Context) -> int:
    """Unlock, and print for how long and in which key store the keys are cached."""
    seconds = context.settings.config.cache_ttl if args.ttl is None else args.ttl
    if seconds <= 0:
        raise UsageError(
            "nothing would be cached: the time is 0", hint="give another with --ttl, e.g. --ttl 8h"
        )
    with open_vault(choose_vault(context), context, uses_cached_keys=False) as opened:
        return _unlock(args, opened, context, seconds)


def _unlock(args: argparse.Namespace, opened: OpenVault, context: Context, seconds: int) -> int:
    vault = opened.vault
    backend = opened.choice.backend
    if args.vault_key and backend.agent is not None:
        raise UsageError(
            f"the keys of {backend.title} are cached by {backend.agent.name}, not by filevault",
            hint=backend.agent.lifetime_hint,
        )
    keeps_sessions = vault.state is not None
    if not (keeps_sessions or args.vault_key):
        vault.require_state()  # before any question
    vault.unlock()
    _name_weak_slot(opened, context)
    unlocked = []
    if keeps_sessions:
        vault.session_key()
        store = _cache(context, lambda: opened.keys.cache_session_key(seconds))
        unlocked.append("sessions")
    if args.vault_key:
        key = vault.backend.vault_key()
        if key is None or len(key) > MAX_KEY_SIZE:
            why = "ssh keys and plugins cannot be" if key is None else "there are too many"
            start = "sessions are unlocked, but no" if keeps_sessions else "no"
            raise BackendError(f"{start} identity is cached: {why}")
        mark = opened.pin().commitment or IDENTITIES_MARK
        store = _cache(context, lambda: opened.keys.cache_vault_key(key, mark, seconds))
        unlocked.append("long-term keys")
        context.reporter.warn(
            "until then every program that you run can read the long-term keys; filevault lock "
            "ends it"
        )
    else:
        _forget_vault_key(opened, context)
    opened.remember_slot()
    until = format_time(context.runtime.clock() + seconds)
    context.reporter.result(f"Unlocked for {' and '.join(unlocked)} until {until} ({store}).")
    if not args.vault_key and backend.agent is None:
        context.reporter.hint(
            "the first session of the day, and each of a profile without MFA, is made with a "
            "long-term key: for that you are asked once more, or give unlock --vault-key"
        )
    return 0


def _cache(context: Context, put: Callable[[], PutResult | None]) -> str:
    """Cache a key; start an agent if no key store takes it. Return the store's name."""
    result = put()
    if result is None and "agent" in context.runtime.key_stores:
        failure = context.key_cache.last_error()
        if failure is not None:
            raise failure  # another agent cannot replace one that hangs

        def answers() -> bool:
            nonlocal result
            result = put()
            return result is not None

        if start_agent(context, answers):
            result = put()
    if result is None:
        raise BackendError(
            "the key cannot be cached: the kernel keyring refuses it, and so does the agent"
        )
    if result.error is not None:
        _warn_of_former_key(context, result.error)
    return result.store


def _forget_vault_key(opened: OpenVault, context: Context) -> None:
    try:
        if opened.keys.forget_vault_key():
            context.reporter.say("the key of the long-term keys was cached, and is forgotten")
    except BackendError as error:
        _warn_of_former_key(context, error)


def _warn_of_former_key(context: Context, error: FilevaultError) -> None:
    """Warn of a key that an earlier unlock may have left; this one has succeeded."""
    hint = f" ({error.hint})" if error.hint else ""
    context.reporter.warn(
        f"a key that was cached before may still be cached: {error.message}{hint}"
    )


def _name_weak_slot(opened: OpenVault, context: Context) -> None:
    """Print a message if the keyslot that opened the vault is cheaper to guess than a new one."""
    from filevault.backends.file import keyslots

    vault = opened.vault
    backend = vault.backend
    slot_id = backend.opened_slot if backend.family == SEALED else None
    if slot_id is None:
        return
    found = [slot for slot in keyslots.listing(vault.folder) if slot.id == slot_id]
    if keyslots.weaker(found, context.kdf_policy.default):
        context.reporter.say(
            f"{keyslots.described(slot_id)} is weaker than new ones are: filevault passphrase "
            "replaces it, with the same passphrase if you like"
        )
