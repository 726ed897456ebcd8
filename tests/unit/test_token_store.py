"""Token records: what is read back, what is refused, what a listing shows, and the flock."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from filevault.errors import BackendError, BusyError, LockedError, StorageError
from filevault.sessions.lock_wait import LockWait
from filevault.sessions.token_store import TokenStore
from filevault.sources.token_records import (
    LOGIN,
    SSO_CLIENT,
    SSO_TOKEN,
    ListedToken,
    TokenName,
    TokenRecord,
)
from filevault.system.files import Folder

STATE = "ab" * 16
START = 1_795_470_313
SECRET = "a-refresh-token-that-nobody-may-see"
WORK = TokenName(SSO_TOKEN, ("https://work.example/start", "eu-west-1", "a"), "sso:work")
CLIENT = WORK._replace(kind=SSO_CLIENT)
ROOT = TokenName(LOGIN, ("arn:aws:iam::123456789012:root",), "login:root")
RECORD = TokenRecord({"accessToken": SECRET, "überzählig": "kept"}, START + 3600, renewable=True)


class OpenStore:
    """A store with everything around it in reach."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.key = bytes(range(32))
        self.locked = False
        self.attended = True
        self.warnings: list[str] = []
        self.said: list[str] = []
        self.now = 0.0
        self.store = TokenStore(
            Folder.make(str(path)),
            STATE,
            self.session_key,
            clock=lambda: START,
            wait=self.wait,
            warn=self.warnings.append,
        )

    def session_key(self) -> bytes:
        if self.locked:
            raise LockedError("locked")
        return self.key

    def wait(self, action: str) -> LockWait:
        return LockWait(
            self.said.append, lambda: self.attended, self.sleep, lambda: self.now, action=action
        )

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def files(self) -> list[Path]:
        return sorted(self.path.glob("[sl]*/*.fvs"))

    def only_file(self) -> Path:
        (found,) = self.files()
        return found


@pytest.fixture
def kept(tmp_path: Path) -> OpenStore:
    return OpenStore(tmp_path / "state")


@pytest.mark.parametrize("name", [WORK, CLIENT, ROOT], ids=lambda name: name.kind)
def test_a_record_is_read_as_it_was_stored(kept: OpenStore, name: TokenName) -> None:
    assert kept.store.read(name) is None
    for record in (RECORD, TokenRecord({"x": ""}), RECORD):
        kept.store.replace(name, record)
        assert kept.store.read(name) == record
    file = kept.only_file()
    assert file.stat().st_mode & 0o777 == 0o600
    assert SECRET.encode() not in file.read_bytes()
    assert SECRET not in repr(RECORD)
    assert kept.store.delete(name)
    assert not kept.store.delete(name)
    assert not kept.files()
    assert not kept.warnings


@pytest.mark.parametrize("part", range(3))
def test_another_identity_is_another_record(kept: OpenStore, part: int) -> None:
    kept.store.replace(WORK, RECORD)
    identity = list(WORK.identity)
    identity[part] += "x"
    assert kept.store.read(WORK._replace(identity=tuple(identity))) is None
    assert kept.store.read(WORK._replace(source="sso:alias")) == RECORD


def test_what_was_changed_or_exchanged_is_not_used_and_can_be_replaced(kept: OpenStore) -> None:
    other = WORK._replace(identity=("https://evil.example/start", "eu-west-1", "a"))
    kept.store.replace(WORK, RECORD)
    file = kept.only_file()
    good = file.read_bytes()
    kept.store.replace(other, RECORD)
    (wrong,) = set(kept.files()) - {file}
    flips = [good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :] for at in range(0, len(good), 7)]
    for data in (wrong.read_bytes(), b"", b"\0" * 2_000_000, good[:-1], *flips):
        file.write_bytes(data)
        assert kept.store.read(WORK) is None
        assert kept.warnings
        assert "sso:work" in kept.warnings.pop()
    kept.key = bytes(32)
    file.write_bytes(good)
    assert kept.store.read(WORK) is None
    kept.store.replace(WORK, RECORD)
    assert kept.store.read(WORK) == RECORD


