"""The session cache: what is found, what is passed over, what is deleted, and what it touches."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filevault.backends.sealing import envelope
from filevault.credentials import Credentials
from filevault.errors import FilevaultError, LockedError, StorageError
from filevault.sessions import (
    AS_PARENT,
    MinimumLife,
    SessionCache,
    SessionName,
    session_file,
)
from filevault.sessions.session_hash import request_hash
from filevault.system.files import Folder
from filevault.system.times import format_time
from tests.worlds.providers import PATIENT

STATE = "ab" * 16
KEY = bytes(range(32))
START = 1_795_470_313
HASH = "0123456789abcdef" * 2
NAME = SessionName("jonsmith", "get-session-token", HASH, "item:jonsmith")
HANDED_OUT = MinimumLife()


class StillClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = float(START)

    def __call__(self) -> float:
        return self.now


class OpenCache:
    """A cache with everything around it in reach."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = StillClock()
        self.key = KEY
        self.key_error: FilevaultError | None = None
        self.key_uses = 0
        self.warnings: list[str] = []
        self.folder = Folder.make(str(path))
        self.cache = SessionCache(
            self.folder, STATE, self.session_key, self.clock, self.warnings.append
        )

    def session_key(self) -> bytes:
        self.key_uses += 1
        if self.key_error is not None:
            raise self.key_error
        return self.key

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.path)) for path in self.path.glob("sessions/*/*"))

    def only_file(self) -> Path:
        (name,) = self.files()
        return self.path / name

    def rest(self, seconds: float) -> None:
        self.clock.now += seconds


@pytest.fixture
def open_cache(tmp_path: Path) -> Iterator[OpenCache]:
    made = OpenCache(tmp_path / "state")
    with made.folder:
        yield made


def made_for(seconds: int, *, key: str = "ASIAEXAMPLE", now: float = START) -> Credentials:
    return Credentials(key, "se/cr+et=", "to/ken==", int(now) + seconds, "123456789012", "arn:x")


# Found, and not


def test_what_is_stored_is_found_with_every_field(open_cache: OpenCache) -> None:
    credentials = made_for(3600)
    open_cache.cache.store(NAME, credentials)
    assert open_cache.cache.find(NAME, HANDED_OUT) == credentials
    assert open_cache.warnings == []


def test_fields_that_are_not_known_stay_unknown(open_cache: OpenCache) -> None:
    credentials = made_for(3600)._replace(account_id=None, arn=None)
    open_cache.cache.store(NAME, credentials)
    assert open_cache.cache.find(NAME, HANDED_OUT) == credentials


def test_a_file_is_named_after_owner_operation_hash_and_expiry(open_cache: OpenCache) -> None:
    open_cache.cache.store(NAME._replace(owner="team/jon:smith"), made_for(3600))
    assert open_cache.files() == [
        f"sessions/team%2Fjon%3Asmith/get-session-token-{HASH}@20261123T224513Z.fvs"
    ]
    path = open_cache.only_file()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.parent.parent.stat().st_mode & 0o777 == 0o700


def test_the_header_tells_source_and_place_and_nothing_secret(open_cache: OpenCache) -> None:
    open_cache.cache.store(NAME, made_for(3600))
    data = open_cache.only_file().read_bytes()
    parsed = envelope.parse(data, "x")
    assert parsed.header.kind == "session"
    assert parsed.header.name == f"sessions/jonsmith/get-session-token-{HASH}@20261123T224513Z"
    assert parsed.header.source == "item:jonsmith"
    assert parsed.header.generation == START
    assert parsed.header.created == format_time(START)
    assert parsed.vault == STATE
    for secret in (b"se/cr+et=", b"to/ken==", b"ASIAEXAMPLE"):
        assert secret not in data


@pytest.mark.parametrize(
    "other",
    [
        NAME._replace(owner="someone"),
        NAME._replace(operation="assume-role"),
        NAME._replace(hash="f" * 32),
    ],
)
def test_another_owner_operation_or_hash_finds_nothing(
    open_cache: OpenCache, other: SessionName
) -> None:
    open_cache.cache.store(NAME, made_for(3600))
    assert open_cache.cache.find(other, HANDED_OUT) is None


def test_credentials_without_expiry_or_token_are_not_kept(open_cache: OpenCache) -> None:
    open_cache.cache.store(NAME, made_for(3600)._replace(expiration=None))
    open_cache.cache.store(NAME, made_for(3600)._replace(session_token=None))
    assert open_cache.files() == []
    assert open_cache.key_uses == 0


