"""Configuration that somebody else could write is refused, with the file and the way out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conditions.other_user import needs_root
from tests.samples import EXAMPLE_ID
from tests.worlds.machine import Machine

NOBODY = 65534


@pytest.fixture(params=["config.toml", "aws"])
def config(request: pytest.FixtureRequest, machine: Machine) -> Path:
    machine.with_vault().add("jon", EXAMPLE_ID, "s" * 40, "--no-config")
    if request.param == "aws":
        machine.write_config("[profile jon]\n")
        return machine.config
    path = machine.home / ".config/filevault/config.toml"
    path.parent.mkdir(parents=True)
    path.write_text("strict = false\n")
    return path


def test_a_config_that_everybody_may_write_is_refused(machine: Machine, config: Path) -> None:
    assert machine.run("export", "jon", "-n").status == 0
    config.chmod(0o666)
    result = machine.run("export", "jon", "-n")
    assert (result.status, result.out) == (3, "")
    assert f"'{config}' is writable for every user" in result.err
    assert f"chmod o-w {config}" in result.err
    assert machine.run("exec", "jon", "-n", "--", "true").status == 125


@needs_root
def test_a_config_of_another_user_is_refused(machine: Machine, config: Path) -> None:
    os.chown(config, NOBODY, NOBODY)
    result = machine.run("export", "jon", "-n")
    assert result.status == 3
    assert f"'{config}' belongs to user {NOBODY}" in result.err


@needs_root
def test_a_link_is_judged_by_its_target(machine: Machine, config: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    config.rename(target)
    config.symlink_to(target)
    os.chown(config, NOBODY, NOBODY, follow_symlinks=False)
    assert machine.run("export", "jon", "-n").status == 0
    target.chmod(0o666)
    result = machine.run("export", "jon", "-n")
    assert result.status == 3
    assert "chmod o-w" in result.err


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o664])
def test_modes_that_are_usual_somewhere_are_fine(machine: Machine, config: Path, mode: int) -> None:
    config.chmod(mode)
    assert machine.run("export", "jon", "-n").status == 0


def test_no_configuration_is_read_from_the_working_directory(
    machine: Machine, tmp_path: Path
) -> None:
    machine.with_vault()
    for path in (".config/filevault/config.toml", "filevault/config.toml", "config.toml"):
        planted = tmp_path / path
        planted.parent.mkdir(parents=True, exist_ok=True)
        planted.write_text('vault = "/elsewhere"\n')
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/config").write_text("[profile planted]\n")
    result = machine.run("list", cwd=tmp_path)
    assert result.status == 0
    assert "planted" not in result.out


def test_a_config_file_may_be_the_null_device(machine: Machine) -> None:
    machine.with_vault().add("jon", EXAMPLE_ID, "s" * 40, "--no-config")
    machine.env["AWS_CONFIG_FILE"] = "/dev/null"
    assert machine.run("export", "jon", "-n").status == 0


def test_an_unknown_backend_of_aws_vault_only_warns(machine: Machine) -> None:
    machine.with_vault()
    result = machine.run("list", env={"AWS_VAULT_BACKEND": "key\x1bchain"})
    assert result.status == 0
    assert "AWS_VAULT_BACKEND=key\\x1bchain is ignored; the backends are" in result.err
