"""The hot lane gives what the normal path gives, and every doubt is a miss."""

from __future__ import annotations

import hashlib
import hmac as stdlib_hmac
import importlib
import json
import os
import posix
import random
import re
import resource
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from filevault.cli import CommandLine, cached_answers
from filevault.cli.command import COMMANDS, KEEPS_ANSWERS, parser_of
from filevault.cli.parser import find_command
from filevault.config import aws_variables, overrides, settings
from filevault.config.settings import SETTINGS
from filevault.errors import UsageError
from filevault.keycache import kernel
from filevault.keycache.agent_folders import agent_folders
from filevault.keycache.cache import KeyCache
from filevault.keycache.cached_key import ANSWER_TYPES, MAX_KEY_SIZE, CachedKey
from filevault.keycache.client import AgentClient
from filevault.keycache.kernel import KernelKeyring
from filevault.keycache.protocol import Answer, answer_line
from filevault.lane import agent, answer, calls, digest, question
from filevault.lane.digest import equal, hash_of, hmac, xor
from filevault.sources import SOURCES
from filevault.system import inputs
from tests.conditions.kernel_keyring import needs_kernel_keyring, without_keyring
from tests.fakes import FakeAws
from tests.fakes.identity_center import START_URL
from tests.worlds.agent import short_folder
from tests.worlds.hot_lane import EXEC, EXPORT, TICK, Child, HotLane
from tests.worlds.hot_lane_changes import (
    ALL_LINES,
    CHANGES,
    cases,
    check_miss,
    check_rewritten,
    check_same,
    copy_over,
)
from tests.worlds.login_machine import BROWSER
from tests.worlds.machine import Machine

if TYPE_CHECKING:
    from filevault.keycache.cached_key import KeyType

pytestmark = needs_kernel_keyring


@pytest.fixture(scope="module")
def lane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HotLane]:
    """One machine for all tests of the module: each leaves it unlocked, with its sessions."""
    with FakeAws() as aws, pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("AWS_", "FILEVAULT_", "XDG_")):
                patch.delenv(name)
        world = HotLane(tmp_path_factory.mktemp("lane") / "home", aws, patch)
        try:
            yield world
        finally:
            world.close()


@pytest.fixture(scope="module")
def agent_lane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HotLane]:
    """The same with an agent."""
    with FakeAws() as aws, pytest.MonkeyPatch.context() as patch:
        world = HotLane(tmp_path_factory.mktemp("a") / "home", aws, patch, "agent")
        try:
            yield world
        finally:
            world.close()


# The same as the normal path


@pytest.mark.parametrize("number", range(0, len(ALL_LINES), 19))
def test_a_hit_gives_what_the_normal_path_gives(lane: HotLane, number: int) -> None:
    words, env = ALL_LINES[number]
    if words[0] not in ("exec", "export") and words[0] not in ("--strict", "--prompt"):
        words = ("exec", *words[words.index("work") :])  # --region belongs to the command
    check_same(lane, words, env)


@pytest.mark.torture
def test_every_combination_of_options_gives_the_same(lane: HotLane) -> None:
    for words, env in ALL_LINES:
        if words[0] in ("exec", "export"):
            check_same(lane, words, env)


REPORT = r"""
import os, resource, signal, sys
print(sorted(os.listdir("/proc/self/fd")))
status = open("/proc/self/status").read()
for name in ("Umask", "SigBlk", "SigIgn", "SigCgt", "CoreDumping", "Groups", "Seccomp", "CapEff"):
    print([line for line in status.splitlines() if line.startswith(name + ":")])
print(resource.getrlimit(resource.RLIMIT_CORE), os.getcwd(), sys.argv, os.getpid() == os.getsid(0))
print(open("/proc/self/environ", "rb").read())
import ctypes
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
sys.exit(int(sys.argv[1]))
"""


def whole(lane: HotLane, *words: str, **options: object) -> tuple[int, bytes, bytes]:
    done = subprocess.run(
        lane.whole(*words),
        env=lane.environ(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=lane.machine.home,
        start_new_session=True,
        umask=0o027,
        pass_fds=(),
        **options,  # type: ignore[call-overload]
    )
    return done.returncode, done.stdout, done.stderr


def test_the_process_is_left_as_the_normal_path_leaves_it(lane: HotLane) -> None:
    """Descriptors, signals, umask, limits, folder, arguments, environment, dumpability, status."""
    words = ("exec", "admin", "--", sys.executable, "-c", REPORT, "7")
    lane.run(words)
    lane.cached(words)
    hit = whole(lane, *words)
    assert isinstance(lane.ask(words), Child)  # a hit changes nothing
    for path in lane.answers:
        path.unlink()
    normal = whole(lane, *words)
    assert hit == normal
    assert hit[0] == 7
    assert b"AWS_SESSION_TOKEN=" in hit[1]


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (("sh", "-c", "exit 7"), 7),
        (("sh", "-c", "kill -TERM $$"), -15),
        (("no-such-command",), 127),
        (("/etc/passwd",), 126),
        (("./script",), 0),
    ],
)
def test_the_status_is_that_of_the_normal_path(
    lane: HotLane, command: tuple[str, ...], status: int
) -> None:
    script = lane.machine.home / "script"
    script.write_text("exit 0\n")  # without #!, which the shell runs
    script.chmod(0o755)
    lane.cached()  # the answer does not depend on the command
    found = whole(lane, "exec", "admin", "--", *command)
    assert found[0] == status
    assert (b"filevault: error" in found[2]) == (status in (126, 127))


def test_a_hit_prints_what_the_sdk_reads(lane: HotLane) -> None:
    expected = lane.cached(EXPORT).printed
    assert whole(lane, *EXPORT) == (0, expected, b"")