def test_of_several_the_one_with_most_life_left_serves(open_cache: OpenCache) -> None:
    files = {}
    for seconds in (3600, 7200, 5400):
        open_cache.cache.store(NAME, made_for(seconds, key=f"ASIA{seconds}"))
        path = open_cache.only_file()
        files[path] = path.read_bytes()
        path.unlink()
    for path, data in files.items():
        path.write_bytes(data)
    found = open_cache.cache.find(NAME, HANDED_OUT)
    assert found is not None
    assert found.access_key_id == "ASIA7200"


def test_a_hit_opens_one_file_and_asks_for_the_key_once(
    open_cache: OpenCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        open_cache.cache.store(NAME._replace(hash=f"{number:032x}"), made_for(3600 + number))
    open_cache.cache.store(NAME, made_for(7200))
    open_cache.key_uses = 0
    read = []
    plain = Folder.read

    def counting(folder: Folder, name: str, limit: int) -> bytes:
        read.append(name)
        return plain(folder, name, limit)

    monkeypatch.setattr(Folder, "read", counting)
    assert open_cache.cache.find(NAME, HANDED_OUT) is not None
    assert read == [f"get-session-token-{HASH}@20261123T234513Z.fvs"]
    assert open_cache.key_uses == 1


def test_a_miss_neither_opens_a_file_nor_asks_for_the_key(open_cache: OpenCache) -> None:
    assert open_cache.cache.find(NAME, HANDED_OUT) is None
    open_cache.cache.store(NAME, made_for(3600))
    open_cache.key_uses = 0
    open_cache.rest(3590)
    assert open_cache.cache.find(NAME, HANDED_OUT) is None
    assert open_cache.key_uses == 0


# Minimum life


@pytest.mark.parametrize(
    ("life", "minimum", "serves_at", "renewed_at"),
    [
        (3600, HANDED_OUT, 900, 899),  # 15 minutes of an hour
        (1800, HANDED_OUT, 900, 899),  # 30 minutes are not under 30
        (1740, HANDED_OUT, 300, 299),  # 5 minutes of less
        (900, HANDED_OUT, 300, 299),
        (3600, AS_PARENT, 60, 59),
        (900, AS_PARENT, 60, 59),
        (3600, MinimumLife(3000), 3000, 2999),
        (3600, MinimumLife(0), 0, -1),
    ],
)
def test_a_session_serves_to_the_second_of_its_minimum(
    open_cache: OpenCache, life: int, minimum: MinimumLife, serves_at: int, renewed_at: int
) -> None:
    open_cache.cache.store(NAME, made_for(life))
    open_cache.rest(life - serves_at)
    assert open_cache.cache.find(NAME, minimum) is not None
    open_cache.rest(serves_at - renewed_at)
    assert open_cache.cache.find(NAME, minimum) is None


def test_a_minimum_of_the_whole_life_or_more_renews_each_time(open_cache: OpenCache) -> None:
    open_cache.cache.store(NAME, made_for(3600))
    assert open_cache.cache.find(NAME, MinimumLife(3599)) is not None
    assert open_cache.cache.find(NAME, MinimumLife(3600)) is None
    assert open_cache.cache.find(NAME, MinimumLife(7200)) is None


def test_a_moment_between_grant_and_writing_does_not_shorten_the_whole_life(
    open_cache: OpenCache,
) -> None:
    open_cache.rest(20)
    open_cache.cache.store(NAME, made_for(1800))
    open_cache.rest(1800 - 20 - 899)
    assert open_cache.cache.find(NAME, HANDED_OUT) is None  # the rule for half an hour: 15 minutes


def test_the_sealed_expiry_decides_not_the_one_in_the_name(open_cache: OpenCache) -> None:
    open_cache.cache.store(NAME, made_for(3600))
    path = open_cache.only_file()
    # Renamed to live longer: the name is authenticated, so the file serves nobody.
    path.rename(path.with_name(f"get-session-token-{HASH}@20361123T224513Z.fvs"))
    assert open_cache.cache.find(NAME, HANDED_OUT) is None
    # Sealed under a name that says more than the content: the content is believed.
    entry = f"get-session-token-{HASH}@20361123T224513Z.fvs"
    data = session_file.seal(
        KEY,
        session_file.SessionFile(STATE, "jonsmith", entry),
        "item:jonsmith",
        START,
        made_for(3600),
    )
    (path.parent / entry).write_bytes(data)
    assert open_cache.cache.find(NAME, HANDED_OUT) is not None
    open_cache.rest(3600)
    assert open_cache.cache.find(NAME, HANDED_OUT) is None


# Damage is a miss


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda _: b"\x00" * 100,
        lambda data: data[:-1],
        lambda data: data + b"\x00",
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data.replace(b'"filevault/1"', b'"filevault/2"'),
        lambda data: data.replace(STATE.encode(), b"cd" * 16),
        lambda data: data.replace(b"item:jonsmith", b"item:someone_"),
        lambda data: data.replace(b'"session"', b'"sso-token"'),
        lambda _: b"x" * (2 << 20),
    ],
)
def test_a_damaged_file_is_a_miss_stays_and_goes_with_the_next_store(
    open_cache: OpenCache, damage: object
) -> None:
    assert callable(damage)
    open_cache.cache.store(NAME, made_for(3600))
    path = open_cache.only_file()
    before = path.read_bytes()
    broken = damage(before)
    assert broken != before
    path.write_bytes(broken)

    assert open_cache.cache.find(NAME, HANDED_OUT) is None
    assert path.read_bytes() == broken
    open_cache.rest(1)
    open_cache.cache.store(NAME, made_for(3600, now=open_cache.clock()))
    assert not path.exists()
    assert open_cache.cache.find(NAME, HANDED_OUT) is not None
    assert open_cache.warnings == []


