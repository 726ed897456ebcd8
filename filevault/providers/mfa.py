"""Where a token code comes from: the command line, the profile's program, or a person."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filevault.errors import MfaError
from filevault.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.aws.sts import TokenCodeFor
    from filevault.providers.steps import MfaRequest

_CODE = re.compile(r"[0-9]{6}\Z", re.ASCII)


class TokenCode:
    """Answers requests for token codes, each with a code of its own: AWS takes a code once.

    Args:
        given: the code of `--mfa-token`, which beats every other way, and serves once.
        run_process: runs a profile's `mfa_process` and returns what it printed.
        ask: asks a person; gets the serial of the device and the profile.
    """

    __slots__ = ("_ask", "_given", "_run_process", "_used")

    def __init__(
        self,
        given: str | None,
        run_process: Callable[[str], str],
        ask: Callable[[str, str], str],
    ) -> None:
        self._given = given
        self._run_process = run_process
        self._ask = ask
        self._used = False

    def answer(self, request: MfaRequest | None, profile: str) -> TokenCodeFor | None:
        """Return a device with a fresh code of it, None where none is asked for.

        Raises MfaError for a code that cannot be one, and for a second use of the given one.
        """
        if request is None:
            return None
        from filevault.aws.sts import TokenCodeFor

        return TokenCodeFor(request.serial, self._code(request, profile))

    def _code(self, request: MfaRequest, profile: str) -> str:
        shown = printable(profile)
        if self._given is not None:
            if self._used:
                raise MfaError(
                    f"profile {shown!r} needs a second token code, and the one of --mfa-token has "
                    "been used",
                    hint="AWS takes each code once: leave --mfa-token out and answer the prompts",
                )
            self._used = True
            return _checked(self._given, "the code of --mfa-token")
        if request.process is not None:
            printed = self._run_process(request.process)
            return _checked(printed, f"what mfa_process of profile {shown!r} printed")
        return _checked(self._ask(request.serial, profile), "the answer")


def _checked(code: str, what: str) -> str:
    code = code.strip()
    if not _CODE.match(code):
        raise MfaError(f"{what} is not a token code of six digits")
    return code
