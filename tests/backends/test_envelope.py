from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filevault.backends.item_header import ItemHeader
from filevault.backends.sealing import envelope
from filevault.errors import BackendError, DamagedError, FilevaultError, TamperedError
from filevault.system.times import format_time

KEY = bytes(range(32))
VAULT = "00112233445566778899aabbccddeeff"
KEY_ID = "0123456789abcdef"
HEADER = ItemHeader("credentials", "work/prod", 1795470313, "2026-11-23T21:45:13Z", "add")

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)
HEADERS = st.one_of(
    st.builds(
        ItemHeader,
        kind=st.sampled_from(sorted(envelope.KINDS - {"credentials"})),
        name=TEXT,
        generation=st.integers(0, 2**53 - 1),
        created=st.integers(0, 2**33).map(format_time),
        created_from=st.none(),
        source=st.none(),
    ),
    st.builds(
        ItemHeader,
        kind=st.just("credentials"),
        name=TEXT,
        generation=st.integers(0, 2**53 - 1),
        created=st.integers(0, 2**33).map(format_time),
        created_from=st.sampled_from(["iam", "add", None]),
        source=st.none(),
    ),
    st.builds(
        ItemHeader,
        kind=st.sampled_from(sorted(envelope.TOKEN_KINDS)),
        name=TEXT,
        generation=st.integers(0, 2**53 - 1),
        created=st.integers(0, 2**33).map(format_time),
        created_from=st.none(),
        source=TEXT.map("sso:".__add__),
        expires=st.none() | st.integers(0, 2**33).map(format_time),
        renewable=st.booleans(),
    ),
    st.builds(
        ItemHeader,
        kind=st.sampled_from(sorted(envelope.SESSION_KINDS)),
        name=TEXT,
        generation=st.integers(0, 2**53 - 1),
        created=st.integers(0, 2**33).map(format_time),
        created_from=st.none(),
        source=st.tuples(st.sampled_from(["item:", "sso:", "web:", "process:", "toy:"]), TEXT).map(
            "".join
        ),
    ),
)


def seal(header: ItemHeader = HEADER, plaintext: bytes = b"text") -> bytes:
    return envelope.seal(KEY, VAULT, KEY_ID, header, plaintext)


def unseal(data: bytes, header: ItemHeader = HEADER) -> bytes:
    parsed = envelope.parse(data, "the item")
    envelope.expect(parsed, VAULT, KEY_ID, header.kind, header.name, "the item")
    return envelope.unseal(KEY, parsed, "the item")


@given(header=HEADERS, plaintext=st.binary(max_size=700))
def test_every_header_and_content_come_back(header: ItemHeader, plaintext: bytes) -> None:
    data = seal(header, plaintext)
    assert unseal(data, header) == plaintext
    parsed = envelope.parse(data, "the item")
    assert parsed.header == header
    assert (parsed.vault, parsed.key) == (VAULT, KEY_ID)
    assert parsed.line + parsed.body == data


@given(name=TEXT, source=TEXT)
def test_text_that_looks_like_a_field_is_only_text(name: str, source: str) -> None:
    tricky = f'{name}","source":"item:x","created_from":"iam'
    header = HEADER._replace(name=tricky, created_from=None)
    assert envelope.parse(seal(header), "it").header == header
    session = ItemHeader("session", tricky, 1, "2026-11-23T21:45:13Z", None, f"item:{source}")
    assert envelope.parse(seal(session), "it").header == session


def test_field_names_as_values_are_only_text() -> None:
    for name in ("source", "created_from"):
        header = HEADER._replace(name=name)
        assert envelope.parse(seal(header), "it").header == header


@pytest.mark.parametrize("source", ["", "item", ":jonsmith", "Item:x", "it em:x", "ítem:x"])
def test_a_session_whose_source_is_no_reference_is_damaged(source: str) -> None:
    header = ItemHeader("session", "name", 1, "2026-11-23T21:45:13Z", None, source)
    with pytest.raises(DamagedError, match="'source'"):
        envelope.parse(seal(header), "it")


