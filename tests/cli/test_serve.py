"""`serve`: several profiles, their tokens, the service manager, and an orderly end."""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from filevault.cli.serving_state import ProfileState, ServingState
from filevault.cli.token_files import TokenFiles
from filevault.credentials import Credentials
from filevault.errors import BusyError, UsageError
from tests.conditions.other_user import NOBODY, as_user, needs_root
from tests.conditions.two_machines import two_machines
from tests.interop.recorder import Recorder
from tests.worlds.aws_machine import REGION, AwsMachine
from tests.worlds.machine import PROGRAM
from tests.worlds.serving_process import TIMEOUT, children, has_ended
from tests.worlds.standing_server import StandingServer


def test_each_profile_has_a_token_that_opens_no_other(ready: AwsMachine) -> None:
    with StandingServer(ready.machine, "admin", "jonsmith", profiles=2) as server:
        tokens = {name: path.read_text() for name, path in server.files.items()}
        assert len(set(tokens.values())) == 2
        for name, path in server.files.items():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert len(path.read_bytes()) == 43  # without a line end
            found = server.get(name)
            assert found.status == 200
            session = ready.aws.session(found.body["AccessKeyId"])
            assert (session.role is ready.role) == (name == "admin")
            assert server.get(name, f"/creds/{name}").body == found.body
        assert server.get("admin", "/creds/jonsmith").status == 404
        assert server.get("jonsmith", "/creds/admin").status == 404
        assert server.get(None).status == 401
        assert server.end() == (0, "")
    assert ready.aws.actions() == ["GetSessionToken", "AssumeRole"]


def test_health_is_told_without_a_token_and_tells_nothing_else(ready: AwsMachine) -> None:
    with StandingServer(ready.machine, "admin") as server:
        found = server.get(None, "/healthcheck")
        assert (found.status, found.body) == (200, {"status": "ok"})
        for pid in children(server.process.pid):  # nothing renews any more
            os.kill(pid, signal.SIGSTOP)
        ready.machine.advance(3600)
        found = server.get(None, "/healthcheck")
        assert (found.status, set(found.body)) == (503, {"code", "message"})
        for pid in children(server.process.pid):
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_order_and_takes_its_token_along(
    ready: AwsMachine, number: signal.Signals
) -> None:
    with StandingServer(ready.machine, "admin") as server:
        (path,) = server.files.values()
        (renewing,) = children(server.process.pid)
        assert server.end(number) == (0, "")
        assert not path.exists()
        assert has_ended(renewing)


def test_a_service_manager_may_end_all_its_processes_at_once(ready: AwsMachine) -> None:
    with StandingServer(ready.machine, "admin") as server:
        (renewing,) = children(server.process.pid)
        os.kill(renewing, signal.SIGTERM)
        assert server.end() == (0, "")
        assert has_ended(renewing)


def test_a_token_of_a_later_server_is_left(ready: AwsMachine) -> None:
    with StandingServer(ready.machine, "admin") as server:
        (path,) = server.files.values()
        path.write_text("another")
        server.end()
        assert path.read_text() == "another"


def test_a_changed_config_is_read_at_a_hang_up(ready: AwsMachine) -> None:
    other = ready.aws.add_role("other")
    machine = ready.machine
    with StandingServer(machine, "admin") as server:
        first = str(server.get("admin").body["AccessKeyId"])
        text = machine.config.read_text()
        machine.config.write_text(text.replace(ready.role.arn, other.arn))
        server.process.send_signal(signal.SIGHUP)
        second = server.next_key_id("admin", first)
        assert ready.aws.session(second).role is other
        machine.config.write_text("[profile admin]\nrole_arn\n")
        server.process.send_signal(signal.SIGHUP)
        assert server.process.stderr is not None
        warning = server.process.stderr.readline().decode()
        assert "the configuration is not used" in warning
        assert str(machine.config) in warning
        assert server.get("admin").body["AccessKeyId"] == second


