"""The `credential_process` that is filevault: every reader takes the same words."""

from __future__ import annotations

import re
import shlex
import subprocess

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from filevault.config.credential_process import ExportCommand, parse

words = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x2FF), min_size=1, max_size=20)
commands = st.builds(
    ExportCommand,
    words,
    vault=st.none() | words,
    backend=st.none() | st.sampled_from(["file", "pass", "age"]),
    prefix=st.none() | st.just("") | words,
)


@given(commands)
@example(ExportCommand("-t"))
@example(ExportCommand("--format"))
@example(ExportCommand("a #b ;c", "/v #1/it's ;x"))
def test_what_is_written_reads_back(command: ExportCommand) -> None:
    text = command.written(["/opt/bin/filevault"])
    assert parse(text) == command
    # argparse takes no separate word for a value that begins so.
    for option, value in zip(shlex.split(text), shlex.split(text)[1:], strict=False):
        assert option not in ("--vault", "--prefix") or not value.startswith("-")
    assert shlex.split(text)[0] == "/opt/bin/filevault"
    # The JavaScript SDK cuts a line at white space and a mark of comments.
    assert re.search(r"\s[#;]", text) is None


@pytest.mark.parametrize("name", ["a #b ;c", "it's", "$HOME", "a\\b", '"', "-n", "*", "!x", "~"])
def test_a_shell_takes_the_same_words_as_botocore(name: str) -> None:
    text = ExportCommand(name, "/v #1").written(["printf", "%s\\0"])
    done = subprocess.run(["/bin/sh", "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.split("\0")[:-1] == shlex.split(text)[2:]


KNOWN = [
    ("filevault export app --format json", ExportCommand("app")),
    ("filevault export --format=process app", ExportCommand("app")),
    ("/usr/bin/python3.13 -P -m filevault export app --format json", ExportCommand("app")),
    ("filevault exec -j app", ExportCommand("app")),
    ("filevault exec --json -- app", ExportCommand("app")),
    ("filevault --vault=/v export app --format json", ExportCommand("app", "/v")),
    ("filevault export app --pass-prefix '' --format json", ExportCommand("app", prefix="")),
    ("filevault export app -n --format json", ExportCommand("app", plain=False)),
    ("filevault export -d 1h app --format json", ExportCommand("app", plain=False)),
    ("filevault --key-file k export app --format json", ExportCommand("app", plain=False)),
    # Not ours, or nothing that SDKs could read.
    ("aws-vault export app --format json", None),
    ("other --config filevault export app --format json", None),
    ("python3 -m other export filevault --format json", None),
    ("python3 -m", None),
    ("filevault export app", None),
    ("filevault export app --format env", None),
    ("filevault export app --format", None),
    ("filevault export --format json", None),
    ("filevault export a b --format json", None),
    ("filevault list app --format json", None),
    ("filevault 'export", None),
    ("filevault", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "command"), KNOWN)
def test_ours_is_told_from_others(text: str, command: ExportCommand | None) -> None:
    assert parse(text) == command


def test_the_options_with_a_value_are_those_of_the_command_line() -> None:
    """An option that is not known here would be taken for a word of its own."""
    from filevault.cli.commands import export
    from filevault.cli.parser import Parser, add_global_options
    from filevault.config import credential_process as module

    parser = Parser("filevault export", "")
    export.configure(parser)
    add_global_options(parser)
    takes = {
        option
        for action in parser.actions()
        if action.option_strings and action.nargs is None
        for option in action.option_strings
    }
    known = {
        *module._OTHER_OPTIONS_WITH_VALUE,
        *module._VAULT_OPTIONS,
        "--format",
    }
    assert takes == known
