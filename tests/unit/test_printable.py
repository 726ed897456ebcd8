from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filevault.system.printable import printable

DANGEROUS = {"Cc", "Cs", "Zl", "Zp"}
BIDI = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@given(st.text())
def test_nothing_that_steers_a_terminal_or_a_reader_survives(text: str) -> None:
    for character in printable(text):
        assert unicodedata.category(character) not in DANGEROUS
        assert unicodedata.bidirectional(character) not in BIDI
        assert character not in "\u061c\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"


@given(st.text())
def test_it_is_one_line_that_can_be_encoded(text: str) -> None:
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    shown.encode("utf-8")


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)))
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@given(st.text())
def test_showing_twice_changes_nothing_more(text: str) -> None:
    assert printable(printable(text)) == printable(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb", "a\\nb"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x9b31m", "\\x9b31m"),
        ("user\u202egpj.exe", "user\\u202egpj.exe"),
        ("\U000e0041", "\\U000e0041"),
        ("\udcff", "\\udcff"),
        ("Zoë 東京", "Zoë 東京"),
        ("\r\t\x00\x7f", "\\r\\t\\x00\\x7f"),
    ],
)
def test_escapes_tell_which_character_it_was(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text(), st.integers(3, 50))
def test_a_limit_holds(text: str, limit: int) -> None:
    assert len(printable(text, limit)) <= limit


def test_what_was_cut_ends_in_dots() -> None:
    assert printable("x" * 100, 10) == "xxxxxxx..."
    assert printable("x" * 10, 10) == "x" * 10


def test_anything_can_be_shown() -> None:
    assert printable(ValueError("a\x07b")) == "a\\x07b"
