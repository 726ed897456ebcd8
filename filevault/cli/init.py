"""`filevault init`: make a vault."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from filevault.backends import create_vault, marker, new_keyfile_text
from filevault.backends.kdf import KdfParameters
from filevault.cli import newsecret
from filevault.errors import PinError, StorageError, UsageError, VaultChoiceError
from filevault.files import Folder
from filevault.locks import writers_lock
from filevault.printable import printable, shell_word
from filevault.trust import Pin, Trust
from filevault.unlock import new_passphrase
from filevault.userfiles import edit_config
from filevault.values import Value
from filevault.vault.choice import VaultChoice, has_items, lost, pinned

if TYPE_CHECKING:
    import argparse

    from filevault.backends import FileBackend
    from filevault.cli.context import Context

DESCRIPTION = """Make a vault: a folder of encrypted files.

The passphrase is asked for twice, or comes from --passphrase-file, --passphrase-fd,
FILEVAULT_PASSPHRASE or FILEVAULT_NEW_PASSPHRASE with their _FILE, _FD and _COMMAND forms."""


class NewVault(Value):
    """What making a vault led to."""

    root: str
    pin: str
    key_file: str | None = None
    identity: str | None = None


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    newsecret.add_options(parser)
    parser.add_argument(
        "--new-key-file", metavar="F", help="write a key file that opens the vault, for a machine"
    )
    parser.add_argument(
        "--no-passphrase",
        action="store_true",
        help="make no passphrase keyslot; with --new-key-file",
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
    if context.choice.backend != "file":
        from filevault.cli.initshared import adopt_or_make

        made = adopt_or_make(args, context)
    else:
        made = make(args, context)
    print(f"vault: {printable(made.root)}")
    print(f"pin: {made.pin}")
    if made.key_file is not None:
        print(f"key file: {printable(made.key_file)}")
    if made.identity is not None:
        print(f"identity: {printable(made.identity)}")
    _record(context)
    return 0


def make(args: argparse.Namespace, context: Context) -> NewVault:
    """Make the vault that the settings point to.

    Raises:
        VaultChoiceError: if there is one already.
        PinError: if there was one, and its items or its pin are still there.
        UsageError: for options that do not go together, or a weak passphrase.
        LockedError: if no new passphrase can be had.
        StorageError: if something cannot be written.
    """
    _check_options(args)
    choice = context.choice
    if choice.exists:
        raise _exists_already(choice)
    _refuse_lost(context)
    generated = newsecret.generate_passphrase() if args.generate else None
    passphrase = generated.encode() if generated else None
    if passphrase is None and not args.no_passphrase:
        passphrase = new_passphrase(context.settings, context.prompter, ordinary=True)
        newsecret.check_strength(passphrase, allow_weak=args.allow_weak)
    key_file = newsecret.key_file_path(args.new_key_file, context)
    if generated is not None:
        # Shown before there is a vault: one whose passphrase nobody saw would be lost.
        newsecret.show_generated(generated, context)
    key_text = new_keyfile_text() if args.new_key_file else None
    if key_file is not None and key_text is not None:
        newsecret.write_key_file(key_file, key_text)
    try:
        elsewhere = context.settings.state_home
        with Folder.make(choice.root) as root, writers_lock(root, elsewhere):
            if marker.exists(root):  # another init was quicker, and what is remembered is its
                raise _exists_already(choice)
            _move_memory_aside(context)
            backend = create_vault(
                root,
                passphrase=passphrase,
                keyfile_text=key_text,
                policy=context.kdf_policy,
                parameters=_parameters(args, context),
                clock=context.runtime.clock,
            )
    except BaseException as error:
        made = os.path.exists(f"{choice.root}/.filevault/vault.json")
        if key_file is not None and (not made or isinstance(error, VaultChoiceError)):
            with contextlib.suppress(OSError):
                os.unlink(key_file)
        raise
    pin = _pin(context, choice, backend)
    context.adopt(backend)
    return NewVault(choice.root, pin.digest, key_file)


def _check_options(args: argparse.Namespace) -> None:
    if args.recipient:
        raise UsageError("a file vault has keyslots, not recipients", hint="leave --recipient out")
    if args.no_passphrase and not args.new_key_file:
        raise UsageError(
            "--no-passphrase needs --new-key-file: a vault must be opened by something",
        )
    if args.no_passphrase and args.generate:
        raise UsageError("--no-passphrase and --generate contradict each other")


def _exists_already(choice: VaultChoice) -> VaultChoiceError:
    return VaultChoiceError(
        f"there is a vault at {printable(choice.root)!r} already",
        hint="filevault list shows what it holds; for a second one give --vault DIR",
    )


def _refuse_lost(context: Context) -> None:
    """A vault that lost its marker is not built over, unless nothing at all is left of it."""
    choice, state_home = context.choice, context.settings.state_home
    empty = not os.path.isdir(choice.root) or not os.listdir(choice.root)
    if has_items(choice) or (pinned(choice, state_home) and not empty):
        if os.path.exists(f"{choice.root}/.filevault/vault.json"):
            raise _exists_already(choice)  # since we looked for it first
        raise PinError(
            f"the vault at {printable(choice.root)!r} has lost its marker .filevault/vault.json",
            hint="restore .filevault from a copy or from the repository's history; for a new "
            "vault, move everything away first",
        )


def _move_memory_aside(context: Context) -> None:
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


def _pin(context: Context, choice: VaultChoice, backend: FileBackend) -> Pin:
    pin = Pin(choice.backend, backend.vault_id, backend.commit)
    try:
        with Folder.make(f"{context.settings.state_home}/{choice.state_id}") as state:
            trust = Trust(state)
            trust.set_pin(pin)
            if backend.opened_slot is not None:
                trust.set_last_slot(backend.opened_slot)
    except StorageError as error:
        context.warn(f"the vault is made, but cannot be pinned here: {error.message}")
    return pin


def _record(context: Context) -> None:
    """Make the new vault the one that commands use, or say how to.

    Noted is only what options chose, and only where nothing else is noted or there by default.
    """
    settings, choice = context.settings, context.choice
    lines = []
    if settings.options.backend is not None and choice.backend != "file":
        lines.append(f"backend = '{choice.backend}'")
    if settings.options.vault is not None and choice.store != os.path.abspath(
        settings.default_vault
    ):
        lines.append(f"vault = '{choice.store}'")
    if settings.options.prefix is not None:
        lines.append(f"prefix = '{settings.options.prefix}'")
    if not lines:
        return
    path = settings.config_path
    # A path that TOML would have to escape is nothing to write into somebody's configuration.
    plain = all(line.isprintable() and line.count("'") in (0, 2) for line in lines)
    if plain and not _elsewhere(context):
        text = "".join(f"{line}\n" for line in lines).encode()
        try:
            edit_config(path, lambda old: old + (b"" if old[-1:] in (b"", b"\n") else b"\n") + text)
        except StorageError as error:
            context.warn(error.message)
        else:
            context.say(f"commands use this vault from now on: noted in {printable(path)}")
            return
    if settings.config.vault is not None and settings.config.vault == choice.store:
        return
    word = shell_word(choice.store)
    kind = "" if choice.backend == "file" else f" --backend {choice.backend}"
    context.say(f"to use it: filevault --vault {word}{kind} ..., or export FILEVAULT_DIR={word}")


def _elsewhere(context: Context) -> bool:
    """Tell whether config.toml names a vault, or another one lies at the default place."""
    settings = context.settings
    if settings.config.vault is not None or settings.config.backend is not None:
        return True
    default = VaultChoice(
        settings.default_vault, (), "file", "default", explicit=False, exists=False
    )
    if context.choice.store == os.path.abspath(default.store):
        return False
    return os.path.exists(f"{default.root}/.filevault/vault.json") or lost(
        default, settings.state_home
    )
