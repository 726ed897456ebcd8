"""Strict JSON: what the scanner of `json` does with it, and the canonical text."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filevault.errors import DamagedError
from filevault.system.strict_json import canonical, loads_nested

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
        "try: strict_json.loads_nested(b'{\"a\":1,\"a\":1}', 'it', 3)\n"
        "except Exception as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == (
        # FIPS 180-4's own example.
        '{"a":[1,"\\u00e4"]} ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n'
        "it is damaged: it has a duplicate key\n"
    )
