"""What every test shares: a clean environment, a machine, the AWS stand-in."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.fakes.fixtures import aws
from tests.machine import Machine

__all__ = ["aws"]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the caller's HOME, AWS settings or vault."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "FILEVAULT_", "XDG_", "GNUPG", "PASSWORD_STORE_", "PASSAGE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "nobody-home"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A fresh home of a fresh user."""
    return Machine(tmp_path / "home")


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


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run with an empty folder as the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
