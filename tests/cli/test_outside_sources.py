"""Profiles whose credentials come from outside the vault: on the command line, without a vault."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Iterator

import pytest

from tests.conditions.tools import tool
from tests.fakes import FakeAws, Fault
from tests.fakes.ci import FakeCi
from tests.samples import JON
from tests.worlds.aws_machine import REGION
from tests.worlds.in_process import InProcess
from tests.worlds.key_cache import key_cache_machine
from tests.worlds.machine import PASSPHRASE, Machine
from tests.worlds.pass_store import GpgHome

ISSUER = "https://token.actions.example"
SUBJECT = "repo:acme/web:ref:refs/heads/main"
PRINT = "import json, os; print(json.dumps(dict(os.environ)))"


class Job:
    """A job of a CI system on a machine, with a role `deploy` and one on top, `admin`."""

    def __init__(self, machine: Machine, aws: FakeAws) -> None:
        self.machine = machine
        self.aws = aws
        self.provider = aws.add_identity_provider(ISSUER)
        self.role = aws.add_role("deploy")
        self.admin = aws.add_role("admin")
        aws.trust_web_identity(self.role, self.provider, SUBJECT)
        self.token = self.provider.issue(SUBJECT)
        self.file = machine.home / "token"
        self.file.write_text(f"{self.token}\n")

    def configure(self, *lines: str) -> Job:
        common = f"region = {REGION}\nendpoint_url = {self.aws.url}\n"
        self.machine.write_config(
            f"[profile ci]\n{common}role_arn = {self.role.arn}\n" + "\n".join(lines) + "\n"
            f"[profile admin]\n{common}source_profile = ci\nrole_arn = {self.admin.arn}\n"
        )
        return self

    def secrets(self) -> set[str]:
        return {*self.aws.issued_secrets()}


@pytest.fixture
def job(quick_machine: Machine, aws: FakeAws) -> Job:
    return Job(quick_machine, aws)


@pytest.fixture
def github(job: Job) -> Iterator[FakeCi]:
    with FakeCi(job.provider, SUBJECT) as served:
        job.configure("web_identity_token_source = github")
        job.machine.env |= served.github()
        yield served
    assert served.defects == []


def test_a_vault_is_neither_needed_nor_asked_for(job: Job) -> None:
    machine = job.configure(f"web_identity_token_file = {job.file}").machine
    for _ in range(2):
        found = machine.ok("export", "admin", "--format", "json")
        assert found.err == ""
        key_id = json.loads(found.out)["AccessKeyId"]
        assert job.aws.session(key_id).role is job.admin
    assert job.aws.actions() == ["AssumeRoleWithWebIdentity", "AssumeRole"] * 2
    assert not machine.vault.exists()
    assert not machine.state.exists()
    out = machine.ok("export", "ci", "--explain").out
    assert "its session is not kept" in out

    # With a vault, sessions are kept as long as it opens without a question.
    machine.with_vault()
    job.aws.reset_calls()
    for _ in range(2):
        assert machine.ok("export", "admin").err == ""
    assert job.aws.actions() == ["AssumeRoleWithWebIdentity", "AssumeRole"]
    del machine.env["FILEVAULT_PASSPHRASE"]
    found = machine.on_terminal("export", "admin")
    assert (found.status, found.tty, found.err) == (0, "", "")
    assert job.aws.actions() == ["AssumeRoleWithWebIdentity", "AssumeRole"] * 2
    found = machine.run("export", "admin")
    assert (found.status, found.err) == (0, "")


@pytest.mark.parametrize("backend", ["pass", "age"])
def test_a_key_with_a_passphrase_is_not_asked_for(
    job: Job, backend: str, request: pytest.FixtureRequest
) -> None:
    machine = job.configure(f"web_identity_token_file = {job.file}").machine
    machine.env["FILEVAULT_BACKEND"] = backend
    if backend == "pass":
        tool("gpg")
        gpg = GpgHome()
        request.addfinalizer(gpg.close)
        gpg.make_key(JON, PASSPHRASE)
        machine.env |= gpg.env()
        machine.ok("init", "--recipient", JON)
        gpg.forget_passphrases()
    else:
        machine.ok("init", env={"FILEVAULT_NEW_PASSPHRASE": PASSPHRASE})
    for _ in range(2):
        found = machine.on_terminal("export", "ci")
        assert (found.status, found.tty, found.err) == (0, "", "")
        assert "AWS_SESSION_TOKEN=" in found.out


def test_what_is_unlocked_keeps_their_sessions(job: Job) -> None:
    machine = job.configure(f"web_identity_token_file = {job.file}").machine
    with key_cache_machine(machine, job.aws, "agent") as desk:
        desk.prepare("init")
        desk.unlock("--ttl", "1m")
        for _ in range(2):
            assert machine.ok("export", "ci").err == ""
        assert job.aws.actions() == ["AssumeRoleWithWebIdentity"]


def test_the_command_gets_no_token(job: Job, github: FakeCi) -> None:
    machine = job.machine
    child = json.loads(machine.ok("exec", "ci", "--", sys.executable, "-c", PRINT).out)
    assert job.aws.session(child["AWS_ACCESS_KEY_ID"]).role is job.role
    assert child["AWS_ACCOUNT_ID"] == "123456789012"
    assert not any(name.startswith("ACTIONS_ID_TOKEN") for name in child)
    assert not any(github.secret in value for value in child.values())
    machine.env["MY_TOKEN"] = job.token
    job.configure("web_identity_token_env = MY_TOKEN")
    child = json.loads(machine.ok("exec", "admin", "--", sys.executable, "-c", PRINT).out)
    assert "MY_TOKEN" not in child
    assert job.token not in str(child)
    assert "ACTIONS_ID_TOKEN_REQUEST_TOKEN" in child  # not of this profile
    found = machine.ok("exec", "admin", "--server", "--", sys.executable, "-c", PRINT)
    child = json.loads(found.out)
    assert "AWS_CONTAINER_CREDENTIALS_FULL_URI" in child
    assert "MY_TOKEN" not in child
    assert job.token not in str(child)
    assert machine.run("exec", "admin", "--server", "--mask", "--", "true").status == 125


def test_many_that_miss_at_once_make_one_call_and_run_one_program(job: Job) -> None:
    machine = job.configure(f"web_identity_token_file = {job.file}").machine
    key_file = machine.home / "key"
    machine.ok("init", "--new-key-file", str(key_file), "--no-passphrase")
    machine.env["FILEVAULT_KEY_FILE"] = str(key_file)
    output = {
        "Version": 1,
        "AccessKeyId": "ASIAEXAMPLE",
        "SecretAccessKey": "hidden",
        "SessionToken": "token",
        "Expiration": "2099-01-01T00:00:00Z",
    }
    (machine.home / "output").write_text(json.dumps(output))
    broker = machine.home / "broker"
    broker.write_text(f"#!/bin/sh\necho x >> {machine.home}/runs; cat {machine.home}/output\n")
    broker.chmod(0o700)
    with machine.config.open("a") as config:
        config.write(f"[profile program]\ncredential_process = {broker}\n")
    for profile in ("admin", "program"):
        started = [machine.popen("export", profile, "--format", "json") for _ in range(12)]
        answers = {process.communicate(timeout=60) for process in started}
        assert {process.returncode for process in started} == {0}, answers
        assert len(answers) == 1
    assert job.aws.actions() == ["AssumeRoleWithWebIdentity", "AssumeRole"]
    assert (machine.home / "runs").read_text() == "x\n"


def test_many_runs_of_a_program_without_an_expiry_do_not_wait_for_each_other(job: Job) -> None:
    """The first is waited for, since it may leave a session; from then on they run together."""
    machine, count = job.machine, 6
    key_file = machine.home / "key"
    machine.ok("init", "--new-key-file", str(key_file), "--no-passphrase")
    machine.env["FILEVAULT_KEY_FILE"] = str(key_file)
    output = {"Version": 1, "AccessKeyId": "AKIDEXAMPLE", "SecretAccessKey": "hidden-secret"}
    (machine.home / "output").write_text(json.dumps(output))
    gate = machine.home / "gate"
    os.mkfifo(gate)
    broker = machine.home / "broker"
    broker.write_text(
        f"#!/bin/sh\necho x >> {machine.home}/runs\nread line < {gate}\ncat {machine.home}/output\n"
    )
    broker.chmod(0o700)
    machine.write_config(f"[profile program]\ncredential_process = {broker}\n")
    started = [machine.popen("export", "program", "--format", "json") for _ in range(count)]
    runs = machine.home / "runs"

    def wait_for(number: int) -> None:
        while not runs.exists() or len(runs.read_text()) < 2 * number:
            time.sleep(0.01)

    wait_for(1)
    time.sleep(0.3)
    assert runs.read_text() == "x\n"
    with gate.open("w") as opened:
        opened.write("\n")
    wait_for(count)  # all the others are running, and none has ended
    with gate.open("w") as opened:
        opened.write("\n" * count)
        opened.flush()
        answers = {process.communicate(timeout=60) for process in started}
    assert [json.loads(out) for out, _ in answers] == [output]


def test_nothing_shows_a_token(job: Job, github: FakeCi) -> None:
    machine = job.machine
    machine.env["FILEVAULT_DEBUG"] = "1"
    job.aws.sts.web_trusts.clear()
    found = machine.run("export", "ci")
    assert found.status == 8
    assert f"sub '{SUBJECT}'" in found.err
    assert github.secret not in found.everything
    assert not [secret for secret in job.secrets() if secret in found.everything]


def test_a_program_that_runs_filevault_for_its_own_profile_is_stopped(job: Job) -> None:
    machine = job.machine
    program = machine.home / "broker"
    orders = machine.environment()["LAUNCH"]
    program.write_text(
        f"#!/bin/sh\necho x >> {machine.home}/runs\n"
        f'LAUNCH={shlex.quote(orders)} exec {shlex.join(machine.launcher)} export "$1" '
        "--format json\n"
    )
    program.chmod(0o700)
    machine.write_config(
        f"[profile a]\ncredential_process = {program} b\n"
        f"[profile b]\ncredential_process = {program} a\n"
        "[profile self]\ncredential_process = filevault export self --format json\n"
    )
    found = machine.run("export", "a")
    assert found.status == 8
    assert "credential_process of profile 'a' runs itself" in found.err
    assert (machine.home / "runs").read_text() == "x\n" * 2
    found = machine.run("export", "self")
    assert found.status == 4
    assert "neither a stored key nor a source" in found.err


def test_what_a_program_says_is_shown_without_a_terminal(job: Job) -> None:
    machine = job.machine
    credentials = {"Version": 1, "AccessKeyId": "AKIDEXAMPLE", "SecretAccessKey": "hidden-secret"}
    program = machine.home / "broker"
    program.write_text(
        f"#!/bin/sh\necho 'using the ticket' >&2\necho {shlex.quote(json.dumps(credentials))}\n"
    )
    program.chmod(0o700)
    machine.write_config(f"[profile p]\ncredential_process = {program}\n")
    found = machine.ok("export", "p", "--format", "json")
    assert json.loads(found.out) == credentials
    assert found.err == "filevault: credential_process of profile 'p': using the ticket\n"
    program.write_text("#!/bin/sh\necho no ticket >&2; exit 4\n")
    found = machine.run("export", "p")
    assert (found.status, found.out) == (8, "")
    assert "failed with status 4: no ticket" in found.err


def test_list_names_their_sessions(job: Job) -> None:
    machine = job.configure(f"web_identity_token_file = {job.file}").machine.with_vault()
    machine.ok("export", "admin")
    lines = machine.ok("list", "--sessions").out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "ci\tsts.AssumeRoleWithWebIdentity",
        "admin\tsts.AssumeRole",
    ]
    (found,) = json.loads(machine.ok("list", "--sessions", "--json").out)[0]["sessions"]
    assert found["operation"] == "assume-role-with-web-identity"
    machine.ok("clear", "ci")
    assert machine.ok("list", "--sessions").out.startswith("admin\t")


def test_what_a_source_gives_takes_no_duration(job: Job) -> None:
    machine = job.machine
    machine.env |= {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "hidden-secret"}
    machine.write_config("[profile e]\ncredential_source = Environment\n")
    err = machine.ok("export", "e", "-d", "1h").err
    assert "issued as their source gives them: --duration and --mfa-token do nothing" in err
    found = machine.run("login", "e", "--stdout")
    assert found.status == 8
    assert "the console takes temporary credentials only" in found.err
    assert "hidden-secret" not in found.everything


REFUSED = {
    "credential_process = {program}": "check what credential_process of 'ci' prints",
    "credential_source = Environment": "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and",
}


@pytest.mark.parametrize("line", REFUSED)
@pytest.mark.parametrize("fault", ["unknown", "expired", "secret"])
def test_credentials_that_aws_does_not_accept_are_named(job: Job, line: str, fault: str) -> None:
    machine, user = job.machine, job.aws.add_user("jon")
    key_id, secret = user.access_key_id, user.secret_access_key
    if fault == "unknown":
        job.aws.directory.delete_access_key(job.aws.directory.keys[key_id])
    elif fault == "secret":
        secret = "another" + secret[7:]
    else:
        error = Fault("error", code="ExpiredToken", message="it is over", status=403)
        job.aws.arm(error, action="AssumeRole")
    printed = {"Version": 1, "AccessKeyId": key_id, "SecretAccessKey": secret}
    (machine.home / "printed").write_text(json.dumps(printed))
    job.configure(line.format(program=f"cat {machine.home}/printed"))
    machine.env |= {"AWS_ACCESS_KEY_ID": key_id, "AWS_SECRET_ACCESS_KEY": secret}
    found = InProcess(machine.environment(), tidy=False).run("export", "admin")
    assert found.status == 8
    assert REFUSED[line] in found.err
    assert "filevault add" not in found.err


def test_certificates_that_are_not_there_are_named(job: Job, github: FakeCi) -> None:
    del github
    job.machine.env["AWS_CA_BUNDLE"] = "/no/such/bundle"
    found = job.machine.run("export", "ci")
    assert found.status == 3
    assert "the CA bundle '/no/such/bundle' is not there" in found.err


PRECEDENCE = {
    "web_identity_token_file = {file}\ncredential_process = false": "web_identity_token_file",
    "credential_process = cat {file}.json\ncredential_source = Environment": "credential_process",
    "web_identity_token_source = github\nweb_identity_token_env = X": "web_identity_token_source",
    "credential_source = Environment\nsso_start_url = https://x.example/start": "sso_start_url",
}


@pytest.mark.parametrize("lines", PRECEDENCE)
def test_a_profile_with_two_sources_is_warned_of(job: Job, lines: str) -> None:
    job.configure(*lines.format(file=job.file).splitlines())
    found = InProcess(job.machine.environment(), tidy=False).run("export", "ci", "--explain")
    used = PRECEDENCE[lines]
    other = next(line.partition(" ")[0] for line in lines.splitlines() if not line.startswith(used))
    warning = f"profile 'ci' has {used} and also {other}: {used} is used"
    assert warning in found.err


def test_a_wrong_passphrase_does_not_keep_such_a_profile_from_working(job: Job) -> None:
    machine = job.configure(f"web_identity_token_file = {job.file}").machine.with_vault()
    machine.env["FILEVAULT_PASSPHRASE"] = "another passphrase altogether"
    assert machine.ok("export", "ci").err == ""
    machine.env["FILEVAULT_DEBUG"] = "1"
    assert "opens no keyslot" in machine.ok("export", "ci").err


ABSENT = {
    "web_identity_token_source = github": (8, "ACTIONS_ID_TOKEN_REQUEST_URL"),
    "web_identity_token_source = svn": (3, "does not know"),
    "web_identity_token_file = /no/such/token": (8, "no such file"),
    "web_identity_token_process = exit 3": (8, "status 3"),
    "credential_process = /no/such/program": (7, "no program"),
    "credential_process = false": (8, "status 1"),
    "credential_source = Environment": (8, "AWS_ACCESS_KEY_ID"),
    "credential_source = EcsContainer": (8, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
    "credential_source = Ec2InstanceMetadata": (8, "AWS_EC2_METADATA_DISABLED"),
    "credential_source = Magic": (3, "means nothing"),
}


@pytest.mark.parametrize("line", ABSENT)
def test_a_source_that_is_not_there_has_its_status_and_one_line(job: Job, line: str) -> None:
    status, says = ABSENT[line]
    job.configure(line)
    found = InProcess(job.machine.environment(), tidy=False).run("export", "admin")
    assert (found.status, found.out) == (status, "")
    assert says in found.err
    errors = [each for each in found.err.splitlines() if each.startswith("filevault: error: ")]
    assert len(errors) == 1