def test_a_link_in_a_records_place_is_refused(kept: OpenStore, tmp_path: Path) -> None:
    (kept.path / "sso").symlink_to(tmp_path)
    with pytest.raises(StorageError, match="is a link"):
        kept.store.read(WORK)
    with pytest.raises(StorageError, match="is a link"):
        kept.store.replace(WORK, RECORD)


def test_a_listing_decrypts_nothing(kept: OpenStore) -> None:
    for name in (WORK, CLIENT, ROOT):
        kept.store.replace(name, RECORD._replace(renewable=name is WORK))
    kept.locked = True
    (kept.path / "sso" / "stray").write_text("?")
    (kept.path / "login" / f"{'0' * 32}-token.fvs").write_text("?")
    copied = kept.path / "sso" / f"{'1' * 32}-token.fvs"
    copied.write_bytes(kept.files()[0].read_bytes())
    assert sorted(kept.store.listing(), key=lambda each: each.kind) == [
        ListedToken(LOGIN, "login:root", START + 3600, renewable=False),
        ListedToken(SSO_CLIENT, "sso:work", START + 3600, renewable=False),
        ListedToken(SSO_TOKEN, "sso:work", START + 3600, renewable=True),
    ]


def test_clearing_needs_no_key_and_counts_sign_ins(kept: OpenStore) -> None:
    assert kept.store.clear_sso() == 0
    for name in (WORK, CLIENT, ROOT):
        kept.store.replace(name, RECORD)
    kept.locked = True
    assert kept.store.clear_sso() == 1
    assert [path.parent.name for path in kept.files()] == ["login"]


def clear_one(kept: OpenStore, name: TokenName) -> int:
    return int(kept.store.discard(name))


def clear_all(kept: OpenStore, _name: TokenName) -> int:
    return kept.store.clear_sso()


CLEARINGS = [(clear_one, WORK), (clear_one, ROOT), (clear_all, WORK)]


@pytest.mark.parametrize(("clear", "name"), CLEARINGS)
def test_clearing_waits_for_a_refresh_and_deletes_what_it_stored(
    kept: OpenStore, clear: Callable[[OpenStore, TokenName], int], name: TokenName
) -> None:
    kept.store.replace(name, RECORD)
    refresh = ExitStack()
    refresh.enter_context(kept.store.lock(name, "refreshing"))
    stored = []

    def ends(seconds: float) -> None:
        kept.store.replace(name, RECORD._replace(expires=START + 7200))
        stored.append(kept.store.read(name))
        refresh.close()

    kept.sleep = ends  # type: ignore[method-assign]
    assert clear(kept, name) == 1
    assert kept.files() == []
    assert kept.warnings == []
    assert len(stored) == 1


@pytest.mark.parametrize(("clear", "name"), CLEARINGS)
def test_clearing_waits_a_few_seconds_for_a_person_who_signs_in_then_deletes_with_a_warning(
    kept: OpenStore, clear: Callable[[OpenStore, TokenName], int], name: TokenName
) -> None:
    kept.store.replace(name, RECORD)
    with kept.store.lock(name, "signing in"):
        assert clear(kept, name) == 1
    assert kept.now == pytest.approx(5, abs=0.1)
    assert kept.files() == []
    (warning,) = kept.warnings
    assert "may store it again" in warning


def test_clearing_several_that_are_in_use_warns_once(kept: OpenStore) -> None:
    other = WORK._replace(identity=("https://other", *WORK.identity[1:]))
    with ExitStack() as using:
        for name in (WORK, other):
            kept.store.replace(name, RECORD)
            using.enter_context(kept.store.lock(name, "signing in"))
        assert kept.store.clear_sso() == 2
    assert kept.now == pytest.approx(5, abs=0.1)
    assert len(kept.warnings) == 1


