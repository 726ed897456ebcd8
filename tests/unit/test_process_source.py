"""`credential_process` as a credential source: what it may print, and that it never runs itself."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import botocore.session
import pytest

from filevault.config.program_chain import CHAIN
from filevault.credentials import Credentials
from filevault.errors import FilevaultError, ProfileLoopError, ProgramError, ProviderError
from filevault.plan.explain import explain
from filevault.system import programs
from tests.fakes import FakeAws
from tests.fakes.clock import iso
from tests.worlds.providers import ProviderWorld, role, role_arn

HOUR = 3600
ID = "ASIAQAAAAAAAEXAMPLE1"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
TOKEN = "a-session-token"


class ProcessWorld(ProviderWorld):
    """A profile `p` whose program prints the file `output`."""

    def __init__(self, aws: FakeAws, folder: Path) -> None:
        super().__init__(aws, folder, "")
        aws.clock.freeze()
        self.environ = {"PATH": "/usr/bin:/bin"}
        self.output = folder / "output"
        self.command(f"cat {self.output}")

    def command(self, command: str) -> ProcessWorld:
        self.config = f"[profile p]\nregion = eu-west-1\ncredential_process = {command}\n"
        return self

    def prints(self, **values: Any) -> ProcessWorld:
        """Let the program print usual output with changes; `...` takes a member away."""
        usual = {
            "Version": 1,
            "AccessKeyId": ID,
            "SecretAccessKey": SECRET,
            "SessionToken": TOKEN,
            "Expiration": iso(self.aws.clock() + HOUR),
        }
        shown = {name: value for name, value in {**usual, **values}.items() if value is not ...}
        self.output.write_text(json.dumps(shown), encoding="utf-8")
        return self

    def script(self, text: str) -> Path:
        path = self.folder / "program"
        path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        path.chmod(0o700)
        return path


@pytest.fixture
def world(aws: FakeAws, tmp_path: Path) -> ProcessWorld:
    return ProcessWorld(aws, tmp_path)


def refused(world: ProcessWorld, kind: type[FilevaultError] = ProviderError) -> FilevaultError:
    with pytest.raises(kind) as caught:
        world.run("p")
    text = f"{caught.value.message} {caught.value.hint}"
    assert SECRET not in text
    assert TOKEN not in text
    return caught.value


ACCEPTED: dict[str, dict[str, Any]] = {
    "as documented": {},
    "an offset": {"Expiration": "2099-11-28T12:00:00+00:00"},
    "another offset": {"Expiration": "2099-11-28T14:00:00+02:00"},
    "a fraction": {"Expiration": "2099-11-28T12:00:00.123456Z"},
    "no zone": {"Expiration": "2099-11-28T12:00:00"},
    "no expiry": {"Expiration": ...},
    "null": {"Expiration": None, "AccountId": None},
    "a key": {"AccessKeyId": "AKIAQAAAAAAAEXAMPLE1", "SessionToken": ..., "Expiration": ...},
    "an account": {"AccountId": "123456789012"},
    "no account": {"AccountId": "acme-account"},
    "further members": {"Zebra": [{}], "ProviderType": "x"},
    "another service's": {"AccessKeyId": "minioadmin", "SecretAccessKey": "minioadmin"},
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_output_that_fits_the_contract_is_used(world: ProcessWorld, case: str) -> None:
    change = ACCEPTED[case]
    found = world.prints(**change).run("p")
    printed = json.loads(world.output.read_text())
    assert found.access_key_id == printed["AccessKeyId"]
    assert found.secret_access_key == printed["SecretAccessKey"]
    assert found.session_token == printed.get("SessionToken")
    if str(printed.get("Expiration", "")).startswith("2099"):
        assert found.expiration == 4099550400
    elif printed.get("Expiration") is None:
        assert found.expiration is None
    assert found.account_id == (printed.get("AccountId") if case == "an account" else None)


REFUSED: dict[str, tuple[dict[str, Any] | str, str]] = {
    "a text before it": ('hello\n{"Version": 1}', "no JSON object"),
    "nothing": ("", "no JSON object"),
    "a list": ("[1]", "no JSON object"),
    "depth": ("[" * 100_000, "no JSON object"),
    "bytes": ("\ud800", "no JSON object"),
    "a version as text": ({"Version": "1"}, "Version 1"),
    "another version": ({"Version": 2}, "Version 1"),
    "a version that is true": ({"Version": True}, "Version 1"),
    "a version with a point": ({"Version": 1.0}, "Version 1"),
    "no version": ({"Version": ...}, "Version 1"),
    "no id": ({"AccessKeyId": ...}, "no AccessKeyId"),
    "no secret": ({"SecretAccessKey": ""}, "no SecretAccessKey"),
    "a number": ({"SecretAccessKey": 5}, "no usable SecretAccessKey"),
    "a line end": ({"SessionToken": "a\nb"}, "no usable SessionToken"),
    "a long token": ({"SessionToken": "x" * 20_000}, "no usable SessionToken"),
    "swapped": ({"AccessKeyId": SECRET, "SecretAccessKey": ID}, "in place of a secret"),
    "no time": ({"Expiration": "tomorrow"}, "no time"),
    "no date": ({"Expiration": "2099-13-45T00:00:00Z"}, "no time"),
    "expired": ({"Expiration": "2020-01-01T00:00:00Z"}, "expired at 2020-01-01T00:00:00Z"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_output_is_one_clear_error(world: ProcessWorld, case: str) -> None:
    change, says = REFUSED[case]
    if isinstance(change, str):
        world.output.write_bytes(change.encode("utf-8", "surrogatepass"))
    else:
        world.prints(**change)
    error = refused(world)
    assert says in error.message
    assert "credential_process of profile 'p'" in error.message
    assert error.exit_status == 8
    assert world.kept() == []


def test_a_session_is_kept_and_what_has_no_expiry_never_is(world: ProcessWorld) -> None:
    counted = world.script(f"echo x >> {world.folder}/count; cat {world.output}")
    world.command(str(counted))
    runs = world.folder / "count"
    first = world.prints().run("p")
    assert world.run("p") == first
    assert runs.read_text() == "x\n"
    assert world.kept() == [("p", "process")]
    world.prints(Expiration=...)
    assert world.run("p", refresh=True).expiration is None
    assert world.kept() == [("p", "process")]  # the first one
    world.aws.clock.advance(HOUR)
    world.run("p")
    world.run("p")
    assert runs.read_text() == "x\n" * 4
    with world.cache() as cache:
        assert cache.drop_source("process:p") == 1
    world.command(f"{counted} edited").prints(Expiration=iso(world.aws.clock() + HOUR))
    world.run("p")
    assert runs.read_text() == "x\n" * 5


def test_there_is_no_shell_and_the_words_are_botocores(world: ProcessWorld) -> None:
    program = world.script(f'printf "%s\\n" "$@" > {world.folder}/words; cat {world.output}')
    line = f"""{program} "two words" 'a$HOME' b\\ c ; rm * `x` "" #d"""
    world.command(line).prints().run("p")
    words = (world.folder / "words").read_text().split("\n")[:-1]
    assert words == shlex.split(line)[1:]


