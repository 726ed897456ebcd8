"""Web identity: every way to a token, the call that takes it, and roles on top of its role."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import botocore.session
import pytest

from filevault.aws.http_request import HttpRequest
from filevault.config.aws_config import AwsConfig
from filevault.config.overrides import Overrides
from filevault.config.profile import resolve
from filevault.config.program_chain import CHAIN
from filevault.errors import (
    AwsError,
    ConfigError,
    FilevaultError,
    NetworkError,
    NoSourceError,
    ProfileLoopError,
    ProgramError,
    ProviderError,
)
from filevault.identity_tokens.claims import claims_of, shown_claims
from filevault.plan.explain import explain, kept_until
from filevault.plan.planner import PlanOptions
from filevault.system import programs
from tests.fakes import FakeAws
from tests.fakes.ci import FakeCi
from tests.fakes.faults import Fault
from tests.fakes.identity_provider import IdentityProvider
from tests.worlds.providers import MadeCall, ProviderWorld, role, role_arn

HOUR = 3600
ISSUER = "https://ci.example"
SUBJECT = "repo:acme/web:ref:refs/heads/main"
BASE = f"[profile ci]\nregion = eu-west-1\nrole_arn = {role_arn('ci')}\n"
WEB = "AssumeRoleWithWebIdentity"


class WebWorld(ProviderWorld):
    """An account with an identity provider, and a role that trusts one of its subjects."""

    def __init__(self, aws: FakeAws, folder: Path) -> None:
        super().__init__(aws, folder, "")
        aws.clock.freeze()
        self.provider = aws.add_identity_provider(ISSUER, ("sts.amazonaws.com", "org-1"))
        self.trust(SUBJECT)
        self.file = folder / "token"

    def trust(self, subject: str, audience: str = "sts.amazonaws.com", name: str = "ci") -> None:
        found = self.aws.directory.roles.get(role_arn(name)) or self.aws.add_role(name)
        self.aws.trust_web_identity(found, self.provider, subject, audience)

    def configure(self, lines: str, more: str = "") -> WebWorld:
        self.config = f"{BASE}{lines}\n{more}"
        return self

    def put(self, token: str) -> None:
        self.file.write_text(f"\n {token}\r\n", encoding="ascii")

    def from_file(self, more: str = "") -> WebWorld:
        return self.configure(f"web_identity_token_file = {self.file}", more)


@pytest.fixture
def world(aws: FakeAws, tmp_path: Path) -> WebWorld:
    return WebWorld(aws, tmp_path)


@pytest.fixture
def ci(world: WebWorld) -> Iterator[FakeCi]:
    with FakeCi(world.provider, SUBJECT) as served:
        yield served
    assert served.defects == []


def web(seconds: int = HOUR) -> MadeCall:
    return MadeCall(WEB, seconds, None, "token", "ci")


def refused(world: WebWorld, kind: type[FilevaultError], name: str = "ci") -> FilevaultError:
    with pytest.raises(kind) as caught:
        world.run(name)
    for token in world.provider.issued:
        assert token not in f"{caught.value.message} {caught.value.hint}"
    return caught.value


# Ways to a token


SYSTEMS = {
    "file": ("web_identity_token_file = {file}", {}, True),
    "process": ("web_identity_token_process = echo x >&2; cat {file} | tr -d '\\r'", {}, True),
    "variable": ("web_identity_token_env = JOB_TOKEN", {"JOB_TOKEN": "sts.amazonaws.com"}, True),
    "github": ("web_identity_token_source = github", {}, False),
    "buildkite": ("web_identity_token_source = buildkite", {}, False),
    "gitlab": (
        "web_identity_token_source = gitlab",
        {"GITLAB_OIDC_TOKEN": "sts.amazonaws.com"},
        True,
    ),
    "gitlab by name": (
        "web_identity_token_source = gitlab\nweb_identity_token_env = AWS_TOKEN",
        {"AWS_TOKEN": "sts.amazonaws.com"},
        True,
    ),
    "circleci": (
        "web_identity_token_source = circleci",
        {"CIRCLE_OIDC_TOKEN": "org-1", "CIRCLE_OIDC_TOKEN_V2": "org-1"},
        True,
    ),
    "circleci, the older": (
        "web_identity_token_source = circleci",
        {"CIRCLE_OIDC_TOKEN": "org-1"},
        True,
    ),
    "bitbucket": (
        "web_identity_token_source = bitbucket",
        {"BITBUCKET_STEP_OIDC_TOKEN": "org-1"},
        True,
    ),
}


@pytest.mark.parametrize("system", SYSTEMS)
def test_each_way_to_a_token_gets_the_role(world: WebWorld, ci: FakeCi, system: str) -> None:
    lines, variables, padded = SYSTEMS[system]
    world.put(world.provider.issue(SUBJECT))
    for name, audience in variables.items():
        world.environ[name] = world.provider.issue(SUBJECT, audience) + ("\n" if padded else "")
        world.trust(SUBJECT, audience)
    world.environ |= {"PATH": "/usr/bin:/bin", **ci.github(), **ci.buildkite()}
    found = world.configure(lines.format(file=world.file)).run("ci")
    assert world.made() == [web()]
    session = world.aws.session(found.access_key_id)
    assert (found.account_id, found.expiration) == ("123456789012", session.expiration)
    assert world.run("ci") == found  # kept
    assert world.made() == []
    assert world.kept() == [("ci", "assume-role-with-web-identity")]


def test_a_service_is_asked_for_each_call_and_for_the_audience(world: WebWorld, ci: FakeCi) -> None:
    for source, variables in (("github", ci.github()), ("buildkite", ci.buildkite())):
        world.environ = dict(variables)
        audience = "sts.amazonaws.com.cn/a&b"
        lines = f"web_identity_token_source = {source}\nweb_identity_token_audience = {audience}"
        world.provider.audiences = (audience,)
        world.trust(SUBJECT, audience)
        ci.requests.clear()
        for _ in range(2):
            world.configure(lines).run("ci", caching=False)
        assert len(ci.requests) == 2
    assert ci.secret not in " ".join(request.target for request in ci.requests)


def test_circleci_runs_its_program_for_another_audience(world: WebWorld) -> None:
    program = world.folder / "circleci"
    program.write_text('#!/bin/sh\necho "$*" > "$(dirname "$0")/args"; cat "$(dirname "$0")/token"')
    program.chmod(0o700)
    world.environ = {"PATH": f"{world.folder}:/usr/bin:/bin"}
    world.put(world.provider.issue(SUBJECT))
    world.configure(
        "web_identity_token_source = circleci\nweb_identity_token_audience = sts.amazonaws.com"
    ).run("ci")
    args = (world.folder / "args").read_text().strip()
    assert args == 'run oidc get --claims {"aud":"sts.amazonaws.com"}'
    program.write_text("#!/bin/sh\necho no such command >&2; exit 3")
    assert "status 3: no such command" in refused_again(world).message


def refused_again(world: WebWorld) -> FilevaultError:
    with pytest.raises(ProviderError) as caught:
        world.run("ci", refresh=True)
    return caught.value


MISSING = {
    "github": ("ACTIONS_ID_TOKEN_REQUEST_URL and ACTIONS_ID_TOKEN_REQUEST_TOKEN", "id-token"),
    "gitlab": ("GITLAB_OIDC_TOKEN", "id_tokens"),
    "circleci": ("CIRCLE_OIDC_TOKEN_V2 or CIRCLE_OIDC_TOKEN", "context"),
    "buildkite": ("BUILDKITE_AGENT_ENDPOINT and BUILDKITE_JOB_ID", "Buildkite"),
    "bitbucket": ("BITBUCKET_STEP_OIDC_TOKEN", "oidc: true"),
}


@pytest.mark.parametrize("system", MISSING)
def test_outside_of_its_job_a_way_says_what_is_missing(world: WebWorld, system: str) -> None:
    variables, hint = MISSING[system]
    error = refused(world.configure(f"web_identity_token_source = {system}"), ProviderError)
    assert variables in error.message
    assert hint in str(error.hint)
    assert error.exit_status == 8
    assert world.aws.calls == []


UNUSABLE = {
    "": "is empty",
    "  \n": "is empty",
    "x" * 20001: "longer than 20000",
    "a b c d": "contains a blank",
    "abc\x1b[31m": "a control character",
    "pässe": "outside of ASCII",
    "abc": "shorter than 4",
}


@pytest.mark.parametrize("content", UNUSABLE, ids=lambda text: repr(text[:12]))
def test_what_can_be_no_token_is_not_sent(world: WebWorld, content: str) -> None:
    world.file.write_text(content, encoding="utf-8")
    error = refused(world.from_file(), ProviderError)
    assert UNUSABLE[content] in error.message
    assert content.strip() == "" or content.strip() not in error.message
    assert world.aws.calls == []


def test_a_file_that_cannot_be_read_is_named(world: WebWorld) -> None:
    assert "no such file" in refused(world.from_file(), ProviderError).message
    world.file.mkdir()
    assert "not a regular file" in refused(world, ProviderError).message


def test_a_process_that_fails_is_shown(world: WebWorld) -> None:
    world.environ = {"PATH": "/usr/bin:/bin"}
    world.configure("web_identity_token_process = echo mint is closed >&2; exit 7")
    message = refused(world, ProviderError).message
    assert message == (
        "web_identity_token_process of profile 'ci' failed with status 7: mint is closed"
    )
    world.configure("web_identity_token_process = echo \0")
    message = refused(world, ProgramError).message
    assert message == "web_identity_token_process cannot be started: it has a forbidden character"


def test_a_person_is_told_that_a_slow_process_is_waited_for(
    world: WebWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "_SILENCE", 0.05)
    world.environ = {"PATH": "/usr/bin:/bin"}
    world.configure("web_identity_token_process = sleep 0.3; echo x.y.z")
    refused(world, AwsError)
    assert world.told == ["waiting for web_identity_token_process, 120 s left; Ctrl-C ends"]


def test_a_process_does_not_run_itself(world: WebWorld) -> None:
    """It may ask filevault for its own profile by mistake, and each run would start another."""
    world.environ = {"PATH": "/usr/bin:/bin", "AWS_PROFILE": "ci", CHAIN: "outer"}
    world.configure(f"web_identity_token_process = env > {world.file}; echo x.y.z")
    refused(world, AwsError)
    environment = world.file.read_text().splitlines()
    assert f"{CHAIN}=outer,ci" in environment
    assert "AWS_PROFILE=ci" in environment
    world.file.unlink()
    world.environ[CHAIN] = "outer,ci"
    with pytest.raises(ProfileLoopError, match="web_identity_token_process of profile 'ci' runs"):
        world.run("ci", refresh=True)
    assert not world.file.exists()


# Services of CI systems


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "without a token"),
        (b"[" * 50000, "without a token"),
        (b'{"value": 5}', "without a token"),
        (b'{"value": "a b"}', "contains a blank"),
        (b'{"value": "' + b"x" * 70000 + b'"}', "longer than 65536 bytes"),
    ],
)
def test_a_strange_answer_of_a_service_is_one_error(
    world: WebWorld, ci: FakeCi, raw: bytes, says: str
) -> None:
    ci.raw = raw
    world.environ = ci.github()
    error = refused(world.configure("web_identity_token_source = github"), FilevaultError)
    assert says in error.message
    assert error.exit_status in (8, 9)


def test_a_service_is_asked_again_after_a_failure_of_its_own(
    world: WebWorld, ci: FakeCi, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused: list[float] = []
    monkeypatch.setattr("filevault.aws.http_request.time.sleep", paused.append)
    world.environ = ci.github()
    ci.statuses = [500, 503]
    world.configure("web_identity_token_source = github").run("ci")
    assert len(ci.requests) == 3
    assert paused == [0.2, 0.4]
    assert world.said == [
        f"the request for a web identity token for profile 'ci' was answered with status {status}; "
        "it is sent again, Ctrl-C ends this"
        for status in (500, 503)
    ]
    ci.statuses = [500] * 3
    assert "status 500" in refused_again(world).message
    ci.statuses = [403]
    ci.requests.clear()
    assert "status 403" in refused_again(world).message
    assert len(ci.requests) == 1


@pytest.mark.parametrize("url", ["http://ci.example/token", "ftp://x", "https://a b/"])
def test_the_secret_of_a_job_goes_to_no_unsafe_address(world: WebWorld, url: str) -> None:
    world.environ = {
        "ACTIONS_ID_TOKEN_REQUEST_URL": url,
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "s3cr3t-of-the-job",
    }
    error = refused(world.configure("web_identity_token_source = github"), ConfigError)
    assert "ACTIONS_ID_TOKEN_REQUEST_URL" in str(error.hint)
    assert "s3cr3t" not in f"{error.message}{error.hint}"


@pytest.mark.parametrize("system", ["github", "buildkite"])
@pytest.mark.parametrize("secret", ["s3cr3t\nof-the-job", "s3cr3t\u20ac", "s3cr3t\udcff"])
def test_a_secret_of_a_job_that_is_no_header_is_named_and_not_shown(
    world: WebWorld, ci: FakeCi, system: str, secret: str
) -> None:
    name = {
        "github": "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
        "buildkite": "BUILDKITE_AGENT_ACCESS_TOKEN",
    }[system]
    world.environ = {**ci.github(), **ci.buildkite(), name: secret}
    error = refused(world.configure(f"web_identity_token_source = {system}"), ConfigError)
    assert name in error.message
    assert "forbidden" in error.message
    assert "s3cr3t" not in f"{error.message}{error.hint}{world.said}"
    assert ci.requests == []


@pytest.mark.parametrize("system", ["github", "buildkite"])
def test_a_line_end_after_the_secret_of_a_job_does_not_matter(
    world: WebWorld, ci: FakeCi, system: str
) -> None:
    given = ci.github() if system == "github" else ci.buildkite()
    world.environ = {variable: f"{value}\n" for variable, value in given.items()}
    world.configure(f"web_identity_token_source = {system}").run("ci")
    assert len(ci.requests) == 1


def test_the_error_of_a_library_about_a_header_does_not_show_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    paused: list[float] = []
    monkeypatch.setattr("filevault.aws.http_request.time.sleep", paused.append)
    request = HttpRequest("GET", "http://127.0.0.1:1/", {"Authorization": "bearer s3\ncr3t"})
    with pytest.raises(ConfigError, match="headers contains a forbidden character") as caught:
        request.send(operation="a request", subject="x", seconds=5, attempts=3)
    assert "cr3t" not in caught.value.message
    assert paused == []


def test_a_service_that_is_not_there_is_a_network_error(
    world: WebWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filevault.aws.http_request.time.sleep", lambda _: None)
    world.environ = {
        "ACTIONS_ID_TOKEN_REQUEST_URL": "http://127.0.0.1:1/x",
        "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "s",
    }
    error = refused(world.configure("web_identity_token_source = github"), NetworkError)
    assert "the request for a web identity token for profile 'ci' failed" in error.message


# The call


def test_an_expired_token_is_read_once_more(world: WebWorld) -> None:
    old, new = world.provider.issue(SUBJECT, seconds=-1), world.provider.issue(SUBJECT)
    program = world.folder / "mint"
    program.write_text(
        f'#!/bin/sh\ntest -e "$0.used" && exec echo {new}\n: > "$0.used"; echo {old}\n'
    )
    program.chmod(0o700)
    world.environ = {"PATH": "/usr/bin:/bin"}
    world.configure(f"web_identity_token_process = {program}").run("ci")
    assert [call.outcome for call in world.aws.calls] == ["ExpiredTokenException", "ok"]
    world.put(old)
    world.aws.reset_calls()
    error = refused(world.from_file(), AwsError)
    assert "the web identity token has expired" in error.message
    assert [call.outcome for call in world.aws.calls] == ["ExpiredTokenException"] * 2


def test_a_provider_that_aws_cannot_reach_is_tried_again(
    world: WebWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    world.put(world.provider.issue(SUBJECT))
    fault = Fault("error", code="IDPCommunicationError", message="it did not answer", status=400)
    world.aws.arm(fault, action=WEB, times=2)
    world.from_file().run("ci")
    assert [call.outcome for call in world.aws.calls] == ["IDPCommunicationError"] * 2 + ["ok"]


REFUSALS = {
    "another subject": ({"subject": "repo:acme/other"}, "AccessDenied", "trust policy"),
    "another audience": ({"audience": "elsewhere"}, "InvalidIdentityToken", "issuer"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_shows_who_the_token_is_about_and_never_the_token(
    world: WebWorld, case: str
) -> None:
    traits, code, hint = REFUSALS[case]
    told = {"subject": SUBJECT, "audience": "sts.amazonaws.com", **traits}
    world.put(world.provider.issue(**told))  # type: ignore[arg-type]
    error = refused(world.from_file(), AwsError)
    assert isinstance(error, AwsError)
    assert error.code == code
    assert hint in str(error.hint) + error.message
    assert (
        f"the token has iss '{ISSUER}', aud '{told['audience']}', sub '{told['subject']}'"
        in error.message
    )


def test_what_aws_does_not_know_is_refused_with_a_hint(world: WebWorld) -> None:
    world.put("not.a.token")
    assert "does not accept the web identity token" in refused(world.from_file(), AwsError).message
    world.aws.sts.identity_providers.clear()
    world.put(world.provider.issue(SUBJECT))
    assert "identity provider" in str(refused(world, AwsError).hint)


def test_a_token_of_another_key_with_the_same_issuer_is_refused(world: WebWorld) -> None:
    forger = IdentityProvider(ISSUER, world.aws.clock, world.provider.audiences, set())
    world.put(forger.issue(SUBJECT))
    error = refused(world.from_file(), AwsError)
    assert isinstance(error, AwsError)
    assert error.code == "InvalidIdentityToken"
    assert forger.issued[0] not in error.message


def test_the_settings_of_the_role_go_into_the_call(world: WebWorld) -> None:
    world.aws.directory.roles[role_arn("ci")].max_session_duration = 4 * HOUR
    world.put(world.provider.issue(SUBJECT))
    world.from_file("")
    world.config += "role_session_name = deploy\nduration_seconds = 7200\n"
    world.run("ci")
    call = world.aws.calls[0]
    assert dict(call.parameters) == {
        "RoleArn": role_arn("ci"),
        "RoleSessionName": "deploy",
        "WebIdentityToken": world.provider.issued[0],
        "DurationSeconds": "7200",
        "Version": "2011-06-15",
    }
    assert world.made() == [web(seconds=7200)]
    world.run("ci", PlanOptions(duration=1800))
    assert world.made() == [web(seconds=1800)]


def test_a_duration_over_the_maximum_becomes_an_hour(world: WebWorld) -> None:
    world.put(world.provider.issue(SUBJECT))
    world.from_file().run("ci", PlanOptions(duration=7200))
    assert [call.outcome for call in world.aws.calls] == ["ValidationError", "ok"]
    assert world.warnings == [
        "AWS grants the role of profile 'ci' no session of 2h0m0s: this one lives 1h0m0s"
    ]


def test_what_the_call_does_not_take_is_named(world: WebWorld) -> None:
    world.put(world.provider.issue(SUBJECT))
    world.from_file()
    world.config += "external_id = x1\nsession_tags = a=b\nmfa_serial = arn:aws:iam::1:mfa/x\n"
    planned = world.plan("ci")
    (warning,) = planned.warnings
    assert warning.startswith("external_id and session_tags of profile 'ci' cannot be sent: ")
    assert "ci: no MFA: a web identity token takes its place" in planned.reasons


# As the base of chains, and in the cache


def test_roles_are_assumed_with_it(world: WebWorld) -> None:
    for name in ("ra", "rb"):
        world.aws.add_role(name)
    world.put(world.provider.issue(SUBJECT))
    world.from_file(
        f"[profile ra]\nsource_profile = ci\nrole_arn = {role_arn('ra')}\nregion = eu-west-1\n"
        f"duration_seconds = 7200\n"
        f"[profile rb]\nsource_profile = ra\nrole_arn = {role_arn('rb')}\nregion = eu-west-1\n"
    )
    kept = world.run("rb")
    assert world.made() == [web(), role("ra", HOUR, by=1), role("rb", HOUR, by=2)]
    assert world.run("rb") == kept
    world.run("ra")
    assert world.made() == []
    with world.cache() as cache:
        assert cache.drop_source("web:ci") == 3


def test_another_identity_gets_no_session_of_the_first(world: WebWorld, ci: FakeCi) -> None:
    world.trust("repo:acme/*")
    world.put(world.provider.issue("repo:acme/a"))
    first = world.from_file().run("ci")
    world.put(world.provider.issue("repo:acme/b"))
    assert world.run("ci") != first
    world.put(world.provider.issue("repo:acme/a"))  # another token of the first
    assert world.run("ci") == first
    ci.subject = "repo:acme/a"
    world.environ = ci.github()
    in_job = world.configure("web_identity_token_source = github").run("ci")
    world.environ["ACTIONS_ID_TOKEN_REQUEST_URL"] += "&job=2"
    assert world.run("ci") != in_job


@pytest.mark.parametrize(
    "edit",
    [
        f"role_arn = {role_arn('other')}",
        "role_session_name = other",
        "duration_seconds = 1800",
        "use_fips_endpoint = true",
        "web_identity_token_process = cat {file}",
    ],
)
def test_an_edited_profile_misses(world: WebWorld, edit: str) -> None:
    world.trust(SUBJECT, name="other")
    world.put(world.provider.issue(SUBJECT))
    world.environ = {"PATH": "/usr/bin:/bin"}
    first = world.from_file().run("ci")
    key = edit.partition(" =")[0]
    lines = [line for line in world.config.splitlines() if not line.startswith(key)]
    if key == "web_identity_token_process":
        lines = [line for line in lines if "token_file" not in line]
    world.config = "\n".join([*lines, edit.format(file=world.file)])
    planned = world.plan("ci")
    with world.cache() as cache:
        until = kept_until(planned, world.dependencies().sources, cache)
        assert until(planned.step) is None
    world.from_file()
    assert world.run("ci") == first


def test_it_is_explained(world: WebWorld) -> None:
    world.put(world.provider.issue(SUBJECT))
    planned = world.from_file().plan("ci")
    lines = explain(planned, world.aws.clock(), until=lambda _: None)
    call = (
        f"  1. AssumeRoleWithWebIdentity {role_arn('ci')}, 1h0m0s, no MFA, with the token in "
        f"'{world.file}', in {world.aws.url}"
    )
    assert lines[2:6] == [
        f"  ci: role {role_arn('ci')}",
        f"  └─ ci: the token in '{world.file}'",
        "calls, in order:",
        call,
    ]
    assert world.aws.calls == []


# The config


WRONG = {
    "web_identity_token_source = GitHub": "does not know",
    "web_identity_token_source = jenkins": "does not know",
    "web_identity_token_env = a b": "no name of a variable",
    "web_identity_token_env = eyJhbGciOi.x.y": "no name of a variable",
    "web_identity_token_source = github\nweb_identity_token_audience = a b": "printable ASCII",
}


@pytest.mark.parametrize("lines", WRONG)
def test_a_value_that_means_nothing_is_refused_in_the_plan(world: WebWorld, lines: str) -> None:
    with pytest.raises(ConfigError) as caught:
        world.configure(lines).plan("ci")
    assert WRONG[lines] in caught.value.message


def test_a_token_without_a_role_is_worth_nothing(world: WebWorld) -> None:
    world.config = "[profile ci]\nweb_identity_token_env = X\n"
    with pytest.raises(NoSourceError, match="but no role_arn"):
        world.plan("ci")


def test_the_order_of_the_settings_is_told(world: WebWorld) -> None:
    world.configure(
        "web_identity_token_env = X\nweb_identity_token_file = /a\ncredential_process = b"
    )
    profile = resolve(
        AwsConfig.parse(world.config.encode(), "config"),
        "ci",
        overrides=Overrides(),
        has_item=lambda _: False,
    )
    assert profile.shadowed == ("web_identity_token_env", "credential_process")
    assert world.plan("ci").step.source.title == "the token in '/a'"


@pytest.mark.parametrize("on_top", [False, True])
def test_botocore_gets_the_same_role_with_the_same_token(
    world: WebWorld, on_top: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.aws.clock.reset()
    top = world.aws.add_role("top")
    world.put(world.provider.issue(SUBJECT))
    world.file.write_text(world.file.read_text().strip())  # botocore sends it untrimmed
    world.from_file(
        f"role_session_name = me\n[profile top]\nregion = eu-west-1\nsource_profile = ci\n"
        f"role_arn = {top.arn}\n"
    )
    name = "top" if on_top else "ci"
    ours = world.run(name, caching=False)
    our_calls = list(world.aws.calls)
    world.aws.reset_calls()
    path = world.folder / "config"
    path.write_text(world.config)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", world.aws.url)
    theirs = botocore.session.Session(profile=name).get_credentials()
    assert theirs is not None
    session = world.aws.session(str(theirs.get_frozen_credentials().access_key))
    assert session.role is world.aws.session(ours.access_key_id).role
    web_calls = our_calls[0], world.aws.calls[0]
    ignored = {"DurationSeconds"}  # botocore leaves it to AWS
    mine, other = ({k: v for k, v in c.parameters.items() if k not in ignored} for c in web_calls)
    assert mine == other
    assert [call.action for call in our_calls] == world.aws.actions()


# Claims, read without trust


HOSTILE: dict[str, dict[str, str]] = {
    "a.b": {},
    "a.b.c": {},
    "": {},
    "a." + "A" * 20000 + ".c": {},
    "a.bnVsbA.c": {},
    "a.W10.c": {},
    "ä.ä.ä": {},
}


@pytest.mark.parametrize("token", HOSTILE, ids=lambda token: repr(token[:12]))
def test_what_is_no_token_has_no_claims(token: str) -> None:
    assert claims_of(token) == HOSTILE[token]


def test_claims_are_printable_and_bounded() -> None:
    import base64

    claims = {"iss": "\x1b[31m\u202e", "aud": ["a", 5, "b"], "sub": "s" * 5000, "exp": 1}
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    shown = shown_claims(f"h.{payload}.s")
    assert len(shown) < 400
    assert shown.isprintable()
    assert "aud 'a b'" in shown
    deep = base64.urlsafe_b64encode(b"[" * 9000).decode().rstrip("=")
    assert claims_of(f"h.{deep}.s") == {}


def test_claims_that_are_no_text_are_told_apart() -> None:
    """JSON can escape lone surrogates, which no hash, file or request takes."""
    import base64

    found = set()
    for subject in (rb"a\ud800", rb"a\udcff", rb"a"):
        payload = base64.urlsafe_b64encode(b'{"aud":["%s"],"sub":"%s"}' % (subject, subject))
        claims = claims_of(f"h.{payload.decode().rstrip('=')}.s")
        found.add(f"{claims['aud']} {claims['sub']}".encode())
    assert len(found) == 3
