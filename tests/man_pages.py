"""The man pages, made from what `--help` prints; `python -m tests.man_pages` writes them.

They are kept in docs/man, so that building a wheel needs neither filevault nor a tool for pages.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from filevault import __version__
from filevault.cli.command import ALIASES, COMMANDS, module_of, parser_of
from filevault.cli.parser import Parser, add_global_options

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs/man"
SUMMARY = "the AWS credential vault for machines without a desktop"
FILES = {
    "~/.aws/config": "the profiles (AWS_CONFIG_FILE)",
    "~/.config/filevault/config.toml": "settings of filevault (XDG_CONFIG_HOME)",
    "~/.local/share/filevault": "the default vault (FILEVAULT_DIR, XDG_DATA_HOME)",
    "~/.local/state/filevault": "what this machine remembers of each vault (XDG_STATE_HOME)",
}
# groff_char(7): what roff would print as another character, or take for a command.
_CHARACTERS = {
    "\\": "\\e",
    "'": "\\(aq",
    "`": "\\(ga",
    "^": "\\(ha",
    "~": "\\(ti",
    '"': "\\(dq",
}


def escaped(text: str) -> str:
    """Return text as roff prints it; a dash that is no hyphen stays one that can be copied."""
    shown = "".join(
        _CHARACTERS.get(each, each if each.isascii() else f"\\[u{ord(each):04X}]") for each in text
    )
    shown = re.sub(r"(?<![A-Za-z])-|-(?=-)|(?<=-)-", r"\\-", shown)
    return f"\\&{shown}" if shown[:1] == "." else shown


def exact(text: str) -> str:
    """Return a word that a reader may copy: all its dashes are dashes."""
    return escaped(text).replace("\\-", "-").replace("-", "\\-")


def paragraphs(text: str) -> Iterator[str]:
    """Yield the lines of a description; a table keeps its columns."""
    for number, part in enumerate(text.strip().split("\n\n")):
        lines = part.splitlines()
        if number:
            yield ".PP"
        if any(re.search(r"\S {2,}\S", line) for line in lines):
            yield from (".EX", *(exact(line) for line in lines), ".EE")
        else:
            yield from (escaped(line) for line in lines)


def value_of(action: argparse.Action) -> str:
    """Return what stands for the value of an option or positional."""
    if isinstance(action.metavar, str):
        return action.metavar
    return "{" + ",".join(map(str, action.choices or ())) + "}"


def entries(actions: list[argparse.Action]) -> Iterator[str]:
    """Yield the entries of options and positionals, each with its help."""
    for action in actions:
        value = "" if action.nargs == 0 else f" \\fI{exact(value_of(action))}\\fR"
        names = ", ".join(f"\\fB{exact(each)}\\fR{value}" for each in action.option_strings)
        yield ".TP"
        yield names or value.lstrip()
        yield escaped(action.help) if action.help else "\\&"


def page(title: str, summary: str) -> Iterator[str]:
    """Yield the head of a page."""
    yield '.\\" Written by python -m tests.man_pages; do not edit.'
    yield f'.TH {exact(title.upper())} 1 "" "filevault {__version__}" "filevault"'
    yield from (".nh", ".ad l")  # a command that is cut by a hyphen is no command
    yield from (".SH NAME", f"{exact(title)} \\- {escaped(summary)}", ".SH SYNOPSIS")


def command_page(name: str) -> str:
    """Return the page of a command."""
    parser = parser_of(name)
    shared = {option for action in global_actions() for option in action.option_strings}
    own = [each for each in parser.actions() if not shared.intersection(each.option_strings)]
    lines = [*page(f"filevault-{name}", COMMANDS[name]), exact(str(parser.full.usage))]
    lines += [".SH DESCRIPTION", *paragraphs(module_of(name).DESCRIPTION)]
    aliases = [alias for alias, command in ALIASES.items() if command == name]
    lines += [f".PP\nThe short name is \\fB{alias}\\fR." for alias in aliases]
    positionals = [each for each in own if not each.option_strings]
    if positionals:
        lines += [".SH ARGUMENTS", *entries(positionals)]
    lines += [".SH OPTIONS", *entries([each for each in own if each.option_strings])]
    lines += [".PP", "The global options are in \\fBfilevault\\fR(1)."]
    lines += [".SH SEE ALSO", "\\fBfilevault\\fR(1)"]
    return "\n".join(lines) + "\n"


def global_actions() -> list[argparse.Action]:
    """Return the options of every command, without --help."""
    parser = Parser("filevault", "")
    add_global_options(parser)
    return [each for each in parser.actions() if each.dest != "help"]


def program_page() -> str:
    """Return the page of the program."""
    lines = [*page("filevault", SUMMARY)]
    lines += [exact("filevault [GLOBAL OPTIONS] COMMAND [OPTIONS] [PROFILE] [-- CMD...]")]
    lines += [".SH DESCRIPTION"]
    lines += [
        "filevault keeps AWS access keys in encrypted files, and gives commands short\\-lived",
        "credentials made from them. Each command has a page of its own, such as",
        "\\fBfilevault\\-exec\\fR(1).",
    ]
    lines += [".SH COMMANDS"]
    for name, text in COMMANDS.items():
        lines += [".TP", f"\\fB{exact(name)}\\fR", escaped(text)]
    lines += [".SH GLOBAL OPTIONS", "They go before or after the command."]
    lines += [*entries(global_actions()), ".SH EXIT STATUS"]
    for status, meaning in statuses():
        lines += [".TP", f"\\fB{exact(status)}\\fR", escaped(meaning)]
    lines += [".SH FILES"]
    for file, text in FILES.items():
        lines += [".TP", f"\\fI{exact(file)}\\fR", escaped(text)]
    lines += [".SH SEE ALSO"]
    pages = [f"\\fBfilevault\\-{exact(name)}\\fR(1)" for name in COMMANDS]
    lines += [",\n".join(pages)]
    return "\n".join(lines) + "\n"


def statuses() -> Iterator[tuple[str, str]]:
    """Yield each exit status with its general meaning, from the page that lists them."""
    text = (ROOT / "docs/reference/exit-status.md").read_text(encoding="utf-8")
    seen: set[str] = set()
    for status, meaning in re.findall(r"^\| (\d+) \| (.*?) \|", text, re.MULTILINE):
        if status in seen:
            continue
        if status == "126":
            yield "125", "exec: filevault failed, not the command"
        seen.add(status)
        yield status, re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", meaning).replace("`", "")


def pages() -> dict[str, str]:
    """Return the text of every page by the name of its file."""
    return {
        "filevault.1": program_page(),
        **{f"filevault-{name}.1": command_page(name) for name in COMMANDS},
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file in FOLDER.iterdir():
        if file.name not in pages():
            file.unlink()
    for file_name, content in pages().items():
        (FOLDER / file_name).write_text(content, encoding="utf-8")
