"""One failure for each exit status of the contract, and the same as 125 from `exec`."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from tests.fakes import error
from tests.worlds.aws_machine import AwsMachine
from tests.worlds.damage import flip
from tests.worlds.machine import PROGRAM


def usage(scene: AwsMachine) -> None:
    scene.machine.env |= {"FILEVAULT_KEY": "one", "FILEVAULT_PASSPHRASE_FILE": "two"}


def configuration(scene: AwsMachine) -> None:
    scene.machine.write_config("[profile admin]\nsource_profile = jonsmith\nrole_arn = x\n")


def no_vault(scene: AwsMachine) -> None:
    shutil.rmtree(scene.machine.vault)
    shutil.rmtree(scene.machine.state)


def locked(scene: AwsMachine) -> None:
    del scene.machine.env["FILEVAULT_PASSPHRASE"]


def damaged(scene: AwsMachine) -> None:
    flip(scene.machine.vault / "jonsmith.fv")


def helper_missing(scene: AwsMachine) -> None:
    del scene.machine.env["FILEVAULT_PASSPHRASE"]
    scene.machine.env["FILEVAULT_PASSPHRASE_COMMAND"] = "no-such-program"


def refused(scene: AwsMachine) -> None:
    scene.aws.arm(error("AccessDenied", "no", 403), times=9)


def network(scene: AwsMachine) -> None:
    config = scene.machine.config
    config.write_text(config.read_text().replace(scene.aws.url, "http://127.0.0.1:1"))


def replaced(scene: AwsMachine) -> None:
    shutil.rmtree(scene.machine.vault)


CASES = {
    2: usage,
    3: configuration,
    4: no_vault,
    5: locked,
    6: damaged,
    7: helper_missing,
    8: refused,
    9: network,
    10: replaced,
}


@pytest.mark.parametrize(("status", "spoil"), CASES.items())
def test_each_failure_has_its_status(
    plain: AwsMachine, status: int, spoil: Callable[[AwsMachine], None]
) -> None:
    plain.role.require_mfa = False
    spoil(plain)
    exported = plain.machine.run("export", "admin")
    assert (exported.status, exported.out) == (status, ""), exported
    lines = exported.err.splitlines()
    assert lines[0].startswith("filevault: error: ")
    sentence = lines[0].removeprefix("filevault: error: ")
    word = sentence.split()[0]
    assert word[0].islower() or word[1:] != word[1:].lower()  # a name may be written as it is
    assert not sentence.endswith(".")
    assert all(line.startswith("filevault: hint: ") for line in lines[1:])
    executed = plain.machine.run("exec", "admin", "--", "true")
    assert (executed.status, executed.out) == (125, "")
    assert executed.err.splitlines()[0].startswith("filevault: error: ")


def test_a_limit_of_open_files_is_named_and_no_bug(plain: AwsMachine) -> None:
    plain.role.require_mfa = False
    failed = 0
    for limit in range(6, 14, 2):
        plain.machine.launcher = ("sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh", *PROGRAM)
        result = plain.machine.run("export", "admin", "--no-cache")
        assert (result.status == 0) or (result.status == 7 and "files" in result.err), result
        assert "bug in filevault" not in result.err, result
        failed += result.status == 7
    assert failed


def test_a_relative_path_in_a_deleted_folder_is_one_sentence(plain: AwsMachine) -> None:
    machine, gone = plain.machine, plain.machine.home / "gone"
    line = f'mkdir {gone} && cd {gone} && rmdir {gone} && exec "$@"'
    machine.launcher = ("sh", "-c", line, "sh", *PROGRAM)
    for words in (
        ("list", "--vault", "v"),
        ("init", "--new-key-file", "key", "--vault", "v"),
        ("import", "."),
        ("migrate", "--to", "v", "--yes"),
        ("serve", "--lazy", "jonsmith", "--token-file", "token"),
        ("doctor", "--vault", "v"),
    ):
        result = machine.run(*words)
        assert result.status == 7, (words, result)
        assert "the working directory was deleted" in result.everything
        assert "bug in filevault" not in result.everything
    assert machine.run("list").status == 0
