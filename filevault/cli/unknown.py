"""Errors about commands and options that do not exist, with what may have been meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.cli import aws_vault
from filevault.errors import UsageError
from filevault.system.printable import printable, shell_word

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from filevault.cli.parser import Parser

_LONGEST = 80


def similar(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that is most like a misspelt one, None if none is."""
    from difflib import get_close_matches

    found = get_close_matches(word, list(known), 1, 0.65)
    return found[0] if found else None


def unknown_command(
    argv: Sequence[str], index: int, commands: Iterable[str], parser_of: Callable[[str], Parser]
) -> UsageError:
    """Return the error for `argv[index]`, which stands where a command must and is none.

    An unknown option before it is what is wrong then: the word may be its value.
    """
    word = argv[index]
    known = list(commands)
    for option in argv[:index]:
        if not option.startswith("-") or parser_of("version").knows(option):
            continue
        if any(parser_of(name).knows(option) for name in known):
            return UsageError(
                f"{printable(option, _LONGEST)} is no global option and stands before the command",
                hint="give the options of a command after its name",
            )
        return unknown_option(option, parser_of("version"), "filevault --help")
    shown = printable(word, _LONGEST)
    instead = aws_vault.command(word)
    if instead is not None:
        return UsageError(f"{shown} is a command of AWS Vault only", hint=instead)
    guess = similar(word, known)
    meant = f"did you mean {guess}? " if guess is not None else ""
    return UsageError(f"there is no command {shown!r}", hint=f"{meant}filevault --help lists them")


def unknown_option(
    word: str, parser: Parser, listing: str, program: Sequence[str] | None = None
) -> UsageError:
    """Return the error for an option that a parser does not know.

    `listing` is the command line that lists the options; `program` the words from the first
    positional on, where they may be a command to run that lacks its `--`.
    """
    name = word.partition("=")[0] if word.startswith("--") else word
    shown = printable(name, _LONGEST)
    instead = aws_vault.option(word)
    if instead is not None:
        return UsageError(f"{shown} is an option of AWS Vault only", hint=instead)
    hints = []
    positive = name.replace("--no-", "--", 1)
    # The dashes are alike in all of them, and would count as likeness.
    options = {option.lstrip("-"): option for option in parser.options()}
    guess = options.get(similar(name.lstrip("-"), options) or "")
    if name.startswith("--no-") and parser.knows(positive):
        hints.append(f"leave {printable(positive)} out")
    elif guess is not None:
        hints.append(f"did you mean {guess}?")
    if program is not None:
        words = " ".join(shell_word(each) for each in program)
        hints.append(
            f"if it belongs to the command to run: {parser.prog} PROFILE -- {printable(words, 200)}"
            if parser.prog.endswith("exec")
            else f"if it belongs to the command to run: {parser.prog} -- {printable(words, 200)}"
        )
    hints.append(f"{listing} lists the options")
    return UsageError(f"there is no option {shown!r}", hint="; ".join(hints).replace("?;", "?"))
