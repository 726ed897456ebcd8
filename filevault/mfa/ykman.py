"""The token code that a YubiKey computes, by `ykman`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.mfa.program import printed_code
from filevault.mfa.way import TokenCodeSource

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.config.settings import Settings
    from filevault.mfa.request import MfaRequest


class Ykman(TokenCodeSource):
    """Runs `ykman oath accounts code`, where the settings choose that way.

    YKMAN_OATH_DEVICE_SERIAL names the YubiKey, YKMAN_OATH_CREDENTIAL_NAME the account on it; the
    default of the latter is the serial of the MFA device, as for AWS Vault.
    """

    __slots__ = ("_settings", "_tell")

    def __init__(self, settings: Settings, tell: Callable[[str], None]) -> None:
        self._settings = settings
        self._tell = tell

    def serves(self, request: MfaRequest) -> bool:  # noqa: ARG002
        """Return whether `--prompt ykman` or its equivalent is set."""
        return self._settings.prompt == "ykman"

    def code(self, request: MfaRequest, profile: str) -> str:  # noqa: ARG002
        """Return what ykman printed. Raises MfaError, ProgramError."""
        settings = self._settings
        argv = ["ykman"]
        device = settings.get("YKMAN_OATH_DEVICE_SERIAL")
        if device:
            argv += ["--device", device]
        account = settings.get("YKMAN_OATH_CREDENTIAL_NAME") or request.serial
        argv += ["oath", "accounts", "code", "--single", account]
        return printed_code(argv, settings.program_environment(), "ykman", self._tell)

    def origin(self, profile: str) -> str:  # noqa: ARG002
        """Return the name of the code in error messages."""
        return "what ykman printed"
