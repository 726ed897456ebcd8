"""Temporary credentials that are kept between runs, encrypted, outside the vault."""

from __future__ import annotations

from filevault.sessions.cache import Listed, SessionCache
from filevault.sessions.minimum_life import AS_PARENT, MinimumLife
from filevault.sessions.record import SessionName

__all__ = [
    "AS_PARENT",
    "Listed",
    "MinimumLife",
    "SessionCache",
    "SessionName",
]
