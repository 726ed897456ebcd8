"""The recipes for `serve`, as far as they can be carried out here."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conditions.tools import tool
from tests.fakes import FakeAws
from tests.worlds.aws_machine import AwsMachine
from tests.worlds.machine import Machine
from tests.worlds.standing_server import StandingServer

PAGE = (Path(__file__).parents[2] / "docs/how-to/endpoints.md").read_text(encoding="utf-8")
NAMES = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")


@pytest.fixture
def ready(machine: Machine, aws: FakeAws) -> AwsMachine:
    return AwsMachine(machine, aws).configure().store()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def compose() -> Any:
    return yaml.safe_load(blocks("yaml")[0])


def pod() -> Any:
    return yaml.safe_load(blocks("yaml")[1])


def commands() -> Iterator[tuple[str, list[str]]]:
    """Yield the command lines of the recipes, from `serve` on."""
    yield "compose", compose()["services"]["filevault"]["command"][1:]
    yield "kubernetes", pod()["spec"]["initContainers"][0]["command"][1:]
    docker = next(block for block in blocks("console") if "docker run -d" in block)
    found = re.search(r"filevault (serve .*)$", docker, re.MULTILINE)
    assert found is not None
    yield "docker", found[1].split()


def client_variables() -> Iterator[tuple[str, dict[str, str]]]:
    """Yield what the recipes give to the programs."""
    yield "compose", compose()["services"]["app"]["environment"]
    env = pod()["spec"]["containers"][0]["env"]
    yield "kubernetes", {each["name"]: each["value"] for each in env}
    docker = next(block for block in blocks("console") if "docker run -d" in block)
    yield "docker", dict(re.findall(r"-e (AWS_CONTAINER_\w+)=(\S+)", docker))


@pytest.mark.parametrize("name", ["compose", "kubernetes", "docker"])
def test_what_the_server_prints_is_what_the_programs_get(ready: AwsMachine, name: str) -> None:
    """The recipe's own command line, with the test's folder and port."""
    words = dict(commands())[name]
    given = dict(client_variables())[name]
    machine = ready.machine
    text = machine.config.read_text().replace("[profile admin]", "[profile app]")
    machine.config.write_text(text)
    folder = machine.home / "token"
    folder.mkdir(mode=0o700)
    here = [
        word.replace("/run/filevault", str(folder)).replace("127.0.0.1:9911", "127.0.0.1:0")
        for word in words[1:]
    ]
    with StandingServer(machine, *here) as server:
        assert server.get("app").status == 200
        port = server.uri.rpartition(":")[2]
        said = (server.uri.replace(port, "9911/"), str(server.files["app"]))
        assert tuple(given[each] for each in NAMES) == (
            said[0],
            said[1].replace(str(folder), "/run/filevault"),
        )


def test_the_programs_share_the_network_the_token_and_the_user() -> None:
    services = compose()["services"]
    assert services["app"]["network_mode"] == "service:filevault"
    assert services["app"]["user"] == services["filevault"]["user"]
    mounts = [each for each in services["filevault"]["volumes"] if "/run/filevault" in each]
    assert mounts == ["token:/run/filevault"]
    assert "token:/run/filevault:ro" in services["app"]["volumes"]
    spec = pod()["spec"]
    (sidecar,) = spec["initContainers"]
    assert sidecar["restartPolicy"] == "Always"
    for container in (sidecar, *spec["containers"]):
        assert "/run/filevault" in [each["mountPath"] for each in container["volumeMounts"]]
    for check in (
        services["filevault"]["healthcheck"]["test"][1:],
        sidecar["startupProbe"]["exec"]["command"],
    ):
        assert check == ["test", "-s", "/run/filevault/app.token"]


def test_the_dev_container_names_what_the_server_prints() -> None:
    (text,) = blocks("json")
    found = json.loads(text)
    shown = next(block for block in blocks("console") if "# deploy" in block)
    (uri,) = re.findall(rf"^{NAMES[0]}=(.*)$", shown, re.MULTILINE)
    (path,) = re.findall(rf"^{NAMES[1]}=(.*)$", shown, re.MULTILINE)
    assert found["containerEnv"][NAMES[0]] == uri
    assert Path(found["containerEnv"][NAMES[1]]).name == Path(path).name


def test_the_units_are_valid_and_fit_together(machine: Machine) -> None:
    analyze = tool("systemd-analyze")
    units = {}
    for text in blocks("ini"):
        name = text.partition("\n")[0].removeprefix("# ")
        here = text.replace("/usr/local/bin/filevault", "/bin/true")
        here = here.replace("/usr/local/bin/app", "/bin/true").replace("User=app", "User=root")
        units[name] = text
        (machine.home / name).write_text(here)
    assert set(units) == {
        *("filevault.socket", "filevault.service", "app.service", "filevault-ec2.service")
    }
    done = subprocess.run(
        [analyze, "verify", "--man=no", *(str(machine.home / name) for name in units)],
        capture_output=True,
        text=True,
    )
    wrong = [line for line in done.stderr.splitlines() if str(machine.home) in line]
    assert wrong == []
    port = re.search(r"ListenStream=(\S+)", units["filevault.socket"])
    assert port is not None
    assert f"{NAMES[0]}=http://{port[1]}/" in units["app.service"]
    # RuntimeDirectory= makes this folder, and `serve` writes PROFILE.token there.
    assert "RuntimeDirectory=filevault\n" in units["filevault.service"]
    assert f"{NAMES[1]}=/run/filevault/app.token" in units["app.service"]
