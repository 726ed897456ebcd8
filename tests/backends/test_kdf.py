from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from hypothesis import given, settings
from hypothesis import strategies as st

from filevault.backends import kdf
from filevault.backends.kdf import DEFAULT, STANDARD, KdfParameters
from filevault.errors import BackendError, FilevaultError, LockedError, TamperedError
from tests.conditions.work_limits import at_most

if TYPE_CHECKING:
    from pathlib import Path

PLENTY = 1 << 40


def pyca(passphrase: bytes, salt: bytes, costs: KdfParameters, length: int = 64) -> bytes:
    return Argon2id(
        salt=salt,
        length=length,
        iterations=costs.iterations,
        lanes=costs.lanes,
        memory_cost=costs.memory_kib,
    ).derive(passphrase)


# The reference implementation's known answers for Argon2id, version 0x13, 32 bytes.
KNOWN = [
    (2, 16, 1, b"password", b"somesalt",
     "09316115d5cf24ed5a15a31a3ba326e5cf32edc24702987c02b6566f61913cf7"),
    (2, 8, 1, b"password", b"somesalt",
     "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe"),
    (2, 8, 2, b"password", b"somesalt",
     "6d093c501fd5999645e0ea3bf620d7b8be7fd2db59c20d9fff9539da2bf57037"),
    (1, 16, 1, b"password", b"somesalt",
     "f6a5adc1ba723dddef9b5ac1d464e180fcd9dffc9d1cbf76cca2fed795d9ca98"),
    (4, 16, 1, b"password", b"somesalt",
     "9025d48e68ef7395cca9079da4c4ec3affb3c8911fe4f86d1a2520856f63172c"),
    (2, 16, 1, b"differentpassword", b"somesalt",
     "0b84d652cf6b0c4beaef0dfe278ba6a80df6696281d7e0d2891b817d8c458fde"),
    (2, 16, 1, b"password", b"diffsalt",
     "bdf32b05ccc42eb15d58fd19b1f856b113da1e9a5874fdcc544308565aa8141c"),
]  # fmt: skip


@pytest.mark.parametrize(("iterations", "log2", "lanes", "password", "salt", "answer"), KNOWN)
def test_both_libraries_give_the_known_answers(
    iterations: int, log2: int, lanes: int, password: bytes, salt: bytes, answer: str
) -> None:
    from argon2.low_level import Type, hash_secret_raw

    costs = KdfParameters(1 << log2, iterations, lanes)
    assert pyca(password, salt, costs, 32).hex() == answer
    raw = hash_secret_raw(
        password, salt, costs.iterations, costs.memory_kib, costs.lanes, 32, Type.ID, 0x13
    )
    assert raw.hex() == answer


@settings(deadline=None, max_examples=40)
@given(
    passphrase=st.binary(min_size=1, max_size=80),
    salt=st.binary(min_size=16, max_size=64),
    iterations=st.integers(1, 4),
    lanes=st.integers(1, 8),
    more=st.integers(0, 200),
)
def test_derivation_agrees_with_another_implementation(
    passphrase: bytes, salt: bytes, iterations: int, lanes: int, more: int
) -> None:
    costs = KdfParameters(8 * lanes + more, iterations, lanes)
    assert kdf.derive(passphrase, salt, costs) == pyca(passphrase, salt, costs)


def test_default_costs_agree_with_another_implementation() -> None:
    assert kdf.derive(b"secret", b"s" * 16, DEFAULT) == pyca(b"secret", b"s" * 16, DEFAULT)


def test_memory_that_is_not_to_be_had_is_a_backend_error() -> None:
    with pytest.raises(BackendError, match="not enough memory") as caught:
        kdf.derive(b"secret", b"s" * 16, KdfParameters(2**32 - 1, 1, 1))  # 4 TiB
    assert caught.value.exit_status == 7


@pytest.mark.parametrize(
    ("costs", "kind"),
    [
        (KdfParameters(19455, 3, 4), LockedError),
        (KdfParameters(19456, 0, 4), TamperedError),
        (KdfParameters(19456, 17, 4), TamperedError),
        (KdfParameters(19456, 3, 0), TamperedError),
        (KdfParameters(19456, 3, 17), TamperedError),
        (KdfParameters((1 << 20) + 1, 1, 1), TamperedError),
        (KdfParameters(1 << 20, 5, 1), TamperedError),
        (KdfParameters((1 << 18) + 1, 16, 1), TamperedError),
        (KdfParameters(2**53 - 1, 1, 1), TamperedError),
    ],
)
def test_cost_out_of_bounds_is_refused(costs: KdfParameters, kind: type[FilevaultError]) -> None:
    with pytest.raises(kind, match="keyslot 'x'"):
        kdf.check_bounds(costs, STANDARD, lambda: PLENTY, "keyslot 'x'")


@pytest.mark.parametrize(
    "costs",
    [
        DEFAULT,
        KdfParameters(19456, 1, 1),
        KdfParameters(19456, 16, 16),
        KdfParameters(1 << 20, 4, 4),
        KdfParameters(1 << 18, 16, 4),
    ],
)
def test_cost_at_the_bounds_is_allowed(costs: KdfParameters) -> None:
    kdf.check_bounds(costs, STANDARD, lambda: PLENTY, "it")


