"""What completes a word: the place at the cursor, the names there, bash's quoting."""

from __future__ import annotations

import argparse
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filevault.cli.command import ALIASES, COMMANDS, parser_of
from filevault.cli.completion import grammar
from filevault.cli.completion.bash_line import insertion, read_line
from filevault.cli.completion.grammar import OPTION_VALUES, POSITIONALS, place
from tests.worlds.in_process import InProcess

BREAKS = " \t\n\"'@><=;|&(:"
# Values that cannot be guessed: times, numbers, addresses, secrets, names from outside.
FREE = {
    *(
        "--duration",
        "--mfa-token",
        "--min-ttl",
        "--listen",
        "--path",
        "--lines",
    ),
    *("sso --name", "--older-than", "--grace", "--delete-orphan", "--ttl", "--parent"),
    *("--label", "--source-prefix", "--only", "--rename", "--recipient"),
    *("--kdf-memory", "--kdf-iterations", "--kdf-lanes", "--pin", "--passphrase-fd"),
    "recipients add",
}
KNOWN = {"--prompt", "help of"}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ([""], list(COMMANDS)),
        (["--strict", ""], list(COMMANDS)),
        (["--vault", "x", ""], list(COMMANDS)),
        (["--prompt", ""], ["terminal", "ykman", "none"]),
        (["--prompt=y"], ["terminal", "ykman", "none"]),
        (["export", "--format", ""], None),
        (["exec", "-d", ""], []),
        (["recipients", ""], ["list", "add", "remove", "accept"]),
        (["slot", "--generate", ""], ["list", "add", "remove"]),
        (["help", ""], list(COMMANDS)),
        (["completion", ""], ["bash", "zsh", "fish"]),
        (["nothing", ""], []),
        (["version", ""], []),
        (["--", ""], []),
    ],
)
def test_words_that_the_grammar_knows(line: Sequence[str], expected: list[str] | None) -> None:
    found = place(line)
    if expected is None:
        assert len(found.words) > 3
    else:
        assert [text for text, _help in found.words] == expected
    assert not found.kind


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (["--vault", ""], grammar.FOLDER),
        (["--backend=x"], grammar.BACKEND),
        (["exec", ""], grammar.PROFILE),
        (["exec", "--strict", "--region", "x", ""], grammar.PROFILE),
        (["ls", "--key-file", ""], grammar.FILE),
        (["rm", ""], grammar.STORED),
        (["rotate", "a", "b", ""], grammar.STORED),
        (["slot", "remove", ""], grammar.KEYSLOT),
        (["slot", "add", ""], ""),
        (["exec", "--slot", ""], grammar.KEYSLOT),
        (["recipients", "remove", "-f", "x", ""], grammar.RECIPIENT),
        (["recipients", "accept", ""], grammar.STORED),
        (["recipients", "add", ""], ""),
        (["sso", "login", ""], grammar.SESSION),
        (["remove", "--", ""], grammar.STORED),
        (["rename", "old", ""], grammar.UNUSED),
        (["copy", "old", ""], grammar.UNUSED),
        (["copy", "--force", "old", ""], grammar.PROFILE),
        (["signin", ""], grammar.SIGN_IN),
        (["clear", ""], grammar.CLEARABLE),
        (["exec", "--region", ""], grammar.REGION),
        (["add", "--region=eu-"], grammar.REGION),
        (["add", "--mfa-serial", ""], grammar.MFA_SERIAL),
        (["serve", "--allow-role", ""], grammar.ROLE_ARN),
        (["sso", "list", "--account", ""], grammar.SSO_ACCOUNT),
        (["sso", "list", "--role", ""], grammar.SSO_ROLE),
        (["sso", "profiles", "--name", ""], ""),
        (["import", "--name", ""], grammar.UNUSED),
        (["list", "--prefix", ""], grammar.PREFIX),
        (["migrate", "--to", ""], grammar.VAULT),
    ],
)
def test_what_a_name_at_the_cursor_is(line: Sequence[str], kind: str) -> None:
    assert place(line).kind == kind


@pytest.mark.parametrize(
    ("line", "index"),
    [
        ("exec work -- ", 3),
        ("exec work ", 2),
        ("exec -d 1h work ls ", 4),
        ("exec -- ", 2),
        ("--strict exec -- ls ", 3),
        ("--strict exec work ls ", 3),
        ("exec work -n -- ls -l ", 4),
        ("agent -- ", 2),
        ("agent --foreground -- make ", 3),
        ("git ", 0),
        ("git log --one", 0),
        ("--vault x git ", 2),
    ],
)
def test_where_the_command_line_of_another_program_begins(line: str, index: int) -> None:
    assert place(line.split(" ")) == grammar.Place(grammar.COMMAND, index=index)


def test_an_option_that_is_given_is_offered_again_only_if_it_may_be() -> None:
    found = {text for text, _help in place(["exec", "-n", "--allow-role", "x", "work", "-"]).words}
    assert {"--allow-role", "--duration", "-d", "--vault"} <= found
    assert not {"-n", "--no-session"} & found


