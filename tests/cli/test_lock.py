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
from tests.worlds.aws_machine import REGION
from tests.worlds.key_cache import KeyCacheMachine, key_cache_machine
from tests.worlds.machine import PASSPHRASE, Machine, ProcessResult
from tests.worlds.pass_store import GpgHome


@pytest.fixture
def agent_desk(machine: Machine, aws: FakeAws) -> Iterator[KeyCacheMachine]:
    """A vault whose keys an agent of its own holds."""
    with key_cache_machine(machine, aws, "agent") as desk:
        desk.prepare("init")
        yield desk


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


def test_it_says_which_vault_is_locked(agent_desk: KeyCacheMachine) -> None:
    agent_desk.prepare("unlock")
    assert (
        agent_desk.machine.ok("lock").out
        == f"Locked {agent_desk.machine.vault}; 1 key forgotten.\n"
    )
    assert (
        agent_desk.machine.ok("lock").out
        == f"Locked {agent_desk.machine.vault}; 0 keys forgotten.\n"
    )


def test_a_mistyped_vault_is_not_called_locked(agent_desk: KeyCacheMachine) -> None:
    agent_desk.prepare("unlock")
    typo = agent_desk.machine.home / "typo"
    refused(agent_desk.machine.run("lock", "--vault", str(typo)), 4, "there is no vault", str(typo))
    assert agent_desk.held() == [SESSION]


@pytest.mark.parametrize("damage", ["marker", "config.toml"])
def test_all_keys_are_forgotten_whatever_lies_in_the_vault_or_the_configuration(
    agent_desk: KeyCacheMachine, damage: str
) -> None:
    """A second marker in a synced vault must not keep its keys in memory."""
    machine = agent_desk.machine
    agent_desk.prepare("unlock")
    if damage == "marker":
        (machine.vault / ".gpg-id").write_text("planted\n")
    else:
        (machine.home / ".config/filevault").mkdir(parents=True, exist_ok=True)
        (machine.home / ".config/filevault/config.toml").write_text("no = such key\n")
    assert machine.run("lock").status != 0
    locked = machine.run("lock", "--all")
    assert (locked.status, locked.out) == (0, "Locked; 1 key forgotten.\n"), locked


def test_the_keys_of_a_vault_that_is_gone_can_be_forgotten(agent_desk: KeyCacheMachine) -> None:
    agent_desk.prepare("unlock")
    agent_desk.machine.vault.rename(agent_desk.machine.home / "elsewhere")
    assert (
        agent_desk.machine.ok("lock").out
        == f"Locked {agent_desk.machine.vault}; 1 key forgotten.\n"
    )
    assert agent_desk.machine.run("lock").status != 0


def test_an_agent_that_cannot_be_asked_is_no_success(agent_desk: KeyCacheMachine) -> None:
    agent_desk.prepare("unlock")
    (folder,) = map(Path, agent_desk.sockets)
    folder.chmod(0o755)
    refused(agent_desk.machine.run("lock"), 7, str(folder), "others can open it", "chmod 700")
    folder.chmod(0o700)
    assert agent_desk.held() == [SESSION]
    assert "1 key forgotten" in agent_desk.machine.ok("lock").out


@needs_root
def test_what_another_user_puts_in_tmp_keeps_nobody_from_unlocking_and_locking(
    agent_desk: KeyCacheMachine,
) -> None:
    planted = Path(agent_desk.machine.root, f"tmp/filevault-{os.geteuid()}")
    planted.mkdir(mode=0o755)
    (planted / "agent.sock").write_text("")
    for path in (planted, planted / "agent.sock"):
        os.chown(path, NOBODY, NOBODY)
    assert "(agent)" in agent_desk.prepare("unlock").out
    assert (
        agent_desk.machine.ok("lock").out
        == f"Locked {agent_desk.machine.vault}; 1 key forgotten.\n"
    )
    agent_desk.prepare("unlock", "--vault-key")
    assert agent_desk.prepare("unlock").status == 0
    assert agent_desk.machine.ok("lock", "--all").out == "Locked; 1 key forgotten.\n"


@needs_root
def test_after_su_the_runtime_folder_of_the_user_before_is_no_obstacle(
    agent_desk: KeyCacheMachine,
) -> None:
    inherited = Path(agent_desk.machine.root, "run/user/before")
    inherited.mkdir(mode=0o700)
    os.chown(inherited, NOBODY, NOBODY)
    agent_desk.machine.env["XDG_RUNTIME_DIR"] = str(inherited)
    agent_desk.prepare("unlock")
    assert list(inherited.iterdir()) == []
    assert agent_desk.held() == [SESSION]
    assert "; 1 key forgotten" in agent_desk.machine.ok("lock").out


