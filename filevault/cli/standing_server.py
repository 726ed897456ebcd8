"""StandingServer: serves credentials of several profiles until it is told to end."""

from __future__ import annotations

import contextlib
import os
import signal
from time import monotonic
from typing import TYPE_CHECKING

from filevault.cli.first_credentials import EndedError, obtain_first
from filevault.cli.listening import Listening, check_address
from filevault.cli.served_profiles import ServedProfiles, forget_secrets, refuse_unknown_users
from filevault.cli.token_files import TokenFiles, token_paths
from filevault.errors import BackendError, UsageError
from filevault.server.container_endpoint import ContainerEndpoint, TokenPaths, new_token
from filevault.server.event_loop import EventLoop
from filevault.server.http_server import HttpServer
from filevault.server.metadata_endpoint import Instance, MetadataEndpoint
from filevault.server.renewals import GONE, Renewals
from filevault.server.renewing_process import RenewingProcess
from filevault.server.role_paths import RolePaths, profile_path
from filevault.server.service_manager import inherited_listener, notify
from filevault.system.printable import printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from filevault.cli.context import Context
    from filevault.cli.served_profiles import ServedProfile
    from filevault.server.http_server import Respond
    from filevault.server.served_credentials import ServedCredentials
    from filevault.vault.choose import VaultChoice

_HEALTH = b"/healthcheck"
_LAST_ANSWERS = 2.0  # seconds
_ENDING = (signal.SIGTERM, signal.SIGINT)