def test_a_hit_cannot_be_traced_and_leaves_no_core(lane: HotLane) -> None:
    """In the moment in which it has the answer."""
    lane.cached()
    done = subprocess.run(
        [*lane.watched("serve", "_become"), *EXEC], env=lane.environ(), capture_output=True
    )
    assert done.stdout.startswith(b"0\n0\nHOME=")


def test_a_hit_imports_what_the_page_lists_and_nothing_else(lane: HotLane) -> None:
    lane.cached()
    found = []
    for argv in (lane.whole(*EXEC, lean=True), (sys.executable, "-P", "-c", "pass")):
        done = subprocess.run(
            [argv[0], "-X", "importtime", *argv[1:]],
            env=lane.environ(),
            capture_output=True,
            text=True,
        )
        found.append(set(re.findall(r"^import time:.*\|\s+(\S+)$", done.stderr, re.MULTILINE)))
    ours = {f"filevault.lane.{name}" for name in ("answer", "calls", "digest", "question", "serve")}
    sha2 = "_sha2" if sys.version_info >= (3, 12) else "_sha256"
    expected = {"filevault", "filevault.__main__", "filevault.lane", "gc", sha2, "_ctypes", *ours}
    assert found[0] - found[1] == expected
    page = (Path(__file__).parents[2] / "docs/explanation/hot-lane.md").read_text()
    named = set(re.findall(r"`([\w.]+)`", page.partition("## What is imported")[2]))
    assert expected - ours <= named


def test_a_hit_writes_nothing(lane: HotLane) -> None:
    lane.cached()
    before = lane.picture()
    assert isinstance(lane.ask(), Child)
    assert lane.picture() == before


# Witnesses


def test_every_kind_of_change_of_a_witness_is_a_miss(lane: HotLane) -> None:
    lane.cached()
    every = cases(lane)
    assert {kind for _path, kind, _change in every} == set(CHANGES)
    chosen = {(kind, change): path for path, kind, change in random.sample(every, len(every))}
    for (kind, change), path in chosen.items():
        check_miss(lane, (path, kind, change))
    lane.cached()


@pytest.mark.torture
def test_every_change_of_every_witness_is_a_miss(lane: HotLane) -> None:
    """At least 2,000 cases: every witness, every change, several command lines."""
    count = 0
    while count < 2000:
        for words in (EXEC, EXPORT, ("exec", "work", "--region", "eu-west-2", "--", "env")):
            lane.cached(words)
            for case in cases(lane):
                check_miss(lane, case, words)
                count += 1


