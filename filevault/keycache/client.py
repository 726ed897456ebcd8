"""The agent as a key cache, seen from a command: it is asked, and never waited for long."""

from __future__ import annotations

import _socket  # socket itself takes 10 ms to import
import contextlib
import os
import stat
import time
from typing import TYPE_CHECKING

from filevault.errors import BackendError, FilevaultError
from filevault.keycache import SOCKET, Held
from filevault.keycache.protocol import (
    LINE,
    Answer,
    Request,
    open_folder,
    parse_answer,
    peer,
    request_line,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_PATIENCE = 0.8  # seconds for all of it: a person is waiting
_PAUSE = 0.005


class AgentClient:
    """The agents of this user; see `filevault.keycache.place.Place`.

    Args:
        folders: where a socket may lie, in the order in which they are looked at.
    """

    name = "agent"

    def __init__(self, folders: Sequence[str]) -> None:
        self._folders = folders

    def get(self, state_id: str, kind: str) -> Held | None:
        """Return what the first agent that has it holds."""
        for path in self._sockets():
            with contextlib.suppress(FilevaultError):
                answer = _ask(path, Request("get", state_id, kind))
                if answer.ok:
                    return Held(answer.key, answer.mark, answer.deadline)
        return None

    def status(self, state_id: str, kind: str) -> tuple[str, int] | None:
        """Return mark and deadline of what the first agent that has it holds."""
        for path in self._sockets():
            with contextlib.suppress(FilevaultError):
                answer = _ask(path, Request("status", state_id, kind))
                if answer.ok:
                    return answer.mark, answer.deadline
        return None

    def put(self, state_id: str, kind: str, held: Held, seconds: int) -> bool:  # noqa: ARG002
        """Give a key to the first agent that takes it."""
        request = Request("put", state_id, kind, held.key, held.mark, held.deadline)
        for path in self._sockets():
            with contextlib.suppress(FilevaultError):
                if _ask(path, request).ok:
                    return True
        return False

    def lock(self, state_id: str | None) -> int:
        """Let every agent forget; raises BackendError for one that is there and does not say so."""
        count = 0
        for path in self._sockets():
            count += _ask(path, Request("lock", state_id or "")).count
        return count

    def running(self) -> bool:
        """Tell whether an agent is there that can be asked."""
        for path in self._sockets():
            try:
                _ask(path, Request("status", "0" * 32, "session"))
            except FilevaultError:
                continue
            return True
        return False

    def _sockets(self) -> list[str]:
        """Return the sockets that are ours, in folders that are ours."""
        found = []
        for path in self._folders:
            try:
                with open_folder(path) as folder:
                    info = os.stat(SOCKET, dir_fd=folder.fd, follow_symlinks=False)
            except (OSError, FilevaultError):
                continue
            if stat.S_ISSOCK(info.st_mode) and info.st_uid == os.geteuid():
                found.append(folder.join(SOCKET))
        return found


def _ask(path: str, request: Request) -> Answer:
    """Ask one agent one thing.

    Between the check of its folder and this the path may have come to lead elsewhere: what counts
    is who listens there. An agent that is dead has forgotten everything, and so answers `no`.

    Raises BackendError if it does not answer in time, is not ours or talks nonsense.
    """
    deadline = time.monotonic() + _PATIENCE
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    pid = 0
    try:
        if not _connect(connection, path, deadline):
            return Answer(ok=False)
        pid, uid = peer(connection)
        if uid != os.geteuid():
            raise BackendError(f"the agent's socket belongs to user {uid}")
        _wait_until(connection, deadline)
        connection.sendall(request_line(request))
        line = bytearray()
        while not line.endswith(b"\n"):
            _wait_until(connection, deadline)
            part = connection.recv(LINE + 1 - len(line))
            if not part or len(line) + len(part) > LINE:
                raise BackendError("the agent's answer has no end", hint=_remedy(pid))
            line += part
        return parse_answer(bytes(line))
    except (
        OSError,
        ValueError,
    ) as error:  # a path too long for a socket is a ValueError or OSError
        raise BackendError("the agent does not answer", hint=_remedy(pid)) from error
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
    return f"kill -USR1 {pid} lets it forget all keys, kill {pid} ends it" if pid else None
