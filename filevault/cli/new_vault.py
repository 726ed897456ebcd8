"""The options of a new vault of any backend, the checks before it is made, and the result."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from filevault.cli import new_secret
from filevault.errors import PinError, StorageError, VaultChoiceError
from filevault.system.printable import printable
from filevault.system.record import Record
from filevault.vault.lost_vault import has_items, is_remembered

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from filevault.backends.protocols import SealedBackend
    from filevault.cli.context import Context
    from filevault.cli.parser import Parser
    from filevault.errors import NotCommittedError
    from filevault.vault.choose import VaultChoice


class NewVaultOptions(Record):
    """The options of a command that makes a vault; the costs of Argon2id are None by default."""

    generate: bool = False
    allow_weak: bool = False
    new_key_file: str | None = None
    no_passphrase: bool = False
    recipient: Sequence[str] = ()
    kdf_memory: int | None = None
    kdf_iterations: int | None = None
    kdf_lanes: int | None = None


class NewVault(Record):
    """A vault that was made or adopted.

    `key_file` and `identity` are files that were written, `recipients` those of each recipients
    file, `backend` is open for a vault with keyslots; `uncommitted` says why git has no commit
    of it.
    """

    root: str
    pin: str
    key_file: str | None = None
    identity: str | None = None
    recipients: tuple[tuple[str, tuple[str, ...]], ...] = ()
    backend: SealedBackend | None = None
    uncommitted: NotCommittedError | None = None


def add_options(parser: Parser) -> None:
    """Declare the options of a new vault."""
    new_secret.add_options(parser)
    parser.add_argument(
        "--new-key-file",
        metavar="F",
        help="file: write a key file that opens the new vault, for a machine",
    )
    parser.add_argument(
        "--no-passphrase",
        action="store_true",
        help="make no passphrase keyslot, with --new-key-file; age: leave the new identity plain",
    )
    parser.add_argument(
        "--recipient",
        action="append",
        default=[],
        metavar="R",
        help="pass: a gpg key, age: a recipient that can open the new vault; repeatable",
    )
    parser.add_argument("--kdf-memory", type=int, metavar="KIB", help="memory of Argon2id")
    parser.add_argument("--kdf-iterations", type=int, metavar="N", help="passes of Argon2id")
    parser.add_argument("--kdf-lanes", type=int, metavar="N", help="lanes of Argon2id")


def options_of(args: argparse.Namespace) -> NewVaultOptions:
    """Return the options of a new vault out of those of a command."""
    given = {name: getattr(args, name) for name in NewVaultOptions._fields}
    return NewVaultOptions(**{**given, "recipient": tuple(args.recipient)})


def exists_already(choice: VaultChoice) -> VaultChoiceError:
    """Return the error for a folder that is a vault already."""
    return VaultChoiceError(
        f"there is a vault at {printable(choice.root)!r} already",
        hint="filevault list shows its keys; for a second one give --vault DIR",
    )


def refuse_lost(choice: VaultChoice, context: Context) -> None:
    """Raise PinError for a vault that lost its marker, unless nothing at all is left of it."""
    state_home = context.settings.state_home
    empty = not os.path.isdir(choice.root) or not os.listdir(choice.root)
    if has_items(choice) or (is_remembered(choice, state_home) and not empty):
        file = choice.backend.marker
        if os.path.exists(f"{choice.store}/{file}"):
            raise exists_already(choice)  # another process has made it
        raise PinError(
            f"the vault at {printable(choice.root)!r} has lost its marker {file}",
            hint=f"restore {file.split('/')[0]} from a copy or from the repository's history; for "
            "a new vault, move everything away first",
        )


def move_memory_aside(choice: VaultChoice, context: Context) -> None:
    """Rename the state directory of a vault that was deleted, so that the new one gets its own."""
    state_home = context.settings.state_home
    shown = printable(choice.root)
    if is_remembered(choice, state_home):
        old = f"{state_home}/{choice.state_id}"
        aside = f"{old}.{int(context.runtime.clock())}"
        try:
            os.rename(old, aside)
        except OSError as error:
            raise StorageError(f"cannot move {printable(old)!r} aside: {error.strerror}") from error
        context.reporter.say(
            f"a vault was at {shown} before; its state directory is now at {printable(aside)}"
        )
