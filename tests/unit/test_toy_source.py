"""A credential source in one file and one line of the table, and everything that it gets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from filevault import sources
from filevault.cli import main
from filevault.cli.context import Runtime
from filevault.config.profile import Profile
from filevault.credentials import Credentials
from filevault.errors import ConfigError
from filevault.plan.explain import explain, kept_until
from filevault.plan.planner import PlanOptions
from filevault.sessions import session_file
from filevault.sources.source import CredentialProvider, Source, SourceDependencies
from filevault.system.digest import sha256_hex
from tests.fakes import FakeAws
from tests.worlds.providers import ProviderWorld, role, role_arn

HOUR = 3600
CONFIG = f"""
[profile toy]
region = eu-west-1
credential_source = Box
[profile bear]
region = eu-west-1
[profile ra]
region = eu-west-1
source_profile = toy
role_arn = {role_arn("ra")}
duration_seconds = 43200
[profile rb]
region = eu-west-1
source_profile = ra
role_arn = {role_arn("rb")}
"""


# The one file


class Toy(Source):
    """The credentials that lie in a box."""

    profile: str
    box: str

    @classmethod
    def of(cls, profile: Profile) -> Toy:
        if profile.credential_source != "Box":
            raise ConfigError(f"{profile.source_where} names no box")
        return cls(profile.name, profile.credential_source)

    @property
    def operation(self) -> str:
        return "process"

    @property
    def reference(self) -> str:
        return f"toy:{self.box}"

    @property
    def title(self) -> str:
        return f"toy box {self.box}"

    @property
    def signer(self) -> str:
        return "a box"

    @property
    def description(self) -> str:
        return "the box is opened"

    def identity(self, dependencies: SourceDependencies) -> str:  # noqa: ARG002
        return sha256_hex(self.box.encode())

    def provider(self, dependencies: SourceDependencies) -> CredentialProvider:  # noqa: ARG002
        return ToyProvider(self.box)


class ToyProvider(CredentialProvider):
    """Opens the box."""

    def __init__(self, box: str) -> None:
        self._box = box

    def retrieve(self) -> Credentials:
        OPENED.append(self._box)
        return BOXES[self._box]


BOXES: dict[str, Credentials] = {}
OPENED: list[str] = []


# What it gets


@pytest.fixture
def rig(aws: FakeAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProviderWorld:
    monkeypatch.setitem(sources.SOURCES, "credential-source", (__name__, "Toy"))
    aws.clock.freeze()
    made = ProviderWorld(aws, tmp_path, CONFIG)
    made.store("bear")
    for name in ("ra", "rb"):
        aws.add_role(name)
    monkeypatch.setitem(BOXES, "Box", made.run("bear", caching=False))
    OPENED.clear()
    made.made()
    made.keys.opened.clear()
    return made


def test_a_profile_gets_the_credentials_of_its_source_and_keeps_them(rig: ProviderWorld) -> None:
    assert rig.run("toy") == rig.run("toy") == BOXES["Box"]
    assert OPENED == ["Box"]
    assert rig.kept() == [("toy", "process")]
    assert rig.run("toy", refresh=True) == BOXES["Box"]
    assert rig.run("toy", caching=False) == BOXES["Box"]
    assert OPENED == ["Box"] * 3
    assert rig.made() == []


@pytest.mark.parametrize("words", [(), ("--explain",), ("--no-cache",)])
def test_no_vault_is_needed_for_it(
    rig: ProviderWorld,
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = tmp_path / "config"
    config.write_text(CONFIG, encoding="utf-8")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    assert main(["export", "--format", "json", *words, "toy"], Runtime(key_stores=())) == 0
    told = capsys.readouterr()
    assert told.err == ""
    if words == ("--explain",):
        assert "no calls: the box is opened" in told.out
    else:
        assert json.loads(told.out)["AccessKeyId"] == BOXES["Box"].access_key_id


def test_roles_are_assumed_with_the_source_and_capped_as_chained_ones(rig: ProviderWorld) -> None:
    kept = rig.run("rb")
    assert rig.made() == [role("ra", HOUR, by="kept"), role("rb", HOUR, by=1)]
    assert "a role that is assumed from a session gets an hour" in " ".join(rig.plan("ra").reasons)
    assert rig.run("rb") == kept
    assert rig.run("ra") != kept
    assert rig.made() == []
    assert OPENED == ["Box"]
    assert sorted(rig.kept()) == [("ra", "assume-role"), ("rb", "assume-role"), ("toy", "process")]
    assert (rig.keys.opened, rig.keys.read) == ([], [])


def test_every_session_names_the_source_and_goes_with_it(rig: ProviderWorld) -> None:
    rig.run("rb")
    rig.run("bear")
    found = [session_file.source_of(path.read_bytes()) for path in rig.files()]
    assert sorted(map(str, found)) == ["item:bear", *["toy:Box"] * 3]
    with rig.cache() as cache:
        assert cache.drop_source("toy:Box") == 3
    assert rig.kept() == [("bear", "get-session-token")]


def test_another_identity_of_the_source_misses(
    rig: ProviderWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = rig.run("ra")
    monkeypatch.setattr(Toy, "identity", lambda *_: sha256_hex(b"another"))
    assert rig.run("ra") != first
    assert OPENED == ["Box"] * 2


def test_it_is_explained(rig: ProviderWorld) -> None:
    rig.run("toy")
    rig.made()
    for name, words in {
        "toy": ["  toy: toy box Box", "no calls: the box is opened"],
        "ra": [
            f"  ra: role {role_arn('ra')}",
            "  └─ toy: toy box Box",
            f"  1. AssumeRole {role_arn('ra')}, 1h0m0s, no MFA, signed by a box, in {rig.aws.url}",
            "     its session will be kept",
        ],
    }.items():
        planned = rig.plan(name)
        with rig.cache() as cache:
            until = kept_until(planned, rig.dependencies().sources, cache)
            lines = explain(planned, rig.aws.clock(), until=until)
            assert until(planned.step.source) == BOXES["Box"].expiration
        assert [line for line in lines if line in words] == words
    assert rig.made() == []


def test_signing_in_and_rotating_do_not_take_it_for_a_users_key(rig: ProviderWorld) -> None:
    for options in (PlanOptions(console=True), PlanOptions(for_iam=True)):
        assert rig.plan("toy", options).step == Toy("toy", "Box")


def test_a_setting_that_it_cannot_use_is_refused_in_the_plan(rig: ProviderWorld) -> None:
    rig.config = CONFIG.replace("= Box", "= Bag")
    with pytest.raises(ConfigError, match="names no box"):
        rig.run("ra")
    assert OPENED == []
