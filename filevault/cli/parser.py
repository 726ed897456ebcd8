"""Grammar of the command line: global and shared options, and where a program's words begin.

Commands declare their options here in the words of argparse. `Parser` reads the common forms of a
command line itself; argparse, in `filevault.cli.full_parser`, reads every other one with the same
declarations, words what is refused, and prints the help. Importing argparse and declaring the
options of `exec` to it takes 18 million instructions, nearly half of what starting Python does.
"""

from __future__ import annotations

from filevault import __version__
from filevault.config.settings import GlobalOptions
from filevault.errors import UsageError
from filevault.system.printable import printable, shell_word
from filevault.system.times import parse_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from argparse import Namespace
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from typing import Protocol, TypedDict, Unpack

    from filevault.cli.full_parser import FullParser

    class Keywords(TypedDict, total=False):
        """What `add_argument` takes, as argparse defines it; the action `once` is ours."""

        action: str
        nargs: str
        default: object
        type: Callable[[str], object]
        choices: Collection[object]
        metavar: str
        dest: str
        help: str
        version: str

    class Declares(Protocol):
        """A parser, or a group of its arguments."""

        def add_argument(self, *names: str, **keywords: Unpack[Keywords]) -> object:
            """Declare an option or a positional."""
            ...
else:
    from types import SimpleNamespace as Namespace  # like that of argparse

ONCE = "once"
"""The action of an option whose value may be repeated, but not changed."""
_VERSION = ("-v", "--version")
_MAY_BE_EMPTY = ("prefix", "label")  # '' is the top of a store, or no label
_FLAGS = {"store_true": False, "store_false": True}  # with the value without the option
_WITH_VALUE = (None, ONCE, "append")


class Argument:
    """An option or a positional as a command declares it.

    `keywords` are those of argparse. `group` is the title of its group, or the number of a group
    of options that exclude each other.
    """

    __slots__ = ("group", "keywords", "names", "takes_value")

    def __init__(
        self, names: tuple[str, ...], keywords: Keywords, group: str | int | None = None
    ) -> None:
        self.names = names
        self.keywords = keywords
        self.group = group
        self.takes_value = "nargs" not in keywords and keywords.get("action") in _WITH_VALUE

    @property
    def is_option(self) -> bool:
        """Whether it is an option."""
        return self.names[0].startswith("-")

    @property
    def dest(self) -> str:
        """The name of its value, as argparse derives it."""
        for name in self.names:
            if name.startswith("--"):
                break
        else:
            name = self.names[0]
        return self.keywords.get("dest") or name.lstrip("-").replace("-", "_")


class _Group:
    """A group of arguments, which are declared like those of the parser."""

    def __init__(self, arguments: list[Argument], group: str | int) -> None:
        self._arguments = arguments
        self._group = group

    def add_argument(self, *names: str, **keywords: Unpack[Keywords]) -> None:
        """Declare an option."""
        self._arguments.append(Argument(names, keywords, self._group))