def test_unlocking_without_vault_key_ends_an_earlier_one_with_it(
    agent_desk: KeyCacheMachine,
) -> None:
    agent_desk.prepare("unlock", "--vault-key")
    assert agent_desk.held() == [SESSION, VAULT]
    said = agent_desk.prepare("unlock", "--ttl", "1h")
    assert agent_desk.held() == [SESSION]
    assert "forgotten" in said.err
    assert agent_desk.prepare("unlock").err == ""


@pytest.mark.parametrize("argv", [("unlock",), ("agent",)])
def test_of_several_that_start_an_agent_at_once_none_fails(
    agent_desk: KeyCacheMachine, argv: tuple[str, ...]
) -> None:
    running = [agent_desk.machine.popen(*argv, env=PASS) for _ in range(6)]
    ends = [(*process.communicate(), process.returncode) for process in running]
    assert [status for _out, _err, status in ends] == [0] * 6, ends
    assert len(agent_desk.agents()) == 1


def test_unlocking_for_a_shorter_time_ends_a_longer_one_in_another_agent(
    agent_desk: KeyCacheMachine,
) -> None:
    """As a login without XDG_RUNTIME_DIR, with another folder for it, unlocks."""
    usual = agent_desk.machine.env["XDG_RUNTIME_DIR"]
    other = Path(agent_desk.machine.root, "other")
    other.mkdir(mode=0o700)
    agent_desk.machine.env["XDG_RUNTIME_DIR"] = str(other)
    agent_desk.sockets.append(str(other / "filevault"))
    agent_desk.prepare("agent")
    agent_desk.machine.env["XDG_RUNTIME_DIR"] = usual
    agent_desk.prepare("unlock", "--vault-key", "--ttl", "12h")
    (longer,) = agent_desk.sockets[:1]
    agent_desk.machine.env["XDG_RUNTIME_DIR"] = str(other)
    agent_desk.prepare("unlock", "--vault-key", "--ttl", "5m")
    (state,) = agent_desk.states
    for folder in agent_desk.sockets:
        kinds = (
            AgentClient([folder]).status(state, SESSION),
            AgentClient([folder]).status(state, VAULT),
        )
        assert (kinds == (None, None)) == (folder == longer)


@needs_kernel_keyring
def test_unlocking_for_a_shorter_time_ends_a_longer_one_in_an_agent(
    agent_desk: KeyCacheMachine,
) -> None:
    agent_desk.prepare("unlock", "--vault-key", "--ttl", "12h")
    agent_desk.machine.places = "kernel agent"
    agent_desk.prepare("unlock", "--vault-key", "--ttl", "5m")
    assert agent_desk.held() == []  # in the agent
    lines = agent_desk.machine.ok("status").out.splitlines()[1:]
    assert [line.rpartition(" (")[2] for line in lines] == ["kernel keyring)"] * 2
    assert "; 2 keys forgotten" in agent_desk.machine.ok("lock").out


@needs_kernel_keyring
def test_an_agent_that_keeps_an_older_key_is_warned_of(agent_desk: KeyCacheMachine) -> None:
    agent_desk.prepare("unlock", "--ttl", "12h")
    (agent,) = agent_desk.agents()
    os.kill(agent, signal.SIGSTOP)
    try:
        agent_desk.machine.places = "kernel agent"
        said = agent_desk.prepare("unlock", "--ttl", "5m")
        assert "(kernel keyring)" in said.out
        assert "a key that was cached before may still be cached" in said.err
        assert f"kill -9 {agent}" in said.err
        refused(agent_desk.machine.run("lock"), 7, "does not answer")
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
def pass_desk(machine: Machine, aws: FakeAws) -> Iterator[KeyCacheMachine]:
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
    with key_cache_machine(machine, aws, "agent") as desk:
        machine.ok("init", "--recipient", gpg.make_key("Jon <jon@example.com>", PASSPHRASE))
        key = f"{user.access_key_id}\n{user.secret_access_key}\n"
        machine.ok("add", "jon", "--stdin", "--no-config", stdin=key)
        machine.ok("agent")
        gpg.forget_passphrases()
        yield desk
    gpg.close()


def test_what_gpg_agent_opens_without_asking_is_not_held_again(pass_desk: KeyCacheMachine) -> None:
    pass_desk.typed("export", "jon")  # the pinentry asked
    assert pass_desk.held() == [SESSION]
    assert "1 key forgotten" in pass_desk.machine.ok("lock").out
    pass_desk.typed("export", "jon")  # nobody was asked, whether there is a terminal or not
    assert pass_desk.held() == []


