"""`exec --server`: what the command gets, when it is renewed, and that nothing is left."""

from __future__ import annotations

import os
import pty
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator

import pytest

from tests.fakes.faults import error
from tests.launch.installed import install
from tests.worlds.aws_machine import REGION, AwsMachine
from tests.worlds.machine import PASSPHRASE, Machine, TypedAnswer
from tests.worlds.served_command import ServedCommand
from tests.worlds.serving_process import Answer, has_ended

MINUTE = 60


@pytest.fixture
def running(ready: AwsMachine) -> Iterator[ServedCommand]:
    with ServedCommand(ready.machine, "admin") as served:
        yield served


def test_the_command_gets_an_endpoint_and_no_credentials(
    ready: AwsMachine, running: ServedCommand
) -> None:
    env = running.env
    assert env["AWS_CONTAINER_CREDENTIALS_FULL_URI"].startswith("http://127.0.0.1:")
    assert len(env["AWS_CONTAINER_AUTHORIZATION_TOKEN"]) == 43  # 256 bits in base64
    assert env["AWS_SHARED_CREDENTIALS_FILE"] == env["AWS_CREDENTIAL_PROFILES_FILE"] == "/dev/null"
    assert env["AWS_ACCOUNT_ID"] == "123456789012"
    assert env["AWS_REGION"] == env["AWS_DEFAULT_REGION"] == REGION
    found = running.get()
    assert found.status == 200
    session = ready.aws.session(found.body["AccessKeyId"])
    assert found.body["SecretAccessKey"] == session.secret_access_key
    assert found.body["Token"] == session.session_token
    assert found.body["AccountId"] == "123456789012"
    assert found.body["Expiration"].endswith("Z")
    assert not [value for value in env.values() if value in ready.secrets()]
    assert not {"AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", "AWS_CREDENTIAL_EXPIRATION"} & env.keys()


def test_other_sources_of_credentials_are_removed(ready: AwsMachine) -> None:
    stale: dict[str, str | None] = {
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/stale",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/stale",
        "AWS_WEB_IDENTITY_TOKEN_FILE": "/stale",
        "AWS_PROFILE": "stale",
        "AWS_ACCESS_KEY_ID": "stale",
    }
    with ServedCommand(ready.machine, "admin", env=stale) as served:
        assert not stale.keys() & served.env.keys()


