"""`credential_source`: the environment, the container's endpoint, the instance's metadata."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import botocore.session
import pytest

from filevault.config.settings import Settings
from filevault.errors import ConfigError, FilevaultError, NetworkError, ProviderError, UsageError
from filevault.plan.explain import explain
from filevault.sources import container, instance
from tests.fakes import FakeAws
from tests.fakes.clock import iso
from tests.fakes.metadata import FakeMetadata
from tests.worlds.providers import ProviderWorld, role, role_arn

HOUR = 3600
TOP = f"[profile top]\nregion = eu-west-1\nsource_profile = m\nrole_arn = {role_arn('top')}\n"
_EXTENDED = "/latest/meta-data/iam/security-credentials-extended/"
_PLAIN = "/latest/meta-data/iam/security-credentials/"


class MachineWorld(ProviderWorld):
    """A profile `m` that takes what the machine has: the session of a role `base`."""

    def __init__(self, aws: FakeAws, folder: Path) -> None:
        super().__init__(aws, folder, "")
        aws.clock.freeze()
        for name in ("base", "top"):
            aws.add_role(name, max_session_duration=4 * HOUR)
        self.store("bear")
        self.config = (
            "[profile bear]\nregion = eu-west-1\n[profile b]\nregion = eu-west-1\n"
            f"source_profile = bear\nrole_arn = {role_arn('base')}\n"
        )
        found = self.run("b", caching=False)
        self.session = aws.session(found.access_key_id)
        self.made()

    def source(self, value: str, more: str = "") -> MachineWorld:
        self.config = f"[profile m]\nregion = eu-west-1\ncredential_source = {value}\n{more}{TOP}"
        return self

    def refused(self, kind: type[FilevaultError]) -> FilevaultError:
        with pytest.raises(kind) as caught:
            self.run("m")
        for secret in self.aws.issued_secrets():
            assert secret not in f"{caught.value.message} {caught.value.hint}"
        return caught.value

    def check(self) -> None:
        """Require the session itself, a role on top, and nothing kept but that."""
        assert self.run("m").access_key_id == self.session.access_key_id
        assert self.run("m").expiration == int(self.session.expiration)
        kept = self.run("top")
        assert self.run("top") == kept
        assert self.made() == [role("top", HOUR, by="kept")]
        assert self.kept() == [("top", "assume-role")]


@pytest.fixture
def world(aws: FakeAws, tmp_path: Path) -> MachineWorld:
    return MachineWorld(aws, tmp_path)


@pytest.fixture
def metadata(world: MachineWorld, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeMetadata]:
    monkeypatch.setattr("filevault.aws.http_request.time.sleep", lambda _: None)
    with FakeMetadata(world.session, world.aws.clock) as served:
        yield served
    assert served.defects == []


# Environment


def key_variables(world: MachineWorld) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": world.session.access_key_id,
        "AWS_SECRET_ACCESS_KEY": world.session.secret_access_key,
        "AWS_SESSION_TOKEN": world.session.session_token,
        "AWS_CREDENTIAL_EXPIRATION": iso(world.session.expiration),
    }


def test_the_key_in_the_environment_is_read_before_it_is_removed(world: MachineWorld) -> None:
    process = key_variables(world)
    settings = Settings.capture(Settings({}).options, process)
    assert process == {"AWS_CREDENTIAL_EXPIRATION": process["AWS_CREDENTIAL_EXPIRATION"]}
    world.environ = dict(settings.environ)
    world.source("Environment").check()


def test_another_key_in_the_environment_gets_no_session_of_the_first(world: MachineWorld) -> None:
    world.source("Environment")
    world.environ = key_variables(world)
    first = world.run("top")
    other = world.store("other")
    world.environ = {
        "AWS_ACCESS_KEY_ID": other.access_key_id,
        "AWS_SECRET_ACCESS_KEY": other.secret_access_key,
    }
    assert world.run("top") != first
    world.environ = key_variables(world)
    assert world.run("top") == first


ENVIRONMENTS = {
    "nothing": ({}, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set"),
    "no secret": ({"AWS_ACCESS_KEY_ID": "ASIAX"}, "AWS_SECRET_ACCESS_KEY is not set"),
    "expired": ({"AWS_CREDENTIAL_EXPIRATION": "2020-01-01T00:00:00Z"}, "expired at"),
    "no time": ({"AWS_CREDENTIAL_EXPIRATION": "soon"}, "no time"),
}


@pytest.mark.parametrize("case", ENVIRONMENTS)
def test_an_environment_without_a_usable_key_is_an_error(world: MachineWorld, case: str) -> None:
    change, says = ENVIRONMENTS[case]
    world.environ = change if case.startswith("no ") and "ID" in str(change) else {}
    if case in ("expired", "no time"):
        world.environ = {**key_variables(world), **change}
    assert says in world.source("Environment").refused(ProviderError).message


# The container


CONTAINERS = ("full", "relative", "token", "token file", "both")


@pytest.mark.parametrize("case", CONTAINERS)
def test_the_containers_endpoint_gives_its_role(
    world: MachineWorld, metadata: FakeMetadata, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.environ = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": metadata.container}
    if case in ("relative", "both"):
        monkeypatch.setattr(container, "ECS", metadata.url)
        world.environ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] = "/v2/credentials/4a1b"
        if case == "both":
            world.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = "http://127.0.0.1:1/"
        else:
            del world.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
    if case.startswith("token"):
        metadata.authorization = "Basic abc=="
        world.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = "Basic abc=="
    if case == "token file":
        world.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = "another one"
        path = world.folder / "authorization"
        path.write_text("Basic abc==\n")
        world.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = str(path)
    world.source("EcsContainer").check()
    assert world.run("m").account_id == "123456789012"


HOSTS = {
    "http://169.254.170.2/x": True,
    "http://169.254.170.23/v1/credentials": True,
    "http://[fd00:ec2::23]/v1/credentials": True,
    "http://127.0.0.1:80/x": True,
    "http://127.9.9.9/x": True,
    "http://[::1]/x": True,
    "http://localhost/x": True,
    "https://creds.example.com/x": True,
    "http://creds.example.com/x": False,
    "http://169.254.169.254/x": False,
    "http://169.254.170.2.example.com/x": False,
    "http://169.254.170.2@example.com/x": False,
    "http://127.0.0.1.example.com/x": False,
    "http://localhost.example.com/x": False,
    "http://10.0.0.1/x": False,
    "ftp://127.0.0.1/x": False,
    "file:///etc/passwd": False,
    "127.0.0.1/x": False,
    "http://127.0.0.1/x\r\nHost: y": False,
}


@pytest.mark.parametrize("url", HOSTS)
def test_plain_http_goes_to_this_machine_only(
    world: MachineWorld, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def ask(_method: str, address: str, *_: object, **__: object) -> object:
        asked.append(address)
        raise NetworkError("not here")

    monkeypatch.setattr("filevault.aws.metadata.ask", ask)
    world.environ = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": url}
    world.source("EcsContainer").refused(NetworkError if HOSTS[url] else ConfigError)
    assert asked == ([url] if HOSTS[url] else [])


@pytest.mark.parametrize("token", ["a\nb", "a\rb", "a\x00b", "ä"])
def test_a_token_that_is_no_header_is_refused(world: MachineWorld, token: str) -> None:
    world.environ = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": token,
    }
    assert "forbidden" in world.source("EcsContainer").refused(ConfigError).message


def test_failures_of_the_containers_endpoint_are_told(
    world: MachineWorld, metadata: FakeMetadata
) -> None:
    world.source("EcsContainer")
    assert "neither" in world.refused(ProviderError).message
    world.environ = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": metadata.container}
    metadata.authorization = "needed"
    assert "status 403: unknown token" in world.refused(ProviderError).message
    metadata.overrides["/v2/credentials/4a1b"] = 500
    metadata.requests.clear()
    assert "status 500" in world.refused(ProviderError).message
    assert len(metadata.requests) == 3
    metadata.overrides["/v2/credentials/4a1b"] = 200
    assert "contains no AccessKeyId" in world.refused(ProviderError).message
    world.environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = "http://127.0.0.1:1/x"
    assert "task role" in str(world.refused(NetworkError).hint)
    world.environ["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = "/no/such/file"
    assert "cannot be read" in world.refused(ProviderError).message


# The instance


@pytest.fixture
def on_instance(world: MachineWorld, metadata: FakeMetadata) -> MachineWorld:
    world.environ = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata.url}
    return world.source("Ec2InstanceMetadata")


@pytest.mark.parametrize("extended", [True, False])
@pytest.mark.parametrize("name", [None, "machine"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_the_instance_gives_its_role_by_version_2(
    on_instance: MachineWorld,
    metadata: FakeMetadata,
    extended: bool,
    name: str | None,
    slash: str,
) -> None:
    metadata.extended = extended
    on_instance.environ["AWS_EC2_METADATA_SERVICE_ENDPOINT"] += slash
    if name is not None:
        on_instance.environ["AWS_EC2_INSTANCE_PROFILE_NAME"] = name
    found = on_instance.run("m")
    assert found.account_id == ("123456789012" if extended else None)
    asked = [("PUT", "/latest/api/token")]
    for path in (_EXTENDED, _PLAIN)[: 1 if extended else 2]:
        if name is None:
            asked.append(("GET", path))
        if name is not None or path == _PLAIN or extended:
            asked.append(("GET", f"{path}machine"))
    assert metadata.requests == asked
    on_instance.check()


def test_a_token_that_is_no_longer_accepted_is_replaced(
    on_instance: MachineWorld, metadata: FakeMetadata, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = metadata._new_token

    def short_lived(request: object) -> object:
        monkeypatch.setattr(metadata, "_new_token", first)
        answer = first(request)  # type: ignore[arg-type]
        metadata.tokens.clear()
        return answer

    monkeypatch.setattr(metadata, "_new_token", short_lived)
    on_instance.run("m")
    assert [method for method, _ in metadata.requests].count("PUT") == 2


INSTANCES = {
    "no token": ({"/latest/api/token": 403}, "gives profile 'm' no token: status 403", 8),
    "version 1 only": ({"/latest/api/token": 404}, "no token: status 404", 8),
    "a strange token": ({"/latest/api/token": 200}, "status 200", 8),
    "no role": ({_EXTENDED: 404, _PLAIN: 404}, "no role", 8),
    "a strange name": ({_EXTENDED: 200}, "no name of a role", 8),
    "refused": ({_EXTENDED: 403}, "status 403", 8),
    "broken": ({f"{_EXTENDED}machine": 500}, "status 500", 8),
    "empty": ({f"{_EXTENDED}machine": 200}, "no AccessKeyId", 8),
}


@pytest.mark.parametrize("case", INSTANCES)
def test_failures_of_the_metadata_service_are_told(
    on_instance: MachineWorld, metadata: FakeMetadata, case: str
) -> None:
    overrides, says, status = INSTANCES[case]
    metadata.overrides = dict(overrides)
    error = on_instance.refused(ProviderError)
    assert says in error.message
    assert error.exit_status == status


def test_an_instance_without_usable_credentials_is_told(
    on_instance: MachineWorld, metadata: FakeMetadata
) -> None:
    metadata.code = "AssumeRoleUnauthorizedAccess"
    message = on_instance.refused(ProviderError).message
    assert "has no credentials for profile 'm': AssumeRoleUnauthorizedAccess" in message
    metadata.code = "Success"
    metadata.session.expiration = on_instance.aws.clock() - 1
    assert "expired at" in on_instance.refused(ProviderError).message  # never used, as SDKs do


def test_a_machine_that_is_no_instance_fails_soon_and_names_the_hop_limit(
    on_instance: MachineWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_instance.environ["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = "http://127.0.0.1:1"
    assert "hop limit" in str(on_instance.refused(NetworkError).hint)
    limits: list[float] = []

    def ask(*_: object, seconds: float, **__: object) -> object:
        limits.append(seconds)
        raise NetworkError("no answer")

    monkeypatch.setattr("filevault.aws.metadata.ask", ask)
    on_instance.refused(NetworkError)
    on_instance.environ["AWS_METADATA_SERVICE_TIMEOUT"] = "2.5"
    on_instance.refused(NetworkError)
    assert limits == [1.0, 2.5]


def test_the_section_may_say_where_the_service_is(
    on_instance: MachineWorld, metadata: FakeMetadata
) -> None:
    url = on_instance.environ.pop("AWS_EC2_METADATA_SERVICE_ENDPOINT")
    on_instance.source(
        "Ec2InstanceMetadata",
        f"ec2_metadata_service_endpoint = {url}\nec2_instance_profile_name = machine\n"
        "metadata_service_timeout = 3\nmetadata_service_num_attempts = 1\n",
    )
    on_instance.run("m")
    assert metadata.requests == [("PUT", "/latest/api/token"), ("GET", f"{_EXTENDED}machine")]
    on_instance.environ["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = "http://127.0.0.1:1"
    on_instance.refused(NetworkError)  # a variable goes before
    del on_instance.environ["AWS_EC2_METADATA_SERVICE_ENDPOINT"]
    metadata.overrides["/latest/api/token"] = 500
    metadata.requests.clear()
    on_instance.refused(ProviderError)
    assert len(metadata.requests) == 1


SETTINGS = {
    "AWS_EC2_METADATA_DISABLED": ("true", ProviderError, "is set"),
    "AWS_METADATA_SERVICE_TIMEOUT": ("soon", ConfigError, "no number that can be used"),
    "AWS_METADATA_SERVICE_NUM_ATTEMPTS": ("0", ConfigError, "no number that can be used"),
    "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": ("ipv5", ConfigError, "neither ipv4 nor ipv6"),
    "AWS_EC2_METADATA_SERVICE_ENDPOINT": ("http://imds.example", ConfigError, "plain http"),
    "AWS_EC2_INSTANCE_PROFILE_NAME": ("../x", ProviderError, "no name of a role"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_variable_that_cannot_be_used_is_named(on_instance: MachineWorld, name: str) -> None:
    value, kind, says = SETTINGS[name]
    on_instance.environ[name] = value
    assert says in on_instance.refused(kind).message


@pytest.mark.parametrize(
    ("mode", "address"),
    [("", "http://169.254.169.254/"), ("IPv4", "http://169.254.169.254/"),
     ("IPv6", "http://[fd00:ec2::254]/")],
)  # fmt: skip
def test_without_an_endpoint_the_mode_says_where_it_is(
    on_instance: MachineWorld, mode: str, address: str
) -> None:
    on_instance.environ = {"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": mode}
    source = on_instance.plan("m").step.source
    assert isinstance(source, instance.InstanceCredentials)
    provider = source.provider(on_instance.dependencies().sources)
    assert provider._base() == address


# All of them


EXPLAINED = {
    "Environment": ("key in the environment", "the key in AWS_ACCESS_KEY_ID is issued"),
    "EcsContainer": ("container's role", "the container's endpoint is asked"),
    "Ec2InstanceMetadata": ("instance's role", "the metadata service of the instance is asked"),
}


@pytest.mark.parametrize("value", EXPLAINED)
def test_each_is_explained_without_a_request(
    world: MachineWorld, metadata: FakeMetadata, value: str
) -> None:
    title, description = EXPLAINED[value]
    lines = explain(world.source(value).plan("m"), world.aws.clock(), until=lambda _: None)
    assert lines[2:4] == [f"  m: {title}", f"no calls: {description}"]
    lines = explain(world.plan("top"), world.aws.clock(), until=lambda _: None)
    assert f"  └─ m: {title}" in lines
    assert metadata.requests == []


@pytest.mark.parametrize("value", ["ec2instancemetadata", "Ec2", "environment", "Vault"])
def test_another_value_means_nothing(world: MachineWorld, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        world.source(value).plan("top")
    near = {"ec2instancemetadata": "write Ec2InstanceMetadata", "environment": "write Environment"}
    assert near.get(value, "choose one of") in str(caught.value.hint)


@pytest.mark.parametrize("value", EXPLAINED)
def test_botocore_gets_the_same_role_from_the_same_places(
    world: MachineWorld, metadata: FakeMetadata, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {
        "Environment": key_variables(world),
        "EcsContainer": {"AWS_CONTAINER_CREDENTIALS_FULL_URI": metadata.container},
        "Ec2InstanceMetadata": {"AWS_EC2_METADATA_SERVICE_ENDPOINT": f"{metadata.url}/"},
    }[value]
    world.aws.clock.reset()
    world.environ = variables
    ours = world.source(value).run("top", caching=False)
    path = world.folder / "config"
    path.write_text(
        "[profile top]\nregion = eu-west-1\n"
        f"credential_source = {value}\nrole_arn = {role_arn('top')}\n"
    )
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    for name, text in {**variables, "AWS_CONFIG_FILE": str(path)}.items():
        monkeypatch.setenv(name, text)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", world.aws.url)
    world.aws.reset_calls()
    theirs = botocore.session.Session(profile="top").get_credentials()
    assert theirs is not None
    session = world.aws.session(str(theirs.get_frozen_credentials().access_key))
    assert session.role is world.aws.session(ours.access_key_id).role
    assert [call.access_key_id for call in world.aws.calls] == [world.session.access_key_id]


def test_a_switch_that_is_neither_on_nor_off_is_an_error(on_instance: MachineWorld) -> None:
    on_instance.environ["AWS_EC2_METADATA_DISABLED"] = "maybe"
    on_instance.refused(UsageError)


def test_no_answer_is_shown(world: MachineWorld, metadata: FakeMetadata) -> None:
    from filevault.aws.http_request import HttpAnswer

    del metadata
    secret = json.dumps({"SecretAccessKey": world.session.secret_access_key}).encode()
    assert world.session.secret_access_key not in repr(HttpAnswer(200, secret))
