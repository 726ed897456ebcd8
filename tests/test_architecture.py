"""The house's own rules, where neither a linter nor a type checker sees them."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeGuard

import pytest

from filevault.backends import BACKENDS

ROOT = Path(__file__).resolve().parent.parent
LONGEST_DOCSTRING = 12
HEAVY = {
    "dataclasses",
    "datetime",
    "importlib.metadata",
    "inspect",
    "logging",
    "pathlib",
    "subprocess",
    "urllib",
}


class Module(NamedTuple):
    """A module of the program."""

    path: str
    text: str

    @property
    def tree(self) -> ast.Module:
        """Its syntax tree."""
        return _parsed(self.text, self.path)


@functools.cache
def _parsed(text: str, path: str) -> ast.Module:
    return ast.parse(text, path)


@pytest.fixture(scope="module", autouse=True)
def forget_trees() -> Iterator[None]:
    """Keep the trees no longer than these tests run: each fork would copy 40 MB."""
    yield
    _parsed.cache_clear()


def _modules() -> list[Module]:
    found = []
    for folder in ("filevault", "backends"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith("filevault/backends/"):  # the link, on Pythons that follow it
                text = path.read_text(encoding="utf-8")
                found.append(Module(name, text))
    return found


MODULES = _modules()


def _imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every module that is imported anywhere below a node, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", node.lineno
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def _is_for_types_only(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def _outside_functions(tree: ast.AST) -> Iterator[ast.stmt]:
    """What runs when a module is imported; blocks for type checkers do not."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.stmt):
            if _is_for_types_only(node):
                continue
            yield node
        yield from _outside_functions(node)


