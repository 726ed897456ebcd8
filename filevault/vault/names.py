"""Encode a profile's name as the path of its file, and decode it (`docs/format.md` §2).

The encoding is injective, so two profiles never share a file, and safe: no part of a path is
hidden, looks like an option, leads to a parent folder, or has characters that another file system
or a terminal interprets.
"""

from __future__ import annotations

from functools import lru_cache

from filevault.errors import UsageError
from filevault.system.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_PART_LIMIT = 255  # bytes in a file name, on every file system that matters

FOLDERS_LIMIT = 64
"""The most folders of a name: what is deeper is not found in a vault, but would be stored there."""

_ENCODED = '[%:\\\\*?"<>|\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]'
_SEQUENCE = r"((?:%[0-9A-F]{2})+)"
_PLAIN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-\n"


def _is_plain(text: str) -> bool:
    """Return whether a name certainly encodes to itself, as nearly all do."""
    return text.isascii() and text.replace("-", "_").isidentifier() and text[0] != "-"


def all_plain(texts: Sequence[str]) -> bool:
    """Return whether each of the texts certainly encodes to itself; there may be thousands."""
    together = "\n" + "\n".join(texts) + "\n"
    return (
        together.isascii()
        and not together.encode().translate(None, _PLAIN)
        and "\n\n" not in together
        and "\n-" not in together
        and together.count("\n") == len(texts) + 1  # no text has a line end
    )


def plain_names(files: Sequence[bytes], suffix: str) -> list[str] | None:
    """Return the names of items from those of their files, if each certainly encodes to itself.

    None if one may not, or lacks the suffix; there may be thousands.
    """
    end = suffix.encode() + b"\n"
    lines = b"\n".join(files) + b"\n"
    names = lines.replace(end, b"\n")
    if (
        lines.count(end) == names.count(b"\n") == len(files)  # no name has a line end
        and not names.translate(None, _PLAIN)
        and names[:1] not in (b"\n", b"-")
        and b"\n\n" not in names
        and b"\n-" not in names
    ):
        return names[:-1].decode("ascii").split("\n")
    return None


def _percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8"))


def _encode_part(part: str) -> str:
    import re

    if _is_plain(part):
        return part
    encoded = re.sub(_ENCODED, lambda match: _percent(match.group()), part)
    if encoded[0] in ".-":
        encoded = _percent(encoded[0]) + encoded[1:]
    if encoded[-1] in " .":
        encoded = encoded[:-1] + _percent(encoded[-1])
    return encoded


def _refuse(name: str, reason: str) -> UsageError:
    return UsageError(
        f"{printable(name, 200)!r} cannot be the name of an item: {reason}",
        hint="give another name",
    )


def _check(name: str) -> None:
    if not name.isascii():
        import unicodedata

        try:
            name.encode("utf-8")
        except UnicodeEncodeError:
            raise _refuse(name, "it is not valid UTF-8") from None
        if not unicodedata.is_normalized("NFC", name):
            raise _refuse(name, "it is not in Unicode's normal form C")
    if "\x00" in name:
        raise _refuse(name, "it contains a NUL")
    if not all(name.split("/")):
        raise _refuse(name, "it is empty or has an empty part")
    if name.count("/") > FOLDERS_LIMIT:
        raise _refuse(name, f"it has more than {FOLDERS_LIMIT} folders")


@lru_cache(maxsize=16)  # a walk over items encodes each name several times
def encode_name(name: str, suffix: str) -> str:
    """Return the relative path of an item, with the suffix.

    Raises:
        UsageError: for a name that has no path.
    """
    if _is_plain(name) and len(name) + len(suffix) <= _PART_LIMIT:
        return name + suffix
    _check(name)
    *folders, last = name.split("/")
    parts = []
    for folder in folders:
        part = _encode_part(folder)
        if part.lower().endswith(suffix):
            # Other tools would take a folder with the suffix for an item.
            part = part[: -len(suffix)] + "%2E" + part[len(part) - len(suffix) + 1 :]
        parts.append(part)
    parts.append(_encode_part(last) + suffix)
    for part in parts:
        if len(part.encode("utf-8")) > _PART_LIMIT:
            raise _refuse(name, f"a part of it needs more than {_PART_LIMIT} bytes")
    return "/".join(parts)


def decode_path(path: str, suffix: str) -> str | None:
    """Return the name of the item at a relative path, None if the path encodes no name."""
    if not path.endswith(suffix):
        return None
    encoded = path[: -len(suffix)]
    if _is_plain(encoded):
        return encoded
    name = _decode(encoded)
    if name is None:
        return None
    try:
        return name if encode_name(name, suffix) == path else None
    except UsageError:
        return None


def _decode(encoded: str) -> str | None:
    import re

    try:
        return re.sub(
            _SEQUENCE,
            lambda match: bytes.fromhex(match.group().replace("%", "")).decode("utf-8"),
            encoded,
        )
    except UnicodeDecodeError:
        return None


def encode_session_owner(name: str) -> str:
    """Return the name of the folder of a profile's sessions (`docs/format.md` §7).

    Raises UsageError for a name that cannot be encoded.
    """
    if _is_plain(name) and len(name) <= _PART_LIMIT:
        return name
    _check(name)
    part = _encode_part(name).replace("/", "%2F")
    if len(part.encode("utf-8")) > _PART_LIMIT:
        raise _refuse(name, f"it needs more than {_PART_LIMIT} bytes")
    return part


def decode_session_owner(part: str) -> str | None:
    """Return the profile whose sessions a folder contains, None if its name encodes none."""
    if _is_plain(part):
        return part
    name = _decode(part)
    if name is None:
        return None
    try:
        return name if encode_session_owner(name) == part else None
    except UsageError:
        return None
