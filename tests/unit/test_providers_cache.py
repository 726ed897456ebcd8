"""Sessions across runs: one code for many roles, edits that miss, renewal, parallel misses."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from filevault.config.overrides import Overrides
from filevault.errors import ConfigError, ItemNotFoundError, MfaError
from filevault.plan.planner import PlanOptions
from filevault.plan.providers import build
from filevault.sessions.cached_provider import Caching
from tests.fakes import FakeAws
from tests.worlds.providers import PATIENT, ProviderWorld, gst, role, role_arn

HOUR = 3600
START = 1_795_470_000
S = "arn:aws:iam::123456789012:mfa/jonsmith"

ROLE_LINES = {
    "region": "eu-west-1",
    "source_profile": "jonsmith",
    "role_arn": role_arn("r1"),
    "mfa_serial": S,
    "external_id": "outside",
    "role_session_name": "work",
    "session_tags": "team=blue",
    "transitive_session_tags": "team",
    "source_identity": "someone",
    "duration_seconds": "3600",
}


def config(*sections: tuple[str, dict[str, str]]) -> str:
    return "".join(
        f"[profile {name}]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items())
        for name, lines in sections
    )


USER_LINES = {"region": "eu-west-1", "mfa_serial": S}


@pytest.fixture
def rig(aws: FakeAws, tmp_path: Path) -> ProviderWorld:
    aws.clock.freeze(START)
    others = [
        (
            name,
            {
                "region": "eu-west-1",
                "source_profile": "jonsmith",
                "role_arn": role_arn(name),
                "mfa_serial": S,
            },
        )
        for name in ("ra", "rb", "rc")
    ]
    rig = ProviderWorld(
        aws, tmp_path, config(("jonsmith", USER_LINES), ("r1", dict(ROLE_LINES)), *others)
    )
    rig.store("jonsmith", mfa_serial=S)
    for name in ("r1", "r2", "ra", "rb", "rc"):
        aws.add_role(name, max_session_duration=12 * HOUR)
    return rig


def test_one_token_code_lasts_a_morning_of_three_roles(rig: ProviderWorld) -> None:
    for number, name in enumerate(("ra", "rb", "rc")):
        rig.run(name)
        expected = [role(name, HOUR, by="kept" if number else 1)]
        assert rig.made() == ([] if number else [gst(8 * HOUR, S)]) + expected
        rig.aws.clock.advance(2 * HOUR)
    rig.run("ra")  # its own hour is over, the session's eight are not
    assert rig.made() == [role("ra", HOUR, by="kept")]
    assert rig.asked == [(S, "jonsmith")]
    assert rig.keys.opened == ["jonsmith"]
    rig.aws.clock.advance(2 * HOUR)
    rig.run("ra")
    assert rig.made() == [gst(8 * HOUR, S), role("ra", HOUR, by=1)]
    assert len(rig.asked) == 2


def test_a_session_handed_out_serves_the_roles_and_the_reverse(rig: ProviderWorld) -> None:
    direct = rig.run("jonsmith")
    rig.run("ra")
    assert rig.made() == [gst(8 * HOUR, S), role("ra", HOUR, by=1)]
    assert rig.run("jonsmith") == direct


def test_a_duration_that_is_asked_for_is_not_served_by_a_session_of_another(
    rig: ProviderWorld,
) -> None:
    rig.run("jonsmith")
    rig.run("jonsmith", PlanOptions(duration=1200))
    rig.run("jonsmith", PlanOptions(duration=1200))
    assert rig.made() == [gst(8 * HOUR, S), gst(1200, S)]
    # Where it is only a source, any serves that lives long enough.
    rig.run("ra", PlanOptions(duration=1200))
    assert rig.made() == [role("ra", 1200, by="kept")]


@pytest.mark.parametrize("seconds", [8 * HOUR, HOUR, 900])
def test_a_kept_session_of_a_role_serves_below_another_role(
    rig: ProviderWorld, seconds: int
) -> None:
    rig.config += config(
        ("above", {"source_profile": "ra", "role_arn": role_arn("rb"), "mfa_serial": S})
    )
    rig.run("ra", PlanOptions(duration=seconds))
    rig.aws.reset_calls()
    rig.run("above")
    assert rig.made() == [role("rb", HOUR, by="kept")]
    assert len(rig.asked) == 1
    rig.aws.clock.advance(seconds - 59)
    rig.run("above", PlanOptions(duration=900), refresh=False)
    assert [call.role for call in rig.made() if call.role] == ["ra", "rb"]


def test_a_kept_session_of_a_role_with_other_parameters_serves_nothing(rig: ProviderWorld) -> None:
    rig.config += config(("above", {"source_profile": "ra", "role_arn": role_arn("rb")}))
    rig.run("ra", PlanOptions(duration=8 * HOUR))
    rig.config = rig.config.replace(
        f"role_arn = {role_arn('ra')}\n", f"role_arn = {role_arn('ra')}\nexternal_id = other\n"
    )
    rig.aws.reset_calls()
    rig.run("above")
    assert [call.role for call in rig.made()] == [None, "ra", "rb"]


def test_a_kept_session_of_a_role_that_aws_refuses_below_another_is_renewed(
    rig: ProviderWorld,
) -> None:
    rig.config += config(("above", {"source_profile": "ra", "role_arn": role_arn("rb")}))
    rig.run("ra", PlanOptions(duration=8 * HOUR))
    rig.aws.directory.sessions.clear()
    rig.aws.reset_calls()
    rig.run("above")
    assert [call.outcome for call in rig.aws.calls] == ["InvalidClientTokenId", "ok", "ok", "ok"]
    assert ("ra", "assume-role") in rig.kept()


EDITS: dict[str, Callable[[dict[str, str]], Any]] = {
    "role ARN": lambda lines: lines.update(role_arn=role_arn("r2")),
    "external id": lambda lines: lines.update(external_id="inside"),
    "no external id": lambda lines: lines.pop("external_id"),
    "session name": lambda lines: lines.update(role_session_name="play"),
    "no session name": lambda lines: lines.pop("role_session_name"),
    "tag value": lambda lines: lines.update(session_tags="team=red"),
    "tag key": lambda lines: lines.update(session_tags="crew=blue", transitive_session_tags=""),
    "transitive tags": lambda lines: lines.pop("transitive_session_tags"),
    "source identity": lambda lines: lines.update(source_identity="another"),
    "no source identity": lambda lines: lines.pop("source_identity"),
    "duration": lambda lines: lines.update(duration_seconds="1800"),
    "no MFA": lambda lines: lines.pop("mfa_serial"),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_editing_any_input_of_a_role_misses_and_undoing_it_hits(
    rig: ProviderWorld, edit: Callable[[dict[str, str]], Any]
) -> None:
    first = rig.run("r1")
    rig.made()
    lines = dict(ROLE_LINES)
    edit(lines)
    before = rig.config
    rig.config = config(("jonsmith", USER_LINES), ("r1", lines))
    assert rig.run("r1") != first
    assert rig.made()[-1].action == "AssumeRole"
    rig.config = before
    assert rig.run("r1") == first
    assert rig.made() == []


def test_editing_the_source_of_a_role_misses(rig: ProviderWorld) -> None:
    first = rig.run("ra")
    rig.made()
    other = rig.store("other")
    rig.config += config(("other", USER_LINES))
    rig.config = rig.config.replace("source_profile = jonsmith", "source_profile = other")
    rig.aws.add_mfa_device(other, "arn:aws:iam::123456789012:mfa/other")
    rig.config = rig.config.replace(S, "arn:aws:iam::123456789012:mfa/other")
    assert rig.run("ra") != first
    assert [call.action for call in rig.made()] == ["GetSessionToken", "AssumeRole"]


def test_another_mfa_device_of_a_user_misses(rig: ProviderWorld) -> None:
    first = rig.run("jonsmith")
    second = "arn:aws:iam::123456789012:mfa/second"
    rig.aws.add_mfa_device(rig.users["jonsmith"], second)
    assert rig.run("jonsmith", overrides=Overrides(mfa_serial=second)) != first
    assert rig.made() == [gst(8 * HOUR, S), gst(8 * HOUR, second)]


def test_roles_that_alone_name_the_device_share_one_code(rig: ProviderWorld) -> None:
    rig.config = rig.config.replace(f"mfa_serial = {S}\n", "", 1)
    assert rig.plan("jonsmith").step != rig.plan("ra").step
    for name in ("ra", "rb", "rc"):
        rig.run(name)
    assert rig.made() == [
        gst(8 * HOUR, S),
        role("ra", HOUR, by=1),
        role("rb", HOUR, by=1),
        role("rc", HOUR, by=1),
    ]
    assert len(rig.asked) == 1


def test_another_endpoint_misses(rig: ProviderWorld) -> None:
    rig.run("ra")
    rig.made()
    url = rig.aws.url.replace("127.0.0.1", "localhost")
    rig.run("ra", overrides=Overrides(endpoint_urls={"sts": url}))
    assert [call.action for call in rig.made()] == ["GetSessionToken", "AssumeRole"]


def test_a_replaced_key_misses_all_along_the_chain(rig: ProviderWorld) -> None:
    rig.run("ra")
    user = rig.users["jonsmith"]
    fresh = rig.aws.add_access_key(user)
    rig.keys.put("jonsmith", fresh.access_key_id, fresh.secret_access_key)
    rig.made()
    rig.run("ra")
    actions = [(call.action, call.access_key_id) for call in rig.aws.calls]
    assert actions[0] == ("GetSessionToken", fresh.access_key_id)
    assert len(actions) == 2


@pytest.mark.parametrize("name", ["jonsmith", "ra"])
def test_a_rotation_between_reading_the_key_and_the_call_costs_nothing(
    rig: ProviderWorld, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    user = rig.users["jonsmith"]
    read = rig.keys.access_key

    def overtaken(*given: Any) -> Any:
        key = read(*given)
        if len(rig.keys.opened) == 1:
            fresh = rig.aws.add_access_key(user)
            rig.keys.put(given[0], fresh.access_key_id, fresh.secret_access_key)
            rig.aws.directory.delete_access_key(rig.aws.directory.keys[key.access_key_id])
        return key

    monkeypatch.setattr(rig.keys, "access_key", overtaken)
    assert rig.run(name).access_key_id.startswith("ASIA")
    assert len(rig.asked) == 1, "the code of the refused call serves"


def test_a_key_that_goes_between_plan_and_use_is_told_even_where_a_session_is_left(
    rig: ProviderWorld,
) -> None:
    rig.run("ra")
    planned = rig.plan("ra")
    rig.keys.remove("jonsmith")
    with rig.cache() as cache, pytest.raises(ItemNotFoundError):
        build(
            planned,
            rig.dependencies(),
            Caching(cache, lambda: PATIENT),
        )


# Renewal


@pytest.mark.parametrize(
    ("duration", "min_ttl", "left_to_serve"),
    [(HOUR, None, 900), (1200, None, 300), (HOUR, 1800, 1800), (HOUR, 60, 60)],
)
def test_what_is_handed_out_is_renewed_below_its_minimum(
    rig: ProviderWorld, duration: int, min_ttl: int | None, left_to_serve: int
) -> None:
    options = PlanOptions(duration=duration)
    first = rig.run("ra", options)
    rig.made()
    rig.aws.clock.advance(duration - left_to_serve)
    assert rig.run("ra", options, min_ttl=min_ttl) == first
    rig.aws.clock.advance(1)
    renewed = rig.run("ra", options, min_ttl=min_ttl)
    assert renewed != first
    assert rig.made()[-1] == role(
        "ra", duration, by="kept" if duration - left_to_serve < duration - 60 else 1
    )


def test_a_source_serves_until_its_last_minute(rig: ProviderWorld) -> None:
    rig.run("ra")
    rig.made()
    rig.aws.clock.advance(8 * HOUR - 60)
    rig.run("rb")
    assert rig.made() == [role("rb", HOUR, by="kept")]
    rig.aws.clock.advance(1)
    rig.run("rc")
    assert rig.made() == [gst(8 * HOUR, S), role("rc", HOUR, by=1)]


def test_a_minimum_of_the_whole_life_renews_each_time(rig: ProviderWorld) -> None:
    for _ in range(3):
        rig.run("ra", min_ttl=HOUR)
    assert rig.made() == [gst(8 * HOUR, S), *[role("ra", HOUR, by=1)] * 3]
    assert len(rig.files()) == 2


def test_refresh_passes_over_the_whole_chain_and_keeps_what_it_got(rig: ProviderWorld) -> None:
    rig.run("ra")
    rig.made()
    rig.aws.clock.advance(100)
    renewed = rig.run("ra", refresh=True)
    assert rig.made() == [gst(8 * HOUR, S), role("ra", HOUR, by=1)]
    assert rig.run("ra") == renewed
    assert rig.made() == []
    assert len(rig.files()) == 2


def test_without_role_caching_only_the_session_below_is_kept(rig: ProviderWorld) -> None:
    rig.run("ra", cache_roles=False)
    rig.run("ra", cache_roles=False)
    assert rig.made() == [gst(8 * HOUR, S), role("ra", HOUR, by=1), role("ra", HOUR, by=1)]
    assert rig.kept() == [("jonsmith", "get-session-token")]


def test_a_generated_session_name_is_one_that_sts_takes_and_new_each_time(
    rig: ProviderWorld,
) -> None:
    for _ in range(2):
        rig.run("ra", refresh=True)
        rig.aws.clock.advance(1)
    rig.run("r1")
    names = [
        call.parameters["RoleSessionName"] for call in rig.aws.calls if call.action == "AssumeRole"
    ]
    assert all(re.fullmatch(r"filevault-\d{19}", name) for name in names[:2])
    assert names[0] != names[1]
    assert names[2] == "work"


def test_an_unsafe_endpoint_is_refused_before_anything_is_read_or_asked(rig: ProviderWorld) -> None:
    overrides = Overrides(endpoint_urls={"sts": "http://10.0.0.1"})
    with pytest.raises(ConfigError, match="plain http"):
        rig.run("ra", overrides=overrides)
    assert (rig.keys.read, rig.keys.opened, rig.asked) == ([], [], [])


# Failures of the cache


def test_damaged_sessions_are_obtained_again(rig: ProviderWorld) -> None:
    rig.run("ra")
    rig.made()
    for path in rig.files():
        path.write_bytes(b"?")
    rig.run("ra")
    assert rig.made() == [gst(8 * HOUR, S), role("ra", HOUR, by=1)]
    assert rig.warnings == []


def test_credentials_are_handed_out_where_they_cannot_be_kept(rig: ProviderWorld) -> None:
    (rig.folder / "state").mkdir()
    (rig.folder / "state/sessions").write_text("in the way")
    assert rig.run("ra").session_token
    assert rig.made() == [gst(8 * HOUR, S), role("ra", HOUR, by=1)]
    assert len(rig.warnings) == 1


def test_a_refused_call_keeps_nothing_and_leaves_no_lock(rig: ProviderWorld) -> None:
    with pytest.raises(MfaError):
        rig.run("jonsmith", code="12345")
    assert rig.files() == []
    assert list((rig.folder / "state/locks").iterdir()) == []
    assert rig.run("jonsmith").session_token


# Parallel


def test_64_parallel_misses_make_one_call_each_and_ask_once(rig: ProviderWorld) -> None:
    results: list[Any] = []
    barrier = threading.Barrier(64)

    def one() -> None:
        barrier.wait()
        try:
            results.append(rig.run("ra"))
        except BaseException as error:  # noqa: BLE001  the assert below shows it
            results.append(error)

    threads = [threading.Thread(target=one) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rig.made() == [gst(8 * HOUR, S), role("ra", HOUR, by=1)]
    assert len(rig.asked) == 1
    assert len(results) == 64
    assert len(set(results)) == 1
    assert results[0].session_token


PROCESS = """
import sys
from tests.fakes import FakeAws
from tests.worlds.providers import ProviderWorld
from pathlib import Path