# The agent of a job


def in_job(desk: KeyCacheMachine, script: str, **env: str) -> ProcessResult:
    """Run a shell script in a job with an agent of its own; `fv` in it is this program."""
    machine = desk.machine
    words = " ".join(map(shlex.quote, ("env", f"LAUNCH={machine.environment()['LAUNCH']}",
                                       *machine.launcher)))  # fmt: skip
    return machine.run("agent", "--", "sh", "-c", f'fv() {{ {words} "$@"; }}; {script}', env=env)


PASS = {"FILEVAULT_PASSPHRASE": PASSPHRASE}


def test_a_job_locks_what_its_user_has_unlocked(agent_desk: KeyCacheMachine) -> None:
    agent_desk.prepare("unlock", "--vault-key")
    said = in_job(agent_desk, "fv unlock >&2; fv lock", **PASS)
    assert "; 3 keys forgotten" in said.out, said
    assert agent_desk.held() == []


def test_no_agent_is_started_in_the_place_of_a_jobs_that_has_ended(
    agent_desk: KeyCacheMachine,
) -> None:
    said = in_job(agent_desk, "echo $FILEVAULT_AGENT_DIR")
    folder = Path(said.out.strip())
    wait_until(lambda: not folder.exists())
    env = {"FILEVAULT_AGENT_DIR": str(folder)}
    for argv in (("unlock",), ("agent",), ("agent", "--foreground")):
        refused(agent_desk.machine.run(*argv, env={**PASS, **env}), 7, "has ended", str(folder))
        assert not folder.exists()
    agent_desk.sockets.append(str(folder))
    assert agent_desk.agents() == []


def test_a_job_whose_agent_cannot_start_leaves_nothing(
    agent_desk: KeyCacheMachine, tmp_path: Path
) -> None:
    long = tmp_path / ("x" * 80)
    long.mkdir()
    said = in_job(agent_desk, "echo started", TMPDIR=str(long))
    refused(said, 7, "too long for a socket")
    assert list(long.iterdir()) == []
    refused(in_job(agent_desk, "echo started", TMPDIR="/nowhere"), 7, "'/nowhere'")


def test_the_command_of_a_job_has_no_child_that_it_did_not_start(
    agent_desk: KeyCacheMachine,
) -> None:
    """It may wait for all of them."""
    script = "import os\ntry: os.wait()\nexcept ChildProcessError: print('none')"
    assert agent_desk.machine.ok("agent", "--", sys.executable, "-c", script).out == "none\n"


@pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_jobs_agent_ends_with_the_job(
    agent_desk: KeyCacheMachine, number: int, *, stopped: bool
) -> None:
    with agent_desk.machine.popen(
        "agent", "--", "sh", "-c", "echo $FILEVAULT_AGENT_DIR; sleep 60"
    ) as job:
        assert job.stdout is not None
        folder = job.stdout.readline().decode().strip()
        agent_desk.sockets.append(folder)
        (agent,) = agent_desk.agents()
        if stopped:
            os.kill(agent, signal.SIGSTOP)
        os.killpg(job.pid, number)
    wait_until(lambda: not Path(f"/proc/{agent}").exists() and not Path(folder).exists())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_without_its_guard_a_jobs_agent_ends(agent_desk: KeyCacheMachine, number: int) -> None:
    with agent_desk.machine.popen(
        "agent", "--", "sh", "-c", "echo $FILEVAULT_AGENT_DIR; sleep 60"
    ) as job:
        assert job.stdout is not None
        folder = job.stdout.readline().decode().strip()
        agent_desk.sockets.append(folder)
        (agent,) = agent_desk.agents()
        guard = int(Path(f"/proc/{agent}/stat").read_text().rpartition(")")[2].split()[1])
        assert guard not in (1, job.pid)
        os.kill(guard, number)
        wait_until(lambda: not Path(f"/proc/{agent}").exists())
        os.killpg(job.pid, signal.SIGKILL)


def test_an_agent_that_hangs_is_named_with_what_ends_it(agent_desk: KeyCacheMachine) -> None:
    agent_desk.prepare("unlock")
    (agent,) = agent_desk.agents()
    os.kill(agent, signal.SIGSTOP)
    try:
        for argv in (("unlock",), ("lock",), ("agent",)):
            said = agent_desk.machine.run(*argv, env=PASS)
            refused(said, 7, "does not answer", f"kill -9 {agent}")
    finally:
        os.kill(agent, signal.SIGCONT)
