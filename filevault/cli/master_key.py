"""Opening a `file` vault for the commands that change what opens it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from filevault.backends.file import master_key
from filevault.backends.file.unlock import useful_secrets
from filevault.backends.file.vault_json import FOLDER
from filevault.cli.wiring import existing
from filevault.errors import NotCommittedError, UsageError
from filevault.unlock.unlocker import Unlocker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from filevault.backends.file.master_key import UnwrappedKey
    from filevault.cli.context import Context

NOT_REVOKED = (
    "copies of the vault, and the history of its repository, keep the old keyslot; whoever knows "
    "its secret can open them, and with the key in them all that is stored later. To end that: "
    "filevault rekey, and new keys at AWS"
)
_T = TypeVar("_T")


def refuse_without_keyslots(context: Context, what: str) -> None:
    """Raise UsageError for a vault without keyslots.

    `what` is what it has not got. Raises as `must_exist` if there is no vault.
    """
    backend = existing(context).backend
    if not backend.has_keyslots:
        raise UsageError(f"{backend.title} has no {what}", hint=backend.keys_hint)


def hold(context: Context, *opens: str) -> UnwrappedKey:
    """Open the vault with what is given or asked for, and return its master key.

    `opens` are the kinds of secret to use, by default any. The cache of keys is not asked: it
    holds none that could make a keyslot.

    Raises LockedError, IntegrityError, NewerFormatError or BackendError.
    """
    vault = context.vault
    holder = master_key.unwrap(
        vault.folder,
        Unlocker(
            context.settings,
            context.prompter,
            lambda: context.choice.root,
            opens or ("passphrase", "keyfile"),
            useful=lambda: useful_secrets(vault.folder, context.settings.options.slot),
        ),
        context.kdf_policy,
        last_slot=vault.trust.last_slot,
        only_slot=context.settings.options.slot,
    )
    context.reporter.debug(f"keyslot {holder.slot.id} opened the vault")
    return holder


class Changed(Generic[_T]):
    """What a change came to; `check` raises NotCommittedError if git refused to commit it."""

    def __init__(self, result: _T, uncommitted: NotCommittedError | None) -> None:
        self.result = result
        self._uncommitted = uncommitted

    def check(self) -> None:
        """Raise what git said, once everything else is told."""
        if self._uncommitted is not None:
            raise self._uncommitted


def change(
    context: Context, subject: str, action: Callable[[], _T], paths: Sequence[str] = ()
) -> Changed[_T]:
    """Do something to the vault's keys under its lock, and commit that as one change.

    `paths` are those of items that change, too.
    """
    uncommitted = None
    with context.vault.transaction():
        result = action()
        try:
            context.commit([FOLDER, *paths], subject)
        except NotCommittedError as error:
            uncommitted = error
    return Changed(result, uncommitted)
