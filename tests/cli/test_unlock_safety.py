"""What is held is held well: no other user, no environment, no argv, no core file has it."""

from __future__ import annotations

import base64
import contextlib
import os
import pty
import resource
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from filevault.keycache.kernel import _numbers
from filevault.system.libc import function, writable
from tests.conditions.kernel_keyring import needs_kernel_keyring, without_keyring
from tests.conditions.other_user import NOBODY, as_user, needs_root
from tests.fakes import FakeAws
from tests.samples import KEY_ID, LINES, SECRET
from tests.worlds.key_cache import KeyCacheMachine, key_cache_machine
from tests.worlds.machine import PASSPHRASE, Machine, TypedAnswer

EXPORT = ("export", "work", "-n", "--region", "eu-west-1")
SEARCH, READ = 10, 11  # linux/keyctl.h
USER_KEYRING = -4


def furnished(desk: KeyCacheMachine) -> KeyCacheMachine:
    """Make a vault with one key."""
    desk.prepare("init")
    desk.prepare("add", "work", "--stdin", "--no-config", stdin=LINES)
    return desk


@pytest.fixture
def desk(empty_desk: KeyCacheMachine) -> KeyCacheMachine:
    """A machine with a vault."""
    return furnished(empty_desk)


@pytest.fixture
def job(machine: Machine, aws: FakeAws) -> Iterator[KeyCacheMachine]:
    """The same, where keys are held by agents alone."""
    with key_cache_machine(machine, aws, "agent") as desk:
        yield furnished(desk)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
        return True


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# The agent of a job

JOB = f"""
set -e
printf %s '{PASSPHRASE}' > pass; chmod 600 pass
"$@" --passphrase-file pass unlock --vault-key >&2
"$@" {" ".join(EXPORT)} > given
"$@" status
echo "$FILEVAULT_AGENT_DIR"
"""


def test_the_agent_of_a_job_ends_with_the_job(job: KeyCacheMachine) -> None:
    machine = job.machine
    machine.places = "kernel agent"  # its own agent is the only place all the same
    again = ("env", f"LAUNCH={machine.environment()['LAUNCH']}", *machine.launcher)
    done = machine.ok("agent", "--", "sh", "-c", JOB, "sh", *again)
    assert KEY_ID in (machine.home / "given").read_text()
    lines = done.out.splitlines()
    assert [line.rpartition(" ")[2] for line in lines[1:3]] == ["(agent)", "(agent)"]
    folder = Path(lines[-1])
    assert folder.name.startswith("filevault-job-")
    wait_for(lambda: not folder.exists())
    assert machine.run(*EXPORT).status == 5  # nothing of it is left
    assert job.agents() == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_ends_with_a_job_that_is_killed(job: KeyCacheMachine, number: signal.Signals) -> None:
    with job.machine.popen(
        "agent", "--", "sh", "-c", 'echo "$FILEVAULT_AGENT_DIR"; exec sleep 60'
    ) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().decode().strip())
        job.sockets = [str(folder)]
        (agent,) = job.agents()
        os.kill(process.pid, number)
        process.wait(10)
    wait_for(lambda: gone(agent))
    wait_for(lambda: not folder.exists())


def test_a_job_has_its_commands_status(job: KeyCacheMachine) -> None:
    assert job.machine.run("agent", "--", "sh", "-c", "exit 7").status == 7
    assert job.machine.run("agent", "--", "no-such-command").status == 127


def test_its_agent_has_no_secret_of_the_job(job: KeyCacheMachine) -> None:
    env = {"FILEVAULT_PASSPHRASE": PASSPHRASE, "AWS_SECRET_ACCESS_KEY": SECRET}
    script = 'echo "$FILEVAULT_AGENT_DIR"; exec sleep 60'
    with job.machine.popen("agent", "--", "sh", "-c", script, env=env) as process:
        assert process.stdout is not None
        job.sockets = [process.stdout.readline().decode().strip()]
        (agent,) = job.agents()
        seen = Path(f"/proc/{agent}/environ").read_bytes()
        process.kill()
    assert b"HOME=" in seen
    assert PASSPHRASE.encode() not in seen
    assert SECRET.encode() not in seen


def test_locking_all_forgets_the_keys_of_every_vault(job: KeyCacheMachine) -> None:
    """Among agents only: the kernel's keyring is that of whoever runs the tests."""
    machine = job.machine
    job.prepare("unlock", "--vault-key")
    machine.ok("init", "--vault", "second", env={"FILEVAULT_PASSPHRASE": PASSPHRASE})
    second = {"FILEVAULT_PASSPHRASE": PASSPHRASE, "FILEVAULT_DIR": str(machine.home / "second")}
    machine.ok("unlock", env=second)
    assert sorted(job.held()) == ["session", "session", "vault"]
    assert machine.ok("lock").out == f"Locked {machine.vault}; 2 keys forgotten.\n"
    assert job.held() == ["session"]
    job.prepare("unlock")
    done = machine.ok("lock", "--all")
    assert done.out == "Locked; 2 keys forgotten.\n"
    assert "gpg-agent keeps its own keys" in done.err
    assert job.held() == []


