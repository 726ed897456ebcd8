"""Strict JSON of filevault's own files: one flat object of strings and integers.

`docs/format.md` states the rules. So that no two programs read the same bytes differently,
duplicate keys, floats, booleans, nesting and lone surrogates are refused.
"""

from __future__ import annotations

from filevault.errors import DamagedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    _Build = Callable[[list[tuple[str, Any]]], Any] | None

MAX_INTEGER = 2**53 - 1
MAX_FOREIGN_DEPTH = 32
"""Limit of levels in other programs' JSON; Python's parser fails at about a thousand."""

_PART = r'"(?:[^"\\]|\\.)*"?|[][{}]'
_NO_BRACES = bytes(byte for byte in range(256) if byte not in b"{}")
_CONTAINERS = frozenset({dict, list})
_SCALARS = frozenset({str, int})
_NESTED = _CONTAINERS | _SCALARS
_BLOCK = 1 << 16  # characters of a table that are parsed at once
_MANY = 1000  # entries of a table that are written at once
_BLANK = " \t\n\r"  # RFC 8259 §2


class _RefusedError(ValueError):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _RefusedError("a duplicate key")
    return result


def _no_float(_text: str) -> Any:  # noqa: ANN401
    raise _RefusedError("a number that is no integer")


def _integer(text: str) -> int:
    if len(text) > 16 or text.startswith("-") or int(text) > MAX_INTEGER:
        raise _RefusedError("an integer out of range")
    return int(text)


class _Settings:
    """The attributes of a `json.JSONDecoder` that its scanner reads."""

    strict = True
    object_hook = None
    parse_float = staticmethod(_no_float)
    parse_constant = staticmethod(_no_float)

    def __init__(self, parse_int: Callable[[str], int], build: _Build) -> None:
        self.parse_int = parse_int
        self.object_pairs_hook = build


def _scanner(
    parse_int: Callable[[str], int], build: _Build = _unique
) -> Callable[[str, int], tuple[Any, int]]:
    """Return the function that parses the JSON value at a position of a text.

    It is the one that `json` uses: importing that module compiles seven regular expressions for
    what is in C now. `build` makes an object of its members.
    """
    settings: Any = _Settings(parse_int, build)
    try:
        from _json import make_scanner

        scan: Callable[[str, int], tuple[Any, int]] = make_scanner(settings)
    except (ImportError, AttributeError):  # not CPython, or one whose scanner reads more
        from json import JSONDecoder

        decoder: Any = JSONDecoder(
            object_pairs_hook=build,
            parse_float=_no_float,
            parse_constant=_no_float,
            parse_int=parse_int,
        )
        scan = decoder.scan_once
    return scan


def _load(data: bytes, parse_int: Callable[[str], int]) -> dict[str, Any]:
    try:
        text = data.decode("utf-8").strip(_BLANK)
        value, end = _scanner(parse_int)(text, 0)
    except _RefusedError:
        raise
    except (ValueError, RecursionError, StopIteration) as error:
        raise _RefusedError("no JSON") from error
    if end != len(text):
        raise _RefusedError("no JSON")
    if not isinstance(value, dict):
        raise _RefusedError("no JSON object")
    return value


def _check_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise _RefusedError("a lone surrogate") from error


def loads(data: bytes, fields: Mapping[str, type], what: str) -> dict[str, str | int]:
    """Parse one flat object that has exactly the given fields.

    Args:
        data: the bytes as stored, at most a few KiB (the caller limits them).
        fields: each required field with its type, `str` or `int`; others are refused.
        what: names the object in messages, e.g. `"the header of item 'work'"`.

    Raises:
        DamagedError: for anything else.
    """
    try:
        value = _load(data, _integer)
        for key in value:
            _check_text(key)
            if key not in fields:
                raise _RefusedError("an unknown field")
        for key, field_type in fields.items():
            if key not in value:
                raise _RefusedError(f"no field {key!r}")
            if type(value[key]) is not field_type:
                raise _RefusedError(f"a field {key!r} of the wrong type")
            if field_type is str:
                _check_text(value[key])
    except _RefusedError as error:
        raise DamagedError(f"{what} is damaged: it has {error}") from error
    return value


