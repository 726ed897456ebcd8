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

ATTRIBUTES = ["__name__", "__file__", "__cached__", "__package__", "__doc__"]
SHOW = f"""
import sys, json
import filevault.cli.commands.exec, filevault.aws.sts
print(json.dumps({{name: [
    *(getattr(module, each) for each in {ATTRIBUTES!r}),
    list(getattr(module, "__path__", ())), module.__spec__.origin, module.__spec__.has_location,
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
    for code in (start, f"{start}f.preload(); "):
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
    assert module.__cached__ == str(cached)


@pytest.mark.parametrize("change", ["time", "size", "version", "hash", "cut", "unreadable"])
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
    elif change == "unreadable":
        cached.unlink()
        cached.mkdir()
    assert load(source).value == "source"
