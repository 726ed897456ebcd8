"""StandingServer: obtains the first credentials of several profiles, and becomes their server."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING, NoReturn

from filevault.cli.first_credentials import EndedError, obtain_first
from filevault.cli.listening import Listening, check_address
from filevault.cli.replace_process import replace_process
from filevault.cli.served_profiles import ServedProfiles, forget_secrets, refuse_unknown_users
from filevault.cli.serving_process import SIGNALS
from filevault.cli.serving_state import ProfileState, ServingState
from filevault.cli.token_files import TokenFiles, token_paths
from filevault.errors import UsageError
from filevault.server.renewals import Renewals
from filevault.server.renewing_process import RenewingProcess
from filevault.server.service_manager import inherited_listener

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from filevault.cli.context import Context
    from filevault.cli.served_profiles import ServedProfile
    from filevault.server.served_credentials import ServedCredentials
    from filevault.vault.choose import VaultChoice


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

    def run(self) -> NoReturn:
        """Obtain the first credentials, and replace this process by the one that serves them.

        Raises what obtaining them raises, UsageError and StorageError.
        """
        try:
            with contextlib.ExitStack() as opened:
                self._run(opened)
        except EndedError as ended:
            ended.end()
            raise

    def _run(self, opened: contextlib.ExitStack) -> NoReturn:
        context, settings = self._context, self._context.settings
        self._files.check()
        listening = opened.enter_context(self._listening())
        process = RenewingProcess(self._work, (listening.listener.fileno(),))
        opened.callback(process.close)
        renewals = Renewals(process, context.runtime.clock, context.reporter.warn_again)
        served = self._first(renewals)
        forget_secrets(settings)
        program = context.runtime.program
        words = [*program, "serve", self._state(listening, process, served).word()]
        words += [each.plan.profile for each in self._profiles]  # for people who read ps(1)
        context.reporter.flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        replace_process(program[0], words, settings.program_environment())

    def _state(
        self, listening: Listening, process: RenewingProcess, served: Sequence[ServedCredentials]
    ) -> ServingState:
        args, settings = self._args, self._context.settings
        profiles = zip(self._profiles, served, strict=True)
        return ServingState(
            profiles=tuple(ProfileState.of(profile, each) for profile, each in profiles),
            listener=listening.listener.fileno(),
            adds_address=listening.adds_address,
            renewing=process.fileno(),
            renewing_pid=process.pid,
            token_files=tuple(self._files.paths),
            roles=tuple(args.allow_role or ()),
            ec2=args.ec2,
            lazy=args.lazy,
            version_1=args.imds_v1,
            any_user=args.allow_local_users,
            notify=settings.get("NOTIFY_SOCKET"),
            debug=settings.debug,
        )

    def _first(self, renewals: Renewals) -> list[ServedCredentials]:
        """Return the credentials to serve; they are there already unless `--lazy` is given."""
        lazy = bool(self._args.lazy)
        found = []
        for number, profile in enumerate(self._profiles):
            served = renewals.add(profile.served(lazy=lazy, ec2=self._args.ec2), number)
            found.append(served)
            if not lazy:
                obtain_first(renewals, served)
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


def check_options(args: argparse.Namespace, profiles: int) -> None:
    """Raise UsageError for options that do not go together."""
    if args.ec2:
        if profiles != 1:
            raise UsageError(
                "--ec2 serves one profile: an instance has one role",
                hint="start one server for each profile",
            )
        for name, given in (("--token-file", args.token_file), ("--allow-role", args.allow_role)):
            if given:
                raise UsageError(
                    f"{name} does not go with --ec2, which knows no token of its own",
                    hint="leave one of them out",
                )
        refuse_unknown_users(allow=args.allow_local_users)
    elif args.imds_v1 or args.allow_local_users:
        option = "--imds-v1" if args.imds_v1 else "--allow-local-users"
        raise UsageError(f"{option} goes with --ec2", hint="add --ec2, or leave it out")
