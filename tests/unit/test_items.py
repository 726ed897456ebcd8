from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filevault.credentials import AccessKey
from filevault.errors import DamagedError, NewerFormatError, UsageError
from filevault.vault.item import check_access_key, compose, parse
from filevault.vault.item_lines import ROTATION_FIELDS
from filevault.vault.rotation_fields import RotationFields, read_rotation, with_rotation
from tests.samples import EXAMPLE_ID, EXAMPLE_SESSION_ID, OTHER_ID, OTHER_SECRET, SECRET

CREATED = "2026-11-23T21:45:13Z"
KEY = AccessKey(EXAMPLE_ID, SECRET)
OTHER = AccessKey(OTHER_ID, OTHER_SECRET)

keys = st.builds(
    AccessKey,
    st.from_regex(r"AKIA[A-Z2-7]{16}", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9/+=]{16,128}", fullmatch=True),
)
OURS = ("aws_access_key_id", "mfa_serial", "created", "created_from", "filevault")
strange_lines = st.one_of(
    st.binary(max_size=30).filter(lambda line: b"\n" not in line and b":" not in line),
    st.from_regex(r"(x-[a-z]{1,8}|url|otpauth|# note): ?[ -~]{0,20}", fullmatch=True).map(
        str.encode
    ),
)


def composed(key: AccessKey = KEY, old: bytes = b"", mfa_serial: str | None = None) -> bytes:
    return compose(
        "jonsmith", key, created=CREATED, created_from="add", mfa_serial=mfa_serial, old=old
    )


@given(keys, st.sampled_from(["iam", "add"]), st.none() | st.just("arn:aws:iam::1:mfa/jon"))
def test_what_was_composed_reads_back(key: AccessKey, origin: str, serial: str | None) -> None:
    item = parse(
        compose("a/b", key, created=CREATED, created_from=origin, mfa_serial=serial), "item"
    )
    assert item.key == key
    assert (item.created, item.mfa_serial, item.path_name) == (CREATED, serial, "a/b")
    assert item.created_from == ("iam" if origin == "iam" else None)


def test_the_text_is_what_the_format_shows() -> None:
    assert composed(mfa_serial="arn:aws:iam::111122223333:mfa/jonsmith") == (
        b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n"
        b"aws_access_key_id: AKIAIOSFODNN7EXAMPLE\n"
        b"mfa_serial: arn:aws:iam::111122223333:mfa/jonsmith\n"
        b"created: 2026-11-23T21:45:13Z\n"
        b"filevault: 1 name=jonsmith\n"
    )


@given(st.lists(strange_lines, max_size=5), st.booleans(), st.sampled_from([b"\n", b"\r\n"]))
def test_a_rewrite_keeps_every_line_that_is_not_ours(
    lines: list[bytes], final: bool, end: bytes
) -> None:
    head = composed().replace(b"\n", end).removesuffix(end)
    old = head + b"".join(end + line for line in lines) + (end if final else b"")
    new = composed(OTHER, old)
    assert parse(new, "item").key == OTHER
    kept = [line for line in re.split(rb"(?<=\n)", new) if line.strip() and not _is_ours(line)]
    wanted = [line for line in re.split(rb"(?<=\n)", old) if line.strip() and not _is_ours(line)]
    assert kept[1:] == wanted[1:]
    assert new.endswith(b"\n") == old.endswith(b"\n")


def _is_ours(line: bytes) -> bool:
    return line.startswith(tuple(f"{name}:".encode() for name in OURS))


@given(keys, keys)
def test_rewriting_with_the_first_key_gives_the_first_text(one: AccessKey, two: AccessKey) -> None:
    first = composed(one)
    assert composed(one, composed(two, first)) == first


@pytest.mark.parametrize("field", ROTATION_FIELDS)
def test_a_newly_stored_key_ends_a_rotation(field: str) -> None:
    old = composed() + f"{field}: something\nnote: stays\n".encode()
    new = composed(OTHER, old)
    assert field.encode() not in new
    assert new.endswith(b"note: stays\n")


