"""The token code that a profile's `mfa_process` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.mfa.program import printed_code
from filevault.mfa.way import TokenCodeSource
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from filevault.mfa.request import MfaRequest

_SETTING = "mfa_process"


class MfaProcess(TokenCodeSource):
    """Runs `mfa_process`, which AWS Vault defines to be a shell command."""

    __slots__ = ("_environment", "_tell")

    def __init__(self, environment: Mapping[str, str], tell: Callable[[str], None]) -> None:
        self._environment = environment
        self._tell = tell

    def serves(self, request: MfaRequest) -> bool:
        """Return whether the profile has an `mfa_process`."""
        return request.process is not None

    def code(self, request: MfaRequest, profile: str) -> str:
        """Return what the command printed.

        Raises MfaError, ProgramError, and ProfileLoopError if the command would run itself.
        """
        from filevault.config.program_chain import chained_environment

        environment = chained_environment(self._environment, profile, _SETTING)
        argv = ("/bin/sh", "-c", request.process or "")
        return printed_code(argv, environment, _SETTING, self._tell)

    def origin(self, profile: str) -> str:
        """Return the name of the code in error messages."""
        return f"what mfa_process of profile {printable(profile)!r} printed"
