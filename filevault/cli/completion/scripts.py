"""The scripts that connect shells with the completion, by the name of the shell."""

from __future__ import annotations

import os

SHELLS = {"bash": "filevault.bash", "zsh": "filevault.zsh", "fish": "filevault.fish"}


def script(shell: str) -> str:
    """Return the script of a shell."""
    path = os.path.join(os.path.dirname(__file__), SHELLS[shell])
    with open(path, encoding="utf-8") as file:
        return file.read()
