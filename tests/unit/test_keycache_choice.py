"""Which places are asked for keys, and in which order."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from filevault.keycache.agent_folders import agent_folders
from filevault.keycache.cache import JOB_VARIABLE, KeyCache, job_agent_folder, open_cache
from filevault.keycache.cached_key import SESSION
from filevault.keycache.client import AgentClient
from filevault.system.times import boottime
from tests.conditions.other_user import NOBODY, needs_root
from tests.worlds.agent import AgentProcess, short_folder

UID = os.geteuid()
STATE = "ab" * 16
KEY = bytes(range(32))


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({"XDG_RUNTIME_DIR": "/run/mine"}, ["/run/mine/filevault", f"/run/user/{UID}/filevault"]),
        ({"XDG_RUNTIME_DIR": f"/run/user/{UID}"}, [f"/run/user/{UID}/filevault"]),
        ({}, [f"/run/user/{UID}/filevault"]),  # as cron starts it
        ({"XDG_RUNTIME_DIR": "relative"}, [f"/run/user/{UID}/filevault"]),
    ],
)
def test_a_login_and_cron_look_into_the_same_folder(
    variables: Mapping[str, str], found: list[str]
) -> None:
    assert agent_folders(variables.get) == [*found, f"/tmp/filevault-{UID}"]


@needs_root
def test_the_runtime_folder_of_the_user_before_su_is_left_alone(tmp_path: Path) -> None:
    os.chown(tmp_path, NOBODY, NOBODY)
    found = agent_folders({"XDG_RUNTIME_DIR": str(tmp_path)}.get)
    assert found == [f"/run/user/{UID}/filevault", f"/tmp/filevault-{UID}"]


def test_a_job_looks_nowhere_but_at_its_own_agent() -> None:
    variables = {JOB_VARIABLE: "/tmp/job", "XDG_RUNTIME_DIR": "/run/mine"}
    assert agent_folders(variables.get) == ["/tmp/job"]
    assert job_agent_folder({JOB_VARIABLE: "relative"}.get) is None
    assert job_agent_folder(lambda _name: None) is None


def test_a_job_puts_nothing_into_the_kernels_keyring() -> None:
    with short_folder() as folder, AgentProcess(folder / "filevault"):
        variables = {JOB_VARIABLE: str(folder / "filevault")}
        keys = open_cache(("kernel", "agent"), variables.get, boottime)
        assert keys.put(STATE, SESSION, KEY, "00", 60) == "agent"


def test_a_job_without_an_agent_loads_no_client_for_that_of_its_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else each of its runs takes longer while its user has an agent."""
    with short_folder() as folder, AgentProcess(folder / "filevault"):
        variables = {JOB_VARIABLE: str(folder / "job"), "XDG_RUNTIME_DIR": str(folder)}
        keys = open_cache(("agent",), variables.get, boottime)
        monkeypatch.setattr("filevault.keycache.client.AgentClient", None)
        assert keys.get(STATE, SESSION, "00") is None
        assert keys.entries(STATE) == []


def test_a_key_moves_to_another_mark_and_keeps_its_time() -> None:
    with short_folder() as folder, AgentProcess(folder / "filevault"):
        keys = KeyCache([AgentClient([str(folder / "filevault")])], boottime)
        keys.put(STATE, SESSION, KEY, "00", 600)
        keys.move(STATE, SESSION, "11", "22")  # that is not what is held
        assert keys.get(STATE, SESSION, "00") == KEY
        (before,) = keys.entries(STATE)
        keys.move(STATE, SESSION, "00", "11")
        (after,) = keys.entries(STATE)
        assert (before.mark, after.mark) == ("00", "11")
        assert after.seconds <= before.seconds
        assert keys.get(STATE, SESSION, "11") == KEY
        assert keys.get(STATE, SESSION, "00") is None