def _at_import(module: Module) -> set[str]:
    found: set[str] = set()
    for node in _outside_functions(module.tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.update(name for name, _line in _imports(node))
    return found


def _within(name: str, packages: set[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def _attributes(module: Module, owner: str) -> Iterator[tuple[str, int]]:
    """Every `owner.something` in a module, and what is imported from `owner` by name."""
    for node in ast.walk(module.tree):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == owner
        ):
            yield node.attr, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module == owner:
            yield from ((alias.name, node.lineno) for alias in node.names)


def test_the_walk_sees_the_whole_program() -> None:
    paths = {module.path for module in MODULES}
    assert {
        "filevault/cli/commands/exec.py",
        "filevault/aws/sts.py",
        "backends/sealing/xaes.py",
    } <= paths
    assert len(paths) > 50


def test_layers_and_other_import_contracts_hold() -> None:
    program = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


# The second holds the streams themselves; the third flushes them as the process ends.
PRINTERS = ("filevault/cli/reporter.py", "filevault/cli/streams.py", "filevault/__main__.py")


def test_only_the_reporter_prints() -> None:
    found = [
        f"{module.path}:{node.lineno}"
        for module in MODULES
        if module.path not in PRINTERS
        for node in ast.walk(module.tree)
        if (isinstance(node, ast.Name) and node.id == "print")
        or (
            isinstance(node, ast.Attribute)
            and node.attr in ("stdout", "stderr", "__stdout__", "__stderr__")
            and isinstance(node.value, ast.Name)
            and node.value.id == "sys"
        )
    ]
    assert not found


def test_only_settings_reads_the_environment() -> None:
    found = [
        f"{module.path}:{line}"
        for module in MODULES
        if module.path != "filevault/config/settings.py"
        for name, line in _attributes(module, "os")
        if name in ("environ", "environb", "getenv", "getenvb", "putenv", "unsetenv")
    ]
    assert not found


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.path)
def test_importing_a_module_loads_nothing_heavy(module: Module) -> None:
    found = {name for name in _at_import(module) if _within(name, {"boto3", "botocore", *HEAVY})}
    assert not found


def test_boto_is_imported_below_filevault_aws_alone() -> None:
    found = [
        f"{module.path}:{line}"
        for module in MODULES
        if not module.path.startswith("filevault/aws/")
        for name, line in _imports(module.tree)
        if _within(name, {"boto3", "botocore"})
    ]
    assert not found


COPIERS = {("fork", "filevault/keycache/job.py"), ("fork", "filevault/system/copies.py")}


def test_only_one_module_starts_programs() -> None:
    starters = re.compile(r"(system|popen|fork|forkpty|spawn\w*|posix_spawn\w*|startfile)\Z")
    found = []
    for module in MODULES:
        if module.path == "filevault/system/programs.py":
            continue
        for name, line in _imports(module.tree):
            if _within(name, {"subprocess", "pty", "multiprocessing", "asyncio", "concurrent"}):
                found.append(f"{module.path}:{line} {name}")
        found += [
            f"{module.path}:{line} os.{name}"
            for name, line in _attributes(module, "os")
            # These copy the process; they start no program.
            if starters.match(name) and (name, module.path) not in COPIERS
        ]
    assert not found


def test_only_one_module_replaces_the_process() -> None:
    found = {
        module.path
        for module in MODULES
        for name, _line in _attributes(module, "os")
        if name.startswith("exec")
    }
    assert found == {"filevault/cli/replace_process.py"}


def test_no_program_is_run_through_a_shell_by_subprocess() -> None:
    found = [
        f"{module.path}:{node.value.lineno}"
        for module in MODULES
        for node in ast.walk(module.tree)
        if isinstance(node, ast.keyword) and node.arg == "shell"
    ]
    assert not found


def test_only_the_composition_root_opens_a_backend() -> None:
    callers = {
        module.path
        for module in MODULES
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "opener"
    }
    assert callers == {"filevault/cli/open_vault.py"}


BACKEND_WORDS = {
    word for backend in BACKENDS.values() for word in (backend.name, backend.suffix, backend.marker)
}
"""By these a backend could be told from another: that is for its record and its family."""


def test_nothing_outside_the_backends_compares_with_one_of_them() -> None:
    found = [
        f"{module.path}:{node.lineno} {ast.unparse(node)}"
        for module in MODULES
        if not module.path.startswith("backends/")
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Compare | ast.Dict | ast.Subscript)
        and BACKEND_WORDS & set(_texts(node))
    ]
    # Where a secret comes from, and not a backend.
    assert [each for each in found if "source.transport == 'file'" not in each] == []


def _texts(node: ast.AST) -> Iterator[str]:
    for each in ast.iter_child_nodes(node):
        for inner in (each, *(each.elts if isinstance(each, ast.Tuple | ast.Set) else ())):
            if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                yield inner.value


def test_nothing_is_cast_to_a_type() -> None:
    found = [
        f"{module.path}:{node.lineno}"
        for module in MODULES
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "cast"
    ]
    assert found == []


def test_no_comprehension_assigns_a_name_that_its_function_means_otherwise() -> None:
    """CPython 3.12.1 takes the name for a local variable in the whole function (PEP 709)."""
    found = [
        f"{module.path}:{function.lineno}: {name}"
        for module in MODULES
        for function in ast.walk(module.tree)
        if isinstance(function, ast.FunctionDef)
        for name in _assigned_by_comprehensions(function) & _global_names(module.tree)
        if _loads(function, name) > sum(_loads(each, name) for each in _assigning(function, name))
    ]
    assert found == []


def _assigning(function: ast.FunctionDef, name: str) -> list[ast.AST]:
    """The comprehensions of a function that assign a name."""
    return [
        node
        for node in ast.walk(function)
        if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp)
        if name in {each.id for part in node.generators for each in _named(part.target)}
    ]


def _assigned_by_comprehensions(function: ast.FunctionDef) -> set[str]:
    parts = (part for node in ast.walk(function) for part in getattr(node, "generators", ()))
    return {each.id for part in parts for each in _named(part.target)}


def _loads(tree: ast.AST, name: str) -> int:
    return sum(each.id == name and isinstance(each.ctx, ast.Load) for each in _named(tree))


