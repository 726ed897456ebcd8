"""Import pyrage, the age library, and clean its error texts.

It is an optional dependency, so it is imported only when an age vault needs it. Only its functions
on bytes are used: those on files and streams leave unverified plaintext behind when they fail.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from filevault.errors import ProgramError
from filevault.system.installation import install_hint
from filevault.system.printable import printable

if TYPE_CHECKING:
    from types import ModuleType

NO_MATCH = "No matching keys found"
# pyrage's translations put direction isolates around what they fill in.
_ISOLATES = dict.fromkeys((0x2068, 0x2069))


def library() -> ModuleType:
    """Return pyrage. Raises ProgramError if it is not installed."""
    try:
        return importlib.import_module("pyrage")
    except ImportError as error:
        raise ProgramError(
            "an age vault needs the Python package pyrage, which is not installed",
            hint=install_hint("pyrage"),
        ) from error


def said(error: Exception) -> str:
    """Return the text of an error of pyrage, or of a plugin, as one printable line."""
    text = " ".join(str(error).translate(_ISOLATES).split())
    return printable(text.rstrip("."), 200)
