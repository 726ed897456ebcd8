"""Our reader against botocore's on the same bytes: the same values, or both refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.configloader import load_config
from botocore.exceptions import ConfigParseError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from filevault.config import aws_config
from filevault.config.aws_config import AwsConfig
from filevault.config.aws_config_edit import append_profile
from filevault.errors import ConfigError, ConfigSyntaxError
from filevault.system.config_files import EditRules
from filevault.system.printable import printable

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("a", "b", "default", '"a b"', "'a'", "a b", r"a\ b", '"a', "é", "a]b", "", "a\tb")
WORDS = ("profile", "sso-session", "services", "profiles", "", "foo", "default", "DEFAULT")
KEYS = ("region", "REGION", "role_arn", "s3", "a key", "k", "ключ", "İ", "", "[k", "#k")
VALUES = ("x", "", "x # c", "x ; c", "100%", "%(a)s", "a = b", "a: b", "[x]", "\\", '"', "é", "= =")
BLANKS = ("", " ", "  ", "\t", "\xa0", "\x0c", "\x1c", "\u2028")

headers = st.builds(
    "{}[{} {}]{}".format,
    st.sampled_from(("", "", "", " ")),
    st.sampled_from(WORDS),
    st.sampled_from(NAMES),
    st.sampled_from(("", "", " # c", " ]")),
) | st.sampled_from(("[default]", "[DEFAULT]", "[profile a]", "[profile b]", "[]", "[foo]"))
options = st.builds(
    "{}{}{}{}{}".format,
    st.sampled_from(("", "", "", " ", "\t")),
    st.sampled_from(KEYS),
    st.sampled_from(("=", " = ", ":", " : ", "\xa0=\x0c")),
    st.sampled_from(VALUES),
    st.sampled_from(BLANKS),
)
nested = st.builds("  {} = {}".format, st.sampled_from(KEYS), st.sampled_from(VALUES))
blocks = st.builds("{} =\n{}".format, st.sampled_from(KEYS), nested)
others = st.sampled_from(("# c", "; c", "  # c", "nonsense", "  nonsense", "\ufeff", *BLANKS))
# Mostly what people write, so that many files are accepted.
lines = st.one_of(headers, options, options, options, nested, blocks, blocks, others)
files = st.builds(
    lambda start, body, end: (start + end.join(body)).encode("utf-8", "surrogatepass"),
    st.sampled_from(("[profile z]\n", "[profile z]\n", "", "\ufeff")),
    st.lists(lines, max_size=12),
    st.sampled_from(("\n", "\n", "\r\n", "\r")),
)
# Each section and key of its own: nothing to refuse, so the values are what is compared.
clean_sections = st.lists(
    st.tuples(
        st.sampled_from(("profile {}", '"profile" "{}"', "sso-session {}", "services '{}'", "x{}")),
        st.lists(
            st.sampled_from(
                (
                    "{} = x",
                    "{}: y # c",
                    "{} =\n  a = b\n\n  C = d = e",
                    "{} = one\n  two\n  [three]",
                    "{}=",
                    "{} =\n# c\n  a=b",
                    "# {}",
                    "",
                    " ; {}",
                )
            ),
            max_size=6,
        ),
    ),
    max_size=6,
)


@pytest.fixture(scope="module")
def config_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("botocore") / "config"


def theirs(place: Path, data: bytes) -> dict[str, Any] | None:
    place.write_bytes(data)
    try:
        loaded = load_config(str(place))
    except ConfigParseError:
        return None
    return {kind: loaded[kind] for kind in ("profiles", "sso_sessions", "services")}


def ours(data: bytes) -> dict[str, Any] | None:
    """What both ways to read a file make of it: line by line, and by one expression."""
    found = read(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aws_config, "_SHORT", 0)
        assert read(data) == found
    return found


def read(data: bytes) -> dict[str, Any] | None:
    try:
        config = AwsConfig.parse(data, "config")
    except ConfigSyntaxError as error:
        assert error.message.startswith("line ")  # noqa: PT017
        assert printable(error.message) == error.message  # noqa: PT017
        return None
    result: dict[str, Any] = {}
    for kind, find, names in (
        ("profiles", config.profile, config.profile_names()),
        ("sso_sessions", config.sso_session, ("a", "b", "a b", "é", "0", "1", "2", "3", "4", "5")),
        ("services", config.services, ("a", "b", "a b", "é", "0", "1", "2", "3", "4", "5")),
    ):
        found = {name: find(name) for name in names}
        result[kind] = {
            name: {**section.values, **section.nested}
            for name, section in found.items()
            if section is not None
        }
    return result


def assert_same(place: Path, data: bytes) -> None:
    expected = theirs(place, data)
    found = ours(data)
    assert (found is None) == (expected is None)
    if found is None or expected is None:
        return
    assert list(found["profiles"]) == list(expected["profiles"])
    assert found["profiles"] == expected["profiles"]
    for kind in ("sso_sessions", "services"):
        asked = ("a", "b", "a b", "é", "0", "1", "2", "3", "4", "5")
        assert found[kind] == {k: v for k, v in expected[kind].items() if k in asked}


@settings(max_examples=1500, deadline=None)
@given(files)
@example(b"[default]\nk =\n a = b\x0cc = d\n")
@example(b"[DEFAULT]\na =\n  b\n")
@example(b"[DEFAULT]\na =\n  b\n[x]\na = 1\n")
@example(b"[DEFAULT]\na=1\n[DEFAULT]\nA=1\n")
@example(b" [profile a]\n k = v\n  [profile b]\n [profile b]\n")
@example(b"[profile a]\nk = v\n\n\n  w\n\n")
@example("[profile a]\n\u212aEY = 1\nkey = 2\n".encode())
@example(b"[profile a]x] = b\n[profile a] y\nk=v\n")
def test_both_read_or_refuse_the_same_file_alike(config_path: Path, data: bytes) -> None:
    assert_same(config_path, data)


@settings(max_examples=500, deadline=None)
@given(clean_sections, st.sampled_from(("\n", "\r\n")), st.booleans())
def test_both_read_the_same_values(
    config_path: Path, sections: list[tuple[str, list[str]]], end: str, inherited: bool
) -> None:
    parts = ["[DEFAULT]\nd = d\ndd =\n  e = f"] if inherited else []
    for number, (header, body) in enumerate(sections):
        parts.append(f"[{header.format(number)}]")
        parts += [line.format(f"key_{index}") for index, line in enumerate(body)]
    data = "\n".join(parts).replace("\n", end).encode()
    assert theirs(config_path, data) is not None
    assert_same(config_path, data)


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet="[]profilebad =:#;\n\n\t\"'\\\r\x0c\x85\u2028%", max_size=80))
def test_both_agree_on_text_of_the_right_letters(config_path: Path, text: str) -> None:
    assert_same(config_path, ("[profile z]\n" + text).encode())


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_read_or_refused_cleanly(config_path: Path, data: bytes) -> None:
    assert_same(config_path, data)
    assert_same(config_path, b"[a]\n" + data)


@settings(max_examples=300, deadline=None)
@given(
    files,
    st.text(max_size=12),
    st.dictionaries(st.sampled_from(("region", "mfa_serial", "x_1")), st.text(max_size=12)),
)
def test_what_is_appended_is_what_botocore_reads_and_nothing_else_changes(
    config_path: Path, before: bytes, name: str, values: dict[str, str]
) -> None:
    old = theirs(config_path, before)
    try:
        append_profile(str(config_path), name, values, EditRules(None))
    except ConfigError:
        assert config_path.read_bytes() == before
        # Refused only for a reason: a broken file, a name in use, or text that cannot be kept.
        if old is not None and name not in old["profiles"] and b"[DEFAULT]" not in before:
            assert any(
                printable(text) != text or text != text.strip() for text in (name, *values.values())
            )
        return
    after = config_path.read_bytes()
    assert after.startswith(before)
    loaded = theirs(config_path, after)
    assert old is not None
    assert loaded is not None
    profiles = loaded["profiles"]
    added = profiles.pop(name)
    assert profiles == old["profiles"]
    assert {key: added[key] for key in values} == values
    assert b"[DEFAULT]" in before or added == values
