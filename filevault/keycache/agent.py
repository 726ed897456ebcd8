"""The agent: a process that keeps keys in its memory if the kernel keyring cannot be used.

It answers one request per connection, logs nothing, forgets each key at its deadline, and all of
them on SIGUSR1 and at its end. Only processes of the same user can connect: the socket is in a
folder that no other user can open.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import stat
import time
from typing import TYPE_CHECKING

from filevault.errors import DamagedError, StorageError
from filevault.keycache.agent_folders import SOCKET_NAME
from filevault.keycache.agent_keys import AgentKeys
from filevault.keycache.job import LOCK
from filevault.keycache.protocol import (
    LINE,
    answer_line,
    is_private,
    open_folder,
    parse_request,
    peer,
)
from filevault.system.files import Folder, storage_error
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable


_TIMEOUT = 2.0  # seconds for one request
_CONNECTIONS = 200
_AT_ONCE = 32  # connections accepted before signals and deadlines are looked at again
_LONGEST = 107  # bytes of a socket's path (unix(7): 108 with the NUL)
_QUEUE = 1024
_CHECK_INTERVAL = 10.0  # seconds between two checks that the socket is still this agent's
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class _Connection:
    __slots__ = ("line", "since", "socket")

    def __init__(self, connection: socket.socket, since: float) -> None:
        self.socket = connection
        self.since = since
        self.line = bytearray()


class Agent:
    """A listening agent, made by `listen`.

    Args:
        folder: of its socket.
        listener: that socket.
        keys: the keys in its memory.
    """

    def __init__(self, folder: Folder, listener: socket.socket, keys: AgentKeys) -> None:
        self._folder = folder
        self._listener = listener
        self._keys = keys
        self._identity = _identity(folder)
        self._connections: dict[int, _Connection] = {}
        self._signals, self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(listener, select.POLLIN)
        self._poll.register(self._signals, select.POLLIN)

    def take_signals(self) -> None:
        """Handle signals: SIGUSR1 forgets all keys; those that end a process end `serve`."""
        for number in (signal.SIGUSR1, *_ENDING):
            signal.signal(number, _nothing)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)

    def serve(self) -> None:
        """Answer until a signal ends it, or no client can reach its socket any more.

        That includes a folder that other users can open: clients refuse it.
        """
        looked = time.monotonic()
        while True:
            for fd, _event in self._poll.poll(self._pause() * 1000):
                if fd == self._signals:
                    self._keys.forget()  # every handled signal does that
                    if not set(os.read(fd, LINE)).isdisjoint(_ENDING):
                        return
                elif fd == self._listener.fileno():
                    self._accept()
                elif fd in self._connections:
                    self._read(self._connections[fd])
            self._keys.expire()
            now = time.monotonic()
            for connection in list(self._connections.values()):
                if now - connection.since > _TIMEOUT:
                    self._drop(connection)
            if now - looked > _CHECK_INTERVAL:
                looked = now
                if not is_private(self._folder) or _identity(self._folder) != self._identity:
                    return

    def close(self) -> None:
        """Forget all keys and delete the socket, if it is still this agent's."""
        self._keys.forget()
        for connection in list(self._connections.values()):
            self._drop(connection)
        self._listener.close()
        if _identity(self._folder) == self._identity:
            with contextlib.suppress(OSError):
                os.unlink(SOCKET_NAME, dir_fd=self._folder.fd)

    def _pause(self) -> float:
        until = [_CHECK_INTERVAL]
        expiry = self._keys.expire()
        if expiry is not None:
            until.append(expiry)
        if self._connections:
            oldest = min(connection.since for connection in self._connections.values())
            until.append(oldest + _TIMEOUT - time.monotonic())
        return max(0.0, min(until)) + 0.001

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection, _address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError:  # the connection failed, or no descriptor is left
                self._drop_oldest()
                return
            try:
                _pid, uid = peer(connection)
                connection.setblocking(False)
            except OSError:
                uid = -1
            if uid != os.geteuid():
                connection.close()
                continue
            if len(self._connections) >= _CONNECTIONS:
                self._drop_oldest()
            made = _Connection(connection, time.monotonic())
            self._connections[connection.fileno()] = made
            self._poll.register(connection, select.POLLIN)
            self._read(made)  # mostly the request has arrived already

    def _read(self, connection: _Connection) -> None:
        try:
            part = connection.socket.recv(LINE + 1 - len(connection.line))
        except BlockingIOError:
            return
        except OSError:
            part = b""
        connection.line += part
        if connection.line.endswith(b"\n") and len(connection.line) <= LINE:
            self._reply(connection)
        elif part and len(connection.line) <= LINE and b"\n" not in connection.line:
            return
        self._drop(connection)

    def _reply(self, connection: _Connection) -> None:
        with contextlib.suppress(DamagedError, OSError):
            # A line fits into the socket's buffer: a client that does not read cannot block.
            connection.socket.send(
                answer_line(self._keys.answer(parse_request(bytes(connection.line))))
            )

    def _drop_oldest(self) -> None:
        if self._connections:
            self._drop(min(self._connections.values(), key=lambda each: each.since))

    def _drop(self, connection: _Connection) -> None:
        connection.line[:] = bytes(len(connection.line))
        self._connections.pop(connection.socket.fileno(), None)
        with contextlib.suppress(OSError, KeyError):
            self._poll.unregister(connection.socket)
        connection.socket.close()


