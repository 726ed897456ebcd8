"""The same promises judged by the kernel: real processes, killed and failed by strace."""

from __future__ import annotations

import re
import subprocess
from typing import NamedTuple

import pytest

from tests.conditions.tools import tool
from tests.faults.harness import Snapshot
from tests.faults.scenarios import NEW, SCENARIOS, TEMPORARY, ScenarioStage
from tests.worlds.machine import Machine

CALLS = (
    "openat,write,fchmod,fsync,close,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,flock"
)
# These expressions stand for the calls of one kind that touch the vault or its state.
KINDS = {
    "openat": r"openat\(.*O_CREAT",
    "write": r"write\(",
    "fsync": r"fsync\(",
    "rename": r"rename(at2?)?\(",
    "unlink": r"unlink(at)?\(",
}


class Line(NamedTuple):
    """A call of a trace; `number` counts all calls of its name in the process from 1."""

    name: str
    number: int
    text: str


@pytest.fixture
def stage(machine: Machine) -> ScenarioStage:
    """A key that is to be replaced by another one."""
    tool("strace")
    return ScenarioStage(SCENARIOS["add-force"], machine)


def run(
    stage: ScenarioStage, *options: str
) -> tuple[subprocess.CompletedProcess[bytes], list[Line]]:
    """Run the command under strace, which names the file of each descriptor."""
    trace = stage.machine.home.parent / "trace"
    machine, command = stage.machine, stage.scenario.command
    done = subprocess.run(
        [
            *(tool("strace"), "-f", "-y", "-s", "4096", "-o", str(trace), "-e", f"trace={CALLS}"),
            *options,
            *machine.launcher,
            *command.argv,
        ],
        input=command.stdin,
        env={**machine.environment(), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        start_new_session=True,
        cwd=machine.home,
        timeout=60,
    )
    counts: dict[str, int] = {}
    lines = []
    for text in trace.read_text("utf-8", "surrogateescape").splitlines():
        found = re.match(r"\d+ +([a-z0-9]+)\(", text)
        if found is not None:
            name = found.group(1)
            counts[name] = counts.get(name, 0) + 1
            lines.append(Line(name, counts[name], text.partition(" ")[2].strip()))
    return done, lines


def below_home(stage: ScenarioStage, lines: list[Line]) -> list[Line]:
    """Return the calls that change something in the home."""
    home = str(stage.machine.home)
    return [
        line
        for line in lines
        if home in line.text and any(re.match(kind, line.text) for kind in KINDS.values())
    ]


def test_a_process_killed_by_the_kernel_leaves_the_old_key_or_the_new(stage: ScenarioStage) -> None:
    done, lines = run(stage)
    assert done.returncode == 0, done
    targets = below_home(stage, lines)
    assert {kind for kind in KINDS for line in targets if re.match(KINDS[kind], line.text)} == {
        *KINDS
    }
    assert len(targets) < 30, "more calls than this test has time for"
    states = set()
    for line in targets:
        stage.start.restore()
        done, _ = run(stage, "-e", f"inject={line.name}:signal=KILL:when={line.number}")
        assert done.returncode in (-9, 137), (line, done)
        stage.check_whole(Snapshot.take(stage.machine.home), leftovers=True)
        stage.check_items(changed=None)
        items = stage.read()
        assert items is not None
        states.add(items["one"] == NEW)
    assert states == {False, True}
    stage.check_second_try()


@pytest.mark.parametrize("error", ["ENOSPC", "EIO", "EROFS"])
def test_a_failing_fsync_keeps_the_old_key_and_leaves_no_file(
    stage: ScenarioStage, error: str
) -> None:
    done, lines = run(stage, "-e", f"inject=fsync:error={error}:when=1")
    assert done.returncode == 7, done
    assert next(line for line in lines if line.name == "fsync").text.endswith("(INJECTED)")
    message = done.stderr.decode()
    assert message.count("error:") == 1
    assert "Traceback" not in message
    assert not any(key in message for key in ("one0one0", "new0new0"))
    assert Snapshot.take(stage.machine.home) == stage.start


def test_a_file_is_synced_before_it_is_renamed_and_its_folder_after(stage: ScenarioStage) -> None:
    _, lines = run(stage)
    renames = [line.text for line in lines if re.match(KINDS["rename"], line.text)]
    assert len(renames) >= 2  # the item, and what is remembered of it
    texts = [line.text for line in lines]
    for rename in renames:
        found = re.search(r'<([^>]*)>, "([^"]*)", \d+<([^>]*)>, "([^"]*)"', rename)
        assert found is not None, rename
        folder, temporary, same, _ = found.groups()
        assert folder == same
        assert TEMPORARY.fullmatch(temporary)
        path = f"{folder}/{temporary}"
        order = [
            next(number for number, text in enumerate(texts) if re.match(pattern, text))
            for pattern in (
                rf"openat\(.*{re.escape(temporary)}",
                rf"fchmod\(\d+<{re.escape(path)}>, 0600\)",
                rf"write\(\d+<{re.escape(path)}>",
                rf"fsync\(\d+<{re.escape(path)}>\) += 0",
                re.escape(rename),
            )
        ]
        assert order == sorted(order), rename
        assert re.match(rf"fsync\(\d+<{re.escape(folder)}>\) += 0", texts[order[-1] + 1])


def test_a_temporary_file_is_new_and_follows_no_link(stage: ScenarioStage) -> None:
    _, lines = run(stage)
    opened = [
        line.text for line in lines if re.match(r"openat\(.*\.fv-[0-9a-f]{16}\.tmp", line.text)
    ]
    assert len(opened) >= 2
    for text in opened:
        for flag in ("O_CREAT", "O_EXCL", "O_NOFOLLOW", "O_CLOEXEC"):
            assert flag in text, text


@pytest.mark.parametrize("umask", ["000", "777"])
def test_files_and_folders_are_private_whatever_the_umask(umask: str, machine: Machine) -> None:
    machine.launcher = ("sh", "-c", f'umask {umask}; exec "$@"', "sh", *machine.launcher)
    machine.with_vault().add("team/deep/one", NEW.access_key_id, NEW.secret_access_key)
    made = [*machine.home.glob(".local"), *machine.home.glob(".aws")]
    made += [path for folder in made for path in folder.rglob("*")]
    assert len(made) > 10
    for path in made:
        assert path.stat().st_mode & 0o7777 == (0o700 if path.is_dir() else 0o600), path
