"""RenewingProcess: obtains credentials for a server, in one short-lived copy for each renewal.

botocore is loaded in these copies only. The process that starts them has no server, and keeps the
keys of the vault that a renewal needs; the serving process has none of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import time
from typing import TYPE_CHECKING, Any, Protocol, Self

from filevault.credentials import Credentials
from filevault.errors import BackendError, ExhaustedError, FilevaultError
from filevault.system.copies import start_copy
from filevault.system.exhaustion import exhausted
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_MESSAGE = 128 << 10  # bytes
_MAX_ANSWER = 1 << 20
_TIMEOUT = 120  # seconds for one renewal without a person
_NICENESS = 10
_GRACE = 2.0  # seconds between SIGTERM and SIGKILL
_LONGEST_END = _GRACE + 1.0  # seconds
_AT_ONCE = 4
"""How many copies there are at the same time: each needs the memory of botocore."""
RELOADED = -1
"""The number of the outcome of `reload`."""
_LEFT_TO_OTHERS = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP)
"""Signals that a terminal or a service manager sends to all: the serving process handles them."""


class Order(Record):
    """An order to obtain credentials.

    `served` is the number of what they are for, `profile` that of the plan. `role` is a role to
    assume with them. They must live for `min_ttl` seconds, None for the rule of the session cache.
    With `attended` a person may be asked.
    """

    served: int
    profile: int
    role: str | None = None
    min_ttl: int | None = None
    attended: bool = False


class Outcome(Record):
    """The outcome of an order: credentials with their account and region, or why there are none.

    `status` is the exit status of the error, `hint` what to do about it.
    """

    _secret = ("credentials",)

    served: int
    credentials: Credentials | None = None
    account_id: str | None = None
    region: str | None = None
    failure: str | None = None
    hint: str | None = None
    status: int = 0


class RenewalError(FilevaultError):
    """The failure of an outcome, with its exit status."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.failure or "no credentials were obtained", hint=outcome.hint)
        self.exit_status = outcome.status


class Obtained(Record):
    """What a copy returns: an outcome, and keys of the vault, as base64 by type and mark."""

    _secret = ("keys",)

    outcome: Outcome
    keys: tuple[tuple[str, str, str], ...] = ()


class Work(Protocol):
    """What the renewing process does."""

    def obtain(self, order: Order, /) -> Obtained:
        """Carry an order out, in a copy; must not raise."""
        ...

    def keep(self, keys: tuple[tuple[str, str, str], ...], /) -> None:
        """Keep keys for later orders."""
        ...

    def reload(self) -> str | None:
        """Plan again; return the reason if that fails."""
        ...


