"""`filevault sso`, and profiles of Identity Center in `exec`, `export` and `list`, as processes."""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import sys
import threading
from pathlib import Path

import pytest

from tests.fakes import FakeAws
from tests.fakes.identity_center import START_URL
from tests.launch import launcher
from tests.worlds.machine import PASSPHRASE, Machine, ProcessResult, TypedAnswer

PROD = "111122223333"
STAGE = "444455556666"
SIGN_IN = ["RegisterClient", "StartDeviceAuthorization", "CreateToken", "CreateToken"]
CONFIG = """# mine
[sso-session work]
sso_start_url = {start}
sso_region = eu-west-1
sso_registration_scopes = sso:account:access
[profile dev]
sso_session = work
sso_account_id = 111122223333
sso_role_name = Admin
region = eu-west-1
endpoint_url = {url}
[profile chained]
source_profile = dev
role_arn = {role}
region = eu-west-1
endpoint_url = {url}
duration_seconds = 43200
[profile inline]
sso_start_url = {start}
sso_region = eu-west-1
sso_account_id = 111122223333
sso_role_name = ReadOnly
endpoint_url = {url}
[profile half]
sso_session = work
# the end"""


class SsoMachine:
    """A machine with a vault, whose profiles are those of an Identity Center instance."""

    def __init__(self, machine: Machine, aws: FakeAws) -> None:
        self.machine = machine
        self.aws = aws
        aws.sso.assign(PROD, "prod", "Admin", "ReadOnly")
        aws.sso.assign(STAGE, "dev stage", "Admin")
        aws.sso.enforces_interval = False  # the launcher shortens pauses
        role = aws.add_role("deploy", trusts=[PROD])
        machine.write_config(CONFIG.format(start=START_URL, url=aws.url, role=role.arn))
        machine.with_vault()

    def sign_in(self) -> SsoMachine:
        """Sign in, confirmed by the second poll."""
        self.aws.sso.confirm_after = 2
        self.machine.ok("sso", "login", "work")
        self.aws.reset_calls()
        return self

    def check(self, result: ProcessResult) -> ProcessResult:
        """Require that no secret is in the messages or on the terminal, and no fault of the fake.

        Those of `export` are its result.
        """
        for secret in (*self.aws.issued_secrets(), PASSPHRASE):
            assert secret not in result.err + result.tty
        return result


@pytest.fixture
def scene(quick_machine: Machine, aws: FakeAws) -> SsoMachine:
    return SsoMachine(quick_machine, aws)


def exported(result: ProcessResult) -> dict[str, str]:
    assert result.status == 0, result
    found: dict[str, str] = json.loads(result.out)
    return found


# Signing in


def test_export_signs_in_on_the_terminal_and_keeps_everything(scene: SsoMachine) -> None:
    scene.aws.sso.confirm_after = 2
    result = scene.check(scene.machine.on_terminal("export", "dev", "--format", "json"))
    made = exported(result)
    assert made["AccountId"] == PROD
    assert result.err == ""
    assert "open this link in a browser, on any device" in result.tty
    assert "Ctrl-C ends" in result.tty
    assert scene.aws.actions() == [*SIGN_IN, "GetRoleCredentials"]
    assert exported(scene.machine.run("export", "dev", "--format", "json")) == made
    assert scene.aws.actions() == [*SIGN_IN, "GetRoleCredentials"]
    exported(scene.machine.run("export", "inline", "--format", "json"))
    assert scene.aws.actions()[5:] == ["GetRoleCredentials"], "one sign-in serves both"


@pytest.mark.parametrize(
    ("words", "status"),
    [(("export", "chained"), 8), (("exec", "dev", "--", "true"), 125), (("login", "dev"), 8)],
)
def test_without_a_terminal_a_sign_in_is_an_error_at_once(
    scene: SsoMachine, words: tuple[str, ...], status: int
) -> None:
    result = scene.machine.run(*words)
    assert (result.status, result.out) == (status, "")
    assert "hint: sign in with: filevault sso login work" in result.err
    assert scene.aws.actions() == []