def test_after_a_change_shortly_before_the_run_nothing_is_cached(
    lane: HotLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = lane.machine.home / "dotfiles/config"
    config.write_bytes(config.read_bytes())
    with monkeypatch.context() as patch:
        patch.setattr(inputs, "_TICK", 60 * 10**9)  # so that the minute before is shortly
        lane.run()
        assert isinstance(lane.ask(), str)
    lane.cached()


# Variables, options, clocks


def variables() -> list[str]:
    names = {each.variable for each in SETTINGS}
    names |= {each.aws_vault for each in SETTINGS if each.aws_vault}
    for table in (overrides.VARIABLES, aws_variables.VARIABLES):
        names |= {each.name.replace("*", "X") for each in table}
    names |= set(overrides.DURATIONS.values())
    names |= {"AWS_BRAND_NEW", "FILEVAULT_BRAND_NEW", "XDG_DATA_HOME", "XDG_STATE_HOME"}
    names |= {"PASSWORD_STORE_DIR", "PASSAGE_DIR", "GNUPGHOME", "PYTHONIOENCODING"}
    names |= {f"{secret.decode()}_NEW" for secret in question.SECRETS}
    return sorted(names - {"FILEVAULT_DEBUG"})


@pytest.mark.parametrize("value", ["1", "/x", ""])
def test_every_variable_that_is_set_is_a_miss(lane: HotLane, value: str) -> None:
    lane.cached()
    hits = [name for name in variables() if isinstance(lane.ask(env={name: value}), Child)]
    assert hits == []


def test_every_variable_that_was_set_and_changes_is_a_miss(lane: HotLane) -> None:
    env: dict[str, str | None] = {"AWS_PAGER": "less", "XDG_SESSION_TYPE": "tty"}
    lane.cached(env=env)
    for name in env:
        for value in (None, "", "more"):
            assert lane.ask(env={**env, name: value}) == "no answer is cached"
    assert isinstance(lane.ask(env={**env, "UNRELATED": "x"}), Child)


def test_of_a_secret_only_its_presence_counts(lane: HotLane) -> None:
    lane.cached(env={"FILEVAULT_PASSPHRASE": "one"})
    hit = lane.ask(env={"FILEVAULT_PASSPHRASE": "two"})
    assert isinstance(hit, Child)
    assert b"FILEVAULT_PASSPHRASE" not in dict(hit.env)
    everything = b"".join(path.read_bytes() for path in lane.answers)
    assert b"one" not in everything


def test_the_lane_knows_every_variable_with_a_secret() -> None:
    assert {name.decode() for name in question.SECRETS} == set(settings._SECRET_PREFIXES)
    assert {name.decode() for name in question.FALSE} - {""} == settings._FALSE


def test_only_a_source_that_declares_its_inputs_is_in_the_lane() -> None:
    declared = set()
    for name, (module, source) in SOURCES.items():
        if getattr(importlib.import_module(module), source).declares_inputs:
            declared.add(name)
    assert declared == {"stored", "sso", "login-session"}


@pytest.mark.parametrize("place", ["kernel", ""])
def test_a_role_of_identity_center_is_in_the_lane_until_its_user_signs_out(
    tmp_path: Path, aws: FakeAws, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    aws.sso.assign("111122223333", "prod", "Admin")
    aws.sso.confirm_after = 1
    lane = HotLane(tmp_path / "home", aws, monkeypatch, place)
    try:
        with lane.machine.config.open("a") as config:
            config.write(
                f"[profile corp]\nsso_start_url={START_URL}\nsso_region=eu-west-1\n"
                "sso_account_id=111122223333\nsso_role_name=Admin\n"
            )
        words = ("export", "corp", "--format", "json")
        lane.machine.ok("sso", "login", "corp", env=lane.opens)
        lane.machine.ok(*words, env=lane.opens)
        time.sleep(TICK)
        check_same(lane, words, {})
        lane.machine.ok("sso", "logout", "corp", env=lane.opens)
        assert isinstance(lane.ask(words), str)
    finally:
        lane.close()


def test_a_login_session_is_in_the_lane_until_it_ends_or_its_user_signs_out(
    tmp_path: Path, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.login.user = aws.add_user("jon")
    lane = HotLane(tmp_path / "home", aws, monkeypatch)
    try:
        with lane.machine.config.open("a") as config:
            config.write(f"[profile console]\nregion = eu-west-1\nendpoint_url = {aws.url}\n")
        opens = {**lane.opens, "BROWSER": BROWSER}
        words = ("export", "console", "--format", "json")
        lane.machine.ok("signin", "console", env=opens)
        for _ in range(2):
            lane.machine.ok(*words, env=lane.opens)
            time.sleep(TICK)
            check_same(lane, words, {})
            lane.machine.ok("signin", "console", env=opens)
            assert isinstance(lane.ask(words), str)
        lane.machine.ok(*words, env=lane.opens)
        time.sleep(TICK)
        check_same(lane, words, {})
        lane.machine.ok("clear", "console", env=lane.opens)
        assert isinstance(lane.ask(words), str)
    finally:
        lane.close()


def test_a_variable_in_a_path_is_an_input(lane: HotLane) -> None:
    env: dict[str, str | None] = {"AWS_CONFIG_FILE": "$PLACE/config", "PLACE": "x"}
    env["PLACE"] = str(lane.machine.home / "dotfiles")
    lane.cached(env=env)
    assert isinstance(lane.ask(env=env), Child)
    for value in (None, str(lane.machine.home / ".aws")):
        assert lane.ask(env={**env, "PLACE": value}) == "a variable has changed"


def options(command: str) -> Iterator[tuple[str, ...]]:
    for action in parser_of(command).actions():
        for name in action.option_strings:
            if name not in ("-h", "--help", "-v", "--version"):
                value = "30m" if action.type is not None else "file"
                yield (name,) if action.nargs == 0 else (name, value)


@pytest.mark.parametrize("command", ["exec", "export"])
def test_every_option_that_is_added_is_a_miss(lane: HotLane, command: str) -> None:
    words = EXEC if command == "exec" else EXPORT
    lane.cached(words)
    hits = [
        option
        for option in options(command)
        if isinstance(lane.ask((command, *option, *words[1:])), Child)
    ]
    assert hits == []


def test_the_lane_knows_only_options_that_exist_with_their_values() -> None:
    for command in question.COMMANDS:
        actions = {
            name: each for each in parser_of(command).actions() for name in each.option_strings
        }
        for name in (*question.VALUE_OPTIONS[""], *question.VALUE_OPTIONS[command]):
            assert actions[name].nargs is None, name
        for name in (*question.FLAGS[""], *question.FLAGS[command]):
            assert actions[name].nargs == 0, name


WORDS = (
    *(
        "exec",
        "export",
        "admin",
        "work",
        "env",
        "ls",
        "-",
        "--",
        "--",
        "-x",
        "--region",
        "eu-west-1",
    ),
    *(
        "--region=eu-west-1",
        "-d",
        "1h",
        "--duration=1h",
        "--min-ttl",
        "5m",
        "--strict",
        "-j",
        "--json",
    ),
    *(
        "--vault",
        "/v",
        "--vault=/v",
        *("--key-file", "/k", "--key-file=/other"),
        "--prefix",
        "p",
        "--prompt",
        "none",
        "--format",
        "json",
        "--debug",
    ),
    *("--refresh", "-n", "--no-cache", "--explain", "-t", "123456", "-dj", "--pin", "0" * 64),
)


def normal_split(words: list[str]) -> tuple[str | None, list[str], str | None] | None:
    """Return profile, program and key file of a command line, None if it is refused."""
    index = find_command(words)
    if index is None or words[index] not in COMMANDS:
        return None
    try:
        namespace = CommandLine(words, index).parse()
    except UsageError:
        return None
    return namespace.profile, namespace.command, namespace.key_file


def test_the_lane_splits_every_command_line_as_the_normal_path_does() -> None:
    """Random ones: those that both take are taken alike; the lane takes no other."""
    chosen = random.Random(11)
    both = 0
    for _ in range(5000):
        words = ["exec", *chosen.choices(WORDS, k=chosen.randint(1, 6))]
        chosen.shuffle(words)
        try:
            name, own, program, key_file, _debug = question._split(words)
        except question.MissError:
            continue
        normal = normal_split(words)
        if normal is None:
            continue  # never cached
        both += 1
        assert (program or []) == normal[1], words
        assert normal[0] is None or normal[0] in own, words
        assert name == words[find_command(words) or 0]
        assert key_file == (normal[2] or ""), words
    assert both > 20


@pytest.mark.parametrize(
    "words",
    [
        ("exec", "admin"),
        ("exec", "admin", "--"),
        ("exec", "--refresh", "admin", "--", "env"),
        ("exec", "admin", "--no-cache", "--", "env"),
        ("exec", "-n", "admin", "--", "env"),
        ("exec", "-t", "123456", "admin", "--", "env"),
        ("exec", "--vault", "relative", "admin", "--", "env"),
        ("exec", "-d1h", "admin", "--", "env"),
        ("export", "admin", "--explain"),
        ("list",),
        (),
    ],
)
def test_what_is_not_in_the_lane_is_not_asked_about(lane: HotLane, words: tuple[str, ...]) -> None:
    assert isinstance(lane.ask(words), str)
    before = lane.answers
    lane.ask(words)
    assert lane.answers == before


@pytest.mark.parametrize(
    ("clocks", "reason"),
    [
        ({"wall": 3}, "the clock was set"),
        ({"wall": -3}, "the clock was set"),
        ({"boot": 3}, "the clock was set"),
        ({"wall": 3600, "boot": 3600}, "its time is over"),
        ({"wall": 9 * 3600, "boot": 9 * 3600}, "its time is over"),
        ({"wall": 1, "boot": 0}, None),
        ({"wall": 1800, "boot": 1800}, None),
    ],
)
def test_clocks_that_moved_or_a_deadline_are_a_miss(
    lane: HotLane, clocks: Mapping[str, float], reason: str | None
) -> None:
    lane.cached()
    found = lane.ask(**clocks)  # type: ignore[arg-type]
    assert isinstance(found, Child) if reason is None else found == reason


def test_the_question_depends_on_user_groups_namespaces_and_encoding(
    lane: HotLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane.cached()
    changes: dict[str, Callable[..., object]] = {
        "getgroups": lambda: [4711],
        "getresgid": lambda: (5, 5, 5),
        "readlink": lambda path: b"ns:[1]" + os.fsencode(path),
        "_boot_id": lambda: b"another start",
        "getfilesystemencoding": lambda: "iso8859-1",
    }
    owners = {"_boot_id": question, "getfilesystemencoding": sys}
    for name, value in changes.items():
        with monkeypatch.context() as patch:
            patch.setattr(owners.get(name, posix), name, value)
            assert lane.ask() == "no answer is cached", name


def test_after_another_installation_of_the_same_version_the_question_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a distribution that mends a fault and keeps the version."""
    installed = tmp_path / "question.py"
    shutil.copy2(question.__file__, installed)
    monkeypatch.setattr(question, "__file__", str(installed))
    before = question.ask(list(EXEC), {b"HOME": b"/"}).digest
    assert question.ask(list(EXEC), {b"HOME": b"/"}).digest == before
    copy_over(installed)
    assert question.ask(list(EXEC), {b"HOME": b"/"}).digest != before


# The end of an answer


@pytest.fixture
def fresh(lane: HotLane) -> Iterator[HotLane]:
    """Puts back what a test of the end takes away."""
    lane.cached()
    yield lane
    lane.obtain()
    lane.unlock()


ENDS: dict[str, Callable[[HotLane], object]] = {
    "lock": lambda lane: lane.machine.ok("lock"),
    "lock --all": lambda lane: lane.machine.ok("lock", "--all"),
    "an older lock": lambda lane: KernelKeyring()._keyctl(
        kernel._INVALIDATE, KernelKeyring()._find(state(lane), "session")
    ),
    "unlock": lambda lane: lane.unlock(),
    "clear": lambda lane: lane.machine.ok("clear"),
    "clear of another": lambda lane: lane.machine.ok("clear", "work"),
    "refresh": lambda lane: lane.obtain("--refresh"),
    "passphrase": lambda lane: lane.machine.ok(
        "slot",
        "add",
        "--new-key-file",
        str(lane.machine.home / f"key-{secrets.token_hex(4)}"),
        env=lane.opens,
    ),
    "rekey": lambda lane: lane.machine.ok("rekey", "--drop-slots", env=lane.opens),
    "recipients accept": lambda lane: lane.machine.run("recipients", "accept"),
    "a deleted session": lambda lane: os.unlink(
        next(path for path in lane.machine.state.rglob("*.fvs") if "/admin/" in str(path))
    ),
    "config.toml": lambda lane: turn_off(lane),  # noqa: PLW0108 - defined below
    "NO_LANE": lambda _lane: None,
}


def state(lane: HotLane) -> str:
    return next(path.name for path in lane.machine.state.iterdir() if len(path.name) == 32)


def turn_off(lane: HotLane) -> None:
    folder = lane.machine.home / ".config/filevault"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("lane = false\n")


@pytest.mark.parametrize("end", ENDS)
def test_it_ends_an_answer(fresh: HotLane, end: str) -> None:
    env: dict[str, str | None] = {"FILEVAULT_NO_LANE": "1"} if end == "NO_LANE" else {}
    ENDS[end](fresh)
    assert isinstance(fresh.ask(env=env), str)
    if end in ("config.toml", "NO_LANE"):
        fresh.run(env=env)
        time.sleep(TICK)
        fresh.run(env=env)
        assert isinstance(fresh.ask(env=env), str)
        shutil.rmtree(fresh.machine.home / ".config", ignore_errors=True)


def test_with_a_log_nothing_is_cached_and_every_run_is_recorded(fresh: HotLane) -> None:
    folder = fresh.machine.home / ".config/filevault"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("log = true\n")
    for _ in range(3):
        time.sleep(TICK)
        assert isinstance(fresh.ask(), str)
        fresh.run()
    assert isinstance(fresh.ask(), str)
    recorded = json.loads(fresh.machine.ok("log", "--json").out)
    assert [each["command"] for each in recorded] == ["env"] * 3
    shutil.rmtree(fresh.machine.home / ".config", ignore_errors=True)


def test_a_command_that_may_change_something_ends_all_answers() -> None:
    """All but those that the page lists."""
    page = (Path(__file__).parents[2] / "docs/explanation/hot-lane.md").read_text()
    (line,) = [line for line in page.splitlines() if line.startswith("- with every command")]
    assert set(re.findall(r"`(\w+)`", line)) == KEEPS_ANSWERS <= set(COMMANDS)
    changing = {"add", "clear", "lock", "passphrase", "recipients", "rekey", "remove", "rotate"}
    assert not KEEPS_ANSWERS & changing


def test_no_run_that_starts_after_a_lock_gets_an_answer(fresh: HotLane) -> None:
    locks(fresh, 50)


@pytest.mark.torture
def test_no_run_of_five_hundred_gets_an_answer_after_a_lock(fresh: HotLane) -> None:
    locks(fresh, 500)


def locks(lane: HotLane, rounds: int) -> None:
    """Lock after each run, and put back afterwards what a slower run would have recorded."""
    keys = KernelKeyring()
    held = keys.get(state(lane), "session")
    assert held is not None
    for number in range(rounds):
        deadline = held.deadline - number - 1
        keys.put(state(lane), "session", held._replace(deadline=deadline), 3600)
        lane.run()  # may be recorded at any time
        late = [(slot, keys.get("", slot)) for slot in ANSWER_TYPES]
        keys.forget(state(lane))
        assert isinstance(lane.ask(), str)
        for slot, cached in late:  # what a slow run records after the lock
            if cached is not None:
                keys.put("", slot, cached, 3600)
        assert isinstance(lane.ask(), str)
        keys.put(state(lane), "session", held._replace(deadline=deadline - 10**6), 3600)
        assert isinstance(lane.ask(), str)  # of another unlocking
    lane.unlock()


@pytest.mark.parametrize("command", ["lock", "clear"])
def test_a_run_that_is_overtaken_leaves_neither_half(
    fresh: HotLane, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    for path in fresh.answers:
        path.unlink()
    KernelKeyring().forget_answers()
    write, written = cached_answers._Folder.write, []

    def overtaken(folder: cached_answers._Folder, asked: bytes, data: bytes) -> None:
        fresh.machine.ok(command)
        written.append(asked)
        write(folder, asked, data)

    with monkeypatch.context() as patch:
        patch.setattr(cached_answers._Folder, "write", overtaken)
        fresh.run()
    assert written
    assert fresh.answers == []
    assert [KernelKeyring().get("", slot) for slot in ANSWER_TYPES] == [None] * answer.SLOTS


def test_in_the_last_second_nothing_is_cached(
    fresh: HotLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key with a timeout of 0 seconds would stay in the kernel without end."""
    for path in fresh.answers:
        path.unlink()
    KernelKeyring().forget_answers()
    left = KeyCache._left
    with monkeypatch.context() as patch:
        patch.setattr(KeyCache, "_left", lambda self, deadline: min(left(self, deadline), 0.9))
        fresh.run()
    assert fresh.answers == []
    assert [KernelKeyring().get("", slot) for slot in ANSWER_TYPES] == [None] * answer.SLOTS


def test_the_end_of_all_answers_deletes_nothing_else(fresh: HotLane, tmp_path: Path) -> None:
    """Root may work in the folders of a user, who can put a link there."""
    folder = fresh.machine.state / answer.FOLDER
    (folder / "notes").write_text("mine")
    (folder / ("0" * 32)).mkdir()
    fresh.machine.ok("clear")
    assert sorted(path.name for path in folder.iterdir()) == ["0" * 32, "notes"]
    (folder / "notes").unlink()
    (folder / ("0" * 32)).rmdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (elsewhere / ("1" * 32)).write_text("of another program")
    folder.rmdir()
    folder.symlink_to(elsewhere)
    fresh.machine.ok("clear")
    assert [path.name for path in elsewhere.iterdir()] == ["1" * 32]
    folder.unlink()


def test_what_is_no_file_among_the_answers_holds_nothing_up(fresh: HotLane) -> None:
    """A pipe, above all: to open it would wait for a writer."""
    folder = fresh.machine.state / answer.FOLDER
    odd = [folder / (digit * 32) for digit in "012"]
    os.mkfifo(odd[0])
    odd[1].mkdir()
    odd[2].symlink_to("/dev/zero")
    for path in fresh.answers:
        if path not in odd:
            path.unlink()
    fresh.cached()
    odd[1].rmdir()
    odd[0].unlink()
    odd[2].unlink()


# Halves, quota, other places


def test_neither_half_alone_says_anything(lane: HotLane) -> None:
    child = lane.cached()
    token = dict(child.env)[b"AWS_SESSION_TOKEN"]
    secret = dict(child.env)[b"AWS_SECRET_ACCESS_KEY"]
    keys = [KernelKeyring().get("", slot) for slot in ANSWER_TYPES]
    for text in (*(path.read_bytes() for path in lane.answers), *(k.key for k in keys if k)):
        for part in (token, secret, token[:12], secret[:12]):
            assert part not in text


def test_a_file_that_another_wrote_is_not_served(lane: HotLane) -> None:
    """With the disk alone: any byte changed, an older file put back, a file of one's own."""
    lane.cached()
    mine = lane.newest
    older = mine.read_bytes()
    for config in (lane.machine.home / "dotfiles").iterdir():
        config.write_bytes(config.read_bytes())
    lane.cached()
    assert lane.newest == mine
    now = mine.read_bytes()
    for at in [*range(0, len(now), 37), *range(len(now) - 33, len(now))]:
        mine.write_bytes(now[:at] + bytes([now[at] ^ 1]) + now[at + 1 :])
        assert isinstance(lane.ask(), str), at
    mine.write_bytes(older)
    assert isinstance(lane.ask(), str)
    signed = now[:-32]
    mine.write_bytes(signed + hmac(bytes(32), signed))
    assert isinstance(lane.ask(), str)
    mine.write_bytes(now)
    assert isinstance(lane.ask(), Child)


def test_a_key_that_another_put_is_not_served(lane: HotLane) -> None:
    """With the key store alone: another pad, another MAC key, another unlocking."""
    lane.cached()
    keys = KernelKeyring()
    for slot in ANSWER_TYPES:
        cached = keys.get("", slot)
        if cached is None:
            continue
        for forged in (
            cached._replace(key=bytes(32) + cached.key[32:]),
            cached._replace(key=cached.key[:-1]),
            cached._replace(key=b""),
        ):
            keys.put("", slot, forged, 3600)
        keys.put("", slot, cached._replace(key=cached.key[:32] + bytes(len(cached.key) - 32)), 3600)
    assert isinstance(lane.ask(), str)
    lane.cached()
    for slot in ANSWER_TYPES:
        cached = keys.get("", slot)
        if cached is not None:
            keys.put("", slot, cached._replace(mark="0" * 64), 3600)
    assert lane.ask() == "the vault was locked meanwhile"
    for each in lane.answers:
        each.unlink()


@pytest.mark.parametrize("words", [EXEC, EXPORT])
def test_no_bit_of_an_answer_can_be_changed_in_the_key_store(
    lane: HotLane, words: tuple[str, ...]
) -> None:
    """The pad is known there, and much of the answer: a region, or where requests are sent."""
    for path in lane.answers:
        path.unlink()
    lane.cached(words)
    keys, slot = KernelKeyring(), ANSWER_TYPES[int(lane.newest.read_bytes().split()[3])]
    cached = keys.get("", slot)
    assert cached is not None
    for at in range(32, len(cached.key), 41):
        key = cached.key[:at] + bytes([cached.key[at] ^ 1]) + cached.key[at + 1 :]
        keys.put("", slot, cached._replace(key=key), 3600)
        assert lane.ask(words) == "the other half belongs to another answer"
    keys.put("", slot, cached, 3600)
    assert isinstance(lane.ask(words), Child)


def test_a_public_file_or_a_link_is_not_read(lane: HotLane) -> None:
    lane.cached()
    newest = lane.newest
    newest.chmod(0o644)
    assert lane.ask() == "the answer file is not private"
    newest.chmod(0o600)
    newest.rename(newest.with_name("aside"))
    newest.symlink_to("aside")
    assert isinstance(lane.ask(), str)
    newest.unlink()
    newest.with_name("aside").rename(newest)
    assert isinstance(lane.ask(), Child)


def test_all_answers_take_at_most_8000_bytes_and_the_oldest_goes(lane: HotLane) -> None:
    keys = KernelKeyring()
    lines = [
        ("exec", "admin", "--region", f"eu-west-{number}", "--", "env") for number in range(10)
    ]
    for words in lines:
        lane.cached(words)
        found = [(slot, keys.get("", slot)) for slot in ANSWER_TYPES]
        held = [(slot, each) for slot, each in found if each is not None]
        assert sum(taken(slot, each) for slot, each in held) <= answer.QUOTA
    hits = [isinstance(lane.ask(words), Child) for words in lines]
    assert hits == sorted(hits)
    assert sum(hits) == len(lane.answers) > 4


def taken(slot: KeyType, cached: CachedKey) -> int:
    """Return how much of the quota a key takes: its usual name with a NUL, and its payload.

    The names of a test are longer.
    """
    return len(f"filevault:{slot}") + 1 + len(kernel._payload(cached))


def test_the_longest_answer_takes_a_quarter_of_the_quota_at_most() -> None:
    longest = CachedKey(bytes(32 + answer.MAX_ANSWER), "0" * 64, 10**14)
    payload = len(kernel._payload(longest))
    assert len(b"filevault:answer0") + 1 + payload <= answer.MAX_ANSWER + answer.OVERHEAD
    assert answer.MAX_ANSWER + answer.OVERHEAD <= answer.QUOTA // 4
    assert len(ANSWER_TYPES) == answer.SLOTS
    assert len(longest.key) <= MAX_KEY_SIZE


def test_answers_give_way_where_the_quota_is_full(lane: HotLane) -> None:
    """In a child of another user, whose keyring is filled to the last bytes."""
    if os.geteuid():
        pytest.skip("only root becomes another user")
    script = (
        "import os, time\n"
        "from filevault.lane import answer, calls, question\n"
        "import filevault.keycache.key_store, filevault.system.libc\n"
        "from filevault.keycache.kernel import KernelKeyring\n"
        "from filevault.keycache.cached_key import ANSWER_TYPES, CachedKey\n"
        "os.setgroups([]); os.setgid(54399); os.setuid(54399)\n"
        "keys = KernelKeyring()\n"
        "keys._keyctl(7, -4)\n"  # KEYCTL_CLEAR, of what a broken run left
        "time.sleep(0.1)\n"
        "for slot in ANSWER_TYPES[:4]:\n"
        "    assert keys.put('', slot, CachedKey(bytes(1872), '0' * 64, 10**14), 60)\n"
        "lane = calls.Calls()\n"
        "assert len(lane.key(b'filevault:answer0')) > 1872\n"
        "assert question.ask(['exec', 'p', '--', 'x'], {b'HOME': b'/'}).digest\n"
        "lane.harden()\n"
        "assert question.ask(['exec', 'p', '--', 'x'], {b'HOME': b'/'}).digest\n"
        "number = 0\n"
        "while True:\n"
        "    try:\n"
        "        keys._call(0, b'user', b'full%d' % number, bytes(60), 60, -4)\n"
        "        number += 1\n"
        "    except OSError:\n"
        "        break\n"
        "assert keys.put('0' * 32, 'session', CachedKey(bytes(32), 'a' * 64, 10**14), 60)\n"
        "assert keys.get('', ANSWER_TYPES[1]) is None\n"
        "assert keys.get('0' * 32, 'session') is not None\n"
        "keys.forget(None)\n"
        "keys._keyctl(7, -4)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr


def test_the_lane_and_the_key_cache_use_the_same_calls() -> None:
    numbers = {machine: pair[1] for machine, pair in kernel._NUMBERS_64.items()}
    assert numbers == calls._NUMBERS


SERVERS = ("AWS_CONTAINER_", "AWS_EC2_METADATA_", "AWS_PROFILE")
"""What begins so leads to a server, or to a profile: no answer has it."""


def test_the_closed_table_of_the_lane_is_that_of_exec() -> None:
    """Without what only a profile instead of credentials, or a server, sets."""
    table = {each.name for each in aws_variables.VARIABLES if each.carries}
    table -= {name for name in table if name.startswith(SERVERS)}
    table |= {"AWS_VAULT", aws_variables.MARKER}
    assert set(answer.SET_NAMES) == {name.encode() for name in table if not name.endswith("*")}
    assert {name.encode()[:-1] for name in table if name.endswith("*")} == {answer.SET_FAMILY}


def test_an_answer_that_names_another_variable_is_not_served(lane: HotLane) -> None:
    from filevault.lane.serve import changed

    for content in (b"PATH=/x", b"-PATH", b"PATH", b"LD_PRELOAD=x", b"FILEVAULT_PASSPHRASE=x"):
        with pytest.raises(question.MissError):
            changed({b"PATH": b"/bin"}, content)
    with pytest.raises(question.MissError):
        changed({b"FILEVAULT_KEY": b"x"}, b"AWS_REGION=x")


def test_debug_says_what_the_lane_would_do(lane: HotLane) -> None:
    lane.cached()
    said = lane.ask((*EXEC[:2], "--debug", *EXEC[2:]))
    assert said == "it would have been served, without --debug"
    assert lane.ask(env={"FILEVAULT_DEBUG": "1"}) == said
    result = lane.machine.run(*EXEC[:2], "--debug", *EXEC[2:])
    assert f"debug: hot lane: {said}" in result.err


def test_parallel_runs_while_the_config_is_rewritten_get_one_of_both(lane: HotLane) -> None:
    check_rewritten(lane, 12)


@pytest.mark.torture
def test_64_parallel_runs_while_the_config_is_rewritten_get_one_of_both(lane: HotLane) -> None:
    check_rewritten(lane, 64)


# The agent


def test_an_agent_has_the_other_half_as_well(agent_lane: HotLane) -> None:
    lane = agent_lane
    for words in (EXEC, EXPORT):
        normal = lane.cached(words)
        assert lane.ask(words) == normal == lane.run(words, lane=False)


def test_after_a_lock_of_an_agent_no_answer_is_served(agent_lane: HotLane) -> None:
    lane = agent_lane
    lane.cached()
    lane.machine.ok("lock")
    assert isinstance(lane.ask(), str)
    lane.unlock()
    assert isinstance(lane.ask(), str)
    lane.cached()


def test_a_command_that_may_change_something_ends_both_halves_in_an_agent(
    agent_lane: HotLane,
) -> None:
    lane = agent_lane
    lane.cached()
    lane.machine.ok("clear", "work")
    assert lane.answers == []
    client = AgentClient([str(lane.runtime / "filevault")])
    assert [client.get(state(lane), each) for each in ANSWER_TYPES] == [None] * answer.SLOTS
    assert client.get(state(lane), "session") is not None
    lane.obtain()
    lane.cached()


def test_an_agent_that_is_stopped_costs_a_few_milliseconds(agent_lane: HotLane) -> None:
    lane = agent_lane
    lane.cached()
    os.kill(lane.agent, signal.SIGSTOP)
    try:
        began = time.process_time(), time.monotonic()
        assert isinstance(lane.ask(), str)
        assert time.process_time() - began[0] < 0.05
        assert time.monotonic() - began[1] < 0.05 + 20 * agent.TIMEOUT  # on a busy machine
    finally:
        os.kill(lane.agent, signal.SIGCONT)
    assert isinstance(lane.ask(), Child)


def test_an_agent_in_a_folder_that_others_can_open_is_not_asked(agent_lane: HotLane) -> None:
    lane = agent_lane
    lane.cached()
    folder = lane.runtime / "filevault"
    folder.chmod(0o755)
    assert lane.ask() == "the agent's folder is open to others"
    folder.chmod(0o700)
    assert isinstance(lane.ask(), Child)


@pytest.fixture
def short() -> Iterator[str]:
    """A folder whose path leaves room for a socket's."""
    with short_folder() as folder:
        yield str(folder)


def test_the_folders_of_agents_are_those_of_the_normal_path(short: str) -> None:
    """In each of the folders in turn, with and without a job's agent."""
    root = short
    uid = os.geteuid()
    envs: tuple[dict[str, str], ...]
    envs = ({}, {"XDG_RUNTIME_DIR": f"{root}/x"}, {"FILEVAULT_AGENT_DIR": f"{root}/job"})
    for env in envs:
        environ = {name.encode(): value.encode() for name, value in env.items()}
        for folder in agent_folders(env.get, root):
            place = Path(folder)
            place.mkdir(parents=True, mode=0o700)
            place.chmod(0o700)
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(place / "agent.sock"))
                assert agent._socket_of(environ, root.encode()) == f"{folder}/agent.sock".encode()
            (place / "agent.sock").unlink()
            place.rmdir()
        with pytest.raises(question.MissError):
            agent._socket_of(environ, root.encode())
    assert f"{root}/run/user/{uid}/filevault" in agent_folders(dict[str, str]().get, root)


@pytest.mark.parametrize("size", [1, 2, 3, 31, 32, 1872])
def test_the_lane_reads_what_an_agent_writes(size: int) -> None:
    key = os.urandom(size)
    line = answer_line(Answer(ok=True, key=key, mark="ab" * 32, deadline=12345))
    assert agent._parse(line) == (key, b"ab" * 32, 12345)
    for wrong in (answer_line(Answer(ok=False)), line[:-2], line + b"x", b"", b"{}\n"):
        with pytest.raises(question.MissError):
            agent._parse(wrong)


def test_the_digest_is_that_of_the_standard() -> None:
    for size in (0, 1, 64, 65, 1000):
        data = os.urandom(size)
        assert hash_of(data) == hashlib.sha256(data).digest()
        key = os.urandom(32)
        assert hmac(key, data) == stdlib_hmac.digest(key, data, "sha256")
    assert xor(b"\x00\xff", b"\x0f\x0f") == b"\x0f\xf0"
    assert equal(b"ab", b"ab")
    assert not equal(b"ab", b"ac")
    assert not equal(b"ab", b"abc")


def test_tags_are_compared_to_their_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the time tells how many bytes of a guess are right."""
    compared: list[int] = []

    def each_byte(one: bytes, other: bytes) -> Iterator[int]:
        for left, right in zip(one, other, strict=True):
            compared.append(left)
            yield left ^ right

    monkeypatch.setattr(digest, "xor", each_byte)
    assert not equal(bytes(32), b"x" + bytes(31))
    assert len(compared) == 32


# Other users and places


@pytest.mark.parametrize("prefix", [without_keyring(), ()])
def test_without_a_keyring_it_is_the_normal_path(lane: HotLane, prefix: tuple[str, ...]) -> None:
    """In a sandbox that refuses keys, as a container does."""
    lane.cached()
    env = lane.environ({"FILEVAULT_KEY_FILE": lane.opens["FILEVAULT_KEY_FILE"]})
    done = subprocess.run(
        [*prefix, *lane.whole(*EXPORT)], env=env, capture_output=True, cwd=lane.machine.home
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == lane.cached(EXPORT).printed


def test_another_user_gets_no_answer_and_loses_no_time(lane: HotLane) -> None:
    if os.geteuid():
        pytest.skip("only root becomes another user")
    lane.cached()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(54321)
            os.setuid(54321)
            began = time.process_time()
            found = lane.ask()
            seconds = time.process_time() - began
            os.write(writer, f"{isinstance(found, str)} {seconds < 0.05}".encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(reader, 100) == b"True True"
    os.close(reader)
    os.close(writer)


def test_recipients_that_changed_are_a_miss(shared_machine: Machine) -> None:
    """In a pass and in an age vault; other tests may end the answer at any time."""
    machine = shared_machine
    machine.lane = True
    command = ("/usr/bin/env", "-0")
    expected = machine.ok("exec", "admin", "--", *command).out
    served = "debug: hot lane: it would have been served"
    for _ in range(20):
        time.sleep(TICK)
        assert machine.ok("exec", "admin", "--", *command).out == expected
        if served in machine.run("exec", "admin", "--debug", "--", *command).err:
            break
    else:
        raise AssertionError(machine.run("exec", "admin", "--debug", "--", *command).err)
    (path,) = [*machine.home.rglob(".gpg-id"), *machine.home.rglob(".age-recipients")]
    path.write_bytes(path.read_bytes() + b"# \n")
    assert served not in machine.run("exec", "admin", "--debug", "--", *command).err


# Where the output fails


def full(_folder: Path) -> tuple[int, Callable[[], object]]:
    return os.open("/dev/full", os.O_WRONLY), bytes


def closed_reader(_folder: Path) -> tuple[int, Callable[[], object]]:
    reader, writer = os.pipe()
    os.close(reader)
    return writer, bytes


def read_only(folder: Path) -> tuple[int, Callable[[], object]]:
    path = folder / "read-only"
    path.write_bytes(b"")
    return os.open(path, os.O_RDONLY), path.read_bytes


def limited(folder: Path) -> tuple[int, Callable[[], object]]:
    """A file that takes only the first bytes; see `few_bytes`."""
    path = folder / "limited"
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), path.read_bytes


def few_bytes() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))


@pytest.mark.parametrize("output", [full, closed_reader, read_only, limited])
def test_a_failing_output_ends_as_on_the_normal_path(
    lane: HotLane, tmp_path: Path, output: Callable[[Path], tuple[int, Callable[[], object]]]
) -> None:
    found = []
    for cached in (True, False):
        lane.cached(EXPORT)
        if not cached:
            for path in lane.answers:
                path.unlink()
        fd, written = output(tmp_path)
        done = subprocess.run(
            lane.whole(*EXPORT),
            env=lane.environ(),
            stdin=subprocess.DEVNULL,
            stdout=fd,
            stderr=subprocess.PIPE,
            preexec_fn=few_bytes if output is limited else None,
            cwd="/",
        )
        os.close(fd)
        found.append((done.returncode, done.stderr, written()))
    assert found[0] == found[1]
    assert found[0][0] not in (0, 120)