def test_the_region_of_a_metadata_endpoint_is_that_of_the_changed_config(
    ready: AwsMachine,
) -> None:
    machine = ready.machine
    with machine.popen("serve", "--ec2", "--imds-v1", "admin") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().decode().strip() for _ in range(3)]
        uri = urlsplit(lines[1].partition("=")[2])

        def region() -> str:
            connection = http.client.HTTPConnection("127.0.0.1", uri.port or 0, timeout=TIMEOUT)
            with contextlib.closing(connection):
                connection.request("GET", "/latest/meta-data/placement/region")
                return connection.getresponse().read().decode()

        assert region() == REGION
        machine.config.write_text(machine.config.read_text().replace(REGION, "eu-south-2"))
        process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + TIMEOUT
        while region() != "eu-south-2":
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.terminate()
        assert process.wait(TIMEOUT) == 0


def test_without_its_renewing_process_it_ends_so_that_it_is_started_again(
    ready: AwsMachine,
) -> None:
    with StandingServer(ready.machine, "admin") as server:
        (renewing,) = children(server.process.pid)
        os.kill(renewing, signal.SIGKILL)
        _out, err = server.process.communicate(timeout=20)
        assert server.process.returncode == 7
        assert "the process that renews credentials has ended" in err.decode()


def test_a_client_reads_the_token_file(ready: AwsMachine) -> None:
    code = "import boto3; boto3.client('sts').get_caller_identity()"
    with Recorder() as service, StandingServer(ready.machine, "admin") as server:
        env = {
            "PATH": os.environ["PATH"],
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": server.uri,
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(server.files["admin"]),
            "AWS_ENDPOINT_URL": service.url,
            "AWS_DEFAULT_REGION": "eu-west-1",
        }
        subprocess.run([sys.executable, "-c", code], env=env, check=True)
        assert service.signers() == {server.get("admin").body["AccessKeyId"]}


def _tried_by_another_user(port: int, pids: list[int], token_file: Path) -> list[str]:
    """Ask without the token and with guesses, and look where the token is."""
    found = []
    for token in (None, "x" * 43, "Bearer " + "x" * 43):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        connection.request("GET", "/", headers={} if token is None else {"Authorization": token})
        found.append(str(connection.getresponse().status))
        connection.close()
    paths = [f"/proc/{pid}/{name}" for pid in pids for name in ("environ", "mem", "fd/0")]
    for path in (*map(Path, paths), token_file):
        try:
            path.open("rb").close()
        except OSError as error:
            found.append(errno.errorcode[error.errno or 0])
        else:
            found.append(f"{path} can be opened")
    return found


