"""`login`: who signs in how, what AWS refuses, and that the link is seen where it was asked for."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, quote, quote_plus, urlsplit

import pytest

from tests.conditions.tools import tool
from tests.fakes import FakeAws, drop, error, stall
from tests.fakes.server import FakeServer
from tests.fakes.wire import HttpAnswer, HttpRequest
from tests.worlds.aws_machine import REGION, AwsMachine
from tests.worlds.machine import ProcessResult

HOME = f"https://{REGION}.console.aws.amazon.com/console/home?region={REGION}"
ARN = "arn:aws:sts::123456789012"


@pytest.fixture
def here(ready: AwsMachine) -> AwsMachine:
    """The ready scene, with the sign-in service of the fake."""
    ready.machine.env["AWS_ENDPOINT_URL_SIGNIN"] = ready.aws.url
    return ready


@pytest.fixture
def plain_here(plain: AwsMachine) -> AwsMachine:
    """The same without MFA."""
    plain.machine.env["AWS_ENDPOINT_URL_SIGNIN"] = plain.aws.url
    return plain


def link_of(result: ProcessResult) -> str:
    """The one line that a login printed."""
    assert result.status == 0, result
    (line,) = result.out.splitlines()
    return line


def leaks(scene: AwsMachine, text: str) -> list[str]:
    """Secrets in a text, in the clear or as they stand in an address."""
    forms = {form for each in scene.secrets() for form in (each, quote(each, ""), quote_plus(each))}
    return [each for each in forms if each in text]


def visit(link: str) -> None:
    """Be the browser that follows a link."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(link, timeout=20) as answer:
        answer.read()


def signs_in(scene: AwsMachine, result: ProcessResult) -> tuple[str, str]:
    """Follow the printed link; who is signed in, and where the browser ends."""
    visit(link_of(result))
    return scene.aws.signin.signed_in.pop()


def durations(aws: FakeAws) -> list[tuple[str | None, str]]:
    """What was asked for at the sign-in service, and how it ended."""
    return [
        (call.parameters.get("SessionDuration"), call.outcome)
        for call in aws.calls
        if call.action == "getSigninToken"
    ]


# Who signs in


def test_a_role_signs_in_with_the_session_that_exec_uses(here: AwsMachine) -> None:
    here.machine.ok("exec", "admin", "--", "true")
    here.aws.reset_calls()
    result = here.machine.run("login", "admin", "--stdout")
    who, where = signs_in(here, result)
    assert who.startswith(f"{ARN}:assumed-role/admin/filevault-")
    assert where == HOME
    assert here.aws.actions() == ["getSigninToken", "login"]
    assert not leaks(here, result.err)


def test_a_role_with_mfa_asks_for_one_code_and_keeps_what_it_got(here: AwsMachine) -> None:
    here.machine.ok("login", "admin", "--stdout")
    assert here.aws.actions() == ["GetSessionToken", "AssumeRole", "getSigninToken"]
    here.aws.reset_calls()
    here.machine.ok("login", "admin", "--stdout")
    assert here.aws.actions() == ["getSigninToken"]


def test_a_plain_user_signs_in_as_a_federated_one_of_the_same_name(plain_here: AwsMachine) -> None:
    result = plain_here.machine.run("login", "jonsmith", "--stdout")
    assert signs_in(plain_here, result) == (f"{ARN}:federated-user/jonsmith", HOME)
    actions = plain_here.aws.actions()
    assert actions == ["GetCallerIdentity", "GetFederationToken", "getSigninToken", "login"]
    (made,) = (call for call in plain_here.aws.calls if call.action == "GetFederationToken")
    assert made.parameters["DurationSeconds"] == "3600"
    assert made.access_key_id == plain_here.user.access_key_id
    assert "MFA" not in result.err
    plain_here.aws.reset_calls()
    plain_here.machine.ok("login", "jonsmith", "--stdout")
    assert plain_here.aws.actions() == ["getSigninToken"]
    assert "sts.GetFederationToken:59m" in plain_here.machine.ok("list").out


