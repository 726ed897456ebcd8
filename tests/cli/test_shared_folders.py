"""Where shared vaults lie: read-only, among thousands of entries, behind links, in repositories."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conditions.mounts import read_only
from tests.conditions.other_user import needs_root
from tests.conditions.tools import tool
from tests.fakes import FakeAws
from tests.samples import ANN, JON, KEY_ID, LINES, SECRET
from tests.worlds.age_store import new_identity
from tests.worlds.backend_machine import BackendMachine, GpgHomes
from tests.worlds.machine import ON_STDERR, Machine, TypedAnswer
from tests.worlds.other_programs import OtherPrograms, commit_identity
from tests.worlds.pass_store import pass_machine

ADD = ("--stdin", "--no-config")
WRITERS = 8


def with_role(keeper: BackendMachine, aws: FakeAws) -> BackendMachine:
    user = aws.add_user("jonsmith")
    role = aws.add_role("admin", trusts=[user])
    keeper.machine.env["AWS_ENDPOINT_URL"] = aws.url
    keeper.machine.add("work", user.access_key_id, user.secret_access_key, "--no-config")
    keeper.machine.write_config(
        "[profile work]\nregion=eu-west-1\n[profile admin]\nregion=eu-west-1\n"
        f"source_profile=work\nrole_arn={role.arn}\n"
    )
    return keeper


# Prefixes


@pytest.mark.parametrize("prefix", [".git", "aws/.git", ".", "..", "../x", ".config/aws"])
def test_a_prefix_that_is_hidden_or_leads_out_is_refused(
    tmp_path: Path, keyrings: GpgHomes, prefix: str
) -> None:
    machine = pass_machine(tmp_path / "home", keyrings.jon)
    for argv in (("init", "--recipient", JON), ("add", "work", *ADD)):
        refused = machine.run("--prefix", prefix, *argv, stdin=LINES)
        assert refused.status == 2
        assert "is no prefix" in refused.err
    assert not (machine.home / ".password-store").exists()


# Read-only


@needs_root
def test_a_read_only_store_keeps_its_sessions_in_the_state_directory(
    keeper: BackendMachine, aws: FakeAws
) -> None:
    machine = with_role(keeper, aws).machine
    read_only(machine, keeper.store)
    first = machine.ok("exec", "admin", "--", "env")
    assert first.err == ""
    assert "AWS_SESSION_TOKEN=" in machine.ok("export", "admin").out
    assert aws.actions() == ["AssumeRole"]
    assert machine.ok("list", "--sessions").out.startswith("admin\t")
    before = keeper.snapshot()
    for argv in (("add", "new", *ADD), ("add", "work", *ADD, "--force"), ("remove", "work", "-f")):
        refused = machine.run(*argv, stdin=LINES)
        assert (refused.status, refused.out) == (7, ""), refused
        assert "read-only" in refused.err
    assert keeper.snapshot() == before


@needs_root
def test_without_any_writable_directory_exec_works_and_warns_once(
    keeper: BackendMachine, aws: FakeAws
) -> None:
    machine = with_role(keeper, aws).machine
    read_only(machine, machine.home)
    for _ in range(2):
        assert machine.ok("exec", "admin", "--", "true").err == ""  # nobody is there to be told
    assert aws.actions() == ["AssumeRole", "AssumeRole"]
    machine.launcher = (*ON_STDERR, *machine.launcher)
    shown = machine.on_terminal("exec", "admin", "--", "true")
    assert shown.status == 0, shown
    assert shown.tty.count("filevault: ") == 1, shown.tty
    assert shown.tty.count("warning: no session is kept") == 1


@needs_root
def test_what_cannot_be_remembered_is_not_written_without_a_pin(keeper: BackendMachine) -> None:
    machine = keeper.machine
    pin = re.search(r"^pin: (\w+)", machine.ok("recipients", "list").out, re.MULTILINE)
    assert pin is not None
    read_only(machine, machine.state)
    result = machine.run("add", "work", *ADD, stdin=LINES)
    if keeper.kind == "file":  # whose key proves more than any memory of recipients
        assert result.status == 0, result
        return
    assert (result.status, "FILEVAULT_PIN" in result.err) == (7, True), result
    assert not keeper.path("work").exists()
    machine.ok("add", "work", *ADD, stdin=LINES, env={"FILEVAULT_PIN": pin[1]})
    wrong = machine.run("add", "two", *ADD, stdin=LINES, env={"FILEVAULT_PIN": "0" * 64})
    assert wrong.status == 10
    assert KEY_ID in machine.ok("export", "work", "-n").out


# Thousands of entries


@pytest.mark.parametrize("kind", ["pass", "age"])
def test_a_large_store_is_neither_decrypted_nor_looked_at_beside_the_prefix(
    kind: str, tmp_path: Path, keyrings: GpgHomes
) -> None:
    tool("strace")
    keeper = BackendMachine(kind, tmp_path / "home", keyrings)
    machine = keeper.machine
    machine.env["FILEVAULT_PREFIX"] = "aws"
    root = keeper.store / "aws"
    machine.ok("add", "work", *ADD, stdin=LINES)
    for folder, count in ((keeper.store / "other", 1000), (keeper.store / "deep/er", 500),
                          (root / "team", 500)):  # fmt: skip
        folder.mkdir(parents=True)
        for number in range(count):
            (folder / f"{number:03}{keeper.suffix}").write_bytes(b"not even encrypted")
    calls = machine.home / "calls"
    programs = machine.home / "programs"
    programs.mkdir()
    for name in filter(shutil.which, ("gpg", "gpg2", "age", "gpgconf", "git")):
        script = f'#!/bin/sh\necho "{name} $*" >> {calls}\nexec {shutil.which(name)} "$@"\n'
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
    machine.env["PATH"] = f"{programs}:{machine.env['PATH']}"
    trace = machine.home / "trace"
    plain = machine.launcher
    machine.launcher = ("strace", "-f", "-e", "trace=%file", "-o", str(trace), *plain)
    names = machine.ok("list", "--credentials").out.split()
    assert len(names) == 501
    for form in ((), ("--json",), ("--sessions",)):
        assert machine.ok("list", *form, env=keeper.missing).err == ""
        opened = trace.read_text()
        assert "other" not in re.sub(r"\S*site-packages\S*|/usr/lib\S*", "", opened)
        assert "deep" not in re.findall(r'"([^"]*)"', opened)
    assert not calls.exists()
    # One key is one file, and one run of gpg.
    assert KEY_ID in machine.ok("export", "work", "-n").out
    names = re.findall(r'"([^"]*)"', trace.read_text())
    assert not [name for name in names if re.search(r"(^|/)\d{3}\.(gpg|age)$", name)]
    recorded = calls.read_text().splitlines() if calls.exists() else []
    assert len([line for line in recorded if "--decrypt" in line or " -d" in line]) == (
        1 if kind == "pass" else 0
    )
    machine.launcher = plain
    machine.ok("add", "two", *ADD, stdin=LINES)
    machine.ok("remove", "work", "--force")
    assert len(list((keeper.store / "other").iterdir())) == 1000


def test_every_key_that_is_not_ours_is_left_alone_by_a_change_of_recipients(
    tmp_path: Path, keyrings: GpgHomes
) -> None:
    keeper = BackendMachine("pass", tmp_path / "home", keyrings)
    tools = keeper.tools
    tools.run("pass", "insert", "-m", "mail/jon", stdin="hunter2\n")
    keeper.add("work")
    before = (keeper.store / "mail/jon.gpg").stat()
    keeper.machine.ok("recipients", "add", ANN)
    after = (keeper.store / "mail/jon.gpg").stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)


# Links


@pytest.mark.parametrize("kind", ["pass", "age", "file"])
def test_a_store_behind_a_link_is_the_same_store(
    kind: str, tmp_path: Path, keyrings: GpgHomes
) -> None:
    keeper = BackendMachine(kind, tmp_path / "home", keyrings)
    machine = keeper.machine
    real = machine.home / "dotfiles/store"
    real.parent.mkdir()
    shutil.rmtree(machine.state)
    keeper.store.rename(real)
    keeper.store.symlink_to(real)
    machine.ok("git", "init", "--quiet")
    machine.ok("add", "work", *ADD, stdin=LINES)
    machine.ok("add", "work", *ADD, "--force", stdin=LINES)
    assert keeper.store.is_symlink()
    assert KEY_ID in keeper.show("work").decode()
    # By its real path it is the same vault, with the same memory.
    machine.ok("export", "work", "-n", "--strict", "--vault", str(real))
    assert len(list(machine.state.iterdir())) == 1
    assert machine.ok("git", "log", "--format=%s").out.count("Add given password for") == 2
    if kind == "pass":
        assert keeper.tools.run("pass", "show", "aws/work").out.startswith(SECRET)
        assert keeper.tools.run("pass", "git", "status", "--porcelain").out == ""


def test_passages_store_behind_a_link_is_passages_own(tmp_path: Path) -> None:
    tool("age")
    machine = Machine(tmp_path / "home")
    recipient = new_identity(machine.home / ".passage/identities")
    real = machine.home / "dotfiles/passage"
    real.mkdir(parents=True)
    (real / ".age-recipients").write_text(f"{recipient}\n")
    (machine.home / ".passage/store").symlink_to(real)
    machine.env["FILEVAULT_BACKEND"] = "age"
    machine.ok("add", "work", *ADD, stdin=LINES)
    assert (real / "aws/work.age").exists()
    assert KEY_ID in machine.ok("export", "work", "-n", "--vault", str(real)).out


def test_links_below_the_root_are_refused_with_what_to_do(
    keeper: BackendMachine, tmp_path: Path
) -> None:
    machine = keeper.machine
    machine.ok("add", "work", *ADD, stdin=LINES)
    outside = tmp_path / "outside"
    outside.mkdir()
    keeper.path("work").rename(outside / "work")
    keeper.path("work").symlink_to(outside / "work")
    (keeper.root / "team").symlink_to(outside)
    for argv in (
        ("export", "work", "-n"),
        ("export", "team/x", "-n"),
        ("add", "work", *ADD, "--force"),
        ("add", "team/x", *ADD),
        ("remove", "team/x", "--force"),
    ):
        refused = machine.run(*argv, stdin=LINES)
        assert (refused.status, refused.out) == (7, ""), (argv, refused)
        assert "link" in refused.err
    assert machine.ok("list", "--credentials").out == ""
    assert [path.name for path in outside.iterdir()] == ["work"]


# Repositories


def test_eight_parallel_writers_lose_nothing_and_leave_nothing_uncommitted(
    keeper: BackendMachine,
) -> None:
    machine = keeper.machine
    machine.ok("git", "init", "--quiet")
    env = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET}
    writers = [
        machine.popen("add", f"team{number % 2}/p{number}", "--env", "--no-config", env=env)
        for number in range(WRITERS)
    ]
    for writer in writers:
        _, complaint = writer.communicate(timeout=60)
        assert (writer.returncode, complaint) == (0, b"")
    names = sorted(f"team{number % 2}/p{number}" for number in range(WRITERS))
    assert machine.ok("list", "--credentials").out.split() == names
    for name in names[:: WRITERS - 1]:
        assert KEY_ID in machine.ok("export", name, "-n").out
    assert machine.ok("git", "status", "--porcelain", "--untracked-files=all").out == ""
    subjects = machine.ok("git", "log", "--format=%s").out.splitlines()
    assert len([line for line in subjects if line.startswith("Add given password")]) == WRITERS
    assert machine.ok("git", "fsck", "--strict").status == 0


def test_parallel_writers_of_one_item_replace_it_whole_or_say_so(keeper: BackendMachine) -> None:
    machine = keeper.machine
    machine.ok("git", "init", "--quiet")
    machine.ok("add", "work", *ADD, stdin=LINES)
    keys = [f"AKIAQNZGKIQY56JQ7W{number:02}" for number in range(4)]
    writers = [
        machine.popen(
            *("add", "work", "--env", "--no-config", "--force"),
            env={"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": SECRET},
        )
        for key in keys
    ]
    statuses = []
    for writer in writers:
        _, complaint = writer.communicate(timeout=60)
        statuses.append(writer.returncode)
        assert writer.returncode == 0 or b"changed by another process" in complaint
    assert set(statuses) <= {0, 7}
    assert 0 in statuses
    shown = machine.ok("export", "work", "-n").out
    winners = [key for key, status in zip(keys, statuses, strict=True) if status == 0]
    assert any(key in shown for key in winners)
    assert machine.ok("git", "status", "--porcelain").out == ""


def test_an_existing_repository_of_a_vault_is_used_and_not_remade(
    keeper: BackendMachine, aws: FakeAws
) -> None:
    machine = keeper.machine
    tools = OtherPrograms(machine)
    tools.run("git", "-C", str(keeper.store), "init", "-q")
    (keeper.store / "README").write_text("mine")
    tools.run("git", "-C", str(keeper.store), "add", "README")
    tools.run("git", "-C", str(keeper.store), "commit", "-qm", "mine")
    assert machine.run("git", "init", "--quiet").status == 10  # whose repository is it?
    machine.ok("git", "adopt")
    assert machine.ok("git", "log", "--format=%s").out == "mine\n"
    (keeper.store / "draft").write_text("staged by the person, and not ours to commit")
    tools.run("git", "-C", str(keeper.store), "add", "draft")
    with_role(keeper, aws)
    machine.ok("export", "admin")
    files = machine.ok("git", "ls-tree", "-r", "--name-only", "HEAD").out.splitlines()
    assert keeper.path("work").relative_to(keeper.store).as_posix() in files
    assert "draft" not in files
    assert not any(name.endswith(".fvs") or "session-key" in name for name in files)
    assert "A  draft" in machine.ok("git", "status", "--porcelain").out


def test_a_vault_travels_by_git_with_all_that_opens_it(
    keeper: BackendMachine, tmp_path: Path
) -> None:
    machine = keeper.machine
    machine.ok("git", "init", "--quiet")
    machine.ok("add", "work", *ADD, stdin=LINES)
    away = Machine(tmp_path / "away")
    away.env |= {name: text for name, text in machine.env.items() if name != "HOME"}
    commit_identity(away)
    there = away.home / keeper.store.relative_to(machine.home)
    there.parent.mkdir(parents=True, exist_ok=True)
    OtherPrograms(away).run("git", "clone", "--quiet", str(keeper.store), str(there))
    if keeper.kind == "age":
        away.env["FILEVAULT_AGE_IDENTITY_FILE"] = str(keeper.identities)
    assert KEY_ID in away.ok("export", "work", "-n").out
    away.ok("add", "from-away", *ADD, stdin=LINES)
    machine.ok("git", "pull", "--quiet", str(there), "main")
    assert machine.ok("list", "--credentials").out == "from-away\nwork\n"
    assert KEY_ID in machine.ok("export", "from-away", "-n").out


def test_a_commit_that_git_refuses_is_status_11_and_the_key_is_stored(
    keeper: BackendMachine,
) -> None:
    machine = keeper.machine
    machine.ok("git", "init", "--quiet")
    hook = keeper.store / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho no commits on Fridays >&2\nexit 1\n")
    hook.chmod(0o755)
    machine.ok("git", "adopt")
    refused = machine.run("add", "work", *ADD, stdin=LINES)
    assert refused.status == 11
    assert "saved, but not committed" in refused.err
    assert "no commits on Fridays" in refused.err
    assert KEY_ID in machine.ok("export", "work", "-n").out
    hook.unlink()
    machine.ok("git", "adopt")
    machine.ok("add", "work", *ADD, "--force", stdin=LINES)
    assert machine.ok("git", "status", "--porcelain").out == ""


def test_a_dotfiles_repository_around_the_store_gets_no_commit(keeper: BackendMachine) -> None:
    machine = keeper.machine
    subprocess.run(["git", "init", "-q", str(machine.home)], check=True, env=machine.environment())
    machine.ok("add", "work", *ADD, stdin=LINES)
    log = ["git", "-C", str(machine.home), "log"]
    assert subprocess.run(log, capture_output=True, env=machine.environment()).returncode != 0
    assert machine.run("git", "status").status == 4


# Variables of pass


def test_the_variables_of_pass_mean_the_same_to_both(tmp_path: Path, keyrings: GpgHomes) -> None:
    tool("pass")
    machine = pass_machine(tmp_path / "home", keyrings.jon)
    tools = OtherPrograms(machine)
    machine.env["PASSWORD_STORE_DIR"] = f"{machine.home}/elsewhere/"
    tools.run("pass", "init", JON)
    machine.ok("add", "work", *ADD, stdin=LINES)
    assert tools.run("pass", "show", "aws/work").out.startswith(SECRET)
    machine.env["PASSWORD_STORE_KEY"] = f"{JON} {keyrings.fingerprints[ANN]}"
    refused = machine.run("add", "two", *ADD, stdin=LINES)
    assert (refused.status, "env:PASSWORD_STORE_KEY is new" in refused.err) == (10, True)
    machine.ok("recipients", "accept")
    machine.ok("add", "two", *ADD, stdin=LINES)
    file = str(machine.home / "elsewhere/aws/two.gpg")
    listing = tools.run("gpg", "--batch", "--list-only", "--list-packets", file)
    assert (listing.out + listing.err).count("pubkey enc packet") == 2
    changed = machine.run("recipients", "add", ANN)
    assert (changed.status, "PASSWORD_STORE_KEY" in changed.err) == (2, True)


def test_an_entry_at_the_stores_top_is_found_with_an_empty_prefix(
    tmp_path: Path, keyrings: GpgHomes
) -> None:
    tool("pass")
    machine = pass_machine(tmp_path / "home", keyrings.jon)
    tools = OtherPrograms(machine)
    tools.run("pass", "init", JON)
    text = f"{SECRET}\naws_access_key_id: {KEY_ID}\n"
    tools.run("pass", "insert", "-m", "work", stdin=text)
    missing = machine.run("export", "work", "-n")
    assert missing.status == 3
    assert "--prefix ''" in missing.err
    assert KEY_ID in machine.ok("export", "work", "-n", "--prefix", "").out
    assert KEY_ID in machine.ok("export", "work", "-n", env={"FILEVAULT_PREFIX": ""}).out
    answers = [TypedAnswer("Replace", "n")]
    kept = machine.on_terminal("add", "work", "--prefix", "", "--no-config", answers=answers)
    assert (kept.status, "nothing was changed" in kept.err) == (0, True)
