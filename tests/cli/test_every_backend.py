"""Every command on every kind of vault: one contract, tried on `file`, `pass` and `age`."""

from __future__ import annotations

import json
import re
import shutil

import pytest

from tests.fakes import FakeAws
from tests.samples import KEY_ID, LINES, OTHER_ACCOUNT, SECOND_ID, SECRET
from tests.worlds.backend_machine import BackendMachine
from tests.worlds.in_process import InProcess
from tests.worlds.machine import ProcessResult, TypedAnswer

SECOND_SECRET = "secondUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
SECOND_LINES = f"{SECOND_ID}\n{SECOND_SECRET}\n"
PLAIN = ("--stdin", "--no-config")


@pytest.fixture
def stored(keeper: BackendMachine) -> BackendMachine:
    """The same with a key for `work`."""
    keeper.add("work")
    return keeper


def refused(result: ProcessResult, status: int, *texts: str) -> None:
    """One error line, at most one hint, nothing on stdout, no secret anywhere."""
    assert (result.status, result.out) == (status, ""), result
    lines = [line for line in result.err.splitlines() if "warning:" not in line]
    assert lines[0].startswith("filevault: error: "), result.err
    assert all(line.startswith("filevault: hint: ") for line in lines[1:]), result.err
    assert len(lines) <= 2, result.err
    for text in texts:
        assert text in result.err
    assert SECRET not in result.err
    assert SECOND_SECRET not in result.err


def roles(keeper: BackendMachine, aws: FakeAws) -> str:
    """Let `work` assume the role of `admin`; return the ARN."""
    user = aws.add_user("jonsmith")
    role = aws.add_role("admin", trusts=[user])
    keeper.machine.env["AWS_ENDPOINT_URL"] = aws.url
    keeper.machine.add("work", user.access_key_id, user.secret_access_key, "--no-config")
    keeper.machine.write_config(
        "[profile work]\nregion=eu-west-1\n[profile admin]\nregion=eu-west-1\n"
        f"source_profile=work\nrole_arn={role.arn}\n"
    )
    return role.arn


def test_a_new_vault_is_known_here_and_init_does_not_undo_it(keeper: BackendMachine) -> None:
    before = keeper.snapshot()
    listed = keeper.machine.ok("recipients", "list").out
    assert f"backend: {keeper.kind}\n" in listed
    assert re.search(r"^pin: [0-9a-f]{64} \(known here\)$", listed, re.MULTILINE)
    again = keeper.machine.run("init")
    assert again.status == (3 if keeper.kind == "file" else 0), again
    assert keeper.snapshot() == before


def test_the_files_of_a_vault_are_the_owners_alone(stored: BackendMachine) -> None:
    for path in (stored.root, *stored.root.rglob("*")):
        assert path.stat().st_mode & 0o7777 == (0o700 if path.is_dir() else 0o600), path


