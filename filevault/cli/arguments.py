"""The command line's grammar: global options, shared options, and what belongs to the command."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, NoReturn

from filevault import __version__
from filevault.errors import UsageError
from filevault.printable import printable
from filevault.settings import Options
from filevault.times import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Our messages are English and part of the contract; argparse's own shall not be a translation
# among them. That it also looks for no catalogues saves a millisecond on each start.
setattr(argparse, "_", str)  # noqa: B010 - mypy knows no such attribute

_GLOBAL_WITH_VALUE = (
    "--vault",
    "--backend",
    "--prefix",
    "--pass-prefix",
    "--pass-dir",
    "--identity",
    "--passphrase-fd",
    "--passphrase-file",
    "--key-file",
    "--pin",
    "--slot",
    "--prompt",
)


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """A formatter of fixed width.

    argparse makes one for each option that is declared, and one without a width imports shutil
    to ask the terminal for it: 2 ms on each start.
    """

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=96)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are ours and whose options are never abbreviated."""

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(
            prog=prog,
            description=description,
            allow_abbrev=False,
            formatter_class=_HelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        """Raise UsageError instead of exiting."""
        raise UsageError(printable(message), hint=f"{self.prog} --help")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Exit after --help and --version, once stdout has taken what was printed."""
        sys.stdout.flush()
        super().exit(status, message)


def _descriptor(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise argparse.ArgumentTypeError("not the number of a descriptor")
    return int(text)


def duration(text: str) -> int:
    """Parse an option's duration into seconds."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def add_global_options(parser: argparse.ArgumentParser) -> None:
    """Add what every command takes."""
    group = parser.add_argument_group("global options")
    group.add_argument("--vault", metavar="DIR", help="the vault's folder (FILEVAULT_DIR)")
    group.add_argument(
        "--backend", metavar="NAME", help="kind of vault: file, pass, age (FILEVAULT_BACKEND)"
    )
    group.add_argument(
        "--prefix",
        "--pass-prefix",
        metavar="NAME",
        help="our folder in a pass or passage store, '' for its top (FILEVAULT_PREFIX; aws)",
    )
    group.add_argument(
        "--pass-dir", metavar="DIR", help="the pass or passage store (PASSWORD_STORE_DIR, ...)"
    )
    group.add_argument(
        "--identity", metavar="F", help="age: file of identities (FILEVAULT_AGE_IDENTITY, ...)"
    )
    group.add_argument(
        "--passphrase-fd",
        metavar="N",
        type=_descriptor,
        help="read the passphrase from a descriptor (FILEVAULT_PASSPHRASE_FD)",
    )
    group.add_argument(
        "--passphrase-file",
        metavar="F",
        help="read the passphrase from a file (FILEVAULT_PASSPHRASE, _FILE, _COMMAND)",
    )
    group.add_argument(
        "--key-file", metavar="F", help="unlock with a key file (FILEVAULT_KEY, _FILE, ...)"
    )
    group.add_argument(
        "--strict",
        action="store_true",
        help="refuse what is otherwise a warning: rollbacks, an unseen vault (FILEVAULT_STRICT)",
    )
    group.add_argument(
        "--pin", metavar="HEX", help="the vault's identity, instead of the local pin"
    )
    group.add_argument("--slot", metavar="ID", help="try this keyslot only")
    group.add_argument(
        "--allow-weak-kdf",
        action="store_true",
        help="accept keyslots below the least cost of a passphrase",
    )
    group.add_argument(
        "--allow-http",
        action="store_true",
        help="accept plain http endpoints that are not on this machine",
    )
    group.add_argument(
        "--prompt", metavar="HOW", help="ask for MFA codes by terminal, ykman or none"
    )
    group.add_argument("--debug", action="store_true", help="tell more on stderr, never a secret")
    group.add_argument("--version", action="version", version=f"filevault {__version__}")


def global_options(namespace: argparse.Namespace) -> Options:
    """Return the global options of a parsed command line."""
    return Options(**{name: getattr(namespace, name) for name in Options._fields})


def add_session_options(parser: argparse.ArgumentParser) -> None:
    """Add what exec and export share."""
    parser.add_argument(
        "-d",
        "--duration",
        type=duration,
        metavar="TIME",
        help="how long the credentials shall live, e.g. 30m or 8h (AWS_VAULT_DURATION)",
    )
    parser.add_argument(
        "-n",
        "--no-session",
        action="store_true",
        help="never call GetSessionToken; a plain profile gets its long-term key",
    )
    parser.add_argument(
        "-t",
        "--mfa-token",
        metavar="CODE",
        help="the MFA code; - reads it from stdin (every local user can see arguments)",
    )
    parser.add_argument("--region", metavar="NAME", help="use this region for all calls")
    parser.add_argument(
        "--refresh", action="store_true", help="obtain new sessions, whatever is cached"
    )
    parser.add_argument(
        "--min-ttl",
        type=duration,
        metavar="TIME",
        help="renew a cached session that has less left (AWS_MIN_TTL; default 15m)",
    )
    parser.add_argument(
        "--no-cache", action="store_true", help="neither use nor keep cached sessions"
    )
    parser.add_argument(
        "--explain", action="store_true", help="print the plan with its reasons; call nothing"
    )


def find_command(argv: Sequence[str]) -> int | None:
    """Return the index of the command's name, None if there is none before the first `--`."""
    index = 0
    while index < len(argv):
        word = argv[index]
        if word == "--":
            return None
        if not word.startswith("-") or word == "-":
            return index
        index += 2 if word in _GLOBAL_WITH_VALUE else 1
    return None


def split_command(
    parser: argparse.ArgumentParser, argv: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Split what follows `exec` into our own words and the command's.

    Everything after the first `--` is the command's. Before it the first positional is the
    profile, and everything from the next one on is the command's, so that `exec work ls -l`
    works without `--`.
    """
    ours: list[str] = []
    positionals = 0
    index = 0
    takes_value = _value_options(parser)
    while index < len(argv):
        word = argv[index]
        if word == "--":
            return ours, list(argv[index + 1 :])
        if word.startswith("-") and word != "-":
            count = 2 if takes_value(word) else 1
            ours.extend(argv[index : index + count])
            index += count
            continue
        positionals += 1
        if positionals == 2:
            return ours, list(argv[index:])
        ours.append(word)
        index += 1
    return ours, []


def _value_options(parser: argparse.ArgumentParser) -> Callable[[str], bool]:
    """Tell which options take the next word as their value."""
    actions = parser._option_string_actions  # argparse has no public view of it

    def takes_value(word: str) -> bool:
        action = actions.get(word)
        if action is not None:
            return action.nargs is None
        if not word.startswith("--"):
            # A cluster of short options: the last one may take a value, if none before did.
            for position, letter in enumerate(word[1:], start=1):
                action = actions.get(f"-{letter}")
                if action is None:
                    return False
                if action.nargs is None:
                    return position == len(word) - 1
        return False

    return takes_value
