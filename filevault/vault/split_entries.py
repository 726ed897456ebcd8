"""A key in two entries of a shared store, form C of `docs/format.md` §3.

For example `work/access_id` and `work/access_token`. They are recognised by their names alone, so
a listing decrypts nothing. They are read, never written: a rewrite replaces both by one item with
the name of the folder.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filevault.credentials import KEY_ID, SECRET_KEY
from filevault.errors import DamagedError
from filevault.system.printable import printable, shell_word
from filevault.system.record import Record
from filevault.vault.item_lines import ROTATION_FIELDS, field_of, lines_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# In lower case, with `_` for `-` and without `aws_` in front; docs/format.md has the same table.
_IDS = ("access_id", "access_key", "access_key_id")
_SECRETS = ("access_token", "secret_key", "secret_access_key")
# For bytes: entries are joined before any other format is parsed.
_KEY_ID = rf"{KEY_ID}\Z".encode()
_SECRET = rf"{SECRET_KEY}\Z".encode()


class Pair(Record):
    """The names of the two entries that contain the key of a profile."""

    key_id: str
    secret: str

    @property
    def names(self) -> tuple[str, str]:
        """Both names, the id's first."""
        return self.key_id, self.secret


def find(names: Iterable[str]) -> Pair | None:
    """Return the pair among the names of one folder; None if there are two ids or two secrets."""
    ids: list[str] = []
    secrets: list[str] = []
    for name in names:
        half = _half(name)
        if half:
            (ids if half == "id" else secrets).append(name)
    return Pair(ids[0], secrets[0]) if len(ids) == len(secrets) == 1 else None


def fold(names: Sequence[str]) -> list[str]:
    """Return sorted names with each pair replaced by the profile whose key it contains.

    If there is an item of that name as well, the name is listed once.
    """
    folders: dict[str, list[str]] = {}
    for name in names:
        if is_half(name):
            folders.setdefault(owner(name), []).append(name)
    if not folders:
        return list(names)
    found = {folder: pair for folder, halves in folders.items() if (pair := find(halves))}
    halves = {name for pair in found.values() for name in pair.names}
    return sorted({name for name in names if name not in halves} | found.keys())


def is_half(name: str) -> bool:
    """Return whether the name of an entry is that of half a key."""
    # The last letters of the words below: a listing asks this for thousands.
    return name[-1:] in "dnyDNY" and "/" in name and _half(name) != ""


def owner(name: str) -> str:
    """Return the profile whose key half an entry would contain."""
    return name.rpartition("/")[0]


def _half(name: str) -> str:
    plain = name.rpartition("/")[2].lower().replace("-", "_").removeprefix("aws_")
    return "id" if plain in _IDS else "secret" if plain in _SECRETS else ""


def join(pair: Pair, key_id: bytes, secret: bytes) -> bytes:
    """Return the text of one item with the key of two entries, and with their other lines.

    Raises DamagedError if the first line of one is not its half of the key.
    """
    first, more = _halve(key_id, _KEY_ID, pair.key_id, "access key id")
    if first.startswith(b"ASIA"):
        raise DamagedError(
            f"item {printable(pair.key_id)!r} is the key id of a temporary session, no long-term "
            "key",
            hint="store the key that it was made from",
        )
    value, rest = _halve(secret, _SECRET, pair.secret, "secret access key")
    if rest and more and not rest.endswith(b"\n"):
        rest += b"\n"
    return value + b"\naws_access_key_id: " + first + b"\n" + rest + more


def _halve(text: bytes, pattern: bytes, name: str, what: str) -> tuple[bytes, bytes]:
    """Return the value in the first line, and the lines below."""
    line, _, rest = text.partition(b"\n")
    value = line.strip()
    # A half never has rotation fields: an attacker who can write the store, but not read it, could
    # have any key of the user deactivated and deleted with them.
    names = {pair[0] for pair in map(field_of, lines_of(rest)) if pair}
    ours = "filevault" in names or not names.isdisjoint(ROTATION_FIELDS)
    if ours or not re.match(pattern, value):
        reason = "is an item of its own" if ours else f"has no {what} in its first line"
        raise DamagedError(
            f"item {printable(name)!r}, by its name one half of the key of "
            f"{printable(owner(name))!r}, {reason}",
            hint=f"rename it, or store the whole key: filevault add {shell_word(owner(name))}",
        )
    return value, rest
