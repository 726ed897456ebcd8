"""Temporary credentials that are kept between runs, encrypted, outside the vault."""

from __future__ import annotations

from filevault.sessions.cache import AS_SOURCE, Listed, MinimumLife, SessionCache
from filevault.sessions.record import SessionName, request_hash

__all__ = [
    "AS_SOURCE",
    "Listed",
    "MinimumLife",
    "SessionCache",
    "SessionName",
    "request_hash",
]
