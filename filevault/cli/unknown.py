"""Errors about commands and options that do not exist, with the most similar one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.cli import aws_vault
from filevault.errors import FilevaultError, UsageError
from filevault.system.printable import printable, shell_word

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_LONGEST = 80
# What other tools call it: AWS Vault, pass, chamber, granted, aws-sso-cli.
_ELSEWHERE = {
    **dict.fromkeys(("env", "eval", "get", "print", "process", "read", "show"), "export"),
    **dict.fromkeys(("assume", "run", "shell"), "exec"),
    **dict.fromkeys(("edit", "insert", "set", "store", "write"), "add"),
    **dict.fromkeys(("create", "setup"), "init"),
    **dict.fromkeys(("del", "delete"), "remove"),
    **dict.fromkeys(("passwd", "password"), "passphrase"),
    "console": "login",
    "cp": "copy",
    "logout": "sso logout",
    "migrate-backend": "migrate",
    "mv": "rename",
    "profiles": "list",
}


def similar(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that is most like a misspelt one, None if none is."""
    from difflib import get_close_matches

    found = get_close_matches(word, list(known), 1, 0.65)
    return found[0] if found else None


def unknown_command(
    argv: Sequence[str],
    index: int,
    commands: Iterable[str],
    options_of: Callable[[str], Sequence[str]],
) -> UsageError:
    """Return the error for `argv[index]`, which stands where a command must and is none.

    If an unknown option stands before it, the error is about that: the word may be its value.
    `options_of` returns the options of a command.
    """
    word = argv[index]
    known = list(commands)
    for option in argv[:index]:
        name = _name(option)
        if not option.startswith("-") or name in options_of("version"):
            continue
        if any(name in options_of(each) for each in known):
            return UsageError(
                f"{printable(option, _LONGEST)} is not a global option, but stands "
                "before the command",
                hint="give the options of a command after its name",
            )
        return unknown_option(
            option, options_of("version"), prog="filevault version", listing="filevault --help"
        )
    shown = printable(word, _LONGEST)
    instead = aws_vault.command(word)
    if instead is not None:
        return UsageError(f"{shown} is a command of AWS Vault only", hint=instead)
    if word in _profiles(argv[:index]):
        meant = f"for the profile of that name: filevault exec {shell_word(word)}; "
    else:
        guess = _ELSEWHERE.get(word) or similar(word, known)
        meant = f"did you mean {guess}? " if guess is not None else ""
    return UsageError(f"there is no command {shown!r}", hint=f"{meant}filevault --help lists them")


def _profiles(before: Sequence[str]) -> list[str]:
    """Return the names of the profiles, for a command line with these words before the command."""
    from filevault.cli.completion.grammar import settings_given
    from filevault.cli.completion.names import profile_names
    from filevault.config.settings import Settings

    try:
        return profile_names(Settings.capture(settings_given(before)))
    except FilevaultError:  # about something else than the word
        return []


def _name(option: str) -> str:
    """Return an option without its value, and the first one of a cluster of letters."""
    return option.partition("=")[0] if option.startswith("--") else option[:2]


def unknown_option(
    word: str,
    options: Sequence[str],
    *,
    prog: str,
    listing: str,
    program: Sequence[str] | None = None,
) -> UsageError:
    """Return the error for an option that a command does not have.

    Args:
        word: the option.
        options: the options of the command.
        prog: the command line up to the options.
        listing: the command line that lists the options.
        program: the words from the first positional on, if they may be a command to run that
            lacks its `--`.
    """
    name = word.partition("=")[0] if word.startswith("--") else word
    shown = printable(name, _LONGEST)
    instead = aws_vault.option(word)
    if instead is not None:
        return UsageError(f"{shown} is an option of AWS Vault only", hint=instead)
    hints = []
    positive = name.replace("--no-", "--", 1)
    # The dashes are alike in all of them, and would count as likeness.
    stems = {option.lstrip("-"): option for option in options}
    guess = stems.get(similar(name.lstrip("-"), stems) or "")
    if name.startswith("--no-") and positive in options:
        hints.append(f"leave {printable(positive)} out")
    elif name == "--stdout":  # of AWS Vault's exec and export
        hints.append(
            "the link of a sign-in is printed where there is no browser, and with "
            "AWS_VAULT_DEVICE_CODE=1"
        )
    elif guess is not None:
        hints.append(f"did you mean {guess}?")
    if program is not None:
        words = " ".join(shell_word(each) for each in program)
        hints.append(
            f"if it belongs to the command to run: {prog} PROFILE -- {printable(words, 200)}"
            if prog.endswith("exec")
            else f"if it belongs to the command to run: {prog} -- {printable(words, 200)}"
        )
    hints.append(f"{listing} lists the options")
    return UsageError(f"there is no option {shown!r}", hint="; ".join(hints).replace("?;", "?"))
