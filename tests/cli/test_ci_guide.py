"""The commands of the guide for CI, in the shape that each CI system gives a job."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.fakes import FakeAws
from tests.fakes.ci import FakeCi
from tests.worlds.machine import PROGRAM, Machine, ProcessResult

PAGE = (Path(__file__).parents[2] / "docs/how-to/ci.md").read_text()
GUIDE = PAGE.partition("## Without a stored key")[2].partition("\n## ")[0]
ARN = "arn:aws:iam::111122223333:role/deploy"
ORGANISATION = "0a1b2c3d-1111-2222-3333-444455556666"
WORKSPACE = "ari:cloud:bitbucket::workspace/84c08677-e352-4a1c-a107-6df387cfeef7"


class Shape(NamedTuple):
    """What a CI system gives a job: issuer, subject, audience; the variable with the token."""

    title: str
    issuer: str
    subject: str
    audience: str = "sts.amazonaws.com"
    variable: str | None = None


SHAPES = {
    "github": Shape(
        "GitHub Actions", "https://token.actions.githubusercontent.com", "repo:acme/web:ref:x"
    ),
    "gitlab": Shape(
        "GitLab",
        "https://gitlab.com",
        "project_path:acme/web:ref_type:branch:ref:main",
        variable="GITLAB_OIDC_TOKEN",
    ),
    "circleci": Shape(
        "CircleCI",
        f"https://oidc.circleci.com/org/{ORGANISATION}",
        f"org/{ORGANISATION}/project/p/user/u",
        ORGANISATION,
        "CIRCLE_OIDC_TOKEN_V2",
    ),
    "buildkite": Shape(
        "Buildkite", "https://agent.buildkite.com", "organization:acme:pipeline:web:ref:main"
    ),
    "bitbucket": Shape(
        "Bitbucket",
        "https://api.bitbucket.org/2.0/workspaces/acme/pipelines-config/identity/oidc",
        "{9b6}:{4c1}",
        WORKSPACE,
        "BITBUCKET_STEP_OIDC_TOKEN",
    ),
}


def blocks(text: str, language: str) -> list[str]:
    """Return the code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def section(title: str) -> str:
    """Return what the guide says about a CI system."""
    return GUIDE.partition(f"**{title}**")[2].partition("\n**")[0]


def run_line(title: str) -> list[str]:
    """Return the words after `filevault` in the guide's job for a CI system."""
    job = "".join(blocks(section(title), "yaml"))
    (line,) = (line for line in job.splitlines() if "filevault exec" in line)
    return line.partition("filevault ")[2].split()


class CiJob:
    """A job on a machine with nothing but the guide's AWS config and its script."""

    def __init__(self, machine: Machine, aws: FakeAws, shape: Shape, config: str) -> None:
        self.machine = machine
        self.aws = aws
        self.shape = shape
        self.provider = aws.add_identity_provider(shape.issuer, (shape.audience,))
        self.role = aws.add_role("deploy", account="111122223333")
        assert self.role.arn == ARN
        aws.trust_web_identity(self.role, self.provider, shape.subject)
        (machine.home / "ci-aws-config").write_text(config)
        script = machine.home / "deploy.sh"
        script.write_text("#!/bin/sh\nenv\n")
        script.chmod(0o700)
        machine.env["AWS_CONFIG_FILE"] = "ci-aws-config"
        machine.env["AWS_ENDPOINT_URL_STS"] = aws.url

    def run(self, *argv: str) -> ProcessResult:
        """Run filevault and require that nothing shows a token."""
        found = self.machine.ok(*argv)
        assert not [token for token in self.provider.issued if token in found.everything]
        return found

    def check(self, variables: Mapping[str, str], *argv: str) -> ProcessResult:
        """Run the guide's command; its script must have the role, and no token."""
        self.machine.env |= variables
        found = self.run(*argv)
        child = dict(line.split("=", 1) for line in found.out.splitlines() if "=" in line)
        assert self.aws.session(child["AWS_ACCESS_KEY_ID"]).role is self.role
        assert child["AWS_ACCOUNT_ID"] == "111122223333"
        assert child["AWS_REGION"] == "eu-west-1"
        return found


@pytest.mark.parametrize("system", SHAPES)
def test_a_job_gets_its_role_as_the_guide_says(
    quick_machine: Machine, aws: FakeAws, system: str
) -> None:
    shape = SHAPES[system]
    config = blocks(GUIDE, "ini")[0].replace("= github", f"= {system}")
    assert f"web_identity_token_source = {system}" in f"{section(shape.title)}{config}"
    job = CiJob(quick_machine, aws, shape, config)
    with FakeCi(job.provider, shape.subject) as ci:
        variables = {"github": ci.github, "buildkite": ci.buildkite}.get(system, dict)()
        if shape.variable is not None:
            variables[shape.variable] = job.provider.issue(shape.subject, shape.audience)
            assert shape.variable in section(shape.title) or "TOKEN" not in section(shape.title)
        found = job.check(variables, *run_line(shape.title))
        assert ci.defects == []
    assert aws.actions() == ["AssumeRoleWithWebIdentity"]
    masked = re.findall(r"^::add-mask::(.+)$", found.err, re.MULTILINE)
    if system == "github":
        values = {line.partition("=")[2] for line in found.out.splitlines()}
        assert len(masked) == 3
        assert set(masked) <= values
        assert found.err.count("\n") == 3
    else:
        assert found.err == ""


