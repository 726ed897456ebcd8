"""Make a new `file` vault (`docs/format.md` §5)."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from filevault.backends import kdf
from filevault.backends.file import keyslots, vault_json
from filevault.backends.file.backend import FileBackend
from filevault.backends.file.unlock import UnlockResult
from filevault.backends.sealing import key_schedule
from filevault.errors import (
    FilevaultError,
    NoVaultError,
    StorageError,
    UsageError,
    VaultChoiceError,
)
from filevault.system.printable import printable
from filevault.system.times import format_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.backends.kdf import KdfParameters, KdfPolicy
    from filevault.system.files import Folder


def create(
    root: Folder,
    *,
    passphrase: bytes | None = None,
    keyfile_text: bytes | None = None,
    policy: KdfPolicy,
    parameters: KdfParameters | None = None,
    label: str = "",
    clock: Callable[[], float],
    random: Callable[[int], bytes] = os.urandom,
    available_memory: Callable[[], int] = kdf.available_memory,
) -> FileBackend:
    """Make a vault, see `filevault.backends.protocols.Creator`; `label` is published.

    vault.json is written last, after every keyslot was read back and unwrapped. Keyslots that a
    crashed run left are kept: they name another master key and are skipped.
    """
    try:
        vault_json.read(root)
    except NoVaultError:
        pass
    else:
        raise VaultChoiceError(f"there is a vault already at {printable(root.path)!r}")
    keyslots.check_label(label)
    secrets = _slot_secrets(passphrase, keyfile_text, parameters, policy, available_memory)

    vault = key_schedule.new_vault_id(random)
    master = key_schedule.new_master(random)
    created = format_time(clock())
    written = vault_json.Marker(
        vault, key_schedule.item_key_id(master, vault), key_schedule.commitment(master, vault)
    )
    with root.make_child(vault_json.FOLDER) as inner:
        with inner.make_child(keyslots.FOLDER) as folder:
            names = [
                keyslots.write(
                    folder,
                    master,
                    vault,
                    keyslots.NewKeyslot(secret, costs, label, created),
                    random=random,
                )
                for secret, costs in secrets
            ]
        try:
            vault_json.write(inner, written)
        except BaseException:
            # A generated passphrase is not shown after an error: this must not be a vault.
            with contextlib.suppress(FileNotFoundError, StorageError):
                inner.remove(vault_json.FILE)
            raise
    return FileBackend.opened(written, UnlockResult(master, names[0]))


def _slot_secrets(
    passphrase: bytes | None,
    keyfile_text: bytes | None,
    parameters: KdfParameters | None,
    policy: KdfPolicy,
    available_memory: Callable[[], int],
) -> list[tuple[bytes, KdfParameters | None]]:
    """Return the secret and the costs of each keyslot. Raises before anything is written."""
    secrets: list[tuple[bytes, KdfParameters | None]] = []
    if passphrase is not None:
        costs = policy.default if parameters is None else parameters
        try:
            kdf.check_bounds(costs, policy, available_memory, "the new keyslot")
        except FilevaultError as error:
            raise UsageError(error.message, hint=error.hint) from error
        secrets.append((kdf.passphrase_bytes(passphrase, "the new passphrase"), costs))
    if keyfile_text is not None:
        secrets.append((keyslots.keyfile_bytes(keyfile_text, "the new key file"), None))
    if not secrets:
        raise UsageError(
            "a vault needs a passphrase or a key file", hint="give one of them, or both"
        )
    return secrets
