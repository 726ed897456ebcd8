"""Rotator of batches for the command line: it resolves profiles and rotates their keys."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from filevault.cli import obtain
from filevault.cli.profiles import Profiles
from filevault.config.overrides import read_overrides
from filevault.plan.planner import PlanOptions
from filevault.plan.shared_sessions import SharedSessionProvider, SharedSessions
from filevault.rotation.batch import Target
from filevault.rotation.outcome import RotationOptions
from filevault.sources.stored import item_reference
from filevault.system.printable import printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from filevault.cli.context import Context
    from filevault.cli.open_vault import OpenVault
    from filevault.cli.reporter import Reporter
    from filevault.cli.rotation_push import Publisher
    from filevault.credentials import AccessKey, Credentials
    from filevault.mfa.token_code import TokenCode
    from filevault.rotation.items import Items
    from filevault.rotation.keys import UserKeys
    from filevault.rotation.outcome import Outcome
    from filevault.sources.source import CredentialProvider, Step


class ProfileRotator:
    """Rotate the keys of profiles, as the options ask; a `batch.Rotator`.

    Args:
        args: the options of `rotate`.
        opened: the vault.
        context: the run's dependencies.
        items: the vault's items; they may be loaded later.
        publisher: checks repositories before anything is created.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        opened: OpenVault,
        context: Context,
        items: Items,
        publisher: Publisher,
    ) -> None:
        self._args = args
        self._opened = opened
        self._context = context
        self._items = items
        self._publisher = publisher
        self._progress = _Progress(context.reporter)
        self._token_code: TokenCode | None = None
        self._sessions = SharedSessions()
        self._profiles: Profiles | None = None
        self._options = RotationOptions(
            args.keep_old, args.grace, args.older_than, args.delete_orphan
        )

    def target(self, name: str, *, as_user: bool = False) -> Target:
        """Resolve a profile. Raises ConfigError, NotFoundError.

        With `as_user`, or `--no-session`, the role of the stored key's own section is left out:
        the user signs.
        """
        options = PlanOptions(no_session=self._args.no_session, for_iam=True)

        if self._profiles is None:
            overrides = read_overrides(self._context.settings, self._args.region)
            opened = self._opened
            self._profiles = Profiles(
                self._context, opened.choice, opened.vault, overrides, self._items
            )
        profile = self._profiles.resolve(name)
        role = profile.role_arn if profile.source == "stored" else None
        if role is not None and (as_user or options.no_session):
            profile, role = profile._replace(role_arn=None), None
        return Target(name, profile, self._profiles.plan(profile, options), role)

    def account_of(self, target: Target, key: AccessKey) -> str:
        """Ask AWS for the account of a key. Raises AwsError, NetworkError, ConfigError."""
        return self._user_keys(target).identity_of(key).account

    def rotate(self, target: Target, primary: str, related: Sequence[str]) -> Outcome:
        """Rotate the key in the related items; with `--dry-run` return a preview."""
        clock = self._context.runtime.clock
        if self._args.dry_run:
            from filevault.rotation.preview import preview

            return preview(self._items, primary, self._options, target.name, clock())
        from filevault.rotation.job import Job
        from filevault.rotation.retry import Retry
        from filevault.rotation.run import Rotation

        self._publisher.prepare(related)
        if self._token_code is None:
            self._token_code = obtain.token_code(self._args, self._context)
        runtime = self._context.runtime
        sessions = self._opened.sessions_to_delete()

        def drop_sessions(item: str) -> None:
            if sessions is not None:
                sessions.drop_source(item_reference(item))

        retry = Retry(runtime.sleep, runtime.boottime, self._progress)
        job = Job(target.name, self._items, primary, self._user_keys(target), retry)
        self._progress.profile = target.name
        rotation = Rotation(
            job,
            self._options,
            clock=clock,
            progress=self._progress,
            drop_sessions=drop_sessions,
        )
        try:
            return rotation.run()
        finally:
            self._context.reporter.end_countdown()

    def warn_of_unused_code(self) -> None:
        """Warn of a token code that no call of the run needed."""
        if self._token_code is not None:
            obtain.warn_of_unused_code(self._token_code, self._context)

    def _user_keys(self, target: Target) -> UserKeys:
        from filevault.rotation.keys import UserKeys

        allow_http = self._context.settings.allow_http
        return UserKeys(target, lambda: self._session(target), allow_http=allow_http)

    def _session(self, target: Target) -> Credentials | None:
        """Obtain the session that the plan of a profile ends in, None for a plan without one.

        It is not cached, since it would be one of a key that is about to be deleted.
        """
        from filevault.plan.providers import Dependencies, build
        from filevault.sources.source import SourceDependencies

        if target.plan.step.is_long_term:
            return None
        context, code = self._context, self._token_code
        assert code is not None  # noqa: S101 - for mypy
        key_id = self._items.stored(target.item).key.access_key_id

        def share(step: Step, source: CredentialProvider) -> CredentialProvider:
            return SharedSessionProvider(self._sessions, step, key_id, source)

        dependencies = Dependencies(
            SourceDependencies(lambda: self._opened.vault),
            lambda: code,
            context.runtime.clock,
            context.reporter.warn,
            context.settings.allow_http,
        )
        return build(target.plan, dependencies, None, share).retrieve()


class _Progress:
    """Show the progress of the rotation of `profile`, as the reporter does."""

    def __init__(self, reporter: Reporter) -> None:
        self.profile = ""
        self._reporter = reporter

    def step(self, text: str) -> None:
        """Show which step begins."""
        self._reporter.step(f"{printable(self.profile)}: {text}")

    def waiting(self, event: str, left: float) -> None:
        """Count down on one line."""
        shown = printable(self.profile)
        self._reporter.countdown(f"{shown}: waiting for {event}, at most {ceil(left)}s more")