class Parser:
    """A parser that raises UsageError and accepts no abbreviated options.

    `usage` is what `--help` begins with, None for the command's name and its positionals.
    """

    def __init__(self, prog: str, description: str) -> None:
        self.prog = prog
        self.description = description
        self.usage: str | None = None
        self.arguments = [Argument(("-h", "--help"), {"action": "help"})]
        self._groups = 0
        self._by_option: dict[str, Argument] | None = None
        self._full: FullParser | None = None

    def add_argument(self, *names: str, **keywords: Unpack[Keywords]) -> None:
        """Declare an option or a positional."""
        self.arguments.append(Argument(names, keywords))

    def add_argument_group(self, title: str) -> Declares:
        """Return a group that the help shows under a title."""
        return _Group(self.arguments, title)

    def add_mutually_exclusive_group(self) -> Declares:
        """Return a group of options that exclude each other."""
        self._groups += 1
        return _Group(self.arguments, self._groups)

    @property
    def _options(self) -> Mapping[str, Argument]:
        """The options by their names; nothing is declared once these are asked for."""
        if self._by_option is None:
            self._by_option = {
                name: each for each in self.arguments if each.is_option for name in each.names
            }
        return self._by_option

    @property
    def full(self) -> FullParser:
        """The parser of argparse with the same declarations."""
        if self._full is None:
            from filevault.cli.full_parser import FullParser

            self._full = FullParser(self)
        return self._full

    def format_help(self) -> str:
        """Return what `--help` prints."""
        return self.full.format_help()

    def parse_words(self, words: Sequence[str], program: Sequence[str] | None = None) -> Namespace:
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
        options: list[tuple[str, Sequence[str]]] = []
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
                options.append((word, values))
            else:
                raise self._unknown(word, bool(positionals), program)
        namespace = None if rest else self.read(options, positionals)
        if namespace is None:
            given = [word for name, values in options for word in (name, *values)]
            ordered = [*given, "--", *positionals, *rest] if rest else [*positionals, *given]
            namespace = Namespace()
            left = self.full.parse_known_args(ordered, namespace)[1]
            if left:
                raise self._unexpected(left, program)
            self._refuse_empty(namespace)
        return namespace

    def _refuse_empty(self, namespace: Namespace) -> None:
        for argument in self.arguments:
            value = getattr(namespace, argument.dest, None)
            empty = value == "" or (isinstance(value, list) and "" in value)
            if empty and argument.is_option and argument.dest not in _MAY_BE_EMPTY:
                raise UsageError(
                    f"{argument.names[-1]} is empty",
                    hint="is a variable of the script unset? leave the option out if it is meant",
                )

    def read(
        self, options: Sequence[tuple[str, Sequence[str]]], positionals: Sequence[str]
    ) -> Namespace | None:
        """Return the values of a line in one of the common forms, as argparse would.

        Return None for any other line, whether it is valid or not.

        Args:
            options: the words that are options, each with the word that is its value, if any.
            positionals: the other words.
        """
        values: dict[str, object] = {}
        for each in self.arguments:
            action = each.keywords.get("action")
            if action in _FLAGS or each.takes_value or not each.is_option:
                values.setdefault(each.dest, each.keywords.get("default", _FLAGS.get(action or "")))
        for word, given in options:
            name, equals, text = word.partition("=")
            argument = self._options.get(name)
            if argument is None or isinstance(argument.group, int):
                return None  # letters in one word, or options that exclude each other
            action = argument.keywords.get("action")
            if not argument.takes_value:
                if action not in _FLAGS or equals:
                    return None
                values[argument.dest] = not _FLAGS[action]
                continue
            if not equals:
                if not given or (given[0].startswith("-") and given[0] != "-"):
                    return None
                text = given[0]
            elif not name.startswith("--"):
                return None
            if not _set(values, argument, text):
                return None
        return Namespace(**values) if self._read_positionals(values, positionals) else None

    def _read_positionals(self, values: dict[str, object], words: Sequence[str]) -> bool:
        """Add the values of the positionals; return whether they are surely valid."""
        left = list(words)
        for each in self.arguments:
            if each.is_option:
                continue
            choices, nargs = each.keywords.get("choices"), each.keywords.get("nargs")
            if nargs == "*":
                values[each.dest], left = left, []
            elif left:
                values[each.dest] = left.pop(0)
            elif nargs != "?":
                return False
            if choices is not None and values[each.dest] not in choices:
                return False
        return not left

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
        return list(self._options)

    def actions(self) -> list[argparse.Action]:
        """Return the options and positionals in the order of their declaration, of argparse."""
        return self.full.actions()

    def knows(self, word: str) -> bool:
        """Return whether a word is an option, alone, with `=value`, or in a cluster of letters."""
        name = word.partition("=")[0] if word.startswith("--") else word[:2]
        return name in self._options

    def takes_value(self, word: str) -> bool:
        """Return whether an option takes the next word as its value."""
        argument = self._options.get(word)
        if argument is not None:
            return argument.takes_value
        if not word.startswith("--"):
            # A cluster of short options: the last one may take a value, if none before did.
            for position, letter in enumerate(word[1:], start=1):
                argument = self._options.get(f"-{letter}")
                if argument is None:
                    return False
                if argument.takes_value:
                    return position == len(word) - 1
        return False

    def has_flag(self, words: Sequence[str], name: str) -> bool:
        """Return whether a flag is among words that may not be valid otherwise."""
        argument = self._options[name]
        for word, _values, is_option in self.items(words):
            if not is_option:
                continue
            if word in argument.names:
                return True
            letters = "" if word.startswith("--") else word[1:]
            for letter in letters:
                found = self._options.get(f"-{letter}")
                if found is argument:
                    return True
                if found is None or found.takes_value:
                    break
        return False


