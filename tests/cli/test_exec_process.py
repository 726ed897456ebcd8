"""`exec` as a process: what the command gets, and what the caller gets back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.worlds.aws_machine import AwsMachine
from tests.worlds.machine import PASSPHRASE, PROGRAM, TypedAnswer

KEY = ("exec", "jonsmith", "--no-session", "--")


def test_the_command_has_filevaults_own_process_id(ready: AwsMachine) -> None:
    with ready.machine.popen(*KEY, "sh", "-c", "echo $$") as process:
        out, _ = process.communicate()
        assert int(out) == process.pid


@pytest.mark.parametrize("status", [0, 1, 7, 125, 255])
def test_the_commands_status_is_ours(ready: AwsMachine, status: int) -> None:
    assert ready.machine.run(*KEY, "sh", "-c", f"exit {status}").status == status


def test_a_shell_sees_the_signal_that_ended_the_command(ready: AwsMachine) -> None:
    words = [*ready.machine.launcher, *KEY, "sh", "-c", "kill -TERM $$"]
    shell = subprocess.run(
        ["sh", "-c", '"$@"; echo $?', "sh", *words],
        env=ready.machine.environment(),
        capture_output=True,
        text=True,
    )
    assert shell.stdout == "143\n"
    assert ready.machine.run(*KEY, "sh", "-c", "kill -KILL $$").status == -signal.SIGKILL


def test_a_missing_command_is_127_and_nobody_was_asked_anything(ready: AwsMachine) -> None:
    locked = {"FILEVAULT_PASSPHRASE": None}
    for command in ("no-such-command", "./no-such-command", "/no/such/command"):
        result = ready.machine.run("exec", "jonsmith", "--", command, env=locked)
        assert (result.status, result.out) == (127, "")
        assert f"there is no command '{command}'" in result.err
    assert ready.aws.calls == []


def test_a_command_that_cannot_be_executed_is_126(ready: AwsMachine, tmp_path: Path) -> None:
    plain_file = tmp_path / "plain"
    plain_file.write_text("text")
    for command in (str(plain_file), str(tmp_path)):
        result = ready.machine.run(*KEY, command)
        assert result.status == 126
        assert "cannot be executed" in result.err


def test_a_script_with_a_missing_interpreter_says_so(ready: AwsMachine, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    result = ready.machine.run(*KEY, str(script))
    assert result.status == 127
    assert "its interpreter is missing" in result.err


def test_a_script_without_a_first_line_runs_in_the_shell(ready: AwsMachine, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text('echo "$AWS_VAULT" "$1"\n')
    script.chmod(0o755)
    assert ready.machine.ok(*KEY, str(script), "a b").out == "jonsmith a b\n"


def test_arguments_reach_the_command_unchanged(ready: AwsMachine) -> None:
    words = ["--debug", "-x", "a b", "", "*", "$HOME", "\udcff\n", "--", "é"]
    script = "import sys, os; os.write(1, b'\\0'.join(map(os.fsencode, sys.argv[1:])))"
    result = ready.machine.ok(*KEY, sys.executable, "-c", script, *words)
    assert result.out.split("\0") == words


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (("exec", "jonsmith", "--bogus", "--", "true"), "--bogus"),
        (("exec", "nowhere", "--", "true"), "nowhere"),
        (("exec", "--", "true"), "no profile is given"),
        (("exec", "jonsmith", "--duration", "5y", "--", "true"), "not a duration"),
        (
            ("exec", "jonsmith", "--vault", "missing", "--", "true"),
            "there is no vault at",
        ),
        (("exec", "jonsmith", "--key-file", "missing", "-n", "--", "true"), "missing"),
    ],
)
def test_every_failure_of_ours_is_125(ready: AwsMachine, argv: tuple[str, ...], why: str) -> None:
    result = ready.machine.run(*argv)
    assert (result.status, result.out) == (125, "")
    assert why in result.err


def test_with_json_the_statuses_are_those_of_export(ready: AwsMachine) -> None:
    machine = ready.machine
    assert machine.run("exec", "-j", "nowhere").status == 3
    assert (
        machine.run("exec", "-j", "jonsmith", "-n", env={"FILEVAULT_PASSPHRASE": None}).status == 5
    )
    assert machine.run("exec", "-j", "jonsmith", "--", "true").status == 2
    assert machine.run("exec", "-j", "jonsmith", "--bogus").status == 2


def test_json_prints_the_contract_of_credential_process(ready: AwsMachine) -> None:
    machine = ready.machine
    printed = machine.ok("exec", "-j", "jonsmith", "-n").out
    assert json.loads(printed)["SecretAccessKey"] == ready.user.secret_access_key
    assert printed == machine.ok("export", "jonsmith", "-n", "--format", "json").out


def test_piped_stdin_reaches_the_command_while_prompts_use_the_terminal(scene: AwsMachine) -> None:
    scene.configure(mfa_process=False).store()
    data = bytes(range(256)) * 300
    result = scene.machine.on_terminal(
        "exec",
        "admin",
        "--",
        sys.executable,
        "-c",
        "import sys, hashlib; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())",
        env={"FILEVAULT_PASSPHRASE": None},
        stdin=data,
        answers=[
            TypedAnswer("Passphrase for", PASSPHRASE),
            TypedAnswer("MFA code", scene.user.totp()),
        ],
    )
    import hashlib

    assert result.status == 0
    assert result.out == hashlib.sha256(data).hexdigest() + "\n"


def test_a_token_code_from_stdin_is_one_line_and_the_rest_is_the_commands(
    scene: AwsMachine,
) -> None:
    scene.configure(mfa_process=False).store()
    code = scene.user.totp()
    result = scene.machine.ok(
        "exec", "admin", "-t", "-", "--", "cat", stdin=f"{code}\nfirst\nsecond".encode()
    )
    assert result.out == "first\nsecond"


def test_the_callers_descriptors_survive_and_those_of_secrets_do_not(ready: AwsMachine) -> None:
    secret_read, secret_write = os.pipe()
    os.write(secret_write, PASSPHRASE.encode())
    os.close(secret_write)
    unread, unread_write = os.pipe()
    os.write(unread_write, b"another")
    os.close(unread_write)
    mine, mine_write = os.pipe()
    os.write(mine_write, b"for the command")
    os.close(mine_write)
    show = (
        "import os, json; print(json.dumps({fd: os.readlink(f'/proc/self/fd/{fd}') "
        "for fd in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{fd}')}));"
        f"print(os.read({mine}, 99).decode())"
    )
    result = ready.machine.ok(
        *KEY[:-1],
        "--passphrase-fd",
        str(secret_read),
        "--",
        sys.executable,
        "-c",
        show,
        env={"FILEVAULT_PASSPHRASE": None, "FILEVAULT_KEY_FD": str(unread)},
        pass_fds=(secret_read, unread, mine),
    )
    for fd in (secret_read, unread, mine):
        os.close(fd)
    table, text = result.out.splitlines()
    open_there = {int(fd) for fd in json.loads(table)}
    assert text == "for the command"
    assert open_there == {0, 1, 2, mine}


def test_a_passphrase_on_stdin_leaves_the_command_an_empty_one(ready: AwsMachine) -> None:
    result = ready.machine.ok(
        *KEY[:-1],
        "--passphrase-fd",
        "0",
        "--",
        "sh",
        "-c",
        "readlink /proc/self/fd/0; cat",
        env={"FILEVAULT_PASSPHRASE": None},
        stdin=PASSPHRASE + "\n",
    )
    assert result.out == "/dev/null\n"


def test_the_command_gets_back_the_signals_that_python_ignores(ready: AwsMachine) -> None:
    show = "grep -E 'SigIgn|SigBlk' /proc/self/status"
    ours = ready.machine.ok(*KEY, "sh", "-c", show).out
    usual = subprocess.run(
        ["sh", "-c", show], capture_output=True, text=True, restore_signals=True, check=True
    ).stdout
    assert ours == usual
    assert ready.machine.run(*KEY, "sh", "-c", "kill -PIPE $$").status == -signal.SIGPIPE


def test_a_hang_up_that_nohup_ignores_stays_ignored(ready: AwsMachine) -> None:
    machine = ready.machine
    machine.launcher = ("env", "--ignore-signal=HUP", *machine.launcher)
    assert machine.run(*KEY, "sh", "-c", "kill -HUP $$; echo alive").out == "alive\n"


def test_the_working_directory_and_umask_are_the_callers(ready: AwsMachine, tmp_path: Path) -> None:
    machine = ready.machine
    machine.launcher = ("sh", "-c", 'umask 027; exec "$@"', "sh", *machine.launcher)
    assert machine.run(*KEY, "sh", "-c", "pwd; umask", cwd=tmp_path).out == f"{tmp_path}\n0027\n"


WITHOUT_CHILD_SIGNAL = """
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGCHLD,))
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_a_parent_that_ignores_its_children_hides_no_status(ready: AwsMachine) -> None:
    """Both are inherited, and the kernel then keeps no status of the helper programs."""
    machine = ready.machine
    machine.launcher = (sys.executable, "-c", WITHOUT_CHILD_SIGNAL, *PROGRAM)
    assert machine.run("exec", "admin", "--server", "--", "sh", "-c", "exit 3").status == 3
    masks = machine.ok("exec", "admin", "--", "grep", "-E", "^Sig(Blk|Ign):", "/proc/self/status")
    bit = 1 << (signal.SIGCHLD - 1)
    for line in masks.out.splitlines():  # the command is as its caller wanted it
        assert int(line.split()[1], 16) & bit, masks
    del machine.env["FILEVAULT_PASSPHRASE"]
    machine.env["FILEVAULT_PASSPHRASE_COMMAND"] = f"sh -c 'echo {PASSPHRASE}; exit 4'"
    failed = machine.run("export", "jonsmith", "--no-session")
    assert (failed.status, "failed with status 4" in failed.err) == (5, True), failed
