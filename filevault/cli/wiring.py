"""Choosing the vault and opening its backend: which sources of secrets each kind has."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from filevault.backends import backend_names
from filevault.backends.definition import VaultParts
from filevault.errors import FilevaultError
from filevault.keycache.cached_key import IDENTITIES_MARK
from filevault.system.files import Folder
from filevault.system.printable import printable
from filevault.unlock.lazy_prompter import LazyPrompter
from filevault.unlock.unlocker import Unlocker
from filevault.vault.choose import choose, must_exist
from filevault.vault.names import encode_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.backends.definition import SecretRequest
    from filevault.backends.protocols import OpenBackend
    from filevault.cli.context import Context
    from filevault.unlock.identities import NamedIdentities
    from filevault.vault.choose import VaultChoice
    from filevault.vault.trust import Trust


def choose_vault(context: Context) -> VaultChoice:
    """Return the vault that the settings mean. Raises as `filevault.vault.choose.choose`."""
    settings = context.settings
    ignored = settings.aws_vault_backend[1]
    if ignored is not None:
        value = printable(ignored, 40)
        context.reporter.warn(
            f"AWS_VAULT_BACKEND={value} is not known here; ignored: {backend_names()}"
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
) -> tuple[OpenBackend, Callable[[], bool]]:
    """Return a vault's backend, and a function that tells whether the user was asked to open it.

    Nothing is asked yet. Raises what the opener of the backend raises.
    """
    settings, suffix = context.settings, choice.backend.suffix
    prompter = LazyPrompter(lambda: context.prompter)
    unlockers: list[Unlocker] = []
    questions: list[None] = []

    def unlocker(request: SecretRequest) -> Unlocker:
        made = Unlocker(
            settings,
            prompter,
            request.place,
            request.kinds,
            request.target,
            sessions=lambda: context.keys.has_session_key(session_key_mark(context)),
            useful=request.useful,
        )
        unlockers.append(made)
        return made

    def named(request: SecretRequest) -> Unlocker | None:
        made = unlocker(request)
        return made if made.named() else None

    def identities() -> NamedIdentities:
        from filevault.unlock.identities import NamedIdentities

        return NamedIdentities(
            settings, passage=choice.passage, cached=lambda: context.keys.vault_key(IDENTITIES_MARK)
        )

    parts = VaultParts(
        store=store,
        root=choice.root,
        prefix=choice.prefix,
        other_tools=choice.passage,
        environment=settings.program_environment,
        folders_of=lambda name: encode_name(name, suffix).split("/")[:-1],
        secrets=unlocker,
        named_secrets=named,
        identities=identities,
        cached_key=context.keys.vault_key,
        pinned_recipients=lambda: context.pinned(trust),
        person=prompter,
        warn=context.reporter.warn,
        on_asked=lambda: questions.append(None),
        kdf_policy=context.kdf_policy,
        last_slot=trust.last_slot,
        only_slot=settings.options.slot,
    )

    def asked() -> bool:
        return bool(questions) or any(each.asked() for each in unlockers)

    return choice.backend.opener(parts), asked


def session_key_mark(context: Context) -> str | None:
    """Return what a held session key must belong to, None where nothing tells."""
    from filevault.vault import session_key

    folder = f"{context.settings.state_home}/{context.choice.state_id}"
    with contextlib.suppress(FilevaultError, FileNotFoundError), Folder.open(folder) as state:
        return session_key.session_key_mark(state, context.choice.backend.suffix)
    return None