def test_no_session_makes_no_difference_to_a_plain_user(plain_here: AwsMachine) -> None:
    plain_here.machine.ok("exec", "jonsmith", "--", "true")
    result = plain_here.machine.run("login", "-n", "jonsmith", "--stdout")
    assert signs_in(plain_here, result)[0] == f"{ARN}:federated-user/jonsmith"


def test_a_user_with_mfa_is_told_that_the_console_session_has_none(here: AwsMachine) -> None:
    result = here.machine.run("login", "jonsmith", "--stdout")
    assert signs_in(here, result)[0] == f"{ARN}:federated-user/jonsmith"
    assert "GetSessionToken" not in here.aws.actions()
    assert "carries no MFA" in result.err


def test_the_credentials_of_the_environment_sign_in_where_no_profile_is_named(
    here: AwsMachine,
) -> None:
    url = here.aws.url
    env = {"AWS_ENDPOINT_URL_SIGNIN": url, "AWS_ENDPOINT_URL": url}
    launcher = " ".join(here.machine.launcher)
    inner = here.machine.run(
        "exec", "admin", "--", "sh", "-c", f"LAUNCH='{{}}' {launcher} login --stdout", env=env
    )
    who, where = signs_in(here, inner)
    assert who.startswith(f"{ARN}:assumed-role/admin/")
    assert where == HOME


def test_a_long_term_key_of_the_environment_signs_in_as_a_federated_user(scene: AwsMachine) -> None:
    env = {
        "AWS_ACCESS_KEY_ID": scene.user.access_key_id,
        "AWS_SECRET_ACCESS_KEY": scene.user.secret_access_key,
        "AWS_ENDPOINT_URL": scene.aws.url,
        "AWS_ENDPOINT_URL_SIGNIN": scene.aws.url,
        "AWS_FEDERATION_TOKEN_TTL": "2h",
    }
    who, where = signs_in(scene, scene.machine.run("login", "--stdout", env=env))
    assert (who, where) == (
        f"{ARN}:federated-user/jonsmith",
        "https://console.aws.amazon.com/",
    )
    (made,) = (call for call in scene.aws.calls if call.action == "GetFederationToken")
    assert made.parameters["DurationSeconds"] == "7200"
    assert not scene.machine.vault.exists()


def test_a_users_session_of_the_environment_is_refused_with_the_reason(
    plain_here: AwsMachine,
) -> None:
    url = plain_here.aws.url
    launcher = " ".join(plain_here.machine.launcher)
    script = f"LAUNCH='{{}}' {launcher} login --stdout"
    env = {"AWS_ENDPOINT_URL": url}
    result = plain_here.machine.run("exec", "jonsmith", "--", "sh", "-c", script, env=env)
    assert result.status == 8
    assert "AWS lets no user's session sign in" in result.err
    assert "user/jonsmith" in result.err
    assert "getSigninToken" not in plain_here.aws.actions()


def test_without_profile_and_credentials_one_is_asked_for(here: AwsMachine) -> None:
    result = here.machine.run("login", "--stdout")
    assert result.status == 2
    assert "no profile is given" in result.err


@pytest.mark.parametrize(
    "option", ["--explain", "--refresh", "-n", "--no-cache", "--min-ttl=1h", "-t=123456"]
)
def test_options_that_need_a_profile_are_refused_without_one(here: AwsMachine, option: str) -> None:
    env = {"AWS_ACCESS_KEY_ID": "AKIAX", "AWS_SECRET_ACCESS_KEY": "x"}
    result = here.machine.run("login", *option.split("="), env=env)
    assert (result.status, result.out) == (2, "")
    assert "is for profiles" in result.err


def test_a_code_that_nobody_takes_is_told(here: AwsMachine) -> None:
    result = here.machine.run("login", "jonsmith", "-s", "-t", "123456")
    signs_in(here, result)
    assert "--mfa-token does nothing" in result.err


def test_aws_profile_beats_credentials_of_the_environment(here: AwsMachine) -> None:
    env = {"AWS_PROFILE": "admin", "AWS_ACCESS_KEY_ID": "AKIAX", "AWS_SECRET_ACCESS_KEY": "x"}
    who, _ = signs_in(here, here.machine.run("login", "--stdout", env=env))
    assert "assumed-role/admin" in who


