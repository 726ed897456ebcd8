"""The first hour of a new user, as the scripts that they would write."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from tests.conditions.mounts import read_only
from tests.samples import EXAMPLE_ID
from tests.worlds.aws_machine import AwsMachine
from tests.worlds.machine import PASSPHRASE, Machine, TypedAnswer

SHOW = ("--", "sh", "-c", "echo $AWS_ACCESS_KEY_ID $AWS_VAULT")


def test_with_nothing_but_a_passphrase_variable(scene: AwsMachine) -> None:
    machine, aws, user = scene.machine, scene.aws, scene.user
    machine.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE

    made = machine.ok("init")
    assert made.out.splitlines()[0] == f"vault: {machine.vault}"

    scene.configure()
    key = f"{user.access_key_id}\n{user.secret_access_key}\n"
    assert machine.ok("add", "jonsmith", "--stdin", stdin=key).out == (
        "Stored the key of profile jonsmith.\n"
    )

    cold = machine.ok("exec", "admin", *SHOW)
    key_id, profile = cold.out.split()
    assert profile == "admin"
    assert aws.session(key_id).role is scene.role
    assert aws.session(key_id).mfa
    calls = aws.actions()
    assert calls

    cached = machine.ok("exec", "admin", *SHOW)
    assert cached == cold
    assert aws.actions() == calls
    assert cold.err == ""

    listed = machine.ok("list").out
    assert "sts.AssumeRole:" in listed


def test_an_mfa_code_is_typed_once_for_a_morning(scene: AwsMachine) -> None:
    machine, aws = scene.machine, scene.aws
    scene.configure(mfa_process=False).store()
    code = scene.user.totp()
    cold = machine.on_terminal("exec", "admin", *SHOW, answers=[TypedAnswer("MFA code of", code)])
    assert cold.status == 0
    assert code not in cold.out + cold.err
    before = aws.actions()
    assert machine.ok("exec", "admin", *SHOW).out == cold.out
    assert aws.actions() == before


def test_a_ci_job_with_a_key_file_a_read_only_vault_and_no_state(
    scene: AwsMachine, tmp_path: Path
) -> None:
    at_home = scene.machine
    key_file = tmp_path / "secrets/vault.key"
    made = at_home.ok("init", "--new-key-file", str(key_file), "--no-passphrase")
    assert f"key file: {key_file}" in made.out
    assert key_file.stat().st_mode & 0o777 == 0o600
    at_home.env["FILEVAULT_KEY_FILE"] = str(key_file)
    scene.configure().store()
    vault = shutil.copytree(at_home.vault, tmp_path / "checkout/vault")

    job = Machine(tmp_path / "job")
    shutil.copytree(at_home.home / ".aws", job.home / ".aws")
    read_only(job, vault, job.home)
    job.env |= {"FILEVAULT_DIR": str(vault), "FILEVAULT_KEY_FILE": str(key_file)}
    before = sorted(path for path in job.home.rglob("*"))

    ran = job.ok("exec", "admin", *SHOW)
    assert scene.aws.session(ran.out.split()[0]).role is scene.role
    assert ran.err == ""
    assert "admin" in job.ok("list").out
    refused = job.run("remove", "-f", "jonsmith")
    assert refused.status == 7
    assert "read-only" in refused.err
    refused = job.run("add", "jonsmith", "--stdin", "--force", stdin="x\ny\n")
    assert refused.status == 7
    assert sorted(path for path in job.home.rglob("*")) == before

    told = job.ok("exec", "jonsmith", "--no-session", "--debug", "--", "true")
    assert "no session is kept" in told.err


def test_deleting_everything_and_starting_again(plain: AwsMachine) -> None:
    machine = plain.machine
    machine.ok("exec", "jonsmith", "--", "true")
    shutil.rmtree(machine.vault)

    lost = machine.run("exec", "jonsmith", "--", "true")
    assert lost.status == 125
    lost = machine.run("export", "jonsmith")
    assert lost.status == 10
    assert "has lost its marker" in lost.err
    assert "filevault init" in lost.err
    assert machine.run("add", "jonsmith", "--stdin", "--init", stdin="x\ny\n").status == 10
    assert not machine.vault.exists()

    (old_state,) = machine.state.iterdir()
    again = machine.ok("init")
    assert "its state directory is now at" in again.err
    states = sorted(path.name for path in machine.state.iterdir())
    assert len(states) == 2
    assert states[1].startswith(f"{old_state.name}.")
    assert (machine.state / states[1] / "sessions").is_dir()
    assert "sts" not in machine.ok("list").out
    plain.store()
    machine.ok("exec", "jonsmith", "--", "true")


def test_items_that_are_left_without_a_marker_are_never_built_over(ready: AwsMachine) -> None:
    machine = ready.machine
    shutil.rmtree(machine.vault / ".filevault")
    shutil.rmtree(machine.state)
    for argv in (("init",), ("export", "jonsmith"), ("list",)):
        refused = machine.run(*argv)
        assert refused.status == 10, argv
        assert "has lost its marker" in refused.err
    assert (machine.vault / "jonsmith.fv").exists()


def test_a_second_vault_beside_the_first(ready: AwsMachine, tmp_path: Path) -> None:
    machine = ready.machine
    second = tmp_path / "second"
    other = ready.aws.add_user("other")
    made = machine.ok("--vault", str(second), "init")
    assert (
        f"to use it: filevault --vault {second} ..., or export FILEVAULT_DIR={second}" in made.err
    )
    assert not (machine.home / ".config").exists()

    machine.ok(
        "add",
        "--vault",
        str(second),
        "jonsmith",
        "--stdin",
        stdin=f"{other.access_key_id}\n{other.secret_access_key}\n",
    )

    def key_id(*argv: str, **env: str) -> str:
        options = ("--no-session", "--format", "json")
        found: str = json.loads(machine.ok(*argv, "export", "jonsmith", *options, env=env).out)[
            "AccessKeyId"
        ]
        return found

    assert key_id() == ready.user.access_key_id
    assert key_id("--vault", str(second)) == other.access_key_id
    assert key_id(FILEVAULT_DIR=str(second)) == other.access_key_id
    assert key_id("--vault", str(machine.vault), FILEVAULT_DIR=str(second)) == (
        ready.user.access_key_id
    )
    assert machine.run("--vault", str(second), "init").status == 3


def test_the_first_vault_at_a_place_of_its_own_is_noted_down(
    scene: AwsMachine, tmp_path: Path
) -> None:
    machine = scene.machine
    machine.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
    made = machine.ok("init", "--vault", "mine")
    config = machine.home / ".config/filevault/config.toml"
    assert config.read_text() == f"vault = '{machine.home}/mine'\n"
    assert "commands use this vault from now on" in made.err
    machine.add("jonsmith", scene.user.access_key_id, scene.user.secret_access_key)
    assert (machine.home / "mine/jonsmith.fv").exists()
    machine.ok("init", "--vault", str(tmp_path / "third"))
    assert config.read_text() == f"vault = '{machine.home}/mine'\n"
    assert not machine.vault.exists()


def test_a_vault_that_a_variable_chose_is_not_noted_down(machine: Machine, tmp_path: Path) -> None:
    machine.env |= {"FILEVAULT_PASSPHRASE": PASSPHRASE, "FILEVAULT_DIR": str(tmp_path / "v")}
    machine.ok("init")
    assert not (machine.home / ".config").exists()
    assert (tmp_path / "v/.filevault/vault.json").exists()


def test_a_generated_passphrase_is_printed_once_and_opens_the_vault(scene: AwsMachine) -> None:
    machine = scene.machine
    made = machine.ok("init", "--generate")
    (line,) = [line for line in made.out.splitlines() if line.startswith("passphrase: ")]
    passphrase = line.removeprefix("passphrase: ")
    assert len(passphrase.replace("-", "")) >= 26
    machine.env["FILEVAULT_PASSPHRASE"] = passphrase
    scene.configure().store()
    machine.ok("export", "jonsmith", "--no-session")


def test_it_runs_as_a_module_with_the_standard_cost(machine: Machine) -> None:
    machine.launcher = (sys.executable, "-m", "filevault")
    machine.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
    machine.ok("init")
    machine.ok("add", "jon", "--stdin", stdin=f"{EXAMPLE_ID}\n" + "s" * 40 + "\n")
    shown = machine.ok("export", "jon", "--no-session").out
    assert shown.startswith(f"AWS_ACCESS_KEY_ID={EXAMPLE_ID}\n")


def test_no_module_of_the_working_directory_is_run(machine: Machine, tmp_path: Path) -> None:
    """Neither by the console script nor, with -P, by the module; with -m alone some would be."""
    hostile = tmp_path / "hostile"
    hostile.mkdir()
    for name in sys.stdlib_module_names:
        (hostile / f"{name}.py").write_text(f"open({str(tmp_path / 'run')!r}, 'a').write(__name__)")
    script = str(Path(sys.executable).parent / "filevault")
    for launcher in ((script,), (sys.executable, "-P", "-m", "filevault")):
        machine.launcher = launcher
        machine.ok("list", cwd=hostile)
        assert not (tmp_path / "run").exists(), launcher
