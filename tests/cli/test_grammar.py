"""Help, versions, unknown words, where global options may stand, and readers that go away."""

from __future__ import annotations

import os
import subprocess

import pytest

import filevault
from filevault.cli.command import ALIASES, COMMANDS, module_of
from filevault.cli.commands import (
    add,
    agent,
    clear,
    completion,
    copy,
    doctor,
    export,
    git,
    init,
    lock,
    log,
    login,
    migrate,
    passphrase,
    recipients,
    rekey,
    remove,
    rename,
    rotate,
    serve,
    signin,
    slot,
    sso,
    status,
    unlock,
    verify,
    version,
)
from filevault.cli.commands import exec as exec_
from filevault.cli.commands import help as help_
from filevault.cli.commands import list as list_
from filevault.cli.protocols import Command, Split
from tests.worlds.aws_machine import AwsMachine
from tests.worlds.machine import Machine

GLOBAL = (
    "--vault", "--backend", "--passphrase-fd", "--passphrase-file", "--key-file", "--strict",
    "--pin", "--slot", "--allow-weak-kdf", "--allow-http", "--prompt", "--debug", "--version",
)  # fmt: skip


# `import` is a word of Python's, so that the type checker does not see this one.
import_ = module_of("import")
# The type checker proves it: the program imports them by name, which tells it nothing.
MODULES: tuple[Command, ...] = (
    init, add, import_, list_, exec_, export, serve, login, sso, signin, rotate, remove, rename,
    copy, migrate, verify, doctor, clear, unlock, lock, log, status, agent, recipients, slot,
    passphrase, rekey, git, completion, help_, version,
)  # fmt: skip
SPLITTING: tuple[Split, ...] = (exec_.split, agent.split, git.split)


def test_the_type_checker_sees_every_command() -> None:
    names = [module.__name__.rpartition(".")[2] for module in MODULES]  # type: ignore[attr-defined]
    assert names == [*COMMANDS]
    assert {each.split for each in MODULES if hasattr(each, "split")} == {*SPLITTING}


@pytest.mark.parametrize("command", [*COMMANDS, *ALIASES])
def test_every_command_tells_its_options(machine: Machine, command: str) -> None:
    result = machine.run(command, "--help")
    assert (result.status, result.err) == (0, "")
    first, blank, _ = result.out.split("\n", 2)
    assert first.startswith("usage: filevault ")
    assert not blank
    assert len(first) <= 80
    for option in GLOBAL:
        assert option in result.out
    assert machine.run("--help", command) == machine.run(command, "-h") == result


def test_the_programs_own_help_names_every_command(machine: Machine) -> None:
    result = machine.run("--help")
    assert (result.status, result.err) == (0, "")
    for command, text in COMMANDS.items():
        assert any(line.split()[:1] == [command] for line in result.out.splitlines())
        assert text in result.out
    assert machine.run("-h") == result
    assert machine.run("--debug", "--help") == result
    assert "\nTo begin: filevault init, filevault add work, filevault exec work -- " in result.out