class Remote:
    url = sys.argv[2]
    class clock:
        def __new__(cls): return float(sys.argv[5])

rig = ProviderWorld(Remote, Path(sys.argv[1]), Path(sys.argv[1], "config").read_text())
rig.keys.put("nomfa", sys.argv[3], sys.argv[4])
print(rig.run("plain").access_key_id)
"""


def test_parallel_processes_make_one_call(rig: ProviderWorld) -> None:
    user = rig.store("nomfa")
    rig.aws.add_role("plain")
    (rig.folder / "config").write_text(
        config(
            ("nomfa", {}),
            ("plain", {"source_profile": "nomfa", "role_arn": role_arn("plain")}),
        )
    )
    arguments = [str(rig.folder), rig.aws.url, user.access_key_id, user.secret_access_key]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, *arguments, str(START)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    answers = {process.communicate(timeout=60)[0] for process in processes}
    assert [process.returncode for process in processes] == [0] * 6
    assert rig.made() == [role("plain", HOUR, by="key")]
    assert len(answers) == 1


# The hot path

HOT = """
import sys
from filevault.aws.endpoint import Endpoint
from filevault.credentials import Credentials
from filevault.system.files import Folder
from filevault.plan.providers import Dependencies, build
from filevault.plan.planner import PlanOptions, Plan, plan
from filevault.calls.assume_role import AssumeRole
from filevault.sessions import SessionCache
from filevault.sessions.cached_provider import Caching
from filevault.sessions.session_hash import session_name
from filevault.sources.source import SourceDependencies
from filevault.sources.stored import StoredKey