def loads_nested(data: bytes, what: str, depth: int) -> dict[str, Any]:
    """Parse an object of strings, integers, lists and objects with at most `depth` levels.

    Unknown keys are kept. Raises DamagedError.
    """
    try:
        value = _load(data, int)
        if b"\\u" in data:
            import json

            _check_text(json.dumps(value, ensure_ascii=False))
        _check_depth(value, depth)
    except _RefusedError as error:
        raise DamagedError(f"{what} is damaged: it has {error}") from error
    return value


def loads_with_texts(data: bytes, what: str, table: str) -> dict[str, Any]:
    """Parse as `loads_nested` does, three levels, but return the members of one object as texts.

    Used for `trust.json`, which every command reads and whose table of items may be long: a text,
    `"name":{...}`, takes half the memory of the object, and is written again as it is.

    Args:
        data: the bytes as stored.
        what: names them in messages.
        table: the key of an object of objects.

    Raises DamagedError, also if a member of the table is no object.
    """
    try:
        return _read_compact(data, table)
    except (_RefusedError, ValueError, IndexError, StopIteration, RecursionError):
        pass  # not as filevault writes it: parse it as a whole
    value = loads_nested(data, what, 3)
    entries = value.get(table)
    if isinstance(entries, dict):
        if not all(isinstance(each, dict) for each in entries.values()):
            raise DamagedError(f"{what} is damaged: it has an entry that is no object")
        value[table] = {name: dumps_member(name, each) for name, each in entries.items()}
    return value


def dumps_member(name: str, entry: Mapping[str, str | int]) -> str:
    """Return the text of a member as `loads_with_texts` does."""
    return dumps({name: entry})[1:-1].decode("utf-8")


def loads_member(text: str) -> dict[str, Any]:
    """Return the object of a member whose text `loads_with_texts` or `dumps_member` returned."""
    (entry,) = _scanner(int)(f"{{{text}}}", 0)[0].values()
    found: dict[str, Any] = entry
    return found


def _read_compact(data: bytes, table: str) -> dict[str, Any]:
    """Parse what `dumps_with_texts` wrote. Raises an error for what is, or may be, other text."""
    if b"\\" in data:
        raise _RefusedError("a character that is escaped")
    text = data.decode("utf-8")
    scan = _scanner(int)
    found: dict[str, Any] = {}
    at = count = 0
    while text[at] == ("," if count else "{"):
        name, at = scan(text, at + 1)
        if type(name) is not str or text[at] != ":":
            raise _RefusedError("no member")
        read = _read_table if name == table else scan
        found[name], at = read(text, at + 1)
        count += 1
    if text[at:] != "}" or not count or len(found) != count:
        raise _RefusedError("no JSON object")
    _check_depth({name: each for name, each in found.items() if name != table}, 3)
    return found


def _read_table(text: str, start: int) -> tuple[dict[str, str], int]:
    """Return the members of the object at a position, as texts, and where it ends.

    They are parsed, and cut, some at a time. Raises as `_read_compact`.
    """
    found: dict[str, str] = {}
    if text[start : start + 2] == "{}":
        return found, start + 2
    if text[start] != "{":
        raise _RefusedError("no table")
    scan = _scanner(int, None)
    count, at, end = 0, start + 1, 0
    while not end:
        cut = text.find('},"', at + _BLOCK)
        block = text[at:] if cut < 0 else text[at : cut + 1]
        entries, used = scan(f"{{{block}}}", 0)
        if used < len(block) + 2:  # the table ends in it
            block, end = block[: used - 2], at + used - 1
        elif cut < 0:
            raise _RefusedError("no end")
        texts = f",{block}".split("}")
        del texts[-1]
        _check_entries(entries, block, len(texts))
        found.update(zip(entries, [text[1:] + "}" for text in texts], strict=True))
        count += len(entries)
        at = cut + 2
    if len(found) != count:
        raise _RefusedError("a duplicate key")
    return found, end


def _check_entries(entries: dict[str, Any], text: str, count: int) -> None:
    """Check that a text is one of flat objects, without spaces, as many as its closing braces.

    No character is escaped, so each name and each value that is a text has two quotes: with more
    of them, a name was there twice.
    """
    if any(blank in text for blank in _BLANK):
        raise _RefusedError("a space")
    if len(entries) != count or set(map(type, entries.values())) != {dict}:
        raise _RefusedError("an entry that is no flat object")
    members = [member for each in entries.values() for member in each.values()]
    if not _SCALARS.issuperset(map(type, members)):
        raise _RefusedError("a value that is neither text nor integer")
    integers = [member for member in members if type(member) is int]
    if integers and (min(integers) < 0 or max(integers) > MAX_INTEGER):
        raise _RefusedError("an integer out of range")
    if text.count('"') != 2 * (len(entries) + 2 * len(members) - len(integers)):
        raise _RefusedError("a duplicate key")


