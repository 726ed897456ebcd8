"""What a file's fields are replaced with, and files with one field replaced."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

_DEEP = 600

# As JSON text, because some of it no writer of JSON would write.
VALUES: dict[str, str] = {
    "null": "null",
    "true": "true",
    "zero": "0",
    "one": "1",
    "negative": "-1",
    "fraction": "1.5",
    "largest": str(2**53 - 1),
    "too large": str(2**53),
    "2^40": str(2**40),
    "10^9": str(10**9),
    "2000000": "2000000",
    "huge": "9" * 3000,
    "beyond any number": "9" * 5000,
    "exponent": "1e999999",
    "not a number": "NaN",
    "infinite": "-Infinity",
    "empty": '""',
    "word": '"jonsmith"',
    "digits": '"0"',
    "hex 16": f'"{"0" * 16}"',
    "hex 32": f'"{"0" * 32}"',
    "hex 64": f'"{"f" * 64}"',
    "newer": '"filevault/2"',
    "much newer": f'"filevault/{"9" * 16}"',
    "newer than any": f'"filevault/{"9" * 40}"',
    "other family": '"vault/1"',
    "surrogate": '"\\ud800"',
    "escaped NUL": '"a\\u0000b"',
    "raw NUL": '"a\x00b"',
    "escape sequence": '"\\u001b[2J\\u202eevil"',
    "new line": '"a\\nfilevault: error: b"',
    "climbing": '"../../../../etc/passwd"',
    "long": f'"{"A" * 3000}"',
    "very long": f'"{"A" * 2_000_000}"',
    "list": "[]",
    "object": "{}",
    "lists": "[" * _DEEP + "]" * _DEEP,
    "deep lists": "[" * 100_000,
    "deep objects": '{"a":' * _DEEP + "1" + "}" * _DEEP,
    "time": '"2026-11-23T21:45:13Z"',
    "no time": '"2026-13-99T99:99:99Z"',
    "far time": '"9999-12-31T23:59:59Z"',
    "bad base64": '"A==="',
    "item source": '"item:jonsmith"',
    "nothing at all": "",
}


def texts(fields: dict[str, Any], field: str) -> Iterator[tuple[str, bytes]]:
    """Yield names and JSON objects: a field missing, doubled, or with another value."""
    others = {key: value for key, value in fields.items() if key != field}
    yield "missing", json.dumps(others).encode()
    doubled = json.dumps(fields, separators=(",", ":"))[:-1]
    again = json.dumps(fields.get(field, 1))
    yield "doubled", f"{doubled},{json.dumps(field)}:{again}}}".encode()
    for name, value in VALUES.items():
        yield name, replaced(fields, field, value)


def replaced(fields: dict[str, Any], field: str, value: str) -> bytes:
    """Return a JSON object in which a field, in its place or at the end, has a raw JSON value."""
    parts = [
        f"{json.dumps(key)}:{value if key == field else json.dumps(content)}"
        for key, content in fields.items()
    ]
    if field not in fields:
        parts.append(f"{json.dumps(field)}:{value}")
    return ("{" + ",".join(parts) + "}").encode("utf-8")


JSON: st.SearchStrategy[str] = st.recursive(
    st.sampled_from(sorted(VALUES.values(), key=len)[:-3])
    | st.integers().map(str)
    | st.floats().map(str)
    | st.text(max_size=30).map(json.dumps),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda parts: f"[{','.join(parts)}]")
        | st.lists(st.tuples(st.text(max_size=5).map(json.dumps), inner), max_size=3).map(
            lambda pairs: "{" + ",".join(f"{key}:{value}" for key, value in pairs) + "}"
        )
    ),
    max_leaves=6,
)
"""Any JSON value, and much that is none, as text."""
