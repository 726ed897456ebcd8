"""The answer to a shell that completes a command line.

The first line says what follows: `words`, one a line, in zsh and fish with a description after a
tab; `files` or `folders`, which the shell lists itself; or `command` and the index of the word at
which another program's command line begins. A failure is no answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.cli.completion import grammar
from filevault.cli.completion.grammar import FILE, FOLDER, Place
from filevault.config.settings import Settings
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence


def answer(argv: Sequence[str]) -> str:
    """Return the answer, "" for a failure.

    `argv` has the shell and what it knows: in bash the line up to the cursor and
    `COMP_WORDBREAKS`, in the others the words after the program up to the cursor.
    """
    try:
        shell, *given = argv
        if shell == "bash":
            return _for_bash(*given)
        return _for_words(shell, given or [""])
    except (Exception, KeyboardInterrupt):  # noqa: BLE001 - a message would be written into the line that is typed
        return ""


def _for_bash(line: str, breaks: str) -> str:
    from filevault.cli.completion.bash_line import insertion, read_line

    program, *words = read_line(line, breaks)
    texts = [word.text for word in words]
    if not words:
        return ""
    found = grammar.place(texts)
    if found.kind == grammar.COMMAND:
        return f"command {program.pieces + sum(word.pieces for word in words[: found.index])}\n"
    if found.kind in (FILE, FOLDER):
        return f"{found.kind}\n"
    prefix = _option_prefix(texts)
    inserted = [insertion(prefix + text, words[-1]) for text, _help in _words(found, texts)]
    return "\n".join(["words", *(each for each in inserted if each is not None)]) + "\n"


def _for_words(shell: str, words: Sequence[str]) -> str:
    found = grammar.place(words)
    if found.kind == grammar.COMMAND:
        return f"command {found.index + 1}\n"
    if found.kind in (FILE, FOLDER):
        return f"{found.kind}\n"
    prefix = _option_prefix(words) if shell == "fish" else ""
    lines = [prefix + text + (f"\t{told}" if told else "") for text, told in _words(found, words)]
    return "\n".join(["words", *lines]) + "\n"


def _option_prefix(words: Sequence[str]) -> str:
    """Return `--option=` if the last word begins so: its value is completed."""
    name, equals, _value = words[-1].partition("=")
    return name + equals if equals and name.startswith("--") and "--" not in words[:-1] else ""


def _words(found: Place, words: Sequence[str]) -> list[tuple[str, str]]:
    """Return the words for a place, with descriptions.

    A name with a character that a terminal would not show is left out: shells show names as they
    are. So is one that would be taken for an option.
    """
    if not found.kind:
        return list(found.words)
    from filevault.cli.completion.names import names

    given = {text for text, _help in found.words}
    settings = Settings.capture(grammar.settings_given(words[:-1]))
    return [
        (name, "")
        for name in names(found.kind, settings)
        if name not in given and name == printable(name) and name and name[0] != "-"
    ]
