"""Words of others: from AWS, arguments and variables, never raw on a terminal."""

from __future__ import annotations

import pytest

from tests.fakes import error
from tests.worlds.leak_check import HOSTILE, RAW, LeakCheck


@pytest.mark.parametrize("action", ["GetSessionToken", "AssumeRole"])
def test_hostile_words_of_aws_reach_nobodys_terminal_raw(watch: LeakCheck, action: str) -> None:
    machine, aws, user = watch.scene.machine, watch.scene.aws, watch.scene.user
    known = [user.secret_access_key, watch.code()]
    if action == "AssumeRole":
        machine.ok("exec", "jonsmith", "--", "true")
        (session,) = aws.directory.sessions.values()
        known = [session.secret_access_key, session.session_token]
    words = f"no {HOSTILE} {' '.join(known)}"
    in_xml = "".join(character for character in words if character >= " " or character in "\r\n")
    aws.arm(error("Hostile\u202e", in_xml, 400), action=action)
    result = machine.run("export", "admin", "-t", "-", stdin=known[1])
    assert (result.status, result.out) == (8, "")
    lines = [line for line in result.err.splitlines() if not line.startswith("filevault: debug")]
    assert lines[0].startswith(f"filevault: error: AWS refused {action}")
    assert len(lines) == 1
    assert "***" in lines[0]
    watch.check(result)


def test_answers_that_are_not_awss(watch: LeakCheck) -> None:
    for status in (400, 500):
        watch.scene.aws.clock.advance(30)
        watch.scene.aws.arm(error("", "", status), times=5)
        result = watch.scene.machine.run("export", "admin")
        assert result.status == 8
        watch.check(result)
        watch.scene.aws.faults.clear()


def test_hostile_arguments_are_shown_escaped(watch: LeakCheck) -> None:
    machine = watch.scene.machine
    hostile = HOSTILE.replace("\x00", "")
    for argv in (
        (hostile,),
        ("list", f"--{hostile}"),
        ("export", hostile),
        ("exec", hostile, "--", "true"),
        ("exec", "-n", "jonsmith", "--", hostile),
        ("exec", "-n", "jonsmith", "--", f"./{hostile}"),
        ("export", "jonsmith", "--format", hostile),
        ("export", "jonsmith", "--region", hostile),
        ("list", "--vault", f"/{hostile}"),
        ("list", "--pin", hostile),
        ("export", "jonsmith", "-n", "--slot", hostile),
        ("remove", "-f", hostile),
        ("recipients", "accept", hostile),
        ("add", hostile, "--stdin"),
        ("init", "--vault", "v", "--new-key-file", f"{hostile}/k"),
        ("import", f"./{hostile}"),
        ("import", "--from", hostile),
        ("import", "-", "--name", hostile),
        ("rename", hostile, "x"),
        ("copy", "jonsmith", "x", "--to", f"/{hostile}"),
        ("migrate", "--to", f"{hostile}:x"),
        ("migrate", "--to", f"file:/{hostile}"),
        ("verify", hostile),
        ("serve", hostile),
        ("serve", "jonsmith", "--allow-role", hostile),
        ("signin", hostile, "--adopt"),
        ("sso", hostile),
        ("sso", "login", hostile),
        ("sso", "profiles", hostile, "--name", hostile, "--yes"),
        ("completion", hostile),
        ("log", "-n", hostile),
        ("list", hostile),
    ):
        result = machine.run(*argv, stdin="")
        assert not RAW & set(result.out + result.err), (argv, result.err)
        assert "unexpected" not in result.err, argv
        assert "\nfilevault: error: forged" not in "\n" + result.err


def test_hostile_variables_are_shown_escaped(watch: LeakCheck) -> None:
    machine = watch.scene.machine
    hostile = HOSTILE.replace("\x00", "")
    for name in (
        "FILEVAULT_DIR", "FILEVAULT_BACKEND", "AWS_VAULT_BACKEND", "FILEVAULT_STRICT",
        "FILEVAULT_PIN", "FILEVAULT_PROMPT", "AWS_VAULT_DURATION", "AWS_MFA_SERIAL",
        "AWS_ROLE_ARN", "AWS_REGION", "AWS_ENDPOINT_URL", "AWS_CONFIG_FILE", "AWS_PROFILE",
        "AWS_SESSION_TAGS", "FILEVAULT_PASSPHRASE_COMMAND", "CREDENTIALS_DIRECTORY", "HOME",
        "XDG_STATE_HOME", "AWS_VAULT",
    ):  # fmt: skip
        # A relative HOME would be passed over for that of the password database.
        value = f"{machine.home}/{hostile}" if name in ("HOME", "XDG_STATE_HOME") else hostile
        profile = () if name == "AWS_PROFILE" else ("jonsmith",)
        result = machine.run("export", *profile, env={name: value})
        assert not RAW & set(result.err), (name, result.err)
        assert "unexpected" not in result.err, name
        watch.scene.aws.clock.advance(30)
