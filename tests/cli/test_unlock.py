"""Unlocking once in the morning: how often a person is asked in a day, and what ends it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from filevault.backends.sealing import envelope, key_schedule
from filevault.backends.values import Secret
from filevault.cli.command import COMMANDS
from filevault.errors import IntegrityError, LockedError
from filevault.system.files import Folder
from tests.fakes import FakeAws, User
from tests.fakes.identity_center import START_URL
from tests.samples import EXAMPLE_ID, OTHER_ID, OTHER_SECRET, SECRET
from tests.worlds.aws_machine import REGION
from tests.worlds.file_vault import opened
from tests.worlds.in_process import InProcess
from tests.worlds.key_cache import CODE, PASSPHRASE_TYPED, KeyCacheMachine, key_cache_machine
from tests.worlds.login_machine import BROWSER
from tests.worlds.machine import ON_STDERR, PASSPHRASE, Machine, TypedAnswer

HOUR = 3600
MINUTE = 60
RUNS = 40
STEP = 690  # seconds: forty runs in 7 h 29 min. The last quarter of an hour is not handed out
# Two of the ways start a new interpreter, thirty times as slow as a copy: one in ten each.
WAYS = ("setsid", "new session keyring", "cron", "terminal", *("setsid", "terminal") * 3)

NOWHERE = {"XDG_STATE_HOME": "/proc/nothing"}


@pytest.fixture
def desk(empty_desk: KeyCacheMachine) -> KeyCacheMachine:
    """A vault with the keys of `jon`, who has an MFA device, and of `bot`, who has none."""
    furnish(empty_desk)
    return empty_desk


def furnish(desk: KeyCacheMachine) -> None:
    aws = desk.aws
    jon, bot = aws.add_user("jon", mfa=True), aws.add_user("bot")
    admin = aws.add_role("admin", trusts=[jon], require_mfa=True)
    deep = aws.add_role("deep", trusts=[admin])
    common = f"region = {REGION}\nendpoint_url = {aws.url}\n"
    mfa = f"{common}mfa_serial = {jon.mfa_serial}\n"
    desk.machine.write_config(
        f"[profile bot]\n{common}"
        f"[profile jon]\n{mfa}"
        f"[profile admin]\n{mfa}source_profile = jon\nrole_arn = {admin.arn}\n"
        f"[profile deep]\n{common}source_profile = admin\nrole_arn = {deep.arn}\n"
    )
    desk.prepare("init")
    for user in (jon, bot):
        key = f"{user.access_key_id}\n{user.secret_access_key}\n"
        desk.prepare("add", user.name, "--stdin", "--no-config", stdin=key)


def code(user: User) -> TypedAnswer:
    return TypedAnswer(CODE, user.totp())


def day(desk: KeyCacheMachine, profile: str, asked: Callable[[int], list[TypedAnswer]]) -> None:
    """Run forty commands in eight hours, each from somewhere else, and answer what is asked."""
    for number in range(RUNS):
        argv = ("exec", profile, "--", "sh", "-c", 'echo "$AWS_VAULT $AWS_SESSION_TOKEN"')
        answers = asked(number)
        way = WAYS[number % len(WAYS)]
        if answers or way == "terminal":
            result = desk.typed(*argv, answers=answers)
        else:
            result = desk.quietly(*argv, way=way)
            assert result.status == 0, (number, way, result)
        name, token = result.out.split()
        assert name == profile
        assert token in desk.aws.issued_secrets()
        desk.wait(STEP)


@pytest.mark.parametrize("profile", ["jon", "admin", "deep"])
def test_the_day_of_a_profile_with_mfa_costs_one_code(
    desk: KeyCacheMachine, jon: User, profile: str
) -> None:
    """The key cache does not open the long-term key, so the first session asks once more."""
    desk.unlock()
    day(desk, profile, lambda number: [] if number else [PASSPHRASE_TYPED, code(jon)])
    assert (desk.passphrases, desk.codes) == (2, 1)
    assert desk.aws.actions().count("GetSessionToken") == 1


def test_without_mfa_the_long_term_key_is_needed_each_hour(desk: KeyCacheMachine) -> None:
    """Its sessions last an hour, and are renewed when a quarter of it is left."""
    desk.unlock()
    day(desk, "bot", lambda number: [] if number % 4 else [PASSPHRASE_TYPED])
    assert (desk.passphrases, desk.codes) == (1 + RUNS // 4, 0)


def test_with_the_vault_key_held_one_passphrase_is_all(desk: KeyCacheMachine) -> None:
    warned = desk.unlock("--vault-key")
    assert "can read the long-term keys" in warned.err
    day(desk, "bot", lambda _number: [])
    assert (desk.passphrases, desk.codes) == (1, 0)
    assert desk.aws.actions().count("GetSessionToken") == RUNS // 4


def test_where_no_session_can_be_kept_the_vault_key_can_be_cached_alone(
    desk: KeyCacheMachine,
) -> None:
    """As in a CI job without a home: `agent -- sh -c 'filevault unlock --vault-key && ...'`."""
    passphrase = {"FILEVAULT_PASSPHRASE": PASSPHRASE, **NOWHERE}
    done = desk.machine.ok("unlock", "--vault-key", env=passphrase)
    assert done.out.startswith("Unlocked for long-term keys until ")
    assert desk.held() == ["vault"]
    assert desk.machine.ok("exec", "bot", "--", "true", env=NOWHERE).err == ""
    assert desk.machine.run("unlock", env=passphrase).status == 7


def test_without_sessions_an_error_does_not_say_that_they_are_unlocked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = InProcess({"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"})
    key = str(tmp_path / "key")
    assert inside.run("init", "--new-key-file", key, "--no-passphrase").status == 0
    monkeypatch.setattr(import_module("filevault.cli.commands.unlock"), "MAX_KEY_SIZE", 0)
    inside.env |= NOWHERE
    failed = inside.run("unlock", "--vault-key", "--key-file", key)
    assert failed.status == 7
    assert "error: no identity is cached: there are too many" in failed.err


def test_a_passphrase_typed_into_any_command_is_typed_once(
    desk: KeyCacheMachine, jon: User
) -> None:
    """One passphrase and one code, for the plain profile, the role and the chain together."""
    if desk.place == "agent":
        desk.machine.ok("agent")  # no other command than unlock starts one by itself
    desk.typed("exec", "jon", "--", "true", answers=[PASSPHRASE_TYPED, code(jon)])
    assert desk.held() == ["session"]
    desk.wait(7 * HOUR)
    for profile in ("jon", "admin", "deep"):
        assert desk.quietly("exec", profile, "--", "true").status == 0
    assert (desk.passphrases, desk.codes) == (1, 1)
    desk.wait(HOUR + MINUTE)
    assert desk.held() == []


MOVE = ("migrate", "--to", "moved", "--yes", "--new-key-file", "moved.key", "--no-passphrase")
# Each command that opens the vault for a person: what is typed, and how it ends.
OPENING = {
    "add": (("add", "more", "--stdin", "--no-config"), [PASSPHRASE_TYPED], 0),
    "exec": (("exec", "-n", "bot", "--", "true"), [PASSPHRASE_TYPED], 0),
    "export": (("export", "-n", "bot"), [PASSPHRASE_TYPED], 0),
    "login": (("login", "-s", "bot"), [PASSPHRASE_TYPED], 8),
    "rotate": (("rotate", "--dry-run", "bot"), [PASSPHRASE_TYPED], 0),
    "import": (("import", "one_accessKeys.csv", "--yes", "--no-config"), [PASSPHRASE_TYPED], 0),
    "verify": (("verify",), [PASSPHRASE_TYPED], 0),
    "copy": (("copy", "bot", "second"), [PASSPHRASE_TYPED], 0),
    "rename": (("rename", "second", "third"), [PASSPHRASE_TYPED], 0),
    "serve": (("serve", "bot"), [PASSPHRASE_TYPED], 8),
    "sso": (("sso", "login", "work", "--device-code"), [PASSPHRASE_TYPED], 0),
    "signin": (("signin", "new", "--region", REGION), [PASSPHRASE_TYPED], 0),
    "migrate": ((*MOVE, "--keep"), [PASSPHRASE_TYPED], 0),
}
NOT_OPENING = {
    *("agent", "clear", "git", "init", "list", "lock", "recipients", "remove", "status"),
    *("passphrase", "rekey", "slot"),  # they change who can open it
    *("doctor", "log"),  # they read what needs no key, and ask for none
    *("unlock", "completion", "help", "version"),
}


def test_every_command_is_known_to_open_the_vault_or_not() -> None:
    assert {*OPENING, *NOT_OPENING} == {*COMMANDS}


def test_a_passphrase_typed_into_any_command_holds_the_session_key(
    machine: Machine, aws: FakeAws
) -> None:
    with key_cache_machine(machine, aws, "agent") as desk:
        furnish(desk)
        machine.ok("agent")
        machine.env["BROWSER"] = BROWSER
        aws.login.user = aws.directory.users["123456789012", "jon"]
        machine.env["AWS_ENDPOINT_URL_SIGNIN"] = f"{aws.url}/signin/{REGION}"
        # What fails after the vault was opened holds the key as well.
        denied = {"sts:GetFederationToken", "sts:GetSessionToken"}
        aws.directory.users["123456789012", "bot"].denied |= denied
        aws.sso.confirm_after = 1
        with machine.config.open("a") as config:
            config.write(f"[sso-session work]\nsso_start_url = {START_URL}\n")
            config.write(f"sso_region = {REGION}\n[profile dev]\nendpoint_url = {aws.url}\n")
            config.write("sso_session = work\nsso_account_id = 111122223333\n")
            config.write("sso_role_name = Admin\n")
        more = f"Access key ID,Secret access key\n{OTHER_ID},{OTHER_SECRET}\n"
        (machine.home / "one_accessKeys.csv").write_text(more)
        for name, (argv, answers, status) in OPENING.items():
            stdin = f"{EXAMPLE_ID}\n{SECRET}\n".encode()
            result = machine.on_terminal(*argv, answers=answers, stdin=stdin)
            assert result.status == status, (name, result)
            assert desk.held() == ["session"], name
            machine.ok("lock")
            assert desk.held() == []


def test_a_vault_that_was_moved_leaves_no_key_behind(desk: KeyCacheMachine) -> None:
    """`lock` forgets the keys of the new vault; those of the old one would stay for hours."""
    desk.unlock("--vault-key")
    assert desk.quietly(*MOVE, "--dry-run").status == 0
    assert sorted(desk.held()) == ["session", "vault"]
    assert desk.typed(*MOVE).status == 0
    assert desk.held() == []


def warm(desk: KeyCacheMachine, jon: User) -> None:
    """Have a session of eight hours in the cache, made by somebody who holds no key."""
    desk.prepare("export", "jon", "-t", jon.totp())
    assert desk.held() == []


def test_after_its_time_it_is_asked_for_again(desk: KeyCacheMachine, jon: User) -> None:
    warm(desk, jon)
    said = desk.unlock("--ttl", "90m")
    assert "Unlocked for sessions until " in said.out
    assert f"({desk.place})" in said.out
    desk.wait(80 * MINUTE)
    assert desk.quietly("exec", "jon", "--", "true").status == 0  # and this prolongs nothing
    desk.wait(11 * MINUTE)
    locked = desk.quietly("exec", "jon", "--", "true")
    assert locked.status == 125
    assert "the vault is locked" in locked.err
    assert desk.machine.ok("status").out.splitlines()[1:] == ["locked"]
    desk.typed("exec", "jon", "--", "true", answers=[PASSPHRASE_TYPED])


def test_after_lock_it_is_asked_for_again(desk: KeyCacheMachine, jon: User) -> None:
    warm(desk, jon)
    desk.unlock("--vault-key")
    assert sorted(desk.held()) == ["session", "vault"]
    assert "; 2 keys forgotten" in desk.machine.ok("lock").out
    assert desk.held() == []
    assert desk.quietly("exec", "jon", "--", "true").status == 125
    assert "; 0 keys forgotten" in desk.machine.ok("lock").out
    desk.typed("exec", "jon", "--", "true", answers=[PASSPHRASE_TYPED])


def test_unlocking_again_starts_the_time_anew(desk: KeyCacheMachine, jon: User) -> None:
    warm(desk, jon)
    desk.unlock("--ttl", "1h")
    desk.wait(HOUR // 2)
    desk.unlock("--ttl", "1h")  # it asks, though the vault is open
    desk.wait(HOUR // 2 + MINUTE)
    assert desk.quietly("exec", "jon", "--", "true").status == 0
    desk.wait(HOUR // 2)
    assert desk.quietly("exec", "jon", "--", "true").status == 125


def test_a_wrong_passphrase_holds_nothing(desk: KeyCacheMachine) -> None:
    wrong = TypedAnswer("Passphrase for", "not the passphrase")
    assert desk.type("unlock", answers=[wrong] * 3).status == 5
    assert desk.held() == []
    assert desk.machine.run("unlock").status == 5  # no one can be asked


def test_what_comes_from_a_variable_is_held_only_if_unlock_is_asked_for(
    desk: KeyCacheMachine, jon: User
) -> None:
    desk.prepare("export", "jon", "-t", jon.totp())
    desk.prepare("list")
    passphrase = {"FILEVAULT_PASSPHRASE": PASSPHRASE}
    shown = desk.machine.on_terminal("exec", "jon", "--", "true", env=passphrase)
    assert (shown.status, shown.tty) == (0, "")
    assert desk.held() == []
    desk.prepare("unlock")
    assert desk.held() == ["session"]
    assert desk.quietly("exec", "jon", "--", "true").status == 0


def test_with_a_time_of_zero_nothing_is_held(desk: KeyCacheMachine, jon: User) -> None:
    config = desk.machine.home / ".config/filevault/config.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text('cache_ttl = "0"\n')
    desk.typed("exec", "jon", "--", "true", answers=[PASSPHRASE_TYPED, code(jon)])
    assert desk.held() == []
    refused = desk.machine.run("unlock")
    assert (refused.status, refused.out) == (2, "")
    assert "nothing would be cached" in refused.err
    desk.typed("exec", "jon", "--", "true", answers=[PASSPHRASE_TYPED])
    desk.unlock("--ttl", "5m")
    assert desk.held() == ["session"]


def test_the_configured_time_is_the_time(desk: KeyCacheMachine) -> None:
    config = desk.machine.home / ".config/filevault/config.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text('cache_ttl = "20m"\n')
    desk.unlock()
    (state,) = desk.states
    (status,) = desk.cache.entries(state)
    assert 19 * MINUTE < status.seconds <= 20 * MINUTE


def test_what_is_held_opens_sessions_and_no_key(desk: KeyCacheMachine, jon: User) -> None:
    warm(desk, jon)
    desk.unlock()
    (session_key,) = desk.found()
    assert len(session_key) == 32
    assert desk.quietly("export", "jon").status == 0
    other = f"{jon.access_key_id}\n{jon.secret_access_key}\n"
    for argv in (
        ("export", "jon", "-n"),
        ("export", "jon", "--refresh", "-t", jon.totp()),
        ("export", "bot"),
        ("rotate", "bot"),
        ("add", "jon", "--stdin", "--force", "--no-config"),
        ("slot", "add", "--generate"),
        ("rekey", "--drop-slots"),
    ):
        result = desk.machine.run(*argv, stdin=other)
        assert result.status == 5, (argv, result)
        assert jon.secret_access_key not in result.everything
    assert desk.aws.actions() == ["GetSessionToken"]
    opened = open_with(desk, session_key)
    assert opened == "locked"
    desk.unlock("--vault-key")
    assert jon.secret_access_key in desk.quietly("export", "jon", "-n").out
    master = next(key for key in desk.found() if key != session_key)
    assert jon.secret_access_key in open_with(desk, master)


def open_with(desk: KeyCacheMachine, key: bytes) -> str:
    """Return the item of jon as whoever has a key in hand can read it."""
    with Folder.open(str(desk.machine.vault)) as store:
        backend = opened(store, Nobody(), cached_key=lambda _mark: key)
        data = (desk.machine.vault / "jon.fv").read_bytes()
        try:
            return backend.decrypt("credentials", "jon", data).decode()
        except LockedError:
            vault = backend.vault_id
        for guess in (key, key_schedule.item_key(key, vault)):
            parsed = envelope.parse(data, "the item")
            with pytest.raises(IntegrityError):
                envelope.unseal(guess, parsed, "the item")
    return "locked"


class Nobody:
    """Somebody who knows no passphrase."""

    def secret(self) -> Secret:
        raise LockedError("nobody is there")

    def on_rejected(self, secret: Secret) -> None:
        raise AssertionError(secret)


def test_the_vault_key_makes_no_keyslot(desk: KeyCacheMachine) -> None:
    """Who holds what is cached for some hours must not be able to stay for ever."""
    desk.unlock("--vault-key")
    for argv in (("slot", "add", "--generate"), ("passphrase", "--generate"), ("rekey",)):
        assert desk.machine.run(*argv).status == 5


def test_status_tells_what_is_open_until_when_and_where(desk: KeyCacheMachine) -> None:
    assert desk.machine.ok("status").out.splitlines() == [
        f"vault: {desk.machine.vault} (file)",
        "locked",
    ]
    desk.machine.freeze(1_800_000_000)
    desk.unlock("--vault-key", "--ttl", "1h")
    assert desk.machine.ok("status").out.splitlines() == [
        f"vault: {desk.machine.vault} (file)",
        f"sessions: unlocked until 2027-01-15T09:00:00Z ({desk.place})",
        f"long-term keys: unlocked until 2027-01-15T09:00:00Z ({desk.place})",
    ]
    local = desk.machine.ok("status", "--local", env={"TZ": "UTC-1"}).out
    assert local.count("2027-01-15T10:00:00+0100") == 2
    assert json.loads(desk.machine.ok("status", "--json").out) == {
        "vault": str(desk.machine.vault),
        "backend": "file",
        "unlocked": True,
        "keys": [
            {
                "opens": opens,
                "former": False,
                "until": "2027-01-15T09:00:00Z",
                "seconds_left": 3600,
                "store": desk.place,
            }
            for opens in ("sessions", "long-term keys")
        ],
        "signed_in": [],
    }


def test_status_does_not_call_open_what_a_held_key_no_longer_opens(
    desk: KeyCacheMachine, jon: User
) -> None:
    """A rekey on another machine, brought here by git; here by hand."""
    warm(desk, jon)
    desk.unlock("--vault-key")
    marker = desk.machine.vault / ".filevault/vault.json"
    (state,) = desk.states
    (desk.machine.state / state / "session-key.fv").unlink()
    written = json.loads(marker.read_text())
    written["commit"] = "00" * 32
    marker.write_text(json.dumps(written))
    lines = desk.machine.ok("status").out.splitlines()[1:]
    assert [line.partition(" until ")[0] for line in lines] == [
        "sessions: locked; a former key is cached",
        "long-term keys: locked; a former key is cached",
    ]
    assert desk.machine.ok("lock").out.endswith("; 2 keys forgotten.\n")


def test_status_of_a_vault_that_is_not_there_says_so(machine: Machine) -> None:
    for argv in (("status",), ("status", "--vault", str(machine.home / "typo"))):
        missing = machine.run(*argv)
        assert (missing.status, missing.out) == (4, "")
        assert "there is no vault" in missing.err
        assert re.search(r"filevault (--vault \S+ )?init$", missing.err, re.MULTILINE)


def test_unlocking_tells_a_person_what_is_asked_for_all_the_same(desk: KeyCacheMachine) -> None:
    """And nobody else: what is left in a job's log says nothing of it."""
    wanted = "a profile without MFA, is made with a long-term key"
    assert wanted not in desk.prepare("unlock").err
    desk.machine.launcher = (*ON_STDERR, *desk.machine.launcher)
    assert wanted in desk.unlock().tty
    assert wanted not in desk.unlock("--vault-key").tty


