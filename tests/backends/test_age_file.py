"""Armor, header and bounds of age files, before the library sees them."""

from __future__ import annotations

import base64
import functools
import resource
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filevault.backends.age import age_file
from filevault.errors import (
    DamagedError,
    FilevaultError,
    IntegrityError,
    LockedError,
    TamperedError,
)
from tests.conditions.work_limits import at_most
from tests.worlds.age_store import PLENTY, pair, pyrage
from tests.worlds.git_store import GitStore

if TYPE_CHECKING:
    from collections.abc import Callable

SALT = "A" * 22
BODY = "A" * 43
MAC = "A" * 43


def header(*stanzas: str, mac: str = f"--- {MAC}") -> bytes:
    return "\n".join(["age-encryption.org/v1", *stanzas, mac, ""]).encode()


def scrypt(factor: str, salt: str = SALT, body: str = BODY) -> bytes:
    return header(f"-> scrypt {salt} {factor}\n{body}") + bytes(32)


def armored(data: bytes, end: str = "\n") -> bytes:
    text = base64.b64encode(data).decode()
    lines = [text[n : n + 64] for n in range(0, len(text), 64)]
    lines = ["-----BEGIN AGE ENCRYPTED FILE-----", *lines, "-----END AGE ENCRYPTED FILE-----", ""]
    return end.join(lines).encode()


