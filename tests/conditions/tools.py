"""Programs that tests need: the path of one, or a skipped test."""

from __future__ import annotations

import os
import shutil

import pytest


def tool(name: str) -> str:
    """Return the path of a program that the tests need.

    Where it is missing the test is skipped with the reason, except where the run has promised
    to install it (REQUIRE_TOOLS, which `.ci/run` makes the Makefile set): there it fails.
    """
    path = shutil.which(name)
    if path is None:
        reason = f"{name} is not installed, and nobody here may install it"
        if name in os.environ.get("REQUIRE_TOOLS", "").split():
            pytest.fail(f"{name} should have been installed")
        pytest.skip(reason)
    return path