class StandingServer:
    """A server without a command.

    Args:
        args: the options of `serve`.
        context: the run's dependencies.
        choice: the vault.
        profiles: whose credentials are served.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        context: Context,
        choice: VaultChoice,
        profiles: Sequence[ServedProfile],
    ) -> None:
        settings = context.settings
        self._args = args
        self._context = context
        self._profiles = profiles
        self._work = ServedProfiles(args, context, choice, profiles, "serve")
        names = [each.plan.profile for each in profiles]
        paths = [] if args.ec2 else token_paths(args.token_file or (), names, settings)
        self._files = TokenFiles(paths, settings.home_if_known)
        self._ends = False

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT; SIGHUP plans the profiles again.

        Raises what obtaining the first credentials raises, UsageError and StorageError.
        """
        import gc

        gc.enable()  # this process lives long
        try:
            with contextlib.ExitStack() as opened:
                self._serve(opened)
        except EndedError as ended:
            ended.end()
            raise
        return 0

    def _serve(self, opened: contextlib.ExitStack) -> None:
        context, settings = self._context, self._context.settings
        self._files.check()
        listening = opened.enter_context(self._listening())
        listener, host = listening.listener, listening.host
        process = RenewingProcess(self._work, (listener.fileno(),))
        opened.callback(process.close)
        renewals = Renewals(process, context.runtime.clock, context.reporter.warn_again)
        served = self._first(renewals)
        forget_secrets(settings)
        loop = opened.enter_context(EventLoop())
        tokens = [new_token() for _ in self._files.paths]
        endpoint = self._endpoint(loop, host, renewals, served, tokens)
        reporter = context.reporter
        log = reporter.debug if settings.debug else None
        server = HttpServer(loop, listener, endpoint, log)
        opened.callback(server.close)
        opened.callback(self._files.remove)
        listening.run_in(loop)
        self._take_signals(loop, renewals)
        renewals.run_in(loop)
        self._files.write(tokens)
        self._print(host)
        notify(settings.get, "READY=1")
        while not self._ends and not renewals.is_gone:
            loop.turn()
        notify(settings.get, "STOPPING=1")
        server.stop()
        deadline = monotonic() + _LAST_ANSWERS
        while server.is_busy and monotonic() < deadline:
            loop.turn()
        if renewals.is_gone and not self._ends:
            raise BackendError(GONE)

    def _first(self, renewals: Renewals) -> list[ServedCredentials]:
        """Return the credentials to serve; they are there already unless `--lazy` is given."""
        lazy = bool(self._args.lazy)
        found = []
        for number, profile in enumerate(self._profiles):
            served = renewals.add(profile.served(lazy=lazy), number)
            found.append(served)
            if not lazy:
                obtain_first(renewals, served)
        return found

    def _endpoint(
        self,
        loop: EventLoop,
        host: str,
        renewals: Renewals,
        served: Sequence[ServedCredentials],
        tokens: Sequence[str],
    ) -> Respond:
        if self._args.ec2:
            (profile,), (only,) = self._profiles, served
            return MetadataEndpoint(
                host,
                renewals,
                only,
                lambda: Instance(only.region or profile.plan.region, only.account_id),
                any_user=self._args.allow_local_users,
                version_1=self._args.imds_v1,
            )
        container = ContainerEndpoint(
            host, renewals, self._paths(renewals, served, tokens), _HEALTH
        )
        container.run_in(loop)
        return container

    def _paths(
        self,
        renewals: Renewals,
        served: Sequence[ServedCredentials],
        tokens: Sequence[str],
    ) -> list[TokenPaths]:
        found = []
        for number, (each, token) in enumerate(zip(served, tokens, strict=True)):
            profile = self._profiles[number]
            roles = RolePaths(renewals, number, profile.role_life(), self._args.allow_role or ())
            paths = {b"/": each, profile_path(profile.plan.profile): each}
            found.append(TokenPaths(token.encode("ascii"), paths, roles.find))
        return found

    def _listening(self) -> Listening:
        """Return where it listens. Raises UsageError if it cannot."""
        insecure = self._args.insecure_listen
        found = inherited_listener(self._context.settings.get)
        if found is None:
            root = self._context.runtime.root
            return Listening.at(self._args.listen, ec2=self._args.ec2, insecure=insecure, root=root)
        if self._args.listen:
            raise UsageError(
                "--listen and the socket of the service manager exclude each other",
                hint="leave --listen out of ExecStart=, or ListenStream= out of the unit",
            )
        origin = "the socket of the service manager"
        check_address(found.getsockname()[0], origin, insecure=insecure)
        return Listening(found)

    def _take_signals(self, loop: EventLoop, renewals: Renewals) -> None:
        reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        for number in (*_ENDING, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _nothing)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

        def on_signals(_events: int) -> None:
            numbers = set(os.read(reading, 512))
            if signal.SIGHUP in numbers:
                renewals.reload()
            self._ends = self._ends or not numbers.isdisjoint(_ENDING)

        loop.watch(reading, on_signals)

    def _print(self, host: str) -> None:
        """Print how clients find the credentials, as lines for an environment file."""
        lines = []
        if self._args.ec2:
            lines = [
                f"# {printable(self._profiles[0].plan.profile)}",
                f"AWS_EC2_METADATA_SERVICE_ENDPOINT=http://{host}/",
                f"AWS_EC2_METADATA_V1_DISABLED={'false' if self._args.imds_v1 else 'true'}",
            ]
        for profile, path in zip(self._profiles, self._files.paths, strict=False):
            lines += [
                f"# {printable(profile.plan.profile)}",
                f"AWS_CONTAINER_CREDENTIALS_FULL_URI=http://{host}/",
                f"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE={printable(path)}",
            ]
        self._context.reporter.result("\n".join(lines), flush=True)


def check_options(args: argparse.Namespace, profiles: int) -> None:
    """Raise UsageError for options that do not go together."""
    if args.ec2:
        if profiles != 1:
            raise UsageError("--ec2 serves one profile: an instance has one role")
        for name, given in (("--token-file", args.token_file), ("--allow-role", args.allow_role)):
            if given:
                raise UsageError(f"{name} does not go with --ec2, which knows no token of its own")
        refuse_unknown_users(allow=args.allow_local_users)
    elif args.imds_v1 or args.allow_local_users:
        option = "--imds-v1" if args.imds_v1 else "--allow-local-users"
        raise UsageError(f"{option} goes with --ec2")


def _nothing(_number: int, _frame: object) -> None:
    """Handle a signal: the wake-up descriptor does the work."""
