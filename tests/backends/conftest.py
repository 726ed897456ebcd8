"""Fixtures that several backends' tests share."""

from __future__ import annotations

from tests.backends.gpghomes import scene

__all__ = ["scene"]
