"""`filevault rotate`: replace stored keys by new ones."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from filevault import errors
from filevault.cli import handout, output
from filevault.cli.arguments import duration
from filevault.printable import printable
from filevault.providers.steps import StoredKey, stored_key
from filevault.rotation.outcome import Outcome, Wish
from filevault.rotation.report import as_json, line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from filevault.cli.context import Context
    from filevault.profiles import Profile
    from filevault.providers.mfa import TokenCode
    from filevault.providers.plan import Plan
    from filevault.rotation.access import Access
    from filevault.rotation.items import Items

DESCRIPTION = """Replace the stored key of profiles by a new one.

The new key is made, stored, and proven to work before the old one is deactivated and deleted. A
run that is cut off, wherever that is, is finished or undone by the next one."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("profiles", metavar="PROFILE", nargs="*")
    parser.add_argument("--all", action="store_true", help="every stored key")
    parser.add_argument(
        "--older-than",
        type=duration,
        metavar="TIME",
        help="only keys of at least that age, e.g. 90d",
    )
    parser.add_argument(
        "-n",
        "--no-session",
        action="store_true",
        help="never call GetSessionToken; a plain profile signs with its long-term key",
    )
    parser.add_argument(
        "--keep-old", action="store_true", help="leave the old key at AWS, inactive"
    )
    parser.add_argument(
        "--grace",
        type=duration,
        metavar="TIME",
        help="leave the old key inactive for a time; the first run after it deletes it",
    )
    parser.add_argument(
        "--delete-orphan",
        metavar="KEYID",
        help="first delete this key of the user, which the vault does not have",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="tell what would be done; call nothing"
    )
    parser.add_argument("--json", action="store_true", help="print an array of objects")
    parser.add_argument(
        "-t",
        "--mfa-token",
        metavar="CODE",
        help="the MFA code; - reads it from stdin (every local user can see arguments)",
    )
    parser.add_argument("--region", metavar="NAME", help="use this region for all calls")


def run(args: argparse.Namespace, context: Context) -> int:
    """Rotate one key after the other and report."""
    _check_options(args)
    vault = context.vault
    names = vault.names() if args.all else list(dict.fromkeys(args.profiles))
    with _alone(context):
        from filevault.rotation.items import Items

        items = Items(vault, context.runtime.clock, context.warn)
        rotations = _Rotations(args, context, items)
        # What cannot be resolved shall not be learnt after the vault was opened.
        first = None if args.all else rotations.target(names[0])
        if not args.dry_run:
            vault.check_recipients()
        items.load()
        context.remember_slot()
        try:
            outcomes = [
                rotations.rotate(name, first if number == 0 else None)
                for number, name in enumerate(names)
            ]
        except KeyboardInterrupt:
            context.say("what was begun is finished by the next filevault rotate")
            raise
    return _report(args, outcomes)


def _check_options(args: argparse.Namespace) -> None:
    if args.all == bool(args.profiles):
        raise errors.UsageError(
            "profiles and --all do not go together" if args.all else "no profile is given",
            hint="name one or more, or give --all",
        )
    if any(not name for name in args.profiles):
        raise errors.UsageError("a profile is empty", hint="is a variable of the script unset?")
    if args.keep_old and args.grace is not None:
        raise errors.UsageError("--keep-old and --grace do not go together")
    if args.delete_orphan is not None and len(args.profiles) != 1:
        raise errors.UsageError("--delete-orphan goes with exactly one profile")


@contextlib.contextmanager
def _alone(context: Context) -> Iterator[None]:
    """Let no second rotation of the vault begin. Raises LockedError if one is under way."""
    from filevault.locks import key_lock

    def give_up() -> None:
        raise errors.LockedError(
            "another rotation of this vault is under way", hint="wait for it to end"
        )

    state = context.vault.state
    if state is None:
        raise errors.StorageError(
            "the state directory cannot be written, so a second rotation could not be kept away",
            hint="set XDG_STATE_HOME to a folder of yours that can be written",
        )
    with key_lock(state, "rotate.lock", give_up):
        yield


