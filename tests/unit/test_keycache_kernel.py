"""The kernel's keyring as a key cache, in every session keyring that a process can be in."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from filevault.errors import BackendError
from filevault.keycache.cache import KeyCache
from filevault.keycache.cached_key import MAX_KEY_SIZE, SESSION, VAULT
from filevault.keycache.kernel import KernelKeyring, _numbers
from filevault.system.libc import function
from filevault.system.times import boottime
from tests.conditions.kernel_keyring import needs_kernel_keyring
from tests.conditions.other_user import NOBODY, as_user, needs_root

pytestmark = needs_kernel_keyring

KEY = bytes(range(32))
MARK = "0123"
KEYCTL = 1
CLEAR, SEARCH, SETPERM = 7, 10, 5
OWN_UID = 40_000 + os.getpid() % 20_000  # its keyring is used by this process of tests alone


def cache() -> KeyCache:
    return KeyCache([KernelKeyring()], boottime)


@pytest.fixture
def state_id() -> Iterator[str]:
    state = secrets.token_hex(16)
    yield state
    KernelKeyring().forget(state)


def test_a_key_comes_back_as_it_was_put(state_id: str) -> None:
    keys = cache()
    assert keys.get(state_id, SESSION, MARK) is None
    assert keys.put(state_id, SESSION, KEY, MARK, 60) == "kernel keyring"
    assert keys.put(state_id, VAULT, b"v" * MAX_KEY_SIZE, MARK, 60) == "kernel keyring"
    assert keys.get(state_id, SESSION, MARK) == KEY
    assert keys.get(state_id, VAULT, MARK) == b"v" * MAX_KEY_SIZE
    assert keys.get(state_id, SESSION, "4567") is None
    assert keys.put(state_id, SESSION, KEY[::-1], MARK, 60) == "kernel keyring"
    assert keys.get(state_id, SESSION, MARK) == KEY[::-1]
    kinds = {status.key_type: status.seconds for status in keys.entries(state_id)}
    assert set(kinds) == {SESSION, VAULT}
    assert all(0 < seconds <= 60 for seconds in kinds.values())
    assert keys.forget(state_id) == 2
    assert keys.get(state_id, SESSION, MARK) is None
    assert keys.entries(state_id) == []


def test_the_kernel_itself_drops_it_in_time(state_id: str) -> None:
    keys = KeyCache([KernelKeyring()], lambda: 0.0)  # a deadline of ours that never comes
    keys.put(state_id, SESSION, KEY, MARK, 1)
    assert keys.get(state_id, SESSION, MARK) == KEY
    deadline = time.monotonic() + 10
    while keys.get(state_id, SESSION, MARK) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_key_past_its_deadline_is_none_even_if_the_kernel_still_has_it(state_id: str) -> None:
    now = boottime()
    KeyCache([KernelKeyring()], lambda: now).put(state_id, SESSION, KEY, MARK, 3600)
    assert KeyCache([KernelKeyring()], lambda: now + 3599).get(state_id, SESSION, MARK) == KEY
    assert KeyCache([KernelKeyring()], lambda: now + 3601).get(state_id, SESSION, MARK) is None


def in_process(action: str, state: str, *prefix: str) -> str:
    """Put or get the key in a process of its own; tell what came of it."""
    script = (
        "import sys; from filevault.keycache.cache import *; "
        "from filevault.keycache.cached_key import *; "
        "from filevault.keycache.kernel import KernelKeyring; "
        "from filevault.system.libc import function; from filevault.system.times import boottime; "
        "keys = KeyCache([KernelKeyring()], boottime); state = sys.argv[1]; "
        f"print({action})"
    )
    done = subprocess.run(
        [*prefix, sys.executable, "-c", script, state], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


PUT = "keys.put(state, SESSION, bytes(range(32)), '0123', 60)"
GET = "keys.get(state, SESSION, '0123') == bytes(range(32))"
LOCK = "keys.forget(state)"
# What pam_keyinit does for ssh, sudo and cron, and `keyctl session -`.
FRESH = "function('syscall')(NUMBER, 1, 0), "


def numbers() -> tuple[int, int]:
    return _numbers()


def after_joining(action: str) -> str:
    return f"({FRESH.replace('NUMBER', str(numbers()[KEYCTL]))}{action})[1]"


@pytest.mark.parametrize("putting", [PUT, after_joining(PUT)], ids=["plain", "new session"])
@pytest.mark.parametrize("getting", [GET, after_joining(GET)], ids=["plain", "new session"])
@pytest.mark.parametrize("prefix", [(), ("setsid", "-w")], ids=["", "setsid"])
def test_it_is_found_from_any_session_keyring(
    state_id: str, putting: str, getting: str, prefix: tuple[str, ...]
) -> None:
    """The possession trap: who joins a new session keyring does not possess the user's."""
    assert in_process(putting, state_id) == "kernel keyring"
    assert in_process(getting, state_id, *prefix) == "True"
    assert in_process(putting, state_id) == "kernel keyring"  # put again over what is there
    forget = getting.replace(GET, LOCK)
    assert in_process(forget, state_id, *prefix) == "1"
    assert in_process(getting, state_id) == "False"


def test_without_the_dance_the_trap_would_be_there(state_id: str) -> None:
    """A key with the permissions it is made with is out of reach from a new session keyring."""
    add, keyctl = numbers()
    name = f"filevault:{state_id}".encode()
    function("syscall")(add, b"user", name, b"payload", 7, -4)
    read = f"function('syscall')({keyctl}, 10, -4, b'user', b'filevault:' + state.encode())"
    script = after_joining(f"function('syscall')({keyctl}, 11, {read})")
    with pytest.raises(AssertionError, match="Permission denied|Required key not available"):
        in_process(script, state_id)


