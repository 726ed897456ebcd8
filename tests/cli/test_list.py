"""`list`: golden tables, JSON, and that it unlocks nothing and works before anything exists.

`GOLDEN=write pytest tests/cli/test_list.py` writes the tables anew.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from filevault.system.times import format_time, parse_time
from tests.samples import EXAMPLE_ID, EXAMPLE_LINES, SECRET
from tests.worlds.aws_machine import AwsMachine
from tests.worlds.machine import Machine, ProcessResult

GOLDEN = Path(__file__).parent / "golden"
DAY = 86400
NOW = 1795470313
LOCKED = {"FILEVAULT_PASSPHRASE": None}


def golden(name: str, result: ProcessResult, machine: Machine) -> None:
    """Compare with a file what was shown, the home directory named `~`."""
    assert result.status == 0, result
    shown = f"{result.out}--- stderr\n{result.err}".replace(str(machine.home), "~")
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("GOLDEN") == "write":
        path.write_text(shown, encoding="utf-8")
    assert shown == path.read_text(encoding="utf-8")


def test_before_anything_exists(machine: Machine) -> None:
    golden("nothing", machine.run("list"), machine)
    assert machine.ok("list", "--json").out == "[]\n"
    assert machine.ok("ls", "--credentials").out == ""
    assert sorted(path.name for path in machine.home.iterdir()) == [".clock"]


def test_before_any_vault_the_configs_profiles_are_shown(machine: Machine) -> None:
    machine.write_config("[default]\nregion = x\n[profile b]\n[profile a]\n[sso-session s]\n")
    golden("no-vault", machine.run("list"), machine)
    assert machine.ok("list", "--profiles").out == "default\nb\na\n"
    told = machine.on_terminal("list", "--debug")
    assert f"there is no vault at '{machine.vault}' yet" in told.err


def test_keys_without_a_config(machine: Machine) -> None:
    machine.freeze(NOW)
    machine.with_vault()
    for name in ("work/prod", "alice"):
        machine.ok("add", name, "--stdin", "--no-config", stdin=EXAMPLE_LINES)
    golden("no-config", machine.run("list", env=LOCKED), machine)
    assert machine.ok("list", "--credentials", env=LOCKED).out == "alice\nwork/prod\n"
    assert not machine.config.parent.exists()


class Full(NamedTuple):
    machine: Machine
    now: int


@pytest.fixture
def full(scene: AwsMachine) -> Full:
    """Profiles, keys with and without sections, sessions of all kinds, one of no profile."""
    machine = scene.machine
    now = int(time.time()) + 1
    machine.freeze(now)
    scene.aws.clock.freeze(now)
    scene.role.require_mfa = False
    scene.configure(mfa=False, more="[profile empty]\nregion = x\n").store()
    created = {
        "AccessKeyId": EXAMPLE_ID,
        "SecretAccessKey": SECRET,
        "CreateDate": format_time(now - 100 * DAY).replace("Z", "+00:00"),
    }
    machine.ok("add", "old", "--stdin", "--no-config", stdin=json.dumps({"AccessKey": created}))
    machine.ok("add", "orphan", "--stdin", "--no-config", stdin=EXAMPLE_LINES)
    config = machine.config.read_text()
    machine.write_config(config.replace("profile admin", "profile gone"))
    machine.ok("export", "gone")
    machine.write_config(config)
    machine.ok("export", "jonsmith")
    machine.ok("export", "admin")
    machine.freeze(now + 400)
    return Full(machine, now)


def test_profiles_keys_ages_and_sessions(full: Full) -> None:
    golden("full", full.machine.run("list", env=LOCKED), full.machine)


def test_live_sessions_only(full: Full) -> None:
    golden("sessions", full.machine.run("list", "--sessions", env=LOCKED), full.machine)
    full.machine.freeze(full.now + DAY)
    assert full.machine.ok("list", "--sessions").out == ""
    assert "sts." not in full.machine.ok("list").out


def test_names_only_come_one_on_a_line(full: Full) -> None:
    assert full.machine.ok("list", "--credentials").out == "jonsmith\nold\norphan\n"
    assert full.machine.ok("list", "--profiles").out == "jonsmith\nadmin\nempty\n"


def test_json_has_a_documented_shape(full: Full) -> None:
    rows = json.loads(full.machine.ok("list", "--json", env=LOCKED).out)
    assert [row["profile"] for row in rows] == [
        "jonsmith",
        "admin",
        "empty",
        "old",
        "orphan",
        "gone",
    ]
    assert all(
        list(row) == ["profile", "in_config", "source", "has_credentials", "created",
                      "created_from", "age_days", "sessions", "signed_in"]
        for row in rows
    )  # fmt: skip
    by_name = {row["profile"]: row for row in rows}
    assert by_name["old"] == {
        "profile": "old",
        "in_config": False,
        "source": "stored",
        "has_credentials": True,
        "created": format_time(full.now - 100 * DAY),
        "created_from": "iam",
        "age_days": 100,
        "sessions": [],
        "signed_in": None,
    }
    (session,) = by_name["gone"]["sessions"]
    assert session["operation"] == "assume-role"
    assert session["seconds_left"] == parse_time(session["expiration"]) - full.now - 400
    assert (by_name["gone"]["in_config"], by_name["gone"]["has_credentials"]) == (False, False)
    assert by_name["empty"]["created"] is None


def test_json_can_be_narrowed(full: Full) -> None:
    def names(option: str) -> list[str]:
        return [row["profile"] for row in json.loads(full.machine.ok("list", option, "--json").out)]

    assert names("--credentials") == ["jonsmith", "old", "orphan"]
    assert names("--profiles") == ["jonsmith", "admin", "empty"]
    assert names("--sessions") == ["jonsmith", "admin", "gone"]


def test_one_profile_is_shown_in_detail(full: Full) -> None:
    shown = full.machine.ok("list", "admin").out
    lines = dict(line.split(":", 1) for line in shown.splitlines())
    found = {name: value.strip() for name, value in lines.items()}
    key = json.loads(full.machine.ok("list", "jonsmith", "--json").out)["key"]
    assert found["key"] == f"...{key} of jonsmith"
    assert found["account"] == "123456789012"
    assert found["role"] == "arn:aws:iam::123456789012:role/admin"
    assert found["vault"] == f"{full.machine.vault} (file)"
    assert found["source"] == "profile"
    assert found["session"].startswith("sts.AssumeRole until ")
    assert found["session"].endswith("Z")
    local = full.machine.ok("list", "admin", "--local", env={"TZ": "UTC-3"}).out
    assert "+0300" in local
    assert SECRET not in shown + local
    locked = full.machine.ok("list", "admin", env=LOCKED)
    assert "that of jonsmith, not known without unlock --vault-key" in locked.out


def test_one_profile_as_json_has_its_row_and_its_details(full: Full) -> None:
    found = json.loads(full.machine.ok("list", "old", "--json", env=LOCKED).out)
    row = next(
        each
        for each in json.loads(full.machine.ok("list", "--json").out)
        if each["profile"] == "old"
    )
    assert {name: found[name] for name in row} == row
    assert (found["key_profile"], found["key"], found["backend"]) == ("old", None, "file")
    opened = json.loads(full.machine.ok("list", "old", "--json").out)
    assert opened["key"] == EXAMPLE_ID[-4:]


def test_one_profile_that_is_not_there_is_an_error(full: Full) -> None:
    done = full.machine.run("list", "admni")
    assert done.status == 3
    assert "did you mean" in done.err
    assert full.machine.run("list", "admin", "--sessions").status == 2


def test_local_times_of_the_table(full: Full) -> None:
    shown = full.machine.ok("list", "--local", env={"TZ": "UTC-3"}).out
    assert "+0300" in shown
    assert "sts.AssumeRole:20" in shown


def test_only_one_narrowing_at_a_time(machine: Machine) -> None:
    assert machine.run("list", "--credentials", "--sessions").status == 2


HOSTILE = ["esc\x1b[31m", "bidi\u202e", "c1\x9b31m", "line\nbreak", "zero\u200bwidth"]


def test_hostile_names_are_shown_escaped(machine: Machine) -> None:
    machine.with_vault()
    for name in HOSTILE:
        machine.ok("add", name, "--stdin", "--no-config", stdin=EXAMPLE_LINES)
    machine.write_config('[profile plain]\n[profile "sec\x1b[5mtion\u2066"]\n')
    for argv in (("list",), ("list", "--credentials"), ("list", "--profiles"), ("list", "--json")):
        shown = machine.ok(*argv).out
        assert not set("\x1b\x9b\u202e\u200b\u2066") & set(shown), argv
        assert all(line.isprintable() for line in shown.splitlines())
    names = {row["profile"] for row in json.loads(machine.ok("list", "--json").out)}
    assert {*HOSTILE, "sec\x1b[5mtion\u2066"} <= names


def test_strays_in_the_vault_are_no_keys(machine: Machine) -> None:
    machine.with_vault()
    machine.ok("add", "real", "--stdin", "--no-config", stdin=EXAMPLE_LINES)
    item = (machine.vault / "real.fv").read_bytes()
    for stray in ("real.fv~", ".real.fv.swp", "real.fv.orig", "#real.fv#", "README.md", "x.FV"):
        (machine.vault / stray).write_bytes(item)
    for folder in (".git", ".stversions", "sub/.hidden"):
        (machine.vault / folder).mkdir(parents=True)
        (machine.vault / folder / "real.fv").write_bytes(item)
    (machine.vault / "folder.fv").mkdir()
    (machine.vault / "link.fv").symlink_to("real.fv")
    os.mkfifo(machine.vault / "pipe.fv")
    assert "real" in machine.ok("list", "--credentials").out.splitlines()
    assert machine.ok("list", "--credentials").out == "real\n"


def test_a_thousand_keys_and_profiles(machine: Machine) -> None:
    machine.with_vault()
    machine.ok("add", "p0000", "--stdin", "--no-config", stdin=EXAMPLE_LINES)
    item = (machine.vault / "p0000.fv").read_bytes()
    for number in range(1, 1000):
        name = f"p{number:04}"
        data = item.replace(b'"name":"p0000"', f'"name":"{name}"'.encode())
        (machine.vault / f"{name}.fv").write_bytes(data)
    machine.write_config("".join(f"[profile p{number:04}]\n" for number in range(0, 2000, 2)))
    lines = machine.ok("list").out.splitlines()
    assert len(lines) == 2 + 1500
    assert lines[2].split() == ["p0000", "p0000", "≥0d", "-"]
    assert len(machine.ok("list", "--credentials").out.splitlines()) == 1000


def test_a_terminal_that_knows_only_ascii_still_gets_a_table(machine: Machine) -> None:
    machine.with_vault()
    machine.ok("add", "Zoë", "--stdin", stdin=EXAMPLE_LINES)
    result = machine.ok("list", env={"PYTHONIOENCODING": "ascii"})
    assert "Zo\\xeb" in result.out
    assert result.out.isascii()


def test_a_full_disk_and_a_closed_output_are_no_bugs_of_ours(machine: Machine) -> None:
    machine.with_vault()
    machine.launcher = ("sh", "-c", 'exec "$@" >/dev/full', "sh", *machine.launcher)
    full = machine.run("list")
    assert full.status == 7
    assert "no space left" in full.err.lower()
    machine.launcher = ("sh", "-c", 'exec "$@" >&-', *machine.launcher[3:])
    closed = machine.run("list")
    assert closed.status == 7
    assert closed.err.splitlines()[0] == (
        "filevault: error: cannot write to 'stdout': it is closed"
    )


def test_a_key_grows_older(machine: Machine) -> None:
    machine.with_vault()
    ages = {0: "≥0d", 5: "≥5d", 400: "≥400d"}
    machine.ok("add", "jon", "--stdin", stdin=EXAMPLE_LINES)
    for days, shown in ages.items():
        machine.freeze(time.time() + days * DAY)
        assert machine.ok("list").out.splitlines()[2].split() == ["jon", "jon", shown, "-"]


@pytest.mark.parametrize(
    ("limit", "warned"),
    [(None, True), ("100d", True), ("101d", False), ("0", False), ("26h", True)],
)
def test_keys_past_a_limit_are_warned_of(machine: Machine, limit: str | None, warned: bool) -> None:
    made = {
        "AccessKeyId": EXAMPLE_LINES.split(maxsplit=1)[0],
        "SecretAccessKey": EXAMPLE_LINES.split()[1],
    }
    created = format_time(time.time() - 100 * DAY - 60)
    machine.with_vault()
    for name in ("one", "two", "three", "four", "five", "six", "seven"):
        document = json.dumps({"AccessKey": {**made, "CreateDate": created}})
        machine.ok("add", name, "--stdin", "--no-config", stdin=document)
    if limit is not None:
        config = machine.home / ".config/filevault/config.toml"
        config.parent.mkdir(parents=True)
        config.write_text(f'key_age_warning = "{limit}"\n', encoding="utf-8")
    told = machine.ok("list").err
    assert ("7 keys of " in told) == warned
    assert ("five, four, one, seven, six and 2 more; filevault rotate" in told) == warned
    assert machine.ok("list", "--json").err == ""


def test_a_limit_that_is_no_duration_is_refused(machine: Machine) -> None:
    config = machine.home / ".config/filevault/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('key_age_warning = "old"\n', encoding="utf-8")
    refused = machine.run("list")
    assert refused.status == 3
    assert "key_age_warning is not a duration" in refused.err


def test_an_empty_vault_says_how_a_key_gets_into_it(machine: Machine) -> None:
    machine.with_vault()
    told = machine.on_terminal("list", "--debug", env=LOCKED)
    assert "hint: the vault has no key: filevault import" in told.err
    assert "hint" not in machine.ok("list", env=LOCKED).err
    machine.write_config("[profile a]\nregion = eu-west-1\n")
    assert "hint: the vault" not in machine.on_terminal("list", "--debug", env=LOCKED).err
