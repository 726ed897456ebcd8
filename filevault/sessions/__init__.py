"""Temporary credentials that are kept between runs, encrypted, outside the vault."""

from __future__ import annotations

from filevault.sessions.cache import ListedSession, SessionCache
from filevault.sessions.minimum_life import AS_PARENT, MinimumLife
from filevault.sessions.session_file import SessionName

__all__ = [
    "AS_PARENT",
    "ListedSession",
    "MinimumLife",
    "SessionCache",
    "SessionName",
]
