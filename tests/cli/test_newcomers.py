"""Newcomers, each with what they have: from nothing to a running command.

Two commands do it, or three for a user of Identity Center whose AWS config has no profile.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.conditions.tools import tool
from tests.fakes import FakeAws
from tests.fakes.identity_center import START_URL
from tests.samples import JON
from tests.worlds import aws_vault
from tests.worlds.aws_machine import AwsMachine
from tests.worlds.machine import PASSPHRASE, Machine, TypedAnswer
from tests.worlds.pass_store import GpgHome

PAGES = Path(__file__).resolve().parents[2] / "docs/how-to"
OTHER_TOOLS = (PAGES / "from-other-tools.md").read_text(encoding="utf-8")
WORD = "the passphrase of aws vault"
MAKING = [
    TypedAnswer("Make one?", "y"),
    TypedAnswer("New passphrase", f"{PASSPHRASE}"),
    TypedAnswer("same again", f"{PASSPHRASE}"),
]
OPENING = [TypedAnswer("assphrase", f"{PASSPHRASE}")]
COMMAND = ("exec", "jonsmith", "--", "sh", "-c", "echo got $AWS_ACCESS_KEY_ID")


@pytest.fixture
def newcomer(scene: AwsMachine) -> AwsMachine:
    """An account with a user and a config, and no vault."""
    return scene.configure(mfa=False)


def key(scene: AwsMachine) -> tuple[str, str]:
    return scene.user.access_key_id, scene.user.secret_access_key


def require_running(scene: AwsMachine, answers: list[TypedAnswer]) -> None:
    """Require that a command gets a session of the imported key."""
    done = scene.machine.on_terminal(*COMMAND, answers=answers)
    assert done.status == 0, done
    assert done.out.startswith("got ASIA")
    assert scene.user.secret_access_key not in done.everything


def test_a_user_of_the_credentials_file(newcomer: AwsMachine) -> None:
    clear = newcomer.machine.home / ".aws/credentials"
    key_id, secret = key(newcomer)
    clear.write_text(
        f"[jonsmith]\naws_access_key_id = {key_id}\naws_secret_access_key = {secret}\n"
    )
    answers = [
        *MAKING,
        TypedAnswer("Store 1 key", "y"),
        TypedAnswer("Take 1 key out of", "y"),
    ]
    done = newcomer.machine.on_terminal("import", answers=answers)
    assert done.status == 0, done
    assert not clear.exists()
    require_running(newcomer, OPENING)


def test_a_user_with_a_new_key(newcomer: AwsMachine) -> None:
    key_id, secret = key(newcomer)
    answers = [*MAKING[1:], TypedAnswer("key id", key_id), TypedAnswer("Secret", secret)]
    done = newcomer.machine.on_terminal("add", "jonsmith", "--init", answers=answers)
    assert done.status == 0, done
    require_running(newcomer, OPENING)


def test_a_user_of_aws_vault(newcomer: AwsMachine) -> None:
    folder = newcomer.machine.home / ".awsvault/keys"
    item = aws_vault.add(folder, "jonsmith", key(newcomer), WORD)
    answers = [
        TypedAnswer("Passphrase of 1 item", f"{WORD}"),
        *MAKING,
        TypedAnswer("Store 1 key", "y"),
        TypedAnswer("Take 1 key out of", "n"),
    ]
    done = newcomer.machine.on_terminal("import", "--from", "aws-vault", answers=answers)
    assert done.status == 0, done
    assert item.exists()
    require_running(newcomer, OPENING)


def test_a_user_of_the_console(newcomer: AwsMachine) -> None:
    path = newcomer.machine.home / "jonsmith_accessKeys.csv"
    path.write_text(f"Access key ID,Secret access key\r\n{','.join(key(newcomer))}\r\n")
    answers = [*MAKING, TypedAnswer("Store 1 key", "y"), TypedAnswer("Take 1 key out", "y")]
    done = newcomer.machine.on_terminal("import", str(path), answers=answers)
    assert done.status == 0, done
    assert not path.exists()
    require_running(newcomer, OPENING)


def test_a_user_of_pass(newcomer: AwsMachine, gpg: GpgHome) -> None:
    """AWS Vault wrote the entries; the store is used as it is."""
    machine = newcomer.machine
    machine.env |= gpg.env()
    store = machine.home / ".password-store"
    env = machine.environment({"LAUNCH": None})
    program = tool("pass")
    subprocess.run([program, "init", JON], env=env, check=True, capture_output=True)
    subprocess.run(
        [program, "insert", "-m", "-f", "aws-vault/jonsmith"],
        env=env,
        input=aws_vault.item("jonsmith", *key(newcomer)),
        check=True,
        capture_output=True,
    )
    assert (store / "aws-vault/jonsmith.gpg").exists()
    done = machine.on_terminal("--backend", "pass", "--prefix", "aws-vault", "init")
    assert done.status == 0, done
    require_running(newcomer, [])


SSO_SESSION = """[sso-session work]
sso_start_url = {start}
sso_region = eu-west-1
sso_registration_scopes = sso:account:access
"""
SSO_PROFILE = """
[profile jonsmith]
sso_session = work
sso_account_id = 111122223333
sso_role_name = Admin
region = eu-west-1
endpoint_url = {url}
"""


@pytest.fixture
def sso_user(quick_machine: Machine, aws: FakeAws) -> Machine:
    """Somebody with a role in Identity Center, who confirms the code at once."""
    aws.sso.assign("111122223333", "prod", "Admin")
    aws.sso.enforces_interval = False
    aws.sso.confirm_after = 2
    quick_machine.env["AWS_ENDPOINT_URL"] = aws.url
    return quick_machine


def test_a_user_of_identity_center_with_profiles(sso_user: Machine, aws: FakeAws) -> None:
    sso_user.write_config((SSO_SESSION + SSO_PROFILE).format(start=START_URL, url=aws.url))
    assert sso_user.on_terminal("init", answers=MAKING[1:]).status == 0
    done = sso_user.on_terminal(*COMMAND, answers=OPENING)
    assert done.status == 0, done
    assert "confirm only if it shows the code" in done.tty
    assert done.out.startswith("got ASIA")
    assert sso_user.run(*COMMAND, env={"FILEVAULT_PASSPHRASE": PASSPHRASE}).out == done.out


def test_a_user_of_identity_center_without_profiles(sso_user: Machine) -> None:
    sso_user.write_config(SSO_SESSION.format(start=START_URL))
    assert sso_user.on_terminal("init", answers=MAKING[1:]).status == 0
    words = ("sso", "profiles", "work", "--region", "eu-west-1")
    done = sso_user.on_terminal(*words, answers=[*OPENING, TypedAnswer("Write 1 profile", "y")])
    assert done.status == 0, done
    done = sso_user.on_terminal("exec", "prod-Admin", *COMMAND[2:], answers=OPENING)
    assert done.out.startswith("got ASIA"), done


def test_a_user_of_saml2aws(machine: Machine, aws: FakeAws) -> None:
    """The profiles of the page: no vault, and the role on top of what the program prints."""
    (profiles,) = re.findall(r"```ini\n(\[profile corp\].*?)```", OTHER_TOOLS, re.DOTALL)
    user = aws.add_user("corp")
    role = aws.add_role("admin", trusts=[user])
    machine.write_config(profiles.replace("111122223333", "123456789012"))
    machine.env["AWS_ENDPOINT_URL"] = aws.url
    program = machine.home / "bin/saml2aws"
    program.parent.mkdir()
    printed = {"AccessKeyId": user.access_key_id, "SecretAccessKey": user.secret_access_key}
    program.write_text(f"#!/bin/sh\necho '{json.dumps({'Version': 1, **printed})}'\n")
    program.chmod(0o755)
    machine.env["PATH"] = f"{program.parent}:{machine.env['PATH']}"
    done = machine.on_terminal("exec", "admin", *COMMAND[2:])
    assert done.status == 0, done
    assert aws.session(done.out.split()[1]).role is role


def test_a_user_of_granted(sso_user: Machine, aws: FakeAws) -> None:
    """Granted's keys without their prefix are those of the AWS CLI."""
    named = re.findall(r"`(granted_sso_\w+)`", OTHER_TOOLS)
    values = (START_URL, "eu-west-1", "111122223333", "Admin")
    lines = [f"{key} = {value}" for key, value in zip(named, values, strict=True)]
    edited = "\n".join(lines).replace("granted_", "")
    sso_user.write_config(f"[profile jonsmith]\n{edited}\nregion = eu-west-1\n")
    assert sso_user.on_terminal("init", answers=MAKING[1:]).status == 0
    done = sso_user.on_terminal(*COMMAND, answers=OPENING)
    assert done.out.startswith("got ASIA"), done