@needs_root
def test_another_user_gets_nothing_and_cannot_find_the_token(ready: AwsMachine) -> None:
    """Only its mode protects the file: the folder is open to all."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "token"
        with StandingServer(ready.machine, "--token-file", str(path), "admin") as server:
            port = urlsplit(server.uri).port
            assert port is not None
            pids = [server.process.pid, *children(server.process.pid)]
            assert len(pids) == 2
            said = as_user(NOBODY, lambda: _tried_by_another_user(port, pids, path))
            assert said == str(["401"] * 3 + ["EACCES"] * 7)
            assert server.get("admin").status == 200


# Where it listens.


def test_it_listens_where_it_is_told_to(ready: AwsMachine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        ran = ready.machine.run("serve", "--listen", f"127.0.0.1:{port}", "admin", env=RUN)
        assert ran.status == 2
        assert f"cannot listen at 127.0.0.1:{port}: address already in use\n" in ran.err
    with StandingServer(ready.machine, "--listen", f"127.0.0.1:{port}", "admin") as server:
        assert server.uri == f"http://127.0.0.1:{port}/"
        assert server.get("admin").status == 200


RUN: dict[str, str | None] = {"XDG_RUNTIME_DIR": "/tmp"}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--listen", "0.0.0.0:9911"), "every address"),
        (("--listen", "0.0.0.0:9911", "--insecure-listen"), "every address"),
        (("--listen", "10.1.2.3:9911"), "that others can reach"),
        (("--listen", "169.254.170.2:80"), "that others can reach"),
        (("--listen", "10.1.2.3:9911", "--insecure-listen"), "cannot listen at"),
        (("--listen", "9911"), "not an IPv4 address and a port"),
        (("--listen", "localhost:9911"), "not an IPv4 address and a port"),
        (("--listen", "127.0.0.1:99999"), "not an IPv4 address and a port"),
        (("--listen", "[::1]:9911"), "not an IPv4 address and a port"),
        (("--token-file", "a", "--token-file", "b"), "1 profiles and 2 token files"),
        (("--no-session",), "nothing"),
    ],
)
def test_what_cannot_be_served_is_refused_before_any_question(
    ready: AwsMachine, argv: tuple[str, ...], message: str
) -> None:
    profile = "jonsmith" if argv == ("--no-session",) else "admin"
    message = "only temporary credentials" if message == "nothing" else message
    ran = ready.machine.run("serve", *argv, profile, env={**RUN, "FILEVAULT_PASSPHRASE": None})
    assert (ran.status, ran.out) == (2, "")
    assert message in ran.err
    assert ready.aws.calls == []


def test_without_a_folder_for_the_token_a_file_must_be_named(ready: AwsMachine) -> None:
    ran = ready.machine.run("serve", "admin", env={"XDG_RUNTIME_DIR": None})
    assert ran.status == 2
    assert "--token-file" in ran.err
    path = ready.machine.home / "a folder/token"
    with StandingServer(ready.machine, "--token-file", str(path), "admin") as server:
        assert server.files == {"admin": path}
        assert server.get("admin").status == 200


def test_a_profile_whose_name_is_too_long_for_a_token_file_is_refused(ready: AwsMachine) -> None:
    name = "é" * 100  # each letter takes six bytes in the name of the file
    config = ready.machine.config.read_text()
    role = f"[profile {name}]\nrole_arn = {ready.role.arn}\nsource_profile = jonsmith\n"
    ready.machine.write_config(f"{config}{role}region = {REGION}\n")
    ran = ready.machine.run("serve", "--lazy", name, env=RUN)
    assert (ran.status, "--token-file" in ran.err) == (2, True), ran
    ran = ready.machine.run("serve", "--lazy", "admin", "--token-file", "x" * 256, env=RUN)
    assert (ran.status, "file name too long" in ran.err) == (7, True), ran


def test_a_file_that_is_no_token_is_not_overwritten(ready: AwsMachine) -> None:
    path = ready.machine.home / "token"
    link = ready.machine.home / "link"
    link.symlink_to(path)
    for name, text in (("token", "a list of names\n"), ("token", "x" * 44), ("link", "")):
        path.write_text(text)
        ran = ready.machine.run("serve", "--token-file", name, "admin", env=RUN)
        assert ran.status == 7, ran
        assert str(ready.machine.home / name) in ran.err
        assert path.read_text() == text
    assert ready.aws.calls == []


def test_the_token_of_a_running_server_is_not_replaced(ready: AwsMachine) -> None:
    """Its clients would be refused from then on."""
    words = ("--token-file", str(ready.machine.home / "token"), "admin")
    with StandingServer(ready.machine, *words) as server:
        calls = len(ready.aws.calls)
        ran = ready.machine.run("serve", *words)
        assert (ran.status, ran.out) == (5, "")
        assert "token' is the token of a server that is running" in ran.err
        assert server.get("admin").status == 200
        assert len(ready.aws.calls) == calls
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait(TIMEOUT)
    with StandingServer(ready.machine, *words) as server:
        assert server.get("admin").status == 200


@pytest.mark.parametrize("text", [None, "x" * 43])
def test_of_two_servers_that_start_at_once_one_keeps_its_token(
    tmp_path: Path, text: str | None
) -> None:
    """Both found the file free, and then a person signed in for each."""
    path = tmp_path / "token"
    if text is not None:
        path.write_text(text)
    first, second = (TokenFiles([str(path)], None) for _ in range(2))
    first.check()
    second.check()
    first.write(["a" * 43])
    with pytest.raises(BusyError, match="is the token of a server that is running"):
        second.write(["b" * 43])
    second.remove()
    assert path.read_text() == "a" * 43
    first.remove()
    assert not path.exists()


@pytest.mark.parametrize("text", ["", "x" * 43])
def test_a_token_that_was_left_is_replaced_by_one_of_mode_0600(
    ready: AwsMachine, text: str
) -> None:
    path = ready.machine.home / "token"
    path.write_text(text)
    path.chmod(0o666)
    with StandingServer(ready.machine, "--token-file", str(path), "admin") as server:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert server.get("admin").status == 200


def test_a_failure_has_the_status_of_its_reason(ready: AwsMachine) -> None:
    for profile, env, status in (
        ("admin", {"FILEVAULT_PASSPHRASE": "wrong"}, 5),
        ("nowhere", {}, 3),
        ("admin", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, 9),
    ):
        ran = ready.machine.run("serve", profile, env={**RUN, **env})
        assert (ran.status, ran.out) == (status, ""), ran


# The service manager.


def test_the_service_manager_is_told_when_it_is_ready_and_when_it_ends(
    ready: AwsMachine,
) -> None:
    path = ready.machine.home / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(20)
        env = {"NOTIFY_SOCKET": str(path), "RUNTIME_DIRECTORY": str(ready.machine.home / "own")}
        with StandingServer(ready.machine, "admin", env=env) as server:
            assert manager.recv(100) == b"READY=1"
            assert server.files["admin"] == ready.machine.home / "own/admin.token"
            server.end()
        assert manager.recv(100) == b"STOPPING=1"


def test_the_socket_of_the_service_manager_is_served(ready: AwsMachine) -> None:
    machine = ready.machine
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fd = listener.fileno()
        script = (
            f"import os, sys; os.dup2({fd}, 3); os.closerange(4, 99)\n"
            "os.environ |= {'LISTEN_FDS': '1', 'LISTEN_PID': str(os.getpid())}\n"
            "os.execvp(sys.argv[1], sys.argv[1:])"
        )
        machine.launcher = (sys.executable, "-c", script, *machine.launcher)
        both = subprocess.run(
            [*machine.launcher, "serve", "--listen", "127.0.0.1:0", "admin"],
            env=machine.environment({"XDG_RUNTIME_DIR": str(machine.home)}),
            pass_fds=[fd],
            capture_output=True,
            text=True,
        )
        assert both.returncode == 2
        assert "--listen and the socket of the service manager exclude each other" in both.stderr
        environment = machine.environment({"XDG_RUNTIME_DIR": str(machine.home)})
        with subprocess.Popen(
            [*machine.launcher, "serve", "admin"],
            env=environment,
            pass_fds=[fd],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline().strip() for _ in range(3)]
            port = listener.getsockname()[1]
            assert lines[1] == f"AWS_CONTAINER_CREDENTIALS_FULL_URI=http://127.0.0.1:{port}/"
            # The renewing process has no listener, so it ends with the server.
            (renewing,) = children(process.pid)
            links = {os.readlink(path) for path in Path(f"/proc/{renewing}/fd").iterdir()}
            assert f"socket:[{os.fstat(fd).st_ino}]" not in links
            process.terminate()
            assert process.wait(20) == 0


@pytest.mark.torture
def test_five_profiles_stay_small_over_ten_renewals(ready: AwsMachine) -> None:
    """The memory of a server does not grow with what it has served."""
    machine, names = ready.configure(mfa=False).machine, [f"p{number}" for number in range(5)]
    machine.fresh = True
    machine.env["AWS_SESSION_TOKEN_TTL"] = "15m"
    text = machine.config.read_text()
    section = text.partition("[profile admin]")[0].partition("\n")[2]
    machine.config.write_text(
        text + "".join(f"[profile {name}]\nsource_profile = jonsmith\n{section}" for name in names)
    )
    with StandingServer(machine, *names, profiles=5) as server:
        for number in range(10):
            before = str(server.get("p0").body["AccessKeyId"])
            machine.advance(460)
            ready.aws.clock.advance(460)
            server.next_key_id("p0", before)
            if number == 0:
                first, files = _resident(server.process.pid), _files(server.process.pid)
        last = _resident(server.process.pid)
        # The connection of a client may be about to be closed; a leak would be ten times that.
        assert abs(_files(server.process.pid) - files) <= 1
        assert last <= 32 << 10, last
        assert last <= first * 1.1, (first, last)
    code = "import boto3; print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert last <= 0.4 * _resident(other.pid), (last, _resident(other.pid))
        other.communicate(b"\n")


def _files(pid: int) -> int:
    """Return how many descriptors a process has."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def _resident(pid: int) -> int:
    """Return KiB."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Rss:"))


def test_the_serving_process_has_neither_the_passphrase_nor_what_opens_a_vault(
    ready: AwsMachine,
) -> None:
    """It is another program in the same process."""
    with StandingServer(ready.machine, "admin") as server:
        assert server.get("admin").status == 200
        folder = Path(f"/proc/{server.process.pid}")
        environment = (folder / "environ").read_text()
        assert "HOME=" in environment
        assert "PASSPHRASE" not in environment
        assert "libcrypto" not in (folder / "maps").read_text()
        assert "admin" in (folder / "cmdline").read_text().split("\0")
        assert (folder / "comm").read_text() == "filevault\n"


# Waits in the second program of the process, before it handles a signal.
BETWEEN = """
import os, sys, time
if any(word.startswith("__state=") for word in sys.orig_argv):
    open(os.environ["HOME"] + "/between", "w").close()
    while os.path.exists(os.environ["HOME"] + "/between"):
        time.sleep(0.01)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_while_it_becomes_the_serving_process_is_not_lost(
    ready: AwsMachine, number: signal.Signals
) -> None:
    machine, path = ready.machine, ready.machine.home / "token"
    (machine.home / "sitecustomize.py").write_text(BETWEEN)
    env: dict[str, str | None] = {"PYTHONPATH": str(machine.home)}
    with machine.popen("serve", "--token-file", str(path), "admin", env=env) as process:
        deadline = time.monotonic() + TIMEOUT
        while not (machine.home / "between").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        machine.config.write_text("[profile admin]\nrole_arn\n")
        process.send_signal(number)
        (machine.home / "between").unlink()
        if number == signal.SIGHUP:
            assert process.stderr is not None
            assert b"the configuration is not used" in process.stderr.readline()
            process.terminate()
        assert process.wait(TIMEOUT) == 0
    assert not path.exists()