class _Rotations:
    """What the rotations of one run share: items, options, the one who is asked for codes."""

    def __init__(self, args: argparse.Namespace, context: Context, items: Items) -> None:
        self._args = args
        self._context = context
        self._items = items
        self._handled: set[str] = set()
        self._watch = _Watch(context)
        self._token_code: TokenCode | None = None
        self._wish = Wish(args.keep_old, args.grace or 0, args.older_than, args.delete_orphan)

    def target(self, name: str) -> tuple[Profile, Plan]:
        """Resolve a profile. Raises ConfigError, NotFoundError and their kin."""
        from filevault.providers.plan import Options, plan

        options = Options(no_session=self._args.no_session, for_iam=True)
        return handout.with_profile(
            self._args, self._context, name, lambda profile: (profile, plan(profile, options))
        )

    def rotate(self, name: str, target: tuple[Profile, Plan] | None) -> Outcome:
        """Rotate the key of one profile; what fails is in the outcome."""
        try:
            profile, made = target or self.target(name)
            item = stored_key(made.step).profile
            self._items.get(item)
            leader = self._items.leader(item)
        except errors.InterruptedByUserError:
            raise
        except errors.FilevaultError as error:
            return Outcome(name, "failed", error=error)
        related = [each.name for each in self._items.related(leader)]
        if not self._handled.isdisjoint(related):
            return Outcome(name, "same", item)
        self._handled.update(related)
        if self._args.dry_run:
            from filevault.rotation.preview import preview

            return preview(self._items, leader, self._wish, name, self._context.runtime.clock())
        return self._machine(name, profile, made, leader)

    def _machine(self, name: str, profile: Profile, made: Plan, leader: str) -> Outcome:
        from filevault.rotation.machine import Machine
        from filevault.rotation.patience import Patience

        context, runtime = self._context, self._context.runtime
        sessions = context.kept_sessions()

        def drop(item: str) -> None:
            if sessions is not None:
                sessions.drop_source(f"item:{item}")

        self._watch.begin(name)
        machine = Machine(
            self._items,
            leader,
            self._access(name, profile, made),
            self._wish,
            profile=name,
            clock=runtime.clock,
            sleep=runtime.sleep,
            patience=Patience(runtime.sleep, self._watch),
            progress=self._watch,
            drop_sessions=drop,
        )
        try:
            return machine.run()
        finally:
            self._watch.end()

    def _access(self, name: str, profile: Profile, made: Plan) -> Access:
        from filevault.aws.client import Clients
        from filevault.aws.endpoint import FALLBACK_REGION, Endpoint
        from filevault.providers.build import build
        from filevault.providers.steps import AssumeRole
        from filevault.rotation.access import Access
        from filevault.sessions.waiting import Waiting

        context, runtime = self._context, self._context.runtime
        allow_http = context.settings.options.allow_http
        if self._token_code is None:
            self._token_code = handout.token_code(self._args, context)
        provider = None
        if not isinstance(made.step, StoredKey):
            # No session is kept: it would be one of a key that is about to go.
            provider = build(
                made,
                context.vault,
                None,
                self._token_code,
                runtime.clock,
                Waiting(context.say, lambda: context.prompter.present, runtime.sleep),
                context.warn,
                allow_http=allow_http,
            )
        sts = Endpoint(
            profile.region or FALLBACK_REGION,
            profile.sts_endpoint_url,
            profile.sts_regional_endpoints or "regional",
            profile.use_fips_endpoint,
            profile.use_dualstack_endpoint,
        )
        return Access(
            Clients(profile=name, allow_http=allow_http),
            sts,
            sts._replace(url=profile.iam_endpoint_url),
            provider,
            role=made.step.role_arn if isinstance(made.step, AssumeRole) else None,
            profile=name,
            item=stored_key(made.step).profile,
        )


class _Watch:
    """Shows the progress to a person, and nothing to a log."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._on = sys.stderr.isatty()
        self._profile = ""
        self._counting = False

    def begin(self, profile: str) -> None:
        """Hear of which profile the steps are."""
        self._profile = printable(profile)

    def end(self) -> None:
        """Finish the line of a countdown."""
        if self._counting:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._counting = False

    def step(self, text: str) -> None:
        """Show what is done now."""
        self.end()
        if self._on or self._context.settings.debug:
            self._context.say(f"{self._profile}: {text}")

    def waiting(self, what: str, left: float) -> None:
        """Count down on one line."""
        if self._on:
            self._counting = True
            line = f"\rfilevault: {self._profile}: waiting for {what}, at most {int(left)}s more"
            print(f"{line}\x1b[K", end="", file=sys.stderr, flush=True)


def _report(args: argparse.Namespace, outcomes: list[Outcome]) -> int:
    """Print what came of it, errors on stderr, and return the exit status.

    Raises the error where there is just one profile.
    """
    if args.json:
        import json

        print(json.dumps([as_json(outcome) for outcome in outcomes], indent=2))
    elif args.dry_run or sys.stderr.isatty():
        for outcome in outcomes:
            print(line(outcome))
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    if not failed:
        return 0
    some = any(outcome.done or outcome.result == "partly" for outcome in outcomes)
    if len(outcomes) == 1:
        raise _single(failed[0])
    for outcome in failed:
        assert outcome.error is not None  # noqa: S101 - for mypy
        said = f"{printable(outcome.profile)}: {outcome.error.message}"
        output.report(errors.FilevaultError(said, hint=outcome.error.hint))
    statuses = [outcome.error.exit_status for outcome in failed if outcome.error is not None]
    if all(outcome.done for outcome in failed):
        return statuses[0]  # all is done, but not committed
    return errors.PartlyDoneError.exit_status if some else statuses[0]


def _single(outcome: Outcome) -> errors.FilevaultError:
    error = outcome.error
    assert error is not None  # noqa: S101 - for mypy
    if outcome.result != "partly":
        return error
    partly = errors.PartlyDoneError(
        f"the new key {outcome.new_key} is in place, but the old one, {outcome.old_key}, is still "
        f"{outcome.old_state}: {error.message}",
        hint=error.hint or "give the command again to finish",
    )
    partly.__cause__ = error
    return partly
