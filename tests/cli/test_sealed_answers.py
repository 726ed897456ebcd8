"""Where a key file opens the vault, the hot lane serves answers that are sealed under it."""

from __future__ import annotations

import collections
import contextlib
import os
import posix
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from filevault.cli import cached_answers
from filevault.config.settings import GlobalOptions, Settings
from filevault.lane import answer, sealed
from filevault.lane.question import MissError, ask
from filevault.unlock import secret_sources
from tests.conditions.kernel_keyring import needs_kernel_keyring, without_keyring
from tests.conditions.tools import tool
from tests.fakes import FakeAws
from tests.worlds.hot_lane import EXEC, EXPORT, TICK, Child, HotLane
from tests.worlds.hot_lane_changes import (
    ALL_LINES,
    CHANGES,
    cases,
    check_miss,
    check_rewritten,
    check_same,
)

PAGE = Path(__file__).parents[2] / "docs/explanation/hot-lane.md"


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HotLane]:
    """One machine for all tests of the module: each leaves its key file and its sessions."""
    with FakeAws() as aws, pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("AWS_", "FILEVAULT_", "XDG_")):
                patch.delenv(name)
        world = HotLane(tmp_path_factory.mktemp("keyed") / "home", aws, patch, "")
        try:
            yield world
        finally:
            world.close()


def key_file(keyed: HotLane) -> Path:
    return Path(keyed.opens["FILEVAULT_KEY_FILE"] or "")


# The same as the normal path


@pytest.mark.parametrize("number", range(5, len(ALL_LINES), 29))
def test_with_a_key_file_a_hit_gives_what_the_normal_path_gives(
    keyed: HotLane, number: int
) -> None:
    words, env = ALL_LINES[number]
    if words[0] in ("exec", "export"):
        check_same(keyed, words, env)


@pytest.mark.torture
def test_with_a_key_file_every_combination_of_options_gives_the_same(keyed: HotLane) -> None:
    for words, env in ALL_LINES:
        if words[0] in ("exec", "export"):
            check_same(keyed, words, env)


