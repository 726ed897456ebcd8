"""The pictures in the pages show what the program prints now."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from tests.conditions.tools import tool
from tests.screenshots import FOLDER, Screenshot, screenshots, svg

ROOT = FOLDER.parent.parent
PAGES = [ROOT / "README.md", ROOT / "docs/tutorial.md", *(ROOT / "docs/how-to").glob("*.md")]


@pytest.fixture(scope="module")
def shots() -> list[Screenshot]:
    """What new runs show; one for all tests of this file."""
    tool("aws")
    tool("tmux")
    return screenshots()


def test_each_picture_is_what_a_run_shows_now(shots: list[Screenshot]) -> None:
    """After a change: make screenshots."""
    drawn = {f"{each.name}.svg": svg(each) for each in shots}
    assert {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()} == drawn


def test_the_text_of_a_picture_is_the_text_of_the_terminal(shots: list[Screenshot]) -> None:
    for shot in shots:
        # The input is the text that this test run made itself.
        root = ET.fromstring(svg(shot))
        texts = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
        assert texts == [line for line in shot.lines if line]


def test_each_picture_is_in_a_page_with_words_for_who_cannot_see_it() -> None:
    used = set()
    for page in PAGES:
        for words, place in re.findall(r"!\[(.*?)\]\((.*?\.svg)\)", page.read_text("utf-8")):
            assert len(words.split()) >= 5, (page.name, place)
            used.add((page.parent / place).resolve())
    assert used == set(FOLDER.iterdir())


def test_a_picture_shows_no_place_of_the_machine_and_no_secret() -> None:
    for path in FOLDER.iterdir():
        text = path.read_text(encoding="utf-8")
        assert "/tmp" not in text
        assert "127.0.0.1" not in text
        assert not re.search(r"http(?!://www\.w3\.org/2000/svg)", text)
        assert not re.search(r"(?<![\w/+])[\w/+]{40}(?![\w/+])", text)
