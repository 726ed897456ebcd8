from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filevault.credentials import AccessKey, Credentials
from filevault.errors import FilevaultError
from tests.samples import SECRET


@pytest.mark.parametrize(
    "value",
    [AccessKey("AKIAEXAMPLE", SECRET), Credentials("ASIAEXAMPLE", SECRET, "token" + SECRET, 5)],
    ids=["key", "credentials"],
)
def test_secrets_show_neither_in_repr_nor_in_text(value: object) -> None:
    for text in (repr(value), str(value), f"{value}", f"{[value]}"):
        assert SECRET not in text
        assert "AEXAMPLE" in text


@given(st.sampled_from([" ", "\n", "\r", "\x1b", "\x00", "\x7f", "é", "\u202e"]), st.integers(0, 2))
def test_what_no_credential_holds_is_not_handed_out(bad: str, place: int) -> None:
    parts = ["AKIAEXAMPLE", SECRET, "token"]
    parts[place] = parts[place][:3] + bad + parts[place][3:]
    with pytest.raises(FilevaultError) as caught:
        Credentials(parts[0], parts[1], parts[2]).check_printable()
    assert SECRET[:10] not in str(caught.value)


def test_usual_credentials_pass() -> None:
    Credentials("AKIAEXAMPLE", SECRET).check_printable()
    Credentials("ASIAEXAMPLE", SECRET, "IQoJb3JpZ2luX2Vj//+==", 5).check_printable()