def test_a_key_comes_from_stdin_environment_or_json(keeper: BackendMachine) -> None:
    machine = keeper.machine
    machine.ok("add", "lines", *PLAIN, stdin=LINES)
    machine.ok(
        *("add", "env", "--env", "--no-config"),
        env={"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET},
    )
    made = {"AccessKeyId": KEY_ID, "SecretAccessKey": SECRET, "CreateDate": "2026-01-02T03:04:05Z"}
    machine.ok("add", "json", *PLAIN, stdin=json.dumps({"AccessKey": made}))
    for name in ("lines", "env", "json"):
        first, second, *_ = keeper.show(name).decode().splitlines()
        assert (first, second) == (SECRET, f"aws_access_key_id: {KEY_ID}")
    assert b"\ncreated: 2026-01-02T03:04:05Z\ncreated_from: iam\n" in keeper.show("json")
    assert machine.ok("list", "--credentials").out == "env\njson\nlines\n"


def test_a_key_is_typed_at_the_terminal_and_the_secret_not_shown(keeper: BackendMachine) -> None:
    answers = [TypedAnswer("ccess key", KEY_ID), TypedAnswer("ecret", SECRET)]
    typed = keeper.machine.on_terminal("add", "work", "--no-config", answers=answers)
    assert typed.status == 0, typed
    assert SECRET not in typed.everything
    assert keeper.show("work").decode().startswith(f"{SECRET}\n")


def test_a_new_profile_goes_into_the_config(keeper: BackendMachine) -> None:
    keeper.machine.ok("add", "work", "--stdin", "--region", "eu-west-1", stdin=LINES)
    assert "[profile work]\nregion = eu-west-1\n" in keeper.machine.config.read_text()


def test_every_format_is_exported(stored: BackendMachine) -> None:
    forms = {
        "env": f"AWS_ACCESS_KEY_ID={KEY_ID}\nAWS_SECRET_ACCESS_KEY={SECRET}\n",
        "export-env": f"export AWS_ACCESS_KEY_ID={KEY_ID}\n",
        "json": f'"AccessKeyId": "{KEY_ID}"',
        "ini": f"[work]\naws_access_key_id={KEY_ID}\n",
        "fish": f"AWS_ACCESS_KEY_ID {KEY_ID}",
        "powershell": f"$Env:AWS_ACCESS_KEY_ID = '{KEY_ID}'",
        "env-file": f"AWS_ACCESS_KEY_ID={KEY_ID}\n",
    }
    for form, expected in forms.items():
        result = stored.machine.ok("export", "work", "-n", "--format", form)
        assert expected in result.out
        assert (SECRET in result.out, result.err) == (True, "")


def test_exec_runs_a_command_with_the_credentials_and_its_own_status(
    stored: BackendMachine,
) -> None:
    script = 'echo "$AWS_VAULT $AWS_ACCESS_KEY_ID $AWS_SECRET_ACCESS_KEY"; exit 7'
    result = stored.machine.run("exec", "work", "-n", "--", "sh", "-c", script)
    assert (result.status, result.out, result.err) == (7, f"work {KEY_ID} {SECRET}\n", "")


def test_the_child_inherits_nothing_that_unlocks_the_vault(stored: BackendMachine) -> None:
    if stored.kind == "age":
        lines = stored.identities.read_text().splitlines()
        stored.machine.env["FILEVAULT_AGE_IDENTITY"] = lines[-1]
        stored.identities.unlink()
    shown = stored.machine.ok("exec", "work", "-n", "--", "env").out
    assert f"AWS_ACCESS_KEY_ID={KEY_ID}\n" in shown
    assert not re.search(r"^FILEVAULT_(PASSPHRASE|KEY|AGE)", shown, re.MULTILINE)
    assert "AGE-SECRET-KEY" not in shown


def test_replacing_a_key_needs_a_word(stored: BackendMachine) -> None:
    before = stored.snapshot()
    refused(stored.machine.run("add", "work", *PLAIN, stdin=SECOND_LINES), 5, "--force")
    assert stored.snapshot() == before
    answers = [
        TypedAnswer("Replace", "y"),
        TypedAnswer("ccess key", SECOND_ID),
        TypedAnswer("ecret", SECOND_SECRET),
    ]
    typed = stored.machine.on_terminal("add", "work", "--no-config", answers=answers)
    assert typed.status == 0, typed
    assert stored.show("work").startswith(SECOND_SECRET.encode())


NOTES = (
    b"# mine, do not touch\r\n\r\n  indented: yes\r\notpauth://totp/x?secret=GEZDGNBVGY3TQOJQ\r\n",
    b"login: jon\nregion: eu-west-1\nurl: https://console.aws.amazon.com\n\n\nno newline here",
    b"line without colon\n\tkey:value\nT\xc3\xa4g: \xe2\x82\xac\nnot utf-8: \xff\xfe\n",
    b"aws_access_key_id: a second line of that name\nunknown_key:  two blanks \n",
    b"mfa_serial_of_old: x\nfilevaults: 2\nlast: \r",
)


def test_a_replacement_keeps_every_other_byte(keeper: BackendMachine) -> None:
    for number, notes in enumerate(NOTES):
        name, end = f"work{number}", b"\r\n" if number == 0 else b"\n"
        old = end.join((SECRET.encode(), b"aws_access_key_id: " + KEY_ID.encode(), notes))
        keeper.put(name, old)
        keeper.machine.ok("add", name, *PLAIN, "--force", stdin=SECOND_LINES)
        new = keeper.show(name)
        assert new.startswith(SECOND_SECRET.encode() + end)
        assert new.endswith(end + notes)
        assert b"aws_access_key_id: " + SECOND_ID.encode() + end in new
        assert SECRET.encode() not in new
        assert KEY_ID.encode() not in new
        # A further rewrite changes the key's own lines only, in their places.
        keeper.machine.ok("add", name, *PLAIN, "--force", stdin=LINES)
        lines, again = new.split(b"\n"), keeper.show(name).split(b"\n")
        pairs = zip(lines, again, strict=True)
        changed = {a.partition(b":")[0] for a, b in pairs if a != b} - {b"created"}
        assert changed == {SECOND_SECRET.encode() + end[:-1], b"aws_access_key_id"}
        given = keeper.machine.ok("export", name, "-n", "--format", "json").out
        assert json.loads(given)["AccessKeyId"] == KEY_ID


def test_other_peoples_forms_are_read_and_rewritten(keeper: BackendMachine) -> None:
    forms = {
        "labels": f"{SECRET}\naccess_key: {KEY_ID}\nregion: eu-west-1\n",
        "process": json.dumps({"Version": 1, "AccessKeyId": KEY_ID, "SecretAccessKey": SECRET}),
        "shell": f"export AWS_ACCESS_KEY_ID={KEY_ID}\nexport AWS_SECRET_ACCESS_KEY='{SECRET}'\n",
        "ini": f"[default]\naws_access_key_id = {KEY_ID}\naws_secret_access_key = {SECRET}\n",
    }
    for name, text in forms.items():
        keeper.put(name, text.encode())
        given = json.loads(keeper.machine.ok("export", name, "-n", "--format", "json").out)
        assert (given["AccessKeyId"], given["SecretAccessKey"]) == (KEY_ID, SECRET)
        keeper.machine.ok("add", name, *PLAIN, "--force", stdin=SECOND_LINES)
        text_now = keeper.show(name).decode()
        assert text_now.startswith(f"{SECOND_SECRET}\n")
        assert f"filevault: 1 name={name}\n" in text_now
        assert SECRET not in text_now
    assert "region: eu-west-1\n" in keeper.show("labels").decode()


def test_what_is_listed_needs_no_unlocking(stored: BackendMachine) -> None:
    machine = stored.machine
    machine.ok("add", "team/prod", *PLAIN, stdin=LINES)
    machine.write_config("[profile work]\nregion=eu-west-1\n[profile other]\n")
    locked = stored.missing
    assert machine.ok("list", "--credentials", env=locked).out == "team/prod\nwork\n"
    assert machine.ok("list", "--profiles", env=locked).out == "work\nother\n"
    assert machine.ok("ls", "--sessions", env=locked).out == ""
    table = machine.ok("list", env=locked).out.splitlines()
    assert table[0].split() == ["Profile", "Credentials", "Age", "Sessions"]
    assert table[2].split() == ["work", "work", "≥0d", "-"]
    assert table[4].split() == ["-", "team/prod", "≥0d", "-"]
    rows = {row["profile"]: row for row in json.loads(machine.ok("list", "--json", env=locked).out)}
    assert {name: row["has_credentials"] for name, row in rows.items()} == {
        "work": True, "other": False, "team/prod": True,
    }  # fmt: skip
    assert rows["work"]["created_from"] == "add"


def test_names_of_all_kinds_are_kept_apart(keeper: BackendMachine) -> None:
    names = ["-dash: 100%", "team/deep/prod", "team/deep", "ünï.b"]
    for number, name in enumerate(names):
        key = f"AKIAQNZGKIQY56JQ7W{number:02}"
        keeper.machine.ok("add", *PLAIN, "--", name, stdin=f"{key}\n{SECRET}\n")
    assert keeper.machine.ok("list", "--credentials").out.splitlines() == sorted(names)
    for number, name in enumerate(names):
        word = ("--format", "json", "--", name) if name.startswith("-") else (name,)
        given = keeper.machine.run("export", "-n", *word)
        assert f"AKIAQNZGKIQY56JQ7W{number:02}" in given.out, given
        keeper.machine.ok("remove", "--force", "--", name)
    assert [path for path in keeper.store.iterdir() if not path.name.startswith(".")] == []
    assert keeper.machine.ok("list", "--credentials").out == ""


def test_the_plan_is_explained_without_a_call_or_a_key(
    stored: BackendMachine, aws: FakeAws
) -> None:
    roles_config = "[profile work]\nregion=eu-west-1\n[profile admin]\nregion=eu-west-1\n"
    roles_config += "source_profile=work\nrole_arn=arn:aws:iam::029608264753:role/admin\n"
    stored.machine.write_config(roles_config)
    stored.machine.env["AWS_ENDPOINT_URL"] = aws.url
    for argv in (("export", "admin", "--explain"), ("exec", "admin", "--explain", "--", "false")):
        shown = stored.machine.ok(*argv, env=stored.missing)
        assert "AssumeRole" in shown.out
        assert SECRET not in shown.out
    assert aws.calls == []


def test_a_session_is_kept_outside_the_store_and_used_again(
    keeper: BackendMachine, aws: FakeAws
) -> None:
    roles(keeper, aws)
    machine, before = keeper.machine, keeper.snapshot()
    first = machine.ok("export", "admin").out
    assert machine.ok("exec", "admin", "--", "true").err == ""
    assert machine.ok("export", "admin").out == first
    assert aws.actions() == ["AssumeRole"]
    assert machine.ok("list", "--sessions", env=keeper.missing).out.startswith("admin\tsts.Assume")
    assert keeper.snapshot() == before
    token = next(line for line in first.splitlines() if line.startswith("AWS_SESSION_TOKEN="))
    for path in (*machine.state.rglob("*"), *keeper.store.rglob("*")):
        assert not path.is_file() or token.partition("=")[2].encode() not in path.read_bytes()
    (sealed,) = machine.state.glob(f"*/session-key{keeper.suffix}")
    assert sealed.stat().st_mode & 0o777 == 0o600
    assert machine.ok("export", "admin", "--refresh").out != first
    assert aws.actions() == ["AssumeRole", "AssumeRole"]


def test_a_session_needs_what_unlocks_the_vault(keeper: BackendMachine, aws: FakeAws) -> None:
    roles(keeper, aws)
    keeper.machine.ok("export", "admin")
    aws.reset_calls()
    for env in (keeper.missing, keeper.wrong):
        assert keeper.machine.run("export", "admin", env=env).status == 5
    assert aws.calls == []
    keeper.machine.ok("export", "admin")
    assert aws.calls == []  # being locked out replaced nothing


def test_clear_and_remove_take_sessions_away(keeper: BackendMachine, aws: FakeAws) -> None:
    roles(keeper, aws)
    machine = keeper.machine
    machine.ok("export", "admin")
    assert machine.ok("clear", "work", env=keeper.missing).out == "Cleared 0 sessions.\n"
    assert machine.ok("clear", "admin", env=keeper.missing).out == "Cleared 1 session.\n"
    machine.ok("export", "admin")
    assert machine.ok("clear").out == "Cleared 1 session.\n"
    machine.ok("export", "admin")
    assert machine.ok("remove", "work", "-s").out == "Deleted 1 session.\n"
    machine.ok("export", "admin")
    aws.reset_calls()
    removed = machine.ok("remove", "work", "--force", env=keeper.missing).out
    assert removed == "Deleted the key of profile work.\nDeleted 1 session.\n"
    assert not keeper.path("work").exists()
    assert machine.run("export", "admin").status != 0
    assert aws.calls == []


def test_a_replaced_key_takes_its_sessions_along(keeper: BackendMachine, aws: FakeAws) -> None:
    roles(keeper, aws)
    keeper.machine.ok("export", "admin")
    user = aws.add_user("second")
    lines = f"{user.access_key_id}\n{user.secret_access_key}\n"
    result = keeper.machine.ok("add", "work", *PLAIN, "--force", stdin=lines)
    assert "Deleted 1 session made from the old key." in result.out


def test_remove_asks(stored: BackendMachine) -> None:
    refused(stored.machine.run("remove", "work"), 5, "--force")
    kept = stored.machine.on_terminal("remove", "work", answers=[TypedAnswer("Delete", "n")])
    assert (kept.status, stored.path("work").exists()) == (0, True)
    gone = stored.machine.on_terminal("remove", "work", answers=[TypedAnswer("Delete", "y")])
    assert (gone.status, stored.path("work").exists()) == (0, False)
    refused(stored.machine.run("remove", "work", "--force"), 4, "no key for 'work'")


def test_several_keys_are_removed_after_one_question(file_keeper: BackendMachine) -> None:
    machine = file_keeper.machine
    for name in ("a", "b", "c"):
        file_keeper.add(name)

    def left() -> list[str]:
        return [name for name in ("a", "b", "c") if file_keeper.path(name).exists()]

    refused(machine.run("remove", "--force"), 2, "no profile is given")
    refused(machine.run("remove", "a", "b"), 5, "the keys of 'a', 'b' would be deleted")
    refused(machine.run("remove", "a", "nowhere", "--force"), 4, "no key for 'nowhere'")
    assert left() == ["a", "b", "c"]
    question = TypedAnswer("Delete the keys of 2 profiles, a, b?", "y")
    gone = machine.on_terminal("remove", "a", "b", "a", answers=[question])
    assert (gone.status, left()) == (0, ["c"])
    assert gone.out == "Deleted the key of profile a.\nDeleted the key of profile b.\n"


def test_the_sessions_of_several_profiles_are_cleared_or_none(file_keeper: BackendMachine) -> None:
    machine = file_keeper.machine
    file_keeper.add("key")
    (state,) = machine.state.iterdir()
    files = [state / f"sessions/{name}/1.fvs" for name in ("a", "b", "c")]
    for file in files:
        file.parent.mkdir(parents=True)
        file.touch()
    for words in (("a", "nowhere"), ("nowhere", "a"), ("a", "key", "nowhere")):
        refused(machine.run("clear", *words), 3, "'nowhere'")
    assert all(file.exists() for file in files)
    assert machine.ok("clear", "a", "key", "b", "a").out == "Cleared 2 sessions.\n"
    assert [file.exists() for file in files] == [False, False, True]


@pytest.mark.parametrize("how", ["missing", "wrong"])
def test_without_what_unlocks_it_nothing_is_handed_out(stored: BackendMachine, how: str) -> None:
    env = stored.missing if how == "missing" else stored.wrong
    refused(stored.machine.run("export", "work", "-n", env=env), 5)
    refused(stored.machine.run("exec", "work", "-n", "--", "true", env=env), 125)
    before = stored.snapshot()
    refused(stored.machine.run("add", "work", *PLAIN, "--force", stdin=SECOND_LINES, env=env), 5)
    assert stored.snapshot() == before


def test_a_damaged_item_hurts_no_other(stored: BackendMachine) -> None:
    stored.machine.ok("add", "other", *PLAIN, stdin=LINES)
    path = stored.path("work")
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    for damaged in (bytes(data), data[:-20], b"", b"no such format\n", bytes(1 << 21)):
        path.write_bytes(damaged)
        refused(stored.machine.run("export", "work", "-n"), 6, "work")
    assert KEY_ID in stored.machine.ok("export", "other", "-n").out
    assert stored.machine.ok("list", "--credentials").out == "other\nwork\n"
    refused(stored.machine.run("add", "work", *PLAIN, "--force", stdin=LINES), 6, "--discard")
    stored.machine.ok("add", "work", *PLAIN, "--force", "--discard", stdin=LINES)
    assert KEY_ID in stored.machine.ok("export", "work", "-n").out


def conflicted(keeper: BackendMachine) -> bytes:
    """Return an item as git leaves it where it took two versions of it for text."""
    data = keeper.path("work").read_bytes()
    return b"<<<<<<< HEAD\n" + data + b"\n=======\n" + data + b"\n>>>>>>> origin/main\n"


@pytest.mark.parametrize("command", ["export", "recipients", "rotate"])
def test_the_marks_of_a_merge_conflict_are_known(stored: BackendMachine, command: str) -> None:
    stored.path("work").write_bytes(conflicted(stored))
    argv = {
        "export": ("export", "work", "-n"),
        "recipients": ("recipients", "accept", "work"),
        "rotate": ("rotate", "work", "--dry-run", "--region", "eu-west-1"),
    }[command]
    ended = InProcess(stored.machine.env).run(*argv)
    assert ended.status in (6, 12), ended
    said = ended.out + ended.err
    assert "item 'work' contains the marks of a merge conflict" in said
    path = stored.path("work")
    assert f"git -C {path.parent} checkout --ours -- {path.name}" in said
    assert "--theirs" in said
    if command == "export":
        again = ("add", "work", "--stdin", "--no-config", "--force", "--discard")
        assert InProcess(stored.machine.env).run(*again, stdin=LINES.encode()).status == 0


def test_the_marks_of_a_merge_conflict_in_what_governs_a_vault(stored: BackendMachine) -> None:
    name = {"file": ".filevault/vault.json", "pass": ".gpg-id", "age": ".age-recipients"}
    path = stored.store / name[stored.kind]
    text = path.read_bytes()
    path.write_bytes(b"<<<<<<< HEAD\n" + text + b"=======\n" + text + b">>>>>>> origin/main\n")
    run = ("add", "two", "--stdin", "--no-config")
    ended = InProcess(stored.machine.env).run(*run, stdin=LINES.encode())
    assert ended.status in (6, 7), ended
    assert "contains the marks of a merge conflict" in ended.err
    assert path.name in ended.err


def test_a_renamed_item_is_noticed(stored: BackendMachine) -> None:
    stored.path("work").rename(stored.path("prod"))
    if stored.kind == "file":
        refused(stored.machine.run("export", "prod", "-n"), 6, "sealed as 'work'")
        return
    given = stored.machine.ok("export", "prod", "-n")
    assert KEY_ID in given.out
    assert "warning: item 'prod' says inside that it is 'work'; was it renamed" in given.err
    refused(stored.machine.run("export", "prod", "-n", "--strict"), 6, "'prod'", "'work'")


def test_an_older_copy_is_noticed_as_far_as_it_can_be(stored: BackendMachine) -> None:
    old = stored.path("work").read_bytes()
    stored.machine.ok("add", "work", *PLAIN, "--force", stdin=SECOND_LINES)
    stored.path("work").write_bytes(old)
    if stored.kind == "file":
        refused(stored.machine.run("export", "work", "-n", "--strict"), 6, "older than")
    given = stored.machine.ok("export", "work", "-n")
    assert (KEY_ID in given.out, "older than" in given.err) == (True, stored.kind == "file")


def test_a_removed_item_that_is_put_back_is_noticed_until_accepted(stored: BackendMachine) -> None:
    old = stored.path("work").read_bytes()
    inside = InProcess(stored.machine.env)
    assert inside.run("remove", "-f", "work").status == 0
    stored.path("work").parent.mkdir(exist_ok=True)
    stored.path("work").write_bytes(old)
    export = ("export", "work", "-n")
    for _ in range(2):
        given = inside.run(*export)
        assert (given.status, KEY_ID in given.out) == (0, True)
        assert "was removed on this machine, and has been put back" in given.err
    strict = inside.run(*export, "--strict")
    assert (strict.status, strict.out) == (6, "")
    assert "filevault recipients accept work" in strict.err
    assert inside.run("recipients", "accept").status == 0
    assert inside.run(*export, "--strict").err == ""
    assert inside.run("remove", "-f", "work").status == 0
    stored.add("work")
    assert inside.run(*export, "--strict").err == ""


def test_a_key_of_another_account_is_refused_until_accepted(stored: BackendMachine) -> None:
    other = f"{SECRET}\naws_access_key_id: {OTHER_ACCOUNT}\n".encode()
    stored.put("work", other)
    result = stored.machine.run("export", "work", "-n")
    if stored.kind == "file":
        # Only who has the vault's key can have made it; this one is older, besides.
        assert "older than" in result.err
        return
    refused(result, 10, "another AWS account", "recipients accept work")
    accepted = stored.machine.ok("recipients", "accept", "work").out
    assert accepted == (
        "Accepted the key of profile work as it is now (AWS account 673894222897, 029608264753 "
        "before).\n"
    )
    assert OTHER_ACCOUNT in stored.machine.ok("export", "work", "-n").out


def test_strict_trusts_nothing_unseen(stored: BackendMachine) -> None:
    stored.machine.ok("export", "work", "-n", "--strict")
    pin = re.search(r"^pin: (\w+)", stored.machine.ok("recipients", "list").out, re.MULTILINE)
    assert pin is not None
    shutil.rmtree(stored.machine.state)
    refused(stored.machine.run("export", "work", "-n", "--strict"), 10, "never been seen here")
    stored.machine.ok("export", "work", "-n", "--strict", env={"FILEVAULT_PIN": pin[1]})
    stored.machine.ok("add", "two", *PLAIN, stdin=LINES, env={"FILEVAULT_PIN": pin[1]})
    wrong = {"FILEVAULT_PIN": "0" * 64}
    refused(stored.machine.run("add", "new", *PLAIN, stdin=LINES, env=wrong), 10)
    assert not stored.path("new").exists()
    stored.machine.ok("recipients", "accept")
    stored.machine.ok("export", "work", "-n", "--strict")


def test_a_vault_that_lost_its_marker_is_never_made_anew(stored: BackendMachine) -> None:
    marker = {"file": ".filevault/vault.json", "pass": ".gpg-id", "age": ".age-recipients"}
    (stored.store / marker[stored.kind]).unlink()
    for argv in (("export", "work", "-n"), ("add", "new", *PLAIN), ("list", "--credentials")):
        refused(stored.machine.run(*argv, stdin=LINES), 10, "marker")
    assert not stored.path("new").exists()


def test_without_a_repository_git_says_so(stored: BackendMachine) -> None:
    refused(stored.machine.run("git", "log"), 4, "filevault git init")


def test_each_change_is_committed_and_sessions_are_not(
    keeper: BackendMachine, aws: FakeAws
) -> None:
    machine = keeper.machine
    machine.ok("git", "init")
    roles(keeper, aws)
    machine.ok("export", "admin")
    machine.ok("add", "team/prod", *PLAIN, stdin=LINES)
    machine.ok("add", "team/prod", *PLAIN, "--force", stdin=SECOND_LINES)
    machine.ok("remove", "team/prod", "--force")
    subjects = machine.ok("git", "log", "--format=%s").out.splitlines()
    assert subjects == [
        f"Remove {keeper.entry('team/prod')} from store.",
        f"Add given password for {keeper.entry('team/prod')} to store.",
        f"Add given password for {keeper.entry('team/prod')} to store.",
        f"Add given password for {keeper.entry('work')} to store.",
        "Add current contents of password store.",
    ]
    assert machine.ok("git", "status", "--porcelain").out == ""
    files = machine.ok("git", "ls-files").out.splitlines()
    assert keeper.path("work").relative_to(keeper.store).as_posix() in files
    if keeper.kind == "file":
        assert ".filevault/vault.json" in files
        assert any(name.startswith(".filevault/slots/") for name in files)
    assert not any(name.endswith(".fvs") or "session" in name for name in files)
    assert machine.ok("git", "fsck", "--strict").status == 0