@pytest.mark.parametrize("command", ["recipients", "slot", "sso"])
def test_an_action_is_described_as_the_help_of_its_own_command_describes_it(command: str) -> None:
    """Some have the name of a command: `slot add` does not store an access key."""
    described = " ".join(parser_of(command).description.split())
    for name, told in place([command, ""]).words:
        assert told, name
        assert f" {name} {told}" in re.sub(r" (ID|R\.\.\.) ", " ", described)
        assert told != COMMANDS.get(name)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_value_of_a_command_is_known_or_known_to_be_free(command: str) -> None:
    """Hence a new option cannot be forgotten here."""
    for action in parser_of(command).actions():
        if action.nargs == 0 or action.choices:
            continue
        if action.option_strings:
            names = {action.option_strings[-1], action.option_strings[0]}
            names |= {f"{command} {each}" for each in names}
        elif action.dest in ("names", "id"):
            names = {f"{command} remove"}
        else:
            names = {f"{command} {action.dest}"}
        places = sum(
            bool(names & known) for known in (OPTION_VALUES.keys(), POSITIONALS.keys(), FREE, KNOWN)
        )
        assert places == 1, names


def test_the_tables_name_nothing_that_no_command_takes() -> None:
    taken = {"recipients remove", "recipients accept", "slot remove"}
    for command in COMMANDS:
        for action in parser_of(command).actions():
            options = action.option_strings
            taken |= {*options, f"{command} {action.dest}", *(f"{command} {o}" for o in options)}
    assert {*OPTION_VALUES, *POSITIONALS} <= taken
    assert isinstance(parser_of("exec").actions()[0], argparse.Action)
    assert all(place([alias, "-"]) == place([name, "-"]) for alias, name in ALIASES.items())


def test_what_cannot_be_read_is_no_answer_and_no_message(tmp_path: Path) -> None:
    machine = InProcess({"HOME": str(tmp_path)})
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/config").write_text("[profile x\nnonsense")
    for words in (["zsh", "exec", ""], ["zsh", "--backend", "wrong", "exec", ""]):
        done = machine.run("__complete", *words)
        assert (done.status, done.out, done.err) == (0, "words\n", "")
    for words in (["zsh", "sso", "login", ""], [], ["bash"], ["bash", "", ""], ["zsh", "\udcff"]):
        done = machine.run("__complete", *words)
        assert (done.status, done.err) == (0, ""), words
        assert done.out in ("", "words\n") or len(done.out) > 200, words


def test_of_many_names_those_that_begin_with_what_is_typed_are_given(tmp_path: Path) -> None:
    """If none does, all are: zsh and fish look for other likenesses."""
    machine = InProcess({"HOME": str(tmp_path)})
    (tmp_path / ".aws").mkdir()

    def offered(profiles: int, *words: str) -> list[str]:
        (tmp_path / ".aws/config").write_text(
            "".join(f"[profile p{number}]\n" for number in range(profiles))
        )
        done = machine.run("__complete", *words)
        return [line.partition("\t")[0] for line in done.out.splitlines()[1:]]

    assert len(offered(30, "zsh", "exec", "p2")) == 30
    assert offered(600, "zsh", "exec", "p59") == ["p59", *(f"p59{i}" for i in range(10))]
    assert offered(600, "fish", "add", "--sdk-profile=p59")[-1] == "--sdk-profile=p599"
    assert len(offered(600, "zsh", "exec", "P")) == len(offered(600, "zsh", "exec", "")) == 600


TEXT = st.text(
    st.characters(exclude_categories=["C", "Z"]) | st.sampled_from(" $`'\"\\!:=@~"), min_size=1
)


@given(st.lists(st.tuples(TEXT, st.integers(0, 30), st.sampled_from(["", "'", '"']))))
@settings(max_examples=30, deadline=None)
def test_what_bash_gets_is_one_word_again(cases: list[tuple[str, int, str]]) -> None:
    """Written after what readline keeps of the line, it is the whole text: bash itself says so."""
    script, wanted = "printf '%s\\0'", []
    for whole, size, quote in cases:
        typed = whole[:size]
        if quote and any(letter in typed for letter in "'\"\\$`!"):
            continue
        words = read_line(f"filevault {quote}{typed if quote else insertion(typed, START)}", BREAKS)
        inserted = insertion(whole, words[-1])
        assert words[-1].text == typed
        assert inserted is not None
        kept = insertion(whole[: words[-1].kept], START) or ""
        closing = quote if quote and not inserted.endswith(quote) else ""
        script += f" {kept}{quote}{inserted}{closing}"
        wanted.append(whole)
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == (wanted or [""])


START = read_line("filevault ", BREAKS)[-1]


@pytest.mark.parametrize(
    ("line", "text", "kept", "pieces"),
    [
        ("filevault exec --min-ttl=5m a:b", "a:b", 2, 3),
        ("filevault x=", "x=", 2, 2),
        ("filevault a\\:b", "a:b", 0, 1),
        ("A=1 B='2 3' filevault e", "e", 0, 1),
        ("filevault 'a b", "a b", 0, 1),
        ("filevault a'b c' ", "", 0, 1),
    ],
)
def test_a_line_is_split_as_bash_splits_it(line: str, text: str, kept: int, pieces: int) -> None:
    words = read_line(line, BREAKS)
    assert words[0].text == "filevault"
    assert (words[-1].text, words[-1].kept, words[-1].pieces) == (text, kept, pieces)
