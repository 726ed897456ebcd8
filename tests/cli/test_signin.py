"""`signin` signs in to the console for a profile, and what is kept of it is encrypted."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import threading

import pytest

from tests.fakes import FakeAws
from tests.fakes.browser import visit
from tests.launch import launcher
from tests.worlds.login_machine import ASKED, BROWSER, LoginMachine, link_in
from tests.worlds.machine import Machine, ProcessResult, TypedAnswer
from tests.worlds.served_command import ServedCommand

PROCESSES = 64
MINUTE = 60


@pytest.fixture
def logins(machine: Machine, aws: FakeAws) -> LoginMachine:
    return LoginMachine(machine, aws)


@pytest.fixture
def signed_in(logins: LoginMachine) -> LoginMachine:
    """The same, signed in."""
    return logins.signed_in()


def exported(result: ProcessResult) -> dict[str, str]:
    assert result.status == 0, result
    found: dict[str, str] = json.loads(result.out)
    return found


def export(logins: LoginMachine, profile: str = "console", *options: str) -> dict[str, str]:
    return exported(logins.machine.run("export", profile, "--format", "json", *options))


# Signing in


def test_a_browser_here_signs_in_and_the_config_names_the_user(logins: LoginMachine) -> None:
    before = logins.machine.config.read_text()
    result = logins.by_browser()
    assert result.status == 0, result
    arn = logins.user.arn
    assert result.out == f"Signed in for profile console as {arn}.\n"
    assert link_in(result.err) is not None
    line = f"[profile console]\nlogin_session = {arn}\n"
    assert logins.machine.config.read_text() == before.replace("[profile console]\n", line)
    assert logins.aws.actions() == ["Authorize", "ExchangeCode"]
    found = export(logins)
    assert found["AccountId"] == "123456789012"
    assert logins.aws.session(found["AccessKeyId"]).kind == "login"


def test_where_the_browser_fails_the_link_is_there_to_be_opened(logins: LoginMachine) -> None:
    process = logins.machine.popen("signin", "console", env={"BROWSER": "/bin/false"})
    assert process.stderr is not None
    seen = b""
    while (link := link_in(seen.decode())) is None or b"failed with status" not in seen:
        seen += process.stderr.readline()
    assert "You can close this window" in visit(link)
    assert process.wait(timeout=60) == 0
    process.communicate()


def test_the_wait_for_the_browser_ends_with_its_time(logins: LoginMachine) -> None:
    program = (
        "import sys; from filevault.server import authorization_callback as a; a.TIMEOUT = 0.3; "
        "sys.argv.pop(0); import runpy; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    logins.machine.launcher = (sys.executable, "-c", program, launcher.__file__)
    env: dict[str, str | None] = {"BROWSER": "/bin/false"}
    result = logins.machine.run("signin", "console", env=env)
    assert (result.status, result.out) == (8, "")
    assert "there was no sign-in for profile 'console' within" in result.err
    assert "--remote needs no browser on this machine" in result.err
    assert logins.aws.actions() == []


def test_the_wait_for_the_browser_says_what_it_waits_for_and_how_to_end_it(
    logins: LoginMachine,
) -> None:
    result = logins.by_browser()
    assert "waiting for the browser, 10 min left; Ctrl-C ends" in result.err


def test_a_pasted_code_signs_in_where_there_is_no_browser(logins: LoginMachine) -> None:
    result = logins.by_code()
    assert result.status == 0, result
    assert "paste the code" in result.err
    assert logins.aws.actions() == ["ExchangeCode"]
    assert logins.machine.ok("export", "admin").status == 0
    assert logins.aws.actions() == ["ExchangeCode", "AssumeRole"]


def test_under_ssh_no_browser_is_opened_unless_one_is_named(logins: LoginMachine) -> None:
    opener = logins.machine.home / "bin/xdg-open"
    opener.parent.mkdir()
    opener.write_text("#!/bin/sh\nexit 9\n")
    opener.chmod(0o700)
    logins.machine.env |= {
        "DISPLAY": ":9",
        "SSH_CONNECTION": "10.0.0.1 5 10.0.0.2 22",
        "PATH": f"{opener.parent}:{logins.machine.env['PATH']}",
    }
    assert "paste the code" in logins.by_code().err
    assert logins.by_browser().status == 0
    assert logins.by_code("--remote").status == 0


@pytest.mark.parametrize("wrapped", [None, 76])
def test_a_code_is_pasted_at_the_terminal_with_the_line_breaks_of_its_copy(
    logins: LoginMachine, wrapped: int | None
) -> None:
    result = logins.on_terminal("signin", "console", "--remote", wrapped=wrapped)
    assert result.status == 0, result
    assert "paste the code that it shows" in result.tty
    assert logins.machine.ok("export", "console").status == 0


def test_a_wrong_code_on_the_terminal_may_be_tried_again_three_times(logins: LoginMachine) -> None:
    wrong = TypedAnswer(ASKED, "wrong")
    result = logins.machine.on_terminal(
        "signin", "console", "--remote", answers=[wrong, wrong, wrong]
    )
    assert result.status == 2
    assert result.tty.count("not a code of AWS's sign-in page") == 2
    assert "not a code of AWS's sign-in page" in result.err
    assert result.echo
    assert logins.aws.actions() == []


def test_nobody_and_no_code_is_an_error_at_once(logins: LoginMachine) -> None:
    result = logins.machine.run("signin", "console", "--remote")
    assert result.status == 5
    assert "the code cannot be asked for" in result.err
    assert logins.aws.actions() == []


def test_a_refusal_in_the_browser_is_reported(logins: LoginMachine) -> None:
    logins.aws.login.denied = "access_denied"
    result = logins.by_browser()
    assert result.status == 8
    assert "the sign-in was refused or cancelled in the browser (access_denied)" in result.err
    assert "SignInLocalDevelopmentAccess" in result.err
    assert not list(logins.machine.state.glob("*/login/*.fvs"))


def test_a_new_profile_is_added_with_the_region_that_was_asked_for(logins: LoginMachine) -> None:
    before = logins.machine.config.read_text()
    assert logins.by_code("--region", "us-west-2", profile="new").status == 0
    assert logins.machine.config.read_text() == (
        f"{before}\n[profile new]\nlogin_session = {logins.user.arn}\nregion = us-west-2\n"
    )
    assert logins.machine.ok("export", "new").status == 0


def test_the_same_user_again_changes_nothing_in_the_config(signed_in: LoginMachine) -> None:
    before = signed_in.machine.config.read_bytes()
    first = export(signed_in)["AccessKeyId"]
    assert signed_in.by_code().status == 0
    assert signed_in.machine.config.read_bytes() == before
    assert export(signed_in)["AccessKeyId"] != first


def test_another_user_than_before_is_asked_about(signed_in: LoginMachine) -> None:
    before = signed_in.machine.config.read_bytes()
    record = signed_in.record().read_bytes()
    signed_in.aws.login.user = signed_in.aws.add_user("ann")
    result = signed_in.by_code()
    assert result.status == 5
    assert "user/jon, and arn:aws:iam::123456789012:user/ann has signed in" in result.err
    assert signed_in.machine.config.read_bytes() == before
    assert signed_in.record().read_bytes() == record
    for answer, out in (("n", ""), ("y", "as arn:aws:iam::123456789012:user/ann")):
        result = signed_in.machine.on_terminal(
            "signin",
            "console",
            env={"BROWSER": BROWSER},
            answers=[TypedAnswer("from now on?", answer)],
        )
        assert result.status == 0
        assert out in result.out
    text = signed_in.machine.config.read_text()
    assert text.count("login_session") == 1
    assert "user/ann\n" in text


REFUSED = {
    "a role on top": (
        "[profile other]\nsource_profile = console\n",
        "sign in for that one: filevault signin console",
    ),
    "a role in it": ("[profile other]\nrole_arn = arn:aws:iam::1:role/x\n", "as source_profile"),
    "a process": ("[profile other]\ncredential_process = /bin/x\n", "another profile"),
    "sso": ("[profile other]\nsso_start_url = https://x\n", "another profile"),
    "keys": ("[profile other]\naws_access_key_id = x\n", "another profile"),
    "web identity": ("[profile other]\nweb_identity_token_file = /x\n", "another profile"),
}


def test_a_profile_with_another_source_is_refused(signed_in: LoginMachine) -> None:
    config = signed_in.machine.config
    before = config.read_text()
    signed_in.aws.reset_calls()
    for name, (section, hint) in REFUSED.items():
        config.write_text(f"{before}\n{section}")
        result = signed_in.machine.run("signin", "other")
        assert result.status == 3, (name, result)
        assert hint in result.err, name
    assert signed_in.aws.actions() == []


def test_a_profile_with_a_stored_key_is_refused(logins: LoginMachine) -> None:
    logins.machine.add("console", logins.user.access_key_id, logins.user.secret_access_key)
    result = logins.machine.run("signin", "console")
    assert result.status == 3
    assert "a stored key, which goes before login_session" in result.err


def test_a_vault_is_needed_first(machine: Machine) -> None:
    result = machine.run("signin", "console")
    assert result.status == 4
    assert "filevault init" in result.err


def test_a_locked_vault_is_reported_before_the_browser_is_opened(logins: LoginMachine) -> None:
    env: dict[str, str | None] = {"FILEVAULT_KEY_FILE": None, "BROWSER": BROWSER}
    result = logins.machine.run("signin", "console", env=env)
    assert result.status == 5
    assert logins.aws.actions() == []
    assert "authorize" not in result.err


def test_nothing_of_a_sign_in_is_on_the_disk_in_the_clear(signed_in: LoginMachine) -> None:
    export(signed_in, "admin")
    signed_in.advance(11 * MINUTE)
    export(signed_in)
    secrets = [each.encode() for each in signed_in.aws.issued_secrets()]
    files = [each for each in signed_in.machine.home.rglob("*") if each.is_file()]
    assert any("/login/" in str(each) for each in files)
    for each in files:
        data = each.read_bytes()
        assert b"PRIVATE KEY" not in data, each
        assert not [secret for secret in secrets if secret in data], each
        assert each.stat().st_mode & 0o077 == 0 or each.name in ("config", ".clock"), each


# Refreshing


def test_credentials_are_refreshed_when_less_than_five_minutes_are_left(
    signed_in: LoginMachine,
) -> None:
    first = export(signed_in)
    signed_in.advance(9 * MINUTE)
    assert export(signed_in) == first
    signed_in.advance(2 * MINUTE)
    second = export(signed_in)
    assert second["AccessKeyId"] != first["AccessKeyId"]
    assert signed_in.aws.actions() == ["ExchangeCode", "RefreshToken"]


def test_a_cached_export_asks_nobody_and_reads_no_record(signed_in: LoginMachine) -> None:
    first = export(signed_in)
    record = signed_in.record()
    record.rename(record.with_suffix(".away"))
    assert export(signed_in) == first
    assert signed_in.aws.actions() == ["ExchangeCode"]


def test_refresh_and_min_ttl_ask_for_new_ones(signed_in: LoginMachine) -> None:
    first = export(signed_in)
    second = export(signed_in, "console", "--refresh")
    assert second["AccessKeyId"] != first["AccessKeyId"]
    assert export(signed_in) == second
    signed_in.advance(3 * MINUTE)
    assert export(signed_in, "console", "--min-ttl", "13m")["AccessKeyId"] not in (
        first["AccessKeyId"],
        second["AccessKeyId"],
    )


def test_64_exports_across_three_expiries_use_each_refresh_token_once(
    signed_in: LoginMachine,
) -> None:
    for expiry in range(1, 4):
        signed_in.advance(15 * MINUTE)
        started = [
            signed_in.machine.popen("export", "console", "--format", "json")
            for _ in range(PROCESSES)
        ]
        answers = [process.communicate(timeout=120) for process in started]
        assert [process.returncode for process in started] == [0] * PROCESSES, answers
        (answer,) = {out for out, _ in answers}
        assert json.loads(answer)["SessionToken"]
        assert signed_in.aws.actions().count("RefreshToken") == expiry
    assert list(signed_in.aws.login.used.values()) == [1, 1, 1]


def test_without_the_cache_every_process_shares_the_record_too(signed_in: LoginMachine) -> None:
    signed_in.advance(15 * MINUTE)
    started = [signed_in.machine.popen("export", "console", "--no-cache") for _ in range(8)]
    assert len({process.communicate(timeout=60)[0] for process in started}) == 1
    assert signed_in.aws.actions().count("RefreshToken") == 1


def test_ctrl_c_does_not_lose_the_token_of_a_refresh(signed_in: LoginMachine) -> None:
    signed_in.advance(15 * MINUTE)
    process: list[int] = []

    def interrupt(action: str) -> None:
        if action == "RefreshToken":
            os.kill(process[0], signal.SIGINT)

    signed_in.aws.watch = interrupt
    running = signed_in.machine.popen("export", "console")
    process.append(running.pid)
    running.communicate(timeout=60)
    assert running.returncode == 130
    signed_in.aws.watch = lambda _action: None
    export(signed_in)
    assert signed_in.aws.actions().count("RefreshToken") == 1


def test_a_session_that_is_over_ends_with_the_command_that_signs_in(
    signed_in: LoginMachine,
) -> None:
    signed_in.advance(13 * 60 * MINUTE)
    for profile in ("console", "admin", "console"):
        result = signed_in.machine.run("export", profile)
        assert result.status == 8
        assert "has ended" in result.err
        assert "filevault signin console" in result.err
    assert signed_in.aws.actions().count("RefreshToken") == 1
    assert signed_in.machine.run("exec", "console", "true").status == 125


def test_a_profile_that_is_not_signed_in_asks_nobody(signed_in: LoginMachine) -> None:
    signed_in.machine.ok("clear")
    signed_in.aws.reset_calls()
    result = signed_in.machine.run("export", "console", env={"BROWSER": BROWSER})
    assert result.status == 8
    assert result.err.splitlines() == [
        "filevault: error: profile 'console' is not signed in (arn:aws:iam::123456789012:user/jon)",
        "filevault: hint: sign in with: filevault signin console",
    ]
    assert signed_in.aws.actions() == []


def test_a_person_at_the_terminal_signs_in_within_the_run_and_stdin_stays_the_command_s(
    signed_in: LoginMachine,
) -> None:
    signed_in.machine.ok("clear")
    result = signed_in.on_terminal("exec", "console", "--", "cat", stdin=b"for the command")
    assert (result.status, result.out) == (0, "for the command"), result
    signed_in.advance(13 * 60 * MINUTE)
    result = signed_in.on_terminal("export", "admin", "--format", "json")
    assert exported(result)["SessionToken"]
    assert "Authorize" not in signed_in.aws.actions()


def test_another_user_does_not_sign_in_within_a_run(signed_in: LoginMachine) -> None:
    signed_in.machine.ok("clear")
    signed_in.aws.login.user = signed_in.aws.add_user("ann")
    result = signed_in.on_terminal("export", "console")
    assert (result.status, result.out) == (8, "")
    assert "user/ann has signed in; nothing was kept" in result.err
    assert not list(signed_in.machine.state.glob("*/login/*.fvs"))


def test_of_several_runs_at_terminals_one_asks_and_the_others_wait(
    signed_in: LoginMachine,
) -> None:
    signed_in.machine.ok("clear")
    found: list[ProcessResult] = []
    signed_in.aws.login.pages.clear()

    def wait() -> None:
        found.append(signed_in.machine.on_terminal("export", "console"))

    others = [threading.Thread(target=wait) for _ in range(4)]

    def start(action: str) -> None:
        if action == "ExchangeCode":
            for each in others:
                each.start()

    signed_in.aws.watch = start
    first = signed_in.on_terminal("export", "console")
    for each in others:
        each.join()
    assert {first.out, *(each.out for each in found)} == {first.out}
    assert [each.status for each in found] == [0] * 4
    assert len(signed_in.aws.login.pages) == 1


def test_explain_names_the_login_session_and_calls_nothing(signed_in: LoginMachine) -> None:
    signed_in.aws.reset_calls()
    out = signed_in.machine.ok("export", "admin", "--explain").out
    assert "console: login session arn:aws:iam::123456789012:user/jon" in out
    assert "signed by the login session" in out
    out = signed_in.machine.ok("exec", "console", "--explain").out
    assert "no calls: the credentials of the login session are issued" in out
    assert signed_in.aws.actions() == []


def test_a_role_on_top_lives_an_hour_at_most_and_is_cached(signed_in: LoginMachine) -> None:
    first = export(signed_in, "admin", "--duration", "2h")
    assert signed_in.aws.calls[-1].parameters["DurationSeconds"] == "3600"
    signed_in.advance(30 * MINUTE)
    assert export(signed_in, "admin", "--duration", "2h") == first
    assert "RefreshToken" not in signed_in.aws.actions()


def test_exec_on_a_terminal_warns_of_credentials_that_end_soon(signed_in: LoginMachine) -> None:
    from tests.worlds.machine import ON_STDERR

    machine = signed_in.machine
    assert "15 minutes" not in machine.ok("exec", "console", "--", "true").err
    machine.launcher = (*ON_STDERR, *machine.launcher)
    shown = machine.on_terminal("exec", "console", "--", "true").tty
    assert "these credentials end in 15 minutes or less" in shown
    assert "15 minutes" not in machine.on_terminal("exec", "admin", "--", "true").tty


def test_a_served_command_gets_refreshed_credentials(signed_in: LoginMachine) -> None:
    with ServedCommand(signed_in.machine, "console") as served:
        first = served.key_id()
        signed_in.advance(11 * MINUTE)
        assert served.next_key_id(first) != first
    assert list(signed_in.aws.login.used.values()) == [1]


def test_a_cached_session_that_aws_refuses_is_replaced_by_a_refresh(
    signed_in: LoginMachine,
) -> None:
    first = export(signed_in)["AccessKeyId"]
    del signed_in.aws.directory.sessions[first]
    assert export(signed_in, "admin")["SessionToken"]
    assert signed_in.aws.actions() == [
        "ExchangeCode",
        "AssumeRole",
        "RefreshToken",
        "AssumeRole",
    ]
    assert export(signed_in)["AccessKeyId"] != first


# Ending


def test_clear_ends_the_login_at_aws_and_here(signed_in: LoginMachine) -> None:
    export(signed_in)
    result = signed_in.machine.ok("clear", "console")
    assert result.out == "Cleared 2 sessions.\n"
    assert result.err == ""
    assert len(signed_in.aws.login.revoked) == 1
    assert not list(signed_in.machine.state.glob("*/login/*.fvs"))
    assert signed_in.machine.run("export", "console").status == 8


@pytest.mark.parametrize("why", ["refused", "offline", "locked"])
def test_where_aws_does_not_end_it_clear_says_so_and_deletes_it(
    signed_in: LoginMachine, why: str
) -> None:
    env: dict[str, str | None] = {}
    if why == "refused":
        signed_in.aws.login.revocable = False
    elif why == "offline":
        env["AWS_ENDPOINT_URL_SIGNIN"] = "http://127.0.0.1:9"
    else:
        env["FILEVAULT_KEY_FILE"] = None
    result = signed_in.machine.run("clear", env=env)
    assert (result.status, result.out) == (0, "Cleared 1 session.\n"), result
    assert "AWS was not made to end the login session" in result.err
    assert "live for 15 minutes at most" in result.err
    assert not list(signed_in.machine.state.glob("*/login/*.fvs"))


def test_clear_does_not_wait_long_for_a_refresh_that_hangs(signed_in: LoginMachine) -> None:
    program = (
        "import sys; from filevault.sessions import token_store as t; t.DELETE_TIMEOUT = 0.5; "
        "sys.argv.pop(0); import runpy; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    signed_in.advance(15 * MINUTE)
    record = signed_in.record()
    locks = record.parents[1] / "locks"
    locks.mkdir(exist_ok=True)
    with (locks / f"login-{record.stem}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        signed_in.machine.launcher = (sys.executable, "-c", program, launcher.__file__)
        result = signed_in.machine.run("clear")
    assert (result.status, result.out) == (0, "Cleared 1 session.\n"), result
    assert "another filevault has been refreshing the login session" in result.err
    assert result.err.count("may store it again") == 1
    assert not record.exists()


def test_clear_of_another_profile_leaves_the_login(signed_in: LoginMachine) -> None:
    signed_in.machine.ok("clear", "admin")
    assert signed_in.record().exists()
    assert signed_in.aws.login.revoked == []


def test_messages_hold_no_secret_even_with_debug(signed_in: LoginMachine) -> None:
    signed_in.advance(13 * 60 * MINUTE)
    env: dict[str, str | None] = {"FILEVAULT_DEBUG": "1"}
    shown = signed_in.machine.run("export", "console", env=env).everything
    signed_in.machine.env["FILEVAULT_DEBUG"] = "1"
    shown += signed_in.by_code().everything + signed_in.by_browser().everything
    shown += signed_in.machine.ok("clear").everything
    assert not [secret for secret in signed_in.aws.issued_secrets() if secret in shown]
    assert "PRIVATE KEY" not in shown
