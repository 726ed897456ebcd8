"""`exec --ec2-server`: the metadata service that SDKs of any age know."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.conditions.other_user import needs_root
from tests.worlds.aws_machine import REGION, AwsMachine
from tests.worlds.served_command import ServedCommand
from tests.worlds.serving_process import TIMEOUT

TTL = "x-aws-ec2-metadata-token-ttl-seconds"
TOKEN = "x-aws-ec2-metadata-token"
ROLES = "/latest/meta-data/iam/security-credentials"


class Metadata:
    """A client of the metadata service."""

    def __init__(self, served: ServedCommand) -> None:
        self.served = served

    def ask(self, method: str, path: str, **headers: str) -> tuple[int, str, dict[str, str]]:
        """Return status, body and headers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.served.port, timeout=TIMEOUT)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, headers=names)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), dict(answer.getheaders())
        finally:
            connection.close()

    def token(self, ttl: str = "21600") -> str:
        """Return a new token."""
        status, text, headers = self.ask("PUT", "/latest/api/token", **{TTL: ttl})
        assert (status, headers[TTL]) == (200, ttl)
        return text

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        """Return status and body of a request with a good token."""
        return self.ask("GET", path, **{TOKEN: self.token(), **headers})[:2]


@pytest.fixture
def metadata(ready: AwsMachine) -> Iterator[Metadata]:
    with ServedCommand(ready.machine, "admin", server="--ec2-server") as served:
        yield Metadata(served)


def test_the_command_gets_the_address_and_the_switches(metadata: Metadata) -> None:
    env = metadata.served.env
    address = env["AWS_EC2_METADATA_SERVICE_ENDPOINT"]
    assert address.startswith("http://127.0.0.1:")
    assert address.endswith("/")  # AWS CLI 2.9 appends the path as it is
    assert "AWS_EC2_METADATA_DISABLED" not in env
    assert env["AWS_EC2_METADATA_V1_DISABLED"] == "true"
    assert env["AWS_SHARED_CREDENTIALS_FILE"] == "/dev/null"
    assert not {name for name in env if name.startswith(("AWS_CONTAINER_", "AWS_ACCESS"))}
    _status, _out, err = metadata.served.end()
    # The test's machine has it set to true.
    assert "AWS_EC2_METADATA_DISABLED is not set for the command" in err


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("suffix", ["", "-extended"])
def test_the_credentials_are_at_both_paths_with_and_without_a_slash(
    ready: AwsMachine, metadata: Metadata, suffix: str, slash: str
) -> None:
    status, role = metadata.get(f"{ROLES}{suffix}{slash}")
    assert (status, role) == (200, "filevault")
    status, text = metadata.get(f"{ROLES}{suffix}/{role}{slash}")
    found = json.loads(text)
    session = ready.aws.session(found["AccessKeyId"])
    assert (status, found["Code"], found["Type"]) == (200, "Success", "AWS-HMAC")
    assert (found["SecretAccessKey"], found["Token"]) == (
        session.secret_access_key,
        session.session_token,
    )
    assert found["Expiration"].endswith("Z")
    assert found["LastUpdated"].endswith("Z")
    assert found.get("AccountId") == ("123456789012" if suffix else None)


def test_a_path_behind_the_slash_of_the_address_is_answered(metadata: Metadata) -> None:
    """The JavaScript SDK v2 (2.1693) appends it as it is."""
    status, token, _headers = metadata.ask("PUT", "//latest/api/token", **{TTL: "60"})
    assert status == 200
    for path, found in ((f"/{ROLES}/", 200), (f"//{ROLES}/", 404)):
        assert metadata.ask("GET", path, **{TOKEN: token})[0] == found


def test_the_region_is_told_in_each_way(metadata: Metadata) -> None:
    assert metadata.get("/latest/meta-data/placement/region") == (200, REGION)
    for path in (
        "/latest/meta-data/placement/availability-zone",
        "/latest/meta-data/placement/availability-zone/",
    ):
        assert metadata.get(path) == (200, f"{REGION}a")
    status, text = metadata.get("/latest/dynamic/instance-identity/document")
    assert (status, json.loads(text)["region"]) == (200, REGION)
    assert json.loads(text)["accountId"] == "123456789012"