def test_every_flipped_bit_of_a_session_is_a_miss(open_cache: OpenCache) -> None:
    open_cache.cache.store(NAME, made_for(3600))
    path = open_cache.only_file()
    data = path.read_bytes()
    for position in range(0, len(data), 3):
        flipped = bytearray(data)
        flipped[position] ^= 1 << (position % 8)
        path.write_bytes(bytes(flipped))
        assert open_cache.cache.find(NAME, HANDED_OUT) is None, position


def test_a_damaged_file_does_not_hide_a_good_one(open_cache: OpenCache) -> None:
    open_cache.cache.store(NAME, made_for(3600))
    good = open_cache.only_file()
    (good.parent / f"get-session-token-{HASH}@20270101T000000Z.fvs").write_bytes(b"?")
    assert open_cache.cache.find(NAME, HANDED_OUT) is not None


def test_a_session_under_another_key_is_a_miss(open_cache: OpenCache) -> None:
    open_cache.cache.store(NAME, made_for(3600))
    open_cache.key = bytes(32)
    assert open_cache.cache.find(NAME, HANDED_OUT) is None


def test_swapped_sessions_are_misses(open_cache: OpenCache) -> None:
    other = NAME._replace(hash="f" * 32)
    open_cache.cache.store(NAME, made_for(3600))
    open_cache.cache.store(other, made_for(3600, key="ASIAOTHER"))
    first, second = (open_cache.path / name for name in open_cache.files())
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)
    assert open_cache.cache.find(NAME, HANDED_OUT) is None
    assert open_cache.cache.find(other, HANDED_OUT) is None


def test_links_folders_and_foreign_names_are_misses(open_cache: OpenCache, tmp_path: Path) -> None:
    open_cache.cache.store(NAME, made_for(3600))
    path = open_cache.only_file()
    elsewhere = tmp_path / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert open_cache.cache.find(NAME, HANDED_OUT) is None
    path.unlink()
    path.mkdir()
    assert open_cache.cache.find(NAME, HANDED_OUT) is None
    path.rmdir()
    os.mkfifo(path)
    assert open_cache.cache.find(NAME, HANDED_OUT) is None
    path.unlink()
    path.parent.rmdir()
    path.parent.symlink_to(tmp_path)
    assert open_cache.cache.find(NAME, HANDED_OUT) is None


def test_being_locked_out_is_told_and_a_lost_key_file_is_a_miss(open_cache: OpenCache) -> None:
    open_cache.cache.store(NAME, made_for(3600))
    open_cache.key_error = LockedError("nobody to ask")
    with pytest.raises(LockedError):
        open_cache.cache.find(NAME, HANDED_OUT)
    open_cache.key_error = StorageError("read-only")
    assert open_cache.cache.find(NAME, HANDED_OUT) is None
    assert open_cache.warnings == ["sessions are not kept: read-only"]


# Storing


