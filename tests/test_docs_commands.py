"""Every command line that a page shows is one that the program accepts."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from filevault.cli import CommandLine
from filevault.cli.command import usage
from filevault.cli.parser import find_command
from filevault.errors import UsageError
from tests.test_docs import PAGES

# What stands for a value in running text, and a value that the option takes.
# At the beginning, or after a prompt, `=`, `$(`, a quote, another program or a path.
LINE = r"(?:^|[\s=(\"'/])filevault ([a-z-].*)$"
TYPED = {"TIME": "1h", "PID": "1", "KIB": "64", "N": "3"}
END = {"|", "||", "&&", ";", ">", "<", ">>", "2>", "&", ")"}


def command_lines(text: str) -> Iterator[tuple[str, bool]]:
    """Yield what follows `filevault` in a page's code, and whether it is a span in running text.

    Such a span may name a command without what it needs: `filevault add`.
    """
    text = text.replace(usage(), "")
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for block in blocks:
        joined = re.sub(r"\\\n\s*", " ", block)
        for line in joined.splitlines():
            code = re.sub(r"(^|\s)#.*$", "", line)
            yield from ((each, False) for each in re.findall(LINE, code))
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    for span in re.findall(r"`([^`\n]+)`", prose):
        yield from ((each, True) for each in re.findall(LINE, span))


def words(line: str) -> list[str] | None:
    """Return the words of one command, None for a grammar or for a list of commands."""
    if re.search(r"[\[\]…|]|\.\.\.|^filevault", line.replace("| ", "")) and "| " not in line:
        return None
    lexer = shlex.shlex(line.rstrip('`"'), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found: list[str] = []
    try:
        for word in lexer:
            if word in END or (word and set(word) <= set("|&;<>()")):
                break
            found.append(TYPED.get(word, word))
    except ValueError:  # the rest of a quoted shell command around it
        found = line.split()
        found[-1] = found[-1].rstrip("\"')")
    return found


def lines_of(page: Path) -> list[tuple[str, list[str], bool]]:
    lines = command_lines(page.read_text(encoding="utf-8"))
    return [(line, found, span) for line, span in lines if (found := words(line))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_program_accepts_every_command_line_of_a_page(page: Path) -> None:
    wrong = []
    for line, argv, span in lines_of(page):
        index = find_command(argv)
        if index is None:
            argv, index = ["list", *argv], 0  # global options alone
        try:
            CommandLine(argv, index).parse()
        except UsageError as error:
            if not (span and "are required" in error.message):
                wrong.append((line, error.message))
        except SystemExit:  # --help
            pass
    assert not wrong


def test_the_pages_have_command_lines() -> None:
    """The search above must not find nothing."""
    assert sum(len(lines_of(page)) for page in PAGES) > 120


def test_a_line_for_cron_or_a_unit_names_the_program_by_its_path() -> None:
    """Neither has the PATH of the person who installed it; cron's has /usr/bin and /bin alone."""
    started = re.compile(
        r"^(?:(?:[\d*/,-]+ ){5}|@\w+ |Exec\w+=|credential_process = )(.*)$", re.MULTILINE
    )
    found = 0
    for page in PAGES:
        for line in started.findall(page.read_text(encoding="utf-8")):
            program = next((word for word in line.split() if "=" not in word), "")
            if "filevault" in program:
                found += 1
                assert program.startswith("/"), (page.name, line)
    assert found > 3
