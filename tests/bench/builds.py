"""Builds of filevault that the bench compares, each installed in a virtual environment of its own.

The environments have the same libraries, by links into the one that runs the bench, and nothing
else: what `python -c pass` costs in one of them is the unit of all ratios.
"""

from __future__ import annotations

import compileall
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
from importlib import metadata
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent


class Build(NamedTuple):
    """An installed build."""

    name: str
    python: str
    program: str


def this_build(folder: Path) -> Build:
    """Install the tree that the bench is a part of, below a folder."""
    return _install(ROOT, "this build", folder / "this")


def earlier_build(commit: str, folder: Path) -> Build | None:
    """Install a commit of the repository, below a folder; None if git does not have it."""
    argv = ["git", "-c", f"safe.directory={ROOT}", "archive", "--format=tar", commit]
    try:
        done = subprocess.run(argv, cwd=ROOT, capture_output=True)
    except FileNotFoundError:
        return None
    if done.returncode != 0:
        return None
    tree = folder / "tree"
    with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
        archive.extractall(tree)
    return _install(tree, commit, folder / "earlier")


def _install(tree: Path, name: str, folder: Path) -> Build:
    """Build the wheel of a tree and install it into a new environment."""
    wheels, venv = folder / "wheels", folder / "venv"
    _run("build", "--no-isolation", "--wheel", "--outdir", str(wheels), str(tree))
    _run("venv", "--without-pip", str(venv))
    (wheel,) = wheels.glob("*.whl")
    python = str(venv / "bin/python")
    options = ("--no-deps", "--quiet", "--disable-pip-version-check")
    _run("pip", "--python", python, "install", *options, str(wheel))
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(venv), "platbase": str(venv)}))
    for path in _libraries():
        if not (packages / path.name).exists():
            (packages / path.name).symlink_to(path)
    compileall.compile_dir(str(packages / "filevault"), quiet=2)
    return Build(name, python, str(venv / "bin/filevault"))


def _run(module: str, *words: str) -> None:
    subprocess.run([sys.executable, "-m", module, *words], check=True, stdout=subprocess.DEVNULL)


def _libraries() -> set[Path]:
    """Return the top-level modules of all that filevault requires, of what that requires, ..."""
    found: set[Path] = set()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    queue: list[str] = [*project["dependencies"]]
    seen: set[str] = set()
    while queue:
        requirement = queue.pop()
        name = re.split(r"[\s<>=!~;\[(]", requirement)[0].lower()
        if name in seen or "extra ==" in requirement:
            continue
        seen.add(name)
        try:
            distribution = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # for another Python or system
        for file in distribution.files or ():
            if file.suffix in (".py", ".so") and file.parts[0] != "..":
                found.add(Path(str(distribution.locate_file(file.parts[0]))))
        queue += distribution.requires or ()
    return found