def test_the_commands_of_the_guide_work_in_their_order(
    quick_machine: Machine, aws: FakeAws
) -> None:
    shape = SHAPES["github"]
    job = CiJob(quick_machine, aws, shape, blocks(GUIDE, "ini")[0])
    lines = [line.removeprefix("$ ") for line in blocks(GUIDE, "console")[0].splitlines()]
    assert lines[0] == "export AWS_CONFIG_FILE=ci-aws-config"
    with FakeCi(job.provider, shape.subject) as ci:
        job.machine.env |= ci.github()
        words = lines[1].split()
        out = job.run(*words[1:]).out
        assert "AssumeRoleWithWebIdentity" in out
        assert "the token of GitHub Actions for sts.amazonaws.com" in out
        assert aws.actions() == []
        job.check({}, *lines[2].split()[1:])


def test_runs_at_the_same_time_each_ask_until_the_job_has_the_vault_of_the_guide(
    quick_machine: Machine, aws: FakeAws
) -> None:
    shape, count = SHAPES["gitlab"], 6
    config = blocks(GUIDE, "ini")[0].replace("= github", "= gitlab")
    job = CiJob(quick_machine, aws, shape, config)
    assert shape.variable is not None
    quick_machine.env[shape.variable] = job.provider.issue(shape.subject)

    def answers() -> set[bytes]:
        started = [quick_machine.popen("export", "deploy") for _ in range(count)]
        return {process.communicate(timeout=60)[0] for process in started}

    assert len(answers()) == count
    assert aws.actions() == ["AssumeRoleWithWebIdentity"] * count
    assert not quick_machine.state.exists()
    aws.reset_calls()
    key = quick_machine.home / "job.key"
    init, export = (
        line.removeprefix("$ ").replace("/tmp/job.key", str(key)).split()
        for line in blocks(GUIDE, "console")[1].splitlines()
    )
    job.run(*init[1:])
    name, _, value = export[1].partition("=")
    quick_machine.env[name] = value
    assert len(answers()) == 1
    assert aws.actions() == ["AssumeRoleWithWebIdentity"]


def test_kubernetes_gives_a_pod_its_role_as_the_guide_says(
    quick_machine: Machine, aws: FakeAws
) -> None:
    shape = Shape("Kubernetes", "https://oidc.eks.example/id/1", "system:serviceaccount:a:b")
    token = quick_machine.home / "token"
    config = blocks(GUIDE, "ini")[1].replace(
        "/var/run/secrets/eks.amazonaws.com/serviceaccount/token", str(token)
    )
    job = CiJob(quick_machine, aws, shape, config)
    token.write_text(job.provider.issue(shape.subject))
    pod = {"AWS_WEB_IDENTITY_TOKEN_FILE": str(token), "AWS_ROLE_ARN": ARN}
    job.check(pod, "exec", "deploy", "--", "./deploy.sh")


def test_export_masks_as_exec_does_and_only_in_github_actions(
    quick_machine: Machine, aws: FakeAws
) -> None:
    shape = SHAPES["github"]
    job = CiJob(quick_machine, aws, shape, blocks(GUIDE, "ini")[0])
    with FakeCi(job.provider, shape.subject) as ci:
        job.machine.env |= ci.github()
        found = job.run("export", "deploy", "--mask", "--format", "env-file")
        values = dict(line.split("=", 1) for line in found.out.splitlines())
        assert found.err.splitlines() == [
            f"::add-mask::{values[name]}"
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        ]
        file, out = job.machine.home / "stderr", job.machine.home / "stdout"
        for redirected in ("2>/dev/null", f"2>{file}", f"2>>{file}", "2>&-"):
            for command in ("export deploy --mask", "exec deploy --mask -- env"):
                line = f'exec "$@" {command} {redirected} >{out}'
                job.machine.launcher = ("sh", "-c", line, "sh", *PROGRAM)
                status = 125 if command.startswith("exec") else 7
                assert job.machine.run().status == status, (redirected, command)
                assert out.read_text() == ""
        assert "::add-mask" not in file.read_text()
        assert file.read_text().count("--mask cannot reach the runner") == 3
        job.machine.launcher = PROGRAM
        for other in ("", "false", "TRUE"):
            job.machine.env["GITHUB_ACTIONS"] = other
            assert job.run("export", "deploy", "--mask").err == ""
