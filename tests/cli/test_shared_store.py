"""Stores that others can write: clones, planted keys, parallel writers, read-only ones."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conditions.mounts import read_only
from tests.conditions.other_user import needs_root
from tests.conditions.tools import tool
from tests.samples import KEY_ID, LINES, OTHER_ACCOUNT, SECRET
from tests.worlds.machine import Machine
from tests.worlds.other_programs import OtherPrograms, commit_identity
from tests.worlds.pass_store import GpgHome, pass_machine


@pytest.fixture(scope="module")
def gpg() -> Iterator[GpgHome]:
    tool("gpg")
    home = GpgHome()
    home.make_key("jon@example.com")
    home.make_key("eve@example.com")
    yield home
    home.close()


@pytest.fixture
def jon(tmp_path: Path, gpg: GpgHome) -> Machine:
    machine = pass_machine(tmp_path / "home", gpg)
    commit_identity(machine)
    machine.ok("init", "--recipient", "jon@example.com")
    machine.ok("add", "work", "--stdin", "--no-config", stdin=LINES)
    return machine


def test_eight_parallel_writers_lose_nothing_and_leave_nothing_uncommitted(jon: Machine) -> None:
    jon.ok("git", "init")
    writers = [
        subprocess.Popen(
            [*jon.launcher, "add", f"p{number}", "--env", "--no-config"],
            env=jon.environment({"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        for number in range(8)
    ]
    for writer in writers:
        _, complaint = writer.communicate(timeout=60)
        assert writer.returncode == 0, complaint
    names = jon.ok("list", "--credentials").out.split()
    assert names == [*(f"p{number}" for number in range(8)), "work"]
    assert jon.ok("git", "status", "--porcelain").out == ""
    assert len(jon.ok("git", "log", "--format=%s").out.splitlines()) == 9


def test_a_nearer_recipients_file_gets_nothing_encrypted(jon: Machine) -> None:
    (jon.home / ".password-store/aws/.gpg-id").write_text("eve@example.com\n")
    refused = jon.run("add", "two", "--stdin", "--no-config", stdin=LINES)
    assert refused.status == 10
    assert "is new" in refused.err
    assert not (jon.home / ".password-store/aws/two.gpg").exists()
    assert jon.ok("export", "work", "-n").status == 0


def test_an_option_in_a_recipients_file_is_an_error(jon: Machine) -> None:
    (jon.home / ".password-store/.gpg-id").write_text("--output=/tmp/x\njon@example.com\n")
    refused = jon.run("add", "two", "--stdin", "--no-config", stdin=LINES)
    assert refused.status in (7, 10)
    assert len(refused.err.splitlines()) <= 2


def test_a_key_planted_for_a_profile_with_another_source_waits_for_a_word(
    jon: Machine, gpg: GpgHome
) -> None:
    jon.write_config(
        "[profile work]\nregion=eu-west-1\n[profile admin]\nregion=eu-west-1\n"
        "source_profile=work\nrole_arn=arn:aws:iam::029608264753:role/admin\n"
    )
    text = f"{SECRET}\naws_access_key_id: {OTHER_ACCOUNT}\n"
    OtherPrograms(jon).run("pass", "insert", "-m", "aws/admin", stdin=text)
    refused = jon.run("export", "admin", "--explain")
    assert refused.status == 10
    assert "has appeared" in refused.err
    jon.ok("recipients", "accept", "admin")
    assert jon.ok("export", "admin", "--explain").status == 0


def test_names_with_escape_sequences_never_reach_the_terminal_raw(jon: Machine) -> None:
    folder = jon.home / ".password-store/aws"
    (folder / "evil\x1b[31m.gpg").write_bytes((folder / "work.gpg").read_bytes())
    shown = jon.ok("list")
    assert "\x1b" not in shown.out + shown.err
    assert "evil" in shown.out


def test_links_out_of_the_store_are_refused(jon: Machine, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (jon.home / ".password-store/aws/sub").symlink_to(outside)
    refused = jon.run("add", "sub/x", "--stdin", "--no-config", stdin=LINES)
    assert refused.status == 7
    assert not list(outside.iterdir())


def test_a_store_of_two_thousand_foreign_entries_is_listed_by_its_prefix(jon: Machine) -> None:
    store = jon.home / ".password-store"
    (store / "other").mkdir()
    for number in range(2000):
        (store / f"other/{number}.gpg").write_bytes(b"not ours")
    before = {path: path.stat().st_mtime_ns for path in (store / "other").iterdir()}
    assert jon.ok("list", "--credentials").out == "work\n"
    assert {path: path.stat().st_mtime_ns for path in (store / "other").iterdir()} == before


@needs_root
def test_a_read_only_store_is_read_and_not_written(jon: Machine) -> None:
    read_only(jon, jon.home / ".password-store")
    assert jon.ok("export", "work", "-n").status == 0
    refused = jon.run("add", "two", "--stdin", "--no-config", stdin=LINES)
    assert refused.status == 7
    assert "two.gpg': read-only" in refused.err


def test_a_dotfiles_repository_around_the_store_gets_no_commit(jon: Machine) -> None:
    subprocess.run(["git", "init", "-q", str(jon.home)], check=True)
    jon.ok("add", "two", "--stdin", "--no-config", stdin=LINES)
    done = subprocess.run(
        ["git", "-C", str(jon.home), "log"], capture_output=True, env=jon.environment()
    )
    assert done.returncode != 0  # no commit yet
