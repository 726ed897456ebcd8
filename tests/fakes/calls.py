"""The record of what was asked of the fake."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class RecordedCall(NamedTuple):
    """One call, whether it was granted, refused, or met a fault.

    `access_key_id` signed it (as claimed, also where the signature was wrong); `at` is in Unix
    seconds of the fake's clock; `outcome` is `ok`, AWS's error code, or `dropped`;
    `returned_access_key_id` is set whenever a key was made, even if the answer got lost.
    """

    action: str
    parameters: Mapping[str, str]
    access_key_id: str
    region: str
    service: str
    host: str
    at: float
    outcome: str
    returned_access_key_id: str | None = None