class Keys:
    def access_key(self, name, identify=None): raise AssertionError("decrypted")
    def item_digest(self, name): return "00" * 32

step = AssumeRole("r", StoredKey("u"), "arn:aws:iam::123456789012:role/r", 3600, Endpoint("x"))
planned = Plan(step, "r", None, None, ())
with Folder.make(sys.argv[1]) as state:
    cache = SessionCache(state, "ab" * 16, lambda: bytes(32), lambda: 1000.0, print)
    kept = Credentials("ASIA", "s", "t", 4600)
    cache.store(session_name(step, "00" * 32), kept)
    dependencies = Dependencies(SourceDependencies(Keys), None, lambda: 1000.0, None)
    found = build(planned, dependencies, Caching(cache, None)).retrieve()
    assert found == kept
print(*sorted(sys.modules))
"""


def test_a_hit_imports_nothing_heavy(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:] = {sys.path!r}\n{HOT}", tmp_path],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(result.stdout.split())
    heavy = {
        "argparse",
        "asyncio",
        "boto3",
        "botocore",
        "dataclasses",
        "hashlib",
        "inspect",
        "logging",
        "pathlib",
        "subprocess",
        "urllib",
        "filevault.aws.clients",
        "filevault.aws.errors",
        "filevault.aws.sts",
        "filevault.calls.get_federation_token",
        "filevault.calls.granted_life",
    }
    assert loaded & heavy == set()
