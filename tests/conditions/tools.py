"""Programs that tests need: the path of one, or a skipped test."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from typing import NamedTuple

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


class AwsCli(NamedTuple):
    """An AWS CLI; `version` is major and minor."""

    program: str
    version: tuple[int, int]


def aws_cli_2(least: tuple[int, int] = (2, 0)) -> AwsCli:
    """Return the AWS CLI 2 of a folder of PATH, of at least a version.

    The development tools have the AWS CLI 1, and nothing installs version 2 for the tests: where
    it is missing the test is skipped.
    """
    for folder in os.get_exec_path():
        program = shutil.which("aws", path=folder)
        if program is not None and least <= (version := _aws_version(program)) < (3, 0):
            return AwsCli(program, version)
    pytest.skip(f"no AWS CLI {least[0]}.{least[1]} or newer is installed")


@functools.cache
def _aws_version(program: str) -> tuple[int, int]:
    done = subprocess.run([program, "--version"], capture_output=True, text=True)
    found = re.match(r"aws-cli/(\d+)\.(\d+)\.", done.stdout)
    return (0, 0) if found is None else (int(found[1]), int(found[2]))