def test_only_the_user_may_read_it(state_id: str) -> None:
    cache().put(state_id, SESSION, KEY, MARK, 60)
    (line,) = [line for line in Path("/proc/keys").read_text().splitlines() if state_id in line]
    assert line.split()[4] == "3f0b0000"


@needs_root
def test_another_user_can_neither_find_nor_read_it(state_id: str) -> None:
    cache().put(state_id, SESSION, KEY, MARK, 60)
    _add, keyctl = numbers()
    key = function("syscall")(keyctl, SEARCH, -4, b"user", f"filevault:{state_id}".encode())
    assert as_user(NOBODY, lambda: cache().get(state_id, SESSION, MARK)) == "None"
    read = as_user(NOBODY, lambda: KernelKeyring()._read(key))
    assert "PermissionError" in read
    forget = as_user(NOBODY, lambda: KernelKeyring()._keyctl(21, key))
    assert "PermissionError" in forget
    assert cache().get(state_id, SESSION, MARK) == KEY


@needs_root
def test_locking_all_forgets_every_vault_and_nothing_else() -> None:
    def action() -> object:
        keys = cache()
        add, keyctl = numbers()
        other = function("syscall")(add, b"user", b"somebody:else", b"x", 1, -4)
        states = [secrets.token_hex(16) for _ in range(3)]
        for each in states:
            keys.put(each, SESSION, KEY, MARK, 60)
            keys.put(each, VAULT, KEY, MARK, 60)
        count = keys.forget()
        left = [keys.get(each, SESSION, MARK) for each in states]
        still = function("syscall")(keyctl, SEARCH, -4, b"user", b"somebody:else") == other
        return count, left, still, keys.forget()

    assert as_user(OWN_UID, action) == "(6, [None, None, None], True, 0)"


@needs_root
@pytest.mark.parametrize("every", [False, True], ids=["one vault", "all"])
def test_locking_goes_on_behind_a_key_that_stays(*, every: bool) -> None:
    def action() -> object:
        keys = cache()
        _add, keyctl = numbers()
        states = [secrets.token_hex(16) for _ in range(3)]
        for each in states:
            for kind in (SESSION, VAULT):
                keys.put(each, kind, KEY, MARK, 60)
        for each in states:
            key = function("syscall")(keyctl, SEARCH, -4, b"user", f"filevault:{each}".encode())
            function("syscall")(keyctl, SETPERM, key, 0x01010000)  # to be seen, and nothing else
        try:
            keys.forget(None if every else states[0])
        except BackendError as error:
            return str(error), [keys.get(each, VAULT, MARK) is None for each in states]
        finally:
            function("syscall")(keyctl, CLEAR, -4)
        return "no error"

    said = as_user(OWN_UID, action)
    assert said.count("Permission denied".lower()) == (3 if every else 1)
    assert said.endswith(f"[True, {every}, {every}])")


@needs_root
def test_a_full_quota_is_no_error() -> None:
    """An ordinary user has 200 keys (keyrings(7)); then there is no place, and nothing breaks."""

    def action() -> object:
        add, _keyctl = numbers()
        keyring = function("syscall")(add, b"keyring", b"full", 0, 0, -2)
        try:
            for number in range(100_000):
                function("syscall")(add, b"user", b"k%d" % number, b"x" * 100, 100, keyring)
        except OSError:
            return cache().put("ab" * 16, SESSION, KEY, MARK, 60), cache().get(
                "ab" * 16, SESSION, MARK
            )
        return "no quota"

    assert as_user(OWN_UID + 1, action) == "(None, None)"


def test_a_foreign_payload_is_no_key(state_id: str) -> None:
    add, _keyctl = numbers()
    for payload in (
        b"x",
        b"filevault-cache-1 x 01\nkey",
        b"filevault-cache-1 1 01\n",
        b"\xff" * 99,
    ):
        name = f"filevault:{state_id}".encode()
        function("syscall")(add, b"user", name, payload, len(payload), -4)
        assert KernelKeyring().get(state_id, SESSION) is None
        KernelKeyring().forget(state_id)


def test_a_machine_that_we_do_not_know_has_no_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mock, as there is one machine only."""
    known = os.uname()
    other = os.uname_result((*known[:4], "vax"))
    monkeypatch.setattr(os, "uname", lambda: other)
    assert cache().put("ab" * 16, SESSION, KEY, MARK, 60) is None
    assert cache().get("ab" * 16, SESSION, MARK) is None
    assert cache().forget("ab" * 16) == 0


@pytest.mark.parametrize(
    ("machine", "bits", "expected"),
    [
        ("x86_64", 64, (248, 250)),
        ("x86_64", 32, (286, 288)),
        ("i686", 32, (286, 288)),
        ("aarch64", 64, (217, 219)),
        ("aarch64", 32, (309, 311)),
        ("armv6l", 32, (309, 311)),
        ("armv7l", 32, (309, 311)),
        ("armv8l", 32, (309, 311)),
        ("ppc64le", 64, (269, 271)),
        ("ppc64le", 32, None),
        ("mips64", 64, None),
    ],
)
def test_the_calls_numbers_are_those_of_the_program_not_of_the_kernel(
    monkeypatch: pytest.MonkeyPatch, machine: str, bits: int, expected: tuple[int, int] | None
) -> None:
    """Another number is another call. A mock, as there is one machine only."""
    known = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((*known[:4], machine)))
    monkeypatch.setattr(sys, "maxsize", (1 << (bits - 1)) - 1)
    if expected is None:
        with pytest.raises(OSError, match="not implemented"):
            _numbers()
    else:
        assert _numbers() == expected
