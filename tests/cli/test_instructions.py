"""What a hit of the hot lane costs, counted in instructions: exact, whatever else is running."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.conditions.kernel_keyring import needs_kernel_keyring
from tests.conditions.tools import tool
from tests.fakes import FakeAws
from tests.worlds.hot_lane import EXEC, EXPORT, Child, HotLane

COUNTED = str(Path(__file__).parents[1] / "launch/counted.py")
RECORDED = {"kernel exec": 1.02, "kernel export": 1.02, "agent exec": 1.085}
"""Instructions as a ratio to `python -c pass`, measured with CPython 3.11."""
GROWTH = 1.05


@pytest.fixture(scope="module", params=["kernel", "agent"])
def lane(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HotLane]:
    with FakeAws() as aws, pytest.MonkeyPatch.context() as patch:
        world = HotLane(tmp_path_factory.mktemp("c") / "home", aws, patch, request.param)
        try:
            yield world
        finally:
            world.close()


def instructions(argv: Sequence[str], env: dict[bytes, bytes]) -> int:
    """Count what a process executes, up to its end."""
    done = subprocess.run(
        [tool("valgrind"), "--tool=callgrind", "--callgrind-out-file=/dev/null", *argv],
        env=env,
        capture_output=True,
        text=True,
        cwd="/",
        check=True,
    )
    found = re.search(r"Collected : (\d+)", done.stderr)
    assert found is not None, done.stderr
    return int(found[1])


@functools.cache
def start_of_python() -> int:
    """Count what `python -c pass` executes."""
    env = {b"HOME": b"/", b"LANG": b"C.UTF-8"}
    return instructions([sys.executable, "-c", "pass"], env)


@needs_kernel_keyring
def test_a_hit_executes_hardly_more_than_the_start_of_python(lane: HotLane) -> None:
    place = lane.machine.places
    base = start_of_python()
    for words in (EXEC, EXPORT)[: 2 if place == "kernel" else 1]:
        lane.cached(words)
        env = lane.environ({"COUNTED_NAMES": lane.machine.names})
        if place == "agent":
            # The real program asks in /run and /tmp; a job's agent is asked where it is.
            job: dict[str, str | None] = {"FILEVAULT_AGENT_DIR": str(lane.runtime / "filevault")}
            lane.cached(words, job)
            env = lane.environ({"COUNTED_NAMES": lane.machine.names, **job})
        ratio = instructions([sys.executable, COUNTED, *words], env) / base
        print(f"{place} {words[0]}: {ratio:.3f}")
        assert ratio < RECORDED[f"{place} {words[0]}"] * GROWTH
        assert isinstance(lane.ask(words), Child), os.fspath(lane.machine.home)