@pytest.mark.parametrize("field", ROTATION_FIELDS)
def test_a_rotation_field_that_stands_twice_is_damage(field: str) -> None:
    with pytest.raises(DamagedError, match="two lines"):
        parse(composed() + f"{field}: a\n{field}: b\n".encode(), "item")


def test_of_other_duplicates_the_first_wins() -> None:
    item = parse(composed() + b"aws_access_key_id: AKIAZZZZZZZZZZZZZZZZ\n", "item")
    assert item.key == KEY


def test_an_mfa_serial_is_kept_unless_another_is_given() -> None:
    old = composed(mfa_serial="GAHT12345678")
    assert parse(composed(OTHER, old), "item").mfa_serial == "GAHT12345678"
    assert parse(composed(OTHER, old, mfa_serial="NEW123456"), "item").mfa_serial == "NEW123456"


def test_iams_time_goes_when_a_key_of_unknown_age_replaces_it() -> None:
    old = compose("jonsmith", KEY, created=CREATED, created_from="iam")
    assert b"created_from" not in composed(OTHER, old)


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        (b"", "secret access key"),
        (b"\n", "secret access key"),
        (b"\xff\xfe\naws_access_key_id: A\n", "secret access key"),
        (b"sec\x1bret\naws_access_key_id: A\n", "aws_access_key_id"),
        (b"secret\n", "aws_access_key_id"),
        (b"secret\naws_access_key_id:\n", "aws_access_key_id"),
    ],
)
def test_an_item_without_its_two_parts_is_damaged(text: bytes, missing: str) -> None:
    with pytest.raises(DamagedError) as caught:
        parse(text, "item 'x'")
    assert missing in caught.value.message
    assert "secret\n" not in caught.value.message


def test_an_item_of_a_newer_filevault_is_told_apart_from_damage() -> None:
    with pytest.raises(NewerFormatError):
        parse(composed().replace(b"filevault: 1", b"filevault: 2"), "item")


def test_a_hand_written_time_is_no_reason_to_refuse_a_key() -> None:
    item = parse(composed().replace(CREATED.encode(), b"last Tuesday"), "item")
    assert (item.key, item.created) == (KEY, None)


