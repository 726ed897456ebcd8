"""What every test shares: a clean environment, a machine, the AWS stand-in."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conditions import signal_defaults
from tests.conditions.tools import tool
from tests.fakes.fixtures import aws
from tests.samples import ANN, JON
from tests.worlds.machine import Machine
from tests.worlds.pass_store import GpgHome

__all__ = ["aws"]

_MEMORY = "/dev/shm"
_ENOUGH = 2 << 30  # bytes; what a run keeps of its folders is a small part of it

signal_defaults.restore()


def pytest_configure() -> None:
    """Let temporary folders lie in memory where programs may be run there.

    A disk takes its time for each fsync; tests of what is synced read the calls.
    """
    if os.access(_MEMORY, os.W_OK | os.X_OK):
        system = os.statvfs(_MEMORY)
        if system.f_bavail * system.f_frsize > _ENOUGH and not system.f_flag & os.ST_NOEXEC:
            os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", _MEMORY)


def pytest_collection(session: pytest.Session) -> None:
    """Let each of several workers import its share of the test modules first.

    After a change every module must be compiled, which takes longer than all else that comes
    before the first test. Then each is compiled once, and not by every worker.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    tests = Path(__file__).parent
    everything = [Path(each).resolve() for each in session.config.args] == [tests]
    if not worker or not everything or sys.dont_write_bytecode:
        return
    number, count = int(worker[2:]), int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    for path in sorted(tests.rglob("test_*.py"))[number::count]:
        name = ".".join(path.relative_to(tests.parent).with_suffix("").parts)
        with contextlib.suppress(Exception, pytest.skip.Exception):  # collecting it reports that
            importlib.import_module(name)


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over what all tests share.

    It would look through it again and again, and each forked child would copy it.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the caller's HOME, AWS settings or vault."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "FILEVAULT_", "XDG_", "GNUPG", "PASSWORD_STORE_", "PASSAGE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "nobody-home"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """Put back what `exec` sets for its command, where a test runs it inside this process.

    With SIGPIPE at its default, a later test that writes to a closed pipe would end the run.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGPIPE, signal.SIGXFSZ)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A fresh home of a fresh user."""
    return Machine(tmp_path / "home")


@pytest.fixture
def quick_machine(tmp_path: Path) -> Iterator[Machine]:
    """A home without a vault, in memory where /dev/shm is writable."""
    parent = _MEMORY if os.access(_MEMORY, os.W_OK | os.X_OK) else tmp_path
    with tempfile.TemporaryDirectory(dir=parent, prefix="filevault-") as folder:
        yield Machine(Path(folder) / "home")


@pytest.fixture
def vault(machine: Machine) -> Machine:
    """A machine with an empty `file` vault."""
    return machine.with_vault()


@pytest.fixture(scope="module")
def gpg() -> Iterator[GpgHome]:
    """The gpg home of a test module: keys of Jon and Ann without a passphrase."""
    tool("gpg")
    home = GpgHome()
    home.make_key(JON)
    home.make_key(ANN)
    yield home
    home.close()


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run with an empty folder as the working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