def test_half_a_key_in_the_environment_is_an_error(here: AwsMachine) -> None:
    result = here.machine.run("login", env={"AWS_ACCESS_KEY_ID": "AKIAX"})
    assert result.status == 2
    assert "AWS_SECRET_ACCESS_KEY is not" in result.err


# Where to


@pytest.mark.parametrize(
    ("options", "env", "where"),
    [
        (("--path", "s3/buckets?x=1"), {}, f"s3/buckets?x=1&region={REGION}"),
        (("--path", "/ec2/home#Instances:"), {}, f"ec2/home?region={REGION}#Instances:"),
        (("--region", "us-west-2"), {}, "console/home?region=us-west-2"),
        ((), {"AWS_REGION": "us-west-2"}, "console/home?region=us-west-2"),
    ],
)
def test_path_and_region_decide_where_it_ends(
    here: AwsMachine, options: tuple[str, ...], env: dict[str, str], where: str
) -> None:
    _, found = signs_in(here, here.machine.run("login", "admin", "-s", *options, env=env))
    region = "us-west-2" if "us-west-2" in where else REGION
    assert found == f"https://{region}.console.aws.amazon.com/{where}"


@pytest.mark.parametrize(("option", "env"), [("--auto-logout", {}), ("-a", {}), ("", {"1": "1"})])
def test_auto_logout_signs_out_first(here: AwsMachine, option: str, env: dict[str, str]) -> None:
    env = {"AWS_VAULT_AUTO_LOGOUT": "1"} if env else {}
    options = (option,) if option else ()
    out = urlsplit(link_of(here.machine.run("login", "admin", "-s", *options, env=env)))
    assert out.path == "/oauth"
    words = parse_qs(out.query, strict_parsing=True)
    assert words["Action"] == ["logout"]
    visit(words["redirect_uri"][0])
    assert here.aws.signin.signed_in[0][1] == HOME


def test_bad_places_are_refused_before_anybody_is_asked(here: AwsMachine) -> None:
    for options, status in (
        (("--region", "eu-west-1.evil.example/"), 3),
        (("--path", "https://evil.example/"), 2),
    ):
        result = here.machine.run("login", "admin", "-s", *options)
        assert (result.status, result.out) == (status, "")
    assert here.aws.actions() == []


def test_explain_shows_the_way_and_calls_nothing(here: AwsMachine) -> None:
    text = here.machine.ok("login", "jonsmith", "--explain", "--path", "s3").out
    assert "GetCallerIdentity for the user's name and GetFederationToken, 1h0m0s, no MFA" in text
    assert f"then signs in at {here.aws.url}/federation" in text
    assert f"to https://{REGION}.console.aws.amazon.com/s3?region={REGION}" in text
    here.machine.env.pop("AWS_ENDPOINT_URL_SIGNIN")
    text = here.machine.ok("login", "admin", "--explain").out
    assert f"then signs in at https://{REGION}.signin.aws.amazon.com/federation" in text
    assert here.aws.actions() == []


# How long


def test_a_duration_reaches_a_role_and_its_console_session(plain_here: AwsMachine) -> None:
    plain_here.aws.add_role("long", max_session_duration=43200)
    plain_here.configure(
        mfa=False,
        more=f"[profile long]\nendpoint_url = {plain_here.aws.url}\n"
        "source_profile = jonsmith\nrole_arn = arn:aws:iam::123456789012:role/long\n",
    )
    plain_here.machine.ok("login", "long", "-s", "-d", "8h")
    (assumed,) = (call for call in plain_here.aws.calls if call.action == "AssumeRole")
    assert assumed.parameters["DurationSeconds"] == "28800"
    assert durations(plain_here.aws) == [("28800", "ok")]


def test_without_a_duration_none_is_asked_for(here: AwsMachine) -> None:
    here.machine.ok("login", "admin", "-s")
    assert durations(here.aws) == [(None, "ok")]


def test_a_federated_user_is_never_asked_a_console_duration(plain_here: AwsMachine) -> None:
    plain_here.machine.ok("login", "jonsmith", "-s", "-d", "12h")
    assert durations(plain_here.aws) == [(None, "ok")]
    (made,) = (call for call in plain_here.aws.calls if call.action == "GetFederationToken")
    assert made.parameters["DurationSeconds"] == "43200"
    result = plain_here.machine.run("login", "jonsmith", "-s", "-d", "2d")
    assert result.status == 2
    assert "GetFederationToken takes 15m0s to 36h0m0s" in result.err


