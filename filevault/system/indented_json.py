"""JSON with indentation for people, of values that may be very many."""

from __future__ import annotations

from json import dumps

_INDENT = "  "


def indented(value: object, margin: str = "") -> str:
    """Return a value as `json.dumps` writes it with an indentation of 2; `margin` is the outer one.

    `json.dumps` with an indentation creates cyclic garbage for each value, which adds up over many.
    Mappings have texts as keys.
    """
    inner = margin + _INDENT
    if isinstance(value, dict) and value:
        marks = "{}"
        parts = [f"{dumps(key)}: {indented(member, inner)}" for key, member in value.items()]
    elif isinstance(value, (list, tuple)) and value:
        marks = "[]"
        parts = [indented(member, inner) for member in value]
    else:
        return dumps(value)
    members = f",\n{inner}".join(parts)
    return f"{marks[0]}\n{inner}{members}\n{margin}{marks[1]}"
