"""The address 169.254.169.254, which programs know that know no variable."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from filevault.errors import UsageError
from filevault.server import metadata_address
from filevault.server.event_loop import EventLoop
from filevault.server.metadata_address import ADDRESS, LIFE, PORT, MetadataAddress, is_instance
from tests.conditions.other_user import NOBODY, as_user
from tests.conditions.own_network import OwnNetwork, own_network
from tests.conditions.two_machines import two_machines
from tests.fakes import FakeAws
from tests.interop.recorder import Recorder
from tests.worlds.aws_machine import REGION, AwsMachine
from tests.worlds.machine import Machine

BIN = Path(sys.executable).parent
LISTEN = ("--listen", f"{ADDRESS}:{PORT}")
BOTO3 = "import boto3; boto3.client('sts').get_caller_identity()"


@pytest.fixture
def network() -> Iterator[OwnNetwork]:
    with own_network() as made:
        yield made


@pytest.fixture
def networked(machine: Machine, network: OwnNetwork) -> Iterator[AwsMachine]:
    """A machine whose loopback device is the test's own, with AWS on it."""
    aws = network.inside(FakeAws)
    machine.launcher = (*network.enter, *machine.launcher)
    machine.root = str(machine.home / "root")
    with aws:
        yield AwsMachine(machine, aws).configure().store()
    assert aws.defects == []


@pytest.fixture
def service(network: OwnNetwork) -> Iterator[Recorder]:
    with network.inside(Recorder) as recorder:
        yield recorder
    assert recorder.defects == []


def s3cmd(service: Recorder) -> list[str]:
    """Return a command line; the program knows no other address."""
    host = service.url.removeprefix("http://")
    words = ["-c", "/nowhere", "--no-ssl", f"--host={host}", f"--host-bucket={host}", "ls"]
    return [str(BIN / "s3cmd"), *words]


def test_clients_that_know_no_variable_sign_with_the_served_session(
    networked: AwsMachine, service: Recorder, network: OwnNetwork
) -> None:
    clients = (
        s3cmd(service),
        [sys.executable, "-c", BOTO3],
        [str(BIN / "aws"), "sts", "get-caller-identity"],
    )
    env = {"PATH": os.environ["PATH"], "AWS_ENDPOINT_URL": service.url, "AWS_REGION": REGION}
    env |= {"AWS_DEFAULT_REGION": REGION, "HOME": str(networked.machine.home / "nobody's")}
    with networked.machine.popen("serve", "--ec2", *LISTEN, "admin") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().decode().strip() for _ in range(3)]
        assert lines[1] == f"AWS_EC2_METADATA_SERVICE_ENDPOINT=http://{ADDRESS}/"
        session = networked.aws.calls[-1].returned_access_key_id
        for client in clients:
            words = [*network.enter, *client]
            done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, (client, done.stderr)
            assert service.signers() == {session}, client
        life = network.life(ADDRESS)
        assert life is not None
        assert 0 < life <= LIFE
        process.terminate()
        assert process.wait(20) == 0
    assert network.life(ADDRESS) is None


def test_a_command_that_knows_no_variable_signs_with_the_served_session(
    networked: AwsMachine, service: Recorder, network: OwnNetwork
) -> None:
    words = ("exec", "--ec2-server", *LISTEN, "admin", "--", *s3cmd(service))
    ran = networked.machine.run(*words)
    assert ran.status == 0, ran
    assert service.signers() == {networked.aws.calls[-1].returned_access_key_id}
    assert network.life(ADDRESS) is None


def test_a_killed_server_leaves_no_address_and_is_started_again_at_once(
    networked: AwsMachine, network: OwnNetwork
) -> None:
    """The kernel takes it away after a minute at most; the next server needs not wait for that."""
    words = ("serve", "--ec2", "--lazy", *LISTEN, "admin")
    for number in (signal.SIGKILL, signal.SIGTERM):
        with networked.machine.popen(*words) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"# admin\n"
            life = network.life(ADDRESS)
            assert life is not None
            assert 0 < life <= LIFE
            second = networked.machine.run(*words)
            assert second.status == 2
            assert f"{ADDRESS}:80 answers already" in second.err
            process.send_signal(number)
            process.wait(20)
    assert network.life(ADDRESS) is None


def test_a_real_instance_keeps_its_own_metadata_service(
    networked: AwsMachine, network: OwnNetwork
) -> None:
    folder = Path(networked.machine.root) / "sys/class/dmi/id"
    folder.mkdir(parents=True)
    (folder / "sys_vendor").write_text("Amazon EC2\n")
    for words in (
        ("serve", "--ec2", *LISTEN, "admin"),
        ("exec", "--ec2-server", *LISTEN, "admin", "--", "true"),
    ):
        ran = networked.machine.run(*words, env={"FILEVAULT_PASSPHRASE": None})
        assert ran.status == (2 if words[0] == "serve" else 125)
        assert "this is an EC2 instance" in ran.err
        assert network.life(ADDRESS) is None
    assert networked.aws.calls == []