def test_a_role_after_a_role_is_never_asked_a_console_duration(here: AwsMachine) -> None:
    inner = here.aws.add_role("inner", trusts=[here.role.arn])
    here.configure(
        more=f"[profile inner]\nendpoint_url = {here.aws.url}\nsource_profile = admin\n"
        f"role_arn = {inner.arn}\nregion = {REGION}\n"
    )
    here.machine.ok("login", "inner", "-s", "-d", "30m")
    assert durations(here.aws) == [(None, "ok")]


def test_a_console_duration_that_aws_refuses_is_left_out_and_that_is_told(here: AwsMachine) -> None:
    here.aws.arm(error("Bad Request", "no such duration"), action="getSigninToken")
    result = here.machine.run("login", "admin", "-s", "-d", "30m")
    signs_in(here, result)
    assert durations(here.aws) == [("1800", "Bad Request"), (None, "ok")]
    assert "AWS grants no console session of 30m0s here" in result.err


def test_a_duration_over_the_roles_maximum_becomes_an_hour(plain_here: AwsMachine) -> None:
    result = plain_here.machine.run("login", "admin", "-s", "-d", "2h")
    assert result.status == 8  # the role wants MFA
    free = plain_here.aws.add_role("free")
    plain_here.configure(
        mfa=False,
        more=f"[profile free]\nendpoint_url = {plain_here.aws.url}\n"
        f"source_profile = jonsmith\nrole_arn = {free.arn}\nregion = {REGION}\n",
    )
    plain_here.aws.reset_calls()
    result = plain_here.machine.run("login", "free", "-s", "-d", "2h")
    assert "no session of 2h0m0s: this one lives 1h0m0s" in result.err
    assumed = [call.parameters["DurationSeconds"] for call in plain_here.aws.calls[:2]]
    assert assumed == ["7200", "3600"]
    signs_in(plain_here, result)


# What AWS refuses


def test_a_kept_session_that_is_refused_is_renewed_once(here: AwsMachine) -> None:
    here.machine.ok("exec", "admin", "--", "true")
    (old,) = (each for each in here.aws.directory.sessions.values() if each.kind == "role")
    del here.aws.directory.sessions[old.access_key_id]
    here.aws.reset_calls()
    result = here.machine.run("login", "admin", "-s")
    signs_in(here, result)
    assert here.aws.actions() == ["getSigninToken", "AssumeRole", "getSigninToken", "login"]
    assert not leaks(here, result.err)


def test_credentials_that_are_refused_although_fresh_are_an_error(here: AwsMachine) -> None:
    here.aws.arm(error("Bad Request", "no"), action="getSigninToken", times=9)
    result = here.machine.run("login", "admin", "-s")
    assert result.status == 8
    assert "the sign-in service answered 400" in result.err
    assert here.aws.actions() == ["GetSessionToken", "AssumeRole", "getSigninToken"]


def test_a_user_who_may_not_federate_learns_which_permission_is_missing(
    plain_here: AwsMachine,
) -> None:
    plain_here.user.denied.add("sts:GetFederationToken")
    result = plain_here.machine.run("login", "jonsmith", "-s")
    assert result.status == 8
    who = "arn:aws:iam::123456789012:user/jonsmith"
    assert f"{who} is not allowed sts:GetFederationToken" in result.err
    assert "role_arn" in result.err


def test_a_user_who_may_nothing_in_iam_signs_in_all_the_same(plain_here: AwsMachine) -> None:
    plain_here.user.denied.add("iam:*")
    signs_in(plain_here, plain_here.machine.run("login", "jonsmith", "-s"))


