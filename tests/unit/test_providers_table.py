"""The decision table: for each invocation exactly these calls, signed so, and these sessions."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from filevault.config.overrides import Overrides
from filevault.plan.planner import PlanOptions
from tests.fakes import FakeAws
from tests.worlds.providers import REGION, MadeCall, ProviderWorld, gst, role, role_arn

HOUR = 3600
S = "arn:aws:iam::123456789012:mfa/jonsmith"
T = "arn:aws:iam::123456789012:mfa/other"
N = "arn:aws:iam::123456789012:mfa/nomfa"

CONFIG = f"""
[default]
region = {REGION}

[profile jonsmith]
mfa_serial = {S}

[profile nomfa]

[profile alias]
source_profile = nomfa

[profile same]
source_profile = jonsmith
mfa_serial = {S}

[profile ro]
source_profile = jonsmith
role_arn = {role_arn("ro")}

[profile r1]
source_profile = jonsmith
role_arn = {role_arn("r1")}
mfa_serial = {S}

[profile r2]
source_profile = r1
role_arn = {role_arn("r2")}
mfa_serial = {S}

[profile r3]
source_profile = r2
role_arn = {role_arn("r3")}

[profile r1alias]
source_profile = r1

[profile r1behind]
source_profile = same
role_arn = {role_arn("r1")}
mfa_serial = {S}

[profile r2behind]
source_profile = r1alias
role_arn = {role_arn("r2")}
mfa_serial = {S}

[profile xbehind]
source_profile = same
role_arn = {role_arn("x")}
mfa_serial = {T}

[profile x]
source_profile = jonsmith
role_arn = {role_arn("x")}
mfa_serial = {T}

[profile rt]
source_profile = r1
role_arn = {role_arn("r2")}
mfa_serial = {T}

[profile self]
role_arn = {role_arn("self")}
mfa_serial = {S}

[profile selftarget]
source_profile = self
role_arn = {role_arn("r2")}
mfa_serial = {S}

[profile selfalias]
source_profile = self
mfa_serial = {S}

[profile dur]
source_profile = nomfa
role_arn = {role_arn("dur")}
duration_seconds = 7200

[profile guide]
source_profile = nomfa
role_arn = {role_arn("r1")}
mfa_serial = {N}

[profile guide2]
source_profile = nomfa
role_arn = {role_arn("r2")}
mfa_serial = {N}

[profile guidechain]
source_profile = guide
role_arn = {role_arn("r2")}
mfa_serial = {N}

[profile guidebehind]
source_profile = alias
role_arn = {role_arn("r1")}
mfa_serial = {N}

[profile guidefree]
source_profile = guide
role_arn = {role_arn("r3")}

[profile bare]
source_profile = nomfa
role_arn = {role_arn("r1")}

[profile barechain]
source_profile = bare
role_arn = {role_arn("r2")}
mfa_serial = {N}

