from __future__ import annotations

import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from filevault.errors import UsageError
from filevault.vault.names import (
    all_plain,
    decode_path,
    decode_session_owner,
    encode_name,
    encode_session_owner,
)

parts = st.text(
    st.one_of(
        st.sampled_from(list('%:\\*?"<>|.- ~aA0\n\x7f\x9f\u061c\u200b\u202e\u2066\ufeff')),
        st.characters(exclude_categories=["Cs"], exclude_characters="/\x00"),
    ),
    min_size=1,
    max_size=12,
).map(lambda text: unicodedata.normalize("NFC", text))
names = st.lists(parts, min_size=1, max_size=4).map("/".join)
suffixes = st.sampled_from([".fv", ".gpg", ".age"])


@given(names, suffixes)
def test_decoding_inverts_encoding(name: str, suffix: str) -> None:
    assert decode_path(encode_name(name, suffix), suffix) == name


@given(names, names)
def test_two_names_never_share_a_file(one: str, other: str) -> None:
    assume(one != other)
    assert encode_name(one, ".fv") != encode_name(other, ".fv")


@given(names)
def test_no_part_of_a_path_is_hidden_an_option_or_a_way_out(name: str) -> None:
    for part in encode_name(name, ".fv").split("/"):
        assert part not in ("", ".", "..")
        assert part[0] not in ".-"
        assert part[-1] not in " ."
        assert not any(character in ':\\*?"<>|' or ord(character) < 0x20 for character in part)


@given(names)
def test_no_folder_looks_like_an_item(name: str) -> None:
    for folder in encode_name(name, ".fv").split("/")[:-1]:
        assert not folder.lower().endswith(".fv")


@given(st.text(max_size=30), suffixes)
def test_what_decodes_is_the_one_path_of_its_name(path: str, suffix: str) -> None:
    name = decode_path(path, suffix)
    if name is not None:
        assert encode_name(name, suffix) == path


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("jonsmith", "jonsmith.fv"),
        ("work/prod", "work/prod.fv"),
        ("a:b", "a%3Ab.fv"),
        (".hidden", "%2Ehidden.fv"),
        ("-rf", "%2Drf.fv"),
        ("..", "%2E%2E.fv"),
        ("../../etc/passwd", "%2E%2E/%2E%2E/etc/passwd.fv"),
        ("50%", "50%25.fv"),
        ("end.", "end%2E.fv"),
        ("end ", "end%20.fv"),
        ("a b", "a b.fv"),
        ("Zoë", "Zoë.fv"),
        ("x.fv/y", "x%2Efv/y.fv"),
        ("x.FV/y", "x%2EFV/y.fv"),
        ("x.fv", "x.fv.fv"),
        ("\u202e", "%E2%80%AE.fv"),
    ],
)
def test_paths_of_some_names(name: str, path: str) -> None:
    assert encode_name(name, ".fv") == path
    assert decode_path(path, ".fv") == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "empty"),
        ("/a", "empty part"),
        ("a/", "empty part"),
        ("a//b", "empty part"),
        ("a\x00b", "NUL"),
        ("\udc80", "UTF-8"),
        ("Zoe\u0308", "normal form C"),
        ("a/" * 65 + "b", "more than 64 folders"),
        ("x" * 253, "255 bytes"),
        ("é" * 127, "255 bytes"),
        ("%" * 85, "255 bytes"),
    ],
)
def test_names_without_a_path_are_refused(name: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        encode_name(name, ".fv")


@pytest.mark.parametrize("name", ["x" * 252, "é" * 126, "%" * 84])
def test_the_longest_names_fit(name: str) -> None:
    assert len(encode_name(name, ".fv").encode()) <= 255


@pytest.mark.parametrize(
    "path",
    ["a", "a.gpg", "a%2.fv", "a%zz.fv", "a%61.fv", "%ff.fv", "%FF.fv", ".a.fv", "a%3ab.fv", ".fv"],
)
def test_files_that_no_name_leads_to_are_no_items(path: str) -> None:
    assert decode_path(path, ".fv") is None


@given(names)
def test_session_folders_are_single_and_invertible(name: str) -> None:
    try:
        folder = encode_session_owner(name)
    except UsageError:
        assume(False)
    assert "/" not in folder
    assert decode_session_owner(folder) == name


@given(names, names)
def test_two_profiles_never_share_a_session_folder(one: str, other: str) -> None:
    assume(one != other)
    folders = set()
    for name in (one, other):
        try:
            folders.add(encode_session_owner(name))
        except UsageError:
            assume(False)
    assert len(folders) == 2


def test_a_session_folder_that_would_be_too_long_is_refused() -> None:
    with pytest.raises(UsageError, match="255 bytes"):
        encode_session_owner("/".join(["x" * 200] * 2))


short = st.text(st.sampled_from("aZ_09-.%/é\n"), max_size=3)


@given(st.lists(short, max_size=4))
def test_many_plain_names_are_found_plain_as_each_alone(texts: list[str]) -> None:
    """The one test must never say more than the test of each."""
    plain = [text for text in texts if all_plain([text])]
    assert all_plain(texts) == (len(plain) == len(texts) > 0)
    for text in plain:
        assert encode_name(text, ".fv") == f"{text}.fv"
        assert decode_path(f"{text}.fv", ".fv") == text
