"""Batch: rotate the keys of several profiles in one run, each key once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from filevault.aws.errors import name_key
from filevault.errors import (
    ConfigError,
    FilevaultError,
    InterruptedByUserError,
    ProviderError,
)
from filevault.rotation.outcome import Outcome
from filevault.system.printable import printable, shell_word
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from filevault.config.profile import Profile
    from filevault.credentials import AccessKey
    from filevault.plan.planner import Plan
    from filevault.rotation.items import Items


class Target(Record):
    """A profile whose key is to be rotated.

    `name` is the name that was given, `own_role` the role of the section that belongs to the
    stored key itself, if the plan ends in it, else None.
    """

    name: str
    profile: Profile
    plan: Plan
    own_role: str | None

    @property
    def item(self) -> str:
        """The item with the stored key that the plan begins with."""
        return self.plan.step.source.profile

    @property
    def user_command(self) -> str:
        """The command that rotates the key with the user's own credentials."""
        profile = self.profile.chain[0]
        option = "" if profile.role_arn is None else "-n "
        return f"filevault rotate {option}{shell_word(profile.name)}"


class Rotator(Protocol):
    """Protocol: resolve profiles and rotate single keys for a Batch."""

    def target(self, name: str, *, as_user: bool = False) -> Target:
        """Resolve a profile; with `as_user` without the role of the stored key's own section."""
        ...

    def account_of(self, target: Target, key: AccessKey) -> str:
        """Ask AWS for the account of a key."""
        ...

    def rotate(self, target: Target, primary: str, related: Sequence[str]) -> Outcome:
        """Rotate the key in the related items, or preview that."""
        ...


class Batch:
    """The rotations of one run.

    Args:
        items: the vault's items, loaded.
        rotator: rotates a single key.
        retry_as_user: whether a key that its own section's role cannot rotate is rotated with the
            user's credentials: with `--all` the key is meant, not the profile.
        dry_run: whether AWS must not be called.
        notice: called with the failure of a profile whose key another profile rotated.
    """

    def __init__(
        self,
        items: Items,
        rotator: Rotator,
        *,
        retry_as_user: bool,
        dry_run: bool,
        notice: Callable[[str], None],
    ) -> None:
        self._items = items
        self._rotator = rotator
        self._retry_as_user = retry_as_user
        self._dry_run = dry_run
        self._notice = notice
        self._handled: dict[str, str] = {}  # items, and the profile that rotated their key

    def rotate(self, name: str, target: Target | None = None) -> Outcome:
        """Rotate the key of one profile; failures are in the outcome.

        `target` is the profile if it was resolved before.
        """
        try:
            target = target or self._rotator.target(name)
        except FilevaultError as error:
            return Outcome(name, "failed", error=error)
        outcome = self._attempt(target)
        if target.own_role is None or not _is_refusal(outcome):
            return outcome
        if not self._retry_as_user:
            return _with_way_without_role(outcome, target)
        again = self._attempt(self._rotator.target(name, as_user=True))
        return _with_both_reasons(outcome, again) if _is_refusal(again) else again

    def settled(self, outcomes: Sequence[Outcome | str]) -> list[Outcome | str]:
        """Return the final outcomes; texts stay as they are.

        What failed through one profile may have succeeded through a later one.
        """
        return [each if isinstance(each, str) else self._settled(each) for each in outcomes]

    def _attempt(self, target: Target) -> Outcome:
        item = target.item
        related: tuple[str, ...] = ()
        try:
            self._items.get(item, None if self._dry_run else self._identify(target))
            primary = self._items.primary(item)
            related = self._items.related(primary)
            same_as = self._handled.get(item) or self._handled_by(related)
            if same_as is not None:
                return Outcome(target.name, "same", primary, related, same_as=same_as)
            outcome = self._rotator.rotate(target, primary, related)
        except InterruptedByUserError:
            raise
        except FilevaultError as error:
            # The traceback would keep the variables of all calls.
            outcome = Outcome(
                target.name, "failed", item, related, error=error.with_traceback(None)
            )
        if outcome.error is not None:
            named = name_key(outcome.error, item)
            if named is not outcome.error:
                named.__cause__ = outcome.error
            outcome = outcome._replace(error=named)
        if not outcome.unfinished:
            self._handled.update(dict.fromkeys(related, target.name))
        return outcome

    def _handled_by(self, items: Sequence[str]) -> str | None:
        """Return the profile of this run through which the key of the items was rotated."""
        return next((self._handled[each] for each in items if each in self._handled), None)

    def _identify(self, target: Target) -> Callable[[AccessKey], str]:
        return lambda key: self._rotator.account_of(target, key)

    def _settled(self, outcome: Outcome) -> Outcome:
        same_as = self._handled_by(outcome.items)
        # An orphan stays in the report.
        if same_as is None or not outcome.unfinished or outcome.orphan:
            return outcome
        if outcome.error is not None:
            self._notice(f"{printable(outcome.profile)}: {outcome.error.message}")
        return Outcome(outcome.profile, "same", outcome.item, outcome.items, same_as=same_as)


def _is_refusal(outcome: Outcome) -> bool:
    """Return whether AWS refused the credentials of a rotation, before anything was created."""
    return (
        outcome.result == "failed"
        and outcome.new_key is None
        and outcome.orphan is None
        and isinstance(outcome.error, ConfigError | ProviderError)
    )


def _with_both_reasons(outcome: Outcome, again: Outcome) -> Outcome:
    """Return an outcome that says why neither the role nor the user could rotate the key."""
    error, second = outcome.error, again.error
    if error is None or second is None or second.message == error.message:
        return outcome
    hint = "; or ".join(each for each in (error.hint, second.hint) if each)
    return outcome._replace(
        error=error.add_context(f"without the role: {second.message}", hint=hint or None)
    )


def _with_way_without_role(outcome: Outcome, target: Target) -> Outcome:
    """Return an outcome whose hint names the command that needs no role."""
    error, command = outcome.error, target.user_command
    if error is None or command in (error.hint or ""):
        return outcome
    other = f"{error.hint}; or without the role " if error.hint else "without the role "
    hint = f"{other}{printable(target.own_role)}: {command}"
    return outcome._replace(error=error.add_context(hint=hint))
