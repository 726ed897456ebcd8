"""Profiles for the accounts and roles of Identity Center: their names and their sections."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from filevault.errors import UsageError
from filevault.system.printable import printable
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from filevault.aws.sso_portal import SsoAccount
    from filevault.config.aws_config import AwsConfig
    from filevault.config.sso_session import SsoSession

TEMPLATE = "{account_name}-{role_name}"
_FIELDS = ("account_name", "account_id", "role_name", "session_name")
_LONGEST = 128


class SsoAssignment(Record):
    """A role that the signed-in user may use in an account."""

    account: SsoAccount
    role: str


class NewProfiles(Record):
    """Profiles to write, by name, and how many assignments have one already."""

    profiles: dict[str, dict[str, str]]
    present: int


def check_template(template: str) -> None:
    """Raise UsageError for a template of names that has unknown fields."""
    rest = template
    for field in _FIELDS:
        rest = rest.replace("{" + field + "}", "")
    if "{" in rest or "}" in rest or printable(template) != template:
        fields = ", ".join("{" + field + "}" for field in _FIELDS)
        raise UsageError(
            f"--name {printable(template, 80)!r} is not a template of names",
            hint=f"it may contain {fields}",
        )


def profiles_of(config: AwsConfig, session: SsoSession) -> dict[tuple[str, str], list[str]]:
    """Return which profiles there are for an account and a role of a session.

    Also those that name its start URL in another way: they have the same roles.
    """
    found: dict[tuple[str, str], list[str]] = {}
    for name in config.profile_names():
        section = config.profile(name)
        if section is None:
            continue
        values = section.values
        if _start_url(config, values) == session.start_url:
            key = (values.get("sso_account_id", ""), values.get("sso_role_name", ""))
            found.setdefault(key, []).append(name)
    return found


def _start_url(config: AwsConfig, values: Mapping[str, str]) -> str | None:
    """Return the start URL of a profile's session, None if it has none."""
    named = values.get("sso_session")
    if named is None:
        return values.get("sso_start_url")
    section = config.sso_session(named)
    return None if section is None else section.values.get("sso_start_url")


def new_profiles(
    assignments: Sequence[SsoAssignment],
    session: SsoSession,
    config: AwsConfig,
    *,
    template: str,
    region: str | None,
) -> NewProfiles:
    """Return the profiles for the assignments that have none, each with a name that is free."""
    present = profiles_of(config, session)
    # Accounts may have one name: then the id decides which profile is whose.
    names = [_name(each, session, template) for each in assignments]
    shared = {name for name, number in Counter(names).items() if number > 1}
    taken = {*config.profile_names(), *shared}
    made: dict[str, dict[str, str]] = {}
    count = 0
    for each, short in zip(assignments, names, strict=True):
        if (each.account.id, each.role) in present:
            count += 1
            continue
        name = _free(_names(short, each.account.id), taken)
        taken.add(name)
        made[name] = _values(each, session, region)
    return NewProfiles(made, count)


def _values(each: SsoAssignment, session: SsoSession, region: str | None) -> dict[str, str]:
    if session.name is not None:
        values = {"sso_session": session.name}
    else:
        values = {"sso_start_url": session.start_url, "sso_region": session.region}
    values |= {"sso_account_id": each.account.id, "sso_role_name": each.role}
    return values if region is None else {**values, "region": region}


def _name(each: SsoAssignment, session: SsoSession, template: str) -> str:
    """Return the name that the template gives."""
    values = {
        "account_name": each.account.name or each.account.id,
        "account_id": each.account.id,
        "role_name": each.role,
        "session_name": session.name or "sso",
    }
    name = template
    for field, value in values.items():
        name = name.replace("{" + field + "}", _plain(value))
    return name[:_LONGEST]


def _names(name: str, account_id: str) -> Iterable[str]:
    """Return the names to try: the short one, then longer ones."""
    yield name
    with_id = f"{name[: _LONGEST - 13]}-{account_id}"
    yield with_id
    number = 2
    while True:
        yield f"{with_id}-{number}"
        number += 1


def _free(names: Iterable[str], taken: set[str]) -> str:
    return next(name for name in names if name and name not in taken)


def _plain(text: str) -> str:
    """Return a name of AWS's as a part of a profile's name: letters, digits and `-_.@+`."""
    return re.sub(r"[^\w.@+-]+", "-", printable(text), flags=re.ASCII).strip("-") or "x"