def listen(path: str, boottime: Callable[[], float]) -> Agent | None:
    """Open an agent's socket in a folder, which is created if it is missing.

    Returns None if an agent is listening there already. The socket of a dead one is replaced.
    Raises StorageError if the folder cannot be used.
    """
    socket_path = f"{path}/{SOCKET_NAME}"
    if len(os.fsencode(socket_path)) > _LONGEST:
        raise StorageError(
            f"the path {printable(socket_path)!r} is too long for a socket",
            hint="set XDG_RUNTIME_DIR, or for a job TMPDIR, to a folder with a shorter path",
        )
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise storage_error(error, "create", path) from error
    folder = open_folder(path)
    try:
        if not _lock(folder):
            folder.close()
            return None
        listener = _bind(folder)
    except OSError as error:
        raise storage_error(error, "listen at", folder.join(SOCKET_NAME)) from error
    return Agent(folder, listener, AgentKeys(boottime))


def run(agent: Agent, ready: Callable[[], None]) -> None:
    """Serve until the end of this process, which is only an agent from now on.

    Args:
        agent: a listening one.
        ready: called when it answers, before the standard descriptors are closed.
    """
    import gc

    gc.enable()
    try:
        agent.take_signals()
        ready()
        _detach()
        agent.serve()
    finally:
        agent.close()


def _detach() -> None:
    """Close the standard descriptors and leave the working directory."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)
    os.chdir("/")


def _nothing(_number: int, _frame: object) -> None:
    """Handle a signal: the wake-up descriptor does the work."""


def _lock(folder: Folder) -> bool:
    """Take the lock of a folder's agent until this process ends; return whether it was free."""
    import fcntl

    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(LOCK, flags, 0o600, dir_fd=folder.fd)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return False
    return True


def _bind(folder: Folder) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(SOCKET_NAME, dir_fd=folder.fd)  # a link too: itself, not what it leads to
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(folder.join(SOCKET_NAME))
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(before)
    listener.listen(_QUEUE)
    listener.setblocking(False)
    return listener


def _identity(folder: Folder) -> tuple[int, int] | None:
    try:
        info = os.stat(folder.join(SOCKET_NAME), follow_symlinks=False)
    except OSError:
        return None
    return (info.st_dev, info.st_ino) if stat.S_ISSOCK(info.st_mode) else None
