"""Where a token code comes from: the command line, the profile's program, or a person."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

from filevault.errors import MfaError, WrongCodeError
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.aws.sts import TokenCodeFor
    from filevault.plan.steps import MfaRequest

_CODE = re.compile(r"[0-9]{6}\Z", re.ASCII)
_ATTEMPTS = 3
_Answer = TypeVar("_Answer")


class _MalformedError(MfaError):
    """The code has not the form of one."""


_REASONS = {
    _MalformedError: "That is no code of six digits. Try again.",
    WrongCodeError: "AWS refused that code: mistyped, too old, or used before. Try the next one.",
}


class TokenCode:
    """Answers requests for token codes, each with a code of its own: AWS takes a code once.

    Args:
        given: the code of `--mfa-token`, which beats every other way, and serves once.
        run_process: runs a profile's `mfa_process` and returns what it printed.
        ask: asks a person; gets the serial of the device and the profile.
        again: tells a person what was wrong with the code, and whether `ask` may be tried again.
    """

    __slots__ = ("_again", "_ask", "_given", "_run_process", "_used")

    def __init__(
        self,
        given: str | None,
        run_process: Callable[[str], str],
        ask: Callable[[str, str], str],
        again: Callable[[str], bool],
    ) -> None:
        self._given = given
        self._run_process = run_process
        self._ask = ask
        self._again = again
        self._used = False

    @property
    def unused(self) -> bool:
        """Whether a code was given that no call has carried."""
        return self._given is not None and not self._used

    def present(
        self,
        request: MfaRequest | None,
        profile: str,
        call: Callable[[TokenCodeFor | None], _Answer],
    ) -> _Answer:
        """Call with a fresh code, or with None where no device is asked for.

        A person who mistypes a code is asked again, twice; a code from elsewhere is never
        replaced by another. Raises MfaError for a code that cannot be one and for a second use
        of the given one, and what `call` raises.
        """
        if request is None:
            return call(None)
        from filevault.aws.sts import TokenCodeFor

        typed = self._given is None and request.process is None
        left = _ATTEMPTS if typed else 1
        while True:
            left -= 1
            try:
                return call(TokenCodeFor(request.serial, self._code(request, profile)))
            except (_MalformedError, WrongCodeError) as error:
                if not (left and self._again(_REASONS[type(error)])):
                    raise

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
        raise _MalformedError(f"{what} is not a token code of six digits")
    return code
