"""A user without any privilege, with a home that cannot be written, on a system's own Python."""

from __future__ import annotations

import json
import os
import shutil
import site
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.samples import EXAMPLE_ID
from tests.worlds.aws_machine import AwsMachine
from tests.worlds.machine import LAUNCHER, PASSPHRASE, ROOT, Machine

NOBODY = 65534


def _readable_python() -> str | None:
    """Return a Python of our version that everybody may run."""
    version = f"python3.{sys.version_info.minor}"
    for name in (f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        if os.access(name, os.X_OK):
            return name
    return None


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder that everybody may enter, with the program, and an interpreter to run it."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    folder = Path(tempfile.mkdtemp(prefix="filevault-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def program(place: Path) -> tuple[str, ...]:
    """The argv that runs the program as nobody."""
    python = _readable_python()
    if python is None:
        pytest.skip("there is no Python of this version that another user could run")
    code = place / "code"
    shutil.copytree(
        ROOT / "filevault", code / "filevault", ignore=shutil.ignore_patterns("__pycache__")
    )
    launcher = code / Path(LAUNCHER).relative_to(ROOT)
    launcher.parent.mkdir(parents=True)
    shutil.copy(LAUNCHER, launcher)
    installed = Path(next(path for path in site.getsitepackages() if path.endswith("-packages")))
    (code / "site").mkdir()
    for package in ("argon2", "_argon2_cffi_bindings", "cryptography", "cffi"):
        shutil.copytree(installed / package, code / "site" / package)
    for library in installed.glob("_cffi_backend*"):
        shutil.copy(library, code / "site")
    for directory, _, files in os.walk(code):
        os.chmod(directory, 0o755)
        for file in files:
            os.chmod(Path(directory, file), 0o644)
    return (
        "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs",
        "env", f"PYTHONPATH={code / 'site'}", python, "-B", str(launcher),
    )  # fmt: skip


@pytest.fixture
def nobody(place: Path, program: tuple[str, ...], request: pytest.FixtureRequest) -> Machine:
    """A machine whose user is nobody and owns nothing but their home."""
    machine = Machine(place / request.node.name[:40])
    machine.launcher = program
    os.chown(machine.home, NOBODY, NOBODY)
    machine.clock_file.chmod(0o644)
    return machine


def give(path: Path) -> None:
    """Give a tree to nobody."""
    os.chown(path, NOBODY, NOBODY)
    for directory, folders, files in os.walk(path):
        for name in (*folders, *files):
            os.chown(Path(directory, name), NOBODY, NOBODY)


def test_the_smoke_run_with_a_home_of_their_own(nobody: Machine) -> None:
    nobody.with_vault()
    nobody.add("jon", EXAMPLE_ID, "s" * 40, "--region", "eu-west-1")
    shown = nobody.ok("exec", "-n", "jon", "--", "sh", "-c", "id -u; echo $AWS_ACCESS_KEY_ID")
    assert shown.out == f"{NOBODY}\n{EXAMPLE_ID}\n"
    assert nobody.ok("list").out.splitlines()[2].split()[:2] == ["jon", "jon"]
    for path in nobody.home.rglob("*"):
        info = path.lstat()
        if path != nobody.clock_file:
            assert info.st_uid == NOBODY
            assert info.st_mode & 0o077 == 0, path


def test_a_home_that_cannot_be_written_still_serves(nobody: Machine, scene: AwsMachine) -> None:
    scene.machine.with_vault().add("jon", scene.user.access_key_id, scene.user.secret_access_key)
    vault = nobody.home.parent / f"{nobody.home.name}-vault"
    shutil.copytree(scene.machine.vault, vault)
    give(vault)
    os.chown(nobody.home, 0, 0)
    nobody.home.chmod(0o755)
    nobody.env |= {"FILEVAULT_DIR": str(vault), "FILEVAULT_PASSPHRASE": PASSPHRASE}

    shown = nobody.ok("exec", "-n", "jon", "--", "sh", "-c", "echo $AWS_ACCESS_KEY_ID")
    assert (shown.out, shown.err) == (f"{scene.user.access_key_id}\n", "")
    listed = json.loads(nobody.ok("list", "--json").out)
    assert [row["profile"] for row in listed] == ["jon"]

    added = nobody.ok("add", "new", "--stdin", stdin=f"{EXAMPLE_ID}\n" + "t" * 40 + "\n")
    assert added.out == "Stored the key of profile new.\n"
    assert "filevault:     [profile new]" in added.err
    assert (vault / "new.fv").stat().st_uid == NOBODY
    assert nobody.run("init", "--vault", str(nobody.home / "v")).status == 7
    assert nobody.ok("clear").out == "Cleared 0 sessions.\n"
    told = nobody.ok("list", "--debug").err
    assert "no session is kept" in told
    assert sorted(path.name for path in nobody.home.iterdir()) == [".clock"]


def test_a_vault_that_only_root_may_read_is_refused_cleanly(
    nobody: Machine, scene: AwsMachine
) -> None:
    vault = nobody.home / "vault"
    shutil.copytree(scene.machine.with_vault().vault, vault)
    vault.chmod(0o700)
    refused = nobody.run("list", "--vault", str(vault))
    assert (refused.status, refused.out) == (7, "")
    assert "permission denied" in refused.err


def test_a_file_of_root_counts_as_root_put_it_there(nobody: Machine, place: Path) -> None:
    """As systemd's and Kubernetes' secret files are: root's, and readable for the service."""
    nobody.with_vault().add("jon", EXAMPLE_ID, "s" * 40, "--no-config")
    del nobody.env["FILEVAULT_PASSPHRASE"]
    secret = place / "root-secret"
    secret.write_text(PASSPHRASE)
    secret.chmod(0o644)
    nobody.ok("export", "-n", "jon", "--passphrase-file", str(secret))
    secret.chmod(0o600)
    assert nobody.run("export", "-n", "jon", "--passphrase-file", str(secret)).status == 5
    at_home = nobody.home / "secret"
    secret.rename(at_home)
    at_home.chmod(0o644)
    refused = nobody.run("export", "-n", "jon", "--passphrase-file", str(at_home))
    assert refused.status == 5
    assert "belongs to root" in refused.err


def test_what_concerns_every_key_is_not_done_without_a_folder(nobody: Machine) -> None:
    """The keys in a folder that cannot be read would stay under the old master key, or behind."""
    nobody.with_vault()
    nobody.add("team/one", EXAMPLE_ID, "s" * 40, "--no-config")
    folder = nobody.vault / "team"
    folder.chmod(0)
    verified = nobody.run("verify")
    assert (verified.status, str(folder) in verified.out) == (7, True), verified
    before = sorted(each.name for each in nobody.vault.rglob("*"))
    for command in (["rekey"], ["migrate", "--to", str(nobody.home / "new"), "--yes"]):
        refused = nobody.run(*command)
        assert (refused.status, refused.out) == (7, ""), refused
        assert f"{str(folder)!r}: permission denied; so it is not known" in refused.err
    assert sorted(each.name for each in nobody.vault.rglob("*")) == before
    folder.chmod(0o700)
    assert nobody.ok("verify").out.endswith("0 errors, 0 warnings\n")
