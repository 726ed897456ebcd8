"""Merge conflicts: files in which git wrote two versions with its markers."""

from __future__ import annotations

import os

from filevault.errors import DamagedError
from filevault.system.printable import shell_word

_OURS = rb"^<{7}(?: [^\n]*|\r?)$"
_BETWEEN = rb"^={7}\r?$"
_THEIRS = rb"^>{7}(?: [^\n]*|\r?)$"

LINES_HINT = (
    "edit it: keep the lines that you know to be right, take the marks out, then git add and git "
    "commit"
)
"""Hint for a file of lines, such as recipients."""


def is_conflict(data: bytes) -> bool:
    """Return whether a file contains all three markers of a merge conflict."""
    if b"<<<<<<<" not in data:
        return False
    import re

    return all(re.search(mark, data, re.MULTILINE) for mark in (_OURS, _BETWEEN, _THEIRS))


def refuse_conflict(data: bytes, what: str, path: str) -> None:
    """Raise DamagedError for a file that contains a merge conflict.

    `what` names it in messages, `path` is its absolute path.
    """
    if not is_conflict(data):
        return
    folder, file = (shell_word(part) for part in os.path.split(path))
    way = f"git -C {folder} checkout --ours -- {file}"
    raise DamagedError(
        f"{what} contains the marks of a merge conflict: two versions of it came together, and git "
        "wrote both into one file",
        hint=f"{way} takes the one of this branch, --theirs the other; git add and git commit end "
        "the merge. If the marks are committed already, take the file from an earlier commit",
    )
