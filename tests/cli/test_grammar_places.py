"""Options at every place of the command line, for every command and every action of it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filevault.cli import CommandLine
from filevault.cli.command import ALIASES, COMMANDS, parser_of
from filevault.cli.parser import Parser, add_global_options, find_command
from filevault.errors import UsageError

# Values of options that are not just any text.
VALUES = {
    "--passphrase-fd": "3", "--duration": "1h", "--min-ttl": "5m", "--ttl": "1h", "--grace": "1d",
    "--older-than": "90d", "--kdf-memory": "64", "--kdf-iterations": "1", "--kdf-lanes": "1",
    "--parent": "1",
}  # fmt: skip
# What ends the program while its command line is read.
ENDING = {"--help", "--version"}
GLOBAL = Parser("filevault", "")
add_global_options(GLOBAL)


def positionals(parser: Parser) -> list[list[str]]:
    """The words that a command can take besides options: for each action, one with each number."""
    lines: list[list[str]] = [[]]
    for action in parser.actions():
        if action.option_strings:
            continue
        words = list(action.choices) if action.choices else [f"{action.dest}1"]
        more = [[word] for word in words]
        if action.nargs in ("?", "*"):
            more.append([])
        if action.nargs == "*":
            more.append([f"{action.dest}1", f"{action.dest}2"])
        lines = [[*line, *each] for line in lines for each in more]
    return lines


def spellings(action: argparse.Action) -> Iterator[list[str]]:
    """Each way to write an option."""
    long = action.option_strings[-1]
    value = VALUES.get(long, next(iter(action.choices)) if action.choices else "x")
    for name in action.option_strings:
        if action.nargs == 0:
            yield [name]
        else:
            yield [name, value]
            yield [f"{name}={value}" if name.startswith("--") else f"{name}{value}"]


def read(argv: Sequence[str]) -> argparse.Namespace:
    index = find_command(argv)
    assert index is not None
    namespace = CommandLine(argv, index).parse()
    del namespace.program  # the words as they were written
    return namespace


@pytest.mark.parametrize("command", COMMANDS)
def test_an_option_may_stand_anywhere(command: str) -> None:
    parser = parser_of(command)
    if command == "git":  # every word after it is git's
        parser = GLOBAL
    for words in positionals(parser):
        plain = read([command, *words])
        for action in parser.actions():
            if not action.option_strings or not ENDING.isdisjoint(action.option_strings):
                continue
            is_global = any(name in GLOBAL.options() for name in action.option_strings)
            for option in spellings(action):
                first = 0 if is_global else 1
                last = 0 if command == "git" else 1 + len(words)
                line = [command, *words]
                given = [
                    read([*line[:place], *option, *line[place:]])
                    for place in range(first, last + 1)
                ]
                assert given[0] != plain or action.default == getattr(plain, action.dest)
                assert all(each == given[0] for each in given), (words, option)


LINES: dict[str, dict[str, object]] = {
    "recipients remove --force NAME": {"action": "remove", "force": True, "names": ["NAME"]},
    "recipients remove -f NAME": {"action": "remove", "force": True, "names": ["NAME"]},
    "recipients accept --strict NAME": {"action": "accept", "strict": True, "names": ["NAME"]},
    "recipients add --debug ONE --vault v TWO": {"debug": True, "names": ["ONE", "TWO"]},
    "slot remove --debug ID": {"action": "remove", "debug": True, "id": "ID"},
    "slot --label x add": {"action": "add", "label": "x", "id": None},
    "rotate ONE -n TWO --grace 1h": {"profiles": ["ONE", "TWO"], "grace": 3600},
}


@pytest.mark.parametrize("line", LINES)
def test_lines_with_an_option_between_action_and_names(line: str) -> None:
    assert LINES[line].items() <= vars(read(line.split())).items()


def test_words_after_the_dashes_are_no_options() -> None:
    assert read(["recipients", "remove", "--", "--force", "-f"]).names == ["--force", "-f"]
    assert read(["rotate", "--debug", "a", "--", "-b"]).profiles == ["a", "-b"]


def test_a_value_is_never_taken_from_the_positionals() -> None:
    for words in (["slot", "add", "--label"], ["rotate", "x", "--region"], ["list", "--vault"]):
        with pytest.raises(UsageError, match="expected one argument"):
            read(words)


@pytest.mark.parametrize("line", ["--vault=-- list", "-d1h --vault=-- export", "-t-- export"])
def test_a_value_may_be_two_dashes(line: str) -> None:
    """argparse makes it `[]`, which is no value: the default vault would be used."""
    *options, command = line.split()
    found = read([command, *options])
    assert "--" in (found.vault, getattr(found, "mfa_token", None))


def test_two_dashes_are_no_number() -> None:
    for line in (["init", "--kdf-memory=--"], ["export", "-d--"], ["export", "--format=--"]):
        with pytest.raises(UsageError, match="invalid|not a duration"):
            read(line)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_option_but_a_prefix_or_a_label_may_be_empty(command: str) -> None:
    """`--vault "$UNSET"` must not choose the default vault, nor `--pin ''` the local pin."""
    parser = parser_of(command)
    words = next(each for each in positionals(parser) if len(each) != 1 or command != "slot")
    for action in parser.actions():
        if action.nargs is not None or not action.option_strings or action.choices:
            continue
        for name in action.option_strings:
            line = (
                [f"{name}=", command, *words] if command == "git" else [command, *words, name, ""]
            )
            if action.dest in ("prefix", "label"):
                read(line)
            elif action.type is None:
                with pytest.raises(UsageError, match=f"{action.option_strings[-1]} is empty"):
                    read(line)
            else:
                with pytest.raises(UsageError):
                    read(line)


def test_a_global_option_is_given_once_or_twice_the_same_but_identities_add_up() -> None:
    for action in GLOBAL.actions():
        if action.nargs is not None:
            continue
        name = action.option_strings[-1]
        one, two = ("3", "4") if name == "--passphrase-fd" else ("a", "b")
        read([name, one, "list", name, one])
        if name == "--identity":
            assert read([name, one, "list", name, two]).identity == [one, two]
        else:
            with pytest.raises(UsageError, match="given twice"):
                read([name, one, "list", name, two])
    with pytest.raises(UsageError, match="given twice"):
        read(["--prefix", "a", "list", "--pass-prefix", "b"])


def result(words: Sequence[str]) -> object:
    """The values of a command line, or how it is refused."""
    try:
        return vars(read(words))
    except UsageError as refused:
        return refused.message, refused.hint


TEXTS = st.sampled_from(["", "-", "x", "1h", "3", "work", "x=y", "-1", "--", "env", "add", "a b"])


@st.composite
def lines(draw: st.DrawFn) -> list[str]:
    """Return a command line of options in all spellings, values of all kinds, and other words."""
    command = draw(st.sampled_from(sorted({*COMMANDS} - {"git", "help", "version"})))
    parser = parser_of(command)
    words = [draw(TEXTS) for _ in range(draw(st.integers(0, 2)))]
    for action in parser.actions():
        if not action.option_strings and draw(st.booleans()):
            words += draw(st.sampled_from([list(action.choices or ["profile"]), ["word"]]))[:1]
    for option in draw(st.lists(st.sampled_from(parser.options()), max_size=4)):
        if option in ("-h", "--help", "-v", "--version"):
            continue
        spelling = draw(st.sampled_from(["{}", "{}", "{}={}", "{}{}", "{} {}", "{} {}"]))
        place = draw(st.integers(0, len(words)))
        words[place:place] = spelling.replace("{}", option, 1).split(" ")
        words = [each.replace("{}", draw(TEXTS)) for each in words]
    return [command, *words]


@settings(max_examples=400, deadline=None)
@given(lines())
def test_a_line_is_read_without_argparse_as_argparse_reads_it(words: list[str]) -> None:
    found = result(words)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Parser, "read", lambda *_: None)
        assert result(words) == found


def test_the_common_lines_are_read_without_argparse() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Parser, "full", None)
        read(["--vault", "v", "exec", "work", "-d", "1h", "--", "env"])
        read(["export", "--format=json", "work"])
        read(["rotate", "one", "two", "--grace", "1d"])
        read(["recipients", "add", "ONE", "--debug"])
        read(["list"])


@pytest.mark.parametrize("command", [*COMMANDS, *ALIASES])
def test_every_command_reads_its_words_to_the_end(command: str) -> None:
    if command in ("git", "exec"):
        return
    with pytest.raises(UsageError):
        read([command, "--debug", *["word"] * 3, "--no-such-option"])
