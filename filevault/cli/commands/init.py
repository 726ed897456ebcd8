"""`filevault init`: make a vault."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from filevault.backends.file import keyslots
from filevault.backends.kdf import KdfParameters
from filevault.cli import new_secret
from filevault.cli.repositories import remember_present
from filevault.cli.vault_record import record, tell_identity
from filevault.cli.wiring import tell_other_stores
from filevault.errors import PinError, StorageError, UsageError, VaultChoiceError
from filevault.system.files import Folder
from filevault.system.locks import writers_lock
from filevault.system.printable import printable
from filevault.system.record import Record
from filevault.unlock.unlocker import new_passphrase
from filevault.vault.choose import VaultChoice, has_items, has_marker, pinned
from filevault.vault.identity import pin_of
from filevault.vault.trust import Trust

if TYPE_CHECKING:
    import argparse

    from filevault.backends.definition import Creator
    from filevault.backends.protocols import SealedBackend
    from filevault.cli.context import Context
    from filevault.errors import NotCommittedError
    from filevault.vault.pin import Pin

DESCRIPTION = """Make a vault: a folder of encrypted files.

The passphrase is asked for twice, or comes from --passphrase-file, --passphrase-fd,
FILEVAULT_PASSPHRASE or FILEVAULT_NEW_PASSPHRASE with their _FILE, _FD and _COMMAND forms."""


class NewVault(Record):
    """What making a vault led to; `uncommitted` says why git has no commit of it."""

    root: str
    pin: str
    key_file: str | None = None
    identity: str | None = None
    uncommitted: NotCommittedError | None = None


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    new_secret.add_options(parser)
    parser.add_argument(
        "--new-key-file", metavar="F", help="write a key file that opens the vault, for a machine"
    )
    parser.add_argument(
        "--no-passphrase",
        action="store_true",
        help="make no passphrase keyslot, with --new-key-file; age: leave the new identity plain",
    )
    parser.add_argument(
        "--recipient",
        action="append",
        metavar="R",
        help="pass: a gpg key, age: a recipient, who can open the new vault; repeatable",
    )
    parser.add_argument("--kdf-memory", type=int, metavar="KIB", help="memory of Argon2id")
    parser.add_argument("--kdf-iterations", type=int, metavar="N", help="passes of Argon2id")
    parser.add_argument("--kdf-lanes", type=int, metavar="N", help="lanes of Argon2id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Make the vault, print where it is and its pin."""
    tell_other_stores(context)
    create = context.choice.backend.creator
    if create is None:
        from filevault.cli.init_shared import adopt_or_make

        made = adopt_or_make(args, context)
    else:
        made = make(args, context, create)
    print(f"vault: {printable(made.root)}")
    print(f"pin: {made.pin}")
    if made.key_file is not None:
        print(f"key file: {printable(made.key_file)}")
    if made.identity is not None:
        print(f"identity: {printable(made.identity)}")
    record(context)
    tell_identity(context)
    if made.uncommitted is not None:
        raise made.uncommitted
    return 0


def make(args: argparse.Namespace, context: Context, create: Creator) -> NewVault:
    """Make the sealed vault that the settings point to with its backend's `creator`.

    Raises:
        VaultChoiceError: if there is one already.
        PinError: if there was one, and its items or its pin are still there.
        UsageError: for options that do not go together, or a weak passphrase.
        LockedError: if no new passphrase can be had.
        StorageError: if something cannot be written.
    """
    choice = context.choice
    _check_options(args, choice)
    if choice.exists:
        raise exists_already(choice)
    refuse_lost(context)
    generated = new_secret.generate_passphrase() if args.generate else None
    passphrase = generated.encode() if generated else None
    if passphrase is None and not args.no_passphrase:
        passphrase = new_passphrase(
            context.settings,
            context.prompter,
            ordinary=True,
            instead="--generate, or --new-key-file with --no-passphrase",
        )
        new_secret.check_strength(passphrase, allow_weak=args.allow_weak)
    key_file = new_secret.key_file_path(args.new_key_file, context)
    if generated is not None:
        # Shown before there is a vault: one whose passphrase nobody saw would be lost.
        new_secret.show_generated(generated, context)
    key_text = keyslots.new_keyfile_text() if args.new_key_file else None
    if key_file is not None and key_text is not None:
        new_secret.write_key_file(key_file, key_text, context)
    try:
        settings = context.settings
        home = settings.home_if_known
        with (
            Folder.make(choice.root, home, context.warn) as root,
            writers_lock(root, settings.state_home, home),
        ):
            if has_marker(
                root, choice.backend
            ):  # another init was quicker, and what is remembered is its
                raise exists_already(choice)
            move_memory_aside(context)
            backend = create(
                root,
                passphrase=passphrase,
                keyfile_text=key_text,
                policy=context.kdf_policy,
                parameters=_parameters(args, context),
                clock=context.runtime.clock,
            )
    except BaseException as error:
        made = os.path.exists(f"{choice.root}/{choice.backend.marker}")
        if key_file is not None and (not made or isinstance(error, VaultChoiceError)):
            with contextlib.suppress(OSError):
                os.unlink(key_file)
        raise
    pin = _pin(context, choice, backend)
    context.adopt(backend)
    return NewVault(choice.root, pin.digest, key_file)


