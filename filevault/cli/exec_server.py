"""`exec --server`: run a command beside a server that keeps its credentials fresh."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from filevault.cli.default_profile import warn_of_default_profile
from filevault.cli.first_credentials import EndedError, obtain_first
from filevault.cli.foreground_command import ForegroundCommand
from filevault.cli.listening import Listening
from filevault.cli.served_profiles import (
    ServedProfile,
    ServedProfiles,
    forget_secrets,
    refuse_long_term,
    refuse_unknown_users,
)
from filevault.credentials import Credentials
from filevault.errors import UsageError
from filevault.issued.child_environment import child_environment
from filevault.issued.issued_credentials import (
    ContainerVariables,
    IssuedCredentials,
    MetadataVariables,
)
from filevault.server.container_endpoint import ContainerEndpoint, TokenPaths, new_token
from filevault.server.event_loop import EventLoop
from filevault.server.http_server import HttpServer
from filevault.server.metadata_endpoint import Instance, MetadataEndpoint
from filevault.server.renewals import Renewals
from filevault.server.renewing_process import RenewingProcess
from filevault.server.role_paths import RolePaths, profile_path

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from filevault.cli.context import Context
    from filevault.plan.planner import Plan
    from filevault.server.http_server import Respond
    from filevault.server.served_credentials import ServedCredentials
    from filevault.vault.choose import VaultChoice

_NOT_YET = Credentials("", "")
"""Never issued: with an endpoint the environment has no credentials."""


class ServedCommand:
    """A command with a server.

    Args:
        args: the options.
        context: the run's dependencies.
        choice: the vault.
        plan: of the profile whose credentials are served.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        context: Context,
        choice: VaultChoice,
        plan: Plan,
    ) -> None:
        self._args = args
        self._context = context
        self._profile = ServedProfile(plan)
        self._profiles = ServedProfiles(args, context, choice, [self._profile], "exec")

    def run(self, path: str, command: Sequence[str]) -> int:
        """Obtain the first credentials, run the command, and return its status.

        Raises what obtaining raises.
        """
        import gc

        gc.enable()  # this process lives as long as the command
        context = self._context
        self._profiles.program = command[0]
        refuse_long_term(self._profile.plan)
        warn_of_default_profile(context)
        try:
            with contextlib.ExitStack() as opened:
                args = self._args
                listening = opened.enter_context(
                    Listening.at(args.listen, ec2=args.ec2_server, root=context.runtime.root)
                )
                process = RenewingProcess(self._profiles, (listening.listener.fileno(),))
                opened.callback(process.close)
                renewals = Renewals(process, context.runtime.clock, context.reporter.warn_again)
                served = self._served(renewals)
                forget_secrets(context.settings)
                loop = opened.enter_context(EventLoop())
                token = self._serve(loop, renewals, served, listening, opened)
                environment = child_environment(
                    context.settings.environ,
                    self._issued(served, listening.host, token),
                    self._profile.plan.step.source.variables,
                )
                context.reporter.flush()
                running = ForegroundCommand(path, command, environment, context.reporter)
                running.watch(loop)
                listening.run_in(loop)
                renewals.run_in(loop)
                try:
                    return running.status_in(loop)
                except Exception as error:  # noqa: BLE001 - a bug must not leave the command alone
                    context.reporter.bug(error)
                    context.reporter.trace(error)
            with EventLoop() as loop:
                running.watch(loop)
                return running.status_in(loop)
        except EndedError as ended:
            ended.end()
            raise

    def _served(self, renewals: Renewals) -> ServedCredentials:
        """Return the credentials to serve; they are there already unless `--lazy` is given."""
        lazy = bool(self._args.lazy)
        served = renewals.add(self._profile.served(lazy=lazy, ec2=self._args.ec2_server), 0)
        if not lazy:
            obtain_first(renewals, served)
        return served

    def _issued(self, served: ServedCredentials, host: str, token: str) -> IssuedCredentials:
        plan, uri = self._profile.plan, f"http://{host}/"
        found = IssuedCredentials(
            plan.profile,
            served.credentials or _NOT_YET,
            plan.region,
            plan.endpoint_url,
            served.account_id or plan.account_id,
            plan.child,
        )
        if self._args.server:
            return found._replace(container=ContainerVariables(uri, token))
        self._say_overridden()
        return found._replace(metadata=MetadataVariables(uri, self._args.imds_v1))

    def _say_overridden(self) -> None:
        """Print that a safeguard of the user's does not hold for the command."""
        if self._context.settings.get("AWS_EC2_METADATA_DISABLED") not in (None, "false"):
            self._context.reporter.say(
                "AWS_EC2_METADATA_DISABLED is not set for the command, because of --ec2-server"
            )

    def _serve(
        self,
        loop: EventLoop,
        renewals: Renewals,
        served: ServedCredentials,
        listening: Listening,
        opened: contextlib.ExitStack,
    ) -> str:
        """Start to serve; return the token."""
        host, token = listening.host, new_token()
        endpoint: Respond
        if self._args.server:
            roles = RolePaths(renewals, 0, self._profile.role_life(), self._args.allow_role or ())
            paths = {b"/": served, profile_path(self._profile.plan.profile): served}
            container = ContainerEndpoint(
                host, renewals, [TokenPaths(token.encode("ascii"), paths, roles.find)]
            )
            container.run_in(loop)
            endpoint = container
        else:
            endpoint = MetadataEndpoint(
                host,
                renewals,
                served,
                lambda: Instance(self._profile.plan.region, served.account_id),
                any_user=self._args.allow_local_users,
                version_1=self._args.imds_v1,
            )
        reporter = self._context.reporter
        log = reporter.debug if self._context.settings.debug else None
        opened.callback(HttpServer(loop, listening.listener, endpoint, log).close)
        return token


def check_options(args: argparse.Namespace) -> None:
    """Raise UsageError for options that do not go together."""
    if args.server and args.ec2_server:
        raise UsageError(
            "--server and --ec2-server exclude each other", hint="leave one of them out"
        )
    for name, given, needs, has in (
        ("--lazy", args.lazy, "--server or --ec2-server", args.server or args.ec2_server),
        ("--listen", args.listen, "--server or --ec2-server", args.server or args.ec2_server),
        ("--allow-role", args.allow_role, "--server", args.server),
        ("--imds-v1", args.imds_v1, "--ec2-server", args.ec2_server),
        ("--allow-local-users", args.allow_local_users, "--ec2-server", args.ec2_server),
    ):
        if given and not has:
            raise UsageError(f"{name} goes with {needs}", hint=f"add that, or leave {name} out")
    if args.ec2_server:
        refuse_unknown_users(allow=args.allow_local_users)