def _set(values: dict[str, object], argument: Argument, text: str) -> bool:
    """Set the value of an option; return whether it is surely valid."""
    keywords, dest = argument.keywords, argument.dest
    convert, choices, before = keywords.get("type"), keywords.get("choices"), values[dest]
    try:
        value = text if convert is None else convert(text)
    except Exception:  # noqa: BLE001 - argparse does it again, and words the refusal
        return False
    if value == "" and dest not in _MAY_BE_EMPTY:
        return False
    if choices is not None and value not in choices:
        return False
    if keywords.get("action") == "append":
        values[dest] = [*(before if isinstance(before, list) else ()), value]
        return True
    if keywords.get("action") == ONCE and before is not None and before != value:
        return False
    values[dest] = value
    return True


def _refusal(message: str) -> Exception:
    """Return the error with which the type of a value makes argparse refuse it."""
    import argparse

    return argparse.ArgumentTypeError(message)


def _descriptor(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise _refusal("not the number of a descriptor")
    return int(text)


def duration(text: str) -> int:
    """Parse an option's duration into seconds."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise _refusal(str(error)) from error


def add_global_options(parser: Parser) -> None:
    """Add the options that every command takes."""
    group = parser.add_argument_group("global options")
    group.add_argument(
        "--vault", action=ONCE, metavar="DIR", help="the folder of the vault (FILEVAULT_DIR)"
    )
    group.add_argument(
        "--backend",
        action=ONCE,
        metavar="NAME",
        help="the vault's backend: file, pass or age (FILEVAULT_BACKEND)",
    )
    group.add_argument(
        "--prefix",
        "--pass-prefix",
        action=ONCE,
        metavar="NAME",
        help="folder of the items in a pass or passage store, '' for its top "
        "(FILEVAULT_PREFIX; default aws)",
    )
    group.add_argument(
        "--pass-dir",
        action=ONCE,
        metavar="DIR",
        help="the pass or passage store (PASSWORD_STORE_DIR, ...)",
    )
    group.add_argument(
        "--identity",
        action="append",
        metavar="F",
        help="age: file of identities; repeatable (FILEVAULT_AGE_IDENTITY, ...)",
    )
    group.add_argument(
        "--passphrase-fd",
        action=ONCE,
        metavar="N",
        type=_descriptor,
        help="read the passphrase from a descriptor (FILEVAULT_PASSPHRASE_FD)",
    )
    group.add_argument(
        "--passphrase-file",
        action=ONCE,
        metavar="F",
        help="read the passphrase from a file (FILEVAULT_PASSPHRASE, _FILE, _COMMAND)",
    )
    group.add_argument(
        "--key-file",
        action=ONCE,
        metavar="F",
        help="unlock with a key file (FILEVAULT_KEY, _FILE, ...)",
    )
    group.add_argument(
        "--strict",
        action="store_true",
        help="refuse what is otherwise a warning: rollbacks, an unseen vault (FILEVAULT_STRICT)",
    )
    group.add_argument(
        "--pin",
        action=ONCE,
        metavar="HEX",
        help="compare the vault with this pin, not the local one (FILEVAULT_PIN)",
    )
    group.add_argument("--slot", action=ONCE, metavar="ID", help="try this keyslot only")
    group.add_argument(
        "--allow-weak-kdf",
        action="store_true",
        help="accept keyslots below the minimum cost of a passphrase",
    )
    group.add_argument(
        "--allow-http",
        action="store_true",
        help="accept plain http endpoints that are not on this machine (FILEVAULT_ALLOW_HTTP)",
    )
    group.add_argument(
        "--prompt",
        action=ONCE,
        metavar="HOW",
        help="get MFA codes from terminal, ykman or none (FILEVAULT_PROMPT)",
    )
    group.add_argument(
        "--debug", action="store_true", help="print more messages on stderr, never a secret"
    )
    group.add_argument(*_VERSION, action="version", version=f"filevault {__version__}")


def global_parser() -> Parser:
    """Return the parser of the global options alone."""
    parser = Parser("filevault", "")
    add_global_options(parser)
    return parser


def global_options(namespace: Namespace) -> GlobalOptions:
    """Return the global options of a parsed command line."""
    given = {name: getattr(namespace, name) for name in GlobalOptions._fields}
    return GlobalOptions(**{**given, "identity": tuple(namespace.identity or ())})


def add_mask_option(parser: Parser) -> None:
    """Add `--mask`, which exec and export share."""
    parser.add_argument(
        "--mask",
        action="store_true",
        help="in GitHub Actions, hide the credentials in the log of the job",
    )


def add_session_options(parser: Parser) -> None:
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
    index, parser = 0, None
    while index < len(argv):
        word = argv[index]
        if word == "--":
            return None
        if not word.startswith("-") or word == "-":
            return index
        parser = parser or global_parser()
        index += 2 if parser.takes_value(word) else 1
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
