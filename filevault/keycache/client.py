"""The client of the agents: a key store that never waits long for an answer."""

from __future__ import annotations

import _socket  # socket itself takes 10 ms to import
import contextlib
import os
import stat
import time
from typing import TYPE_CHECKING

from filevault.errors import BackendError, FilevaultError
from filevault.keycache.agent_folders import SOCKET_NAME
from filevault.keycache.cached_key import SESSION, CachedKey
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

    from filevault.keycache.cached_key import KeyType

_TIMEOUT = 0.7  # seconds that failed requests may cost a run in total: a person is waiting
_MIN_TIMEOUT = 0.05  # seconds for each request, however little is left
_PAUSE = 0.005


class AgentClient:
    """The agents of this user; see `filevault.keycache.key_store.KeyStore`.

    An agent that did not answer is not asked for keys again in the run.

    Args:
        folders: where a socket may be, in the order in which they are tried.
    """

    name = "agent"

    def __init__(self, folders: Sequence[str]) -> None:
        self._folders = folders
        self._failed: dict[str, FilevaultError] = {}
        self._time_left = _TIMEOUT
        self._took: str | None = None

    def get(self, state_id: str, key_type: KeyType) -> CachedKey | None:
        """Return the key from the first agent that has it."""
        answer = self._first(Request("get", state_id, key_type))
        return None if answer is None else CachedKey(answer.key, answer.mark, answer.deadline)

    def status(self, state_id: str, key_type: KeyType) -> tuple[str, int] | None:
        """Return mark and deadline from the first agent that has the key."""
        answer = self._first(Request("status", state_id, key_type))
        return None if answer is None else (answer.mark, answer.deadline)

    def put(self, state_id: str, key_type: KeyType, cached: CachedKey, seconds: int) -> bool:  # noqa: ARG002
        """Give a key to the first agent that takes it."""
        request = Request("put", state_id, key_type, cached.key, cached.mark, cached.deadline)
        for folder, answer in self._answers(request):
            if answer.ok:
                self._took = folder
                return True
        return False

    def forget(self, state_id: str | None, key_type: KeyType | None = None) -> int:
        """Have every agent forget its keys, or those of one type.

        Raises BackendError, after all were asked, for each agent that does not confirm, and for
        each folder whose socket cannot be used.
        """
        return self._forget(self._folders, Request("lock", state_id or "", key_type or ""))

    def forget_older(self, state_id: str, key_type: KeyType, *, took_last: bool) -> int:
        """Have all agents forget a type of key; with `took_last` not the one that took the last."""
        others = [folder for folder in self._folders if not took_last or folder != self._took]
        return self._forget(others, Request("lock", state_id, key_type))

    def _forget(self, folders: Iterable[str], request: Request) -> int:
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
        """Return whether an agent answers."""
        return any(True for _ in self._answers(Request("status", "0" * 32, SESSION)))

    def last_error(self) -> FilevaultError | None:
        """Return why an agent that exists did not answer in this run."""
        return next(iter(self._failed.values()), None)

    def _first(self, request: Request) -> Answer | None:
        """Return the first answer that is ok."""
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
            return _ask(path, request, max(self._time_left, _MIN_TIMEOUT))
        except FilevaultError as error:
            self._time_left -= time.monotonic() - began
            self._failed[path] = error
            raise


def _socket_in(path: str) -> str | None:
    """Return the path of the socket in a folder, None if this user has none there.

    Raises BackendError for any other file of that name in a folder of this user.
    """
    name = f"{path}/{SOCKET_NAME}"
    if _belongs_to_another_user(path):
        return None
    try:
        os.lstat(name)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        pass  # it may exist
    try:
        with open_folder(path) as folder:
            info = os.stat(SOCKET_NAME, dir_fd=folder.fd, follow_symlinks=False)
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


def _belongs_to_another_user(path: str) -> bool:
    """Return whether a path belongs to another user and contains no socket of this user.

    In a folder for all, such as `/tmp`, another user must not be able to cause an error: no key
    was ever sent there. Only an agent of this user can have made a socket of this user.
    """
    try:
        if os.lstat(path).st_uid == os.geteuid():
            return False
    except PermissionError:
        # A FUSE mount is visible to its owner only. But if the folder around it cannot be looked
        # into, there may be an agent.
        return os.access(os.path.dirname(path), os.X_OK, effective_ids=True)
    except OSError:
        return False
    try:
        folder = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        info = os.stat(SOCKET_NAME, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return True
    finally:
        os.close(folder)
    return not stat.S_ISSOCK(info.st_mode) or info.st_uid != os.geteuid()


def _ask(path: str, request: Request, timeout: float) -> Answer | None:
    """Send one request; None if no process listens: a dead agent has forgotten all keys.

    The path may have been redirected since its folder was checked, so the peer's user id is
    checked. Raises BackendError if the answer is late or invalid, or the peer is another user.
    """
    deadline = time.monotonic() + timeout
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    pid = 0
    try:
        if not _connect(connection, path, deadline):
            return None
        pid, uid = peer(connection)
        if uid != os.geteuid():
            raise BackendError(f"user {uid} listens at {printable(path)!r}, not an agent of yours")
        _wait_until(connection, deadline)
        connection.sendall(request_line(request))
        line = bytearray()
        while not line.endswith(b"\n"):
            _wait_until(connection, deadline)
            part = connection.recv(LINE + 1 - len(line))
            if not part or len(line) + len(part) > LINE:
                raise BackendError(
                    f"the agent at {printable(path)!r} sends an invalid answer", hint=_remedy(pid)
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
    """Connect; False if no process listens. Retry while the listener's queue is full."""
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
    return f"kill -9 {pid} ends it, and its keys are forgotten" if pid else None
