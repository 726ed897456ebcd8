"""Locking, and the agent that a command starts: what is forgotten, and what ends when."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from filevault.keycache.cached_key import SESSION, VAULT
from filevault.keycache.client import AgentClient
from tests.conditions.kernel_keyring import needs_kernel_keyring
from tests.conditions.other_user import NOBODY, needs_root
from tests.conditions.tools import tool
from tests.fakes import FakeAws
from tests.worlds.agent import short_folder
from tests.worlds.aws_machine import REGION
from tests.worlds.key_cache import KeyCacheMachine
from tests.worlds.machine import PASSPHRASE, Machine, ProcessResult
from tests.worlds.pass_store import GpgHome


@pytest.fixture
def desk(machine: Machine, aws: FakeAws) -> Iterator[KeyCacheMachine]:
    """A vault whose keys an agent of its own holds."""
    with short_folder() as runtime:
        desk = KeyCacheMachine(machine, aws, "agent", runtime)
        desk.prepare("init")
        yield desk
        desk.leave()


def refused(result: ProcessResult, status: int, *texts: str) -> None:
    """One error line, at most one hint."""
    assert (result.status, result.out) == (status, ""), result
    lines = result.err.splitlines()
    assert lines[0].startswith("filevault: error: "), result.err
    assert len(lines) <= 2, result.err
    for text in texts:
        assert text in result.err


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_it_says_which_vault_is_locked(desk: KeyCacheMachine) -> None:
    desk.prepare("unlock")
    assert desk.machine.ok("lock").out == f"Locked {desk.machine.vault}; 1 key forgotten.\n"
    assert desk.machine.ok("lock").out == f"Locked {desk.machine.vault}; 0 keys forgotten.\n"


def test_a_mistyped_vault_is_not_called_locked(desk: KeyCacheMachine) -> None:
    desk.prepare("unlock")
    typo = desk.machine.home / "typo"
    refused(desk.machine.run("lock", "--vault", str(typo)), 4, "there is no vault", str(typo))
    assert desk.held() == [SESSION]


def test_the_keys_of_a_vault_that_is_gone_can_be_forgotten(desk: KeyCacheMachine) -> None:
    desk.prepare("unlock")
    desk.machine.vault.rename(desk.machine.home / "elsewhere")
    assert desk.machine.ok("lock").out == f"Locked {desk.machine.vault}; 1 key forgotten.\n"
    assert desk.machine.run("lock").status != 0


def test_an_agent_that_cannot_be_asked_is_no_success(desk: KeyCacheMachine) -> None:
    desk.prepare("unlock")
    (folder,) = map(Path, desk.sockets)
    folder.chmod(0o755)
    refused(desk.machine.run("lock"), 7, str(folder), "others can open it", "chmod 700")
    folder.chmod(0o700)
    assert desk.held() == [SESSION]
    assert "1 key forgotten" in desk.machine.ok("lock").out


@needs_root
def test_what_another_user_puts_in_tmp_keeps_nobody_from_unlocking_and_locking(
    desk: KeyCacheMachine,
) -> None:
    planted = Path(desk.machine.root, f"tmp/filevault-{os.geteuid()}")
    planted.mkdir(mode=0o755)
    (planted / "agent.sock").write_text("")
    for path in (planted, planted / "agent.sock"):
        os.chown(path, NOBODY, NOBODY)
    assert "(agent)" in desk.prepare("unlock").out
    assert desk.machine.ok("lock").out == f"Locked {desk.machine.vault}; 1 key forgotten.\n"
    desk.prepare("unlock", "--vault-key")
    assert desk.prepare("unlock").status == 0
    assert desk.machine.ok("lock", "--all").out == "Locked; 1 key forgotten.\n"


@needs_root
def test_after_su_the_runtime_folder_of_the_user_before_is_no_obstacle(
    desk: KeyCacheMachine,
) -> None:
    inherited = Path(desk.machine.root, "run/user/before")
    inherited.mkdir(mode=0o700)
    os.chown(inherited, NOBODY, NOBODY)
    desk.machine.env["XDG_RUNTIME_DIR"] = str(inherited)
    desk.prepare("unlock")
    assert list(inherited.iterdir()) == []
    assert desk.held() == [SESSION]
    assert "; 1 key forgotten" in desk.machine.ok("lock").out


def test_unlocking_without_vault_key_ends_an_earlier_one_with_it(desk: KeyCacheMachine) -> None:
    desk.prepare("unlock", "--vault-key")
    assert desk.held() == [SESSION, VAULT]
    said = desk.prepare("unlock", "--ttl", "1h")
    assert desk.held() == [SESSION]
    assert "forgotten" in said.err
    assert desk.prepare("unlock").err == ""


@pytest.mark.parametrize("argv", [("unlock",), ("agent",)])
def test_of_several_that_start_an_agent_at_once_none_fails(
    desk: KeyCacheMachine, argv: tuple[str, ...]
) -> None:
    running = [desk.machine.popen(*argv, env=PASS) for _ in range(6)]
    ends = [(*process.communicate(), process.returncode) for process in running]
    assert [status for _out, _err, status in ends] == [0] * 6, ends
    assert len(desk.agents()) == 1


def test_unlocking_for_a_shorter_time_ends_a_longer_one_in_another_agent(
    desk: KeyCacheMachine,
) -> None:
    """As a login without XDG_RUNTIME_DIR, with another folder for it, unlocks."""
    usual = desk.machine.env["XDG_RUNTIME_DIR"]
    other = Path(desk.machine.root, "other")
    other.mkdir(mode=0o700)
    desk.machine.env["XDG_RUNTIME_DIR"] = str(other)
    desk.sockets.append(str(other / "filevault"))
    desk.prepare("agent")
    desk.machine.env["XDG_RUNTIME_DIR"] = usual
    desk.prepare("unlock", "--vault-key", "--ttl", "12h")
    (longer,) = desk.sockets[:1]
    desk.machine.env["XDG_RUNTIME_DIR"] = str(other)
    desk.prepare("unlock", "--vault-key", "--ttl", "5m")
    (state,) = desk.states
    for folder in desk.sockets:
        kinds = (
            AgentClient([folder]).status(state, SESSION),
            AgentClient([folder]).status(state, VAULT),
        )
        assert (kinds == (None, None)) == (folder == longer)


@needs_kernel_keyring
def test_unlocking_for_a_shorter_time_ends_a_longer_one_in_an_agent(desk: KeyCacheMachine) -> None:
    desk.prepare("unlock", "--vault-key", "--ttl", "12h")
    desk.machine.places = "kernel agent"
    desk.prepare("unlock", "--vault-key", "--ttl", "5m")
    assert desk.held() == []  # in the agent
    lines = desk.machine.ok("status").out.splitlines()[1:]
    assert [line.rpartition(" (")[2] for line in lines] == ["kernel keyring)"] * 2
    assert "; 2 keys forgotten" in desk.machine.ok("lock").out


@needs_kernel_keyring
def test_an_agent_that_keeps_an_older_key_is_warned_of(desk: KeyCacheMachine) -> None:
    desk.prepare("unlock", "--ttl", "12h")
    (agent,) = desk.agents()
    os.kill(agent, signal.SIGSTOP)
    try:
        desk.machine.places = "kernel agent"
        said = desk.prepare("unlock", "--ttl", "5m")
        assert "(kernel keyring)" in said.out
        assert "a key that was cached before may still be cached" in said.err
        assert f"kill -9 {agent}" in said.err
        refused(desk.machine.run("lock"), 7, "does not answer")
    finally:
        os.kill(agent, signal.SIGCONT)


# gpg asks by itself

PINENTRY = """#!/bin/sh
echo OK ready
while read -r command rest; do
    case $command in GETPIN) echo "D {passphrase}" ;; BYE) exit ;; esac
    echo OK