@pytest.mark.parametrize("word", ["__state=", "__state=x", "__state=99", "__state=0", "__state=²"])
def test_the_word_for_the_serving_process_is_of_no_use_to_others(
    ready: AwsMachine, word: str
) -> None:
    ran = ready.machine.run("serve", word, "admin", stdin=b'{"profiles": [1]}')
    assert (ran.status, ran.out) == (2, "")
    assert "serve was started as no other program starts it" in ran.err


@pytest.mark.parametrize(("profiles", "fits"), [(1, True), (200, True), (2000, False)])
def test_the_state_of_a_server_passes_through_a_pipe(profiles: int, *, fits: bool) -> None:
    credentials = Credentials("ASIA", "secret", "t" * 1500, 1_800_000_000)
    profile = ProfileState(
        *("p", "'p'", "/creds/p", None, 900, 900, 900.0, credentials, "123456789012", 1.0)
    )
    with socket.socket() as one, socket.socket() as two:
        state = ServingState(
            profiles=(profile,) * profiles,
            listener=one.fileno(),
            adds_address=False,
            renewing=two.fileno(),
            renewing_pid=1,
            token_files=("a",),
            roles=("*",),
            ec2=False,
            lazy=True,
            version_1=False,
            any_user=False,
            notify=None,
            debug=False,
        )
        if fits:
            assert ServingState.from_word(state.word()) == state
            assert not os.get_inheritable(one.fileno())
        else:
            with pytest.raises(UsageError, match="2000 profiles are too many for one server"):
                state.word()


