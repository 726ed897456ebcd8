"""The agent as a key cache, seen from a command: it is asked, and never waited for long."""

from __future__ import annotations

import _socket  # socket itself takes 10 ms to import
import contextlib
import os
import stat
import time
from typing import TYPE_CHECKING

from filevault.errors import BackendError, FilevaultError
from filevault.keycache import SESSION, SOCKET, Held
from filevault.keycache.key_store import merge_errors
from filevault.keycache.protocol import (
    LINE,
    Answer,
    Request,
    open_folder,
    parse_answer,
    peer,
    request_line,
)
from filevault.system.files import storage_error
from filevault.system.printable import printable, shell_word

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_TIMEOUT = 0.7  # seconds for all that fails in one run: a person is waiting
_LEAST = 0.05  # seconds for each agent that is told to lock, however little is left
_PAUSE = 0.005


class AgentClient:
    """The agents of this user; see `filevault.keycache.key_store.KeyStore`.

    One that did not answer is not asked for keys again: a run waits for it once.

    Args:
        folders: where a socket may lie, in the order in which they are looked at.
        also: folders of further agents, which are told to lock and asked for nothing.
    """

    name = "agent"

    def __init__(self, folders: Sequence[str], also: Sequence[str] = ()) -> None:
        self._folders = folders
        self._also = also
        self._failed: dict[str, FilevaultError] = {}
        self._patience = _TIMEOUT
        self._took: str | None = None

    def get(self, state_id: str, kind: str) -> Held | None:
        """Return what the first agent that has it holds."""
        answer = self._first(Request("get", state_id, kind))
        return None if answer is None else Held(answer.key, answer.mark, answer.deadline)

    def status(self, state_id: str, kind: str) -> tuple[str, int] | None:
        """Return mark and deadline of what the first agent that has it holds."""
        answer = self._first(Request("status", state_id, kind))
        return None if answer is None else (answer.mark, answer.deadline)

    def put(self, state_id: str, kind: str, held: Held, seconds: int) -> bool:  # noqa: ARG002
        """Give a key to the first agent that takes it."""
        request = Request("put", state_id, kind, held.key, held.mark, held.deadline)
        for folder, answer in self._answers(request):
            if answer.ok:
                self._took = folder
                return True
        return False

    def lock(self, state_id: str | None, kind: str | None = None) -> int:
        """Let every agent forget; one kind of key is only forgotten where it would be found.

        Raises BackendError, after all were asked, for each that is there and does not say so, and
        for each folder that has something in the place of a socket that cannot be asked.
        """
        folders = (*self._folders, *(self._also if kind is None else ()))
        return self._lock(folders, Request("lock", state_id or "", kind or ""))

    def keep_last(self, state_id: str, kind: str, *, took: bool) -> int:
        """Let all agents forget a kind of key but the one that took the last."""
        others = [folder for folder in self._folders if not took or folder != self._took]
        return self._lock(others, Request("lock", state_id, kind))

    def _lock(self, folders: Iterable[str], request: Request) -> int:
        count = 0
        failed = []
        for folder in folders:
            try:
                path = _socket_in(folder)
                if path is not None:
                    answer = self._ask(path, request)
                    count += 0 if answer is None else answer.count
            except FilevaultError as error:
                failed.append(error)
        if failed:
            raise merge_errors(failed)
        return count

    def running(self) -> bool:
        """Tell whether an agent is there that can be asked."""
        return any(True for _ in self._answers(Request("status", "0" * 32, SESSION)))

    def last_error(self) -> FilevaultError | None:
        """Return why an agent that is there did not answer in this run."""
        return next(iter(self._failed.values()), None)

    def _first(self, request: Request) -> Answer | None:
        """Return the first answer that is yes."""
        for _folder, answer in self._answers(request):
            if answer.ok:
                return answer
        return None

    def _answers(self, request: Request) -> Iterator[tuple[str, Answer]]:
        for folder in self._folders:
            with contextlib.suppress(FilevaultError):
                path = _socket_in(folder)
                if path is not None and path not in self._failed:
                    answer = self._ask(path, request)
                    if answer is not None:
                        yield folder, answer

    def _ask(self, path: str, request: Request) -> Answer | None:
        began = time.monotonic()
        try:
            return _ask(path, request, max(self._patience, _LEAST))
        except FilevaultError as error:
            self._patience -= time.monotonic() - began
            self._failed[path] = error
            raise


