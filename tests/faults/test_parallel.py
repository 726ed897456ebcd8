"""Many processes at once, some of them killed: nothing is lost, torn, or done twice."""

from __future__ import annotations

import contextlib
import json
import random
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

import pytest

from filevault.config.aws_config import AwsConfig
from tests.fakes import FakeAws
from tests.worlds.aws_machine import REGION, REMOTE, SERIAL
from tests.worlds.in_process import InProcess, calm
from tests.worlds.machine import Machine

WRITERS = 8
WIDTH = 6
TIMEOUT = 90.0


def key(number: int) -> tuple[str, str]:
    """Return the number-th key."""
    return f"AKIA{number:016d}", f"secret{number:034d}"


def adding(machine: Machine, profile: str, number: int, *options: str) -> subprocess.Popen[bytes]:
    """Start `add` and do not wait."""
    key_id, secret = key(number)
    variables = {"AWS_ACCESS_KEY_ID": key_id, "AWS_SECRET_ACCESS_KEY": secret}
    return machine.popen("add", profile, "--env", *options, env=variables)


def ended(processes: Sequence[subprocess.Popen[bytes]]) -> list[tuple[int, str, str]]:
    """Wait for all; none may fall over."""
    results = []
    for process in processes:
        out, err = process.communicate(timeout=TIMEOUT)
        assert b"bug in filevault" not in err, err.decode()
        assert b"Traceback" not in err, err.decode()
        results.append((process.returncode, out.decode(), err.decode()))
    return results


def kill_some(
    processes: Sequence[subprocess.Popen[bytes]], chance: random.Random, count: int
) -> set[int]:
    """Kill a few at moments when they may be writing; return which ones were to die."""
    victims = set(chance.sample(range(len(processes)), count))
    for victim in victims:
        time.sleep(chance.uniform(0, 0.25))
        processes[victim].kill()
    return victims


def stored(machine: Machine) -> dict[str, tuple[str, str]]:
    """Open every item in this process; each must be whole."""
    inside = InProcess(machine.env)
    listed = inside.run("list", "--credentials")
    calm(listed)
    found = {}
    for name in listed.out.splitlines():
        export = inside.run("export", name, "--no-session", "--no-cache", "--format", "json")
        assert export.status == 0, export
        assert "older than" not in export.err
        values = json.loads(export.out)
        found[name] = (values["AccessKeyId"], values["SecretAccessKey"])
    return found


def no_leftovers(machine: Machine, *, killed: bool) -> None:
    """Only a killed writer leaves a temporary file, and no item is anything else."""
    if not killed:
        assert list(machine.home.rglob(".fv-*")) == []
    for path in machine.vault.glob("*.fv"):
        assert path.stat().st_size > 256


@pytest.fixture
def config_and_vault(machine: Machine) -> Machine:
    machine.write_config("[default]\n# kept\nregion = eu-west-1\n")
    return machine.with_vault()


@pytest.mark.parametrize("killed", [0, 3])
def test_parallel_writers_of_different_items_lose_none(
    config_and_vault: Machine, killed: int
) -> None:
    chance = random.Random(killed)
    for lap in range(2):
        numbers = range(lap * WRITERS, (lap + 1) * WRITERS)
        processes = [adding(config_and_vault, f"item{n}", n, "--no-config") for n in numbers]
        victims = kill_some(processes, chance, killed)
        results = ended(processes)
        found = stored(config_and_vault)
        for index, (number, (status, _, err)) in enumerate(zip(numbers, results, strict=True)):
            name = f"item{number}"
            if status == 0:
                assert found[name] == key(number)
            else:
                assert index in victims, err
                assert status == -signal.SIGKILL
                assert found.get(name, key(number)) == key(number)
        no_leftovers(config_and_vault, killed=bool(killed))


@pytest.mark.parametrize("killed", [0, 3])
def test_parallel_writers_of_one_item_leave_one_of_their_keys(
    config_and_vault: Machine, killed: int
) -> None:
    chance = random.Random(killed)
    config_and_vault.add("one", *key(0), "--no-config").add("other", *key(99), "--no-config")
    for _ in range(2):
        processes = [
            adding(config_and_vault, "one", n, "--force", "--no-config")
            for n in range(1, WRITERS + 1)
        ]
        victims = kill_some(processes, chance, killed)
        results = ended(processes)
        found = stored(config_and_vault)
        assert found["other"] == key(99)
        assert found["one"] in [key(n) for n in range(WRITERS + 1)]
        wrote = [n + 1 for n, (status, _, _) in enumerate(results) if status == 0]
        for index, (status, _, err) in enumerate(results):
            if status == 7:
                assert "changed by another process; nothing was replaced" in err
            elif status != 0:
                assert index in victims, err
        if not killed:
            assert wrote
            assert found["one"] in [key(n) for n in wrote]
        no_leftovers(config_and_vault, killed=bool(killed))


