"""The table of promises and their tests, from tests/promises.toml to docs/contributing/promises.md.

`python -m tests.promises` writes the page; tests/test_docs.py compares it.
"""

from __future__ import annotations

import ast
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "contributing" / "promises.md"
HEAD = (
    "# Promises and their tests\n\n"
    "Each promise of these pages has a test that fails without it. `python -m tests.promises` "
    "writes this page from `tests/promises.toml`; edit that file, where a test is named by its "
    "function alone.\n"
)


class Group(NamedTuple):
    """Promises that one section of a page makes: sentence and names of tests."""

    title: str
    page: str
    rows: list[list[str]]


def groups() -> list[Group]:
    """Read the groups of tests/promises.toml, in the order of the file."""
    with (ROOT / "tests" / "promises.toml").open("rb") as file:
        return [Group(**group) for group in tomllib.load(file)["group"]]


def _files_of_tests() -> dict[str, list[str]]:
    """Return the files of each test, by function and by `module::function`."""
    files: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for name in (node.name, f"{path.stem}::{node.name}"):
                    files[name].append(path.relative_to(ROOT).as_posix())
    return files


def render() -> str:
    """Return the text of the page.

    Raises LookupError for a name that no test or more than one test has.
    """
    files = _files_of_tests()
    lines = [HEAD]
    for title, page, rows in groups():
        name = page.partition("#")[0]
        link = f"../../{page}" if name == "SECURITY.md" else f"../{page.removeprefix('docs/')}"
        lines += [
            f"## {title}\n",
            f"Stated in [{name}]({link}).\n",
            "| promise | test |",
            "|---|---|",
        ]
        for sentence, *tests in rows:
            cells = []
            for test in tests:
                if len(files[test]) != 1:
                    raise LookupError(f"{len(files[test])} tests are named {test}: {files[test]}")
                cells.append(f"`{files[test][0]}::{test.rpartition('::')[2]}`")
            lines.append(f"| {sentence} | {', '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
