"""The git operation in progress, such as a merge or a rebase, read from git's files.

The file names are those that `git status` checks (`wt-status.c`).
"""

from __future__ import annotations

import os

_UNDER_WAY = (
    ("rebase-merge", "a rebase"),
    ("rebase-apply", "a rebase or git am"),
    ("MERGE_HEAD", "a merge"),
    ("CHERRY_PICK_HEAD", "a cherry-pick"),
    ("REVERT_HEAD", "a revert"),
    ("sequencer", "a cherry-pick or revert"),
    ("BISECT_LOG", "a bisection"),
)
_HEAD_LIMIT = 4096
_NO_FILE = "refs/heads/.invalid"  # the content of HEAD if references are in a reftable


def operation_in_progress(own: str) -> str | None:
    """Return the operation in progress in a git folder, with its article; None if there is none."""
    for name, called in _UNDER_WAY:
        if os.path.lexists(f"{own}/{name}"):
            return called
    return None


def is_detached(own: str) -> bool | None:
    """Return whether HEAD is detached; None if only git itself can determine it."""
    try:
        fd = os.open(f"{own}/HEAD", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            head = os.fsdecode(file.read(_HEAD_LIMIT)).strip()
    except OSError:
        return None
    word, _, target = head.partition(" ")
    if word == "ref:" and target.strip() == _NO_FILE:
        return None
    return word != "ref:"
