"""How the program is started, and what else runs then."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.worlds.machine import Machine

HOSTILE = "import os\nos.write(2, b'ran ' + __name__.encode())\nos._exit(99)\n"


def _imported_by_python() -> set[str]:
    """What Python itself imports to find the module of -m: it comes before anything of ours."""
    program = "import sys, runpy; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    return set(done.stdout.split())


def _plant(folder: Path, *names: str) -> None:
    for name in names:
        (folder / f"{name}.py").write_text(HOSTILE)


def test_what_lies_in_the_working_directory_is_not_run_in_place_of_pythons_modules(
    machine: Machine, tmp_path: Path
) -> None:
    """Whoever can write there would run programs as whoever works there."""
    names = sys.stdlib_module_names - _imported_by_python() - set(sys.builtin_module_names)
    assert {"json", "argparse", "signal", "resource"} <= names
    _plant(tmp_path, *names)
    machine.with_vault()
    machine.launcher = (sys.executable, "-m", "filevault")
    for argv in (("--version",), ("list",), ("exec", "nobody")):
        done = machine.run(*argv, cwd=tmp_path)
        assert "ran " not in done.err, done
        assert done.status != 99


@pytest.mark.parametrize("launcher", ["-P -m filevault", "console script"])
def test_where_python_does_not_look_there_nothing_at_all_of_it_is_run(
    machine: Machine, tmp_path: Path, launcher: str
) -> None:
    _plant(tmp_path, *sys.stdlib_module_names - set(sys.builtin_module_names))
    script = str(Path(sys.executable).parent / "filevault")
    module = (sys.executable, "-P", "-m", "filevault")
    machine.launcher = (script,) if launcher == "console script" else module
    done = machine.ok("--version", cwd=tmp_path)
    assert done.out.startswith("filevault ")
