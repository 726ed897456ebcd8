"""Make a `file` vault: `init`, and `add` where there is no vault yet."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from filevault.backends.file import keyslots
from filevault.backends.kdf import KdfParameters
from filevault.cli import new_secret
from filevault.cli.new_vault import (
    NewVault,
    NewVaultOptions,
    exists_already,
    move_memory_aside,
    refuse_lost,
)
from filevault.cli.repositories import trust_present_repositories
from filevault.errors import StorageError, UsageError, VaultChoiceError
from filevault.system.files import Folder
from filevault.system.locks import writers_lock
from filevault.unlock.new_passphrase import new_passphrase
from filevault.vault.choose import has_marker
from filevault.vault.pin import pin_of
from filevault.vault.trust import Trust

if TYPE_CHECKING:
    from filevault.backends.protocols import Creator, SealedBackend
    from filevault.cli.context import Context
    from filevault.vault.choose import VaultChoice
    from filevault.vault.pin import Pin


def make(
    options: NewVaultOptions, choice: VaultChoice, context: Context, create: Creator
) -> NewVault:
    """Make the vault that the settings point to.

    Raises:
        VaultChoiceError: if there is one already.
        PinError: if there was one, and its items or its pin are still there.
        UsageError: for options that do not go together, or a weak passphrase.
        LockedError: if no new passphrase is given.
        StorageError: if something cannot be written.
    """
    _check_options(options, choice)
    if choice.exists:
        raise exists_already(choice)
    refuse_lost(choice, context)
    generated = new_secret.generate_passphrase() if options.generate else None
    passphrase = generated.encode() if generated else None
    if passphrase is None and not options.no_passphrase:
        passphrase = new_passphrase(
            context.settings,
            context.prompter,
            ordinary=True,
            instead="--generate, or --new-key-file with --no-passphrase",
            check=lambda given: new_secret.check_strength(given, allow_weak=options.allow_weak),
            given=context.given,
        )
    key_file = new_secret.key_file_path(options.new_key_file, choice, context)
    if generated is not None:
        # Printed before the vault is made: without its passphrase it would be lost.
        new_secret.show_generated(generated, context)
    key_text = keyslots.new_keyfile_text() if options.new_key_file else None
    if key_file is not None and key_text is not None:
        new_secret.write_key_file(key_file, key_text, context)
    try:
        settings = context.settings
        home = settings.home_if_known
        with (
            Folder.make(choice.root, home, context.reporter.warn) as root,
            writers_lock(root, settings.state_home, home),
        ):
            # Another init was quicker: the state directory belongs to its vault.
            if has_marker(root, choice.backend):
                raise exists_already(choice)
            move_memory_aside(choice, context)
            backend = create(
                root,
                passphrase=passphrase,
                keyfile_text=key_text,
                policy=context.kdf_policy,
                parameters=_parameters(options, context),
                clock=context.runtime.clock,
            )
    except BaseException as error:
        made = os.path.exists(f"{choice.root}/{choice.backend.marker}")
        if key_file is not None and (not made or isinstance(error, VaultChoiceError)):
            with contextlib.suppress(OSError):
                os.unlink(key_file)
        raise
    pin = _pin(context, choice, backend)
    return NewVault(choice.root, pin.digest, key_file, backend=backend)


def _check_options(options: NewVaultOptions, choice: VaultChoice) -> None:
    if options.recipient:
        title = choice.backend.title
        raise UsageError(f"{title} has keyslots, not recipients", hint="leave --recipient out")
    if options.no_passphrase and not options.new_key_file:
        raise UsageError(
            "--no-passphrase needs --new-key-file: a vault must be opened by something",
            hint="add --new-key-file FILE, or leave --no-passphrase out",
        )
    if options.no_passphrase and options.generate:
        raise UsageError(
            "--no-passphrase and --generate contradict each other", hint="leave one of them out"
        )


def _parameters(options: NewVaultOptions, context: Context) -> KdfParameters | None:
    if options.kdf_memory is None and options.kdf_iterations is None and options.kdf_lanes is None:
        return None
    default = context.kdf_policy.default
    return KdfParameters(
        default.memory_kib if options.kdf_memory is None else options.kdf_memory,
        default.iterations if options.kdf_iterations is None else options.kdf_iterations,
        default.lanes if options.kdf_lanes is None else options.kdf_lanes,
    )


def _pin(context: Context, choice: VaultChoice, backend: SealedBackend) -> Pin:
    pin = pin_of(backend)
    try:
        settings = context.settings
        path = f"{settings.state_home}/{choice.state_id}"
        with Folder.make(path, settings.home_if_known) as state:
            trust = Trust(state)
            trust_present_repositories(choice, context, trust)
            trust.set_pin(pin)
            if backend.opened_slot is not None:
                trust.set_last_slot(backend.opened_slot)
    except StorageError as error:
        context.reporter.warn(f"the vault is made, but cannot be pinned here: {error.message}")
    return pin
