"""The token code of `--mfa-token`, from the command line or from stdin."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from filevault.errors import MfaError
from filevault.mfa.way import TokenCodeSource
from filevault.system.printable import printable

if TYPE_CHECKING:
    from filevault.mfa.request import MfaRequest

_LONGEST_LINE = 64  # bytes


class FlagCode(TokenCodeSource):
    """A code that the caller gave; it can be used once."""

    __slots__ = ("_code", "used")

    def __init__(self, code: str) -> None:
        self._code = code
        self.used = False

    def serves(self, request: MfaRequest) -> bool:  # noqa: ARG002
        """Return True: the option goes before every other way."""
        return True

    def code(self, request: MfaRequest, profile: str) -> str:  # noqa: ARG002
        """Return the code. Raises MfaError at the second use."""
        if self.used:
            raise MfaError(
                f"profile {printable(profile)!r} needs a second token code, and the one of "
                "--mfa-token has been used",
                hint="AWS takes each code once: leave --mfa-token out and answer the prompts",
            )
        self.used = True
        return self._code

    def origin(self, profile: str) -> str:  # noqa: ARG002
        """Return the name of the code in error messages."""
        return "the code of --mfa-token"


def flag_code(option: str) -> FlagCode:
    """Return the code of `--mfa-token`.

    `-` reads one line of stdin at once, even if no call needs the code: what follows that line
    belongs to the command that `exec` runs.
    """
    return FlagCode(_line_of_stdin() if option == "-" else option)


def _line_of_stdin() -> str:
    """Read one line byte by byte, so that nothing after it is consumed."""
    line = b""
    while not line.endswith(b"\n") and len(line) < _LONGEST_LINE:
        byte = os.read(0, 1)
        if not byte:
            break
        line += byte
    return line.decode("ascii", "replace").strip()