def test_a_new_session_replaces_those_of_its_hash_and_the_expired_ones_only(
    open_cache: OpenCache,
) -> None:
    other = NAME._replace(hash="f" * 32)
    expired = NAME._replace(hash="e" * 32)
    role = NAME._replace(operation="assume-role")
    open_cache.cache.store(expired, made_for(900))
    for name in (NAME, other, role):
        open_cache.cache.store(name, made_for(3600))
    stranger = open_cache.path / "sessions/jonsmith/notes.txt"
    stranger.write_text("mine")
    open_cache.rest(1000)
    open_cache.cache.store(
        NAME, made_for(1800, now=open_cache.clock())
    )  # shorter than what it replaces
    assert open_cache.files() == [
        f"sessions/jonsmith/assume-role-{HASH}@20261123T224513Z.fvs",
        f"sessions/jonsmith/get-session-token-{HASH}@20261123T223153Z.fvs",
        f"sessions/jonsmith/get-session-token-{'f' * 32}@20261123T224513Z.fvs",
        "sessions/jonsmith/notes.txt",
    ]


def test_storing_that_fails_warns_once_and_raises_nothing(open_cache: OpenCache) -> None:
    (open_cache.path / "sessions").write_text("in the way")
    open_cache.cache.store(NAME, made_for(3600))
    open_cache.cache.store(NAME, made_for(3600))
    assert len(open_cache.warnings) == 1
    assert open_cache.warnings[0].startswith("sessions are not kept: ")


def test_an_owner_without_a_folder_name_is_not_kept_and_says_so(open_cache: OpenCache) -> None:
    name = NAME._replace(owner="x" * 300)
    assert open_cache.cache.find(name, HANDED_OUT) is None
    open_cache.cache.store(name, made_for(3600))
    assert open_cache.files() == []
    assert len(open_cache.warnings) == 1
    assert open_cache.cache.clear("x" * 300) == 0


# Deleting


def test_clear_deletes_the_sessions_of_one_profile_or_all(open_cache: OpenCache) -> None:
    for owner in ("a", "b", "team/c"):
        open_cache.cache.store(NAME._replace(owner=owner), made_for(3600))
    assert open_cache.cache.clear("team/c") == 1
    assert [owner for owner, _, _ in open_cache.cache.listing()] == ["a", "b"]
    assert not (open_cache.path / "sessions/team%2Fc").exists()
    assert open_cache.cache.clear("nobody") == 0
    assert open_cache.cache.clear() == 2
    assert open_cache.files() == []
    assert open_cache.cache.clear() == 0


def test_clear_reaches_nothing_but_sessions(open_cache: OpenCache, tmp_path: Path) -> None:
    open_cache.cache.store(NAME, made_for(3600))
    (open_cache.path / "session-key.fv").write_text("key")
    (open_cache.path / "trust.json").write_text("{}")
    (open_cache.path / "sessions/jonsmith/notes.txt").write_text("mine")
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "precious.fvs").write_text("mine")
    (open_cache.path / "sessions/link").symlink_to(victim)
    assert open_cache.cache.clear() == 1
    assert (victim / "precious.fvs").exists()
    assert (open_cache.path / "session-key.fv").exists()
    assert (open_cache.path / "trust.json").exists()
    assert open_cache.files() == ["sessions/jonsmith/notes.txt", "sessions/link/precious.fvs"]


def test_clear_works_without_the_key(open_cache: OpenCache) -> None:
    open_cache.cache.store(NAME, made_for(3600))
    open_cache.key_error = LockedError("locked")
    assert open_cache.cache.clear() == 1


def test_drop_source_deletes_what_was_made_from_it_whoever_owns_it(open_cache: OpenCache) -> None:
    role = SessionName("admin", "assume-role", "a" * 32, "item:jonsmith")
    others = SessionName("admin", "assume-role", "b" * 32, "item:jonsmith2")
    for name in (NAME, role, others):
        open_cache.cache.store(name, made_for(3600))
    broken = open_cache.path / "sessions/admin" / f"assume-role-{'c' * 32}@20261123T224513Z.fvs"
    broken.write_bytes(b"?")
    open_cache.key_error = LockedError("locked")
    assert open_cache.cache.drop_source("item:jonsmith") == 3
    assert open_cache.files() == [f"sessions/admin/assume-role-{'b' * 32}@20261123T224513Z.fvs"]


