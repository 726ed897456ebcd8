"""ServingProcess: the process that `serve` becomes once the first credentials are there.

It is a new program in the same process, because it lives long: without the vault, the plans, the
AWS config and the secrets that obtaining them took.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from time import monotonic
from typing import TYPE_CHECKING

from filevault.cli.listening import Listening
from filevault.cli.serving_state import ServingState
from filevault.cli.token_files import TokenFiles
from filevault.errors import BackendError
from filevault.server.container_endpoint import ContainerEndpoint, TokenPaths, new_token
from filevault.server.event_loop import EventLoop
from filevault.server.http_server import HttpServer
from filevault.server.metadata_address import MetadataAddress
from filevault.server.metadata_endpoint import Instance, MetadataEndpoint
from filevault.server.renewals import GONE, Renewals
from filevault.server.renewing_process import RenewingProcess
from filevault.server.role_paths import RolePaths
from filevault.server.service_manager import notify
from filevault.system.libc import set_name
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from filevault.cli.reporter import Reporter
    from filevault.server.http_server import Respond
    from filevault.server.served_credentials import ServedCredentials

_HEALTH = b"/healthcheck"
_LAST_ANSWERS = 2.0  # seconds
_ENDING = (signal.SIGTERM, signal.SIGINT)
SIGNALS = (*_ENDING, signal.SIGHUP)
"""What it handles; blocked until it does, so that none is lost between the two programs."""


class ServingProcess:
    """Serves until it is told to end.

    Args:
        state: what to serve.
        clock: Unix seconds.
        reporter: prints warnings, and the variables of clients.
    """

    def __init__(self, state: ServingState, clock: Callable[[], float], reporter: Reporter) -> None:
        self._state = state
        self._clock = clock
        self._reporter = reporter
        self._files = TokenFiles(state.token_files, None)
        self._ends = False

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT; SIGHUP plans the profiles again.

        Raises BackendError if the renewing process has ended, StorageError for a file of a token.
        """
        import gc

        gc.enable()  # this process lives long
        set_name("filevault")
        with contextlib.ExitStack() as opened:
            self._serve(opened)
        return 0

    def _serve(self, opened: contextlib.ExitStack) -> None:
        state, reporter = self._state, self._reporter
        address = MetadataAddress() if state.adds_address else None
        listener = socket.socket(fileno=state.listener)
        listening = opened.enter_context(Listening(listener, address))
        process = RenewingProcess.adopt(socket.socket(fileno=state.renewing), state.renewing_pid)
        opened.callback(process.close)
        renewals = Renewals(process, self._clock, reporter.warn_again)
        served = [
            renewals.add(profile.served(lazy=state.lazy, ec2=state.ec2), number)
            for number, profile in enumerate(state.profiles)
        ]
        loop = opened.enter_context(EventLoop())
        tokens = [new_token() for _ in self._files.paths]
        endpoint = self._endpoint(loop, listening.host, renewals, served, tokens)
        log = reporter.debug if state.debug else None
        server = HttpServer(loop, listener, endpoint, log)
        opened.callback(server.close)
        opened.callback(self._files.remove)
        listening.run_in(loop)
        self._take_signals(loop, renewals)
        renewals.run_in(loop)
        self._files.write(tokens)
        self._print(listening.host)
        notify(state.notify, "READY=1")
        while not self._ends and not renewals.is_gone:
            loop.turn()
        notify(state.notify, "STOPPING=1")
        server.stop()
        deadline = monotonic() + _LAST_ANSWERS
        while server.is_busy and monotonic() < deadline:
            loop.turn()
        if renewals.is_gone and not self._ends:
            raise BackendError(GONE)

    def _endpoint(
        self,
        loop: EventLoop,
        host: str,
        renewals: Renewals,
        served: Sequence[ServedCredentials],
        tokens: Sequence[str],
    ) -> Respond:
        state = self._state
        if state.ec2:
            (only,) = served
            return MetadataEndpoint(
                host,
                renewals,
                only,
                lambda: Instance(only.region, only.account_id),
                any_user=state.any_user,
                version_1=state.version_1,
            )
        paths = []
        for number, (each, token) in enumerate(zip(served, tokens, strict=True)):
            profile = state.profiles[number]
            roles = RolePaths(renewals, number, profile.role_life, state.roles)
            own = {b"/": each, profile.path.encode("ascii"): each}
            paths.append(TokenPaths(token.encode("ascii"), own, roles.find))
        container = ContainerEndpoint(host, renewals, paths, _HEALTH)
        container.run_in(loop)
        return container

    def _take_signals(self, loop: EventLoop, renewals: Renewals) -> None:
        reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _nothing)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

        def on_signals(_events: int) -> None:
            numbers = set(os.read(reading, 512))
            if signal.SIGHUP in numbers:
                renewals.reload()
            self._ends = self._ends or not numbers.isdisjoint(_ENDING)

        loop.watch(reading, on_signals)

    def _print(self, host: str) -> None:
        """Print how clients find the credentials, as lines for an environment file."""
        lines = []
        if self._state.ec2:
            lines = [
                f"# {printable(self._state.profiles[0].name)}",
                f"AWS_EC2_METADATA_SERVICE_ENDPOINT=http://{host}/",
                f"AWS_EC2_METADATA_V1_DISABLED={'false' if self._state.version_1 else 'true'}",
            ]
        for profile, path in zip(self._state.profiles, self._files.paths, strict=False):
            lines += [
                f"# {printable(profile.name)}",
                f"AWS_CONTAINER_CREDENTIALS_FULL_URI=http://{host}/",
                f"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE={printable(path)}",
            ]
        self._reporter.result("\n".join(lines), flush=True)


def _nothing(_number: int, _frame: object) -> None:
    """Handle a signal: the wake-up descriptor does the work."""