def test_what_is_locked_while_sessions_are_open_is_called_by_its_name(
    desk: KeyCacheMachine, jon: User
) -> None:
    warm(desk, jon)
    assert "error: the vault is locked, " in desk.quietly("exec", "bot", "--", "true").err
    desk.unlock()
    for argv in (("exec", "bot", "--", "true"), ("export", "jon", "-n"), ("rotate", "bot")):
        said = desk.quietly(*argv).err
        assert "sessions are unlocked, the long-term keys are locked" in said
        assert "hint: filevault unlock --vault-key also caches the key that opens them" in said
    # A key that is held makes no keyslot, and unlock is what is being run.
    for command in ("passphrase", "unlock"):
        assert "error: the vault is locked, " in desk.quietly(command).err


def test_unlocking_tells_of_a_keyslot_that_is_weaker_than_new_ones(desk: KeyCacheMachine) -> None:
    assert "weaker" not in desk.prepare("unlock").err
    desk.machine.kdf = "standard"
    said = desk.prepare("unlock", "--allow-weak-kdf")
    (slot,) = (desk.machine.vault / ".filevault/slots").iterdir()
    assert f"keyslot '{slot.stem}' is weaker than new ones are: filevault passphrase" in said.err


# What changes while a key is held


def test_rekey_forgets_what_was_held(desk: KeyCacheMachine, jon: User) -> None:
    warm(desk, jon)
    desk.unlock("--vault-key")
    told = desk.prepare("rekey", "--drop-slots")
    assert "the vault is locked again" in told.err
    assert desk.held() == []
    assert desk.quietly("exec", "jon", "--", "true").status == 125
    desk.wait(MINUTE)
    # Each item is another file now, and a session belongs to the file that it was made from.
    desk.typed("exec", "jon", "--", "true", answers=[PASSPHRASE_TYPED, code(jon)])
    assert desk.held() == ["session"]
    assert desk.quietly("exec", "jon", "--", "true").status == 0


