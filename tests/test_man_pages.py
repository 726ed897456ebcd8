"""The man pages are those of the program, and man(7) without a mistake."""

from __future__ import annotations

import re
import subprocess

import pytest

from filevault.cli.command import COMMANDS, parser_of
from filevault.cli.parser import Parser, add_global_options
from tests.conditions.tools import tool
from tests.man_pages import FOLDER, escaped, exact, pages, statuses

PAGES = pages()


def test_the_pages_in_the_tree_are_those_of_the_program() -> None:
    """`make man` writes them."""
    assert {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()} == PAGES


def test_no_page_has_a_date_or_a_path_of_this_machine() -> None:
    for name, text in PAGES.items():
        assert not re.search(r"\b20\d\d\b|/work|/root|/home", text), name
        assert text.isascii(), name


def test_roff_finds_nothing_wrong() -> None:
    for name in PAGES:
        done = subprocess.run(
            [tool("groff"), "-man", "-Tutf8", "-ww", "-z", FOLDER / name],
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), name


def shown(name: str) -> str:
    """Return what `man` shows of a page, in one line."""
    done = subprocess.run(
        [tool("man"), "-l", FOLDER / name],
        env={"PATH": "/usr/bin:/bin", "MANWIDTH": "200", "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=True,
    )
    return re.sub(r"\s+", " ", re.sub(r".\x08", "", done.stdout))


@pytest.mark.parametrize("command", ["exec", "slot", "list"])
def test_man_shows_all_that_help_says(command: str) -> None:
    text = shown(f"filevault-{command}.1")
    parser = parser_of(command)
    general = Parser("filevault", "")
    add_global_options(general)
    for action in parser.actions():
        if not set(action.option_strings) & set(general.options()):
            for each in (*action.option_strings, action.help or ""):
                assert re.sub(r"\s+", " ", each) in text
    assert re.sub(r"\s+", " ", parser.description or "") in text


def test_the_page_of_the_program_names_commands_options_and_statuses() -> None:
    text = shown("filevault.1")
    general = Parser("filevault", "")
    add_global_options(general)
    for each in (*COMMANDS.values(), *(action.help for action in general.actions()[1:])):
        assert each
        assert each in text
    for name in COMMANDS:
        assert f"filevault-{name}(1)" in text
    found = dict(statuses())
    assert found["0"] == "done"
    assert {"2", "5", "12", "125", "126", "127", "130"} <= found.keys()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (".SH x", "\\&.SH x"),
        ("'x'", "\\(aqx\\(aq"),
        ("a\\nb", "a\\enb"),
        ("well-known --option -x", "well-known \\-\\-option \\-x"),
        ("\u2265", "\\[u2265]"),
    ],
)
def test_text_is_no_command_of_roff(text: str, expected: str) -> None:
    assert escaped(text) == expected


def test_every_dash_of_a_word_to_copy_is_a_dash() -> None:
    assert exact("--no-cache") == "\\-\\-no\\-cache"