@pytest.mark.parametrize(
    ("memory_kib", "available"), [(262144, 524288), (65537, 131074), (65536, 0)]
)
def test_half_of_the_available_memory_is_allowed(memory_kib: int, available: int) -> None:
    # The default works on the smallest machine that can run it.
    kdf.check_bounds(KdfParameters(memory_kib, 1, 1), STANDARD, lambda: available, "it")


@pytest.mark.parametrize(("memory_kib", "available"), [(262145, 524288), (65537, 131073)])
def test_more_than_half_of_the_available_memory_is_refused(memory_kib: int, available: int) -> None:
    with pytest.raises(LockedError, match="this machine can spare"):
        kdf.check_bounds(KdfParameters(memory_kib, 1, 1), STANDARD, lambda: available, "it")


def test_default_cost_never_asks_for_the_available_memory() -> None:
    def asked() -> int:
        raise AssertionError

    kdf.check_bounds(DEFAULT, STANDARD, asked, "it")


def test_floor_is_lifted_only_by_its_own_policy() -> None:
    weak = KdfParameters(64, 1, 1)
    with pytest.raises(LockedError) as caught:
        kdf.check_bounds(weak, STANDARD, lambda: PLENTY, "it")
    assert caught.value.hint is not None
    assert "--allow-weak-kdf" in caught.value.hint
    kdf.check_bounds(weak, STANDARD.without_floor(), lambda: PLENTY, "it")
    with pytest.raises(TamperedError, match="too little for 9 lanes"):
        kdf.check_bounds(KdfParameters(64, 1, 9), STANDARD.without_floor(), lambda: PLENTY, "it")
    assert STANDARD.without_floor().default == DEFAULT


def test_refusing_a_bomb_takes_no_time() -> None:
    bomb = KdfParameters(2**53 - 1, 2**53 - 1, 2**53 - 1)
    with at_most(0.5):
        for _ in range(100):
            with pytest.raises(TamperedError):
                kdf.check_bounds(bomb, STANDARD, int, "it")


def tree(root: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return str(root)


MEMINFO = "MemTotal:       32000000 kB\nMemFree: 1 kB\nMemAvailable:    8000000 kB\n"


@pytest.mark.parametrize(
    ("files", "kib"),
    [
        ({}, 8000000),
        # version 2: the group itself, its parent, "max", and a group without a file
        (
            {"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "1048576000\n"},
            1024000,
        ),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/b/memory.max": "max\n",
                "sys/fs/cgroup/a/memory.max": "104857600\n",
            },
            102400,
        ),
        # in a container: the path is the host's, the limit is at the mount's root
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "268435456\n"}, 262144),
        (
            {"proc/self/cgroup": "0::/../../x\n", "sys/fs/cgroup/memory.max": "268435456\n"},
            262144,
        ),
        # version 1, and its way of saying that there is no limit
        (
            {
                "proc/self/cgroup": "9:name=systemd:/\n4:memory:/docker/x\n0::/\n",
                "sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes": "536870912\n",
            },
            524288,
        ),
        (
            {
                "proc/self/cgroup": "4:cpu,memory:/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            },
            8000000,
        ),
        ({"proc/self/cgroup": "nonsense\n\n:::\n"}, 8000000),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "all of it\n"}, 8000000),
    ],
)
def test_available_memory_is_the_least_limit(
    files: dict[str, str], kib: int, tmp_path: Path
) -> None:
    root = tree(tmp_path, {"proc/meminfo": MEMINFO, **files})
    assert kdf.available_memory(root) == kib


def test_available_memory_falls_back_to_what_the_system_has(tmp_path: Path) -> None:
    assert kdf.available_memory(str(tmp_path)) > 65536


def test_available_memory_is_known_on_this_machine() -> None:
    assert 0 < kdf.available_memory() < 1 << 40


@pytest.mark.parametrize(
    ("given", "derived"),
    [
        (b"correct horse", b"correct horse"),
        (b"trailing \n", b"trailing \n"),
        ("cafe\u0301".encode(), "caf\u00e9".encode()),
        ("\u212b".encode(), "\u00c5".encode()),
        ("\ud55c\uad6d".encode(), "\ud55c\uad6d".encode()),
        ("\ufb01".encode(), "\ufb01".encode()),  # a ligature has no canonical decomposition
    ],
)
def test_passphrase_is_brought_into_form_nfc(given: bytes, derived: bytes) -> None:
    assert kdf.passphrase_bytes(given, "it") == derived


@pytest.mark.parametrize(
    ("given", "words"),
    [(b"", "empty"), (b"a\x00b", "zero byte"), (b"caf\xe9", "UTF-8"), (b"\xed\xa0\x80", "UTF-8")],
)
def test_what_is_no_passphrase_is_refused_without_showing_it(given: bytes, words: str) -> None:
    with pytest.raises(LockedError, match=f"^the passphrase .*{words}") as caught:
        kdf.passphrase_bytes(given, "the passphrase")
    assert caught.value.__cause__ is None
    assert "caf" not in caught.value.message
