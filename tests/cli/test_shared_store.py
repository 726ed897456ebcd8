"""Stores that others can write: clones, planted keys, parallel writers, read-only ones."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conditions.mounts import read_only
from tests.conditions.other_user import needs_root
from tests.samples import ANN, KEY_ID, LINES, OTHER_ACCOUNT, SECRET
from tests.worlds.machine import Machine
from tests.worlds.other_programs import OtherPrograms, commit_identity
from tests.worlds.pass_store import GpgHome, pass_machine


@pytest.fixture
def committed_vault(tmp_path: Path, gpg: GpgHome) -> Machine:
    machine = pass_machine(tmp_path / "home", gpg)
    commit_identity(machine)
    machine.ok("init", "--recipient", "jon@example.com")
    machine.ok("add", "work", "--stdin", "--no-config", stdin=LINES)
    return machine


def test_eight_parallel_writers_lose_nothing_and_leave_nothing_uncommitted(
    committed_vault: Machine,
) -> None:
    committed_vault.ok("git", "init")
    writers = [
        subprocess.Popen(
            [*committed_vault.launcher, "add", f"p{number}", "--env", "--no-config"],
            env=committed_vault.environment(
                {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET}
            ),
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
    names = committed_vault.ok("list", "--credentials").out.split()
    assert names == [*(f"p{number}" for number in range(8)), "work"]
    assert committed_vault.ok("git", "status", "--porcelain").out == ""
    assert len(committed_vault.ok("git", "log", "--format=%s").out.splitlines()) == 9


def test_a_nearer_recipients_file_gets_nothing_encrypted(committed_vault: Machine) -> None:
    (committed_vault.home / ".password-store/aws/.gpg-id").write_text(f"{ANN}\n")
    refused = committed_vault.run("add", "two", "--stdin", "--no-config", stdin=LINES)
    assert refused.status == 10
    assert "is new" in refused.err
    assert not (committed_vault.home / ".password-store/aws/two.gpg").exists()
    assert committed_vault.ok("export", "work", "-n").status == 0


def test_an_option_in_a_recipients_file_is_an_error(committed_vault: Machine) -> None:
    (committed_vault.home / ".password-store/.gpg-id").write_text(
        "--output=/tmp/x\njon@example.com\n"
    )
    refused = committed_vault.run("add", "two", "--stdin", "--no-config", stdin=LINES)
    assert refused.status in (7, 10)
    assert len(refused.err.splitlines()) <= 2


def test_a_key_planted_for_a_profile_with_another_source_waits_for_a_word(
    committed_vault: Machine, gpg: GpgHome
) -> None:
    committed_vault.write_config(
        "[profile work]\nregion=eu-west-1\n[profile admin]\nregion=eu-west-1\n"
        "source_profile=work\nrole_arn=arn:aws:iam::029608264753:role/admin\n"
    )
    text = f"{SECRET}\naws_access_key_id: {OTHER_ACCOUNT}\n"
    OtherPrograms(committed_vault).run("pass", "insert", "-m", "aws/admin", stdin=text)
    refused = committed_vault.run("export", "admin", "--explain")
    assert refused.status == 10
    assert "has appeared" in refused.err
    committed_vault.ok("recipients", "accept", "admin")
    assert committed_vault.ok("export", "admin", "--explain").status == 0


def test_names_with_escape_sequences_never_reach_the_terminal_raw(committed_vault: Machine) -> None:
    folder = committed_vault.home / ".password-store/aws"
    (folder / "evil\x1b[31m.gpg").write_bytes((folder / "work.gpg").read_bytes())
    shown = committed_vault.ok("list")
    assert "\x1b" not in shown.out + shown.err
    assert "evil" in shown.out


def test_links_out_of_the_store_are_refused(committed_vault: Machine, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (committed_vault.home / ".password-store/aws/sub").symlink_to(outside)
    refused = committed_vault.run("add", "sub/x", "--stdin", "--no-config", stdin=LINES)
    assert refused.status == 7
    assert not list(outside.iterdir())


def test_a_store_of_two_thousand_foreign_entries_is_listed_by_its_prefix(
    committed_vault: Machine,
) -> None:
    store = committed_vault.home / ".password-store"
    (store / "other").mkdir()
    for number in range(2000):
        (store / f"other/{number}.gpg").write_bytes(b"not ours")
    before = {path: path.stat().st_mtime_ns for path in (store / "other").iterdir()}
    assert committed_vault.ok("list", "--credentials").out == "work\n"
    assert {path: path.stat().st_mtime_ns for path in (store / "other").iterdir()} == before


@needs_root
def test_a_read_only_store_is_read_and_not_written(committed_vault: Machine) -> None:
    read_only(committed_vault, committed_vault.home / ".password-store")
    assert committed_vault.ok("export", "work", "-n").status == 0
    refused = committed_vault.run("add", "two", "--stdin", "--no-config", stdin=LINES)
    assert refused.status == 7
    assert "two.gpg': read-only" in refused.err


def test_a_dotfiles_repository_around_the_store_gets_no_commit(committed_vault: Machine) -> None:
    subprocess.run(["git", "init", "-q", str(committed_vault.home)], check=True)
    committed_vault.ok("add", "two", "--stdin", "--no-config", stdin=LINES)
    done = subprocess.run(
        ["git", "-C", str(committed_vault.home), "log"],
        capture_output=True,
        env=committed_vault.environment(),
    )
    assert done.returncode != 0  # no commit yet