def test_parallel_inits_make_exactly_one_vault(machine: Machine) -> None:
    for lap in range(3):
        place = machine.home / f"vault{lap}"
        words = [f"a passphrase for process {n}" for n in range(WRITERS)]
        processes = [
            machine.popen("init", "--vault", str(place), env={"FILEVAULT_PASSPHRASE": word})
            for word in words
        ]
        results = ended(processes)
        winners = [n for n, (status, _, _) in enumerate(results) if status == 0]
        assert len(winners) == 1, results
        for status, _, err in results:
            assert status in (0, 3), err
            assert status == 0 or "there is a vault" in err
        machine.env["FILEVAULT_DIR"] = str(place)
        machine.env["FILEVAULT_PASSPHRASE"] = words[winners[0]]
        machine.add("one", *key(1), "--no-config")
        assert stored(machine) == {"one": key(1)}
        pin = results[winners[0]][1].split("pin: ")[1].split()[0]
        assert machine.ok("export", "one", "-n", "--strict", "--pin", pin).status == 0
        shown = machine.ok("recipients", "list").out
        assert f"pin: {pin} (known here)" in shown
        assert shown.count("slot: ") == 1
    states = list(machine.state.iterdir())
    assert len(states) == 3, states


def test_parallel_adds_keep_every_section_of_the_aws_config(config_and_vault: Machine) -> None:
    processes = [
        adding(config_and_vault, f"profile{n}", n, "--region", REGION) for n in range(WRITERS)
    ]
    for status, _, err in ended(processes):
        assert status == 0, err
        assert "was not changed" not in err
    config = AwsConfig.load(str(config_and_vault.config))
    assert set(config.profile_names()) == {"default", *(f"profile{n}" for n in range(WRITERS))}
    for number in range(WRITERS):
        section = config.profile(f"profile{number}")
        assert section is not None
        assert section.values == {"region": REGION}
    assert config_and_vault.config.read_text().startswith("[default]\n# kept\nregion = eu-west-1\n")
    assert len(stored(config_and_vault)) == WRITERS


def test_parallel_first_adds_of_one_profile_write_one_section(config_and_vault: Machine) -> None:
    processes = [adding(config_and_vault, "one", n, "--force") for n in range(WRITERS)]
    results = ended(processes)
    assert any(status == 0 for status, _, _ in results)
    assert config_and_vault.config.read_text().count("[profile one]") == 1
    assert stored(config_and_vault)["one"] in [key(n) for n in range(WRITERS)]


def test_parallel_first_sessions_share_one_session_key(machine: Machine, aws: FakeAws) -> None:
    user = aws.add_user("jonsmith")
    names = [f"user{n}" for n in range(WRITERS)]
    common = f"region = {REGION}\nendpoint_url = {aws.url}\n"
    machine.write_config("".join(f"[profile {name}]\n{common}" for name in names))
    machine.with_vault()
    for name in names:
        machine.add(name, user.access_key_id, user.secret_access_key)
    first = ended([machine.popen("export", name) for name in names])
    assert [status for status, _, _ in first] == [0] * WRITERS, first
    assert aws.actions() == ["GetSessionToken"] * WRITERS
    aws.reset_calls()
    inside = InProcess(machine.env)
    for name, (_, out, _) in zip(names, first, strict=True):
        again = inside.run("export", name)
        calm(again)
        assert again.out == out
    assert aws.calls == []
    (state,) = machine.state.iterdir()
    assert [path.name for path in state.glob("session-key*")] == ["session-key.fv"]


