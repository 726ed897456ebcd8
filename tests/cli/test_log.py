"""`log`: every way of issuing credentials is recorded, only if that is turned on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from filevault.issued.issue_log import FILE
from tests.worlds.aws_machine import AwsMachine
from tests.worlds.machine import Machine
from tests.worlds.served_command import ServedCommand
from tests.worlds.standing_server import StandingServer


def turn_on(machine: Machine, value: str = "true") -> None:
    folder = machine.home / ".config/filevault"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "config.toml").write_text(f"log = {value}\n", encoding="ascii")


def lines(machine: Machine) -> list[tuple[str, str, str | None]]:
    found = json.loads(machine.ok("log", "--json").out)
    return [(each["verb"], each["profile"], each["command"]) for each in found]


def test_nothing_is_recorded_unless_it_is_turned_on(plain: AwsMachine) -> None:
    machine = plain.machine
    machine.ok("export", "jonsmith")
    assert not (machine.state / FILE).exists()
    assert lines(machine) == []
    turn_on(machine, "false")
    machine.ok("export", "jonsmith")
    assert not (machine.state / FILE).exists()


def test_every_way_of_issuing_credentials_is_recorded(plain: AwsMachine) -> None:
    machine = plain.machine
    machine.env["AWS_ENDPOINT_URL_SIGNIN"] = plain.aws.url
    turn_on(machine)
    hidden = "argument-that-is-not-logged"
    machine.ok("exec", "jonsmith", "--", "/bin/true", hidden)
    machine.ok("export", "jonsmith", "--format", "json")
    machine.ok("exec", "jonsmith", "--json")
    machine.ok("login", "jonsmith", "--stdout")
    with ServedCommand(machine, "jonsmith") as served:
        key = served.get().body["AccessKeyId"]
    with StandingServer(machine, "jonsmith"):
        pass
    machine.ok("exec", "jonsmith", "--explain")
    machine.run("export", "nobody")
    machine.run("exec", "jonsmith", "--", "/no/such/program")
    assert lines(machine) == [
        ("exec", "jonsmith", "true"),
        ("export", "jonsmith", None),
        ("export", "jonsmith", None),
        ("login", "jonsmith", None),
        ("exec", "jonsmith", "sh"),
        ("serve", "jonsmith", None),
    ]
    text = (machine.state / FILE).read_text(encoding="ascii")
    assert f'"key": "{key[-4:]}"' in text
    for secret in (*plain.secrets(), hidden, key):
        assert secret not in text
    shown = machine.ok("log", "-n", "2").out.splitlines()
    assert [each.split()[2] for each in shown] == ["Verb", "exec", "serve"]
    assert machine.run("log", "-n", "x").status == 2


def test_a_log_that_cannot_be_written_is_one_warning(plain: AwsMachine) -> None:
    machine = plain.machine
    turn_on(machine)
    (machine.state / FILE).mkdir()
    done = machine.ok("exec", "jonsmith", "--", "/bin/true")
    assert done.err.count("not logged") == done.err.count("\n") == 1


def test_the_journal_that_is_not_there_is_one_warning(plain: AwsMachine, tmp_path: Path) -> None:
    machine = plain.machine
    machine.root = str(tmp_path)
    turn_on(machine, '"journald"')
    done = machine.ok("export", "jonsmith")
    assert done.err.count("not logged") == done.err.count("\n") == 1
    assert "journal" in done.err
    assert lines(machine) == []


@pytest.mark.parametrize("value", ["1", '"syslog"', '"/tmp/log"', "[]"])
def test_another_value_is_an_error(plain: AwsMachine, value: str) -> None:
    turn_on(plain.machine, value)
    done = plain.machine.run("export", "jonsmith")
    assert done.status == 3
    assert "log must be" in done.err
