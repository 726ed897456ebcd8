"""JSON with indentation is what the standard library writes, without its garbage."""

from __future__ import annotations

import gc
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filevault.cli.reporter import Reporter
from filevault.system.indented_json import indented

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=9,
)


@given(VALUES)
def test_json_is_that_of_the_standard_library(value: object) -> None:
    assert indented(value) == json.dumps(value, indent=2)
    assert f"[\n  {indented(value, '  ')}\n]" == json.dumps([value], indent=2)


def test_no_cyclic_garbage_is_left() -> None:
    """A command does not collect it: `filevault.__main__` turns that off."""
    value = {"a": [{"b": "c"}], "d": None}
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            indented(value)
        assert gc.collect() == 0
    finally:
        gc.enable()


@pytest.mark.parametrize("values", [[], [{}], [{"a": [1]}, {"b": []}, "c"]])
def test_an_array_is_printed_value_by_value(
    capsys: pytest.CaptureFixture[str], values: list[object]
) -> None:
    Reporter().json_array(iter(values))
    assert capsys.readouterr().out == json.dumps(values, indent=2) + "\n"