@contextmanager
def sign_in_service(status: int, body: bytes, **headers: str) -> Iterator[tuple[str, list[bytes]]]:
    """A sign-in service that answers always the same, and notes what it was sent."""
    seen: list[bytes] = []

    def respond(request: HttpRequest) -> HttpAnswer:
        sent = request.body
        seen.append(request.target.encode() + b" " + sent)
        echoing = {name: value.replace("ECHO", sent.decode()) for name, value in headers.items()}
        return HttpAnswer(status, body.replace(b"ECHO", sent), headers=echoing)

    with FakeServer(respond) as server:
        yield server.url, seen


ANSWERS = [
    (200, b"<html>ECHO</html>", {}, 9, "not one of AWS's"),
    (200, b"", {}, 9, "not one of AWS's"),
    (200, b'{"SigninToken": "ECHO"', {}, 9, "not one of AWS's"),
    (200, b'{"SigninToken": 7}', {}, 9, "not one of AWS's"),
    (200, b'{"SigninToken": ""}', {}, 9, "not one of AWS's"),
    (200, b'{"SigninToken": "a\\nb"}', {}, 9, "not one of AWS's"),
    (200, b'["ECHO"]', {}, 9, "not one of AWS's"),
    (200, b"[" * 100_000, {}, 9, "not one of AWS's"),
    (400, b"<html>ECHO</html>", {}, 8, "answered 400"),
    (403, b'{"error": "ECHO"}', {}, 8, "answered 403"),
    (404, b"ECHO", {}, 9, "not one of AWS's"),
    (429, b"ECHO", {}, 9, "answered 429"),
    (500, b"ECHO", {}, 9, "answered 500"),
    (503, b"<html>ECHO</html>", {}, 9, "answered 503"),
    (302, b"", {"Location": "http://127.0.0.1:1/?ECHO"}, 9, "a redirection, which is never"),
    (307, b"", {"Location": "http://127.0.0.1:1/?ECHO"}, 9, "a redirection, which is never"),
]


@pytest.mark.parametrize(("status", "body", "headers", "ended", "words"), ANSWERS)
def test_whatever_the_sign_in_service_answers_no_secret_is_shown(
    here: AwsMachine, status: int, body: bytes, headers: dict[str, str], ended: int, words: str
) -> None:
    with sign_in_service(status, body, **headers) as (url, seen):
        env = {"AWS_ENDPOINT_URL_SIGNIN": url, "FILEVAULT_DEBUG": "1"}
        result = here.machine.run("login", "admin", "-s", env=env)
    assert result.status == ended
    assert words in result.err
    assert not leaks(here, result.everything)
    assert result.out == ""
    (session,) = (each for each in here.aws.directory.sessions.values() if each.kind == "role")
    assert len(seen) == 1
    # The test can fail: the secret was there to be repeated, and in the body alone.
    assert quote_plus(session.secret_access_key).encode() in seen[0]
    assert seen[0].startswith(b"/federation Action=getSigninToken&")


def test_a_sign_in_service_that_is_down_or_hangs_up_shows_no_secret(here: AwsMachine) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{probe.getsockname()[1]}"
    result = here.machine.run("login", "admin", "-s", env={"AWS_ENDPOINT_URL_SIGNIN": dead})
    assert result.status == 9
    assert f"cannot connect to {dead}\n" in result.err
    assert not leaks(here, result.everything)
    for when in ("before", "after"):
        here.aws.arm(drop(when), action="getSigninToken")
        result = here.machine.run("login", "admin", "-s", env={"FILEVAULT_DEBUG": "1"})
        assert result.status == 9
        assert "closed the connection without an answer" in result.err
        assert not leaks(here, result.everything)


def test_a_slow_sign_in_service_is_waited_for(here: AwsMachine) -> None:
    here.aws.arm(stall(2.0), action="getSigninToken")
    signs_in(here, here.machine.run("login", "admin", "-s"))


def test_plain_http_beyond_this_machine_is_refused_before_anything_is_sent(
    here: AwsMachine,
) -> None:
    env = {"AWS_ENDPOINT_URL_SIGNIN": "http://signin.example"}
    result = here.machine.run("login", "admin", "-s", env=env)
    assert result.status == 3
    assert "plain http" in result.err
    assert "AWS_ENDPOINT_URL_SIGNIN" in result.err
    assert here.aws.calls == []