@given(plaintext=st.binary(max_size=1200))
def test_size_tells_the_length_only_to_256_bytes(plaintext: bytes) -> None:
    data = seal(plaintext=plaintext)
    body = len(data) - data.index(b"\n") - 1
    assert body - 40 == (len(plaintext) // 256 + 1) * 256


def test_header_is_the_line_that_the_format_shows() -> None:
    line, _, _ = seal().partition(b"\n")
    assert line.decode() == (
        '{"format":"filevault/1","vault":"00112233445566778899aabbccddeeff",'
        '"key":"0123456789abcdef","kind":"credentials","name":"work/prod",'
        '"generation":1795470313,"created":"2026-11-23T21:45:13Z","created_from":"add"}'
    )


@pytest.mark.parametrize(
    ("vault", "key_id", "kind", "name", "words"),
    [
        ("f" * 32, KEY_ID, "credentials", "work/prod", "belongs to another vault"),
        (VAULT, "f" * 16, "credentials", "work/prod", "sealed under another key"),
        (VAULT, KEY_ID, "totp", "work/prod", "of the kind 'credentials' where 'totp' belongs"),
        (VAULT, KEY_ID, "credentials", "work/test", "was sealed as 'work/prod'"),
    ],
)
def test_each_mismatch_has_its_own_message(
    vault: str, key_id: str, kind: str, name: str, words: str
) -> None:
    parsed = envelope.parse(seal(), "item 'a'")
    with pytest.raises(TamperedError, match=f"^item 'a' .*{words}") as caught:
        envelope.expect(parsed, vault, key_id, kind, name, "item 'a'")
    assert caught.value.hint


def test_name_of_a_swapped_item_is_shown_without_its_escapes() -> None:
    hostile = HEADER._replace(name="\x1b[2J\u202egoog\n")
    with pytest.raises(TamperedError) as caught:
        unseal(seal(hostile))
    assert caught.value.message.isprintable()
    assert "\\x1b[2J" in caught.value.message


def test_largest_item_is_written_and_read_and_one_more_byte_is_neither() -> None:
    line = seal().index(b"\n") + 1
    room = (envelope.MAX_FILE - line - 40) // 256 * 256 - 1
    data = seal(plaintext=bytes(room))
    assert len(data) <= envelope.MAX_FILE
    assert unseal(data) == bytes(room)
    with pytest.raises(BackendError, match="longer"):
        seal(plaintext=bytes(room + 1))


def test_file_longer_than_a_mebibyte_is_refused() -> None:
    data = seal()
    too_long = data + bytes(-(-(envelope.MAX_FILE - len(data) + 1) // 256) * 256)
    with pytest.raises(DamagedError, match="longer than 1048576 bytes"):
        unseal(too_long)


def test_header_that_no_reader_accepts_is_not_written() -> None:
    with pytest.raises(BackendError, match="longer"):
        seal(HEADER._replace(name="n" * 4096))
    for wrong in (
        HEADER._replace(created="yesterday"),
        HEADER._replace(kind="session"),
        HEADER._replace(kind="totp"),
        HEADER._replace(name=""),
        HEADER._replace(generation=2**53),
    ):
        with pytest.raises(FilevaultError):
            seal(wrong)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("session", {"expires": "2026-11-23T21:45:13Z"}),
        ("session", {"renewable": True}),
        ("credentials", {"source": None, "expires": "2026-11-23T21:45:13Z"}),
        ("login", {"expires": "tomorrow"}),
    ],
)
def test_only_token_records_say_until_when_they_serve(kind: str, more: dict[str, object]) -> None:
    header = ItemHeader(kind, "name", 1, "2026-11-23T21:45:13Z", None, "sso:work")
    with pytest.raises(DamagedError):
        seal(header._replace(**more))