def test_more_clients_than_it_may_have_files_keep_no_other_out(ready: AwsMachine) -> None:
    """Each user of the machine can connect, and the limit of a service may be low."""
    ready.machine.launcher = ("sh", "-c", 'ulimit -n 44; exec "$@"', "sh", *PROGRAM)
    with StandingServer(ready.machine, "admin") as server, contextlib.ExitStack() as clients:
        port = urlsplit(server.uri).port
        for _ in range(60):
            client = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
            clients.enter_context(client)
        assert server.get("admin").status == 200
        assert server.end() == (0, "")


def test_a_request_at_the_end_is_still_answered(ready: AwsMachine) -> None:
    """A client that waits for its first credentials gets them, or an error, and no reset."""
    with StandingServer(ready.machine, "--lazy", "admin") as server:
        with socket.create_connection(
            ("127.0.0.1", int(server.uri[:-1].rpartition(":")[2]))
        ) as one:
            token = server.files["admin"].read_text()
            host = server.uri[7:-1]
            one.sendall(
                f"GET / HTTP/1.1\r\nHost: {host}\r\nAuthorization: {token}\r\n\r\n".encode()
            )
            deadline = time.monotonic() + 20
            while not ready.aws.calls and time.monotonic() < deadline:
                time.sleep(0.01)
            server.process.send_signal(signal.SIGTERM)
            assert one.recv(100).startswith(b"HTTP/1.1 ")
        assert server.process.wait(20) == 0


