"""The keys that are found in a source, and what is left out of it with the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.credentials import AccessKey
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    Entry = tuple[str, AccessKey]
    """A name in a source, and the key that it has there."""

MAX_KEYS = 20_000
"""Limit of the keys in one source."""


class FoundKey(Record):
    """A long-term key in a source.

    `name` is the profile that it is for, empty if the source does not say; `place` is for
    messages. `created` is IAM's CreateDate where the source has it. `text` is the whole text of
    an item of a vault, None for any other source. `note` is a remark for the table.
    """

    _secret = ("text",)

    name: str
    key: AccessKey
    place: str
    mfa_serial: str | None = None
    region: str | None = None
    created: str | None = None
    text: bytes | None = None
    note: str = ""

    @property
    def entry(self) -> Entry:
        """The name and the key, by which the source finds it again."""
        return self.name, self.key


class LeftOut(Record):
    """Something in a source that is not imported; `failed` if it might have been a key."""

    name: str
    place: str
    reason: str
    failed: bool = False


class Contents(Record):
    """The keys in a source, and what is left out."""

    keys: tuple[FoundKey, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    def joined(self, other: Contents) -> Contents:
        """Return the contents of both."""
        return Contents(self.keys + other.keys, self.left_out + other.left_out)


class FileFormat(Record):
    """A format of one file in the clear.

    `name` is the word for `--from`, `title` is for messages. `recognise` returns whether a text
    is of the format. `read` returns the keys of a text; its second argument is the path, for
    messages. `without` returns the text without the lines of some entries, each a name and its
    key, and with every other byte; empty if nothing is left that matters. Both raise UsageError
    or ConfigSyntaxError for a text that is damaged.
    """

    name: str
    title: str
    recognise: Callable[[str], bool]
    read: Callable[[str, str], Contents]
    without: Callable[[str, str, Collection[Entry]], str]


def without_lines(text: str, numbers: Collection[int]) -> str:
    """Return a text without the lines of these numbers, from 1; every other character stays."""
    lines = text.split("\n")
    kept = [line for number, line in enumerate(lines, 1) if number not in numbers]
    return "\n".join(kept)
