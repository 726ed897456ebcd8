"""What is shipped: built as a release is, installed as a stranger would, and run.

The tree is copied first, so that the builds see neither caches nor other tests at work. Workers
of one run share the builds.
"""

from __future__ import annotations

import ast
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import tomllib
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from filevault import __version__
from filevault.cli.completion.scripts import script
from tests import release
from tests.conditions.tools import tool
from tests.fakes import FakeAws
from tests.man_pages import pages

ROOT = Path(__file__).resolve().parent.parent.parent
NAME = f"filevault_aws-{__version__}"
WHEEL = f"{NAME}-py3-none-any.whl"
SDIST = f"{NAME}.tar.gz"
SCRIPT = f"{NAME}.data/scripts/filevault"
SHARED = {
    "share/bash-completion/completions/filevault": "bash",
    "share/fish/vendor_completions.d/filevault.fish": "fish",
    "share/zsh/site-functions/_filevault": "zsh",
}
CACHES = shutil.ignore_patterns("__pycache__", "*.pyc")
BOM = f"{NAME}.cdx.json"
EPOCH = 1764000000
PASSPHRASE = "correct horse battery staple"


class Built(NamedTuple):
    """A copy of the tree and what was built from it.

    `first` holds sdist and wheel, both straight from the tree; `second` an sdist from another
    copy, made later, and the wheel from that sdist. `venv` has the first wheel installed.
    """

    tree: Path
    first: Path
    second: Path
    venv: Path

    @property
    def wheel_names(self) -> list[str]:
        """The files in the wheel."""
        with zipfile.ZipFile(self.first / WHEEL) as wheel:
            return sorted(wheel.namelist())

    @property
    def sdist_names(self) -> list[str]:
        """The files in the sdist, without its top folder."""
        with tarfile.open(self.first / SDIST) as sdist:
            return sorted(member.name.removeprefix(f"{NAME}/") for member in sdist.getmembers())