def test_a_metadata_endpoint_is_served_without_a_token_file(ready: AwsMachine) -> None:
    machine = ready.machine
    with machine.popen("serve", "--ec2", "admin") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().decode().strip() for _ in range(3)]
        assert lines[0] == "# admin"
        name, _, uri = lines[1].partition("=")
        assert name == "AWS_EC2_METADATA_SERVICE_ENDPOINT"
        assert lines[2] == "AWS_EC2_METADATA_V1_DISABLED=true"
        with Recorder() as service:
            env = {
                "PATH": os.environ["PATH"],
                name: uri,
                "AWS_ENDPOINT_URL": service.url,
                "AWS_DEFAULT_REGION": "eu-west-1",
            }
            code = "import boto3; boto3.client('sts').get_caller_identity()"
            subprocess.run([sys.executable, "-c", code], env=env, check=True)
            assert service.signers() == {ready.aws.calls[-1].returned_access_key_id}
        process.terminate()
        assert process.communicate(timeout=20) == (b"", b"")
        assert process.returncode == 0


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--ec2", "admin", "jonsmith"), "--ec2 serves one profile"),
        (("--ec2", "--token-file", "x", "admin"), "--token-file does not go with --ec2"),
        (("--ec2", "--allow-role", "*", "admin"), "--allow-role does not go with --ec2"),
        (("--imds-v1", "admin"), "--imds-v1 goes with --ec2"),
        (("--allow-local-users", "admin"), "--allow-local-users goes with --ec2"),
    ],
)
def test_options_that_do_not_go_together(
    ready: AwsMachine, argv: tuple[str, ...], message: str
) -> None:
    ran = ready.machine.run("serve", *argv, env=RUN)
    assert ran.status == 2
    assert message in ran.err


# Prints the status of each request, PUT for a token of the metadata service and GET.
OTHER_MACHINE = """
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], 9911, timeout=20)
for method, path in (("PUT", "/latest/api/token"), ("GET", "/"), ("GET", "/healthcheck")):
    connection.request(method, path, headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"})
    response = connection.getresponse()
    response.read()
    print(response.status, end=" ")
"""


@pytest.mark.parametrize(
    ("options", "own", "other"),
    [
        (("--ec2",), "200 401 401 ", "403 403 403 "),
        (("--ec2", "--allow-local-users"), "200 401 401 ", "403 403 403 "),
        (("--ec2", "--allow-local-users", "--imds-v1"), "200 404 404 ", "403 403 403 "),
        ((), "401 401 200 ", "401 401 200 "),
    ],
)
def test_another_machine_gets_nothing_from_a_metadata_endpoint(
    ready: AwsMachine, options: tuple[str, ...], own: str, other: str
) -> None:
    """Nor from a container endpoint without the token. What listens at loopback it cannot reach."""
    with two_machines() as machines:
        ready.machine.launcher = (*machines.first, *ready.machine.launcher)
        listen = ("--listen", f"{machines.address}:9911", "--insecure-listen", "--lazy")
        env: dict[str, str | None] = {"XDG_RUNTIME_DIR": str(ready.machine.home)}
        with ready.machine.popen("serve", *options, *listen, "admin", env=env) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"# admin\n"
            ask = (sys.executable, "-c", OTHER_MACHINE, machines.address)
            assert subprocess.check_output([*machines.second, *ask], text=True) == other
            assert subprocess.check_output([*machines.first, *ask], text=True) == own
            process.terminate()
            assert process.wait(20) == 0