def cheaply(call: Callable[[], object], error: type[FilevaultError]) -> str:
    """Return the message of an error that must come fast and take no memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with at_most(1), pytest.raises(error) as caught:
        call()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10
    return caught.value.message


def test_stanzas_are_told_with_type_and_arguments() -> None:
    body = base64.b64encode(bytes(48)).decode()
    file = age_file.parse(header(f"-> one a b\n{body}\n", f"-> two\n{BODY}") + b"rest", "it")
    assert [(s.type, s.args, len(s.body)) for s in file.stanzas] == [
        ("one", ("a", "b"), 48),
        ("two", (), 32),
    ]


@given(content=st.binary(max_size=400))
def test_what_the_library_writes_is_read_armored_or_not(content: bytes) -> None:
    identity, recipient = pair()
    key = pyrage.x25519.Identity.from_str(identity)
    to = [pyrage.x25519.Recipient.from_str(recipient)]
    for data in (pyrage.encrypt(content, to), pyrage.encrypt(content, to, armored=True)):
        file = age_file.parse_item(data, "it")
        assert "X25519" in [stanza.type for stanza in file.stanzas]
        assert pyrage.decrypt(file.data, [key]) == content


@given(content=st.binary(max_size=400), end=st.sampled_from(["\n", "\r\n"]))
def test_armor_is_removed_whatever_its_line_ends(content: bytes, end: str) -> None:
    data = header(f"-> one\n{BODY}") + content
    assert age_file.parse(armored(data, end), "it").data == data
    assert age_file.parse(b" \r\n\n" + armored(data, end) + b"\n \t\n", "it").data == data


@given(data=st.binary(max_size=300))
def test_any_other_bytes_are_an_integrity_error(data: bytes) -> None:
    for beginning in (b"", b"age-encryption.org/v1\n", b"-----BEGIN AGE ENCRYPTED FILE-----\n"):
        with pytest.raises(IntegrityError):
            age_file.parse(beginning + data, "it")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"age-encryption.org/v2\n",
        header(),
        header(f"-> \n{BODY}"),
        header(f"->one\n{BODY}"),
        header(f"-> one  two\n{BODY}"),
        header(f"-> one \x7f\n{BODY}"),
        header(f"-> one\r\n{BODY}"),
        header("-> one\n" + "A" * 64),
        header(f"-> one\n{'A' * 42}B"),
        header(f"-> one\n{BODY}="),
        header(f"-> one\n{'A' * 65}"),
        header(f"-> one\n{BODY}", mac="---"),
        header(f"-> one\n{BODY}", mac=f"---  {MAC}"),
        header(f"-> one\n{BODY}", mac=f"--- {MAC}A"),
        header(f"-> one\n{BODY}", mac=f"--- {MAC} "),
        header(f"-> one\n{BODY}")[:-1],
    ],
)
def test_header_that_is_not_written_strictly_is_damaged(data: bytes) -> None:
    with pytest.raises(DamagedError):
        age_file.parse(data, "it")


def test_file_whose_line_ends_git_changed_opens_after_what_the_hint_says(tmp_path: Path) -> None:
    data = header(f"-> one\n{BODY}") + b"a payload that looks like text"
    store, clone = GitStore(tmp_path / "store", suffix=".age"), tmp_path / "clone"
    store.init()
    store.git("add", store.write("work.age", data))
    store.git("commit", "--quiet", "-m", "add work")
    store.git("config", "--global", "core.autocrlf", "true")
    store.git("clone", "--quiet", str(store.path), str(clone))
    with pytest.raises(DamagedError, match="line ends were changed") as caught:
        age_file.parse((clone / "work.age").read_bytes(), "it")
    (clone / "work.age").unlink()
    _text, _git, command = (caught.value.hint or "").partition("git ")
    store.git(*command.replace("FILE", "work.age").split(), at=clone)
    assert age_file.parse((clone / "work.age").read_bytes(), "it").data == data


@pytest.mark.parametrize(
    "change",
    [
        lambda text: b"x\n" + text,
        lambda text: b" " + text,
        lambda text: b"\n" * 1100 + text,
        lambda text: text + b"x",
        lambda text: text + b"\n" * 1100,
        lambda text: text.replace(b"\n", b"\n\n", 1),
        lambda text: text.replace(b"\n", b" \n", 1),
        lambda text: text.replace(b"-----END", b"----END"),
        lambda text: text.replace(b"A", b"\n", 1),
        lambda text: text.rsplit(b"-----END", 1)[0],
    ],
)
def test_armor_that_is_not_written_strictly_is_damaged(change: Callable[[bytes], bytes]) -> None:
    text = armored(header(f"-> one\n{BODY}") + bytes(70))
    age_file.parse(text, "it")
    with pytest.raises(DamagedError):
        age_file.parse(change(text), "it")


def test_two_thousand_stanzas_are_refused_at_once() -> None:
    data = header(*[f"-> X25519 {BODY}\n{BODY}" for _ in range(2000)])
    assert "more than 128 recipients" in cheaply(lambda: age_file.parse(data, "it"), DamagedError)
    age_file.parse(header(*[f"-> X25519 {BODY}\n{BODY}" for _ in range(128)]), "it")


@pytest.mark.parametrize(
    "data",
    [
        header("-> one\n" + f"{'A' * 64}\n" * 5000),
        b"age-encryption.org/v1\n-> " + b"a" * (900 << 10),
        header("-> " + "a " * (300 << 10) + f"a\n{BODY}"),
        b"age-encryption.org/v1\n" + b"\n" * (900 << 10),
    ],
)
def test_huge_header_is_refused_at_once(data: bytes) -> None:
    cheaply(lambda: age_file.parse(data, "it"), DamagedError)


def test_file_longer_than_a_mebibyte_is_refused() -> None:
    data = header(f"-> one\n{BODY}")
    age_file.parse(data + bytes(age_file.MAX_FILE - len(data)), "it")
    with pytest.raises(DamagedError, match="longer than 1048576 bytes"):
        age_file.parse(data + bytes(age_file.MAX_FILE - len(data) + 1), "it")


def test_passphrase_in_an_item_is_refused_at_once() -> None:
    for data in (scrypt("10"), scrypt("63"), header(f"-> X25519 {BODY}\n{BODY}", "-> scrypt\n")):
        message = cheaply(functools.partial(age_file.parse_item, data, "it"), TamperedError)
        assert "passphrase" in message


@pytest.mark.parametrize("factor", ["21", "22", "23", "63", "64", "99", "100", "9" * 4000])
def test_protected_file_beyond_the_work_factor_is_refused_at_once(factor: str) -> None:
    message = cheaply(
        lambda: age_file.parse_protected(scrypt(factor), "it", lambda: PLENTY), LockedError
    )
    assert "allowed is up to 2^20" in message
    assert len(message) < 200


@pytest.mark.parametrize("factor", ["0", "-1", "+1", "01", "018", "0x12", "1e1", "", "18 1", "ⅷ"])
def test_work_factor_of_another_form_is_damage(factor: str) -> None:
    cheaply(lambda: age_file.parse_protected(scrypt(factor), "it", lambda: PLENTY), DamagedError)


def test_work_factor_is_bounded_by_half_of_the_memory() -> None:
    age_file.parse_protected(scrypt("18"), "it", lambda: 512 << 10)
    with pytest.raises(LockedError, match="needs 256 MiB .* can spare 255") as caught:
        age_file.parse_protected(scrypt("18"), "it", lambda: (512 << 10) - 1)
    assert caught.value.hint is not None
    assert "age -p" in caught.value.hint


def test_unknown_memory_allows_little() -> None:
    age_file.parse_protected(scrypt("16"), "it", lambda: 0)
    with pytest.raises(LockedError):
        age_file.parse_protected(scrypt("17"), "it", lambda: 0)


def test_limit_of_the_address_space_counts_as_memory() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + (400 << 20), before[1]))
    try:
        with pytest.raises(LockedError, match="can spare"):
            age_file.parse_protected(scrypt("18"), "it", lambda: PLENTY)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    age_file.parse_protected(scrypt("18"), "it", lambda: PLENTY)


def test_protected_file_has_one_passphrase_and_nothing_else() -> None:
    both = header(f"-> scrypt {SALT} 10\n{BODY}", f"-> X25519 {BODY}\n{BODY}")
    twice = header(f"-> scrypt {SALT} 10\n{BODY}", f"-> scrypt {SALT} 10\n{BODY}")
    for data in (both, twice, scrypt("10", salt="A" * 21), scrypt("10", body="A" * 42)):
        with pytest.raises(DamagedError):
            age_file.parse_protected(data, "it", lambda: PLENTY)
    with pytest.raises(LockedError, match="not with a passphrase"):
        age_file.parse_protected(header(f"-> X25519 {BODY}\n{BODY}"), "it", lambda: PLENTY)


def test_file_is_not_shown_by_its_repr() -> None:
    assert "rest" not in repr(age_file.parse(header(f"-> one\n{BODY}") + b"rest", "it"))