def test_an_address_with_a_password_is_refused_early_and_never_shown(here: AwsMachine) -> None:
    address = "https://user:hunter2@signin.example/s3cret-path?k=s3cret"
    for env in ({"AWS_ENDPOINT_URL_SIGNIN": address}, {"AWS_ENDPOINT_URL": address}):
        here.aws.reset_calls()
        result = here.machine.run("login", "admin", "-s", env={**env, "FILEVAULT_DEBUG": "1"})
        assert result.status == 3
        assert "'https://signin.example'" in result.err
        assert next(iter(env)) in result.err
        for text in ("user", "hunter2", "s3cret"):
            assert text not in result.everything
        assert here.aws.calls == []


# Where the link is seen


def test_a_link_serves_once(here: AwsMachine) -> None:
    result = here.machine.run("login", "admin", "-s")
    signs_in(here, result)
    with pytest.raises(urllib.error.HTTPError):
        visit(link_of(result))


def test_without_a_display_the_link_is_printed(here: AwsMachine) -> None:
    result = here.machine.run("login", "admin")
    signs_in(here, result)
    assert result.err == ""


def test_a_variable_asks_for_stdout_where_there_is_a_display(here: AwsMachine) -> None:
    env = {"AWS_VAULT_STDOUT": "true", "DISPLAY": ":0"}
    signs_in(here, here.machine.run("login", "admin", env=env))


def test_copy_sends_the_link_to_the_terminal_alone(here: AwsMachine) -> None:
    result = here.machine.on_terminal("login", "admin", "--copy")
    assert result.status == 0
    assert result.out == ""
    sent = re.search(r"\x1b\]52;c;([A-Za-z0-9+/=]+)\x07", result.tty)
    assert sent is not None
    import base64

    visit(base64.b64decode(sent[1]).decode())
    assert not leaks(here, result.err)


def test_in_tmux_success_is_claimed_only_where_tmux_takes_the_link(
    here: AwsMachine, tmp_path: Path
) -> None:
    """By default tmux ignores what a program sends to the clipboard, and says nothing."""
    machine = here.machine
    folder = Path(tempfile.mkdtemp(dir=tmp_path.parents[1]))  # a socket's path is short
    tmux = (tool("tmux"), "-S", str(folder / "s"), "-f", "/dev/null")
    command = shlex.join([*machine.launcher, "login", "admin", "--copy"])
    out = folder / "out"

    def run(*argv: str) -> str:
        env = machine.environment({"TERM": "xterm"})
        return subprocess.run(
            [*tmux, *argv], env=env, capture_output=True, text=True, check=True
        ).stdout

    run("new-session", "-d", "-s", "main", "sleep 100")
    try:
        for setting, status in (("external", 7), ("on", 0)):
            run("set-option", "-s", "set-clipboard", setting)
            here.aws.reset_calls()
            script = f"{command} 2>{out}; echo $? >{folder}/status; tmux wait-for -S done"
            run("new-window", script)
            run("wait-for", "done")
            assert (folder / "status").read_text() == f"{status}\n", out.read_text()
            assert bool(here.aws.calls) == (not status)
        assert "was sent to the terminal's clipboard" in out.read_text()
        assert "Action=login" in run("show-buffer")
    finally:
        run("kill-server")


@pytest.mark.parametrize(
    ("env", "status", "said"),
    [
        ({"STY": "1.pts-0.host"}, 7, "GNU screen keeps the clipboard"),
        ({"TERM": "screen-256color"}, 0, "if it does not arrive, tmux needs"),
        ({"TERM": "xterm"}, 0, "15 minutes\n"),
    ],
)
def test_what_may_keep_the_link_from_the_clipboard_is_said(
    here: AwsMachine, env: dict[str, str], status: int, said: str
) -> None:
    result = here.machine.on_terminal("login", "admin", "--copy", env=env)
    assert (result.status, result.out) == (status, "")
    assert said in result.err


def test_copy_without_a_terminal_is_refused_before_anything_is_called(here: AwsMachine) -> None:
    result = here.machine.run("login", "admin", "--copy")
    assert result.status == 5
    assert "cannot copy the link: there is no terminal" in result.err
    assert here.aws.actions() == []
    assert here.machine.run("login", "admin", "--copy", "--stdout").status == 2
