"""Grammar of the command line: global and shared options, and where a program's words begin."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, NoReturn

from filevault import __version__
from filevault.cli import streams
from filevault.config.settings import GlobalOptions
from filevault.errors import UsageError
from filevault.system.printable import printable, shell_word
from filevault.system.record import Record
from filevault.system.times import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# Messages are English and part of the interface, so argparse must not translate its own. Not
# looking for catalogues also saves a millisecond on each start.
setattr(argparse, "_", str)  # noqa: B010 - mypy knows no such attribute

_VERSION = ("-v", "--version")
_MAY_BE_EMPTY = ("prefix", "label")  # '' is the top of a store, or no label


class _Once(argparse.Action):
    """Store a value; refuse a second, different one: one of them would be lost."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,  # noqa: ANN401 - as argparse declares it
        option_string: str | None = None,
    ) -> None:
        """Store the value. Raises UsageError."""
        before = getattr(namespace, self.dest, None)
        if before is not None and before != values:
            parser.error(f"{option_string} is given twice, with different values")
        setattr(namespace, self.dest, values)


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """A formatter of fixed width.

    argparse makes one for each option that is declared, and one without a width imports shutil
    to ask the terminal for it: 2 ms on each start.
    """

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=96)


class Parser(argparse.ArgumentParser):
    """An argument parser that raises UsageError and accepts no abbreviated options."""

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

    def parse_words(
        self, words: Sequence[str], program: Sequence[str] | None = None
    ) -> argparse.Namespace:
        """Parse words in which options stand anywhere among the positionals.

        Args:
            words: the command line without the command's name.
            program: for a command that runs a program and got no `--`: all words from the first
                positional on, for a hint.

        Raises UsageError for an unknown or empty option, and what argparse refuses.
        """
        # argparse takes all positionals that it can at the first one, so that an option between
        # `remove` and NAME would leave NAME over. Positionals go first: no option can then take
        # one as its value.
        options: list[str] = []
        positionals: list[str] = []
        rest: list[str] = []
        for word, values, is_option in self.items(words):
            if word == "--":
                rest = list(values)
            elif not is_option:
                positionals.append(word)
            elif program is not None and positionals and word in _VERSION:
                raise self._misplaced(word, program)
            elif self.knows(word):
                options += [word, *values]
            else:
                raise self._unknown(word, bool(positionals), program)
        ordered = [*options, "--", *positionals, *rest] if rest else [*positionals, *options]
        namespace, left = self.parse_known_args(ordered)
        if left:
            raise self._unexpected(left, program)
        for action in self._actions:
            value = getattr(namespace, action.dest, None)
            empty = value == "" or (isinstance(value, list) and "" in value)
            if empty and action.option_strings and action.dest not in _MAY_BE_EMPTY:
                raise UsageError(
                    f"{action.option_strings[-1]} is empty",
                    hint="is a variable of the script unset? leave the option out if it is meant",
                )
        return namespace

    def _unknown(
        self, word: str, after_positional: bool, program: Sequence[str] | None
    ) -> UsageError:
        from filevault.cli.unknown import unknown_option

        lacking = program if after_positional else None
        return unknown_option(
            word,
            self.options(),
            prog=self.prog,
            listing=f"{self.prog} --help",
            program=lacking,
        )

    def _misplaced(self, word: str, program: Sequence[str]) -> UsageError:
        """Return the error for `exec aws --version`, which means the program's version."""
        shown = " ".join(map(shell_word, program))
        return UsageError(
            f"{word} stands where it may belong to the command to run",
            hint=f"for that: {self.prog} PROFILE -- {printable(shown, 200)}; for the version of "
            "filevault: filevault version",
        )

    def _unexpected(self, left: Sequence[str], program: Sequence[str] | None) -> UsageError:
        hint = f"{self.prog} --help"
        if program is not None:
            hint = f"{self.prog} -- {' '.join(map(shell_word, program))}"
        shown = " ".join(printable(word, 80) for word in left[:3])
        return UsageError(f"unexpected argument: {shown}", hint=hint)

    def first_positional(self, words: Sequence[str]) -> int:
        """Return the index of the first word that is neither an option nor a value of one."""
        index = 0
        for _word, values, is_option in self.items(words):
            if not is_option:
                break
            index += 1 + len(values)
        return index

    def items(self, words: Sequence[str]) -> Iterator[tuple[str, Sequence[str], bool]]:
        """Yield each word with the values that it takes, and whether it is an option.

        The first `--` comes with all that follows it.
        """
        index = 0
        while index < len(words):
            word = words[index]
            if word == "--":
                yield word, words[index + 1 :], False
                return
            is_option = word.startswith("-") and word != "-"
            count = 2 if is_option and self.takes_value(word) else 1
            yield word, words[index + 1 : index + count], is_option
            index += count

    def options(self) -> list[str]:
        """Return the names of all options."""
        return list(self._option_string_actions)  # argparse has no public view of it

    def actions(self) -> list[argparse.Action]:
        """Return the options and positionals in the order of their declaration."""
        return list(self._actions)

    def knows(self, word: str) -> bool:
        """Return whether a word is an option, alone, with `=value`, or in a cluster of letters."""
        name = word.partition("=")[0] if word.startswith("--") else word[:2]
        return name in self._option_string_actions

    def takes_value(self, word: str) -> bool:
        """Return whether an option takes the next word as its value."""
        actions = self._option_string_actions
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

    def has_flag(self, words: Sequence[str], name: str) -> bool:
        """Return whether a flag is among words that may not be valid otherwise."""
        action = self._option_string_actions[name]
        for word, _values, is_option in self.items(words):
            if not is_option:
                continue
            if word in action.option_strings:
                return True
            letters = "" if word.startswith("--") else word[1:]
            for letter in letters:
                found = self._option_string_actions.get(f"-{letter}")
                if found is action:
                    return True
                if found is None or found.nargs is None:
                    break
        return False

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Exit after --help and --version, once stdout has taken what was printed."""
        streams.flush()
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


class _GlobalOption(Record):
    """An option of every command: a flag, or with `metavar` one that takes a value."""

    names: tuple[str, ...]
    help: str
    metavar: str | None = None
    type: Callable[[str], object] = str
    repeatable: bool = False

    def declare(self, group: argparse._ArgumentGroup) -> None:
        """Add it to a group of a parser."""
        if self.metavar is None:
            group.add_argument(*self.names, action="store_true", help=self.help)
            return
        group.add_argument(
            *self.names,
            action="append" if self.repeatable else _Once,
            metavar=self.metavar,
            type=self.type,
            help=self.help,
        )


_GLOBAL_OPTIONS = (
    _GlobalOption(("--vault",), "the folder of the vault (FILEVAULT_DIR)", "DIR"),
    _GlobalOption(
        ("--backend",), "the vault's backend: file, pass or age (FILEVAULT_BACKEND)", "NAME"
    ),
    _GlobalOption(
        ("--prefix", "--pass-prefix"),
        "folder of the items in a pass or passage store, '' for its top (FILEVAULT_PREFIX; "
        "default aws)",
        "NAME",
    ),
    _GlobalOption(("--pass-dir",), "the pass or passage store (PASSWORD_STORE_DIR, ...)", "DIR"),
    _GlobalOption(
        ("--identity",),
        "age: file of identities; repeatable (FILEVAULT_AGE_IDENTITY, ...)",
        "F",
        repeatable=True,
    ),
    _GlobalOption(
        ("--passphrase-fd",),
        "read the passphrase from a descriptor (FILEVAULT_PASSPHRASE_FD)",
        "N",
        _descriptor,
    ),
    _GlobalOption(
        ("--passphrase-file",),
        "read the passphrase from a file (FILEVAULT_PASSPHRASE, _FILE, _COMMAND)",
        "F",
    ),
    _GlobalOption(("--key-file",), "unlock with a key file (FILEVAULT_KEY, _FILE, ...)", "F"),
    _GlobalOption(
        ("--strict",),
        "refuse what is otherwise a warning: rollbacks, an unseen vault (FILEVAULT_STRICT)",
    ),
    _GlobalOption(
        ("--pin",), "compare the vault with this pin, not the local one (FILEVAULT_PIN)", "HEX"
    ),
    _GlobalOption(("--slot",), "try this keyslot only", "ID"),
    _GlobalOption(("--allow-weak-kdf",), "accept keyslots below the minimum cost of a passphrase"),
    _GlobalOption(
        ("--allow-http",),
        "accept plain http endpoints that are not on this machine (FILEVAULT_ALLOW_HTTP)",
    ),
    _GlobalOption(
        ("--prompt",), "get MFA codes from terminal, ykman or none (FILEVAULT_PROMPT)", "HOW"
    ),
    _GlobalOption(("--debug",), "print more messages on stderr, never a secret"),
)


def add_global_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that every command takes."""
    group = parser.add_argument_group("global options")
    for option in _GLOBAL_OPTIONS:
        option.declare(group)
    group.add_argument(*_VERSION, action="version", version=f"filevault {__version__}")