done
"""


@pytest.fixture
def shared(machine: Machine, aws: FakeAws) -> Iterator[KeyCacheMachine]:
    """A pass vault whose gpg key has a passphrase, which a pinentry types by itself."""
    tool("gpg")
    gpg = GpgHome()
    pinentry = Path(gpg.path) / "pinentry"
    pinentry.write_text(PINENTRY.format(passphrase=PASSPHRASE))
    pinentry.chmod(0o700)
    (Path(gpg.path) / "gpg-agent.conf").write_text(
        f"s2k-count 65536\npinentry-program {pinentry}\n"
    )
    user = aws.add_user("jon")
    machine.write_config(f"[profile jon]\nregion = {REGION}\nendpoint_url = {aws.url}\n")
    machine.env |= {**gpg.env(), "FILEVAULT_BACKEND": "pass", "GPG_TTY": "/dev/pts/77"}
    with short_folder() as runtime:
        desk = KeyCacheMachine(machine, aws, "agent", runtime)
        machine.ok("init", "--recipient", gpg.make_key("Jon <jon@example.com>", PASSPHRASE))
        key = f"{user.access_key_id}\n{user.secret_access_key}\n"
        machine.ok("add", "jon", "--stdin", "--no-config", stdin=key)
        machine.ok("agent")
        gpg.forget_passphrases()
        yield desk
        desk.leave()
    gpg.close()


def test_what_gpg_agent_opens_without_asking_is_not_held_again(shared: KeyCacheMachine) -> None:
    shared.typed("export", "jon")  # the pinentry asked
    assert shared.held() == [SESSION]
    assert "1 key forgotten" in shared.machine.ok("lock").out
    shared.typed("export", "jon")  # nobody was asked, whether there is a terminal or not
    assert shared.held() == []


# The agent of a job


def in_job(desk: KeyCacheMachine, script: str, **env: str) -> ProcessResult:
    """Run a shell script in a job with an agent of its own; `fv` in it is this program."""
    machine = desk.machine
    words = " ".join(map(shlex.quote, ("env", f"LAUNCH={machine.environment()['LAUNCH']}",
                                       *machine.launcher)))  # fmt: skip
    return machine.run("agent", "--", "sh", "-c", f'fv() {{ {words} "$@"; }}; {script}', env=env)


SLEEPER = "echo $FILEVAULT_AGENT_DIR; sleep 60"
PASS = {"FILEVAULT_PASSPHRASE": PASSPHRASE}


def test_a_job_locks_what_its_user_has_unlocked(desk: KeyCacheMachine) -> None:
    desk.prepare("unlock", "--vault-key")
    said = in_job(desk, "fv unlock >&2; fv lock", **PASS)
    assert "; 3 keys forgotten" in said.out, said
    assert desk.held() == []


def test_no_agent_is_started_in_the_place_of_a_jobs_that_has_ended(desk: KeyCacheMachine) -> None:
    said = in_job(desk, "echo $FILEVAULT_AGENT_DIR")
    folder = Path(said.out.strip())
    wait_until(lambda: not folder.exists())
    env = {"FILEVAULT_AGENT_DIR": str(folder)}
    for argv in (("unlock",), ("agent",), ("agent", "--foreground")):
        refused(desk.machine.run(*argv, env={**PASS, **env}), 7, "has ended", str(folder))
        assert not folder.exists()
    desk.sockets.append(str(folder))
    assert desk.agents() == []


def test_a_job_whose_agent_cannot_start_leaves_nothing(
    desk: KeyCacheMachine, tmp_path: Path
) -> None:
    long = tmp_path / ("x" * 80)
    long.mkdir()
    said = in_job(desk, "echo started", TMPDIR=str(long))
    refused(said, 7, "too long for a socket")
    assert list(long.iterdir()) == []
    refused(in_job(desk, "echo started", TMPDIR="/nowhere"), 7, "'/nowhere'")


def test_the_command_of_a_job_has_no_child_that_it_did_not_start(desk: KeyCacheMachine) -> None:
    """It may wait for all of them."""
    script = "import os\ntry: os.wait()\nexcept ChildProcessError: print('none')"
    assert desk.machine.ok("agent", "--", sys.executable, "-c", script).out == "none\n"


@pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_jobs_agent_ends_with_the_job(
    desk: KeyCacheMachine, number: int, *, stopped: bool
) -> None:
    with desk.machine.popen(
        "agent", "--", "sh", "-c", "echo $FILEVAULT_AGENT_DIR; sleep 60"
    ) as job:
        assert job.stdout is not None
        folder = job.stdout.readline().decode().strip()
        desk.sockets.append(folder)
        (agent,) = desk.agents()
        if stopped:
            os.kill(agent, signal.SIGSTOP)
        os.killpg(job.pid, number)
    wait_until(lambda: not Path(f"/proc/{agent}").exists() and not Path(folder).exists())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_without_its_guard_a_jobs_agent_ends(desk: KeyCacheMachine, number: int) -> None:
    with desk.machine.popen(
        "agent", "--", "sh", "-c", "echo $FILEVAULT_AGENT_DIR; sleep 60"
    ) as job:
        assert job.stdout is not None
        folder = job.stdout.readline().decode().strip()
        desk.sockets.append(folder)
        (agent,) = desk.agents()
        guard = int(Path(f"/proc/{agent}/stat").read_text().rpartition(")")[2].split()[1])
        assert guard not in (1, job.pid)
        os.kill(guard, number)
        wait_until(lambda: not Path(f"/proc/{agent}").exists())
        os.killpg(job.pid, signal.SIGKILL)


def test_an_agent_that_hangs_is_named_with_what_ends_it(desk: KeyCacheMachine) -> None:
    desk.prepare("unlock")
    (agent,) = desk.agents()
    os.kill(agent, signal.SIGSTOP)
    try:
        for argv in (("unlock",), ("lock",), ("agent",)):
            said = desk.machine.run(*argv, env=PASS)
            refused(said, 7, "does not answer", f"kill -9 {agent}")
    finally:
        os.kill(agent, signal.SIGCONT)