def test_the_commands_status_is_ours(ready: AwsMachine) -> None:
    for command, status in (("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137)):
        ran = ready.machine.run("exec", "-s", "admin", "--", "sh", "-c", command)
        assert (ran.status, ran.err) == (status, "")


@pytest.mark.parametrize(
    ("argv", "status", "message"),
    [
        (("admin", "--", "no-such-command"), 127, "there is no command 'no-such-command'"),
        (("nowhere", "--", "true"), 125, "nowhere"),
        (("jonsmith", "-n", "--", "true"), 125, "only temporary credentials"),
    ],
)
def test_failures_before_the_command_are_those_of_exec(
    ready: AwsMachine, argv: tuple[str, ...], status: int, message: str
) -> None:
    ran = ready.machine.run("exec", "--server", *argv)
    assert (ran.status, ran.out) == (status, "")
    assert message in ran.err


def test_a_file_that_cannot_be_executed_is_126(ready: AwsMachine) -> None:
    script = ready.machine.home / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    ran = ready.machine.run("exec", "--server", "admin", "--", str(script))
    assert ran.status == 127
    assert "its interpreter is missing" in ran.err


@pytest.mark.parametrize("option", ["--lazy", "--allow-role=*"])
def test_options_of_a_server_go_with_it(ready: AwsMachine, option: str) -> None:
    ran = ready.machine.run("exec", option, "admin", "--", "true")
    assert ran.status == 125
    assert "goes with --server" in ran.err


# A client with the clock of the test, which asks once for each line that it gets.
JOB = """
import datetime, os
real = datetime.datetime
class Moved(real):
    @classmethod
    def now(cls, tz=None):
        with open(os.environ["CLOCK"]) as file:
            return super().now(tz) + datetime.timedelta(seconds=float(file.read()))
datetime.datetime = Moved
import boto3
client = boto3.client("sts")
with open(os.environ["FIFO"]) as orders:
    for line in orders:
        if line == "0\\n":
            break
        client.get_caller_identity()
        print("done", flush=True)
"""


@pytest.mark.parametrize(
    ("server", "pause"),
    [("--ecs-server", 450), pytest.param("--ec2-server", 240, marks=pytest.mark.torture)],
)
def test_a_job_of_65_minutes_with_a_role_of_15_never_sees_an_expired_key(
    ready: AwsMachine, server: str, pause: int
) -> None:
    """A renewal each seven and a half minutes, half the life of a session, and no other call.

    At a metadata endpoint it is each four minutes, because boto3 asks rarely there.
    """
    machine = ready.machine
    machine.env["AWS_ASSUME_ROLE_TTL"] = "15m"
    (machine.home / "job.py").write_text(JOB)
    env: dict[str, str | None] = {"CLOCK": str(machine.clock_file)}
    command = f"env; echo; exec {sys.executable} job.py"
    signed: list[str] = []
    words = ("admin",) if server == "--ecs-server" else ("--imds-v1", "admin")
    with ServedCommand(machine, *words, server=server, command=command, env=env) as served:
        renewed, former = 1, served.key_id()
        for second in range(0, 65 * 60, 30):
            if second // pause + 1 > renewed:
                renewed += 1
                former = served.next_key_id(former)
            served.order("go")
            assert served.process.stdout is not None
            assert served.process.stdout.readline() == b"done\n", served.ended()
            call = ready.aws.calls[-1]
            assert (call.action, call.outcome) == ("GetCallerIdentity", "ok")
            signed.append(call.access_key_id)
            machine.advance(30)
            ready.aws.clock.advance(30)
        assert served.end()[:2] == (0, "")
    roles = (65 * 60 - 30) // pause + 1
    assert len(set(signed)) == roles or server == "--ec2-server"
    made = [action for action in ready.aws.actions() if action != "GetCallerIdentity"]
    assert made == ["GetSessionToken", *["AssumeRole"] * roles]


def test_a_failed_renewal_is_reported_once_and_what_is_good_is_served(ready: AwsMachine) -> None:
    ready.machine.env["AWS_ASSUME_ROLE_TTL"] = "15m"
    with ServedCommand(ready.machine, "admin") as served:

        def later() -> Answer:
            ready.machine.advance(10)
            ready.aws.clock.advance(10)
            return served.get()

        first = served.key_id()
        end = ready.aws.session(first).expiration - 10
        ready.aws.arm(error("PackedPolicyTooLarge", "no"), action="AssumeRole", times=100)
        while ready.aws.clock() < end - 30:
            found = later()
            assert (found.status, found.body["AccessKeyId"]) == (200, first)
        while ready.aws.clock() < end + 30:
            found = later()
        assert (found.status, found.body["code"]) == (503, "CredentialsUnavailable")
        _until(lambda: "PackedPolicyTooLarge" in served.get().body["message"])
        ready.aws.faults.clear()
        _until(lambda: later().status == 200)
        assert served.key_id() != first
        status, _out, err = served.end()
    assert status == 0
    assert err.count("are not renewed") == 1
    assert "those served now end at" in err or "none are served any more" in err
    assert err.count("are renewed again") == 1


def _until(condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_needs_a_person_fails_at_once_and_says_so(scene: AwsMachine) -> None:
    """A role with an MFA code of its own for each session: a renewal would have to ask."""
    scene.configure(mfa_process=False).store()
    scene.role.max_session_duration = 2 * 3600
    scene.machine.env["AWS_ASSUME_ROLE_TTL"] = "2h"  # so that no session comes before the role
    with ServedCommand(scene.machine, "admin", "-t", scene.user.totp()) as served:
        first = served.key_id()
        scene.machine.advance(110 * MINUTE)
        scene.aws.clock.advance(110 * MINUTE)
        assert served.key_id() == first
        scene.machine.advance(10 * MINUTE)
        _until(lambda: "there is no terminal" in str(served.get().body))
        _status, _out, err = served.end()
    assert "needs a code" in err


def test_lazy_obtains_nothing_until_it_is_asked(ready: AwsMachine) -> None:
    with ServedCommand(ready.machine, "--lazy", "admin") as served:
        assert ready.aws.calls == []
        found = served.get()
        while found.status == 503:  # a busy machine loads botocore slowly
            assert "being obtained" in found.body["message"]
            found = served.get()
        assert found.status == 200
        assert ready.aws.actions() == ["GetSessionToken", "AssumeRole"]


def test_roles_are_assumed_as_far_as_a_pattern_allows(ready: AwsMachine) -> None:
    allowed = ready.aws.add_role("app-one", trusts=[ready.role])
    ready.aws.add_role("other", trusts=[ready.role])
    pattern = "arn:aws:iam::123456789012:role/app-*"
    with ServedCommand(ready.machine, "--allow-role", pattern, "admin") as served:
        found = served.get(f"/role-arn/{allowed.arn}")
        while found.status == 503:
            found = served.get(f"/role-arn/{allowed.arn}")
        assert found.status == 200, found
        assert ready.aws.session(found.body["AccessKeyId"]).role is allowed
        assert found.body["AccountId"] == "123456789012"
        for path in (
            f"/role-arn/{allowed.arn.replace('app-one', 'other')}",
            f"/role-arn/{allowed.arn.replace('/', '%2F')}",
            f"/role-arn/{allowed.arn}/",
            f"/role-arn/{allowed.arn}?x",
            f"/role-arn//{allowed.arn}",
            "/role-arn/",
            "/role-arn",
        ):
            assert served.get(path).status == 404, path
        assert served.get("/creds/admin").body == served.get("/").body
        assert served.get("/creds/jonsmith").status == 404


def test_a_default_section_that_would_win_is_warned_of(scene: AwsMachine) -> None:
    scene.configure(more="[default]\naws_access_key_id = AKIAX\n").store()
    ran = scene.machine.ok("exec", "--server", "admin", "--", "true")
    assert "[default] in" in ran.err
    assert "aws_access_key_id" in ran.err


# The person.


def test_questions_come_before_the_command(scene: AwsMachine) -> None:
    scene.configure(mfa_process=False).store()
    ran = scene.machine.on_terminal(
        *("exec", "--server", "admin", "--", "sh", "-c", "read line; echo got $line"),
        env={"FILEVAULT_PASSPHRASE": None},
        stdin=b"what was piped\n",
        answers=[
            TypedAnswer("Passphrase for", PASSPHRASE),
            TypedAnswer("MFA code", scene.user.totp()),
        ],
    )
    assert (ran.status, ran.out) == (0, "got what was piped\n")


def test_a_typed_passphrase_serves_later_renewals(scene: AwsMachine) -> None:
    """Without MFA: the renewal opens the long-term key, though the person has gone."""
    scene.configure(mfa=False).store()
    scene.role.require_mfa = False
    script = (
        "import os, sys, time, urllib.request as r\n"
        "def ask():\n"
        "  q = r.Request(os.environ['AWS_CONTAINER_CREDENTIALS_FULL_URI'], headers={"
        "'Authorization': os.environ['AWS_CONTAINER_AUTHORIZATION_TOKEN']})\n"
        "  return r.urlopen(q).read()\n"
        "first = ask()\n"
        "open('clock', 'w').write('2800')\n"
        f"os.rename('clock', {str(scene.machine.clock_file)!r})\n"
        "while ask() == first: time.sleep(0.02)\n"
    )
    ran = scene.machine.on_terminal(
        *("exec", "--server", "jonsmith", "--", sys.executable, "-c", script),
        env={"FILEVAULT_PASSPHRASE": None},
        answers=[TypedAnswer("Passphrase for", PASSPHRASE)],
    )
    assert (ran.status, ran.err) == (0, "")
    assert scene.aws.actions() == ["GetSessionToken"] * 2


def test_ctrl_c_at_a_question_ends_it_with_the_terminal_as_it_was(scene: AwsMachine) -> None:
    scene.configure().store()
    ran = scene.machine.on_terminal(
        *("exec", "--server", "admin", "--", "true"),
        env={"FILEVAULT_PASSPHRASE": None},
        answers=[TypedAnswer("Passphrase for", "\x03")],
    )
    assert ran.status == 130
    assert ran.echo
    assert scene.aws.calls == []


def test_ctrl_c_while_the_command_runs_is_the_commands(ready: AwsMachine) -> None:
    ran = ready.machine.on_terminal(
        *("exec", "--server", "admin", "--", sys.executable, "-c"),
        "import os, time\ntty = os.open('/dev/tty', os.O_WRONLY)\n"
        "try:\n  os.write(tty, b'now')\n  time.sleep(20)\n"
        "except KeyboardInterrupt:\n  raise SystemExit(9)",
        answers=[TypedAnswer("now", "\x03")],
    )
    assert ran.status == 9


# Ends.


def refused(port: int) -> bool:
    """Return whether nothing listens at a port."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) != 0


def test_nothing_is_left_after_the_command(ready: AwsMachine) -> None:
    with ServedCommand(ready.machine, "admin") as served:
        port, renewing = served.port, served.renewing_pid
        assert not refused(port)
        assert served.end(3) == (3, "", "")
    assert refused(port)
    assert has_ended(renewing)


@pytest.mark.parametrize("killed", ["filevault", "filevault, stopped", "command"])
def test_nothing_listens_after_a_kill(running: ServedCommand, killed: str) -> None:
    port, renewing = running.port, running.renewing_pid
    command = running.command_pid
    if killed == "filevault, stopped":
        os.kill(running.process.pid, signal.SIGSTOP)
        _until(lambda: _state(running.process.pid) == "T")
    os.kill(running.process.pid if killed != "command" else command, signal.SIGKILL)
    if killed != "command":
        assert has_ended(running.process.pid)
        os.kill(command, signal.SIGKILL)
    status, _out, err = running.ended()
    assert (status, err) == ((-signal.SIGKILL, "") if killed != "command" else (137, ""))
    assert refused(port)
    assert has_ended(renewing)


def test_a_renewing_process_that_is_stopped_is_not_waited_for(running: ServedCommand) -> None:
    renewing = running.renewing_pid
    os.kill(renewing, signal.SIGSTOP)
    assert running.end(4) == (4, "", "")
    assert has_ended(renewing)


def test_nothing_is_left_after_the_terminal_is_closed(ready: AwsMachine) -> None:
    master, slave = pty.openpty()
    with ServedCommand(ready.machine, "admin", terminal=slave) as served:
        os.close(slave)
        port, renewing = served.port, served.renewing_pid
        os.close(master)
        assert served.ended()[0] == 128 + signal.SIGHUP
        assert refused(port)
        assert has_ended(renewing)


def test_keys_of_the_terminal_reach_a_command_once_and_other_signals_too(
    ready: AwsMachine,
) -> None:
    """SIGINT from the terminal is not doubled; SIGUSR1 is forwarded; SIGTERM ends both."""
    command = (
        "trap 'echo int' INT; trap 'echo usr1' USR1; env; echo COMMAND_PID=$$; echo; "
        "while :; do read -r line < $FIFO; done"
    )
    master, slave = pty.openpty()
    with ServedCommand(ready.machine, "admin", command=command, terminal=slave) as served:
        os.close(slave)
        assert served.process.stdout is not None
        os.write(master, b"\x03")
        assert served.process.stdout.readline() == b"int\n"
        served.process.send_signal(signal.SIGUSR1)
        assert served.process.stdout.readline() == b"usr1\n"
        served.process.send_signal(signal.SIGTERM)
        status, out, _err = served.ended()
        assert (status, out) == (128 + signal.SIGTERM, "")
        os.close(master)


def test_without_the_renewing_process_what_is_good_is_served(running: ServedCommand) -> None:
    first = running.key_id()
    os.kill(running.renewing_pid, signal.SIGKILL)
    assert running.key_id() == first
    running.machine.advance(61 * MINUTE)
    assert running.get().status == 503
    status, _out, err = running.end()
    assert status == 0
    assert err.count("the process that renews credentials has ended") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_are_forwarded(running: ServedCommand, number: signal.Signals) -> None:
    running.process.send_signal(number)
    assert running.ended() == (128 + number, "", "")


def test_a_stopped_command_stops_filevault_and_goes_on_with_it(running: ServedCommand) -> None:
    os.kill(running.command_pid, signal.SIGSTOP)
    _until(lambda: _state(running.process.pid) == "T")
    os.kill(running.process.pid, signal.SIGCONT)
    _until(lambda: _state(running.command_pid) != "T")
    assert running.end(5) == (5, "", "")


class Shell:
    """An interactive bash on a terminal."""

    def __init__(self, machine: Machine) -> None:
        program = install(machine)
        env = {**machine.environment({"LAUNCH": None}), "PS1": "PROMPT> ", "TERM": "dumb"}
        env["PATH"] = f"{program.parent}:{env['PATH']}"
        self._text = b""
        self._pid, self._master = pty.fork()
        if self._pid == 0:
            os.execve("/bin/bash", ["bash", "--norc", "-i"], env)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def shows(self, wanted: str) -> str:
        """Wait for a text; return what came before it."""
        deadline = time.monotonic() + 20
        while wanted.encode() not in self._text:
            assert time.monotonic() < deadline, self._text
            if select.select([self._master], [], [], 0.2)[0]:
                self._text += os.read(self._master, 4096)
        before, _, self._text = self._text.partition(wanted.encode())
        return before.decode()

    def close(self) -> None:
        os.close(self._master)
        os.waitpid(self._pid, 0)


def test_a_shell_stops_it_goes_on_with_it_and_pipes_it(ready: AwsMachine) -> None:
    shell = Shell(ready.machine)
    try:
        shell.shows("PROMPT> ")
        command = "sh -c 'echo sta''rted; read x; echo got $x; exit 4'"
        shell.type(f"filevault exec -s admin -- {command}\n")
        shell.shows("started\r\n")
        shell.type("\x1a")
        assert "Stopped" in shell.shows("PROMPT> ")
        shell.type("fg\n")
        shell.shows("fg\r\n")
        shell.type("hello\n")
        assert "got hello" in shell.shows("PROMPT> ")
        # The reader ends first; it and filevault are one job.
        shell.type(
            "echo $?; filevault exec -s admin -- seq 100000 | head -1; echo ${PIPESTATUS[@]}\n"
        )
        shell.shows("4\r\n1\r\n141 0\r\n")
    finally:
        shell.close()


def _state(pid: int) -> str:
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return file.read().rpartition(")")[2].split()[0]


def test_the_command_inherits_no_descriptor_and_no_secret(ready: AwsMachine) -> None:
    code = "import os; print(*os.listdir('/proc/self/fd')); print(*os.environ)"
    ran = ready.machine.ok("exec", "--server", "admin", "--", sys.executable, "-c", code)
    descriptors, names = ran.out.splitlines()
    assert sorted(descriptors.split()) == ["0", "1", "2", "3"]  # the last is of the listing
    assert "FILEVAULT_PASSPHRASE" not in names