def _named(tree: ast.AST) -> list[ast.Name]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Name)]


def _global_names(tree: ast.Module) -> set[str]:
    """The functions and classes of a module, and what it assigns and imports."""
    found = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {each.id for each in targets if isinstance(each, ast.Name)}
    return found


def test_backends_are_imported_by_their_installed_name() -> None:
    found = [
        f"{module.path}:{line}"
        for module in MODULES
        for name, line in _imports(module.tree)
        if _within(name, {"backends"})
    ]
    assert not found


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.path)
def test_every_module_says_in_a_few_lines_what_it_is_for(module: Module) -> None:
    text = ast.get_docstring(module.tree)
    assert text, "it has no docstring"
    if module.path == "filevault/errors.py":
        text = text.partition("\n\n")[0]  # its tree is checked against the classes elsewhere
    assert len(text.splitlines()) <= LONGEST_DOCSTRING


def test_nothing_is_left_for_later_in_comments() -> None:
    marks = re.compile(r"\b(TO" r"DO|FIX" r"ME)\b")
    places = [
        *(ROOT / "filevault").rglob("*.py"),
        *(ROOT / "backends").rglob("*.py"),
        *(ROOT / "tests").rglob("*.py"),
        *(ROOT / "docs").rglob("*.md"),
        *ROOT.glob("*.md"),
        ROOT / "Makefile",
    ]
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in places
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if marks.search(line)
    ]
    assert not found


def test_errors_are_composed_and_never_changed() -> None:
    found = [
        f"{module.path}:{target.lineno}"
        for module in MODULES
        if module.path != "filevault/errors.py"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Assign | ast.AugAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Attribute) and target.attr in ("message", "hint")
    ]
    assert not found


# Fields that contain a secret wherever a record has them.
SECRET_FIELDS = {
    *("secret_access_key", "session_token", "passphrase", "password", "token", "code"),
    *("access_token", "refresh_token", "client_secret", "device_code", "complete_uri"),
    *("content", "output", "private_key", "rest", "key: bytes", "text: bytes", "value: bytes"),
    "identity: Any",
}


def test_every_record_hides_its_secrets() -> None:
    """`repr` of a record may reach a traceback."""
    shown = []
    for module in MODULES:
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.ClassDef) or "Record" not in map(ast.unparse, node.bases):
                continue
            fields = {ast.unparse(each.target) for each in node.body if _is_field(each)}
            hidden = {
                constant.value
                for each in node.body
                if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == "_secret"
                for constant in ast.walk(each.value)
                if isinstance(constant, ast.Constant)
            }
            assert hidden <= fields, f"{module.path} {node.name}"
            shown += [
                f"{module.path} {node.name}.{field}"
                for each in filter(_is_field, node.body)
                for field in [ast.unparse(each.target)]
                if field in SECRET_FIELDS or ast.unparse(each).partition(" =")[0] in SECRET_FIELDS
                if field not in hidden
            ]
    assert not shown


def _is_field(node: ast.stmt) -> TypeGuard[ast.AnnAssign]:
    return isinstance(node, ast.AnnAssign)


# The home directory must not come into being by a folder that is made below it, so a function that
# makes one is told where the home is: function to the number of arguments that include it. The
# type of `edit_config` demands it.
NAMES_HOME = {"make": 2, "make_folders": 2}
NAMES_HOME |= {"check_writable": 2, "writers_lock": 3}


def test_who_makes_folders_says_where_the_home_is() -> None:
    silent = []
    for module in MODULES:
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name == "make" and ast.unparse(node.func) != "Folder.make":
                continue
            named = any(keyword.arg == "home" for keyword in node.keywords)
            if name in NAMES_HOME and not named and len(node.args) < NAMES_HOME[name]:
                silent.append(f"{module.path} {name}")
    # That is the state directory, which is there already.
    assert silent == ["filevault/vault/vault.py writers_lock"]
