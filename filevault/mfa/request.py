"""The request for a token code, as a step of a plan has it."""

from __future__ import annotations

from filevault.system.record import Record


class MfaRequest(Record):
    """A token code that a call must carry; `process` is the profile's `mfa_process`."""

    serial: str
    process: str | None = None
