"""An id in the secret's place, or a secret in the id's: refused wherever it comes from, unshown."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from filevault.credentials import AccessKey, looks_like_key_id, looks_like_secret
from filevault.errors import DamagedError, FilevaultError, UsageError
from filevault.vault.item import check_access_key, compose, parse
from filevault.vault.rotation_fields import RotationFields, read_rotation, with_rotation
from filevault.vault.split_entries import Pair, join
from tests.samples import EXAMPLE_ID, PLAIN_SECRET, SECRET

HEAD = b"filevault: 1 name=jon\n"


def parsed(text: str | bytes) -> Callable[[], object]:
    return lambda: parse(text.encode() if isinstance(text, str) else text, "item 'jon'")


def _rotating(field: str) -> Callable[[], object]:
    whole = compose("jon", AccessKey(EXAMPLE_ID, "s" * 40), created=None, created_from=None)
    text = with_rotation(
        whole, RotationFields()._replace(**{field: AccessKey(PLAIN_SECRET, EXAMPLE_ID)})
    )
    return lambda: read_rotation(text, "item 'jon'")


SOURCES: dict[str, Callable[[], object]] = {
    "a new key": lambda: check_access_key(AccessKey(PLAIN_SECRET, EXAMPLE_ID)),
    "a new key whose secret is its id": lambda: check_access_key(AccessKey(EXAMPLE_ID, EXAMPLE_ID)),
    "a new key whose id is its secret": lambda: check_access_key(
        AccessKey(PLAIN_SECRET, PLAIN_SECRET)
    ),
    "a rewrite": lambda: compose(
        "jon", AccessKey(PLAIN_SECRET, EXAMPLE_ID), created=None, created_from=None
    ),
    "an item": parsed(f"{EXAMPLE_ID}\naws_access_key_id: {PLAIN_SECRET}\n{HEAD.decode()}"),
    "an item with half of it": parsed(
        f"{EXAMPLE_ID}\naws_access_key_id: {EXAMPLE_ID}\n{HEAD.decode()}"
    ),
    "lines": parsed(f"{EXAMPLE_ID}\naccess_key: {PLAIN_SECRET}\n"),
    "exports": parsed(
        f"export AWS_ACCESS_KEY_ID={PLAIN_SECRET}\nexport AWS_SECRET_ACCESS_KEY={EXAMPLE_ID}\n"
    ),
    "INI": parsed(
        f"[jon]\naws_access_key_id = {PLAIN_SECRET}\naws_secret_access_key = {EXAMPLE_ID}\n"
    ),
    "JSON": parsed(json.dumps({"AccessKeyId": PLAIN_SECRET, "SecretAccessKey": EXAMPLE_ID})),
    "two entries": lambda: parse(
        join(Pair("jon/access_id", "jon/access_token"), PLAIN_SECRET.encode(), EXAMPLE_ID.encode()),
        "item 'jon'",
    ),
    "the next key": _rotating("next"),
    "the previous key": _rotating("previous"),
}


@pytest.mark.parametrize("source", SOURCES)
def test_it_is_refused_and_not_shown(source: str) -> None:
    with pytest.raises(FilevaultError) as caught:
        SOURCES[source]()
    assert isinstance(caught.value, UsageError | DamagedError)
    assert PLAIN_SECRET not in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize(
    "key_id",
    [
        EXAMPLE_ID,
        "LKIAQAAAAAAAJ4IEZ4UM",
        "GOOG1EOYXJUMVNGBBEKHVOMMAWZN5FCZ7QLUGSGI53CVB2EUOUYVOEXAMPLE",
        "5f6e3a2b9c1d4e7f8a0b5f6e3a2b9c1d4e7f8a0b",  # an id of Oracle's
        "0012345678abcdef00000000a",
    ],
)
def test_ids_of_others_are_taken(key_id: str) -> None:
    check_access_key(AccessKey(key_id, PLAIN_SECRET))


def test_what_looks_like_what() -> None:
    assert looks_like_key_id(EXAMPLE_ID)
    assert looks_like_key_id(f" {EXAMPLE_ID}\n")
    assert not looks_like_key_id(PLAIN_SECRET)
    assert looks_like_secret(PLAIN_SECRET)
    assert looks_like_secret(SECRET)
    assert not looks_like_secret(EXAMPLE_ID)
