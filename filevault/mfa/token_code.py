"""Token codes: which way provides the code, and the call that uses it up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import MfaError, WrongCodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    from filevault.aws.sts import TokenCodeFor
    from filevault.config.settings import Settings
    from filevault.mfa.flag import FlagCode
    from filevault.mfa.request import MfaRequest
    from filevault.mfa.way import TokenCodeSource
    from filevault.unlock.prompt import Prompter

    _Answer = TypeVar("_Answer")

_DIGITS = 6
_ATTEMPTS = 3


class _MalformedCodeError(MfaError):
    """The text is not six digits."""


_REASONS = {
    _MalformedCodeError: "That is no code of six digits. Try again.",
    WrongCodeError: "AWS refused that code: mistyped, too old, or used before. Try the next one.",
}


class TokenCode:
    """Calls AWS with token codes, a new one for each call: AWS takes each code once.

    Args:
        flag: the code of `--mfa-token`, which goes before every other way.
        others: returns the other ways in their order; called when a code is needed.
    """

    __slots__ = ("_flag", "_others")

    def __init__(
        self, flag: FlagCode | None, others: Callable[[], Sequence[TokenCodeSource]]
    ) -> None:
        self._flag = flag
        self._others = others

    @property
    def unused(self) -> bool:
        """Whether `--mfa-token` gave a code that no call has carried."""
        return self._flag is not None and not self._flag.used

    def present(
        self,
        request: MfaRequest | None,
        profile: str,
        call: Callable[[TokenCodeFor | None], _Answer],
    ) -> _Answer:
        """Make a call with a new code, or with None where `request` is None.

        A person who mistypes a code is asked again, twice; any other way is tried once. Raises
        MfaError for a code that is not six digits and for a second use of `--mfa-token`, and what
        `call` raises.
        """
        if request is None:
            return call(None)
        from filevault.aws.sts import TokenCodeFor

        source = self._source(request)
        left = _ATTEMPTS
        while True:
            left -= 1
            try:
                code = _checked(source.code(request, profile), source.origin(profile))
                return call(TokenCodeFor(request.serial, code))
            except (_MalformedCodeError, WrongCodeError) as error:
                if not (left and source.retry(_REASONS[type(error)])):
                    raise

    def _source(self, request: MfaRequest) -> TokenCodeSource:
        if self._flag is not None:
            return self._flag
        return next(source for source in self._others() if source.serves(request))


def _checked(code: str, origin: str) -> str:
    code = code.strip()
    if not (code.isascii() and code.isdigit() and len(code) == _DIGITS):
        raise _MalformedCodeError(f"{origin} is not a token code of six digits")
    return code


def token_code(
    option: str | None, settings: Settings, prompter: Callable[[], Prompter]
) -> TokenCode:
    """Return the source of the token codes of a run.

    Args:
        option: `--mfa-token`; `-` reads stdin now.
        settings: they may choose a way.
        prompter: the person at the terminal; called when a code is to be typed.
    """
    flag = None
    if option is not None:
        from filevault.mfa.flag import flag_code

        flag = flag_code(option)
    return TokenCode(flag, lambda: _other_sources(settings, prompter()))


def _other_sources(settings: Settings, prompter: Prompter) -> tuple[TokenCodeSource, ...]:
    """Return the ways other than `--mfa-token`, in order; the first that serves is used."""
    from filevault.mfa.process import MfaProcess
    from filevault.mfa.terminal import TerminalCode
    from filevault.mfa.ykman import Ykman

    def tell(text: str) -> None:
        prompter.say(f"filevault: {text}")

    return (
        MfaProcess(settings.program_environment(), tell),
        Ykman(settings, tell),
        TerminalCode(settings, prompter),
    )