[profile short]
source_profile = nomfa
role_arn = {role_arn("dur")}
duration_seconds = 900
"""


@pytest.fixture
def rig(aws: FakeAws, tmp_path: Path) -> ProviderWorld:
    aws.clock.freeze(1_795_470_000)
    rig = ProviderWorld(aws, tmp_path, CONFIG)
    jonsmith = rig.store("jonsmith", mfa_serial=S)
    aws.add_mfa_device(jonsmith, T)
    rig.store("self", jonsmith)
    rig.store("nomfa", mfa_serial=N)
    for name in ("ro", "r1", "r2", "r3", "x", "self", "dur"):
        aws.add_role(name, max_session_duration=12 * HOUR)
    return rig


class DecisionRow(NamedTuple):
    """One row: the invocation, its calls in order, and which sessions are kept."""

    title: str
    profile: str
    calls: list[MadeCall]
    kept: list[tuple[str, str]]
    options: PlanOptions = PlanOptions()
    overrides: Overrides = Overrides()


def _gst_of(*owners: str) -> list[tuple[str, str]]:
    return [(owner, "get-session-token") for owner in owners]


def _roles(*owners: str) -> list[tuple[str, str]]:
    return [(owner, "assume-role") for owner in owners]


TABLE = [
    DecisionRow("u --no-session", "jonsmith", [], [], PlanOptions(no_session=True)),
    DecisionRow("u", "jonsmith", [gst(8 * HOUR, S)], _gst_of("jonsmith")),
    DecisionRow(
        "u -d 2h", "jonsmith", [gst(7200, S)], _gst_of("jonsmith"), PlanOptions(duration=7200)
    ),
    DecisionRow(
        "u AWS_SESSION_TOKEN_TTL=12h",
        "jonsmith",
        [gst(12 * HOUR, S)],
        _gst_of("jonsmith"),
        PlanOptions(
            session_token_ttl=12 * HOUR, chained_session_token_ttl=900, assume_role_ttl=900
        ),
    ),
    DecisionRow(
        "u AWS_SESSION_TOKEN_TTL=12h -d 36h",
        "jonsmith",
        [gst(36 * HOUR, S)],
        _gst_of("jonsmith"),
        PlanOptions(session_token_ttl=12 * HOUR, duration=36 * HOUR),
    ),
    DecisionRow("nomfa", "nomfa", [gst(HOUR)], _gst_of("nomfa")),
    DecisionRow("nomfa --no-session", "nomfa", [], [], PlanOptions(no_session=True)),
    DecisionRow("nomfa -d 20m", "nomfa", [gst(1200)], _gst_of("nomfa"), PlanOptions(duration=1200)),
    DecisionRow("ro", "ro", [role("ro", HOUR, by="key")], _roles("ro")),
    DecisionRow(
        "r1",
        "r1",
        [gst(8 * HOUR, S), role("r1", HOUR, by=1)],
        [*_gst_of("jonsmith"), *_roles("r1")],
    ),
    DecisionRow(
        "r1 AWS_CHAINED_SESSION_TOKEN_TTL=2h",
        "r1",
        [gst(7200, S), role("r1", HOUR, by=1)],
        [*_gst_of("jonsmith"), *_roles("r1")],
        PlanOptions(chained_session_token_ttl=7200, session_token_ttl=900),
    ),
    DecisionRow(
        "r1 -d 30m",
        "r1",
        [gst(1800, S), role("r1", 1800, by=1)],
        [*_gst_of("jonsmith"), *_roles("r1")],
        PlanOptions(duration=1800),
    ),
    DecisionRow(
        "r1 -d 2h", "r1", [role("r1", 7200, S, by="key")], _roles("r1"), PlanOptions(duration=7200)
    ),
    DecisionRow(
        "r1 AWS_ASSUME_ROLE_TTL=2h",
        "r1",
        [role("r1", 7200, S, by="key")],
        _roles("r1"),
        PlanOptions(assume_role_ttl=7200),
    ),
    DecisionRow(
        "r1 --no-session",
        "r1",
        [role("r1", HOUR, S, by="key")],
        _roles("r1"),
        PlanOptions(no_session=True),
    ),
    DecisionRow(
        "r2",
        "r2",
        [gst(8 * HOUR, S), role("r1", HOUR, by=1), role("r2", HOUR, by=2)],
        [*_gst_of("jonsmith"), *_roles("r1", "r2")],
    ),
    DecisionRow(
        "r2 -d 4h",
        "r2",
        [gst(4 * HOUR, S), role("r1", HOUR, by=1), role("r2", HOUR, by=2)],
        [*_gst_of("jonsmith"), *_roles("r1", "r2")],
        PlanOptions(duration=4 * HOUR),
    ),
    DecisionRow(
        "r2 --no-session",
        "r2",
        [role("r1", HOUR, S, by="key"), role("r2", HOUR, by=1)],
        _roles("r1", "r2"),
        PlanOptions(no_session=True),
    ),
    DecisionRow(
        "r3, a chain of three with the last without MFA",
        "r3",
        [
            gst(8 * HOUR, S),
            role("r1", HOUR, by=1),
            role("r2", HOUR, by=2),
            role("r3", HOUR, by=3),
        ],
        [*_gst_of("jonsmith"), *_roles("r1", "r2", "r3")],
    ),
    DecisionRow(
        "only the role has the device, as in the AWS CLI's guide",
        "guide",
        [gst(8 * HOUR, N), role("r1", HOUR, by=1)],
        [*_roles("guide"), *_gst_of("nomfa")],
    ),
    DecisionRow(
        "only the role has the device, -d 30m",
        "guide",
        [gst(1800, N), role("r1", 1800, by=1)],
        [*_roles("guide"), *_gst_of("nomfa")],
        PlanOptions(duration=1800),
    ),
    DecisionRow(
        "only the role has the device, -d 2h",
        "guide",
        [role("r1", 7200, N, by="key")],
        _roles("guide"),
        PlanOptions(duration=7200),
    ),
    DecisionRow(
        "only the role has the device, --no-session",
        "guide",
        [role("r1", HOUR, N, by="key")],
        _roles("guide"),
        PlanOptions(no_session=True),
    ),
    DecisionRow(
        "only the roles of a chain have the device",
        "guidechain",
        [gst(8 * HOUR, N), role("r1", HOUR, by=1), role("r2", HOUR, by=2)],
        [*_roles("guide", "guidechain"), *_gst_of("nomfa")],
    ),
    DecisionRow(
        "only the first role of a chain has the device",
        "guidefree",
        [gst(8 * HOUR, N), role("r1", HOUR, by=1), role("r3", HOUR, by=2)],
        [*_roles("guide", "guidefree"), *_gst_of("nomfa")],
    ),
    DecisionRow(
        "only the role has the device, behind an alias of the user",
        "guidebehind",
        [gst(8 * HOUR, N), role("r1", HOUR, by=1)],
        [*_roles("guidebehind"), *_gst_of("nomfa")],
    ),
    DecisionRow(
        "a role with the device after one without",
        "barechain",
        [role("r1", HOUR, by="key"), role("r2", HOUR, by=1)],
        _roles("bare", "barechain"),
    ),
    DecisionRow("x", "x", [role("x", HOUR, T, by="key")], _roles("x")),
    DecisionRow(
        "a role of another device behind an alias with the user's",
        "xbehind",
        [role("x", HOUR, T, by="key")],
        _roles("xbehind"),
    ),
    DecisionRow(
        "rt, a second role with another device",
        "rt",
        [gst(8 * HOUR, S), role("r1", HOUR, by=1), role("r2", HOUR, by=2)],
        [*_gst_of("jonsmith"), *_roles("r1", "rt")],
    ),
    DecisionRow("self", "self", [role("self", HOUR, S, by="key")], _roles("self")),
    DecisionRow(
        "self -d 2h",
        "self",
        [role("self", 7200, S, by="key")],
        _roles("self"),
        PlanOptions(duration=7200),
    ),
    DecisionRow(
        "a role that follows a role with its own key",
        "selftarget",
        [gst(8 * HOUR, S), role("self", HOUR, by=1), role("r2", HOUR, by=2)],
        [*_roles("self"), *_gst_of("self"), *_roles("selftarget")],
    ),
    DecisionRow(
        "an alias of a role with its own key",
        "selfalias",
        [role("self", HOUR, S, by="key")],
        _roles("self"),
    ),
    DecisionRow("dur", "dur", [role("dur", 7200, by="key")], _roles("dur")),
    DecisionRow(
        "dur AWS_ASSUME_ROLE_TTL=3h",
        "dur",
        [role("dur", 3 * HOUR, by="key")],
        _roles("dur"),
        PlanOptions(assume_role_ttl=3 * HOUR),
    ),
    DecisionRow(
        "dur AWS_ASSUME_ROLE_TTL=3h -d 20m",
        "dur",
        [role("dur", 1200, by="key")],
        _roles("dur"),
        PlanOptions(assume_role_ttl=3 * HOUR, duration=1200),
    ),
    DecisionRow(
        "a role of fifteen minutes", "short", [role("dur", 900, by="key")], _roles("short")
    ),
    DecisionRow(
        "nomfa AWS_ROLE_ARN=R",
        "nomfa",
        [role("ro", HOUR, by="key")],
        _roles("nomfa"),
        overrides=Overrides(role_arn=role_arn("ro")),
    ),
    DecisionRow(
        "nomfa AWS_MFA_SERIAL=N",
        "nomfa",
        [gst(8 * HOUR, N)],
        _gst_of("nomfa"),
        overrides=Overrides(mfa_serial=N),
    ),
    DecisionRow(
        "dur AWS_MFA_SERIAL=N -d 1h",
        "dur",
        [gst(HOUR, N), role("dur", HOUR, by=1)],
        [*_roles("dur"), *_gst_of("nomfa")],
        PlanOptions(duration=HOUR),
        Overrides(mfa_serial=N),
    ),
    DecisionRow("an alias without role", "alias", [gst(HOUR)], _gst_of("nomfa")),
    DecisionRow("an alias with the same device", "same", [gst(8 * HOUR, S)], _gst_of("jonsmith")),
    DecisionRow(
        "one role of twelve hours behind an alias",
        "r1alias",
        [role("r1", 12 * HOUR, S, by="key")],
        _roles("r1"),
        PlanOptions(duration=12 * HOUR),
    ),
    DecisionRow(
        "one role of twelve hours with an alias between it and the key",
        "r1behind",
        [role("r1", 12 * HOUR, S, by="key")],
        _roles("r1behind"),
        PlanOptions(duration=12 * HOUR),
    ),
    DecisionRow(
        "one role at the default duration, alias between it and the key",
        "r1behind",
        [gst(8 * HOUR, S), role("r1", HOUR, by=1)],
        [*_gst_of("jonsmith"), *_roles("r1behind")],
    ),
    DecisionRow(
        "two roles with an alias between them, twelve hours",
        "r2behind",
        [gst(12 * HOUR, S), role("r1", HOUR, by=1), role("r2", HOUR, by=2)],
        [*_gst_of("jonsmith"), *_roles("r1", "r2behind")],
        PlanOptions(duration=12 * HOUR),
    ),
]


@pytest.mark.parametrize("row", TABLE, ids=[row.title for row in TABLE])
def test_each_invocation_makes_exactly_the_calls_of_its_row(
    rig: ProviderWorld, row: DecisionRow
) -> None:
    credentials = rig.run(row.profile, row.options, row.overrides)

    made = rig.made()
    assert made == row.calls
    assert sorted(rig.kept()) == sorted(row.kept)
    assert len(rig.asked) == sum(call.mfa is not None for call in made)
    if made:
        session = rig.aws.session(credentials.access_key_id)
        assert session.secret_access_key == credentials.secret_access_key
        assert session.session_token == credentials.session_token
        assert credentials.expiration == session.expiration
        assert credentials.expiration == rig.aws.clock() + made[-1].seconds
    else:
        assert credentials.session_token is None
        assert credentials.expiration is None

    # The same again: nothing is called, asked or decrypted, and the same comes out.
    opened = list(rig.keys.opened)
    assert rig.run(row.profile, row.options, row.overrides) == credentials
    assert rig.made() == []
    if made:
        assert rig.keys.opened == opened


@pytest.mark.parametrize("row", TABLE, ids=[row.title for row in TABLE])
def test_without_a_cache_the_calls_are_the_same_and_nothing_is_kept(
    rig: ProviderWorld, row: DecisionRow
) -> None:
    rig.run(row.profile, row.options, row.overrides, caching=False)

    assert rig.made() == row.calls
    assert rig.kept() == []
    assert rig.keys.read == []