def test_sigusr1_locks_the_agent_that_unlock_started(job: KeyCacheMachine) -> None:
    job.prepare("unlock", "--vault-key")
    (agent,) = job.agents()
    os.kill(agent, signal.SIGUSR1)
    wait_for(lambda: job.held() == [])
    assert job.machine.run(*EXPORT).status == 5
    assert job.agents() == [agent]


def test_unlock_holds_nothing_in_a_folder_that_is_not_ours(job: KeyCacheMachine) -> None:
    folder = Path(job.sockets[0])
    folder.mkdir()
    folder.chmod(0o777)
    elsewhere = Path(job.machine.root, f"tmp/filevault-{os.geteuid()}")
    elsewhere.symlink_to(job.machine.home)
    refused = job.machine.run("unlock", env={"FILEVAULT_PASSPHRASE": PASSPHRASE})
    assert refused.status == 7
    assert "cannot have the agent's socket" in refused.err
    assert PASSPHRASE not in refused.everything
    assert list(folder.iterdir()) == []
    assert not (job.machine.home / "agent.sock").exists()


# Other users


def key_number(state: str) -> int:
    return int(
        function("syscall")(
            _numbers()[1],
            SEARCH,
            USER_KEYRING & 0xFFFFFFFFFFFFFFFF,
            b"user",
            f"filevault:{state}".encode(),
        )
    )


@needs_root
@needs_kernel_keyring
def test_another_user_reads_no_key_in_the_kernel(machine: Machine, aws: FakeAws) -> None:
    def read() -> str:
        buffer = bytearray(4096)
        call = function("syscall")
        try:
            length = call(_numbers()[1], READ, key, writable(buffer), len(buffer))
        except OSError as error:
            return os.strerror(error.errno or 0)
        return f"{length} bytes"

    def find() -> str:
        try:
            return str(key_number(state))
        except OSError as error:
            return os.strerror(error.errno or 0)

    with key_cache_machine(machine, aws, "kernel") as desk:
        furnished(desk).prepare("unlock")
        (state,) = desk.states
        key = key_number(state)
        assert as_user(0, read).endswith(" bytes")
        assert as_user(0, find) == str(key)
        assert as_user(NOBODY, read) == "Permission denied"
        assert as_user(NOBODY, find) == "Required key not available"


@needs_root
def test_another_user_neither_reaches_nor_looks_into_the_agent(job: KeyCacheMachine) -> None:
    job.prepare("unlock", "--vault-key")
    (agent,) = job.agents()
    folder = Path(job.sockets[0])
    Path(job.machine.root).chmod(0o711)
    folder.parent.chmod(0o711)

    def connect() -> str:
        with socket.socket(socket.AF_UNIX) as raw:
            try:
                raw.connect(str(folder / "agent.sock"))
            except OSError as error:
                return type(error).__name__
        return "connected"

    def look() -> list[str]:
        seen = []
        for name in ("environ", "mem", "maps", "fd/0"):
            with contextlib.suppress(PermissionError):
                os.close(os.open(f"/proc/{agent}/{name}", os.O_RDONLY))
                seen.append(name)
        return seen

    assert as_user(0, connect) == "connected"
    assert as_user(NOBODY, connect) == "PermissionError"
    assert as_user(NOBODY, look) == "[]"


# What can be seen of a process


def test_no_environment_no_argv_and_no_file_has_what_is_held(desk: KeyCacheMachine) -> None:
    job = desk.machine.home / "job"
    desk.prepare("unlock", "--vault-key")
    script = 'cp "/proc/$$/environ" "$0"; cat "/proc/$$/cmdline" >> "$0"'
    desk.machine.ok("exec", "work", "-n", "--", "sh", "-c", script, str(job),
                    env={"FILEVAULT_PASSPHRASE": PASSPHRASE})  # fmt: skip
    seen = job.read_bytes()
    assert b"AWS_VAULT=work" in seen
    seen = seen.replace(SECRET.encode(), b"")  # that is what it was given
    for pid in desk.agents():
        for name in ("environ", "cmdline"):
            seen += Path(f"/proc/{pid}/{name}").read_bytes()
    job.unlink()
    root = Path(desk.machine.root)
    for path in (*desk.machine.home.rglob("*"), *root.rglob("*")):
        if path.is_file():
            seen += path.read_bytes()
    keys = desk.found()
    assert len(keys) == 2
    needles = [PASSPHRASE.encode(), SECRET.encode()]
    for key in keys:
        needles += [key, key.hex().encode(), base64.b64encode(key).rstrip(b"=")]
    assert [needle for needle in needles if needle in seen] == []


