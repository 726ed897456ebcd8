"""Temporary credentials that are kept between runs, encrypted, outside the vault."""

from __future__ import annotations

from filevault.sessions.cache import SessionCache
from filevault.sessions.minimum_life import AS_PARENT, MinimumLife
from filevault.sessions.session_file import SessionName

__all__ = [
    "AS_PARENT",
    "MinimumLife",
    "SessionCache",
    "SessionName",
]
