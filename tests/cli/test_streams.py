"""Standard streams that are closed, read-only, full or limited: every command has a status for it.

The runs are copies of the server of `prefork.py`, which set their descriptors up and then do what
Python does at its start. A few of them are whole processes, to show that this is the same.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from filevault.cli.command import COMMANDS
from filevault.keycache.agent_folders import user_agent_folders
from tests.fakes.identity_center import START_URL
from tests.faults.harness import Snapshot
from tests.launch import prefork, streams
from tests.launch.streams import FULL_SIZE, LIMITED, WORKS
from tests.samples import EXAMPLE_ID
from tests.worlds import cli_login
from tests.worlds.key_cache import end_agents
from tests.worlds.machine import Machine

REAL = (sys.executable, "-P", "-m", "filevault")
KEY = f"{EXAMPLE_ID}\n".encode() + b"x" * 40 + b"\n"
KEY_JSON = json.dumps({"AccessKeyId": EXAMPLE_ID, "SecretAccessKey": "x" * 40}).encode()


class StreamResult(NamedTuple):
    """How a run ended; `out` and `err` are what the streams took where they work."""

    status: int
    out: str
    err: str


def run(
    machine: Machine,
    argv: tuple[str, ...],
    *,
    stdin: bytes = b"",
    stdout: str = WORKS,
    stderr: str = WORKS,
    limit: int | None = None,
    **env: str | None,
) -> StreamResult:
    """Run a command in a copy of the server; `limit` is RLIMIT_FSIZE in bytes."""
    limit = FULL_SIZE if limit is None and LIMITED in (stdout, stderr) else limit
    order = {"argv": argv, "streams": [WORKS, stdout, stderr], "limit": limit}
    with contextlib.ExitStack() as files:
        given, out, err = (files.enter_context(tempfile.TemporaryFile()) for _ in range(3))
        given.write(stdin)
        given.seek(0)
        process = prefork.Prefork(
            [json.dumps(order)],
            function=streams.child,
            stdin=given,
            stdout=out,
            stderr=err,
            cwd=machine.home,
            env=machine.environment(env),
        )
        status = process.wait()
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
        return StreamResult(status, *texts)


class StreamCase(NamedTuple):
    """A run of a command that works where the streams do.

    `prints` is what it prints: its `result`, a `confirmation`, or `nothing` of filevault's.
    """

    argv: tuple[str, ...]
    prints: str = "result"
    stdin: bytes = b""

    @property
    def failure(self) -> int:
        """The status where a stream fails."""
        return 125 if self.argv[0] == "exec" and "--json" not in self.argv else 7


CASES = {
    "init": [StreamCase(("init", "--vault", "other"))],
    "add": [StreamCase(("add", "new", "--stdin", "--no-config"), "confirmation", KEY)],
    "import": [
        StreamCase(("import", "-", "--name", "new", "--yes", "--no-config"), stdin=KEY_JSON),
        StreamCase(("import", "-", "--name", "new", "--dry-run", "--json"), stdin=KEY_JSON),
    ],
    "list": [StreamCase(("list",)), StreamCase(("list", "--json"))],
    "exec": [
        StreamCase(("exec", "jon", "-n", "--", "true"), "nothing"),
        StreamCase(("exec", "jon", "-n", "--json")),
        StreamCase(("exec", "jon", "-n", "--explain")),
    ],
    "export": [
        StreamCase(("export", "jon", "-n")),
        StreamCase(("export", "jon", "-n", "--format", "json")),
    ],
    "serve": [StreamCase(("serve", "jon", "--explain"))],
    "login": [StreamCase(("login", "jon", "--explain"))],
    "sso": [StreamCase(("sso", "logout", "work"), "confirmation")],
    "signin": [StreamCase(("signin", "console", "--adopt"), "confirmation")],
    "rotate": [
        StreamCase(("rotate", "jon", "--dry-run")),
        StreamCase(("rotate", "jon", "--dry-run", "--json")),
    ],
    "remove": [StreamCase(("remove", "jon", "--force"), "confirmation")],
    "rename": [StreamCase(("rename", "jon", "new"), "confirmation")],
    "copy": [StreamCase(("copy", "jon", "new"), "confirmation")],
    "migrate": [
        StreamCase(("migrate", "--to", "other", "--yes")),
        StreamCase(("migrate", "--to", "other", "--yes", "--keep", "--json")),
    ],
    "verify": [StreamCase(("verify",)), StreamCase(("verify", "jon", "--json"))],
    "doctor": [StreamCase(("doctor",)), StreamCase(("doctor", "--json"))],
    "clear": [StreamCase(("clear",), "confirmation")],
    "unlock": [StreamCase(("unlock",), "confirmation")],
    "lock": [StreamCase(("lock",), "confirmation")],
    "log": [StreamCase(("log", "--json"))],
    "status": [StreamCase(("status",))],
    "agent": [StreamCase(("agent", "--", "true"), "nothing")],
    "recipients": [
        StreamCase(("recipients", "list")),
        StreamCase(("recipients", "accept"), "confirmation"),
    ],
    "slot": [
        StreamCase(("slot", "list")),
        StreamCase(("slot", "add", "--new-key-file", "new-key"), "confirmation"),
        StreamCase(("slot", "add", "--generate")),
    ],
    "passphrase": [
        StreamCase(("passphrase",), "confirmation"),
        StreamCase(("passphrase", "--generate")),
    ],
    "rekey": [StreamCase(("rekey", "--drop-slots"))],
    "git": [StreamCase(("git", "init", "--quiet"), "nothing")],
    "completion": [StreamCase(("completion", "zsh"))],
    "help": [StreamCase(("help",)), StreamCase(("help", "exec"))],
    "version": [StreamCase(("version",))],
}
EVERY = [(f"{' '.join(case.argv[:3])}", case) for cases in CASES.values() for case in cases]
each = pytest.mark.parametrize("case", [case for _, case in EVERY], ids=[name for name, _ in EVERY])


def test_every_command_is_in_the_table() -> None:
    assert CASES.keys() == COMMANDS.keys()


def _few_programs(folder: Path) -> Path:
    """Make a folder for PATH without the AWS CLI, whose version `doctor` asks for, slowly."""
    folder.mkdir()
    for name in ("git", "true"):
        found = shutil.which(name)
        if found is not None:
            (folder / name).symlink_to(found)
    return folder


class StreamMachine:
    """A machine with a vault, put back after each run."""

    def __init__(self, root: Path) -> None:
        self.machine = machine = Machine(root / "home")
        machine.with_vault().add("jon", EXAMPLE_ID, "x" * 40, "--no-config")
        machine.write_config(
            f"[sso-session work]\nsso_start_url = {START_URL}\nsso_region = eu-west-1\n"
            f"[profile console]\nlogin_session = {cli_login.USER}\n"
        )
        cli_login.write(machine.home, cli_login.USER, cli_login.cli_token(cli_login.sample()))
        machine.env["FILEVAULT_NEW_PASSPHRASE"] = "another horse battery staple"
        machine.env["AWS_REGION"] = "eu-west-1"
        machine.env["PATH"] = str(_few_programs(root / "bin"))
        machine.places = "agent"
        machine.root = str(root)
        (root / "tmp").mkdir()
        self.start = Snapshot.take(machine.home)

    def run(self, case: StreamCase, **streams: Any) -> tuple[StreamResult, bool]:
        """Return how a run ended, and whether it changed anything; then take that back."""
        ended = run(self.machine, case.argv, stdin=case.stdin, **streams)
        for index in self.machine.state.glob("*/index"):
            index.unlink()  # `list` writes it once the items are some seconds old
        changed = Snapshot.take(self.machine.home) != self.start
        if changed:
            self.start.restore()
        return ended, changed


@pytest.fixture(scope="module")
def stream_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamMachine]:
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="w") as folder:
        yield StreamMachine(Path(folder))
        end_agents(user_agent_folders(lambda _: None, folder))


@each
def test_a_result_that_stdout_cannot_take_is_refused_before_anything_is_done(
    stream_machine: StreamMachine, case: StreamCase
) -> None:
    """A confirmation is dropped where stdout is closed, and an error where it is broken."""
    normal, changes = stream_machine.run(case)
    assert normal.err.count("error") <= 1, normal
    for kind in ("closed", "read-only", "full"):
        ended, changed = stream_machine.run(case, stdout=kind)
        if case.prints == "result":
            assert ended.status == case.failure, (kind, ended)
            assert ended.err.startswith("filevault: error: cannot write to 'stdout': "), ended
            assert not changed
        elif kind == "closed" or case.prints == "nothing" or normal.status != 0:
            assert ended.status == normal.status, (kind, ended)
            assert changed == changes
        else:
            assert ended.status == 7, (kind, ended)
            assert "only the output is lost" in ended.err
            assert changed == changes


@each
def test_messages_that_stderr_cannot_take_change_no_status(
    stream_machine: StreamMachine, case: StreamCase
) -> None:
    normal, changes = stream_machine.run(case)
    for kind in ("closed", "full", "unread"):
        ended, changed = stream_machine.run(case, stderr=kind)
        assert (ended.status, changed) == (normal.status, changes), (kind, ended)
        assert bool(ended.out) == bool(normal.out)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_failure_has_its_status_where_nothing_can_be_said(
    stream_machine: StreamMachine, name: str
) -> None:
    expected = {"exec": 125, "git": 4}.get(name, 2)  # git's options are not filevault's
    for kind in ("closed", "read-only", "full"):
        ended, _ = stream_machine.run(
            StreamCase((name, "--no-such-option")), stdout=kind, stderr=kind
        )
        assert ended.status == expected, (kind, ended)


@each
def test_a_limit_on_the_size_of_files_has_a_documented_status(
    stream_machine: StreamMachine, case: StreamCase
) -> None:
    ended, _ = stream_machine.run(case, limit=0)
    expected = {
        "result": (case.failure,),
        "confirmation": (7,),
        "nothing": (0, 7, 128 + 25),
    }  # SIGXFSZ
    assert ended.status in expected[case.prints], ended
    if case.prints == "result":  # where vault and state can be written, and stdout cannot
        ended, _ = stream_machine.run(case, stdout=LIMITED)
        assert ended.status == case.failure, ended
        ended, _ = stream_machine.run(case, stdout="unread")
        assert ended.status in (1, case.failure), ended


ONCE = (
    ("init", "--generate", "--vault", "other"),
    ("init", "--generate", "--backend", "age", "--vault", "other"),
    ("slot", "add", "--generate"),
    ("passphrase", "--generate"),
)
UNUSABLE = ("closed", "read-only", "full", "null", "unread", LIMITED)


@pytest.mark.parametrize("stdout", UNUSABLE)
@pytest.mark.parametrize("argv", ONCE, ids=["init", "age", "slot", "passphrase"])
def test_a_secret_that_is_shown_once_is_shown_before_anything_is_made(
    stream_machine: StreamMachine, argv: tuple[str, ...], stdout: str
) -> None:
    ended, changed = stream_machine.run(StreamCase(argv), stdout=stdout)
    assert ended.status == 7, ended
    assert not changed
    assert len([line for line in ended.err.splitlines() if ": error: " in line]) == 1
    assert "stdout" in ended.err
    assert ">/dev/null" not in ended.err  # the way out is not one that loses it


@pytest.mark.parametrize(
    ("redirection", "status"),
    [
        (">&-", 7),
        ("1</dev/null", 7),
        (">/dev/null", 7),
        (">/dev/zero", 7),
        ("<&- >&- 2>&-", 7),
        ("2>/dev/full", 0),
    ],
)
def test_the_real_program_never_loses_a_new_passphrase(
    machine: Machine, redirection: str, status: int
) -> None:
    machine.with_vault()
    before = Snapshot.take(machine.vault)
    machine.launcher = ("sh", "-c", f'exec "$@" {redirection}', "sh", *machine.launcher)
    done = machine.run("passphrase", "--generate")
    assert done.status == status, done
    if status:
        assert Snapshot.take(machine.vault) == before
    else:
        shown = done.out.splitlines()[0].removeprefix("passphrase: ")
        machine.launcher = Machine(machine.home).launcher
        machine.env["FILEVAULT_PASSPHRASE"] = shown
        machine.add("jon", EXAMPLE_ID, "x" * 40, "--no-config")


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", ">/dev/full 2>/dev/full"])
def test_the_real_program_has_its_status_where_nothing_can_be_said(
    machine: Machine, redirection: str
) -> None:
    machine.launcher = ("sh", "-c", f'exec "$@" {redirection}', "sh", *REAL)
    assert machine.run("exec", "nobody", "--", "true").status == 125
    assert machine.run("export", "nobody").status == (3 if ">/dev/full 2" not in redirection else 7)


def test_a_command_gets_the_descriptors_that_were_given_and_no_other(machine: Machine) -> None:
    machine.with_vault().add("jon", EXAMPLE_ID, "x" * 40, "--no-config")
    machine.launcher = ("sh", "-c", 'exec "$@" <&- >&-', "sh", *machine.launcher)
    done = machine.run("exec", "jon", "-n", "--", "sh", "-c", "(ls /proc/$$/fd) >&2; :")
    assert done.err.split() == ["2"]


def test_messages_come_after_the_results_that_were_printed_before_them(
    stream_machine: StreamMachine,
) -> None:
    """Both streams may be one file, or one terminal."""
    with tempfile.TemporaryFile() as file:
        subprocess.run(
            [*stream_machine.machine.launcher, "rekey", "--drop-slots"],
            env=stream_machine.machine.environment(),
            stdout=file,
            stderr=file,
            check=True,
        )
        stream_machine.start.restore()
        file.seek(0)
        lines = file.read().decode().splitlines()
    above = next(number for number, line in enumerate(lines) if "keys above" in line)
    assert lines[above - 1].startswith(f"  jon  {EXAMPLE_ID}"), lines
