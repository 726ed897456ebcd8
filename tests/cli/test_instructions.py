"""What cached runs cost, counted in instructions: exact, whatever else is running."""

from __future__ import annotations

import compileall
import functools
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from filevault.backends.sealing import envelope
from filevault.finder import HOT, LISTING
from filevault.sessions.session_index import SessionIndex
from filevault.system.files import Folder
from filevault.vault.creation_times import CreationTimes
from filevault.vault.item_store import ItemStore
from tests.bench.vaults import Bench
from tests.conditions.kernel_keyring import needs_kernel_keyring
from tests.conditions.tools import tool
from tests.fakes import FakeAws
from tests.launch.instructions import instructions
from tests.worlds.hot_lane import EXEC, EXPORT, TICK, Child, HotLane
from tests.worlds.machine import Machine

ROOT = Path(__file__).parents[2]
COUNTED = str(ROOT / "tests/launch/counted.py")
RECORDED = {"kernel exec": 1.02, "kernel export": 1.02, "agent exec": 1.085}
"""Instructions as a ratio to `python -c pass`, measured with CPython 3.11."""
NORMAL = {
    (3, 11): {"exec": 1.60, "list": 1.07, "sealed": 0.24},
}
"""The same of runs without the lane, less what the libraries take that such a run imports.

`sealed` is an answer under a key file, which the lane serves with a part of the same libraries.

So an upgrade of a library changes nothing here. By the version of CPython.
"""
LISTS = {
    (3, 11): {"profiles": 2.81, "sessions": 3.04},
}
"""The same of `list` with 1,000 profiles and keys, and with 3,000 keys and 300 sessions."""
LIBRARIES = {
    "exec": "import cryptography.hazmat.primitives.ciphers.aead as a; "
    "import cryptography.hazmat.primitives.kdf.hkdf, cryptography.hazmat.primitives.hmac; "
    "import os; os._exit(0)",
    "list": "import contextlib, os; os._exit(0)",
    "sealed": "import cryptography.hazmat.primitives.ciphers.aead, os; "
    "from cryptography.hazmat.primitives.hashes import SHA256; "
    "import cryptography.hazmat.primitives.kdf.hkdf, cryptography.exceptions; "
    "os._exit(0)",
}
GROWTH = 1.05
WORDS = ("exec", "p0", "--", "/bin/true")
STORES = ("kernel", "client", "protocol", "key_store")
NOT_PRELOADED = ("lane", "finder", "__main__", *(f"keycache.{each}" for each in STORES))
"""The hot lane comes before; which key stores are asked depends on the machine."""


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compile every module, also where PYTHONDONTWRITEBYTECODE is set."""
    for folder in ("filevault", "backends"):
        compileall.compile_dir(ROOT / folder, quiet=2)


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


@functools.cache
def python(code: str = "pass") -> int:
    """Count what `python -c CODE` executes."""
    env = {b"HOME": b"/", b"LANG": b"C.UTF-8"}
    return instructions(tool("valgrind"), [sys.executable, "-c", code], env)


@needs_kernel_keyring
def test_a_hit_executes_hardly_more_than_the_start_of_python(lane: HotLane) -> None:
    place = lane.machine.places
    base = python()
    for words in (EXEC, EXPORT)[: 2 if place == "kernel" else 1]:
        lane.cached(words)
        env = lane.environ({"COUNTED_NAMES": lane.machine.names})
        if place == "agent":
            # The real program asks in /run and /tmp; a job's agent is asked where it is.
            job: dict[str, str | None] = {"FILEVAULT_AGENT_DIR": str(lane.runtime / "filevault")}
            lane.cached(words, job)
            env = lane.environ({"COUNTED_NAMES": lane.machine.names, **job})
        limit = RECORDED[f"{place} {words[0]}"] * GROWTH
        for _ in range(1 if place == "kernel" else 3):  # on a busy machine an agent may be late
            ratio = instructions(tool("valgrind"), [sys.executable, COUNTED, *words], env) / base
            print(f"{place} {words[0]}: {ratio:.3f}")
            if ratio < limit:
                break
        assert ratio < limit
        assert isinstance(lane.ask(words), Child), os.fspath(lane.machine.home)


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """A machine with 30 profiles, a key file and a cached session; nothing is unlocked."""
    with FakeAws() as aws:
        machine = Machine(tmp_path_factory.mktemp("keyed") / "home")
        user = aws.add_user("jonsmith")
        key_file = machine.home / "key"
        machine.env |= {"FILEVAULT_KEY_FILE": str(key_file), "AWS_ENDPOINT_URL": aws.url}
        machine.ok("init", "--new-key-file", str(key_file), "--no-passphrase")
        machine.add("p0", user.access_key_id, user.secret_access_key, "--no-config")
        machine.write_config("".join(f"[profile p{i}]\nregion=eu-west-1\n" for i in range(30)))
        machine.ok("export", "p0")
    _write_indexes(machine.state, machine.vault)
    return machine


def _write_indexes(states: Path, vault: Path) -> None:
    """Write what `list` remembers as a later run does, so that the counted one does not."""
    (state,) = (path for path in states.iterdir() if len(path.name) == 32)
    later = time.time_ns() + 60 * 10**9
    with Folder.open(str(state)) as folder, Folder.open(str(vault)) as store:
        times = CreationTimes(folder, envelope.created, envelope.HEAD_SIZE, lambda: later)
        assert times.of(ItemStore(store, ".fv"))
        times.record(folder)
        if (state / "sessions").exists():
            with folder.child("sessions") as top:
                SessionIndex(folder, lambda: later).listing(top)
    assert (state / "index").exists()


@pytest.mark.parametrize(("words", "preloaded"), [(WORDS, HOT), (("list",), LISTING)])
def test_what_is_preloaded_is_what_a_run_imports(
    keyed: Machine, words: tuple[str, ...], preloaded: tuple[str, ...]
) -> None:
    """Without the lists in `filevault.finder` a run costs more, and no other test fails."""
    done = subprocess.run(
        [*(sys.executable, "-X", "importtime", "-P", "-m", "filevault"), *words],
        env=keyed.environment({"LAUNCH": None, "FILEVAULT_NO_LANE": "1"}),
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.findall(r"^import time:.*\| +filevault\.(\S+)$", done.stderr, re.MULTILINE)
    ours = [name for name in found if not name.startswith(NOT_PRELOADED)]
    assert {*preloaded} == {*ours}, in_order(ours)  # in this order it costs least


def in_order(modules: list[str]) -> list[str]:
    """Return modules, given as they are complete, with each package before what is in it."""
    found: list[str] = []
    left = modules
    while left:
        index = next(
            index for index, each in enumerate(left) if each.rpartition(".")[0] in ("", *found)
        )
        found.append(left[index])
        left = left[:index] + left[index + 1 :]
    return found


@pytest.mark.parametrize("words", [WORDS, ("list",)])
def test_a_run_without_the_lane_executes_no_more_than_recorded(
    keyed: Machine, words: tuple[str, ...]
) -> None:
    recorded = NORMAL.get(sys.version_info[:2])
    if recorded is None:
        pytest.skip(f"no figure is recorded for Python {sys.version_info[0]}.{sys.version_info[1]}")
    assert costs(keyed, words, words[0], {"FILEVAULT_NO_LANE": "1"}) < recorded[words[0]] * GROWTH


def test_an_answer_under_a_key_file_executes_no_more_than_recorded(keyed: Machine) -> None:
    recorded = NORMAL.get(sys.version_info[:2])
    if recorded is None:
        pytest.skip(f"no figure is recorded for Python {sys.version_info[0]}.{sys.version_info[1]}")
    assert costs(keyed, WORDS, "sealed") < recorded["sealed"] * GROWTH


def costs(
    keyed: Machine, words: tuple[str, ...], name: str, more: Mapping[str, str] | None = None
) -> float:
    """Return what a run costs as a ratio to `python -c pass`, less the libraries of that name."""
    # An agent of the user who runs the tests would be asked for a key.
    given = {"LAUNCH": None, "FILEVAULT_AGENT_DIR": str(keyed.home), **(more or {})}
    env = {os.fsencode(k): os.fsencode(v) for k, v in keyed.environment(given).items()}
    argv = [sys.executable, COUNTED, *words]
    for _ in range(2):  # the second run caches the answer, if the first wrote a file
        subprocess.run(argv, env=env, cwd="/", check=True, stdout=subprocess.DEVNULL)
        time.sleep(TICK)
    run = instructions(tool("valgrind"), argv, env)
    ratio = (run - python(LIBRARIES[name])) / python()
    print(f"{name}: {ratio:.3f}, with the libraries {run / python():.3f}")
    return ratio


@pytest.fixture(scope="module")
def long_lists(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Return the environments of users with many profiles, keys and sessions."""
    with FakeAws() as aws:
        bench, folder = Bench(aws), tmp_path_factory.mktemp("lists")
        homes = {
            "profiles": bench.user(folder / "profiles", profiles=1000, items=1000, sessions=0),
            "sessions": bench.user(folder / "sessions", profiles=30, items=3000, sessions=300),
        }
    for env in homes.values():
        local = Path(env["HOME"], ".local")
        _write_indexes(local / "state/filevault", local / "share/filevault")
    return homes


@pytest.mark.parametrize("many", ["profiles", "sessions"])
def test_a_long_listing_executes_no_more_than_recorded(
    long_lists: dict[str, dict[str, str]], many: str
) -> None:
    recorded = LISTS.get(sys.version_info[:2])
    if recorded is None:
        pytest.skip(f"no figure is recorded for Python {sys.version_info[0]}.{sys.version_info[1]}")
    env = {os.fsencode(k): os.fsencode(v) for k, v in long_lists[many].items()}
    argv = [sys.executable, COUNTED, "list"]
    listed = subprocess.run(argv, env=env, cwd="/", check=True, capture_output=True).stdout
    assert listed.count(b"\n") > 1000
    ratio = instructions(tool("valgrind"), argv, env) / python()
    print(f"list with many {many}: {ratio:.3f}")
    assert ratio < recorded[many] * GROWTH
