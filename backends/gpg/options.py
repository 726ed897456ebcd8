"""The options and the terminal that are passed to gpg.

The user's options, from `PASSWORD_STORE_GPG_OPTS`, are first: if two conflict, the last one wins.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING

from filevault.backends.gpg.openpgp import MAX_FILE
from filevault.errors import ProgramError
from filevault.system import programs
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

# docs/format.md §9: no key is fetched, and nothing is encrypted to a key of gpg.conf.
# Never --quiet: gpg would leave out why a secret key could not be used. Without a locale, as under
# cron, gpg would not take the ids of a recipients file for UTF-8.
ALWAYS = (
    "--utf8-strings",
    "--no-encrypt-to",
    "--compress-algo=none",
    "--no-auto-key-locate",
    "--no-auto-key-retrieve",
    "--disable-dirmngr",
    "--no-auto-check-trustdb",
    f"--max-output={MAX_FILE}",
)
# They override settings of gpg.conf that would change an item's bytes or recipients.
ENCRYPTING = (
    "--no-groups",
    "--no-armor",
    "--no-throw-keyids",
    "--no-textmode",
    "--no-for-your-eyes-only",
)
VARIABLE = "PASSWORD_STORE_GPG_OPTS"
VARIABLE_TTY = "GPG_TTY"
# -o and --output in any spelling that gpg takes: plaintext never goes to a file.
_OUTPUT = re.compile(r"-[abcdefiknqstv]*o|--ou")


def users(text: str) -> tuple[str, ...]:
    """Split the user's options without a shell.

    Raises ProgramError if they cannot be split, and for options that would disclose secrets.
    """
    if not text.strip():
        return ()
    words = [w for w in programs.split(text, VARIABLE) if w not in ("-q", "--quiet")]
    for word in words:
        if _OUTPUT.match(word):
            raise ProgramError(
                f"{VARIABLE} has {printable(word, 40)!r}, which would write secrets to a file"
            )
        if word.partition("=")[0] == "--passphrase":
            raise ProgramError(
                f"{VARIABLE} has --passphrase, which any user of the machine can see",
                hint="use --passphrase-file there, or filevault's own --passphrase-file",
            )
    return tuple(words)


def named_home(words: Sequence[str]) -> str | None:
    """Return the home of gpg that options name, which overrides the environment's, else None."""
    found = None
    for word, after in zip(words, [*words[1:], ""], strict=False):
        if word.startswith("--home"):
            _, equals, value = word.partition("=")
            found = value if equals else after
    return found


def name_terminal(environment: dict[str, str]) -> None:
    """Set GPG_TTY, by which pinentry finds the terminal, unless it is set."""
    if environment.get(VARIABLE_TTY):
        return
    for fd in (0, 1, 2):
        with contextlib.suppress(OSError):
            environment[VARIABLE_TTY] = os.ttyname(fd)
            return
