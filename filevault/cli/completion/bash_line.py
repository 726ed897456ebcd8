"""A command line as bash reads it while it is typed, and words quoted for the place at its end.

readline replaces the text after the last word break, or after the quote that is still open, and
inserts what it gets as it is. So the answer is quoted here, by bash's rules (bash(1), QUOTING).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLANKS = " \t\n"
_PLAIN = re.compile(r"[A-Za-z0-9_./:=@%+,\-]")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=")


class Word(Record):
    """A word of the line.

    `text` is its meaning, `quote` the quote that is open at its end or "". `kept` is how much of
    the text readline leaves as it is: up to the last break or the open quote. `pieces` is the
    number of words that bash splits it into in COMP_WORDS.
    """

    text: str = ""
    quote: str = ""
    kept: int = 0
    pieces: int = 1


def read_line(line: str, breaks: str) -> list[Word]:
    """Return the words of a command line up to the cursor; the last one is at the cursor.

    `breaks` is `COMP_WORDBREAKS`. Assignments before the command are left out.
    """
    words = list(_words(line, breaks))
    while len(words) > 1 and _ASSIGNMENT.match(words[0].text):
        del words[0]
    return words


def _words(line: str, breaks: str) -> Iterator[Word]:
    index, end = 0, len(line)
    while index < end and line[index] in _BLANKS:
        index += 1
    while True:
        text, quote, kept, pieces = "", "", 0, 1
        was_break: bool | None = None
        while index < end and (quote or line[index] not in _BLANKS):
            letter = line[index]
            index += 1
            if quote:
                if letter == quote:
                    quote = ""
                    continue
                if letter == "\\" and quote == '"' and line[index : index + 1] in [*'$`"\\']:
                    letter = line[index]
                    index += 1
                text += letter
                continue
            if letter in "\"'":
                quote, kept = letter, len(text)
                was_break = False
                continue
            is_break = letter in breaks and letter not in "\"'"
            if letter == "\\":
                letter = line[index : index + 1]
                index += 1
                is_break = False
            text += letter
            if was_break is not None and was_break != is_break:
                pieces += 1
            was_break = is_break
            if is_break:
                kept = len(text)
        yield Word(text, quote, kept, pieces)
        if index >= end:
            return
        while index < end and line[index] in _BLANKS:
            index += 1
        if index >= end:
            yield Word()
            return


def insertion(text: str, word: Word) -> str | None:
    """Return what readline is to insert for a text; None if the word begins otherwise."""
    if not text.startswith(word.text):
        return None
    rest = text[word.kept :]
    if word.quote:
        if word.quote == "'":
            quoted = rest.replace("'", "'\\''")
        else:
            # Inside of double quotes nothing takes the meaning of `!` away.
            quoted = re.sub(r'[$`"\\]', r"\\\g<0>", rest).replace("!", "\"'!'\"")
        # readline closes the quote, unless the text ends in the same character.
        return quoted + word.quote if quoted.endswith(word.quote) else quoted
    return "".join(
        letter if not letter.isascii() or _PLAIN.match(letter) else f"\\{letter}" for letter in rest
    )
