"""The AWS SDK for JavaScript v3, installed once for the environment that runs the tests."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conditions.tools import tool

PACKAGE = "@aws-sdk/client-sts@3.1177.0"  # the last ones of 2026 that run on Node.js 20


class JavaScript:
    """Runs scripts that can require the SDK's packages."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._node = tool("node")

    def run(self, script: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a script; its folder has the packages, its environment is exactly `env`."""
        return subprocess.run(
            self.command(script), env=dict(env), capture_output=True, text=True, timeout=120
        )

    def command(self, script: str) -> list[str]:
        """Return the command that runs a script."""
        file = self._folder / f"{abs(hash(script)):x}-{os.getpid()}.js"
        file.write_text(script, encoding="utf-8")
        return [self._node, str(file)]


@pytest.fixture(scope="session")
def javascript(tmp_path_factory: pytest.TempPathFactory) -> JavaScript:
    """The SDK below `.venv`, or in pytest's temporary folder where there is none."""
    npm = tool("npm")
    in_venv = sys.prefix != sys.base_prefix
    kept = Path(sys.prefix, "share/filevault-tests") if in_venv else tmp_path_factory.mktemp("js")
    folder = kept / "js"
    folder.mkdir(parents=True, exist_ok=True)
    with (kept / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / "installed"
        if not done.exists() or done.read_text() != PACKAGE:
            cache = tmp_path_factory.mktemp("npm")
            words = ["install", "--silent", "--no-save", "--no-audit", "--no-fund"]
            made = subprocess.run(
                [npm, *words, f"--cache={cache}", f"--prefix={folder}", PACKAGE],
                cwd=folder,
                env=os.environ | {"HOME": str(cache)},
                capture_output=True,
                text=True,
                timeout=200,
            )
            if made.returncode != 0:
                reason = f"npm cannot fetch {PACKAGE}: {made.stderr.strip()[-200:]}"
                if "npm" in os.environ.get("REQUIRE_TOOLS", "").split():
                    pytest.fail(reason)
                pytest.skip(reason)
            done.write_text(PACKAGE)
    scripts = tmp_path_factory.mktemp("scripts")
    (scripts / "node_modules").symlink_to(folder / "node_modules")
    return JavaScript(scripts)
