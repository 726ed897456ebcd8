"""A JSON object in an answer of another program: any members, of any type."""

from __future__ import annotations

import json
from typing import Any


def parse_object(data: bytes) -> dict[str, Any] | None:
    """Return the object in UTF-8 text, None if the text contains anything else."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