def _socket_in(path: str) -> str | None:
    """Return the socket in a folder, None where there is none of ours.

    Raises BackendError for anything in its place that is not ours, in a folder that is ours.
    """
    name = f"{path}/{SOCKET}"
    if _is_somebody_elses(path):
        return None
    try:
        os.lstat(name)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        pass  # it cannot be seen from here, and may be there
    try:
        with open_folder(path) as folder:
            info = os.stat(SOCKET, dir_fd=folder.fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise storage_error(error, "look at", name) from error
    if not stat.S_ISSOCK(info.st_mode) or info.st_uid != os.geteuid():
        raise BackendError(
            f"{printable(name)!r} is not the socket of an agent of yours",
            hint="an agent that had its socket there ends within ten seconds, and forgets all; "
            f"rm {shell_word(name)}",
        )
    return name


def _is_somebody_elses(path: str) -> bool:
    """Tell whether what lies at a path was put there by another user, with no socket of ours in it.

    Whoever does that in a folder for all, as `/tmp` is, must not keep us from anything: no key ever
    went there. A socket that belongs to us only an agent of ours can have made.
    """
    try:
        if os.lstat(path).st_uid == os.geteuid():
            return False
    except PermissionError:
        # A FUSE mount shows itself to nobody but its owner. Where the folder around it is what
        # cannot be looked into, there may be an agent.
        return os.access(os.path.dirname(path), os.X_OK, effective_ids=True)
    except OSError:
        return False
    try:
        folder = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        info = os.stat(SOCKET, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return True
    finally:
        os.close(folder)
    return not stat.S_ISSOCK(info.st_mode) or info.st_uid != os.geteuid()


def _ask(path: str, request: Request, patience: float) -> Answer | None:
    """Ask one agent one thing; None if nobody listens: one that is dead has forgotten everything.

    Between the check of its folder and this the path may have come to lead elsewhere: what counts
    is who listens there.

    Raises BackendError if it does not answer in time, is not ours or talks nonsense.
    """
    deadline = time.monotonic() + patience
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    pid = 0
    try:
        if not _connect(connection, path, deadline):
            return None
        pid, uid = peer(connection)
        if uid != os.geteuid():
            raise BackendError(f"at {printable(path)!r} listens user {uid}, not an agent of yours")
        _wait_until(connection, deadline)
        connection.sendall(request_line(request))
        line = bytearray()
        while not line.endswith(b"\n"):
            _wait_until(connection, deadline)
            part = connection.recv(LINE + 1 - len(line))
            if not part or len(line) + len(part) > LINE:
                raise BackendError(
                    f"the agent at {printable(path)!r} talks nonsense", hint=_remedy(pid)
                )
            line += part
        return parse_answer(bytes(line))
    except OSError as error:
        raise BackendError(
            f"the agent at {printable(path)!r} does not answer", hint=_remedy(pid)
        ) from error
    finally:
        connection.close()


def _connect(connection: _socket.socket, path: str, deadline: float) -> bool:
    """Connect; False if nobody listens there. A listener whose queue is full is tried again."""
    while True:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            connection.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE)
        else:
            return True


def _wait_until(connection: _socket.socket, deadline: float) -> None:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    connection.settimeout(left)


def _remedy(pid: int) -> str | None:
    return f"kill -9 {pid} ends it, and what it holds" if pid else None