@pytest.mark.parametrize("argv", [("--version",), ("list", "--version"), ("--version", "exec")])
def test_the_version_goes_to_stdout(machine: Machine, argv: tuple[str, ...]) -> None:
    result = machine.run(*argv)
    assert (result.status, result.err) == (0, "")
    assert result.out == f"filevault {filevault.__version__}\n"


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        ((), "no command is given"),
        (("--strict",), "no command is given"),
        (("--", "list"), "no command is given"),
        (("lsit",), "there is no command 'lsit'"),
        (("srv", "x"), "there is no command 'srv'"),
        (("li\x1b[31m",), "there is no command"),
        (("--bogus",), "--bogus"),
        (("list", "--bogus"), "--bogus"),
        (("list", "one", "extra"), "extra"),
        (("list", "--strict=1"), "--strict"),
        (("list", "--vault"), "--vault"),
        (("list", "--cred"), "--cred"),
        (("add",), "PROFILE"),
        (("export", "x", "--format", "xml"), "xml"),
        (("export", "x", "--duration", "soon"), "not a duration"),
        (("recipients",), "list|add|remove|accept"),
        (("recipients", "add"), "add"),
        (("list", "--prompt", "x", "--passphrase-fd", "three"), "descriptor"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(
    machine: Machine, argv: tuple[str, ...], why: str
) -> None:
    result = machine.run(*argv)
    assert (result.status, result.out) == (2, "")
    first, hint = result.err.splitlines()
    assert first.startswith("filevault: error: ")
    assert why in first
    assert "--help" in hint
    assert "\x1b" not in result.err


def test_global_options_stand_before_or_after_the_command(ready: AwsMachine) -> None:
    machine = ready.machine
    elsewhere = str(machine.home / "elsewhere")
    anywhere: tuple[tuple[str, ...], ...] = (
        ("--vault", elsewhere, "list", "--debug"),
        ("--debug", "list", f"--vault={elsewhere}"),
        ("list", "--debug", "--vault", elsewhere),
    )
    for argv in anywhere:
        missing = machine.run(*argv)
        assert missing.status == 4
        assert f"there is no vault at '{elsewhere}', which --vault names" in missing.err
    assert machine.ok("list", "--debug").err == machine.ok("--debug", "list").err
    anywhere = (
        ("--slot", "0" * 16, "exec", "-n", "jonsmith", "--", "true"),
        ("exec", "-n", "jonsmith", "--slot", "0" * 16, "--", "true"),
        ("exec", "--slot", "0" * 16, "-n", "jonsmith", "true"),
    )
    for argv in anywhere:
        assert "the vault has no keyslot" in machine.run(*argv).err


def without_reader(machine: Machine, *argv: str) -> subprocess.CompletedProcess[bytes]:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        return subprocess.run(
            [*machine.launcher, *argv],
            env=machine.environment(),
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=subprocess.PIPE,
        )
    finally:
        os.close(writing)


@pytest.mark.parametrize(
    "argv",
    [
        ("list",),
        ("list", "--json"),
        ("export", "jonsmith", "-n"),
        ("exec", "admin", "--explain"),
        ("recipients", "list"),
        ("--help",),
        ("exec", "--help"),
        ("--version",),
    ],
)
def test_a_reader_that_went_away_is_no_noise(ready: AwsMachine, argv: tuple[str, ...]) -> None:
    done = without_reader(ready.machine, *argv)
    assert done.stderr == b""
    assert done.returncode in (1, 125)


def test_an_output_that_is_full_is_a_failure_and_no_bug(ready: AwsMachine) -> None:
    machine = ready.machine
    machine.launcher = ("sh", "-c", 'exec "$@" >/dev/full', "sh", *machine.launcher)
    for argv in (("list",), ("export", "jonsmith", "-n"), ("list", "--help")):
        result = machine.run(*argv)
        assert result.status == 7
        assert result.err.splitlines()[0] == (
            "filevault: error: cannot write to 'stdout': no space left on device"
        )


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_standard_streams_may_be_closed(ready: AwsMachine, closed: str) -> None:
    machine = ready.machine
    machine.launcher = ("sh", "-c", f'exec "$@" {closed}', "sh", *machine.launcher)
    for argv in (("list", "--debug"), ("export", "jonsmith", "-n")):
        result = machine.run(*argv)
        assert result.status == (7 if ">&-" in closed.replace("2>&-", "") else 0)
        assert "unexpected" not in result.everything
        assert "filevault: debug" not in result.out
    data = (machine.vault / "jonsmith.fv").read_bytes()
    key = f"{ready.user.access_key_id}\n{ready.user.secret_access_key}\n"
    if "<" not in closed:
        machine.ok("add", "jonsmith", "--stdin", "--force", stdin=key)
        assert (machine.vault / "jonsmith.fv").read_bytes() != data


def test_debug_adds_a_trace_without_values(machine: Machine) -> None:
    plain = machine.run("export", "nowhere")
    debug = machine.run("export", "nowhere", "--debug")
    assert "filevault: debug" not in plain.err
    assert "ProfileNotFoundError" in debug.err
    assert " in run" in debug.err
    assert machine.run("export", "nowhere", env={"FILEVAULT_DEBUG": "1"}).err == debug.err