def _run(argv: Sequence[str | Path], cwd: Path, **env: str) -> str:
    """Run a program and return what it prints; it must succeed."""
    done = subprocess.run(
        argv,
        cwd=cwd,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        start_new_session=True,
        timeout=240,
    )
    assert done.returncode == 0, f"{argv}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _copy(tree: Path) -> Path:
    """Copy what a release is built from; every file gets the present as its time."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    sources = settings["tool"]["hatch"]["build"]["targets"]["sdist"]["only-include"]
    tree.mkdir(parents=True)
    for name in ["pyproject.toml", ".gitignore", *sources]:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(
                source, tree / name, symlinks=True, ignore=CACHES, copy_function=shutil.copy
            )
        else:
            shutil.copy(source, tree / name)
    # What every tree that was ever run in has.
    (tree / "backends" / "__pycache__").mkdir()
    (tree / "backends" / "__pycache__" / "old.cpython-311.pyc").write_bytes(b"old")
    return tree


def _python(venv: Path) -> Path:
    return venv / "bin" / "python"


def _install(wheel: Path, venv: Path, *options: str) -> None:
    argv = [sys.executable, "-m", "pip", "--python", str(_python(venv)), "install", "--quiet"]
    _run([*argv, "--disable-pip-version-check", *options, str(wheel)], venv)


def _make(folder: Path) -> None:
    _copy(folder / "tree")
    release.build(folder / "tree", folder / "first", EPOCH, *release.DIRECTLY)
    _copy(folder / "other")
    release.build(folder / "other", folder / "second", EPOCH, env=release.OTHERWISE)
    release.describe(folder / "first", EPOCH)
    _run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], folder)
    _install(folder / "first" / WHEEL, folder / "venv")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Everything that is built, once in a run however many workers it has."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder = base / "packaging"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / "done"
        if not done.exists():
            assert not (folder / "tree").exists(), "building failed in another worker"
            _make(folder)
            done.touch()
    return Built(folder / "tree", folder / "first", folder / "second", folder / "venv")


def _backends_in_git() -> set[str]:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("this is no checkout, so there is nothing to compare with")
    listed = _run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "--cached", "-z", "backends"], ROOT
    )
    return {name for name in listed.split("\0") if name}


def test_the_wheel_holds_exactly_the_backends_that_git_knows(built: Built) -> None:
    shipped = {
        name.removeprefix("filevault/")
        for name in built.wheel_names
        if name.startswith("filevault/backends/")
    }
    assert shipped == _backends_in_git()


def test_the_wheel_installs_nothing_beside_filevault(built: Built) -> None:
    tops = {name.partition("/")[0] for name in built.wheel_names}
    assert tops == {"filevault", f"{NAME}.data", f"{NAME}.dist-info"}
    data = [name for name in built.wheel_names if name.startswith(f"{NAME}.data/")]
    shared = [*SHARED, *(f"share/man/man1/{name}" for name in pages())]
    assert data == sorted([SCRIPT, *(f"{NAME}.data/data/{place}" for place in shared)])


def test_the_shells_find_the_completions_of_the_wheel(built: Built) -> None:
    for place, shell in SHARED.items():
        assert (built.venv / place).read_text(encoding="utf-8") == script(shell)
        printed = _run([built.venv / "bin/filevault", "completion", shell], built.venv)
        assert printed == script(shell)


def test_the_wheel_is_typed_and_licensed(built: Built) -> None:
    names = built.wheel_names
    assert "filevault/py.typed" in names
    assert f"{NAME}.dist-info/licenses/LICENSE" in names


def test_the_wheel_brings_its_script_and_lets_no_installer_write_one(built: Built) -> None:
    text = (built.tree / "bin/filevault").read_text(encoding="utf-8")
    with zipfile.ZipFile(built.first / WHEEL) as wheel:
        # The first line for which an installer puts in its own Python.
        expected = "#!python\n" + text.partition("\n")[2]
        assert wheel.read(SCRIPT).decode() == expected
    assert f"{NAME}.dist-info/entry_points.txt" not in built.wheel_names


def test_the_installed_script_imports_nothing_before_filevault(built: Built) -> None:
    done = subprocess.run(
        [_python(built.venv), "-X", "importtime", built.venv / "bin/filevault", "version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"filevault {__version__}\n"
    modules = re.findall(r"^import time:.*\|\s+(\S+)$", done.stderr, re.MULTILINE)
    assert modules[modules.index("site") + 1] == "filevault"


@pytest.mark.parametrize("start", ["directly", "by a link", "with -P", "with -I"])
def test_no_module_in_the_folder_of_the_script_is_imported(
    built: Built, tmp_path: Path, start: str
) -> None:
    """A folder of programs may be writable for more users than the one of the modules."""
    script = tmp_path / "filevault"
    shutil.copy(built.venv / "bin/filevault", script)
    for name in ("filevault", "contextlib", "argparse"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('planted')\n")
    argv: dict[str, list[str | Path]] = {
        "directly": [script],
        "by a link": [tmp_path / "elsewhere/filevault"],
        "with -P": [_python(built.venv), "-P", script],
        "with -I": [_python(built.venv), "-I", script],
    }
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/filevault").symlink_to(script)
    assert _run([*argv[start], "version"], tmp_path) == f"filevault {__version__}\n"


def test_an_editable_installation_brings_the_same_script(built: Built, tmp_path: Path) -> None:
    build = f"from hatchling.build import build_editable; build_editable({str(tmp_path)!r})"
    _run([sys.executable, "-c", build], built.tree)
    _run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], tmp_path)
    _install(tmp_path / WHEEL, tmp_path / "venv", "--no-deps")
    installed, editable = (
        (venv / "bin/filevault").read_text(encoding="utf-8").partition("\n")
        for venv in (built.venv, tmp_path / "venv")
    )
    assert editable[2] == installed[2]
    assert editable[0].startswith(f"#!{tmp_path / 'venv/bin/python'}")
    assert _run([tmp_path / "venv/bin/filevault", "version"], tmp_path) == (
        f"filevault {__version__}\n"
    )
    where = "import filevault, sys; sys.stdout.write(filevault.__file__)"
    assert _run([_python(tmp_path / "venv"), "-c", where], tmp_path).startswith(str(built.tree))


def test_man_finds_the_pages_of_the_wheel(built: Built) -> None:
    folder = built.venv / "share/man"
    found = _run([tool("man"), "-M", folder, "-w", "filevault-exec"], folder)
    assert found.strip() == str(folder / "man1/filevault-exec.1")


def test_neither_archive_holds_caches_or_private_files(built: Built) -> None:
    strange = ("__pycache__", ".pyc", ".venv", ".hypothesis", ".git/", ".mypy_cache")
    names = [*built.wheel_names, *built.sdist_names]
    assert [name for name in names if any(part in name for part in strange)] == []


def test_the_sdist_holds_tests_docs_and_the_backends_twice(built: Built) -> None:
    names = set(built.sdist_names)
    for wanted in (
        "pyproject.toml",
        "Makefile",
        "README.md",
        "README.zh.md",
        "CHANGELOG.md",
        "SECURITY.md",
        "LICENSE",
        "PKG-INFO",
        "docs/index.md",
        "tests/demo.py",
        "tests/vectors/vault-v1/store/.filevault/vault.json",
        "backends/__init__.py",
        "filevault/backends/__init__.py",
        "bin/filevault",
    ):
        assert wanted in names, wanted
    top = {name for name in names if name.startswith("backends/")}
    inner = {name for name in names if name.startswith("filevault/backends/")}
    assert inner == {f"filevault/{name}" for name in top}


def test_every_module_of_the_tree_is_in_the_wheel(built: Built) -> None:
    wanted = {
        path.relative_to(built.tree).as_posix()
        for path in (built.tree / "filevault").rglob("*.py")
        if "filevault/backends/" not in path.as_posix()
    }
    wanted |= {f"filevault/backends/{path.name}" for path in (built.tree / "backends").glob("*.py")}
    assert wanted <= set(built.wheel_names)


def test_a_wheel_from_the_sdist_is_the_wheel_from_the_tree(built: Built) -> None:
    with zipfile.ZipFile(built.second / WHEEL) as wheel:
        assert sorted(wheel.namelist()) == built.wheel_names


@pytest.mark.parametrize("archive", [WHEEL, SDIST])
def test_two_builds_are_equal_to_the_byte(built: Built, archive: str) -> None:
    """Another folder, time zone, language and home; one wheel is built by way of the sdist."""
    assert release.digest(built.first / archive) == release.digest(built.second / archive)


def test_no_archive_names_a_place_of_the_machine_that_built_it(built: Built) -> None:
    with zipfile.ZipFile(built.first / WHEEL) as wheel:
        contents = {name: wheel.read(name) for name in wheel.namelist()}
        assert {info.date_time for info in wheel.infolist()} == {time.gmtime(EPOCH)[:6]}
    with tarfile.open(built.first / SDIST) as sdist:
        for member in sdist.getmembers():
            assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")
            assert member.mtime == EPOCH
            if member.isfile() and (file := sdist.extractfile(member)):
                contents[member.name] = file.read()
    places = [str(built.tree).encode(), f"{ROOT}/".encode()]
    assert [name for name, text in contents.items() if any(each in text for each in places)] == []


def test_sha256sum_accepts_the_checksums(built: Built) -> None:
    said = _run(["sha256sum", "--check", "--strict", release.SUMS], built.first)
    assert said == "".join(f"{name}: OK\n" for name in (WHEEL, SDIST, BOM))


def test_the_sbom_has_all_that_the_wheel_needs_and_its_checksum(built: Built) -> None:
    bom = json.loads((built.first / BOM).read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    scopes = {each["name"]: each["scope"] for each in bom["components"]}
    direct = {re.split(r"[<>=]", name)[0]: "required" for name in project["dependencies"]}
    direct |= dict.fromkeys(("bcrypt", "pyrage"), "optional")
    assert direct.items() <= scopes.items()
    # Where the wheel was installed is nothing beside what is required.
    argv = [sys.executable, "-m", "pip", "--python", str(_python(built.venv)), "list"]
    listed = json.loads(_run([*argv, "--format", "json"], built.venv))
    installed = {re.sub(r"[-_.]+", "-", each["name"]).lower() for each in listed}
    required = {name for name, scope in scopes.items() if scope == "required"}
    assert installed - {"filevault-aws"} == required
    known = {each["bom-ref"] for each in [*bom["components"], bom["metadata"]["component"]]}
    assert {each["ref"] for each in bom["dependencies"]} == known
    assert {ref for each in bom["dependencies"] for ref in each["dependsOn"]} <= known
    files = {
        each["url"]: each["hashes"][0]["content"]
        for each in bom["metadata"]["component"]["externalReferences"]
    }
    assert files == {name: release.digest(built.first / name) for name in (WHEEL, SDIST)}


def test_a_release_is_built_from_the_commit_and_not_from_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "file").write_text("committed")
    git = [tool("git"), "-c", "user.name=Jon", "-c", "user.email=jon@example.com"]
    _run([*git, "init", "-q"], root)
    _run([*git, "add", "."], root)
    _run([*git, "commit", "-qm", "One"], root, GIT_COMMITTER_DATE="1700000000 +0000")
    (root / "file").write_text("changed")
    (root / "other").write_text("not added")
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert release.source_time(root) == 1700000000
    release.export(root, tmp_path / "tree")
    assert [path.name for path in (tmp_path / "tree").iterdir()] == ["file"]
    assert (tmp_path / "tree/file").read_text() == "committed"


def test_the_installed_wheel_does_the_main_job(built: Built, aws: FakeAws, tmp_path: Path) -> None:
    """Init, add, list and exec, by the installed script, far from the source tree."""
    home = tmp_path / "home"
    home.mkdir()
    user = aws.add_user("jonsmith")
    program = str(built.venv / "bin" / "filevault")
    env = {
        "HOME": str(home),
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "FILEVAULT_PASSPHRASE": PASSPHRASE,
        "AWS_ENDPOINT_URL": aws.url,
    }

    def filevault(*argv: str, stdin: str = "") -> str:
        done = subprocess.run(
            [program, *argv],
            env=env,
            cwd=home,
            input=stdin,
            capture_output=True,
            text=True,
            start_new_session=True,
            timeout=60,
        )
        assert done.returncode == 0, (argv, done)
        return done.stdout

    filevault("init")
    key = f"{user.access_key_id}\n{user.secret_access_key}\n"
    filevault("add", "work", "--stdin", "--region", "eu-west-1", stdin=key)
    assert filevault("list", "--credentials") == "work\n"
    given = filevault("exec", "work", "--", "/bin/sh", "-c", "echo $AWS_ACCESS_KEY_ID $AWS_REGION")
    key_id, region = given.split()
    assert aws.session(key_id).user is user
    assert region == "eu-west-1"
    assert aws.actions() == ["GetSessionToken"]
    where = "import filevault.backends, sys; sys.stdout.write(filevault.backends.__file__)"
    assert _run([_python(built.venv), "-c", where], home).startswith(str(built.venv))


def _runs_in_place(built: Built, tree: Path) -> None:
    """The program runs from `tree` by `python -m`, its own files and not the installed ones."""
    python = _python(built.venv)
    assert "usage: filevault" in _run([python, "-m", "filevault", "--help"], tree)
    assert "Profile" in _run([python, "-m", "filevault", "list"], tree)
    where = "import filevault.backends.file.keyslots as m, sys; sys.stdout.write(m.__file__)"
    found = _run([python, "-c", where], tree, PYTHONDONTWRITEBYTECODE="1")
    assert os.path.realpath(found).startswith(os.path.realpath(tree))


def test_a_bare_checkout_runs(built: Built) -> None:
    _runs_in_place(built, built.tree)


def test_the_unpacked_sdist_runs(built: Built, tmp_path: Path) -> None:
    with tarfile.open(built.first / SDIST) as sdist:
        # Python 3.11.4 brought the filter.
        options: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        sdist.extractall(tmp_path, **options)
    _runs_in_place(built, tmp_path / NAME)


# What installs filevault from an index: an installer, its verb, then the bare name as a word.
BY_NAME = re.compile(
    r"\b(?:pip3?|pipx|uv|poetry|conda)\b[^\n`.]*\b(?:install|add|run|upgrade)\b"
    r"(?:[^\n`]*[\s'\"])?filevault(?:[-_]aws)?(?![\w/.-])",
    re.IGNORECASE,
)


def _texts() -> Iterator[tuple[str, str]]:
    """Every page, and every text in the program, by where it stands."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "Makefile"]
    for page in pages:
        yield page.name, page.read_text(encoding="utf-8")
    for path in (*(ROOT / "filevault").rglob("*.py"), *(ROOT / "backends").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield f"{path.name}:{node.lineno}", node.value


def test_nothing_says_to_install_filevault_from_an_index() -> None:
    """There the name is another project's, and filevault-aws is not registered yet."""
    assert [
        (where, BY_NAME.findall(text)) for where, text in _texts() if BY_NAME.search(text)
    ] == []


@pytest.mark.parametrize(
    ("text", "by_name"),
    [
        ("pip install filevault", True),
        ("pip install 'filevault[age]'", True),
        ("pipx install filevault-aws==0.1", True),
        ("python -m pip install --upgrade filevault", True),
        ("uv tool install filevault", True),
        ("pipx inject filevault-aws pyrage", False),
        ("/opt/filevault/bin/pip install .", False),
        ("pip install ./filevault_aws-0.1.0-py3-none-any.whl", False),
        ("pip install '.[age]'", False),
    ],
)
def test_an_installation_by_name_is_told_from_one_of_a_file(text: str, by_name: bool) -> None:
    assert bool(BY_NAME.search(text)) == by_name


def test_the_readme_warns_of_the_other_project() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "The package called `filevault` there is another project" in text


def _required(names: Iterable[str]) -> set[str]:
    """Distributions by normalised name, with all that they need, extras of the named ones too."""
    found: set[str] = set()
    queue = [re.split(r"[\s<>=!~;]", name)[0] for name in names]
    while queue:
        name, _, extras = queue.pop().partition("[")
        name = re.sub(r"[-_.]+", "-", name).lower()
        if name in found and not extras:
            continue
        found.add(name)
        for line in metadata.requires(name) or [] if _is_installed(name) else []:
            wanted = re.search(r"extra == ['\"]([\w-]+)['\"]", line)
            if wanted is None or wanted[1] in extras:
                queue.append(re.split(r"[\s<>=!~;]", line)[0])
    return found


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def test_the_extra_for_tests_is_all_that_the_tests_need() -> None:
    """`pip install '.[test]'`, then `pytest`: nothing of the extra for developers."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    enough = _required([*project["dependencies"], *extras["age"], *extras["test"]])
    modules = {"importlinter"}  # started as a program
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules.add(node.module.partition(".")[0])
    by_module = metadata.packages_distributions()
    missing = {
        module
        for module in modules - sys.stdlib_module_names - {"filevault", "tests", "backends"}
        if not {re.sub(r"[-_.]+", "-", name).lower() for name in by_module[module]} & enough
    }
    assert not missing


def test_the_core_dependencies_exist_for_musl(tmp_path: Path) -> None:
    """Alpine installs it without a compiler."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    began = time.monotonic()
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    argv += ["--retries", "1", "--timeout", "15", "--dest", str(tmp_path / "wheels")]
    argv += ["--only-binary=:all:", "--python-version", "3.11"]
    argv += ["--platform", "musllinux_1_2_x86_64", *project["dependencies"]]
    done = subprocess.run(
        argv,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    unreachable = ("connection", "timed out", "temporary failure", "name resolution", "proxy")
    if done.returncode != 0 and any(word in done.stderr.lower() for word in unreachable):
        pytest.skip(f"the package index did not answer within {time.monotonic() - began:.0f} s")
    assert done.returncode == 0, done.stderr
    wheels = {path.name.partition("-")[0] for path in (tmp_path / "wheels").iterdir()}
    assert {"argon2_cffi", "boto3", "cryptography"} <= wheels
