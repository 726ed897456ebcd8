"""Fixtures that several backends' tests share."""

from __future__ import annotations

from tests.worlds.gpg_store import scene

__all__ = ["scene"]