def test_a_new_passphrase_leaves_open_what_is_open(desk: KeyCacheMachine, jon: User) -> None:
    warm(desk, jon)
    desk.unlock("--vault-key")
    new = {"FILEVAULT_PASSPHRASE": PASSPHRASE, "FILEVAULT_NEW_PASSPHRASE": "another good phrase"}
    desk.machine.ok("passphrase", env=new)
    desk.machine.ok(
        "slot", "add", env={"FILEVAULT_PASSPHRASE": "another good phrase",
                            "FILEVAULT_NEW_PASSPHRASE": "a third good phrase"},
    )  # fmt: skip
    assert desk.quietly("exec", "jon", "--", "true").status == 0
    assert jon.secret_access_key in desk.quietly("export", "jon", "-n").out
    lines = desk.machine.ok("status").out.splitlines()[1:]
    assert [line.partition(" until ")[0] for line in lines] == [
        "sessions: unlocked",
        "long-term keys: unlocked",
    ]
    desk.machine.ok("lock")
    assert desk.type("unlock", answers=[PASSPHRASE_TYPED] * 3).status == 5  # the old one
    desk.typed("unlock", answers=[TypedAnswer("Passphrase for", "another good phrase")])


def test_rotation_and_login_need_nobody_while_the_vault_key_is_held(
    desk: KeyCacheMachine, jon: User
) -> None:
    warm(desk, jon)
    desk.unlock("--vault-key")
    desk.wait(MINUTE)
    assert desk.quietly("rotate", "bot").status == 0
    desk.machine.env["AWS_ENDPOINT_URL_SIGNIN"] = desk.aws.url
    assert desk.quietly("login", "admin", "--stdout").status == 0
    rotated = desk.quietly("rotate", "jon", "-t", jon.totp())
    assert rotated.status == 0, rotated
    assert sorted(desk.held()) == ["session", "vault"]
    assert desk.quietly("exec", "bot", "--", "true").status == 0  # with the new key
    assert (desk.passphrases, desk.codes) == (1, 0)


def test_login_with_a_cached_session_needs_the_session_key_only(
    desk: KeyCacheMachine, jon: User
) -> None:
    desk.machine.env["AWS_ENDPOINT_URL_SIGNIN"] = desk.aws.url
    desk.prepare("export", "admin", "-t", jon.totp())
    assert desk.quietly("login", "admin", "--stdout").status == 5
    desk.unlock()
    shown = desk.quietly("login", "admin", "--stdout")
    assert shown.status == 0, shown
    assert desk.quietly("rotate", "bot").status == 5
