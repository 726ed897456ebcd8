"""What filevault says where the system has no more memory, open files, processes or threads."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from filevault.aws.exchange import Received, exchange
from filevault.errors import ExhaustedError
from filevault.server.renewing_process import Obtained, Order, Outcome, RenewingProcess
from filevault.system.exhaustion import exhausted

CASES: dict[str, tuple[BaseException, str]] = {
    "memory": (MemoryError(), "memory"),
    "memory, says the kernel": (OSError(errno.ENOMEM, "Cannot allocate memory"), "memory"),
    "memory for a library": (
        ImportError("libcrypto.so.3: failed to map segment from shared object"),
        "memory",
    ),
    "open files of the process": (OSError(errno.EMFILE, "Too many open files"), "files"),
    "open files of the machine": (OSError(errno.ENFILE, "Too many open files"), "files"),
    "threads": (RuntimeError("can't start new thread"), "processes or threads"),
}


@pytest.mark.parametrize(("error", "said"), CASES.values(), ids=CASES)
def test_what_has_run_out_is_named_with_what_to_do(error: BaseException, said: str) -> None:
    found = exhausted(error)
    assert found is not None
    assert said in found.message
    assert found.hint
    assert found.exit_status == 7


@pytest.mark.parametrize(
    "error",
    [
        ImportError("No module named 'nothing'"),
        OSError(errno.EIO, "Input/output error"),
        OSError("no number"),
        BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"),
        RuntimeError("another"),
        ValueError("Cannot allocate memory"),
    ],
    ids=repr,
)
def test_another_error_stays_what_it_is(error: BaseException) -> None:
    assert exhausted(error) is None


def test_a_library_that_may_not_be_run_is_not_for_lack_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mock: only root can mount a file system with noexec."""
    library = tmp_path / "lib.so"
    library.touch()
    text = f"{library}: failed to map segment from shared object"
    error = ImportError(text, path=str(library))
    assert exhausted(error) is not None
    real = os.statvfs(library)
    flagged = os.statvfs_result((*real[:8], real.f_flag | os.ST_NOEXEC, real.f_namemax))
    monkeypatch.setattr(os, "statvfs", lambda _path: flagged)
    assert exhausted(error) is None


def test_a_request_without_a_thread_is_no_wrong_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_self: threading.Thread) -> NoReturn:
        raise RuntimeError("can't start new thread")

    class Request:
        stream_output = False

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(ExhaustedError, match="processes or threads"):
        exchange(None, Request(), Received(), seconds=1)


class Refusing:
    """Work in a process that cannot be copied any more, or cannot make a pipe."""

    def __init__(self, function: str, error: OSError) -> None:
        self._function = function
        self._error = error

    def obtain(self, order: Order) -> Obtained:
        return Obtained(Outcome(order.served, failure="obtained after all"))

    def keep(self, keys: tuple[tuple[str, str, str], ...]) -> None:
        pass

    def reload(self) -> str | None:
        """Use up, or give back, what the next order needs."""
        before: Callable[..., object] = getattr(os, self._function)

        def refuse(*_: object) -> NoReturn:
            setattr(os, self._function, before)
            raise self._error

        setattr(os, self._function, refuse)
        return None


@pytest.mark.parametrize(
    ("function", "error", "said"),
    [
        ("fork", BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "processes"),
        ("fork", OSError(errno.ENOMEM, "Cannot allocate memory"), "memory"),
        ("pipe2", OSError(errno.EMFILE, "Too many open files"), "files"),
    ],
)
def test_a_renewal_that_cannot_be_started_now_does_not_end_the_others(
    function: str, error: OSError, said: str
) -> None:
    process = RenewingProcess(Refusing(function, error))
    try:
        process.reload()
        assert process.receive() == Outcome(-1)
        process.order(Order(3, 0))
        failed = process.receive()
        assert failed is not None
        assert (failed.served, failed.status) == (3, 7)
        assert said in (failed.failure or "")
        process.order(Order(4, 0))
        assert process.receive() == Outcome(4, failure="obtained after all")
    finally:
        process.close()


@pytest.mark.parametrize(("command", "status"), [("list", 7), ("exec", 125)])
def test_too_little_memory_for_anything_else_is_one_sentence(command: str, status: int) -> None:
    code = (
        "import sys, filevault.cli\n"
        "def main(*_, **__): raise MemoryError\n"
        "filevault.cli.main = main\n"
        "from filevault.__main__ import entry\n"
        "entry()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, command], capture_output=True, timeout=30, check=False
    )
    assert ended.returncode == status
    assert ended.stderr == b"filevault: error: there is not enough memory\n"
