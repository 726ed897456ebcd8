"""A quick start of the tests is a start: the program and its command meet the same process."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.launch.prefork import Prefork, suits
from tests.worlds.aws_machine import AwsMachine
from tests.worlds.machine import Machine, ProcessResult, TypedAnswer

SHOW = (
    "env | grep -v ^LAUNCH= | sort; pwd; umask; ulimit -a; cat; echo err >&2; "
    "ls -l /proc/self/fd | sed 's/.* //' | grep -v /proc; "
    "grep -E '^(Sig[^Q]|Shd|NoNewPrivs)' /proc/self/status; ps -o pgid=,sid= -p $$ | wc -w"
)


def varying(text: str) -> str:
    """Return a text without what differs between any two runs."""
    return re.sub(r"\[\d+\]|_TOKEN=\S+|ACCESS_KEY\S*=\S+|EXPIRATION=\S+|SHLVL=\d+", "", text)


def both(machine: Machine, *argv: str, **options: object) -> tuple[ProcessResult, ProcessResult]:
    """Run filevault in either way."""
    quick = machine.run(*argv, **options)  # type: ignore[arg-type]
    machine.fresh = True
    return quick, machine.run(*argv, **options)  # type: ignore[arg-type]


def test_a_command_meets_the_same_process(plain: AwsMachine) -> None:
    before = os.umask(0o027)
    try:
        quick, fresh = both(
            plain.machine,
            *("exec", "jonsmith", "--", "sh", "-c", SHOW),
            stdin="some input",
            cwd=Path("/usr"),
            env={"MORE": "here", "HOME": str(plain.machine.home)},
        )
    finally:
        os.umask(before)
    assert "0027" in quick.out
    assert varying(quick.out) == varying(fresh.out)
    assert (quick.status, quick.err) == (fresh.status, fresh.err)


@pytest.mark.parametrize("argv", [("--help",), ("list", "--nonsense"), ("export", "nobody"), ()])
def test_the_program_ends_in_the_same_way(machine: Machine, argv: tuple[str, ...]) -> None:
    quick, fresh = both(machine, *argv)
    assert quick == fresh


def test_descriptors_that_are_passed_have_their_numbers(plain: AwsMachine) -> None:
    reading, writing = os.pipe()
    high = os.dup2(writing, 77)
    os.close(writing)
    argv = ("exec", "jonsmith", "--", "sh", "-c", f"echo there >/proc/self/fd/{high}")
    assert plain.machine.ok(*argv, pass_fds=(high,)).status == 0
    os.close(high)
    with os.fdopen(reading) as stream:
        assert stream.read() == "there\n"


def test_a_terminal_is_the_controlling_one(plain: AwsMachine) -> None:
    argv = ("exec", "jonsmith", "--", "sh", "-c", "read line </dev/tty; echo $line")
    result = plain.machine.on_terminal(*argv, answers=[TypedAnswer("", "typed")])
    assert (result.status, result.out) == (0, "typed\n")


def test_a_signal_ends_it_and_a_process_that_is_running_is_seen_so(plain: AwsMachine) -> None:
    with plain.machine.popen("exec", "jonsmith", "--", "sh", "-c", "echo on; exec cat") as process:
        assert isinstance(process, Prefork)
        process.kill()
        assert process.wait(20) == -signal.SIGKILL


def test_a_time_limit_is_kept(plain: AwsMachine) -> None:
    with plain.machine.popen("exec", "jonsmith", "--", "sleep", "60") as process:
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.communicate(timeout=0.1)
        process.terminate()
    assert process.returncode == -signal.SIGTERM


def test_what_the_interpreter_reads_itself_takes_a_new_one() -> None:
    env = {"LANG": "C.UTF-8"}
    assert suits(["list"], env)
    assert not suits(["list"], {})
    assert not suits(["list"], {**env, "LC_ALL": "C"})
    assert not suits(["list"], {**env, "PYTHONUTF8": "0"})
    assert not suits(["x" * 200_000], env)
