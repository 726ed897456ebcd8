"""Commands that messages suggest: every name in them is one word of a shell."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from filevault.aws.errors import KEY, name_key
from filevault.cli.command import COMMANDS
from filevault.errors import AwsError
from tests.worlds.machine import ROOT

PROGRAMS = ("chmod", "chown", "cp", "rm", "mv", "mkdir", "ln", "cat", "unset")
COMMAND = re.compile(
    rf"(?:filevault (?:{'|'.join(COMMANDS)})\b|\b(?:{'|'.join(PROGRAMS)}) (?=-|[0-7+]))[^;:`,.]*$"
)
# Values that are words of a command already, or no text of a person's.
SAFE = {
    "word",  # made by shell_word
    "KEY",  # becomes a word in name_key
    "command",  # words already
    "days",  # digits and a letter
    "keeper.id",  # hex digits
    "kept.id",
    "backend.name",
    "backend",  # of a vault: an option and the name of a backend
    "option",
    "rest",
    "self._args.action",  # of `sso`, one of the parser's words
    "slot.id",  # hex digits
}
FOLDERS = (ROOT / "filevault", ROOT / "backends")
FILES = sorted(path for folder in FOLDERS for path in folder.rglob("*.py"))


def suggested(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the expression of each value inside a command of a message."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.JoinedStr):
            continue
        before = ""
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                if COMMAND.search(before):
                    yield node.lineno, ast.unparse(part.value)
                before += "word"
            elif isinstance(part, ast.Constant):
                before += str(part.value)


def test_every_name_in_a_suggested_command_is_quoted_for_the_shell() -> None:
    found = [(path, line, value) for path in FILES for line, value in suggested(path)]
    assert len(found) > 15, "the test finds the commands"
    assert [
        f"{path}:{line}: {value}"
        for path, line, value in found
        if not value.startswith(("shell_word(", "shlex.quote(")) and value not in SAFE
    ] == []


def test_each_usage_error_says_what_to_do_next() -> None:
    found = [
        (f"{path}:{node.lineno}", {each.arg for each in node.keywords})
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "UsageError"
    ]
    assert len(found) > 150, "the test finds the errors"
    assert [where for where, given in found if "hint" not in given] == []


def test_every_suggested_header_is_written_as_the_config_reads_it() -> None:
    """A name with a space stands in quotes there, which `profile_header` puts."""
    headers = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            texts = [part.value for part in getattr(node, "values", ()) if hasattr(part, "value")]
            if any(isinstance(text, str) and text.endswith("[profile ") for text in texts):
                headers.append(path.name)
    assert headers == ["inheritance.py"]


def test_no_message_names_a_profile_that_is_known_as_profile() -> None:
    """`login` and `exec` may: there the profile is what is missing, or the usage line."""
    allowed = {"cli/commands/exec.py", "cli/commands/login.py", "cli/console_signin.py"}
    allowed |= {"cli/__init__.py", "cli/commands/serve.py", "cli/serving_state.py"}
    found = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and re.search(r"filevault [a-z].*\bPROFILE\b", text):
                found.append(str(path.relative_to(ROOT / path.relative_to(ROOT).parts[0])))
    assert set(found) <= allowed


@pytest.mark.parametrize(("name", "word"), [("work", "work"), ("my key", "'my key'")])
def test_a_refusal_names_the_key_that_signs(name: str, word: str) -> None:
    error = AwsError("no", hint=f"store it again: filevault add {KEY} --force")
    assert name_key(error, name).hint == f"store it again: filevault add {word} --force"