class RenewingProcess:
    """The serving process's end of the connection.

    Args:
        work: what the process does.
        not_inherited: descriptors that the process must not have.
    """

    def __init__(self, work: Work, not_inherited: Sequence[int] = ()) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

        def serve() -> int:
            self._socket.close()
            for fd in not_inherited:
                os.close(fd)
            _Renewer(theirs, work).serve()
            return 0

        self.pid = start_copy(serve)
        theirs.close()

    @classmethod
    def adopt(cls, connection: socket.socket, pid: int) -> Self:
        """Return one that this process has started before it became another program."""
        found = cls.__new__(cls)
        found._socket, found.pid = connection, pid
        return found

    def fileno(self) -> int:
        """Return the descriptor that can be read when an outcome is there."""
        return self._socket.fileno()

    def order(self, order: Order) -> None:
        """Send an order. Raises OSError if the process is gone."""
        self._socket.send(json.dumps(order._asdict()).encode("ascii"))

    def detach(self) -> None:
        """Let the process leave the terminal: from now on no person can be asked."""
        self._socket.send(b"{}")

    def reload(self) -> None:
        """Let the process plan again; the outcome has the number RELOADED."""
        self._socket.send(b'{"reload": true}')

    def receive(self) -> Outcome | None:
        """Wait for the outcome of an order; return None if the process is gone."""
        try:
            data = self._socket.recv(_MAX_MESSAGE)
        except OSError:
            data = b""
        return _outcome(json.loads(data)) if data else None

    def close(self) -> None:
        """End the process, and wait until it has ended; it is killed if it does not in time."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
            self._socket.settimeout(_LONGEST_END)
            while self._socket.recv(_MAX_MESSAGE):  # an outcome that comes too late
                pass
        except TimeoutError:  # it is stopped
            os.kill(self.pid, signal.SIGKILL)
        except OSError:  # it is gone
            pass
        self._socket.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


class _Copy:
    """A copy at work: its order, and what it has returned so far."""

    __slots__ = ("data", "order", "pid")

    def __init__(self, order: Order, pid: int) -> None:
        self.order = order
        self.pid = pid
        self.data = bytearray()


class _Renewer:
    """The renewing process: starts copies, and passes on what they return."""

    def __init__(self, control: socket.socket, work: Work) -> None:
        self._control = control
        self._work = work
        self._copies: dict[int, _Copy] = {}
        self._waiting: list[Order] = []
        self._poll = select.poll()
        self._attached = True

    def serve(self) -> None:
        """Serve until the serving process has closed its end."""
        for number in _LEFT_TO_OTHERS:
            signal.signal(number, _nothing)
        self._poll.register(self._control, select.POLLIN)
        while True:
            for fd, _events in self._poll.poll():
                if fd == self._control.fileno():
                    data = self._control.recv(_MAX_MESSAGE)
                    if not data:
                        self._end()
                        return
                    self._take(json.loads(data))
                else:
                    self._read(fd)
            while self._waiting and len(self._copies) < _AT_ONCE:
                self._start(self._waiting.pop(0))

    def _take(self, message: dict[str, Any]) -> None:
        if "reload" in message:
            self._send(Outcome(RELOADED, failure=self._work.reload())._asdict(), RELOADED)
            return
        if message:
            self._waiting.append(Order(**message))
            return
        self._attached = False
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for fd in (0, 1):  # the command may close them, and its reader waits for that
            os.dup2(null, fd)
        os.close(null)

    def _start(self, order: Order) -> None:
        """Carry an order out in a copy; without one for now, that is its outcome."""
        try:
            self._copy(order)
        except (OSError, ExhaustedError) as error:
            reason = exhausted(error) or BackendError("no renewal can be started")
            self._send(
                Outcome(
                    order.served,
                    failure=reason.message,
                    hint=reason.hint,
                    status=reason.exit_status,
                )._asdict(),
                order.served,
            )

    def _copy(self, order: Order) -> None:
        reading, writing = os.pipe2(os.O_CLOEXEC)

        def job() -> int:
            self._control.close()
            os.close(reading)
            if not order.attended:
                if self._attached:
                    os.setsid()
                else:
                    os.setpgid(0, 0)
                signal.alarm(_TIMEOUT)
                os.nice(_NICENESS)  # answers go first
            else:
                signal.signal(signal.SIGINT, signal.default_int_handler)
            data = memoryview(_encoded(self._work.obtain(order)))
            while data:
                data = data[os.write(writing, data) :]
            return 0

        try:
            self._copies[reading] = _Copy(order, start_copy(job))
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self._poll.register(reading, select.POLLIN)

    def _read(self, fd: int) -> None:
        copy = self._copies[fd]
        part = os.read(fd, _MAX_MESSAGE)
        copy.data += part
        if part and len(copy.data) <= _MAX_ANSWER:
            return
        self._poll.unregister(fd)
        os.close(fd)
        del self._copies[fd]
        self._reap(copy)
        self._send(self._result(copy), copy.order.served)

    def _send(self, outcome: object, served: int) -> None:
        """Send an outcome, given as JSON has it, to the serving process."""
        message = json.dumps(outcome).encode("ascii")
        if len(message) > _MAX_MESSAGE:
            failure = "the credentials are too long to be served"
            message = json.dumps(Outcome(served, failure=failure, status=1)._asdict()).encode()
        with contextlib.suppress(OSError):  # it is gone, which `serve` notices
            self._control.send(message)

    def _result(self, copy: _Copy) -> object:
        try:
            found = json.loads(bytes(copy.data))
        except ValueError:
            failure = "the renewal was killed, or took too long"
            return Outcome(copy.order.served, failure=failure, status=1)._asdict()
        finally:
            copy.data[:] = bytes(len(copy.data))
        self._work.keep(tuple((kind, mark, key) for kind, mark, key in found["keys"]))
        return found["outcome"]

    def _reap(self, copy: _Copy) -> None:
        """End a copy and the programs that it has left."""
        if not copy.order.attended:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(copy.pid, signal.SIGKILL)
        os.waitpid(copy.pid, 0)

    def _end(self) -> None:
        """End all copies; one that asks a person first restores the terminal."""
        for copy in self._copies.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(copy.pid, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE
        for copy in self._copies.values():
            while time.monotonic() < deadline:
                pid, _status = os.waitpid(copy.pid, os.WNOHANG)
                if pid:
                    break
                time.sleep(0.01)
            else:
                os.kill(copy.pid, signal.SIGKILL)


def _nothing(_number: int, _frame: object) -> None:
    """Handle a signal by doing nothing; a copy has its default."""


def _encoded(obtained: Obtained) -> bytes:
    outcome = obtained.outcome._asdict()
    credentials = obtained.outcome.credentials
    outcome["credentials"] = None if credentials is None else credentials._asdict()
    return json.dumps({"outcome": outcome, "keys": obtained.keys}).encode("ascii")


def _outcome(fields: dict[str, Any]) -> Outcome:
    credentials = fields["credentials"]
    if isinstance(credentials, dict):
        fields["credentials"] = Credentials(**credentials)
    return Outcome(**fields)