@pytest.mark.parametrize("ttl", ["0", "21601", "-1", "x", "", "1e3", "9" * 50])
def test_a_token_needs_a_time_to_live(metadata: Metadata, ttl: str) -> None:
    """400, because SDKs fall back to IMDSv1 at 401, 403, 404, 405 and 500."""
    assert metadata.ask("PUT", "/latest/api/token", **{TTL: ttl})[0] == 400
    assert metadata.ask("PUT", "/latest/api/token")[0] == 400


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", ROLES, {}, 401),
        ("GET", f"{ROLES}/filevault", {}, 401),
        ("GET", f"{ROLES}/filevault", {TOKEN: "x" * 43}, 401),
        ("GET", f"{ROLES}/filevault", {TOKEN: ""}, 401),
        ("GET", f"{ROLES}/filevault", {"Host": "169.254.169.254"}, 403),
        ("GET", f"{ROLES}/filevault", {"Origin": "https://attacker.example"}, 403),
        ("GET", f"{ROLES}/filevault", {"X-Forwarded-For": "10.0.0.1"}, 403),
        ("PUT", "/latest/api/token", {TTL: "60", "X-Forwarded-For": "10.0.0.1"}, 403),
        ("PUT", "/latest/api/token", {TTL: "60", "Host": "attacker.example"}, 403),
        ("POST", f"{ROLES}/filevault", {}, 405),
        ("PUT", ROLES, {TTL: "60"}, 405),
    ],
)
def test_other_requests_get_nothing(
    metadata: Metadata, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    found, text, _headers = metadata.ask(method, path, **headers)
    assert found == status
    assert "SecretAccessKey" not in text


@pytest.mark.parametrize("path", ["/", "/latest/", ROLES + "/other", ROLES + "//filevault", "/x"])
def test_other_paths_do_not_exist(metadata: Metadata, path: str) -> None:
    assert metadata.get(path)[0] == 404


def test_expired_credentials_are_never_served(ready: AwsMachine, metadata: Metadata) -> None:
    from tests.fakes.faults import error

    ready.aws.arm(error("PackedPolicyTooLarge", "no"), action="AssumeRole", times=100)
    ready.machine.advance(3600)
    status, text = metadata.get(f"{ROLES}/filevault")
    assert (status, set(json.loads(text))) == (503, {"code", "message"})
    metadata.served.end()


def test_version_1_is_answered_only_if_asked_for(ready: AwsMachine) -> None:
    words = ("--imds-v1", "admin")
    with ServedCommand(ready.machine, *words, server="--ec2-server") as served:
        assert served.env["AWS_EC2_METADATA_V1_DISABLED"] == "false"
        status, text, _headers = Metadata(served).ask("GET", f"{ROLES}/filevault")
        assert (status, json.loads(text)["Code"]) == (200, "Success")
        assert Metadata(served).ask("GET", f"{ROLES}/filevault", **{TOKEN: "stale"})[0] == 401


OTHER_USER = """
import encodings.idna, http.client, os, sys
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
connection.request("PUT", "/latest/api/token", headers={sys.argv[2]: "60"})
print(connection.getresponse().status)
"""


@needs_root
def test_another_user_gets_not_even_a_token(metadata: Metadata) -> None:
    words = [sys.executable, "-c", OTHER_USER, str(metadata.served.port), TTL]
    assert subprocess.check_output(words, text=True) == "403\n"
    assert metadata.get(ROLES)[0] == 200


@needs_root
def test_another_user_is_answered_only_if_asked_for(ready: AwsMachine) -> None:
    words = ("--allow-local-users", "admin")
    with ServedCommand(ready.machine, *words, server="--ec2-server") as served:
        argv = [sys.executable, "-c", OTHER_USER, str(served.port), TTL]
        assert subprocess.check_output(argv, text=True) == "200\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--server", "--ec2-server"), "exclude each other"),
        (("--imds-v1",), "--imds-v1 goes with --ec2-server"),
        (("--server", "--imds-v1"), "--imds-v1 goes with --ec2-server"),
        (("--allow-local-users",), "--allow-local-users goes with --ec2-server"),
        (("--ec2-server", "--allow-role", "*"), "--allow-role goes with --server"),
        (("--lazy",), "--lazy goes with --server or --ec2-server"),
    ],
)
def test_options_that_do_not_go_together(
    ready: AwsMachine, argv: tuple[str, ...], message: str
) -> None:
    ran = ready.machine.run("exec", *argv, "admin", "--", "true")
    assert ran.status == 125
    assert message in ran.err
