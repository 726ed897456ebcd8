"""Which words are the profile, which the command, and what happens without one of them."""

from __future__ import annotations

from tests.worlds.aws_machine import AwsMachine
from tests.worlds.machine import PASSPHRASE, TypedAnswer


def test_the_dashes_may_be_left_out(ready: AwsMachine) -> None:
    result = ready.machine.ok("exec", "-n", "jonsmith", "sh", "-c", "echo $AWS_VAULT $1", "x", "-y")
    assert result.out == "jonsmith -y\n"


def test_the_profile_may_come_from_the_environment(ready: AwsMachine) -> None:
    env = {"AWS_PROFILE": "jonsmith"}
    shown = ready.machine.ok("exec", "-n", "--", "sh", "-c", "echo $AWS_VAULT", env=env)
    assert shown.out == "jonsmith\n"
    assert ready.machine.ok("export", "-n", env=env).out.startswith("AWS_ACCESS_KEY_ID=")
    result = ready.machine.ok("exec", "-n", "jonsmith", "true", env={"AWS_PROFILE": "nowhere"})
    assert result.err == ""


def test_a_command_in_the_profiles_place_is_told_how_to_write_it(ready: AwsMachine) -> None:
    result = ready.machine.run("exec", "aws", "s3", "ls", env={"AWS_PROFILE": "jonsmith"})
    assert result.status == 125
    assert "filevault exec -- aws s3 ls" in result.err


def test_without_a_command_the_users_shell_runs(ready: AwsMachine, tmp_path: object) -> None:
    shell = ready.machine.home / "shell"
    shell.write_text("#!/bin/sh\necho shell for $AWS_VAULT\n")
    shell.chmod(0o755)
    env = {"SHELL": str(shell)}
    assert ready.machine.ok("exec", "-n", "jonsmith", env=env).out == "shell for jonsmith\n"
    none = ready.machine.ok(
        "exec", "-n", "jonsmith", env={"SHELL": None}, stdin="echo $0 $AWS_VAULT\n"
    )
    assert none.out == "/bin/sh jonsmith\n"


def test_a_shell_on_a_terminal_is_announced_unless_that_is_switched_off(ready: AwsMachine) -> None:
    machine = ready.machine
    machine.launcher = ("sh", "-c", 'exec "$@" >/dev/tty', "sh", *machine.launcher)
    said = "starting /bin/true; exit leaves it"
    env = {"SHELL": "/bin/true"}
    assert said in machine.on_terminal("exec", "-n", "jonsmith", env=env).err
    assert said not in machine.on_terminal("exec", "-n", "jonsmith", "true", env=env).err
    env["AWS_VAULT_DISABLE_HELP_MESSAGE"] = "1"
    assert said not in machine.on_terminal("exec", "-n", "jonsmith", env=env).err


def test_a_sub_shell_inside_a_sub_shell_is_refused(ready: AwsMachine) -> None:
    inner = {"AWS_VAULT": "outer\x1b[31m"}
    result = ready.machine.run("exec", "jonsmith", env=inner)
    assert (result.status, result.out) == (125, "")
    assert "sub-shell of filevault already, for profile 'outer" in result.err
    assert "\x1b" not in result.err
    assert "leave it with exit" in result.err


def test_a_command_and_an_export_inside_a_sub_shell_are_fine(ready: AwsMachine) -> None:
    inner = {"AWS_VAULT": "outer"}
    assert ready.machine.ok("exec", "-n", "jonsmith", "true", env=inner).err == ""
    assert ready.machine.ok("export", "-n", "jonsmith", env=inner).err == ""
    assert ready.machine.ok("exec", "-n", "-j", "jonsmith", env=inner).err == ""


def test_explaining_calls_nothing_and_decrypts_nothing(ready: AwsMachine) -> None:
    locked = {"FILEVAULT_PASSPHRASE": None}
    before = sorted(path for path in ready.machine.state.rglob("*"))
    for command in (("exec", "admin", "--explain", "--", "touch", "x"), ("export", "admin")):
        options = () if "--explain" in command else ("--explain",)
        result = ready.machine.ok(*command, *options, env=locked)
        assert "AssumeRole" in result.out
        assert "MFA" in result.out
        assert result.err == ""
    assert ready.aws.calls == []
    assert not (ready.machine.home / "x").exists()
    assert sorted(path for path in ready.machine.state.rglob("*")) == before


def test_explaining_says_which_session_is_kept(plain: AwsMachine) -> None:
    locked = {"FILEVAULT_PASSPHRASE": None}
    assert "will be kept" in plain.machine.ok("export", "jonsmith", "--explain", env=locked).out
    plain.machine.ok("export", "jonsmith")
    shown = plain.machine.ok("export", "jonsmith", "--explain", env=locked)
    assert "a session is kept until 20" in shown.out
    assert len(plain.aws.calls) == 1


def test_explaining_leaves_stdin_alone(scene: AwsMachine) -> None:
    scene.configure(mfa_process=False).store()
    result = scene.machine.run("exec", "admin", "-t", "-", "--explain", stdin="not a code")
    assert result.status == 0


def test_refresh_and_no_cache_pass_over_what_is_kept(plain: AwsMachine) -> None:
    first = plain.machine.ok("export", "jonsmith").out
    assert plain.machine.ok("export", "jonsmith").out == first
    refreshed = plain.machine.ok("export", "jonsmith", "--refresh").out
    assert refreshed != first
    assert plain.machine.ok("export", "jonsmith").out == refreshed
    assert plain.machine.ok("export", "jonsmith", "--no-cache").out != refreshed
    assert plain.machine.ok("export", "jonsmith").out == refreshed
    assert plain.aws.actions() == ["GetSessionToken"] * 3


def test_a_second_code_is_never_made_of_the_given_one(scene: AwsMachine) -> None:
    scene.configure(mfa_process=False).store()
    refused = scene.machine.run("export", "admin", "-t", "12345")
    assert refused.status == 8
    assert "not a token code of six digits" in refused.err
    assert "12345" not in refused.everything
    assert scene.aws.calls == []


def test_without_anybody_to_ask_for_a_code_the_hint_names_the_ways(scene: AwsMachine) -> None:
    scene.configure(mfa_process=False).store()
    refused = scene.machine.run("export", "admin")
    assert refused.status == 5
    assert "--mfa-token" in refused.err
    assert "mfa_process" in refused.err
    told = scene.machine.on_terminal("export", "admin", "--prompt", "none")
    assert told.status == 5
    assert "--prompt none is set" in told.err


def test_a_locked_vault_is_opened_before_a_code_is_asked_for(scene: AwsMachine) -> None:
    scene.configure(mfa_process=False).store()
    wrong = [
        TypedAnswer("Passphrase for", text) for text in ("wrong one", "wrong two", "wrong three")
    ]
    result = scene.machine.on_terminal(
        "export", "admin", env={"FILEVAULT_PASSPHRASE": None}, answers=wrong
    )
    assert result.status == 5
    assert "MFA code" not in result.tty
    assert PASSPHRASE not in result.everything
