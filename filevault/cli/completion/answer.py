"""The answer to a shell that completes a command line.

The first line says what follows: `words`, one a line, in zsh and fish with a description after a
tab; `files` or `folders`, which the shell lists itself, the folders beside the words that follow;
or `command` and the index of the word at which another program's command line begins. A failure is
no answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.cli.completion import grammar
from filevault.cli.completion.grammar import FILE, FOLDER, VAULT, Place
from filevault.config.settings import Settings
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

_MANY = 500  # names


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
    return _lines(found, (each for each in inserted if each is not None))


def _for_words(shell: str, words: Sequence[str]) -> str:
    found = grammar.place(words)
    if found.kind == grammar.COMMAND:
        return f"command {found.index + 1}\n"
    if found.kind in (FILE, FOLDER):
        return f"{found.kind}\n"
    prefix = _option_prefix(words) if shell == "fish" else ""
    lines = [prefix + text + (f"\t{told}" if told else "") for text, told in _words(found, words)]
    return _lines(found, lines)


def _lines(found: Place, words: Iterable[str]) -> str:
    return "\n".join(["folders" if found.kind == VAULT else "words", *words]) + "\n"


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

    settings = Settings.capture(grammar.settings_given(words[:-1]))
    given = {text for text, _help in found.words}
    typed = words[-1].removeprefix(_option_prefix(words))
    return [(name, "") for name in _shown(_begun(names(found.kind, settings), typed), given)]


def _begun(found: list[str], typed: str) -> list[str]:
    """Return of many names those that begin with what is typed, or all if none does.

    So do shells, which would need longer for it. Of few they get all: zsh may match other cases.
    """
    if not typed or len(found) < _MANY:
        return found
    return [name for name in found if name.startswith(typed)] or found


def _shown(found: Iterable[str], given: Collection[str]) -> list[str]:
    kept = [name for name in found if name and name[0] != "-" and name not in given]
    together = "".join(kept)
    if together.isascii() and together.isprintable():
        return kept
    return [name for name in kept if name == printable(name)]