def _check_depth(value: dict[str, Any], depth: int) -> None:
    """Check the types of all values, level by level: there may be thousands of small objects."""
    level: list[Any] = [value]
    while level:
        if depth == 0:
            raise _RefusedError("too many levels")
        depth -= 1
        members: list[Any] = []
        for each in level:
            members += each.values() if type(each) is dict else each
        types = set(map(type, members))
        if not types <= _NESTED:
            raise _RefusedError("a value that is neither text nor integer")
        if int in types:
            integers = [member for member in members if type(member) is int]
            if min(integers) < 0 or max(integers) > MAX_INTEGER:
                raise _RefusedError("an integer out of range")
        level = []
        if not types.isdisjoint(_CONTAINERS):
            level = [member for member in members if type(member) in _CONTAINERS]


def without_records(data: bytes, name: str) -> bytes | None:
    """Return JSON without one member of the outermost object, whose value has flat objects only.

    Nothing of that value is parsed, and all that is left is for the caller to parse. None if the
    member cannot be found with certainty, for example because there is none, it is the first
    one or empty, or a text has a backslash or a brace.
    """
    before, found, after = data.partition(b',"%b":{' % name.encode("ascii"))
    value, end, after = after.partition(b"}}")
    braces = value.translate(None, _NO_BRACES)
    # No text has a quote in it, so that a brace is one of JSON unless it is in a text. What is left
    # is valid only if its braces are balanced, so those of the member are. If they alternate, they
    # begin objects right in it, and it is not left before the last of them ends.
    if (
        not (found and end)
        or b"\\" in data
        or value[:1] != b'"'
        or braces != b"{}" * (len(braces) // 2) + b"{"
    ):
        return None
    return before + after


def is_too_deep(text: str) -> bool:
    """Return whether the JSON at the beginning of a text has more levels than is allowed.

    For JSON of other programs, before it is parsed. Text after the value does not count.
    """
    import re

    if text.count("[") + text.count("{") <= MAX_FOREIGN_DEPTH:
        return False
    depth = 0
    for token in re.finditer(_PART, text, re.DOTALL):
        first = token.group()[0]
        if first in "[{":
            depth += 1
            if depth > MAX_FOREIGN_DEPTH:
                return True
        elif first in "]}":
            depth -= 1
            if depth <= 0:
                return False
    return False


def dumps(value: Mapping[str, object]) -> bytes:
    """Return compact UTF-8 JSON, keys in the order given, non-ASCII text as it is."""
    import json

    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def dumps_with_texts(value: Mapping[str, Any], table: str) -> bytes:
    """Return what `dumps` would, with the members of `table` as `loads_with_texts` returns them."""
    from itertools import islice

    parts: list[bytes] = []
    for key, member in value.items():
        start = b"," if parts else b"{"
        if key != table:
            parts.append(start + dumps({key: member})[1:-1])
            continue
        parts.append(start + dumps({key: {}})[1:-2])
        texts, comma = iter(member.values()), ""
        while some := ",".join(islice(texts, _MANY)):
            parts.append((comma + some).encode("utf-8"))
            comma = ","
        parts.append(b"}")
    return b"".join((*parts, b"}" if parts else b"{}"))


def canonical(value: object) -> str:
    """Return compact ASCII JSON with sorted keys: equal values have equal text.

    As `json.dumps` writes it with `sort_keys`; see `_scanner` for why that is not imported. Takes
    None, booleans, integers, texts, and lists and mappings of them. Raises TypeError.
    """
    if isinstance(value, str):
        return _quoted(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, dict):
        members = (f"{_quoted(key)}:{canonical(value[key])}" for key in sorted(value))
        return "{" + ",".join(members) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(canonical, value)) + "]"
    raise TypeError(f"{type(value).__name__} has no canonical form")


def _quoted(text: str) -> str:
    """Return a text as an ASCII string of JSON."""
    try:
        from _json import encode_basestring_ascii as quoted
    except ImportError:  # not CPython
        from json.encoder import encode_basestring_ascii as quoted
    shown: str = quoted(text)
    return shown
