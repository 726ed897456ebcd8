"""The finder of filevault's own modules: the same modules as Python's, and no others."""

from __future__ import annotations

import importlib.util
import json
import os
import py_compile
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from filevault.finder import Finder

ATTRIBUTES = ["__name__", "__file__", "__package__", "__doc__"]
SHOW = f"""
import sys, json
import filevault.cli.commands.exec, filevault.aws.sts
print(json.dumps({{name: [
    *(getattr(module, each) for each in {ATTRIBUTES!r}),
    list(getattr(module, "__path__", ())), module.__spec__.origin, module.__spec__.has_location,
    module.__spec__.cached,
    module.__spec__.parent, module.__spec__.submodule_search_locations, module.__loader__.path,
    module.__loader__.get_source(name) is not None,
    [each.__code__.co_filename for each in vars(module).values() if hasattr(each, "__code__")],
    [] if hasattr(module, "__path__") else sorted(vars(module)),
] for name, module in list(sys.modules.items()) if name.startswith("filevault.") and name not in
    ("filevault.finder", "filevault.__main__")}}))
"""


def shown(code: str) -> dict[str, list[object]]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found: dict[str, list[object]] = json.loads(done.stdout)
    return found


def test_its_modules_are_those_that_python_finds() -> None:
    expected = shown(SHOW)
    start = "import filevault.finder as f; f.install(); "
    for code in (start, f"{start}f.preload(f.HOT); "):
        found = shown(code + SHOW)
        assert expected.keys() <= found.keys()
        assert {name: found[name] for name in expected} == expected


def test_it_leaves_the_modules_of_others_and_those_that_are_not_there_to_python() -> None:
    import filevault

    assert Finder.find_spec("json") is None
    assert Finder.find_spec("json.decoder", json.__path__) is None
    assert Finder.find_spec("filevault", None) is None
    assert Finder.find_spec("filevault.nothing", filevault.__path__) is None


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "x.py"
    path.write_text("value = 'source'\n", encoding="ascii")
    return path


def load(source: Path) -> ModuleType:
    """Load a module as an import does."""
    spec = Finder.find_spec("filevault.x", [str(source.parent)])
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    vars(module).pop("__cached__", None)  # as with Python 3.15
    assert spec.loader is not None
    spec.loader.exec_module(module)
    return module


def plant(source: Path, mode: py_compile.PycInvalidationMode) -> Path:
    """Put other bytecode there, for a source of the same time and size."""
    other = source.with_name("other.py")
    other.write_text("value = 'cached'\n", encoding="ascii")
    info = source.stat()
    os.utime(other, ns=(info.st_atime_ns, info.st_mtime_ns))
    cached = importlib.util.cache_from_source(str(source))
    py_compile.compile(str(other), cfile=cached, invalidation_mode=mode, doraise=True)
    return Path(cached)


TIMESTAMP = py_compile.PycInvalidationMode.TIMESTAMP


def test_bytecode_is_written_and_used_as_python_does(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    cached = Path(importlib.util.cache_from_source(str(source)))
    assert load(source).value == "source"
    assert cached.exists()
    plant(source, TIMESTAMP)
    module = load(source)
    assert module.value == "cached"
    assert module.__spec__ is not None
    assert module.__spec__.cached == str(cached)


@pytest.mark.parametrize("change", ["time", "size", "version", "hash", "cut", "torn", "unreadable"])
def test_bytecode_of_another_source_or_python_is_not_used(source: Path, change: str) -> None:
    checked = py_compile.PycInvalidationMode.CHECKED_HASH
    cached = plant(source, checked if change == "hash" else TIMESTAMP)
    info = source.stat()
    if change == "time":
        os.utime(source, ns=(info.st_atime_ns, info.st_mtime_ns + 10**9))
    elif change == "size":
        source.write_text("value = 'source'  \n", encoding="ascii")
        os.utime(source, ns=(info.st_atime_ns, info.st_mtime_ns))
    elif change == "version":
        cached.write_bytes(b"xxxx" + cached.read_bytes()[4:])
    elif change == "cut":
        cached.write_bytes(cached.read_bytes()[:10])
    elif change == "torn":
        cached.write_bytes(cached.read_bytes()[:40])
    elif change == "unreadable":
        cached.unlink()
        cached.mkdir()
    assert load(source).value == "source"


RUN = """
import importlib, sys, types
import _frozen_importlib, _imp
{}
sys.argv = ["filevault", *{!r}]
from filevault.__main__ import entry
entry()
"""
LACKING = """
stand_in = types.ModuleType({0!r})
vars(stand_in).update({{name: value for name, value in vars({0}).items() if name != {1!r}}})
sys.modules[{0!r}] = stand_in
"""


def run(tmp_path: Path, preparation: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the program in a process in which something has been done before."""
    return subprocess.run(
        [sys.executable, "-P", "-c", RUN.format(preparation, words)],
        capture_output=True,
        text=True,
        check=False,
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
    )


@pytest.mark.parametrize(
    ("module", "name"), [("_frozen_importlib", "_load_unlocked"), ("_imp", "_fix_co_filename")]
)
def test_a_python_without_the_private_functions_finds_the_modules_itself(
    tmp_path: Path, module: str, name: str
) -> None:
    plain = run(tmp_path, "", "export", "nobody")
    assert "profile 'nobody' has neither" in plain.stderr
    lacking = run(tmp_path, LACKING.format(module, name), "export", "nobody")
    assert (lacking.returncode, lacking.stderr) == (plain.returncode, plain.stderr)


FAILING = """
import filevault.finder as finder
def fail(spec):
    raise {}
finder._load_unlocked = fail
"""


def test_what_cannot_be_preloaded_is_imported_as_usual(tmp_path: Path) -> None:
    failing = run(tmp_path, FAILING.format("ImportError('broken')"), "export", "nobody")
    assert "profile 'nobody' has neither" in failing.stderr


def test_an_interrupt_while_modules_are_imported_is_told_in_one_line(tmp_path: Path) -> None:
    interrupted = run(tmp_path, FAILING.format("KeyboardInterrupt"), "export", "nobody")
    assert (interrupted.returncode, interrupted.stderr) == (130, "filevault: interrupted\n")


def test_the_times_of_imports_are_those_of_all_modules(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "filevault", "export", "nobody"]
    variables = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    listed = []
    for option, variable in (["-X", "importtime"], {}), ([], {"PYTHONPROFILEIMPORTTIME": "1"}):
        done = subprocess.run(
            [command[0], *option, *command[1:]],
            capture_output=True,
            text=True,
            check=False,
            env={**variables, **variable},
        )
        listed.append(
            {line.split()[-1] for line in done.stderr.splitlines() if "import time" in line}
        )
    assert "filevault.plan.planner" in listed[0]
    assert listed[0] == listed[1]
