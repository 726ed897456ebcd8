"""Whatever a program, an endpoint or a token contains: credentials, claims, or one error."""

from __future__ import annotations

import base64
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from filevault.errors import ProviderError
from filevault.identity_tokens.claims import claims_of, mark_of, shown_claims
from filevault.sources.outside_credentials import read_credentials
from filevault.system.json_object import parse_object

MEMBERS = ("Version", "AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration", "AccountId")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
WORDS = st.text(st.characters(codec="ascii"), min_size=1)


def _token(value: object) -> str:
    payload = json.dumps({"iss": value, "aud": value, "sub": value}).encode()
    return f"e30.{base64.urlsafe_b64encode(payload).decode().rstrip('=')}.x"


@given(st.dictionaries(st.sampled_from(MEMBERS), VALUES | WORDS))
@settings(max_examples=100, deadline=None)
def test_an_object_is_credentials_or_one_error(values: dict[str, object]) -> None:
    try:
        found = read_credentials(values, "the answer", 0, token="SessionToken")
    except ProviderError as caught:
        said = caught.message
    else:
        said = ""
        assert found.access_key_id == values["AccessKeyId"]
        assert found.secret_access_key == values["SecretAccessKey"]
        found.check_printable()
    assert said.isprintable()


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_bytes_are_an_object_or_nothing(data: bytes) -> None:
    found = parse_object(data)
    assert found is None or isinstance(found, dict)


@given(st.text() | VALUES.map(_token))
@settings(max_examples=100, deadline=None)
def test_a_text_has_printable_claims_or_none(text: str) -> None:
    assert set(claims_of(text)) <= {"iss", "aud", "sub"}
    shown = shown_claims(text)
    assert shown.isprintable()
    assert len(shown) < 1000
    assert len(mark_of(text)) == 3