def test_its_environment_has_the_chain_and_no_credentials(world: ProcessWorld) -> None:
    world.environ |= {"AWS_ACCESS_KEY_ID": ID, "AWS_SECRET_ACCESS_KEY": SECRET, "MINE": "1"}
    program = world.script(f"env > {world.folder}/env; cat {world.output}")
    world.command(str(program)).prints().run("p")
    environment = (world.folder / "env").read_text()
    assert f"{CHAIN}=p\n" in environment
    assert "MINE=1\n" in environment
    assert "AWS_ACCESS_KEY_ID" not in environment
    assert SECRET not in environment


@pytest.mark.parametrize("name", ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"])
@pytest.mark.parametrize("value", ["p", "outer", "another"])
def test_it_is_not_led_back_to_its_own_profile(world: ProcessWorld, name: str, value: str) -> None:
    """The AWS CLI, run without --profile, would run the program of that profile again."""
    world.environ |= {name: value, CHAIN: "outer"}
    program = world.script(f"env > {world.folder}/env; cat {world.output}")
    world.command(str(program)).prints().run("p")
    environment = (world.folder / "env").read_text().splitlines()
    assert f"{CHAIN}=outer,p" in environment
    assert (f"{name}={value}" in environment) == (value == "another")


def test_what_it_says_is_shown(world: ProcessWorld) -> None:
    world.command(f"{world.script(f'echo one >&2; echo two >&2; cat {world.output}')}")
    world.prints().run("p")
    assert world.said == [f"credential_process of profile 'p': {word}" for word in ("one", "two")]
    world.said.clear()
    world.script("echo one >&2; echo '\x1b[31mno ticket' >&2; exit 3")
    message = (refused_again(world)).message
    assert message == ("credential_process of profile 'p' failed with status 3: \\x1b[31mno ticket")
    assert world.said == ["credential_process of profile 'p': one"]


def refused_again(world: ProcessWorld) -> FilevaultError:
    with pytest.raises(ProviderError) as caught:
        world.run("p", refresh=True)
    return caught.value


def test_a_program_that_is_missing_slow_or_endless_is_an_error(
    world: ProcessWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no program" in refused(world.command("/no/such/program x"), ProgramError).message
    assert "cannot be split" in refused(world.command("cat 'x"), ProgramError).message
    for word in ("\0", "a\0b", "'cat' x\0"):
        error = refused(world.command(f"{word} x"), ProgramError)
        assert "credential_process of profile 'p'" in error.message
        assert "\0" not in error.message
    assert "more than 1048576" in refused(world.command("cat /dev/zero"), ProgramError).message
    monkeypatch.setattr("filevault.sources.process._TIMEOUT", 0.1)
    assert "did not end within" in refused(world.command("sleep 60"), ProgramError).message


CHAINS = {
    "p": True,
    "a,p": True,
    '"a,b",p': True,
    '"p,q"': False,
    "pp": False,
    "a,b,c": False,
    "1,2,3,4,5,6,7,8": True,
    "x" * 10_000: False,
    '"': False,
}


@pytest.mark.parametrize("variable", [CHAIN, "_AWS_CLI_PROFILE_CHAIN"])
@pytest.mark.parametrize("row", CHAINS, ids=lambda row: row[:20])
def test_a_program_that_is_running_already_is_not_run_again(
    world: ProcessWorld, variable: str, row: str
) -> None:
    world.prints()
    world.environ[variable] = row
    if CHAINS[row] and not (variable != CHAIN and row.startswith("1,")):
        error = refused(world, ProfileLoopError)
        assert "itself" in error.message or "more than 8" in error.message
    else:
        world.run("p")


def test_a_chain_begins_with_it_and_takes_its_device(world: ProcessWorld) -> None:
    user = world.aws.add_user("jon", mfa=True)
    world.users["jon"] = user
    for name in ("ra", "rb"):
        world.aws.add_role(name, max_session_duration=4 * HOUR)
    serial = next(iter(user.devices))
    world.config += (
        f"[profile ra]\nsource_profile = p\nrole_arn = {role_arn('ra')}\nregion = eu-west-1\n"
        f"mfa_serial = {serial}\nduration_seconds = 7200\n"
        f"[profile rb]\nsource_profile = ra\nrole_arn = {role_arn('rb')}\nregion = eu-west-1\n"
    )
    world.prints(
        AccessKeyId=user.access_key_id,
        SecretAccessKey=user.secret_access_key,
        SessionToken=...,
        Expiration=...,
    )
    kept = world.run("rb")
    assert world.made() == [role("ra", 7200, serial, by="key"), role("rb", HOUR, by=1)]
    assert world.run("rb") == kept
    assert world.made() == []


def test_a_session_in_its_output_gets_the_hour_that_aws_grants(world: ProcessWorld) -> None:
    world.store("bear")
    world.config += "[profile bear]\nregion = eu-west-1\n"
    world.aws.add_role("base")
    world.config += (
        f"[profile base]\nsource_profile = bear\nrole_arn = {role_arn('base')}\n"
        f"region = eu-west-1\n[profile ra]\nsource_profile = p\nrole_arn = {role_arn('ra')}\n"
        "region = eu-west-1\nduration_seconds = 7200\n"
    )
    world.aws.add_role("ra", max_session_duration=4 * HOUR)
    session = world.run("base")
    world.made()
    world.prints(
        AccessKeyId=session.access_key_id,
        SecretAccessKey=session.secret_access_key,
        SessionToken=session.session_token,
    )
    world.run("ra")
    outcomes = [(call.parameters["DurationSeconds"], call.outcome) for call in world.aws.calls]
    assert outcomes == [("7200", "ValidationError"), ("3600", "ok")]
    assert "this one lives 1h0m0s" in world.warnings[0]


def test_it_is_explained_without_its_command(world: ProcessWorld) -> None:
    world.command("cat /s3cret-in-the-command")
    lines = explain(world.plan("p"), world.aws.clock(), until=lambda _: None)
    assert lines[2:5] == [
        "  p: credential_process",
        "no calls: credential_process of 'p' is run",
        "     its session will be kept",
    ]
    assert lines[5:] == [
        "because:",
        "  - p: its credentials come from credential_process in line 3 of 'config'",
    ]
    assert "s3cret" not in " ".join(lines)
    assert "s3cret" not in repr(world.plan("p"))


@pytest.mark.parametrize("case", sorted(ACCEPTED.keys() - {"no zone", "no account"}))
def test_botocore_reads_the_same(
    world: ProcessWorld, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = world.prints(**ACCEPTED[case]).run("p")
    path = world.folder / "config"
    path.write_text(world.config)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))
    theirs = botocore.session.Session(profile="p").get_credentials()
    assert theirs is not None
    assert theirs.get_frozen_credentials()[:3] == (
        found.access_key_id,
        found.secret_access_key,
        found.session_token,
    )


def test_python_s_own_interpreter_serves_as_a_program(world: ProcessWorld) -> None:
    source = f"print(open({str(world.output)!r}).read())"
    world.command(f'{sys.executable} -c "{source}"').prints()
    assert world.run("p") == Credentials(ID, SECRET, TOKEN, int(world.aws.clock()) + HOUR)


def test_a_person_is_told_that_a_slow_program_is_waited_for(
    world: ProcessWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.prints().run("p")
    assert world.told == []
    monkeypatch.setattr(programs, "_SILENCE", 0.05)
    world.command(str(world.script(f"sleep 0.3; cat {world.output}"))).run("p")
    said = "waiting for credential_process of profile 'p', 120 s left; Ctrl-C ends"
    assert (world.told, world.said) == ([said], [])