def test_sixty_four_cold_exports_make_one_call_and_ask_once(machine: Machine, aws: FakeAws) -> None:
    user = aws.add_user("jonsmith", mfa=True)
    runs = machine.home / "runs"
    totp = shlex.join([sys.executable, REMOTE, aws.url, "totp", json.dumps({"serial": SERIAL})])
    machine.write_config(
        f"[profile jonsmith]\nregion = {REGION}\nendpoint_url = {aws.url}\n"
        f"mfa_serial = {SERIAL}\nmfa_process = echo run >> {runs}; {totp}\n"
    )
    machine.ok("init", "--new-key-file", str(machine.home / "key"), "--no-passphrase")
    machine.env["FILEVAULT_KEY_FILE"] = str(machine.home / "key")
    machine.add("jonsmith", user.access_key_id, user.secret_access_key)
    results = ended([machine.popen("export", "jonsmith") for _ in range(64)])
    assert {status for status, _, _ in results} == {0}, results
    assert aws.actions() == ["GetSessionToken"]
    assert runs.read_text() == "run\n"
    (answer,) = {out for _, out, _ in results}
    values = dict(line.split("=", 1) for line in answer.splitlines())
    session = aws.session(values["AWS_ACCESS_KEY_ID"])
    assert values["AWS_SECRET_ACCESS_KEY"] == session.secret_access_key
    assert values["AWS_SESSION_TOKEN"] == session.session_token
    (state,) = machine.state.iterdir()
    assert list((state / "locks").iterdir()) == []


class ParallelRounds:
    """Random commands from several processes at once, and what may be there in the end."""

    def __init__(self, machine: Machine, seed: int) -> None:
        self.machine = machine
        machine.env["FILEVAULT_DEBUG"] = "1"  # says where, if something falls over
        self.chance = random.Random(seed)
        self.names = [*(f"item{n}" for n in range(6)), "team/a", "team/b", "team/deep/c"]
        self.written: dict[str, set[tuple[str, str]]] = {name: set() for name in self.names}
        self.number = 0

    def start(self) -> subprocess.Popen[bytes]:
        name = self.chance.choice(self.names)
        what = self.chance.random()
        if what < 0.45:
            self.number += 1
            self.written[name].add(key(self.number))
            config = () if self.chance.random() < 0.3 else ("--no-config",)
            return adding(self.machine, name, self.number, "--force", *config)
        if what < 0.6:
            return self.machine.popen("remove", name, "--force")
        if what < 0.75:
            return self.machine.popen("list", "--json")
        if what < 0.95:
            return self.machine.popen("export", name, "--no-session")
        return self.machine.popen("clear")

    def judge(self, process: subprocess.Popen[bytes], *, killed: bool) -> None:
        ((status, out, err),) = ended([process])
        if killed and status == -signal.SIGKILL:
            return
        assert status in (0, 3, 4, 7), (process.args, out, err)
        if status == 7:
            assert "changed by another process" in err, err
        assert "damaged" not in err, err

    def go_on(self, seconds: float) -> None:
        running: list[tuple[subprocess.Popen[bytes], float | None]] = []
        until = time.monotonic() + seconds
        with contextlib.ExitStack() as stack:
            while time.monotonic() < until or running:
                while len(running) < WIDTH and time.monotonic() < until:
                    process = stack.enter_context(self.start())
                    death = None
                    if self.chance.random() < 0.25:
                        death = time.monotonic() + self.chance.uniform(0.05, 0.5)
                    running.append((process, death))
                still = []
                for process, death in running:
                    if death is not None and time.monotonic() > death:
                        process.kill()
                        self.judge(process, killed=True)
                    elif process.poll() is not None:
                        self.judge(process, killed=False)
                    else:
                        still.append((process, death))
                running = still
                time.sleep(0.005)

    def finish(self) -> None:
        found = stored(self.machine)
        for name, value in found.items():
            assert value in self.written[name]
        config = AwsConfig.load(str(self.machine.config))
        names = config.profile_names()
        assert len(names) == len(set(names))
        assert self.machine.config.read_text().startswith("[default]\n# kept\nregion = eu-west-1\n")
        self.machine.add("last", *key(10**9), "--no-config")
        assert stored(self.machine)["last"] == key(10**9)


def test_a_moment_of_the_hammer(config_and_vault: Machine) -> None:
    hammer = ParallelRounds(config_and_vault, 1)
    hammer.go_on(3)
    hammer.finish()


@pytest.mark.torture
@pytest.mark.parametrize("seed", range(3))
def test_the_hammer(config_and_vault: Machine, seed: int) -> None:
    hammer = ParallelRounds(config_and_vault, seed)
    hammer.go_on(60)
    hammer.finish()
