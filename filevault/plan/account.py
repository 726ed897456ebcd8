"""The AWS account that the credentials of a plan belong to; SDKs choose endpoints by it.

A wrong account is worse than none, so a certain one overrides one that is only configured: a
role's is part of its ARN, and the id of a key made since 2019 contains its account.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.credentials import account_of
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filevault.config.profile import Profile
    from filevault.credentials import Credentials
    from filevault.plan.planner import Plan
    from filevault.sources.source import Step


def configured_account(
    step: Step, profiles: Sequence[Profile]
) -> tuple[str | None, tuple[str, ...]]:
    """Return the account that the AWS config says, and warnings about what contradicts it.

    Args:
        step: the last step of the plan.
        profiles: the chain, as `Profile.chain` returns it.
    """
    if step.assumed_role is not None:
        role = _of_arn(step.assumed_role)
        claims = [each for each in profiles if each.name == step.profile]
        return role, _conflicts(claims, role, "its role is in account")
    found = next((each.account_id for each in profiles if each.account_id), None)
    owner = printable(profiles[0].name)
    return found, _conflicts(profiles, found, f"{owner!r}, whose credentials it uses, has")


def account_of_credentials(
    plan: Plan, credentials: Credentials
) -> tuple[str | None, tuple[str, ...]]:
    """Return the account of what a plan obtained, and warnings, as `configured_account`.

    The account in a key id counts only where AWS itself made the key.
    """
    certain = credentials.account_id
    if plan.step.assumed_role is not None:
        return plan.account_id or certain, ()
    if certain is None and plan.at_aws:
        certain = account_of(credentials.access_key_id)
    if certain is None or plan.account_id in (None, certain):
        return certain or plan.account_id, ()
    claim = (
        f"aws_account_id of profile {printable(plan.profile)!r} says {plan.account_id}, but its "
        f"credentials belong to account {certain}: {certain} is used"
    )
    return certain, (claim,)


def _conflicts(profiles: Sequence[Profile], account: str | None, reason: str) -> tuple[str, ...]:
    return tuple(
        f"aws_account_id of profile {printable(each.name)!r} says {each.account_id}, but {reason} "
        f"{account}: {account} is used"
        for each in profiles
        if account is not None and each.account_id not in (None, account)
    )


def _of_arn(arn: str) -> str | None:
    parts = arn.split(":")
    found = parts[4] if len(parts) > 5 else ""
    return found if len(found) == 12 and found.isascii() and found.isdigit() else None
