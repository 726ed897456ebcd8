"""New passphrases, asked for or generated, and new key files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from filevault.errors import UsageError
from filevault.system.files import Folder
from filevault.system.printable import printable
from filevault.unlock.new_passphrase import new_passphrase

if TYPE_CHECKING:
    import argparse

    from filevault.cli.context import Context
    from filevault.cli.parser import Parser
    from filevault.vault.choose import VaultChoice

LEAST_CHARACTERS = 12
GENERATED_WORDS = 10
GENERATED_BITS = 90  # 9 for each word


def add_options(parser: Parser) -> None:
    """Declare the options of a new passphrase."""
    parser.add_argument(
        "--generate", action="store_true", help="make a strong passphrase and print it once"
    )
    parser.add_argument(
        "--allow-weak",
        action="store_true",
        help=f"accept a passphrase of fewer than {LEAST_CHARACTERS} characters",
    )


def generate_passphrase() -> str:
    """Return a new passphrase: words drawn at random, 90 bits."""
    from filevault.cli.words import WORDS

    # Each word out of 512 takes nine bits, which two random bytes have without a remainder.
    numbers = [int.from_bytes(os.urandom(2), "big") % len(WORDS) for _ in range(GENERATED_WORDS)]
    return "-".join(WORDS[number] for number in numbers)


def show_generated(passphrase: str, context: Context) -> None:
    """Print a generated passphrase, before anything is made that only it opens.

    Raises StorageError if it cannot be printed.
    """
    context.reporter.result_once(f"passphrase: {passphrase}")
    context.reporter.say(
        f"write the passphrase down now: it is shown this once. {GENERATED_WORDS} words drawn "
        f"out of 512 are {GENERATED_BITS} bits, which cannot be guessed"
    )


def check_strength(passphrase: bytes, *, allow_weak: bool) -> None:
    """Raise UsageError for a passphrase that is too short for a file that others may copy."""
    if not allow_weak and len(passphrase.decode("utf-8")) < LEAST_CHARACTERS:
        raise UsageError(
            f"the passphrase has fewer than {LEAST_CHARACTERS} characters, and a synced vault "
            "can be guessed at offline",
            hint="choose a longer one, let --generate make one, or insist with --allow-weak",
        )


def obtain_passphrase(args: argparse.Namespace, context: Context, *others: str) -> bytes:
    """Return a new passphrase: generated and shown, from its own variables, or asked for twice.

    `others` are the options that could be given instead, for the hint.

    Raises UsageError for a weak one, LockedError if none is given.
    """
    if args.generate:
        generated = generate_passphrase()
        show_generated(generated, context)
        return generated.encode()
    options = " or ".join(("--generate", *others))
    return new_passphrase(
        context.settings,
        context.prompter,
        ordinary=False,
        instead=options,
        check=lambda given: check_strength(given, allow_weak=args.allow_weak),
    )


def lies_in(path: str, folder: str) -> bool:
    """Return whether a path is a folder or inside it, links resolved."""
    return f"{os.path.realpath(path)}/".startswith(f"{os.path.realpath(folder).rstrip('/')}/")


def key_file_path(name: str | None, choice: VaultChoice, context: Context) -> str | None:
    """Return the absolute path of a new key file. Raises UsageError for a path in the vault."""
    if not name:
        return None
    path = os.path.abspath(context.settings.expand(name))
    if lies_in(path, choice.root):
        raise UsageError(
            f"{printable(path)!r} lies in the vault, which others may see",
            hint="keep the key file somewhere else",
        )
    return path


def write_key_file(path: str, text: bytes, context: Context) -> None:
    """Write a key file, 0600; raises UsageError if there is a file already.

    It opens the vault: the user who runs filevault owns it, even in the folder of another user.
    """
    with Folder.make(os.path.dirname(path), context.settings.home_if_known) as folder:
        try:
            folder.create(os.path.basename(path), text, follow=False)
        except FileExistsError as error:
            raise UsageError(
                f"{printable(path)!r} exists, and a key file is never overwritten",
                hint="give another name; if a failed run left it, delete it",
            ) from error
