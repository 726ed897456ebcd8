"""The rotations of one run: for each profile who signs, and what came of it."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from filevault import errors
from filevault.cli import obtain
from filevault.cli.profiles import Profiles
from filevault.config.overrides import read_overrides
from filevault.plan.shared_sessions import Shared, SharedSessions
from filevault.rotation.outcome import Outcome, RotationOptions
from filevault.rotation.rollback import amend
from filevault.system.printable import printable, shell_word
from filevault.system.record import Record

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from filevault.cli.context import Context
    from filevault.cli.push import Publisher
    from filevault.cli.wiring import OpenVault
    from filevault.config.profile import Profile
    from filevault.credentials import AccessKey
    from filevault.mfa.token_code import TokenCode
    from filevault.plan.planner import Plan
    from filevault.rotation.access import Access
    from filevault.rotation.items import Items
    from filevault.sources.source import CredentialProvider, Step


class Target(Record):
    """A profile and how it gets its credentials.

    `own_role` is the role of the section that belongs to the stored key itself, if the plan ends
    in it.
    """

    profile: Profile
    plan: Plan
    own_role: str | None


class Rotations:
    """What the rotations of one run share: items, options, the one who is asked for codes."""

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
        # The items that are dealt with, and through which profile.
        self._handled: dict[str, str] = {}
        self._watch = _Watch(context)
        self._token_code: TokenCode | None = None
        self._sessions = SharedSessions()
        self._profiles: Profiles | None = None
        self._wish = RotationOptions(args.keep_old, args.grace, args.older_than, args.delete_orphan)

    def target(self, name: str, *, as_user: bool = False) -> Target:
        """Resolve a profile. Raises ConfigError, NotFoundError and their kin.

        With `as_user`, or `--no-session`, a role of the section that belongs to the stored key
        itself is left out: the user signs.
        """
        from filevault.plan.planner import PlanOptions

        options = PlanOptions(no_session=self._args.no_session, for_iam=True)

        if self._profiles is None:
            overrides = read_overrides(self._context.settings, self._args.region)
            self._profiles = Profiles(
                self._context, self._opened.choice, self._opened.vault, overrides
            )
        profile = self._profiles.resolve(name)
        role = profile.role_arn if profile.source == "stored" else None
        if role is not None and (as_user or options.no_session):
            profile, role = profile._replace(role_arn=None), None
        return Target(profile, self._profiles.plan(profile, options), role)

    def rotate(self, name: str, target: Target | None) -> Outcome:
        """Rotate the key of one profile; what fails is in the outcome."""
        try:
            target = target or self.target(name)
        except errors.FilevaultError as error:
            return Outcome(name, "failed", error=error)
        outcome = self._attempt(name, target)
        if target.own_role is None or not _was_refused(outcome):
            return outcome
        if self._args.all:
            # The role is what the profile is for, not what the key needs to be rotated.
            again = self._attempt(name, self.target(name, as_user=True))
            if not _was_refused(again):
                return again
            return _with_both_reasons(outcome, again)
        return _with_way_out(outcome, target)

    def _attempt(self, name: str, target: Target) -> Outcome:
        from filevault.aws.errors import name_key

        item = target.plan.step.source.profile
        related: tuple[str, ...] = ()
        try:
            self._items.get(item, self._identify(name, target))
            leader = self._items.leader(item)
            related = tuple(each.name for each in self._items.related(leader))
            before = self._dealt_with_by(related)
            if before is not None:
                return Outcome(name, "same", leader, related, same_as=before)
            if not self._args.dry_run:
                self._publisher.prepare(related)
            outcome = self._outcome(name, target, leader)
            if outcome.error is not None:
                outcome = outcome._replace(error=name_key(outcome.error, item))
        except (errors.InterruptedByUserError, errors.DeclinedError):
            raise
        except errors.FilevaultError as error:
            named = name_key(error, item)
            named.__traceback__ = None  # it keeps everything that the calls have had in hand
            return Outcome(name, "failed", item, related, error=named)
        if outcome.result not in ("failed", "partly"):
            self._handled.update(dict.fromkeys(related, name))
        return outcome

    def _dealt_with_by(self, items: Sequence[str]) -> str | None:
        return next((self._handled[each] for each in items if each in self._handled), None)

    def settled(self, outcomes: Sequence[Outcome | str]) -> list[Outcome | str]:
        """Return the outcomes of all, texts as they are.

        What failed through one profile may have worked by another.

        A key that was left behind stays in the report.
        """
        return [each if isinstance(each, str) else self._settled(each) for each in outcomes]

    def tell_unused_code(self) -> None:
        """Warn of a token code that no call of the run needed."""
        if self._token_code is not None:
            obtain.warn_of_unused_code(self._token_code, self._context)

    def _settled(self, outcome: Outcome) -> Outcome:
        later = self._dealt_with_by(outcome.items)
        if later is None or outcome.result not in ("failed", "partly") or outcome.orphan:
            return outcome
        if outcome.error is not None:
            self._context.reporter.notice(f"{printable(outcome.profile)}: {outcome.error.message}")
        return Outcome(outcome.profile, "same", outcome.item, outcome.items, same_as=later)

    def _outcome(self, name: str, target: Target, leader: str) -> Outcome:
        if self._args.dry_run:
            from filevault.rotation.preview import preview

            return preview(self._items, leader, self._wish, name, self._context.runtime.clock())
        return self._machine(name, target, leader)

    def _machine(self, name: str, target: Target, leader: str) -> Outcome:
        from filevault.rotation.retry import Patience
        from filevault.rotation.run import Machine

        runtime = self._context.runtime
        sessions = self._opened.sessions_to_delete()

        def drop(item: str) -> None:
            if sessions is not None:
                sessions.drop_source(f"item:{item}")

        self._watch.begin(name)
        machine = Machine(
            self._items,
            leader,
            self._access(name, target),
            self._wish,
            profile=name,
            clock=runtime.clock,
            sleep=runtime.sleep,
            patience=Patience(runtime.sleep, runtime.boottime, self._watch),
            progress=self._watch,
            drop_sessions=drop,
        )
        try:
            return machine.run()
        finally:
            self._watch.end()

    def _identify(self, name: str, target: Target) -> Callable[[AccessKey], str] | None:
        """Return what asks AWS for the account of a key, None in a dry run, which calls nothing."""
        if self._args.dry_run:
            return None
        allow_http = self._context.settings.allow_http

        def ask(key: AccessKey) -> str:
            from filevault.aws.clients import Clients
            from filevault.aws.sts import get_caller_identity
            from filevault.credentials import Credentials
            from filevault.plan.sts_endpoint import sts_endpoint

            return get_caller_identity(
                Clients(profile=name, allow_http=allow_http),
                sts_endpoint(target.profile, target.profile.chain),
                Credentials(key.access_key_id, key.secret_access_key),
                subject=f"profile {printable(name)!r}",
            ).account

        return ask

    def _access(self, name: str, target: Target) -> Access:
        from filevault.aws.clients import Clients
        from filevault.plan.sts_endpoint import sts_endpoint
        from filevault.plan.wiring import Dependencies, build
        from filevault.rotation.access import Access
        from filevault.sources.source import SourceDependencies

        context, runtime = self._context, self._context.runtime
        profile, made = target.profile, target.plan
        allow_http = context.settings.allow_http
        if self._token_code is None:
            self._token_code = obtain.token_code(self._args, context)
        key_id = self._items.stored(made.step.source.profile).key.access_key_id

        def share(step: Step, source: CredentialProvider) -> CredentialProvider:
            return Shared(self._sessions, step, key_id, source)

        provider = None
        if not made.step.is_long_term:
            # No session is kept: it would be one of a key that is about to go.
            dependencies = Dependencies(
                SourceDependencies(self._opened.vault),
                self._token_code,
                runtime.clock,
                context.reporter.warn,
                allow_http,
            )
            provider = build(made, dependencies, None, share)
        sts = sts_endpoint(profile, profile.chain)
        return Access(
            Clients(profile=name, allow_http=allow_http),
            Clients.short_timeouts(profile=name, allow_http=allow_http),
            sts,
            sts._replace(url=profile.iam_endpoint_url),
            provider,
            role=made.step.assumed_role,
            profile=name,
            direct=_direct(profile),
        )


class _Watch:
    """Shows the progress to a person, and nothing to a log."""

    def __init__(self, context: Context) -> None:
        self._reporter = context.reporter
        self._profile = ""

    def begin(self, profile: str) -> None:
        """Hear of which profile the steps are."""
        self._profile = printable(profile)

    def end(self) -> None:
        """Finish the line of a countdown."""
        self._reporter.end_countdown()

    def step(self, text: str) -> None:
        """Show what is done now."""
        self._reporter.step(f"{self._profile}: {text}")

    def waiting(self, what: str, left: float) -> None:
        """Count down on one line."""
        self._reporter.countdown(f"{self._profile}: waiting for {what}, at most {ceil(left)}s more")


def _was_refused(outcome: Outcome) -> bool:
    """Tell whether it failed because of who asked, before anything was made."""
    return (
        outcome.result == "failed"
        and outcome.new_key is None
        and outcome.orphan is None
        and isinstance(outcome.error, errors.ConfigError | errors.ProviderError)
    )


def _with_both_reasons(outcome: Outcome, again: Outcome) -> Outcome:
    """Say why neither the role nor the user could rotate the key."""
    error, second = outcome.error, again.error
    if error is not None and second is not None and second.message != error.message:
        amend(
            error,
            f"without the role: {second.message}",
            "; or ".join(hint for hint in (error.hint, second.hint) if hint) or None,
        )
    return outcome


def _with_way_out(outcome: Outcome, target: Target) -> Outcome:
    """Say that the key can be rotated without the role of its own section."""
    error = outcome.error
    way = _direct(target.profile)
    if error is not None and way not in (error.hint or ""):
        hint = f"{error.hint}; or without the role " if error.hint else "without the role "
        error.hint = f"{hint}{printable(target.own_role)}: {way}"
    return outcome


def _direct(profile: Profile) -> str:
    """Return the command that rotates the key with the user's own credentials."""
    profile = profile.chain[0]
    option = "" if profile.role_arn is None else "-n "
    return f"filevault rotate {option}{shell_word(profile.name)}"
