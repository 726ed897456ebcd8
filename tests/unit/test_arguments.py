from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filevault.cli.commands import exec as exec_command
from filevault.cli.parser import (
    Parser,
    add_global_options,
    find_command,
    global_options,
    split_command,
)
from filevault.config.settings import GlobalOptions
from filevault.errors import UsageError


def exec_parser() -> Parser:
    parser = Parser("filevault exec", "")
    exec_command.configure(parser)
    add_global_options(parser)
    return parser


@pytest.mark.parametrize(
    ("argv", "index"),
    [
        (["list"], 0),
        (["--debug", "list"], 1),
        (["--vault", "list", "exec"], 2),
        (["--vault=list", "exec"], 1),
        (["--passphrase-fd", "3", "--strict", "exec"], 3),
        ([], None),
        (["--debug"], None),
        (["--", "list"], None),
        (["--vault"], None),
    ],
)
def test_the_command_is_the_first_word_that_is_nobodys_value(
    argv: list[str], index: int | None
) -> None:
    assert find_command(argv) == index


@pytest.mark.parametrize(
    ("argv", "ours", "command"),
    [
        ("work", ["work"], []),
        ("work -- ls -l", ["work"], ["ls", "-l"]),
        ("work ls -l", ["work"], ["ls", "-l"]),
        ("-- ls -l", [], ["ls", "-l"]),
        ("-d 1h work ls", ["-d", "1h", "work"], ["ls"]),
        ("-nd 1h work ls", ["-nd", "1h", "work"], ["ls"]),
        ("-d1h work ls", ["-d1h", "work"], ["ls"]),
        ("--duration=1h work ls", ["--duration=1h", "work"], ["ls"]),
        ("work -t - ls -t x", ["work", "-t", "-"], ["ls", "-t", "x"]),
        ("work --debug ls --debug", ["work", "--debug"], ["ls", "--debug"]),
        ("work --vault v -- --vault w", ["work", "--vault", "v"], ["--vault", "w"]),
        ("work -- -- x", ["work"], ["--", "x"]),
        ("work ls -- x", ["work"], ["ls", "--", "x"]),
        ("work - x", ["work"], ["-", "x"]),
    ],
)
def test_the_commands_words_begin_at_the_dashes_or_the_second_positional(
    argv: str, ours: list[str], command: list[str]
) -> None:
    assert split_command(exec_parser(), argv.split()) == (ours, command)


@given(st.lists(st.text(max_size=8), max_size=6))
def test_what_follows_the_dashes_is_never_touched(words: list[str]) -> None:
    assert split_command(exec_parser(), ["work", "--", *words]) == (["work"], words)


def test_options_are_never_abbreviated() -> None:
    with pytest.raises(UsageError, match="--dur"):
        exec_parser().parse_words(["work", "--dur", "1h"])


@pytest.mark.parametrize("value", ["x", "-1", "1.5", "", "٣", "9" * 10])
def test_a_descriptor_is_a_number(value: str) -> None:
    with pytest.raises(UsageError, match="descriptor|expected one argument"):
        exec_parser().parse_words(["--passphrase-fd", value])


def test_errors_of_the_parser_show_no_control_characters() -> None:
    with pytest.raises(UsageError) as caught:
        exec_parser().parse_words(["--\x1b[31m"])
    assert "\x1b" not in caught.value.message


def test_global_options_that_are_not_given_are_none_or_off() -> None:
    options = global_options(exec_parser().parse_words([]))
    assert options == GlobalOptions()
    given = global_options(exec_parser().parse_words(["--passphrase-fd", "0", "--strict"]))
    assert (given.passphrase_fd, given.strict) == (0, True)