def test_a_whole_run_is_served_with_nothing_but_what_the_page_lists(keyed: HotLane) -> None:
    """In a sandbox without a keyring, as in most containers."""
    expected = keyed.cached(EXPORT).printed
    argv = keyed.whole(*EXPORT, lean=True)
    library = "import cryptography.hazmat.primitives.ciphers.aead, cryptography.exceptions\n"
    library += "from cryptography.hazmat.primitives import hashes\n"
    library += "from cryptography.hazmat.primitives.kdf import hkdf"
    found = []
    for code in (argv[3], library):
        done = subprocess.run(
            [*without_keyring(), argv[0], "-X", "importtime", *argv[1:3], code, *EXPORT],
            env=keyed.environ(),
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == (expected if code == argv[3] else b"")
        pattern = r"^import time:.*\|\s+(\S+)$"
        found.append(set(re.findall(pattern, done.stderr.decode(), re.MULTILINE)))
    names = ("answer", "calls", "digest", "question", "sealed", "serve")
    sha2 = "_sha2" if sys.version_info >= (3, 12) else "_sha256"
    ours = {f"filevault.lane.{name}" for name in names}
    assert found[0] - found[1] == {
        *("filevault", "filevault.__main__", "filevault.lane", "gc", sha2, "_ctypes"),
        *ours,
    }
    assert "`cryptography`" in PAGE.read_text().partition("## What is imported")[2]


def test_the_key_is_read_where_the_process_cannot_be_traced(keyed: HotLane) -> None:
    keyed.cached()
    done = subprocess.run(
        [*keyed.watched("sealed", "key_text"), *EXEC], env=keyed.environ(), capture_output=True
    )
    assert done.stdout.startswith(b"0\n0\nHOME="), done.stderr


def test_with_a_key_file_a_hit_writes_nothing(keyed: HotLane) -> None:
    keyed.cached()
    before = keyed.picture()
    assert isinstance(keyed.ask(), Child)
    assert keyed.picture() == before


def test_with_a_key_file_parallel_runs_while_the_config_is_rewritten_get_one_of_both(
    keyed: HotLane,
) -> None:
    check_rewritten(keyed, 12)


@pytest.mark.torture
def test_with_a_key_file_64_parallel_runs_get_one_of_both(keyed: HotLane) -> None:
    check_rewritten(keyed, 64)


# Where the key is


def test_the_key_may_be_in_a_variable(keyed: HotLane) -> None:
    text = key_file(keyed).read_text().strip()
    env: dict[str, str | None] = {"FILEVAULT_KEY_FILE": None, "FILEVAULT_KEY": text}
    normal = keyed.cached(env=env)
    assert keyed.ask(env=env) == normal
    assert b"variable FILEVAULT_KEY" in keyed.newest.read_bytes()
    other = text[:-3] + ("AAA" if text[-3:] != "AAA" else "BBB")
    assert keyed.ask(env={**env, "FILEVAULT_KEY": other}) == "the key file does not open the answer"
    for path in keyed.answers:
        assert text[16:30].encode() not in path.read_bytes()


def test_the_key_file_may_be_named_by_an_option(keyed: HotLane) -> None:
    env: dict[str, str | None] = {"FILEVAULT_KEY_FILE": None}
    words = (EXEC[0], "--key-file", str(key_file(keyed)), *EXEC[1:])
    assert keyed.cached(words, env) == keyed.ask(words, env)
    assert isinstance(keyed.ask((EXEC[0], "--key-file", "/no/such", *EXEC[1:]), env), str)
    relative = (EXEC[0], "--key-file", "key", *EXEC[1:])
    assert keyed.ask(relative, env) == "an option has a relative path"


def test_the_key_may_be_provided_by_the_system(keyed: HotLane, tmp_path: Path) -> None:
    """As by systemd; a credential that appears in a folder that comes first counts at once."""
    folder = tmp_path / "credentials"
    folder.mkdir(mode=0o700)
    shutil.copy(key_file(keyed), folder / "filevault-key")
    (folder / "filevault-key").chmod(0o400)
    env: dict[str, str | None] = {
        "FILEVAULT_KEY_FILE": None,
        "CREDENTIALS_DIRECTORY": str(folder),
    }
    time.sleep(TICK)
    assert keyed.cached(env=env) == keyed.ask(env=env)
    assert keyed.ask(env={**env, "CREDENTIALS_DIRECTORY": None}) == "a variable has changed"
    (folder / "filevault-key").unlink()
    assert isinstance(keyed.ask(env=env), str)


def test_what_makes_a_readable_key_file_acceptable_is_a_witness(
    keyed: HotLane, tmp_path: Path
) -> None:
    """Others may read it where the system provides it; that folder may be a link."""
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir(mode=0o700)
    shutil.copy(key_file(keyed), real / "key")
    (real / "key").chmod(0o444)
    link.symlink_to("real")
    env: dict[str, str | None] = {
        "FILEVAULT_KEY_FILE": str(real / "key"),
        "CREDENTIALS_DIRECTORY": str(link),
    }
    time.sleep(TICK)
    assert keyed.cached(env=env) == keyed.ask(env=env)
    link.unlink()
    assert isinstance(keyed.ask(env=env), str)
    assert keyed.run(env=env).path == "exit 125"
    assert isinstance(keyed.ask(env=env), str)


def test_a_link_to_the_key_file_is_followed_and_a_witness(keyed: HotLane, tmp_path: Path) -> None:
    """As Kubernetes mounts secrets."""
    link = tmp_path / "key"
    link.symlink_to(key_file(keyed))
    env: dict[str, str | None] = {"FILEVAULT_KEY_FILE": str(link)}
    time.sleep(TICK)
    keyed.cached(env=env)
    link.unlink()
    shutil.copy2(key_file(keyed), link)
    assert isinstance(keyed.ask(env=env), str)


def test_the_variable_must_name_the_same_file(keyed: HotLane, tmp_path: Path) -> None:
    """The question has only its name; a copy that others can read would be refused."""
    keyed.cached()
    copy = tmp_path / "copy"
    shutil.copy(key_file(keyed), copy)
    copy.chmod(0o644)
    missed = keyed.ask(env={"FILEVAULT_KEY_FILE": str(copy)})
    assert missed == "the key is another one"
    assert isinstance(keyed.ask(), Child)


def pipe(keyed: HotLane, folder: Path) -> dict[str, str | None]:
    path = folder / "pipe"
    os.mkfifo(path, 0o600)
    threading.Thread(target=lambda: path.write_bytes(key_file(keyed).read_bytes())).start()
    return {"FILEVAULT_KEY_FILE": str(path)}


def command(keyed: HotLane, _folder: Path) -> dict[str, str | None]:
    return {"FILEVAULT_KEY_FILE": None, "FILEVAULT_KEY_COMMAND": f"cat '{key_file(keyed)}'"}


def relative(keyed: HotLane, _folder: Path) -> dict[str, str | None]:
    return {"FILEVAULT_KEY_FILE": os.path.relpath(key_file(keyed))}


@pytest.mark.parametrize("source", [pipe, command, relative])
def test_a_key_that_may_be_another_next_time_caches_nothing(
    keyed: HotLane, tmp_path: Path, source: Callable[[HotLane, Path], dict[str, str | None]]
) -> None:
    for path in keyed.answers:
        path.unlink()
    env = source(keyed, tmp_path)
    assert keyed.run(env=env).path == "/usr/bin/env"
    assert keyed.answers == []


# Changes


def test_with_a_key_file_every_kind_of_change_is_a_miss(keyed: HotLane) -> None:
    keyed.cached()
    every = cases(keyed)
    paths = {path for path, _kind, _change in every}
    assert key_file(keyed) in paths
    assert {"slots", "vault.json", "session-key.fv"} <= {path.name for path in paths}
    chosen = {(kind, change): path for path, kind, change in random.sample(every, len(every))}
    for (kind, change), path in chosen.items():
        check_miss(keyed, (path, kind, change))
    for change in CHANGES["file"]:
        check_miss(keyed, (key_file(keyed), "file", change))
    keyed.cached()


@pytest.mark.torture
def test_with_a_key_file_every_change_of_every_witness_is_a_miss(keyed: HotLane) -> None:
    for words in (EXEC, EXPORT):
        keyed.cached(words)
        for case in cases(keyed):
            check_miss(keyed, case, words)


def delete_session(keyed: HotLane) -> None:
    for path in keyed.machine.state.rglob("*.fvs"):
        path.unlink()


def other_slot(keyed: HotLane) -> None:
    new = keyed.machine.home / f"key-{random.getrandbits(32):x}"
    keyed.machine.ok("slot", "add", "--new-key-file", str(new), env=keyed.opens)


ENDS: dict[str, Callable[[HotLane], object]] = {
    "lock": lambda keyed: keyed.machine.ok("lock"),
    "clear": lambda keyed: keyed.machine.ok("clear"),
    "clear of another": lambda keyed: keyed.machine.ok("clear", "work"),
    "refresh": lambda keyed: keyed.obtain("--refresh"),
    "slot add": other_slot,
    "rekey": lambda keyed: keyed.machine.ok("rekey", "--drop-slots", env=keyed.opens),
    "a deleted session": delete_session,
}


@pytest.mark.parametrize("end", ENDS)
def test_it_ends_a_sealed_answer(keyed: HotLane, end: str) -> None:
    keyed.cached()
    ENDS[end](keyed)
    assert isinstance(keyed.ask(), str)
    keyed.obtain()


def test_a_key_file_whose_keyslot_is_removed_opens_no_answer(
    tmp_path: Path, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane = HotLane(tmp_path / "home", aws, monkeypatch, "")
    try:
        lane.cached()
        kept = [(path, path.read_bytes()) for path in lane.answers]
        new = lane.machine.home / "new-key"
        lane.machine.ok("slot", "add", "--new-key-file", str(new), env=lane.opens)
        lane.machine.ok("rekey", "--drop-slots", env={"FILEVAULT_KEY_FILE": str(new)})
        for path, data in kept:  # as from a copy
            path.write_bytes(data)
        assert isinstance(lane.ask(), str)
        assert lane.run(EXPORT).path != "exit 0"
    finally:
        lane.close()


def test_a_run_that_is_overtaken_leaves_no_answer(
    keyed: HotLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in keyed.answers:
        path.unlink()
    write, written = cached_answers._Folder.write, []

    def overtaken(folder: cached_answers._Folder, asked: bytes, data: bytes) -> None:
        keyed.machine.ok("clear")
        written.append(asked)
        write(folder, asked, data)

    with monkeypatch.context() as patch:
        patch.setattr(cached_answers._Folder, "write", overtaken)
        keyed.run()
    assert written
    assert keyed.answers == []
    keyed.obtain()


@pytest.mark.parametrize(
    ("wall", "boot", "reason"),
    [
        (3, 0, "the clock was set"),
        (0, 3, "the clock was set"),
        (9 * 3600, 9 * 3600, "its time is over"),
        (1800, 1800, None),
    ],
)
def test_with_a_key_file_clocks_that_moved_are_a_miss(
    keyed: HotLane, wall: float, boot: float, reason: str | None
) -> None:
    keyed.cached()
    found = keyed.ask(wall=wall, boot=boot)
    assert isinstance(found, Child) if reason is None else found == reason


def test_it_is_turned_off_as_the_other_answers_are(keyed: HotLane) -> None:
    keyed.cached()
    assert isinstance(keyed.ask(env={"FILEVAULT_NO_LANE": "1"}), str)
    folder = keyed.machine.home / ".config/filevault"
    for text in ("lane = false\n", "log = true\n"):
        folder.mkdir(parents=True)
        (folder / "config.toml").write_text(text)
        for _ in range(3):
            time.sleep(TICK)
            keyed.run()
            assert isinstance(keyed.ask(), str)
        shutil.rmtree(keyed.machine.home / ".config")


def test_a_program_of_32_bits_records_nothing(
    keyed: HotLane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The calls of the lane are those of 64 bits: it would be recorded again each time."""
    for path in keyed.answers:
        path.unlink()
    monkeypatch.setattr(sys, "maxsize", (1 << 31) - 1)
    assert keyed.run().path == "/usr/bin/env"
    assert keyed.answers == []


# The file


def test_the_file_is_what_the_format_page_says(keyed: HotLane) -> None:
    """Opened with the primitives alone."""
    child = keyed.cached()
    data = keyed.newest.read_bytes()
    lines = data.partition(b"\n\n")[0].split(b"\n")
    store, slot, state, kind, size = lines[2].split(b" ")
    assert (store, kind) == (b"key-file", b"environment")
    assert slot == b"0"
    path = os.fsencode(key_file(keyed))
    assert lines[5] == b"file " + path
    head, body = data[: data.index(b"\n\n") + 2], data[data.index(b"\n\n") + 2 :]
    salt, nonce, rest = body[:32], body[32:44], body[44:]
    assert len(rest) == int(size) + 16
    info = b"filevault/1 answer" + state
    key = HKDF(SHA256(), 32, salt, info).derive(key_file(keyed).read_bytes())
    content = AESGCM(key).decrypt(nonce, rest, head)
    sets = dict(word.split(b"=", 1) for word in content.split(b"\0") if b"=" in word)
    assert sets[b"AWS_SESSION_TOKEN"] == dict(child.env)[b"AWS_SESSION_TOKEN"]


def test_the_file_alone_says_nothing(keyed: HotLane) -> None:
    child = dict(keyed.cached().env)
    for name in (b"AWS_SESSION_TOKEN", b"AWS_SECRET_ACCESS_KEY", b"AWS_ACCESS_KEY_ID"):
        for path in keyed.answers:
            assert child[name][:12] not in path.read_bytes()


def test_a_sealed_answer_that_another_wrote_is_not_served(keyed: HotLane) -> None:
    keyed.cached()
    mine = keyed.newest
    older = mine.read_bytes()
    for config in (keyed.machine.home / "dotfiles").iterdir():
        config.write_bytes(config.read_bytes())
    keyed.cached()
    assert keyed.newest == mine
    now = mine.read_bytes()
    for at in [*range(0, len(now), 37), *range(len(now) - 80, len(now), 3)]:
        mine.write_bytes(now[:at] + bytes([now[at] ^ 1]) + now[at + 1 :])
        assert isinstance(keyed.ask(), str), at
    mine.write_bytes(older)
    assert isinstance(keyed.ask(), str)
    copy = key_file(keyed).with_name("copy-of-key")
    shutil.copy(key_file(keyed), copy)
    origin = b"\nfile " + os.fsencode(key_file(keyed)) + b"\n"
    for other in (
        b"\nfile " + os.fsencode(copy) + b"\n",
        b"\nfile /dev/zero\n",
        b"\nfile /\n",
        b"\nvariable FILEVAULT_KEY\n",
        b"\nvariable HOME\n",
        b"\nother x\n",
        b"\n",
    ):
        mine.write_bytes(now.replace(origin, other, 1))
        assert isinstance(keyed.ask(env={"FILEVAULT_KEY": "x"}), str)
        assert isinstance(keyed.ask(), str), other
    mine.write_bytes(now)
    assert isinstance(keyed.ask(), Child)
    copy.unlink()


FORGED = b"AWS_ACCESS_KEY_ID=other\0AWS_ENDPOINT_URL=http://other.example\0FILEVAULT_KEY_FILE"


@pytest.mark.parametrize("env", [{}, {"FILEVAULT_KEY_FILE": None}, {"FILEVAULT_KEY_FILE": ""}])
def test_an_answer_cannot_name_another_key(keyed: HotLane, env: dict[str, str | None]) -> None:
    """The file says where its key is; one that another process made names a text it knows."""
    keyed.cached()
    question = ask(list(EXEC), keyed.environ(env))
    real = answer.Half(keyed.newest.read_bytes(), ask(list(EXEC), keyed.environ()).digest)
    known = keyed.machine.home / "known"
    known.write_bytes(b"known")
    known.chmod(0o600)
    path = keyed.newest.with_name(question.digest.hex()[:32])
    kept = path.read_bytes() if path.exists() else None
    for where, text in (
        (b"file " + os.fsencode(known), b"known"),
        (b"file /dev/null", b""),
        (b"file " + os.fsencode(keyed.machine.config), keyed.machine.config.read_bytes()),
        (b"variable FILEVAULT_KEY", b""),
        (b"variable HOME", os.fsencode(keyed.machine.home)),
    ):
        head = answer.head(
            question.digest,
            (answer.SEALED, 0, real.state),
            (answer.KINDS[0], len(FORGED)),
            (real.wall_deadline, real.boot_deadline, real.drift),
            [],
            answer.variables_digest([], {}),
            [where],
        )
        path.write_bytes(sealed.seal(head, real.state, FORGED, text))
        path.chmod(0o600)
        assert keyed.ask(env=env) == "the key is another one", where
    path.unlink()
    if kept is not None:
        path.write_bytes(kept)
    known.unlink()
    keyed.cached()


FILE, VARIABLE = answer.ORIGINS
ORIGINS: dict[str, tuple[bytes, dict[bytes, bytes], list[tuple[bytes, bytes]]]] = {
    "the option before the variable": (b"/a", {b"FILEVAULT_KEY_FILE": b"/b"}, [(FILE, b"/a")]),
    "the variable with a path": (b"", {b"FILEVAULT_KEY_FILE": b"/b"}, [(FILE, b"/b")]),
    "below the home": (b"~/a", {b"HOME": b"/h/"}, [(FILE, b"/h/a")]),
    "a relative path": (b"", {b"FILEVAULT_KEY_FILE": b"b"}, []),
    "another user's home": (b"", {b"FILEVAULT_KEY_FILE": b"~root/b"}, []),
    "the key": (b"", {b"FILEVAULT_KEY": b"k"}, [(VARIABLE, b"FILEVAULT_KEY")]),
    "no key": (b"", {b"FILEVAULT_KEY": b""}, []),
    "a command": (b"", {b"FILEVAULT_KEY_COMMAND": b"c"}, []),
    "a passphrase": (b"", {b"FILEVAULT_PASSPHRASE": b"p"}, []),
    "of the system": (
        b"",
        {b"CREDENTIALS_DIRECTORY": b"/c"},
        [(FILE, b"/c/filevault-key"), (FILE, b"/run/secrets/filevault_key")],
    ),
    "a relative folder": (
        b"",
        {b"CREDENTIALS_DIRECTORY": b"c"},
        [(FILE, b"/run/secrets/filevault_key")],
    ),
}


@pytest.mark.parametrize("case", ORIGINS)
def test_the_key_is_where_the_normal_path_takes_it_from(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    option, given, expected = ORIGINS[case]
    environ = {b"HOME": os.fsencode(tmp_path), **given}
    assert sealed._origins(option, environ) == expected
    tried = []

    def read(path: str, _home: object, **_options: object) -> bytearray:
        tried.append(os.fsencode(path))
        raise FileNotFoundError

    monkeypatch.setattr(secret_sources, "read_secret", read)
    every = {os.fsdecode(name): os.fsdecode(value) for name, value in environ.items()}
    secrets = {name: value for name, value in every.items() if name.startswith("FILEVAULT_")}
    options = GlobalOptions(key_file=os.fsdecode(option) or None)
    settings = Settings({"HOME": every["HOME"], **every}, options, secrets)
    kinds = ("passphrase", "keyfile")
    source = secret_sources.named_source(settings, *kinds)
    if source is None:
        assert secret_sources.provided_secret(settings, *kinds[::-1]) is None
        assert [path for path in tried if path.endswith(b"key")] == [path for _, path in expected]
        return
    origin = secret_sources.key_origin(source, settings)
    if expected:
        assert origin is not None
        assert expected == [
            (VARIABLE, os.fsencode(origin.variable))
            if origin.variable
            else (FILE, os.fsencode(origin.path))
        ]


@pytest.mark.parametrize("change", ["another owner", "others can write it", "a folder", "a pipe"])
def test_a_key_file_that_others_could_replace_is_not_read(tmp_path: Path, change: str) -> None:
    path = tmp_path / "key"
    if change == "a folder":
        path.mkdir(0o700)
    elif change == "a pipe":
        os.mkfifo(path, 0o600)
    else:
        path.write_bytes(b"k")
        path.chmod(0o620 if change == "others can write it" else 0o600)
    where = os.fsencode(path)
    with pytest.MonkeyPatch.context() as patch:
        if change == "another owner":
            os.chown(path, 12345, -1)
            patch.setattr(posix, "geteuid", lambda: 54321)
        with pytest.raises(MissError, match="not one"):
            sealed.key_text((FILE, where), where, {})


def test_at_most_32_are_cached_and_the_oldest_goes(keyed: HotLane) -> None:
    for path in keyed.answers:
        path.unlink()
    lines = [("export", "admin", "--min-ttl", f"{number}m") for number in range(1, 36)]
    for words in lines:
        keyed.run(words)
    assert len(keyed.answers) == answer.SEALED_ANSWERS
    hits = [isinstance(keyed.ask(words), Child) for words in lines]
    assert hits == [False] * 3 + [True] * 32
    keyed.run(lines[-1])
    assert len(keyed.answers) == answer.SEALED_ANSWERS


def test_runs_that_record_at_once_leave_32_in_the_end(keyed: HotLane) -> None:
    """Each counts before it writes, so that together they may write more."""
    data = keyed.cached() and keyed.newest.read_bytes()
    for number in range(60):
        copy = keyed.newest.with_name(f"{number:032x}")
        copy.write_bytes(data)
        copy.chmod(0o600)
    other = ("export", "admin", "--min-ttl", "1m")
    keyed.cached(other)
    assert len(keyed.answers) == answer.SEALED_ANSWERS
    assert isinstance(keyed.ask(other), Child)


def test_on_a_full_disk_no_part_of_an_answer_is_left(keyed: HotLane) -> None:
    keyed.cached()
    size = keyed.newest.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for most in (0, size // 2, size - 1):
        for path in keyed.answers:
            path.unlink()
        with contextlib.ExitStack() as back:
            back.callback(resource.setrlimit, resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as Python has it at its start
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
            assert keyed.run().path == "/usr/bin/env"
        assert keyed.answers == [], most
    keyed.run()
    assert len(keyed.answers) == 1


@pytest.mark.torture
def test_a_kill_at_any_call_of_the_recording_does_no_harm(keyed: HotLane, tmp_path: Path) -> None:
    expected = keyed.cached(EXPORT).printed
    trace = tmp_path / "trace"

    def record(*options: str) -> list[str]:
        for path in keyed.answers:
            path.unlink()
        argv = [tool("strace"), "-f", "-o", str(trace), *options, *keyed.whole(*EXPORT)]
        subprocess.run(argv, env=keyed.environ(), capture_output=True)
        return trace.read_text().splitlines()

    numbers: collections.Counter[str] = collections.Counter()
    calls: list[tuple[str, int]] = []
    for line in record():
        name = line.split(maxsplit=1)[1].partition("(")[0]
        numbers[name] += 1
        if calls or (name == "mkdir" and "/answers" in line):
            calls.append((name, numbers[name]))
    assert {"renameat", "write"} <= {name for name, _ in calls}
    for name, number in calls[:-1]:
        last = record(f"-etrace={name}", f"-einject={name}:signal=KILL:when={number}")[-1]
        assert "killed by SIGKILL" in last, (name, number)
        assert keyed.cached(EXPORT).printed == expected
        found = keyed.ask(EXPORT)
        assert isinstance(found, Child)
        assert found.printed == expected
        assert len(keyed.answers) <= 2  # what was written and not renamed counts as an answer


@needs_kernel_keyring
def test_it_stands_beside_answers_in_two_halves(
    tmp_path: Path, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the vault is unlocked its answers come from the key store, then from the key file."""
    lane = HotLane(tmp_path / "home", aws, monkeypatch)
    try:
        expected = lane.cached(EXPORT, lane.opens)
        assert b"\nkernel " in lane.newest.read_bytes()
        lane.machine.ok("lock")
        assert lane.cached(EXPORT, lane.opens) == expected
        assert b"\nkey-file " in lane.newest.read_bytes()
        lane.unlock()
        assert lane.cached(EXPORT, lane.opens) == expected
    finally:
        lane.close()


@pytest.mark.parametrize("size", [1, 1841, answer.MAX_SEALED, answer.MAX_SEALED + 1])
def test_an_answer_of_every_length_up_to_the_bound_is_opened(size: int) -> None:
    content = random.randbytes(size)
    environ = {b"FILEVAULT_KEY": b"filevault-key-1:x"}
    question = bytes(32)
    head = answer.head(
        question,
        (answer.SEALED, 0, b"a" * 32),
        (b"text", size),
        (1, 2, 3),
        [],
        b"0" * 64,
        [b"variable FILEVAULT_KEY", b"A /nothing"],
    )
    data = sealed.seal(head, b"a" * 32, content, b"filevault-key-1:x")
    if size > answer.MAX_SEALED:
        with pytest.raises(MissError, match="not understood"):
            answer.Half(data, question)
        return
    assert sealed.unseal(answer.Half(data, question), b"", environ) == content
    for other in (
        {},
        {b"FILEVAULT_KEY": b""},
        {b"FILEVAULT_KEY": b"y"},
        {**environ, b"FILEVAULT_KEY_FILE": b"/k"},
    ):
        with pytest.raises(MissError):
            sealed.unseal(answer.Half(data, question), b"", other)
    with pytest.raises(MissError):
        sealed.unseal(answer.Half(data, question), b"/k", environ)
