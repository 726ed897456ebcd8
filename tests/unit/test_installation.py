"""The command that installs a missing package names the environment that runs filevault."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from filevault.system.installation import install_hint


def test_in_a_virtual_environment_its_own_python_installs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", "/srv/my env")
    monkeypatch.setattr(sys, "executable", "/srv/my env/bin/python")
    assert install_hint("pyrage") == "'/srv/my env/bin/python' -m pip install pyrage"


def test_an_environment_of_pipx_is_told_by_its_own_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = tmp_path / "filevault-aws"
    prefix.mkdir()
    (prefix / "pipx_metadata.json").write_text("{}")
    monkeypatch.setattr(sys, "prefix", str(prefix))
    assert install_hint("bcrypt") == "pipx inject filevault-aws bcrypt"


def test_a_python_of_the_system_is_not_written_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "EXTERNALLY-MANAGED").write_text("[externally-managed]\n")
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    hint = install_hint("pyrage")
    assert "virtual environment" in hint
    assert "-m pip install" not in hint


def test_an_environment_without_pip_gets_a_command_that_works(tmp_path: Path) -> None:
    """`pip --python` installs into an environment that has no pip of its own."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    python = tmp_path / "bare" / "bin" / "python"
    program = (
        f"import sys; sys.path.append({str(Path(__file__).resolve().parents[2])!r}); "
        "from filevault.system.installation import install_hint; "
        "sys.stdout.write(install_hint('pyrage'))"
    )
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == f"pip --python {python} install pyrage"
