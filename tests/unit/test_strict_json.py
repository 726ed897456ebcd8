"""Strict JSON: what the scanner of `json` does with it, and the canonical text."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filevault.errors import DamagedError
from filevault.system import strict_json
from filevault.system.strict_json import (
    canonical,
    dumps,
    dumps_member,
    dumps_with_texts,
    loads_member,
    loads_nested,
    loads_with_texts,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@given(VALUES)
def test_the_canonical_text_is_what_json_writes(value: object) -> None:
    expected = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    assert canonical(value) == expected


@pytest.mark.parametrize("value", [1.5, b"bytes", {1, 2}, object()])
def test_a_value_without_a_canonical_text_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        canonical({"key": [value]})


@pytest.mark.parametrize(
    "text", ['{"a":1}', ' \t\r\n{"a": 1}\n\n', '{\n"a"\r:\t1 }', '{"a":{"b":["c",2]}}', "{}"]
)
def test_what_json_reads_is_read_alike(text: str) -> None:
    assert loads_nested(text.encode(), "it", 3) == json.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "{", "}", '{"a":1}x', '{"a":1}{}', '\ufeff{"a":1}', '\xa0{"a":1}', '{"a":01}'),
        *('{"a":NaN}', '{"a":-Infinity}', '{"a":1.0}', '{"a":1e3}', '{"a":"\n"}', '{"a":"\\x"}'),
        *('{"a":1,}', "{'a':1}", '{"a":1,"a":1}', "[1]", "7", "null", '{"a":' + "[" * 9000),
    ],
)
def test_anything_else_is_damaged(text: str) -> None:
    with pytest.raises(DamagedError, match="^it is damaged: it has "):
        loads_nested(text.encode(), "it", 3)


def test_a_python_without_the_modules_in_c_reads_and_writes_the_same() -> None:
    code = (
        "import sys; sys.modules['_json'] = None; sys.modules['_sha2'] = None\n"
        "sys.modules['_sha256'] = None\n"
        "from filevault.system import digest, strict_json\n"
        "value = strict_json.loads_nested(b' {\"a\": [1, \"\\xc3\\xa4\"]} ', 'it', 3)\n"
        "print(strict_json.canonical(value), digest.sha256_hex(b'abc'))\n"
        "print(strict_json.loads_with_texts(b'{\"t\":{\"a\":{\"b\":1}}}', 'it', 't'))\n"
        "try: strict_json.loads_nested(b'{\"a\":1,\"a\":1}', 'it', 3)\n"
        "except Exception as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == (
        # FIPS 180-4's own example.
        '{"a":[1,"\\u00e4"]} ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n'
        "{'t': {'a': '\"a\":{\"b\":1}'}}\n"
        "it is damaged: it has a duplicate key\n"
    )


SCALARS = st.integers(0, 2**53 - 1) | st.text(max_size=8)
ENTRIES = st.dictionaries(st.text(max_size=8), SCALARS, max_size=3)
MEMBERS = st.dictionaries(
    st.text(max_size=4), SCALARS | st.lists(st.text(max_size=4)) | ENTRIES, max_size=3
)
TABLES = st.dictionaries(st.text(max_size=8), ENTRIES, max_size=9)


def both_ways(data: bytes) -> tuple[object, object]:
    """Return what is read with the table as texts, and with all of it as objects."""

    def attempt(read: Callable[[], object]) -> object:
        try:
            return read()
        except DamagedError:
            return "damaged"

    def as_objects() -> object:
        value = loads_nested(data, "it", 3)
        table = value.get("table")
        if isinstance(table, dict):
            if not all(isinstance(each, dict) for each in table.values()):
                return "damaged"
            value["table"] = {name: dumps_member(name, each) for name, each in table.items()}
        return value

    return attempt(lambda: loads_with_texts(data, "it", "table")), attempt(as_objects)


@given(MEMBERS, TABLES, MEMBERS, st.integers(1, 40))
def test_a_table_of_texts_is_what_its_objects_are(
    before: dict[str, object], table: dict[str, object], after: dict[str, object], block: int
) -> None:
    value = {**before, "table": table, **after}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strict_json, "_BLOCK", block)
        patch.setattr(strict_json, "_MANY", 2)
        data = dumps(value)
        texts, objects = both_ways(data)
        assert texts == objects != "damaged"
        again = loads_with_texts(data, "it", "table")
        assert dumps_with_texts(again, "table") == data
        assert {name: loads_member(text) for name, text in again["table"].items()} == table


PIECES = [
    '{"table":',
    "{",
    "}",
    '"a":',
    '"b":',
    '"',
    ",",
    ":",
    "[",
    "]",
    "1",
    '"x"',
    " ",
    '{"c":1}',
]
PIECES += ['"a":{}', '"b":{"c":"}"}', '"d":{"c":1}', "\\", "-", "1.0", "true", '"},"', '"},":{']


@given(st.lists(st.sampled_from(PIECES), max_size=12), st.integers(1, 12))
def test_any_text_is_read_the_same_with_a_table_of_texts(pieces: list[str], block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strict_json, "_BLOCK", block)
        for text in ("".join(pieces), '{"table":{' + ",".join(pieces) + "}}"):
            texts, objects = both_ways(text.encode())
            assert texts == objects


@pytest.mark.parametrize(
    "table",
    [
        *('{"a":{},"a":{}}', '{"a":{"b":1,"b":1}}', '{"a":{"b":[]}}', '{"a":1}', '{"a":{"b":1.0}}'),
        *('{"a":{"b":null}}', '{"a":{"b":9007199254740992}}', '{"a":{"b":-1}}', '{"a":{}', '{"a"}'),
        *('{"a":{},}', '{"a":{}}}', '{"a":{"b":"\n"}}', "{1:{}}", "{,}", '{"a":{"b":{}}}'),
    ],
)
def test_a_table_that_is_damaged_is_refused(table: str) -> None:
    for text in (f'{{"table":{table}}}', f'{{"table":{table},"b":1}}'):
        with pytest.raises(DamagedError, match="^it is damaged: it has "):
            loads_with_texts(text.encode(), "it", "table")


def test_a_table_as_filevault_writes_it_is_not_parsed_as_a_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = {f"team/p{n}": {"generation": n, "sha256": f"{n:064x}"} for n in range(3000)}
    data = dumps({"format": "filevault/1", "table": table, "removed": {"a": {"sha256": "b"}}})
    monkeypatch.setattr(strict_json, "loads_nested", lambda *_: pytest.fail("parsed as a whole"))
    value = loads_with_texts(data, "it", "table")
    assert loads_member(value["table"]["team/p2999"]) == table["team/p2999"]
    assert len(value["table"]) == 3000


texts = st.sampled_from(["a", "b", "c", "d e", "é", "items", "{", "}", "}}", '"', "\\", ",", ":{"])
records = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d", "items", "}}"]),
    st.dictionaries(st.sampled_from("abc"), st.sampled_from("ab}") | st.integers(0, 9), max_size=2),
    min_size=1,
    max_size=3,
)
members = st.one_of(
    texts, st.integers(0, 9), records, st.dictionaries(texts, st.lists(texts, max_size=2))
)


@st.composite
def changed(draw: st.DrawFn) -> bytes:
    """Return JSON with a member `items` of any form, in which some bytes may be changed."""
    value = {
        "format": 1,
        **draw(st.dictionaries(texts, members, max_size=1)),
        "items": draw(st.one_of(records, members)),
        **draw(st.dictionaries(texts, members, max_size=2)),
    }
    data = bytearray(strict_json.dumps(value))
    changes = st.tuples(st.integers(0, 60), st.sampled_from(b'{}",: '))
    for at, what in draw(st.lists(changes, max_size=1)):
        if at < len(data):
            data[at] = what
    return bytes(data)


@settings(max_examples=150, deadline=None)
@given(changed())
def test_what_is_left_without_records_is_the_same_without_them(data: bytes) -> None:
    rest = strict_json.without_records(data, "items")
    if rest is None:
        return
    try:
        whole, left = loads_nested(data, "it", 4), loads_nested(rest, "it", 4)
    except DamagedError:
        return  # of the whole, it is noticed when the records are parsed; else all is parsed
    items = whole.pop("items")
    assert all(isinstance(each, dict) for each in items.values())
    assert left == whole


@pytest.mark.parametrize(
    ("data", "rest"),
    [
        (b'{"a":1,"items":{"b":{"c":2},"d":{}},"e":{"f":{}}}', b'{"a":1,"e":{"f":{}}}'),
        (b'{"a":1,"items":{"b":{}}}', b'{"a":1}'),
        (b'{"a":1,"items":{},"e":{"f":{}}}', None),
        (b'{"a":1,"items":{"b":1},"e":{"f":{}}}', None),
        (b'{"a":1,"items":{"b":{"c":{}}}}', None),
        (b'{"a":1,"items":{"{":{"c":1}}}', None),
        (b'{"a":"\\u0041","items":{"b":{}}}', None),
        (b'{"items":{"b":{}},"a":1}', None),
        (b'{"a":1}', None),
        (b"", None),
    ],
)
def test_records_are_left_out_only_where_that_is_certain(data: bytes, rest: bytes | None) -> None:
    assert strict_json.without_records(data, "items") == rest