def global_options(namespace: argparse.Namespace) -> GlobalOptions:
    """Return the global options of a parsed command line."""
    given = {name: getattr(namespace, name) for name in GlobalOptions._fields}
    return GlobalOptions(**{**given, "identity": tuple(namespace.identity or ())})


def add_mask_option(parser: argparse.ArgumentParser) -> None:
    """Add `--mask`, which exec and export share."""
    parser.add_argument(
        "--mask",
        action="store_true",
        help="in GitHub Actions, hide the credentials in the log of the job",
    )


def add_session_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that exec, export and login share."""
    parser.add_argument(
        "-d",
        "--duration",
        type=duration,
        metavar="TIME",
        help="lifetime of the credentials, e.g. 30m or 8h (AWS_VAULT_DURATION)",
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
        "--no-cache", action="store_true", help="neither use nor store cached sessions"
    )
    parser.add_argument(
        "--explain", action="store_true", help="print the plan with its reasons; call nothing"
    )


def find_command(argv: Sequence[str]) -> int | None:
    """Return the index of the command's name, None if there is none before the first `--`."""
    with_value = {name for each in _GLOBAL_OPTIONS if each.metavar for name in each.names}
    index = 0
    while index < len(argv):
        word = argv[index]
        if word == "--":
            return None
        if not word.startswith("-") or word == "-":
            return index
        index += 2 if word in with_value else 1
    return None


def split_command(parser: Parser, argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split what follows `exec` into the words of filevault and those of the command.

    Everything after the first `--` is the command's. Before it the first positional is the
    profile, and everything from the next one on is the command's, so that `exec work ls -l`
    works without `--`.
    """
    own_words: list[str] = []
    positionals = 0
    index = 0
    for word, values, is_option in parser.items(argv):
        if word == "--":
            return own_words, list(values)
        if not is_option:
            positionals += 1
            if positionals == 2:
                return own_words, list(argv[index:])
        own_words += [word, *values]
        index += 1 + len(values)
    return own_words, []