def _check_options(args: argparse.Namespace, choice: VaultChoice) -> None:
    if args.recipient:
        raise UsageError(
            f"{choice.backend.title} has keyslots, not recipients", hint="leave --recipient out"
        )
    if args.no_passphrase and not args.new_key_file:
        raise UsageError(
            "--no-passphrase needs --new-key-file: a vault must be opened by something",
        )
    if args.no_passphrase and args.generate:
        raise UsageError("--no-passphrase and --generate contradict each other")


def exists_already(choice: VaultChoice) -> VaultChoiceError:
    """Return the error for a place that a vault has taken."""
    return VaultChoiceError(
        f"there is a vault at {printable(choice.root)!r} already",
        hint="filevault list shows what it holds; for a second one give --vault DIR",
    )


def refuse_lost(context: Context) -> None:
    """Raise PinError for a vault that lost its marker, unless nothing at all is left of it."""
    choice, state_home = context.choice, context.settings.state_home
    empty = not os.path.isdir(choice.root) or not os.listdir(choice.root)
    if has_items(choice) or (pinned(choice, state_home) and not empty):
        file = choice.backend.marker
        if os.path.exists(f"{choice.store}/{file}"):
            raise exists_already(choice)  # since we looked for it first
        raise PinError(
            f"the vault at {printable(choice.root)!r} has lost its marker {file}",
            hint=f"restore {file.split('/')[0]} from a copy or from the repository's history; for "
            "a new vault, move everything away first",
        )


def move_memory_aside(context: Context) -> None:
    """What is remembered of a vault that is gone is kept, but not for the new one."""
    choice, state_home = context.choice, context.settings.state_home
    shown = printable(choice.root)
    if pinned(choice, state_home):
        old = f"{state_home}/{choice.state_id}"
        aside = f"{old}.{int(context.runtime.clock())}"
        try:
            os.rename(old, aside)
        except OSError as error:
            raise StorageError(f"cannot move {printable(old)!r} aside: {error.strerror}") from error
        context.say(
            f"a vault was at {shown} before; what was remembered of it is now at {printable(aside)}"
        )


def _parameters(args: argparse.Namespace, context: Context) -> KdfParameters | None:
    if args.kdf_memory is None and args.kdf_iterations is None and args.kdf_lanes is None:
        return None
    default = context.kdf_policy.default
    return KdfParameters(
        default.memory_kib if args.kdf_memory is None else args.kdf_memory,
        default.iterations if args.kdf_iterations is None else args.kdf_iterations,
        default.lanes if args.kdf_lanes is None else args.kdf_lanes,
    )


def _pin(context: Context, choice: VaultChoice, backend: SealedBackend) -> Pin:
    pin = pin_of(backend)
    try:
        settings = context.settings
        path = f"{settings.state_home}/{choice.state_id}"
        with Folder.make(path, settings.home_if_known) as state:
            trust = Trust(state)
            remember_present(context, trust)
            trust.set_pin(pin)
            if backend.opened_slot is not None:
                trust.set_last_slot(backend.opened_slot)
    except StorageError as error:
        context.warn(f"the vault is made, but cannot be pinned here: {error.message}")
    return pin