def test_nothing_that_runs_meanwhile_shows_the_passphrase(desk: KeyCacheMachine) -> None:
    """It is typed while every process of the machine is watched, which other tests run on, too."""
    machine = desk.machine
    passphrase, secret = (secrets.token_hex(20) for _ in range(2))
    machine.env["FILEVAULT_DIR"] = str(machine.home / "second")
    machine.fresh = True  # whose command line shows
    source = {"FILEVAULT_PASSPHRASE_FILE": "pass"}
    (machine.home / "pass").write_text(passphrase)
    (machine.home / "pass").chmod(0o600)
    machine.ok("init", env=source)
    lines = f"{KEY_ID}\n{secret}\n"
    machine.ok("add", "work", "--stdin", "--no-config", stdin=lines, env=source)
    stop = Path(desk.machine.home / "stop")
    watcher = (
        "import glob, os, sys\n"
        "seen = set()\n"
        "while not os.path.exists(sys.argv[1]):\n"
        "    for name in glob.glob('/proc/[0-9]*/cmdline') + glob.glob('/proc/[0-9]*/environ'):\n"
        "        try:\n"
        "            with open(name, 'rb') as file: seen.add(file.read())\n"
        "        except OSError: pass\n"
        "sys.stdout.buffer.write(b'\\n'.join(seen))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", watcher, str(stop)], stdout=subprocess.PIPE
    ) as process:
        typed = TypedAnswer("Passphrase for", passphrase)
        desk.typed("unlock", "--vault-key", answers=[typed])
        assert secret in desk.quietly(*EXPORT).out
        stop.write_text("")
        seen, _ = process.communicate(timeout=30)
    assert b"unlock\0--vault-key" in seen
    assert passphrase.encode() not in seen
    assert secret.encode() not in seen


def dumps(argv: list[str], env: dict[str, str], ready: Callable[[int], bool], cwd: Path) -> bool:
    """Abort a process once it is ready, and tell whether the kernel wrote a core file of it."""
    master, slave = pty.openpty()

    def prepare() -> None:
        limit = resource.getrlimit(resource.RLIMIT_CORE)[1]
        resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))

    process = subprocess.Popen(
        ["setsid", "-c", *argv],
        env=env,
        cwd=cwd,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        preexec_fn=prepare,  # noqa: PLW1509 - two calls that take no lock
    )
    os.close(slave)
    try:
        wait_for(lambda: ready(master))
        os.kill(process.pid, signal.SIGABRT)
        _pid, status = os.waitpid(process.pid, 0)
        process.returncode = 0
    finally:
        os.close(master)
    assert os.WTERMSIG(status) == signal.SIGABRT
    return os.WCOREDUMP(status)


def says(word: bytes) -> Callable[[int], bool]:
    return lambda master: word in os.read(master, 4096)


CONTROL = "print('ready', flush=True); import time; time.sleep(60)"


def test_an_aborted_process_leaves_no_core_file(job: KeyCacheMachine, tmp_path: Path) -> None:
    cwd = tmp_path / "cwd"
    cwd.mkdir()
    env = job.machine.environment({"LAUNCH": None})
    if not dumps([sys.executable, "-c", CONTROL], env, says(b"ready"), cwd):
        pytest.skip("this system writes no core files, whoever is aborted")
    for left in cwd.iterdir():
        left.unlink()
    program = [sys.executable, "-P", "-m", "filevault"]
    assert not dumps([*program, *EXPORT], env, says(b"Passphrase for"), cwd)
    job.machine.places = "agent"
    foreground = [*job.machine.launcher, "agent", "--foreground"]
    assert not dumps(foreground, job.machine.environment(), says(b"running"), cwd)
    assert list(cwd.iterdir()) == []


# Where the kernel refuses


def test_where_the_kernel_refuses_unlock_starts_an_agent(job: KeyCacheMachine) -> None:
    """Both places may be used, and a filter refuses the kernel's, as container runtimes do."""
    machine = job.machine
    machine.places = "kernel agent"
    machine.launcher = (*without_keyring(), *machine.launcher)
    assert job.agents() == []
    assert "(agent)" in job.prepare("unlock", "--vault-key").out
    assert sorted(job.held()) == ["session", "vault"]
    assert KEY_ID in job.quietly(*EXPORT).out
    assert machine.ok("lock").out == f"Locked {machine.vault}; 2 keys forgotten.\n"
    assert machine.ok("status").out.splitlines()[1:] == ["locked"]
    assert job.quietly(*EXPORT).status == 5


@needs_kernel_keyring
def test_where_the_kernel_takes_keys_no_agent_is_started(job: KeyCacheMachine) -> None:
    job.machine.places = "kernel agent"
    assert "(kernel keyring)" in job.prepare("unlock").out
    assert job.agents() == []
