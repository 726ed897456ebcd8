"""Secrets stay where they belong, whatever fails: not in output, argv, environments or files."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conditions.mounts import read_only
from tests.samples import EXAMPLE_ID
from tests.worlds.aws_machine import AwsMachine
from tests.worlds.damage import flip
from tests.worlds.leak_check import LeakCheck
from tests.worlds.machine import PASSPHRASE, TypedAnswer

COMMANDS: list[tuple[tuple[str, ...], bool]] = [
    (("list",), False),
    (("list", "--json"), False),
    (("export", "admin"), True),
    (("export", "jonsmith", "-n", "--format", "json"), True),
    (("exec", "admin", "--", "true"), False),
    (("exec", "admin", "--explain"), False),
    (("login", "admin", "--stdout"), True),
    (("login", "jonsmith", "--stdout"), True),
    (("login", "admin", "--explain"), False),
    (("verify", "--online"), False),
    (("doctor", "--json"), False),
    (("log",), False),
    (("status", "--json"), False),
    (("list", "jonsmith"), False),
    (("copy", "jonsmith", "second"), False),
    (("rename", "second", "third"), False),
    (("migrate", "--to", "moved", "--yes", "--keep"), False),
    (("recipients", "list"), False),
    (("recipients", "accept"), False),
    (("clear",), False),
    (("remove", "-f", "jonsmith"), False),
]


def test_no_command_shows_a_secret_that_was_not_asked_for(watch: LeakCheck) -> None:
    machine = watch.scene.machine
    machine.env["AWS_ENDPOINT_URL_SIGNIN"] = watch.scene.aws.url
    for argv, given_out in COMMANDS:
        result = machine.ok(*argv)
        watch.check(result, given_out=given_out)
    new = watch.scene.aws.add_access_key(watch.scene.user)
    key = f"{new.access_key_id}\n{new.secret_access_key}\n"
    for options in ((), ("--force",)):
        watch.check(machine.ok("add", "jonsmith", "--stdin", *options, stdin=key))
    env = {"AWS_ACCESS_KEY_ID": new.access_key_id, "AWS_SECRET_ACCESS_KEY": new.secret_access_key}
    watch.check(machine.ok("add", "jonsmith", "--env", "--force", env=env))
    watch.check(machine.ok("init", "--vault", "second"))
    assert list(watch.records.iterdir())


def test_helper_programs_get_no_secret_in_argv_or_environment(watch: LeakCheck) -> None:
    stolen = {
        "AWS_SECRET_ACCESS_KEY": "in-the-environment-already",
        "AWS_SESSION_TOKEN": "a-token-of-the-environment",
        "FILEVAULT_NEW_PASSPHRASE": "a-new-one-for-nobody",
        "AWS_VAULT_FILE_PASSPHRASE": "an-old-one-for-nobody",
    }
    watch.scene.machine.ok("export", "admin", env=stolen)
    records = [path.read_bytes().decode("utf-8", "replace") for path in watch.records.iterdir()]
    assert len(records) == 2  # the passphrase's command, and mfa_process
    for record in records:
        assert "recorder" in record
        assert not watch.leaks(record)
        assert not any(value in record for value in stolen.values())
        assert "FILEVAULT_PASSPHRASE" not in record


def wrong_passphrase(watch: LeakCheck) -> None:
    watch.passphrase_file.write_text("another passphrase")


def failing_command(watch: LeakCheck) -> None:
    script = f"sh -c {shlex.quote(f'cat {watch.passphrase_file} >&2; exit 1')}"
    watch.scene.machine.env["FILEVAULT_PASSPHRASE_COMMAND"] = script
    watch.passphrase_file.write_text("not the passphrase")


def damaged_item(watch: LeakCheck) -> None:
    flip(watch.scene.machine.vault / "jonsmith.fv")


def damaged_slot(watch: LeakCheck) -> None:
    for slot in (watch.scene.machine.vault / ".filevault/slots").iterdir():
        flip(slot)


def damaged_marker(watch: LeakCheck) -> None:
    (watch.scene.machine.vault / ".filevault/vault.json").write_text("{")


def damaged_trust(watch: LeakCheck) -> None:
    for trust in watch.scene.machine.state.glob("*/trust.json"):
        trust.write_text("{")


def replaced_vault(watch: LeakCheck) -> None:
    shutil.rmtree(watch.scene.machine.vault)
    (watch.scene.machine.vault).mkdir()


def wrong_code(watch: LeakCheck) -> None:
    config = watch.scene.machine.config
    config.write_text(
        "\n".join(
            "mfa_process = echo 000000; echo 'so secret' >&2" if "mfa_process" in line else line
            for line in config.read_text().splitlines()
        )
    )


@pytest.mark.parametrize(
    "spoil",
    [
        wrong_passphrase,
        failing_command,
        damaged_item,
        damaged_slot,
        damaged_marker,
        damaged_trust,
        replaced_vault,
        wrong_code,
    ],
)
def test_every_failure_keeps_them_too(watch: LeakCheck, spoil: Callable[[LeakCheck], None]) -> None:
    machine = watch.scene.machine
    spoil(watch)
    failed = 0
    for argv in (
        ("export", "admin"),
        ("exec", "admin", "--", "true"),
        ("login", "jonsmith", "--stdout"),
        ("add", "jonsmith", "--stdin", "--force"),
        ("list",),
    ):
        key = f"{EXAMPLE_ID}\n{watch.scene.user.secret_access_key}\n"
        result = machine.run(*argv, stdin=key)
        watch.check(result)
        failed += result.status != 0
    assert failed


def test_a_config_that_holds_a_secret_is_refused_without_showing_the_line(
    ready: AwsMachine,
) -> None:
    secret = ready.user.secret_access_key
    ready.machine.write_config(f"[default]\n{secret}\n")
    result = ready.machine.run("export", "jonsmith", "--debug")
    assert result.status == 3
    assert "line 2" in result.err
    assert secret not in result.everything


def test_state_that_cannot_be_written_leaves_nothing_elsewhere(watch: LeakCheck) -> None:
    machine = watch.scene.machine
    read_only(machine, machine.state)
    before = {path for path in machine.home.rglob("*") if path.is_file()}
    result = machine.ok("exec", "admin", "--", "true")
    watch.check(result)
    after = {path for path in machine.home.rglob("*") if path.is_file()}
    assert {path.parent.name for path in after - before} == {"records"}


def test_what_is_typed_is_kept_from_every_output(watch: LeakCheck) -> None:
    machine, scene = watch.scene.machine, watch.scene
    config = machine.config
    lines = [line for line in config.read_text().splitlines() if "mfa_process" not in line]
    config.write_text("\n".join(lines) + "\n")
    code = watch.code()
    result = machine.on_terminal(
        "exec", "admin", "--", "true",
        env={"FILEVAULT_PASSPHRASE_COMMAND": None},
        answers=[TypedAnswer("Passphrase for", PASSPHRASE), TypedAnswer("MFA code of", code)],
    )  # fmt: skip
    assert result.status == 0
    assert code in result.tty  # a code works once, and is echoed as everywhere
    assert code not in result.out + result.err
    assert PASSPHRASE not in result.everything
    assert scene.user.secret_access_key not in result.everything


def test_no_process_of_ours_ever_has_a_code_from_stdin_in_its_argv(watch: LeakCheck) -> None:
    code = watch.code()
    watch.scene.machine.ok("exec", "admin", "-t", "-", "--", "true", stdin=f"{code}\n")
    records = b"".join(path.read_bytes() for path in watch.records.iterdir())
    assert code.encode() not in records
    assert os.path.basename(watch.recorder).encode() in records


def test_nothing_of_the_scene_is_looked_for_in_vain(watch: LeakCheck) -> None:
    """The search itself finds what is there."""
    result = watch.scene.machine.ok("export", "jonsmith", "-n")
    assert watch.leaks(result.out) == [watch.scene.user.secret_access_key]
    planted = Path(watch.scene.machine.home, "planted")
    planted.write_text(f"x{PASSPHRASE}x")
    with pytest.raises(AssertionError):
        watch.check_files()
    planted.unlink()
