"""The second vault of a command that works on two: where items go."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from filevault.backends import find_backend
from filevault.cli.context import Context
from filevault.cli.open_vault import choose_vault
from filevault.errors import LockedError, UsageError
from filevault.system.printable import printable
from filevault.unlock.given_passphrases import GivenPassphrases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filevault.backends.definition import Backend
    from filevault.cli.open_vault import OpenVault
    from filevault.vault.choose import VaultChoice

SOURCE_VARIABLE = "FILEVAULT_SOURCE_PASSPHRASE"
NEW_VARIABLE = "FILEVAULT_NEW_PASSPHRASE"
HELP = "a backend, for its default folder; a folder; or BACKEND:DIR"


def choose_target(to: str, context: Context, default: Backend) -> tuple[VaultChoice, Context]:
    """Return the vault that `--to` names, which need not exist, and the context to open it in.

    A folder without a marker gets the default backend. The vault's secrets are those of
    FILEVAULT_NEW_PASSPHRASE and its other forms if one is set, else the usual ones. Raises
    UsageError, and what `choose_vault` raises.
    """
    backend, folder = _parsed(to, context)
    choice, other = _chosen(context, folder, backend)
    if not choice.exists and backend is None:
        choice, other = _chosen(context, folder, default.name)
    return choice, other


def _chosen(
    context: Context, folder: str | None, backend: str | None
) -> tuple[VaultChoice, Context]:
    settings = context.settings.for_other_vault("NEW", vault=folder, backend=backend, prefix=None)
    other = Context(settings, context.runtime, context.reporter)
    return choose_vault(other), other


def _parsed(to: str, context: Context) -> tuple[str | None, str | None]:
    """Return the backend and the folder in the value of `--to`."""
    name, colon, path = to.partition(":")
    backend = find_backend(name)
    if backend is not None and not colon:
        return backend.name, None
    if backend is not None and path:
        return backend.name, os.path.abspath(context.settings.expand(path))
    if not to:
        raise UsageError("--to names no vault", hint=HELP)
    return None, os.path.abspath(context.settings.expand(to))


@contextlib.contextmanager
def sharing_passphrases(*contexts: Context) -> Iterator[None]:
    """Try a passphrase that opened one vault with the other before a person is asked again."""
    given = GivenPassphrases()
    for context in contexts:
        context.given = given
    try:
        yield
    finally:
        given.clear()


def unlock(opened: OpenVault, variable: str) -> None:
    """Unlock a second vault now, if it is sealed.

    Raises what `Vault.unlock` raises; a LockedError names the variable of its passphrase.
    """
    if not opened.vault.is_sealed:
        return
    try:
        opened.vault.unlock()
    except LockedError as error:
        root = printable(opened.choice.root)
        raise error.add_context(
            hint=f"{variable} gives the passphrase of {root!r}, if it is another one"
        ) from error


def refuse_nested(source: VaultChoice, target: VaultChoice) -> None:
    """Raise UsageError if one of two vaults lies inside the other: its items would be both's."""
    one, other = source.real_root, target.real_root
    if f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/"):
        raise UsageError(
            f"{printable(other)!r} and {printable(one)!r} lie one inside the other",
            hint="name a folder elsewhere: --to BACKEND:DIR",
        )