def test_a_store_with_a_time_limit_waits_no_longer_for_a_lock(kept: OpenStore) -> None:
    brief = TokenStore(
        Folder.open(str(kept.path)),
        STATE,
        kept.session_key,
        clock=lambda: START,
        wait=kept.wait,
        warn=kept.warnings.append,
        timeout=3.0,
    )
    with (
        kept.store.lock(WORK, "refreshing"),
        pytest.raises(BusyError, match="refreshing it for 3 seconds"),
        brief.lock(WORK, "refreshing it"),
    ):
        pass
    assert kept.now == pytest.approx(3, abs=0.1)


def test_clearing_works_where_no_lock_can_be_made(kept: OpenStore) -> None:
    kept.store.replace(WORK, RECORD)
    (kept.path / "locks").write_text("no folder")
    assert kept.store.clear_sso() == 1
    assert kept.files() == []


def test_a_locked_vault_is_an_error_and_no_missing_record(kept: OpenStore) -> None:
    kept.store.replace(WORK, RECORD)
    kept.locked = True
    with pytest.raises(LockedError):
        kept.store.read(WORK)
    with pytest.raises(LockedError):
        kept.store.prepare(WORK)
    with pytest.raises(LockedError):
        kept.store.replace(WORK, RECORD)


def test_preparing_fails_where_the_record_could_not_be_replaced(kept: OpenStore) -> None:
    kept.store.prepare(WORK)
    assert kept.files() == []
    kept.store.replace(WORK, RECORD)
    before = kept.only_file().read_bytes()
    kept.store.prepare(WORK)
    assert kept.only_file().read_bytes() == before

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(StorageError, match="no space left"):
            kept.store.prepare(WORK)
    assert kept.store.read(WORK) == RECORD


def test_a_record_beyond_the_limit_leaves_the_old_one(kept: OpenStore) -> None:
    kept.store.replace(WORK, RECORD)
    with pytest.raises(BackendError, match="longer"):
        kept.store.replace(WORK, TokenRecord({"x": "y" * (1 << 20)}))
    assert kept.store.read(WORK) == RECORD


def test_of_many_that_refresh_one_does_and_the_others_find_it(kept: OpenStore) -> None:
    kept.store.replace(WORK, TokenRecord({"token": "0"}))
    refreshed = 0

    def refresh() -> None:
        nonlocal refreshed
        with kept.store.lock(WORK, "signing in"):
            record = kept.store.read(WORK)
            assert record is not None
            if record.values["token"] == "0":
                refreshed += 1
                kept.store.replace(WORK, TokenRecord({"token": "1"}))

    threads = [threading.Thread(target=refresh) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refreshed == 1
    assert list((kept.path / "locks").iterdir()) == []


def test_the_wait_says_what_for_and_ends_where_nobody_can_end_it(kept: OpenStore) -> None:
    kept.attended = False
    with (
        kept.store.lock(WORK, "signing in to 'work'"),
        kept.store.lock(ROOT, "another record's flock is free"),
        pytest.raises(BusyError, match="has been signing in to 'work' for a minute"),
        kept.store.lock(WORK, "signing in to 'work'"),
    ):
        raise AssertionError("two have the flock")
    said = "waiting for another filevault that is signing in to 'work'; Ctrl-C ends"
    assert kept.said == [said]


def test_a_check_opens_each_record_without_knowing_whose_it_is(kept: OpenStore) -> None:
    assert not kept.store.has_files()
    for name in (WORK, CLIENT, ROOT):
        kept.store.replace(name, RECORD)
    assert kept.store.has_files()
    checked = dict(kept.store.check_files(kept.key))
    assert len(checked) == 3
    assert set(checked.values()) == {None}
    first, second, *_ = kept.files()
    first.write_bytes(second.read_bytes())  # in another's place
    second.write_bytes(second.read_bytes()[:-1] + b"x")
    failed = {name for name, error in kept.store.check_files(kept.key) if error is not None}
    assert failed == {f"{path.parent.name}/{path.stem}" for path in (first, second)}
    assert None not in dict(kept.store.check_files(bytes(32))).values()