@given(st.binary(max_size=400))
def test_any_text_is_read_or_refused_cleanly(text: bytes) -> None:
    try:
        item = parse(text, "item")
    except (DamagedError, NewerFormatError):
        return
    assert item.key.secret_access_key
    assert item.key.secret_access_key not in repr(item)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (AccessKey("AKIA", KEY.secret_access_key), "these are 4 characters"),
        (AccessKey("AKIAIOSFODNN7EXAMPL\n", KEY.secret_access_key), "not an access key id"),
        (AccessKey(EXAMPLE_SESSION_ID, KEY.secret_access_key), "temporary session"),
        (AccessKey(KEY.access_key_id, "short"), "no secret access key"),
        (AccessKey(KEY.access_key_id, "with space" * 4), "no secret access key"),
        (AccessKey(KEY.access_key_id, KEY.secret_access_key + "\n"), "no secret access key"),
        (AccessKey(KEY.access_key_id, "x" * 129), "no secret access key"),
    ],
)
def test_what_cannot_be_a_key_is_refused_without_being_shown(key: AccessKey, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        check_access_key(key)
    assert key.secret_access_key not in str(caught.value)


def test_a_serial_with_a_line_end_cannot_smuggle_in_a_field() -> None:
    with pytest.raises(UsageError, match="control characters"):
        composed(mfa_serial="x\naws_access_key_id: AKIAEVIL")


NEXT = AccessKey("AKIANEXTNEXTNEXTNEXT", "next/" * 8)
PREVIOUS = AccessKey("AKIAPREVPREVPREVPREV", "prev/" * 8)
ROTATIONS = [
    RotationFields(),
    RotationFields("2026-11-24T03:00:00Z"),
    RotationFields("2026-11-24T03:00:00Z", ()),
    RotationFields("2026-11-24T03:00:00Z", ("AKIAONE", "AKIATWO"), next=NEXT),
    RotationFields("2026-11-24T03:00:00Z", ("AKIAONE",), previous=PREVIOUS),
    RotationFields(previous=PREVIOUS),
    RotationFields(previous=PREVIOUS, deactivated="2026-11-24T03:00:09Z"),
    RotationFields("2026-11-24T03:00:00Z", ("AKIAONE",), next=NEXT, grace=86400),
    RotationFields(
        previous=PREVIOUS,
        previous_created=CREATED,
        previous_created_from="iam",
        deactivated="2026-11-24T03:00:09Z",
        kept=True,
    ),
]
SURROUNDINGS = [
    (b"", b""),
    (b"", b"\n"),
    (b"# mine\r\n", b"\r\nnote: x\r\nlast"),
    (b"\n\n", b"\n\notpauth://totp/x?secret=A"),
    (b"created: 2026-11-23T21:45:13Z\n", b"\ncreated: twice\n"),
]


@pytest.mark.parametrize("rotation", ROTATIONS)
@pytest.mark.parametrize(("above", "below"), SURROUNDINGS)
def test_rotation_fields_come_and_go_and_nothing_else_moves(
    rotation: RotationFields, above: bytes, below: bytes
) -> None:
    text = b"A" * 40 + b"\n" + above + f"aws_access_key_id: {EXAMPLE_ID}".encode() + below
    marked = with_rotation(text, rotation)
    assert read_rotation(marked, "it") == rotation
    assert parse(marked, "it").key.access_key_id == EXAMPLE_ID
    assert with_rotation(marked, rotation) == marked
    for other in ROTATIONS:
        assert read_rotation(with_rotation(marked, other), "it") == other
    assert with_rotation(marked, RotationFields()) == text


@pytest.mark.parametrize(
    "line",
    [
        b"next_aws_access_key_id: AKIANEXTNEXTNEXTNEXT\n",
        b"previous_aws_secret_access_key: " + b"prev/" * 8 + b"\n",
        b"next_aws_access_key_id: x\nnext_aws_secret_access_key: " + b"next/" * 8 + b"\n",
    ],
)
def test_half_a_key_in_the_rotation_fields_is_damage(line: bytes) -> None:
    text = b"A" * 40 + f"\naws_access_key_id: {EXAMPLE_ID}\n".encode() + line
    with pytest.raises(DamagedError, match="are no key together"):
        read_rotation(text, "it")


@pytest.mark.parametrize("promise", ["", "for ever", "-1", "1d", "9" * 11])
def test_a_promise_that_cannot_be_read_is_damage_and_not_no_promise(promise: str) -> None:
    text = with_rotation(composed(), RotationFields(previous=PREVIOUS))
    with pytest.raises(DamagedError, match="neither 'kept' nor a number of seconds"):
        read_rotation(text + f"previous_grace: {promise}\n".encode(), "it")


OWN = AccessKey(EXAMPLE_ID, "A" * 40)


@pytest.mark.parametrize("kind", ["next", "previous"])
def test_a_rotation_to_or_from_the_key_of_line_1_is_none(kind: str) -> None:
    """Somebody has moved it there by hand; to finish would be to delete the only key."""
    text = b"A" * 40 + f"\naws_access_key_id: {EXAMPLE_ID}\n".encode()
    rotation = RotationFields("2026-11-24T03:00:00Z", ("AKIAONE",))._replace(**{kind: OWN})
    assert read_rotation(with_rotation(text, rotation), "it") == RotationFields()
    other = OWN._replace(secret_access_key="B" * 40)
    with pytest.raises(DamagedError, match=f"two secrets for the key {EXAMPLE_ID}"):
        read_rotation(with_rotation(text, rotation._replace(**{kind: other})), "it")


def test_a_next_key_beside_a_previous_one_is_damage() -> None:
    text = b"A" * 40 + f"\naws_access_key_id: {EXAMPLE_ID}\n".encode()
    with pytest.raises(DamagedError, match="a next key and a previous one"):
        read_rotation(with_rotation(text, RotationFields("t", (), NEXT, PREVIOUS)), "it")


def test_no_secret_of_a_rotation_shows_in_its_text_form() -> None:
    shown = repr(RotationFields("t", (), NEXT, PREVIOUS))
    assert NEXT.secret_access_key not in shown
    assert PREVIOUS.secret_access_key not in shown
