"""The request for a token code that a call carries to AWS."""

from __future__ import annotations

from filevault.system.record import Record


class MfaRequest(Record):
    """A token code that a call must carry; `process` is the profile's `mfa_process`."""

    serial: str
    process: str | None = None