def test_nothing_to_delete_is_no_error(open_cache: OpenCache) -> None:
    assert open_cache.cache.clear() == 0
    assert open_cache.cache.clear("a") == 0
    assert open_cache.cache.drop_source("item:a") == 0
    assert open_cache.cache.listing() == []


# Listing


def test_the_listing_comes_from_names_alone(open_cache: OpenCache) -> None:
    open_cache.cache.store(NAME._replace(owner="team/a"), made_for(3600))
    open_cache.cache.store(SessionName("b", "assume-role", "b" * 32, "item:x"), made_for(900))
    for name in open_cache.files():
        (open_cache.path / name).write_bytes(b"")
    for stranger in (
        "notes.txt",
        f"guess-{HASH}@20261123T224513Z.fvs",
        f"assume-role-{HASH.upper()}@20261123T224513Z.fvs",
        f"assume-role-{HASH}@20261323T224513Z.fvs",
        f"assume-role-{HASH}.fvs",
    ):
        (open_cache.path / "sessions/b" / stranger).write_bytes(b"")
    (open_cache.path / "sessions/%zz").mkdir()
    open_cache.key_uses = 0
    assert open_cache.cache.listing() == [
        ("b", "assume-role", START + 900),
        ("team/a", "get-session-token", START + 3600),
    ]
    assert open_cache.cache.expiration(NAME._replace(owner="team/a")) == START + 3600
    assert open_cache.cache.expiration(NAME) is None
    assert open_cache.key_uses == 0


@given(
    operation=st.sampled_from(session_file.OPERATIONS),
    digest=st.binary(min_size=16, max_size=16),
    expiration=st.integers(0, 253402300799),
)
def test_a_name_survives_the_way_to_a_file_and_back(
    operation: str, digest: bytes, expiration: int
) -> None:
    name = SessionName("x", operation, digest.hex(), "item:x")
    entry = session_file.file_name(name, expiration)
    assert session_file.parse_name(entry) == session_file.FileName(
        operation, digest.hex(), expiration
    )
    assert "/" not in entry
    assert len(entry) < 120


@given(st.text())
def test_a_name_that_is_taken_apart_is_put_together_the_same(entry: str) -> None:
    named = session_file.parse_name(entry)
    if named is not None:
        name = SessionName("x", named.operation, named.hash, "item:x")
        assert session_file.file_name(name, named.expiration) == entry


VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)
REQUESTS = st.dictionaries(st.text(max_size=3), VALUES, max_size=4)


@given(REQUESTS, REQUESTS)
def test_requests_share_a_hash_only_if_they_are_equal(
    one: dict[str, object], other: dict[str, object]
) -> None:
    assert (request_hash(one) == request_hash(other)) == (one == other)
    assert request_hash(dict(reversed(one.items()))) == request_hash(one)


def test_the_hash_of_a_request_is_fixed_for_version_1() -> None:
    request = {"operation": "assume-role", "duration": 3600, "tags": [["k", "é"]], "x": None}
    canonical = rb'{"duration":3600,"operation":"assume-role","tags":[["k","\u00e9"]],"x":null}'
    assert request_hash(request) == hashlib.sha256(canonical).hexdigest()[:32]


# The lock


def test_one_at_a_time_obtains_a_session(open_cache: OpenCache) -> None:
    inside = 0
    most = 0

    def obtain() -> None:
        nonlocal inside, most
        with open_cache.cache.lock(NAME, PATIENT):
            inside += 1
            most = max(most, inside)
            threading.Event().wait(0.005)
            inside -= 1

    threads = [threading.Thread(target=obtain) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert list((open_cache.path / "locks").iterdir()) == []


def test_the_locks_of_two_sessions_are_independent(open_cache: OpenCache) -> None:
    with (
        open_cache.cache.lock(NAME, PATIENT),
        open_cache.cache.lock(NAME._replace(hash="f" * 32), PATIENT),
    ):
        pass


def test_where_no_lock_can_be_made_work_goes_on(open_cache: OpenCache) -> None:
    (open_cache.path / "locks").write_text("in the way")
    with open_cache.cache.lock(NAME, PATIENT):
        pass
    assert len(open_cache.warnings) == 1


def test_an_error_inside_the_lock_is_the_callers(open_cache: OpenCache) -> None:
    with pytest.raises(StorageError, match="mine"), open_cache.cache.lock(NAME, PATIENT):
        raise StorageError("mine")
    assert open_cache.warnings == []