def test_login_needs_no_terminal_and_shows_the_code_on_stderr(scene: SsoMachine) -> None:
    scene.aws.sso.confirm_after = 2
    result = scene.check(scene.machine.ok("sso", "login"))
    assert "Signed in to SSO session 'work'" in result.out
    assert "and confirm only if it shows the code" in result.err
    again = scene.machine.ok("sso", "login", "inline")
    assert again.err == ""
    assert scene.aws.actions() == SIGN_IN
    scene.machine.ok("sso", "login", "dev", "--force")
    assert scene.aws.actions() == [*SIGN_IN, *SIGN_IN[1:]]


def test_sixteen_exports_at_once_make_one_sign_in_and_show_one_link(scene: SsoMachine) -> None:
    """Each has its own terminal, as tabs of an editor have; half of them are for another role."""
    sso = scene.aws.sso
    results: list[ProcessResult] = []

    def export(number: int) -> None:
        profile = ("dev", "inline")[number % 2]
        results.append(scene.machine.on_terminal("export", profile, "--format", "json", timeout=60))

    threads = [threading.Thread(target=export, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    shown = threading.Event()
    scene.aws.watch = lambda action: shown.set() if action == "CreateToken" else None
    while not sso.devices:
        shown.wait(0.05)
    sso.confirm_all()
    for thread in threads:
        thread.join()
    assert len({exported(result)["AccessKeyId"] for result in results}) == 2
    assert sum("open this link" in result.tty for result in results) <= 1
    actions = scene.aws.actions()
    assert actions.count("StartDeviceAuthorization") == 1
    assert actions.count("GetRoleCredentials") == 2


def test_exports_at_once_refresh_a_token_once_at_each_expiry(scene: SsoMachine) -> None:
    scene.sign_in()
    for _ in range(2):
        scene.aws.reset_calls()
        scene.aws.clock.advance(3000)
        scene.machine.advance(3000)
        running = [
            scene.machine.popen("export", ("dev", "inline")[number % 2], "--refresh")
            for number in range(12)
        ]
        for each in running:
            each.communicate(timeout=60)
            assert each.returncode == 0
        assert scene.aws.actions().count("CreateToken") == 1
    assert len(scene.aws.sso.refresh) == 1


def test_a_role_is_assumed_with_the_roles_credentials_for_an_hour(scene: SsoMachine) -> None:
    scene.sign_in()
    exported(scene.machine.run("export", "chained", "--format", "json"))
    assert scene.aws.actions() == ["GetRoleCredentials", "AssumeRole"]
    assert scene.aws.calls[1].parameters["DurationSeconds"] == "3600"
    exported(scene.machine.run("export", "chained", "--format", "json"))
    assert len(scene.aws.calls) == 2


def test_editing_the_account_or_role_gives_no_session_of_the_former(scene: SsoMachine) -> None:
    scene.sign_in()
    before = exported(scene.machine.run("export", "dev", "--format", "json"))
    config = scene.machine.config
    config.write_text(
        config.read_text().replace("sso_role_name = Admin", "sso_role_name = ReadOnly")
    )
    assert exported(scene.machine.run("export", "dev", "--format", "json")) != before


def test_the_console_opens_for_a_role_of_identity_center(scene: SsoMachine) -> None:
    scene.sign_in()
    result = scene.machine.ok("login", "dev", env={"AWS_ENDPOINT_URL_SIGNIN": scene.aws.url})
    assert result.out.startswith(f"{scene.aws.url}/federation?Action=login")


# The session in the config


@pytest.mark.parametrize(
    ("profile", "says"),
    [
        (
            "half",
            "profile 'half' has sso_session in line {line} of '{config}', but no sso_account_id",
        ),
        ("a", "profile 'a' has sso_start_url in line 2 of '{config}', but no sso_region"),
        ("b", "sso_account_id of profile 'b' is no AWS account id of 12 digits: '12'"),
        ("c", "the section [sso-session c] has no sso_region"),
        ("d", "names the section [sso-session nowhere], which does not exist"),
        ("e", "sso_start_url of profile 'e' is no https URL: 'http://x.example/start'"),
        ("f", "sso_region of profile 'f' is not the name of a region: 'Irgendwo'"),
        ("g", "sso_registration_scopes of the section [sso-session g] has a scope that is none"),
    ],
)
def test_a_setting_that_is_missing_or_wrong_is_named(
    scene: SsoMachine, profile: str, says: str
) -> None:
    role = "sso_account_id = 111122223333\nsso_role_name = x\n"
    more = {
        "a": f"[profile a]\nsso_start_url = {START_URL}\n",
        "b": "[profile b]\nsso_session = work\nsso_account_id = 12\nsso_role_name = x\n",
        "c": f"[sso-session c]\nsso_start_url = {START_URL}\n[profile c]\nsso_session = c\n{role}",
        "d": f"[profile d]\nsso_session = nowhere\n{role}",
        "e": f"[profile e]\nsso_start_url = http://x.example/start\nsso_region = eu-west-1\n{role}",
        "f": f"[profile f]\nsso_start_url = {START_URL}\nsso_region = Irgendwo\n{role}",
        "g": f"[sso-session g]\nsso_start_url = {START_URL}\nsso_region = eu-west-1\n"
        f"sso_registration_scopes = a b\n[profile g]\nsso_session = g\n{role}",
    }.get(profile)
    if more is not None:
        session = CONFIG.partition("[profile dev]")[0].format(start=START_URL)
        scene.machine.write_config(more + session)
    result = scene.machine.run("export", profile)
    assert result.status == 3
    assert says.format(config=scene.machine.config, line=CONFIG.count("\n")) in result.err


@pytest.mark.parametrize(
    ("words", "env", "status", "says"),
    [
        (("login", "nope"), {}, 3, "there is neither a section [sso-session nope] nor a profile"),
        (("login", "nope"), {}, 3, "hint: its SSO sessions are work, other"),
        (("login", "wrk"), {}, 3, "did you mean work?"),
        (("login", "plain"), {}, 3, "profile 'plain' has no sign-in to Identity Center"),
        (("login",), {"AWS_PROFILE": "plain"}, 3, "profile 'plain' has no sign-in"),
        (("login",), {}, 2, "which SSO session is meant? there are work, other"),
        (("login", ""), {}, 2, "the name of the session is empty"),
        (("login", "--json"), {}, 2, "--json goes with sso list"),
        (("list", "--force"), {}, 2, "--force goes with sso login"),
        (("logout", "--device-code"), {}, 2, "--device-code goes with sso login and sso list"),
        (("profiles", "work", "--name", "{x}"), {}, 2, "is not a template of names"),
        (("profiles", "work", "--region", "X"), {}, 3, "--region is not the name of a region"),
        (("profiles", "work"), {}, 5, "cannot ask whether to write the profiles"),
        (("list", "work"), {}, 8, "filevault sso list needs a sign-in to SSO session 'work'"),
    ],
)
def test_what_sso_refuses_and_how(
    scene: SsoMachine, words: tuple[str, ...], env: dict[str, str], status: int, says: str
) -> None:
    config = scene.machine.config
    config.write_text(
        f"{config.read_text()}\n[sso-session other]\nsso_start_url = {START_URL}\n"
        "sso_region = eu-west-1\n[profile plain]\nregion = eu-west-1\n"
    )
    result = scene.machine.run("sso", *words, env=env)
    assert result.status == status, result
    assert says in result.err
    assert scene.aws.actions() == []


def test_a_broken_profile_does_not_keep_its_session_from_being_used(scene: SsoMachine) -> None:
    config = scene.machine.config
    config.write_text(
        f"[profile broken]\nsso_session = work\ninclude_profile = nowhere\n{config.read_text()}\n"
    )
    scene.aws.sso.confirm_after = 1
    scene.machine.ok("sso", "login", "work")
    assert scene.machine.run("sso", "login", "broken").status == 3


# Accounts and roles


def test_list_shows_accounts_roles_and_the_profiles_that_use_them(scene: SsoMachine) -> None:
    scene.sign_in()
    result = scene.check(scene.machine.ok("sso", "list", "work"))
    assert result.out == (
        "Account       Name       Role      Profile\n"
        "=======       ====       ====      =======\n"
        "444455556666  dev stage  Admin     -\n"
        "111122223333  prod       Admin     dev\n"
        "111122223333  prod       ReadOnly  inline\n"
    )
    inline = scene.machine.ok("sso", "list", "inline", "--json", "--account", "prod")
    assert json.loads(inline.out) == [
        {
            "account_id": PROD,
            "account_name": "prod",
            "email": "root@prod.example",
            "role_name": role,
            "profiles": profiles,
        }
        for role, profiles in (("Admin", ["dev"]), ("ReadOnly", ["inline"]))
    ]
    none = scene.machine.ok("sso", "list", "work", "--role", "Nobody", "--json")
    assert json.loads(none.out) == []
    assert "no account and role" in none.err


def test_profiles_are_written_after_a_look_and_a_yes(scene: SsoMachine) -> None:
    scene.sign_in()
    before = scene.machine.config.read_text()
    dry = scene.machine.ok("sso", "profiles", "work", "--dry-run")
    assert scene.machine.config.read_text() == before
    added = [line[1:] for line in dry.out.splitlines() if line.startswith("+")][1:]
    assert added[:5] == [
        "",
        "[profile dev-stage-Admin]",
        "sso_session = work",
        f"sso_account_id = {STAGE}",
        "sso_role_name = Admin",
    ]
    no = scene.machine.on_terminal("sso", "profiles", "work", answers=[TypedAnswer("(y|N)", "n")])
    assert no.status == 0
    assert "nothing was written" in no.err
    assert scene.machine.config.read_text() == before
    words = (
        "sso",
        "profiles",
        "work",
        "--region",
        "eu-west-3",
        "--name",
        "x.{account_id}.{role_name}",
    )
    yes = scene.machine.on_terminal(*words, answers=[TypedAnswer("(y|N)", "y")])
    assert "wrote 1 profile " in yes.err
    after = scene.machine.config.read_text()
    assert after.startswith(before + "\n\n[profile x."), "every other byte stays"
    assert after.count("region = eu-west-3") == 1
    # botocore reads what was written.
    import botocore.session

    session = botocore.session.Session(profile=f"x.{STAGE}.Admin")
    session.set_config_variable("config_file", str(scene.machine.config))
    assert session.get_scoped_config() == {
        "sso_session": "work",
        "sso_account_id": STAGE,
        "sso_role_name": "Admin",
        "region": "eu-west-3",
    }
    again = scene.machine.ok("sso", "profiles", "work", "--yes")
    assert "Nothing to write: 3 accounts and roles have profiles." in again.out


def test_accounts_of_one_name_get_their_ids_into_the_names(scene: SsoMachine) -> None:
    for account in (PROD, "777788889999"):
        scene.aws.sso.assign(account, "prod", "Auditor")
    scene.aws.sso.assign("000000000000", "../x [y]\n\x1b", "A/B=c")
    scene.sign_in()
    scene.machine.ok("sso", "profiles", "work", "--yes")
    text = scene.machine.config.read_text()
    headers = [line for line in text.splitlines() if line.startswith("[profile")][4:]
    assert headers == [
        "[profile ..-x-y-n-x1b-A-B-c]",
        "[profile dev-stage-Admin]",
        "[profile prod-Auditor-111122223333]",
        "[profile prod-Auditor-777788889999]",
    ]


# Signing out


def test_logout_ends_the_session_at_aws_and_deletes_everything_here(scene: SsoMachine) -> None:
    scene.sign_in()
    scene.machine.ok("export", "dev")
    (token,) = scene.aws.sso.access
    result = scene.machine.ok("sso", "logout", "work")
    assert result.out == "Signed out of SSO session 'work'; 1 session deleted.\n"
    assert scene.aws.sso.access[token].portal.ends == 0.0
    assert scene.machine.run("export", "dev").status == 8
    assert scene.machine.ok("sso", "logout", "work").out.startswith("There was no sign-in")
    assert not list(scene.machine.state.glob("*/sso/*-token.fvs"))


def test_logout_deletes_the_sessions_of_every_name_of_the_start_url(scene: SsoMachine) -> None:
    """Two sections with one start URL share the sign-in, and so do profiles without a section."""
    config = scene.machine.config
    section, profile = CONFIG.partition("[profile chained]")[0].split("[profile dev]")
    second = section.replace("sso-session work", "sso-session second")
    other = second.replace("sso-session second", "sso-session other").replace(
        "{start}", "{start}/2"
    )
    more = f"{second}[profile also]{profile.replace('= work', '= second')}{other}"
    text = more.format(start=START_URL, url=scene.aws.url)
    config.write_text(f"{config.read_text()}\n{text}")
    scene.sign_in()
    for each in ("dev", "also", "inline"):
        scene.machine.ok("export", each)
    assert scene.aws.actions() == ["GetRoleCredentials"] * 3
    result = scene.machine.ok("sso", "logout", "second")
    assert result.out == "Signed out of SSO session 'second'; 3 sessions deleted.\n"
    assert not list(scene.machine.state.glob("*/sessions/*/*"))
    assert not list(scene.machine.state.glob("*/sso/*-token.fvs"))


def test_cache_sso_refresh_in_config_toml_keeps_no_refresh_token(scene: SsoMachine) -> None:
    toml = scene.machine.home / ".config/filevault/config.toml"
    toml.parent.mkdir(parents=True)
    scene.sign_in()
    toml.write_text("cache_sso_refresh = false\n")
    scene.machine.ok("export", "dev", "--refresh")
    assert "sso:work:renewable" not in scene.machine.ok("list").out
    scene.machine.advance(3700)
    scene.aws.clock.advance(3700)
    assert "the sign-in has ended" in scene.machine.run("export", "dev", "--refresh").err
    scene.aws.sso.confirm_after = 1
    assert " until 20" in scene.machine.ok("sso", "login", "work").out
    assert scene.aws.actions().count("CreateToken") == 1


def test_a_forced_sign_in_is_used_from_then_on(scene: SsoMachine) -> None:
    """It may be another user's."""
    scene.sign_in()
    first = exported(scene.machine.run("export", "dev", "--format", "json"))
    chained = exported(scene.machine.run("export", "chained", "--format", "json"))
    scene.machine.ok("sso", "login", "work")
    assert exported(scene.machine.run("export", "dev", "--format", "json")) == first
    scene.machine.ok("sso", "login", "work", "--force")
    assert exported(scene.machine.run("export", "dev", "--format", "json")) != first
    assert exported(scene.machine.run("export", "chained", "--format", "json")) != chained


def test_logout_without_a_network_says_what_is_left(scene: SsoMachine) -> None:
    scene.sign_in()
    offline = {"AWS_ENDPOINT_URL_SSO": "http://127.0.0.1:9"}
    result = scene.machine.run("sso", "logout", "work", env=offline)
    assert result.status == 12
    assert "are deleted here, but AWS could not be told" in result.err
    assert not list(scene.machine.state.glob("*/sso/*-token.fvs"))


@pytest.mark.parametrize("why", ["another process signs in", "no lock can be made"])
def test_logout_deletes_the_tokens_even_if_they_cannot_be_refreshed(
    scene: SsoMachine, why: str
) -> None:
    scene.sign_in()
    scene.machine.advance(3700)
    scene.aws.clock.advance(3700)
    (record,) = scene.machine.state.glob("*/sso/*-token.fvs")
    locks = record.parents[1] / "locks"
    with contextlib.ExitStack() as stack:
        if why == "no lock can be made":
            for each in locks.glob("*"):
                each.unlink()
            locks.rmdir()
            locks.touch()  # as a full disk prevents it
            said = "cannot "
        else:
            lock = stack.enter_context((locks / f"sso-{record.stem}").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
            program = (
                "import sys; from filevault.sessions import token_store as t; "
                "t.DELETE_TIMEOUT = 0.5; t.TokenStore.discard.__defaults__ = (0.5,); "
                "sys.argv.pop(0); import runpy; runpy.run_path(sys.argv[0], run_name='__main__')"
            )
            scene.machine.launcher = (sys.executable, "-c", program, launcher.__file__)
            said = "another filevault has been "
        result = scene.machine.run("sso", "logout", "work")
    assert result.status == 12, result
    assert f"are deleted here, but AWS could not be told: {said}" in result.err
    assert not record.exists()


def test_clear_deletes_tokens_and_calls_nobody(scene: SsoMachine) -> None:
    scene.sign_in()
    scene.machine.ok("export", "chained")
    scene.aws.reset_calls()
    assert scene.machine.ok("clear", "chained").out == "Cleared 1 session.\n"
    assert scene.machine.ok("export", "dev").status == 0
    assert scene.machine.ok("clear", "dev").out == "Cleared 2 sessions.\n"
    assert scene.machine.run("export", "dev").status == 8
    scene.machine.ok("sso", "login", "work")
    assert scene.machine.ok("clear").out == "Cleared 1 session.\n"
    assert not list(scene.machine.state.glob("*/sso/*.fvs"))
    assert "Logout" not in scene.aws.actions()


def test_list_and_status_show_the_sign_in(scene: SsoMachine) -> None:
    scene.sign_in()
    scene.machine.ok("export", "dev")
    listed = scene.machine.ok("list").out
    assert "sso:work:renewable, sso.GetRoleCredentials:59m59s" in listed
    assert "signed in: sso:work until" in scene.machine.ok("status").out
    explained = scene.machine.ok("exec", "chained", "--explain", "--", "true").out
    assert f"dev: role Admin of account {PROD} by SSO session 'work'" in explained
    assert "begins: GetRoleCredentials with the sign-in to SSO session 'work'" in explained
    assert "1. AssumeRole" in explained
    alone = scene.machine.ok("exec", "dev", "--explain", "--", "true").out
    assert "no calls" not in alone
    assert "begins: GetRoleCredentials" in alone


def test_a_locked_vault_is_the_error_before_anybody_signs_in(scene: SsoMachine) -> None:
    scene.aws.sso.confirm_after = 1
    shutil.rmtree(scene.machine.state)
    result = scene.machine.run("sso", "login", env={"FILEVAULT_PASSPHRASE": None})
    assert result.status == 5
    assert scene.aws.actions() == []


def test_verify_opens_tokens_and_a_damaged_one_is_a_warning(scene: SsoMachine) -> None:
    scene.sign_in()
    assert json.loads(scene.machine.ok("verify", "--json").out)["sessions"] == 2
    (token,) = scene.machine.state.glob("*/sso/*-token.fvs")
    token.write_bytes(token.read_bytes()[:-1] + b"?")
    result = scene.machine.ok("verify")
    assert f"sign-in 'sso/{token.name.removesuffix('.fvs')}" in result.out


# Nothing is in the clear


def test_no_file_has_a_token_a_code_or_a_client_secret(scene: SsoMachine) -> None:
    scene.sign_in()
    scene.machine.ok("export", "chained", env={"FILEVAULT_DEBUG": "1"})
    secrets = [secret.encode() for secret in scene.aws.issued_secrets()]
    assert any(secret.startswith(b"aorAAAAA") for secret in secrets)
    for path in Path(scene.machine.home).rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert not any(secret in data for secret in secrets), path
    assert not (scene.machine.home / ".aws/sso").exists()


def test_the_command_gets_credentials_and_no_token(scene: SsoMachine) -> None:
    scene.sign_in()
    result = scene.machine.ok("exec", "dev", "--", "env")
    assert "AWS_SESSION_TOKEN=" in result.out
    assert "aoaAAAAA" not in result.out
    assert "aorAAAAA" not in result.out