@pytest.mark.parametrize(
    ("path", "text", "found"),
    [
        ("class/dmi/id/sys_vendor", "Amazon EC2\n", True),
        ("class/dmi/id/sys_vendor", "Xen\n", False),
        ("class/dmi/id/sys_vendor", "Dell Inc.\n", False),
        ("class/dmi/id/board_asset_tag", "i-0123456789abcdef0\n", True),
        ("class/dmi/id/board_asset_tag", "i-core\n", False),
        ("class/dmi/id/product_uuid", "EC2AE145-D1DC-13B2-94ED-01234567890A\n", True),
        ("class/dmi/id/product_uuid", "45E12AEC-DCD1-B213-94ED-01234567890A\n", True),
        ("class/dmi/id/product_uuid", "4C4C4544-EC20-4A10-8052-B4C04F4D3433\n", False),
        ("hypervisor/uuid", "ec2e1916-9099-7caf-fd21-012345abcdef\n", True),
        ("hypervisor/uuid", "00000000-0000-0000-0000-000000000000\n", False),
        ("hypervisor/uuid", "", False),
    ],
)
def test_an_instance_is_known_by_its_firmware(
    tmp_path: Path, path: str, text: str, found: bool
) -> None:
    file = tmp_path / "sys" / path
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert is_instance(str(tmp_path)) == found
    assert not is_instance(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("prefix", [32, 16])
def test_an_address_that_is_there_is_neither_used_nor_removed(
    network: OwnNetwork, tmp_path: Path, prefix: int
) -> None:
    network.ip("address", "add", f"{ADDRESS}/{prefix}", "dev", "lo")
    with pytest.raises(UsageError, match="is an address of this machine already"):
        network.inside(lambda: MetadataAddress().listen(1, str(tmp_path)))
    network.inside(MetadataAddress().close)
    assert network.life(ADDRESS) is not None


def test_without_the_right_nothing_is_added(network: OwnNetwork, tmp_path: Path) -> None:
    def attempt() -> str:
        try:
            MetadataAddress().listen(1, str(tmp_path))
        except UsageError as error:
            return f"{error.message} {error.hint}"
        return "it listens"

    said = network.inside(lambda: as_user(NOBODY, attempt))
    assert "no permission to listen there" in said
    assert "CAP_NET_ADMIN and CAP_NET_BIND_SERVICE" in said
    assert network.life(ADDRESS) is None


def test_without_the_right_to_add_it_nothing_listens(network: OwnNetwork, tmp_path: Path) -> None:
    """As in a container, where every user may listen at port 80."""

    def attempt() -> str:
        Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("80")
        return as_user(NOBODY, refused)

    def refused() -> str:
        with pytest.raises(UsageError) as raised:
            MetadataAddress().listen(1, str(tmp_path))
        return raised.value.message

    said = network.inside(attempt)
    assert "no permission to add it to the loopback device" in said
    network.inside(lambda: MetadataAddress().listen(1, str(tmp_path))).close()


def test_of_two_servers_at_once_the_second_leaves_the_address_to_the_first(
    network: OwnNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = metadata_address._change

    def changed(message_type: int, flags: int) -> None:
        change(message_type, flags)
        if message_type == metadata_address._RTM_NEWADDR:  # the first has just added it
            monkeypatch.setattr(metadata_address, "_change", change)
            with pytest.raises(UsageError, match="answers already"):
                MetadataAddress().listen(1, str(tmp_path))

    monkeypatch.setattr(metadata_address, "_change", changed)
    first = MetadataAddress()
    with network.inside(lambda: first.listen(8, str(tmp_path))):
        assert network.life(ADDRESS) is not None
        network.inside(MetadataAddress().close)  # the late end of an earlier server
        assert network.life(ADDRESS) is not None
    network.inside(first.close)
    assert network.life(ADDRESS) is None


def test_a_loopback_device_that_is_down_is_an_error(network: OwnNetwork, tmp_path: Path) -> None:
    network.ip("link", "set", "lo", "down")
    with pytest.raises(UsageError, match="nothing reaches it on this machine") as raised:
        network.inside(lambda: MetadataAddress().listen(1, str(tmp_path)))
    assert "ip link set lo up" in (raised.value.hint or "")
    assert network.life(ADDRESS) is None


def test_a_port_in_use_leaves_no_address(network: OwnNetwork, tmp_path: Path) -> None:
    """A server of every address: the new one answers, too, so that it is noticed before."""
    with network.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as other:
        other.bind(("0.0.0.0", PORT))
        with pytest.raises(UsageError, match="cannot listen there: address already in use"):
            network.inside(lambda: MetadataAddress().listen(1, str(tmp_path)))
    assert network.life(ADDRESS) is None


def test_the_address_is_renewed_and_added_again(
    network: OwnNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Again after a stop of the process that was longer than the address lives."""
    now = [1000.0]
    monkeypatch.setattr(metadata_address, "monotonic", lambda: now[0])
    address = MetadataAddress()
    with EventLoop() as loop, network.inside(lambda: address.listen(8, str(tmp_path))) as listener:
        address.run_in(loop)
        (timer,) = loop._timers
        assert network.inside(timer) == 20.0
        network.ip("address", "del", f"{ADDRESS}/32", "dev", "lo")
        now[0] += 19
        assert network.inside(timer) == 1.0
        assert network.life(ADDRESS) is None
        now[0] += 1
        assert network.inside(timer) == 20.0
        assert network.life(ADDRESS) in range(LIFE - 5, LIFE + 1)
        with network.inside(lambda: socket.create_connection((ADDRESS, PORT))) as client:
            assert client.getpeername() == (ADDRESS, PORT)
        assert listener.getsockname() == (ADDRESS, PORT)
    network.inside(address.close)
    assert network.life(ADDRESS) is None


REACH = f"""
import socket
try:
    socket.create_connection(("{ADDRESS}", {PORT}), timeout=20).close()
except OSError as error:
    print(type(error).__name__)
"""


def test_what_arrives_from_another_machine_finds_no_listener(ready: AwsMachine) -> None:
    machine = ready.machine
    machine.root = str(machine.home / "root")
    with two_machines() as machines:
        route = ["ip", "route", "add", ADDRESS, "via", machines.address]
        subprocess.run([*machines.second, *route], check=True)
        machine.launcher = (*machines.first, *machine.launcher)
        with machine.popen("serve", "--ec2", "--lazy", *LISTEN, "admin") as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"# admin\n"
            for which, said in (
                (machines.second, "ConnectionRefusedError\n"),
                (machines.first, ""),
            ):
                words = [*which, sys.executable, "-c", REACH]
                assert subprocess.check_output(words, text=True) == said
            process.terminate()
            assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("exec", *LISTEN, "admin"), "--listen goes with --server or --ec2-server"),
        (("exec", "--server", *LISTEN, "admin"), "that others can reach"),
        (("exec", "--server", "--listen", "10.1.2.3:80", "admin"), "that others can reach"),
        (("exec", "--server", "--listen", "80", "admin"), "not an IPv4 address and a port"),
        (("exec", "--ec2-server", "--listen", f"{ADDRESS}:81", "admin"), "that others can reach"),
        (("serve", *LISTEN, "admin"), "that others can reach"),
    ],
)
def test_it_is_an_address_of_the_metadata_endpoint_alone(
    ready: AwsMachine, words: tuple[str, ...], message: str
) -> None:
    command = ("--", "true") if words[0] == "exec" else ()
    ran = ready.machine.run(*words, *command, env={"XDG_RUNTIME_DIR": "/tmp"})
    assert ran.status == (125 if command else 2)
    assert message in ran.err
    assert ready.aws.calls == []


def test_a_command_gets_the_port_that_is_asked_for(ready: AwsMachine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    script = 'echo "$AWS_CONTAINER_CREDENTIALS_FULL_URI"'
    words = ("exec", "--server", "--listen", f"127.0.0.1:{port}", "admin", "--", "sh", "-c", script)
    assert ready.machine.ok(*words).out == f"http://127.0.0.1:{port}/\n"


@pytest.mark.torture
@pytest.mark.parametrize("name", ["aws", "restic", "s3cmd"])
def test_debians_clients_sign_with_the_served_session(
    networked: AwsMachine, service: Recorder, name: str
) -> None:
    """AWS CLI v2, and two that know no variable for the metadata service."""
    program = shutil.which(name, path="/usr/bin")
    if program is None:
        pytest.skip(f"Debian has no {name} here")
    words = {
        "aws": ["--endpoint-url", service.url, "sts", "get-caller-identity"],
        "restic": ["--no-cache", "-r", f"s3:{service.url}/bucket", "cat", "config"],
        "s3cmd": s3cmd(service)[1:],
    }[name]
    without = ("env", "-u", "AWS_EC2_METADATA_SERVICE_ENDPOINT", "RESTIC_PASSWORD=x")
    ran = networked.machine.run(
        *("exec", "--ec2-server", *LISTEN, "admin", "--", *without, program, *words)
    )
    # The recorder has no repository for restic; what counts is who asked.
    assert ran.status == 0 or name == "restic", ran
    assert service.signers() == {networked.aws.calls[-1].returned_access_key_id}


@pytest.mark.torture
def test_the_kernel_removes_what_a_killed_server_leaves(
    network: OwnNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    monkeypatch.setattr(metadata_address, "LIFE", 2)
    with network.inside(lambda: MetadataAddress().listen(1, str(tmp_path))):
        assert network.life(ADDRESS) is not None
        time.sleep(4)
        assert network.life(ADDRESS) is None
