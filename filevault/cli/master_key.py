"""The master key of a `file` vault, for the commands that change its keyslots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from filevault.backends.definition import SecretRequest
from filevault.backends.file import master_key
from filevault.backends.file.unlock import useful_secrets
from filevault.backends.file.vault_json import FOLDER
from filevault.cli.wiring import existing_vault
from filevault.errors import NotCommittedError, UsageError
from filevault.unlock.unlocker import Unlocker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from filevault.backends.file.master_key import UnwrappedKey
    from filevault.cli.context import Context
    from filevault.cli.wiring import OpenVault
    from filevault.vault.choose import VaultChoice

NOT_REVOKED = (
    "copies of the vault, and the history of its repository, keep the old keyslot; anyone who "
    "knows its secret can open them, and with the key in them all that is stored later. To end "
    "that: filevault rekey, and new keys at AWS"
)
_T = TypeVar("_T")


def vault_with_keyslots(context: Context, what: str) -> VaultChoice:
    """Return the chosen vault. Raises UsageError for a vault without keyslots.

    `what` names the thing that such a vault lacks, for the message. Raises as `must_exist` if
    there is no vault.
    """
    choice = existing_vault(context)
    backend = choice.backend
    if not backend.has_keyslots:
        raise UsageError(f"{backend.title} has no {what}", hint=backend.keys_hint)
    return choice


def unwrap_master_key(opened: OpenVault, context: Context, *secret_kinds: str) -> UnwrappedKey:
    """Unwrap a vault's master key with a secret that is given or asked for.

    `secret_kinds` are `passphrase` and `keyfile`, by default both. The key cache is not used: a
    cached key cannot make a keyslot.

    Raises LockedError, IntegrityError, NewerFormatError or BackendError.
    """
    vault = opened.vault
    only_slot = context.settings.options.slot
    request = SecretRequest(
        secret_kinds or ("passphrase", "keyfile"),
        "keyslot of this vault",
        lambda: opened.choice.root,
        lambda: useful_secrets(vault.folder, only_slot),
    )
    unwrapped = master_key.unwrap(
        vault.folder,
        Unlocker(context.settings, lambda: context.prompter, request),
        context.kdf_policy,
        last_slot=vault.trust.last_slot,
        only_slot=only_slot,
    )
    context.reporter.debug(f"keyslot {unwrapped.slot.id} opened the vault")
    return unwrapped


class Changed(Generic[_T]):
    """The result of a change; `check` raises NotCommittedError if git did not commit it."""

    def __init__(self, result: _T, uncommitted: NotCommittedError | None) -> None:
        self.result = result
        self._uncommitted = uncommitted

    def check(self) -> None:
        """Raise git's error; call it after everything else is printed."""
        if self._uncommitted is not None:
            raise self._uncommitted


def change(
    opened: OpenVault, subject: str, action: Callable[[], _T], paths: Sequence[str] = ()
) -> Changed[_T]:
    """Change a vault's keys under its lock, and commit that as one change.

    `paths` are those of items that change, too.
    """
    uncommitted = None
    with opened.vault.transaction():
        result = action()
        try:
            opened.commit([FOLDER, *paths], subject)
        except NotCommittedError as error:
            uncommitted = error
    return Changed(result, uncommitted)
