"""The parameters of one request of the query protocol, checked in AWS's words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping

from tests.fakes.refusal import validation_error

Pattern = tuple[str, Callable[[str], bool]]


def ascii_pattern(text: str) -> Pattern:
    """Make a pattern of the service model; its `\\w` and `\\d` are ASCII as in Java."""
    compiled = re.compile(text, re.ASCII)
    return text, lambda value: compiled.fullmatch(value) is not None


def _is_tag_text(value: str) -> bool:
    return all(unicodedata.category(char)[0] in "LZN" or char in "_.:/=+-@" for char in value)


TAG_KEY: Pattern = (r"[\p{L}\p{Z}\p{N}_.:/=+\-@]+", _is_tag_text)
TAG_VALUE: Pattern = (r"[\p{L}\p{Z}\p{N}_.:/=+\-@]*", _is_tag_text)


class Parameters:
    """Read parameters by name and collect what is wrong with them until `check`."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self._problems: list[str] = []

    def check(self) -> None:
        """Refuse with every problem found so far, in one `ValidationError` as AWS does."""
        if self._problems:
            count = len(self._problems)
            noun = "error" if count == 1 else "errors"
            raise validation_error(
                f"{count} validation {noun} detected: " + "; ".join(self._problems)
            )

    def text(
        self,
        name: str,
        *,
        least: int = 0,
        most: int | None = None,
        pattern: Pattern | None = None,
    ) -> str | None:
        """Return an optional parameter within bounds on its length and characters."""
        value = self._values.get(name)
        if value is None:
            return None
        if len(value) < least:
            self._wrong(name, value, f"have length greater than or equal to {least}")
        if most is not None and len(value) > most:
            self._wrong(name, value, f"have length less than or equal to {most}")
        if pattern is not None and not pattern[1](value):
            self._wrong(name, value, f"satisfy regular expression pattern: {pattern[0]}")
        return value

    def required(
        self,
        name: str,
        *,
        least: int = 0,
        most: int | None = None,
        pattern: Pattern | None = None,
    ) -> str:
        """Return a parameter that must be there; empty until `check` refuses its absence."""
        value = self.text(name, least=least, most=most, pattern=pattern)
        if value is None:
            self._problems.append(
                f"Value null at '{_path(name)}' failed to satisfy constraint: "
                "Member must not be null"
            )
            return ""
        return value

    def choice(self, name: str, values: tuple[str, ...]) -> str:
        """Return a parameter that must be one of a few words."""
        value = self.required(name)
        if value and value not in values:
            self._wrong(name, value, f"satisfy enum value set: [{', '.join(values)}]")
        return value

    def integer(self, name: str, *, least: int, most: int, default: int) -> int:
        """Return a whole number within bounds."""
        text = self._values.get(name)
        if text is None:
            return default
        try:
            value = int(text)
        except ValueError:
            raise validation_error(f"Value '{text}' at '{_path(name)}' is not a number") from None
        if value < least:
            self._wrong(name, text, f"have value greater than or equal to {least}")
        if value > most:
            self._wrong(name, text, f"have value less than or equal to {most}")
        return value

    def members(self, name: str, *fields: str, most: int) -> list[str]:
        """List the full names of a list's members, each of which has one of the fields if any.

        `Tags` with `Key` gives `Tags.member.1`, `Tags.member.2`, … as long as they go on.
        """
        found: list[str] = []
        suffixes = [f".{field}" for field in fields] or [""]
        while True:
            candidate = f"{name}.member.{len(found) + 1}"
            if not any(candidate + suffix in self._values for suffix in suffixes):
                break
            found.append(candidate)
        if len(found) > most:
            self._wrong(name, f"{len(found)} items", f"have length less than or equal to {most}")
        return found

    def _wrong(self, name: str, value: str, must: str) -> None:
        self._problems.append(
            f"Value '{value}' at '{_path(name)}' failed to satisfy constraint: Member must {must}"
        )


def _path(name: str) -> str:
    """Write a parameter's name as the messages do: `Tags.member.1.Key` is `tags.1.member.key`."""
    parts = [part[:1].lower() + part[1:] for part in name.split(".")]
    if len(parts) > 2 and parts[1] == "member":
        parts[1], parts[2] = parts[2], parts[1]
    return ".".join(parts)
