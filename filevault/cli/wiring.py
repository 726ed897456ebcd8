"""Choosing the vault and opening its backend: which sources of secrets each kind has."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from filevault.backends import SUFFIXES, open_age, open_backend, open_gpg
from filevault.config.config_toml import BACKENDS
from filevault.errors import FilevaultError
from filevault.keycache import IDENTITIES
from filevault.system.files import Folder
from filevault.system.printable import printable
from filevault.unlock.unlocker import Identities, LaterPrompter, Unlocker
from filevault.vault.choose import choose, must_exist
from filevault.vault.names import encode_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.backends import Backend
    from filevault.cli.context import Context
    from filevault.vault.choose import VaultChoice
    from filevault.vault.trust import Trust


def choose_vault(context: Context) -> VaultChoice:
    """Return the vault that the settings mean. Raises as `filevault.vault.choose.choose`."""
    settings = context.settings
    ignored = settings.aws_vault_backend[1]
    if ignored is not None:
        context.reporter.warn(
            f"AWS_VAULT_BACKEND={printable(ignored, 40)} is not known here; ignored: {BACKENDS}"
        )
    choice = choose(settings)
    context.reporter.debug(f"vault {printable(choice.root)} ({printable(choice.origin)})")
    if not choice.exists:
        _tell_unread(context)
    return choice


def _tell_unread(context: Context) -> None:
    """Tell which variables of AWS Vault are not read, where there is no vault yet."""
    from filevault.cli import aws_vault

    for name in sorted(context.settings.environ):
        instead = aws_vault.variable(name)
        if instead is not None:
            context.reporter.notice(f"{printable(name)} is not read: {instead}")


def require_vault(context: Context) -> None:
    """Raise if an option, a variable or config.toml names a vault that does not exist.

    A misspelt name must be reported as such, not as a profile or a key that is missing. Raises
    as `filevault.vault.choose.must_exist`.
    """
    choice = context.choice
    if choice.explicit and not choice.exists:
        must_exist(choice, context.settings.state_home)


def existing(context: Context) -> VaultChoice:
    """Return the chosen vault, which exists. Raises as `filevault.vault.choose.must_exist`."""
    must_exist(context.choice, context.settings.state_home)
    return context.choice


def tell_other_stores(context: Context) -> None:
    """Warn before a write if another tool's variable names another store than the one used."""
    from filevault.vault.defaults import other_stores

    choice = context.choice
    for name, path in other_stores(context.settings, choice.store, choice.prefix, choice.backend):
        origin = "" if choice.origin == name else f", by {printable(choice.origin)}"
        context.reporter.warn(
            f"{name} names {printable(path)!r}, but this is written to "
            f"{printable(choice.root)!r}{origin}"
        )


def open_chosen(
    context: Context, choice: VaultChoice, store: Folder, trust: Trust
) -> tuple[Backend, Callable[[], bool]]:
    """Return a vault's backend, and what tells whether a person was asked to open it.

    Nobody is asked for anything yet. Raises what the openers of `filevault.backends` raise.
    """
    settings = context.settings
    prompter = LaterPrompter(lambda: context.prompter)

    def sessions() -> bool:
        return context.keys.holds_session_key(session_key_mark(context))

    if choice.backend == "file":
        unlocker = Unlocker(
            settings,
            prompter,
            lambda: choice.root,
            sessions=sessions,
            useful=lambda: useful_secrets(store, settings.options.slot),
        )
        backend: Backend = open_backend(
            choice.backend,
            store,
            unlocker,
            context.kdf_policy,
            last_slot=trust.last_slot,
            only_slot=settings.options.slot,
            held=context.keys.vault_key,
        )
        return backend, unlocker.asked
    environment = settings.program_environment()
    if choice.backend == "pass":
        place = (lambda: choice.root, ("passphrase",), "gpg key of yours")
        unlocker = Unlocker(settings, prompter, *place)
        named = unlocker.named()
        questions: list[None] = []
        backend = open_gpg(
            store,
            choice.prefix,
            environment=environment,
            folders_of=lambda name: encode_name(name, ".gpg").split("/")[:-1],
            passphrase=unlocker if named else None,
            terminal=context.prompter.present,
            trusted=lambda: context.pinned(trust),
            warn=context.reporter.warn,
            asked=lambda: questions.append(None),
        )
        return backend, lambda: bool(questions)
    identities = Identities(
        settings, passage=choice.passage, held=lambda: context.keys.vault_key(IDENTITIES)
    )
    place = (lambda: identities.place, ("passphrase",), "age identity of yours")
    unlocker = Unlocker(settings, prompter, *place, sessions=sessions)
    backend = open_age(
        store,
        choice.prefix,
        environment=environment,
        folders_of=lambda name: encode_name(name, ".age").split("/")[:-1],
        identities=identities,
        passphrase=unlocker,
        passage=choice.passage,
        person=prompter,
        trusted=lambda: context.pinned(trust),
        warn=context.reporter.warn,
    )
    return backend, unlocker.asked


def useful_secrets(store: Folder, only_slot: str | None) -> tuple[str, ...]:
    """Return the kinds of secret that open a `file` vault: passphrase, keyfile or both.

    Both where a keyslot cannot be read: opening the vault tells what is wrong.

    Args:
        store: the vault's folder.
        only_slot: the id of the one keyslot that may be used, None for all.
    """
    from filevault.backends.file import keyslots, vault_json

    types: set[str] = set()
    with contextlib.suppress(FilevaultError, FileNotFoundError):
        present = vault_json.read(store).master
        found = keyslots.listing(store)
        with store.child(vault_json.FOLDER) as inner, inner.child(keyslots.FOLDER) as folder:
            names = [each.name for each in folder.entries() if each.name.endswith(keyslots.SUFFIX)]
        if len(found) == len(names):
            types = {
                slot.type
                for slot in found
                if slot.master == present and only_slot in (None, slot.id)
            }
    kinds = tuple(kind for kind in ("passphrase", "keyfile") if keyslots.TYPES[kind] in types)
    return kinds or ("passphrase", "keyfile")


def session_key_mark(context: Context) -> str | None:
    """Return what a held session key must belong to, None where nothing tells."""
    from filevault.vault import session_key

    folder = f"{context.settings.state_home}/{context.choice.state_id}"
    with contextlib.suppress(FilevaultError, FileNotFoundError), Folder.open(folder) as state:
        return session_key.session_key_mark(state, SUFFIXES[context.choice.backend])
    return None
