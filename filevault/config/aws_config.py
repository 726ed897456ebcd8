"""The AWS config file, read as botocore reads it: the same values, the same refusals.

One pass of a compiled expression checks every line; only the sections asked for are taken apart.
botocore refuses a file as a whole for one bad line, and so does this reader, with its number.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NoReturn

from filevault.errors import ConfigSyntaxError, StorageError
from filevault.system.config_files import read_config
from filevault.system.printable import printable
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

LIMIT = 4 << 20  # bytes of a config file

_SPECIAL = frozenset(" \t\"'\\")  # what shlex does not leave as it is
_KINDS = ("profile", "sso-session", "services")

# A section in which nothing needs a second look: header and keys stand at the left margin, keys
# are plain words, and an empty value is followed by nothing but indented `key = value` lines.
# Everything else goes to _read_blocks. A line fits one way only and repeats inside it are
# possessive, so time is linear in the text; groups are not, because before Python 3.11.5 a
# possessive group could match what it must not (python/cpython#106052).
_PLAIN = re.compile(
    r"""^ \[ ([^\]\n]++) \] [^\]\n]*+ \n
    (?: [ \t]*+ (?:[#;].*+)? \n )*
    (?: [A-Za-z0-9_.\-]++ [ \t]*+ [=:] [ \t]*+
        (?: \S.*+ \n
            (?: [ \t].*+ \n | (?:[#;].*+)? \n )*
          | \n
            (?: [ \t]*+ (?:[#;].*+)? \n
              | [ \t]++ [A-Za-z0-9_.\-]++ [ \t]*+ =
                [^\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]*+ \n )* )
    )*
    (?= \[.+\] | \Z )""",
    re.VERBOSE | re.MULTILINE,
)
_MARGIN = re.compile(r"\n(\[|[a-z0-9_.\-]++)")  # a literal first character: twice as fast as ^
_HEADER = re.compile(r"\[(.+)\]")
_SEPARATOR = re.compile("[=:]")


class Section(Record):
    """One section that means something to AWS: a profile, an SSO session or a set of services.

    A value is in `values`, or in `nested` if it is an indented block; keys are in lower case,
    those inside a block as written. `line` is the header's, `lines` has each key's, from 1.
    """

    _secret = ("values", "nested")  # the AWS CLI accepts keys in this file

    kind: str
    name: str
    values: Mapping[str, str]
    nested: Mapping[str, Mapping[str, str]]
    path: str
    line: int
    lines: Mapping[str, int]


class _Block(Record):
    _secret = ("options",)

    header: str
    line: int
    options: dict[str, tuple[int, str]]


def _refuse(path: str, line: int, what: str) -> NoReturn:
    # The line itself is never shown: it may hold a secret.
    raise ConfigSyntaxError(
        f"line {line} of {printable(path)!r} {what}",
        hint="the AWS CLI and the SDKs refuse such a file as a whole, so correct that line",
    )


def _read_blocks(text: str, line: int, path: str) -> list[_Block]:
    """Read lines as RawConfigParser does with its defaults; `line` is the first one's number."""
    blocks: list[_Block] = []
    values: dict[str, list[str]] = {}
    started: dict[str, int] = {}
    value: list[str] | None = None
    indent = 0

    def finish() -> None:
        if blocks:
            for key, parts in values.items():
                blocks[-1].options[key] = (started[key], "\n".join(parts).rstrip())
            values.clear()

    for number, raw in enumerate(text.split("\n"), line):
        stripped = raw.strip()
        if not stripped:
            if value is not None:
                value.append("")
            continue
        if stripped[0] in "#;":
            continue
        depth = len(raw) - len(raw.lstrip())
        if value is not None and depth > indent:
            value.append(stripped)
            continue
        indent = depth
        header = _HEADER.match(stripped)
        if header:
            finish()
            blocks.append(_Block(header[1], number, {}))
            value = None
            continue
        if not blocks:
            _refuse(path, number, "stands before the first section")
        separator = _SEPARATOR.search(stripped)
        if separator is None:
            _refuse(path, number, "is neither a section, a comment nor 'key = value'")
        key = stripped[: separator.start()].rstrip().lower()
        if not key:
            _refuse(path, number, "has no key before its separator")
        if key in values:
            _refuse(path, number, f"sets {printable(key, 60)!r} a second time in its section")
        value = values[key] = [stripped[separator.end() :].strip()]
        started[key] = number
    finish()
    return blocks


def _nested(value: str, path: str, line: int) -> dict[str, str]:
    """Parse an indented block as botocore's configloader does."""
    result = {}
    for part in value.splitlines():
        part = part.strip()
        if part:
            key, separator, inner = part.partition("=")
            if not separator:
                _refuse(path, line, "begins an indented block that is not all 'key = value'")
            result[key.strip()] = inner.strip()
    return result


def _meaning(header: str) -> tuple[str, str] | None:
    """Return kind and name of a section, None if it is none of ours, as botocore decides it."""
    first, _space, rest = header.partition(" ")
    if first in _KINDS and rest and _SPECIAL.isdisjoint(rest):
        return first, rest
    for kind in _KINDS:
        if header.startswith(kind):
            words = _words(header)
            return (kind, words[1]) if len(words) == 2 else None
    return ("profile", "default") if header == "default" else None


def _words(header: str) -> list[str]:
    import shlex

    try:
        return shlex.split(header)
    except ValueError:
        return []


class AwsConfig:
    """A config file that was checked as a whole and is taken apart on demand."""

    __slots__ = (
        "_blocks",
        "_counted",
        "_defaults",
        "_index",
        "_sections",
        "_text",
        "_unread",
        "path",
    )

    def __init__(self, text: str, path: str) -> None:
        self.path = path
        self._text = text
        self._blocks: dict[str, tuple[int, int] | _Block] = {}
        self._defaults: dict[str, tuple[int, str]] = {}
        self._index: dict[str, dict[str, str]] | None = None
        self._unread: list[str] = []  # headers that mean nothing, known with the index
        self._sections: dict[str, Section] = {}
        self._counted = (0, 1)
        self._scan()

    @classmethod
    def load(cls, path: str, trusted: Collection[str] = ()) -> AwsConfig:
        """Read a file; one that does not exist is empty. `trusted` is as for `read_config`.

        Raises:
            ConfigSyntaxError: if botocore would refuse it.
            ConfigError: if somebody else can write it, or it is too long.
            StorageError: if it cannot be read.
        """
        try:
            data = read_config(path, LIMIT, trusted=trusted)
        except StorageError as error:
            error.hint = (
                "AWS_CONFIG_FILE names another file, or /dev/null for none; without it HOME decides"
            )
            raise
        return cls.parse(b"" if data is None else data, path)

    @classmethod
    def parse(cls, data: bytes, path: str) -> AwsConfig:
        """Check a file's bytes; `path` is for messages. Raises ConfigSyntaxError."""
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            _refuse(path, data.count(b"\n", 0, error.start) + 1, "is not UTF-8")
        if text.startswith("\ufeff"):
            _refuse(path, 1, "begins with a byte order mark")
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        if not text.endswith("\n"):
            text += "\n"
        return cls(text, path)

    def profile_names(self) -> list[str]:
        """Return the profiles' names in the order of the file."""
        return list(self._names("profile"))

    def profile(self, name: str) -> Section | None:
        """Return the section of a profile; of two that mean the same, the last, as botocore."""
        return self._find("profile", name)

    def sso_session(self, name: str) -> Section | None:
        """Return an `[sso-session NAME]`."""
        return self._find("sso-session", name)

    def services(self, name: str) -> Section | None:
        """Return a `[services NAME]`; its endpoints are in `nested`."""
        return self._find("services", name)

    def unread_header(self, name: str) -> str | None:
        """Return the header that was meant to be this profile and is none, without its brackets.

        `[NAME]` lacks the word `profile`, `[Profile NAME]` has it in the wrong case, and
        `[profile A B]` lacks the quotes.
        """
        self._names("profile")
        for header in self._unread:
            if name in header or header.lower() == name == "default":
                text = header.strip()
                first, _space, rest = text.partition(" ")
                after = rest.strip().strip("\"'") if first.lower() == "profile" else text
                if name in (after, text) or text.lower() == name == "default":
                    return header
        return None

    def _names(self, kind: str) -> dict[str, str]:
        if self._index is None:
            self._index = {kind: {} for kind in _KINDS}
            for header in self._blocks:
                meaning = _meaning(header)
                if meaning is None:
                    self._unread.append(header)
                else:
                    self._index[meaning[0]][meaning[1]] = header
        return self._index[kind]

    def _find(self, kind: str, name: str) -> Section | None:
        header = self._names(kind).get(name)
        return None if header is None else self._section(header, kind, name)

    def _line(self, position: int) -> int:
        """Return the number of a line; asked in the order of the file, the text is read once."""
        before, number = self._counted if self._counted[0] <= position else (0, 1)
        number += self._text.count("\n", before, position)
        self._counted = (position, number)
        return number

    def _section(self, header: str, kind: str, name: str) -> Section:
        section = self._sections.get(header)
        if section is None:
            block = self._blocks[header]
            if not isinstance(block, _Block):
                start, end = block
                (block,) = _read_blocks(self._text[start:end], self._line(start), self.path)
            values = {}
            nested = {}
            # RawConfigParser hands [DEFAULT] to every section.
            options = {**self._defaults, **block.options}
            for key, (line, value) in options.items():
                if value.startswith("\n"):
                    nested[key] = _nested(value, self.path, line)
                else:
                    values[key] = value
            lines = {key: line for key, (line, _value) in options.items()}
            section = Section(kind, name, values, nested, self.path, block.line, lines)
            self._sections[header] = section
        return section

    def _scan(self) -> None:
        """Check the whole text and note where its sections are."""
        text = self._text
        blocks = self._blocks
        spans = []
        position = 0
        for match in _PLAIN.finditer(text):
            start, end = span = match.span()
            if start != position:
                self._add(_read_blocks(text[position:start], self._line(position), self.path))
            position = end
            header = match[1]
            spans.append(span)
            if header == "DEFAULT":
                self._add(_read_blocks(text[start:end], self._line(start), self.path))
            elif header in blocks:
                self._refuse_again(header, self._line(start))
            else:
                blocks[header] = span
        if position != len(text):
            self._add(_read_blocks(text[position:], self._line(position), self.path))
        self._check_keys(spans)
        if any(value.startswith("\n") for _line, value in self._defaults.values()):
            for header in blocks:
                self._section(header, *(_meaning(header) or ("", "")))

    def _add(self, found: Iterable[_Block]) -> None:
        for block in found:
            if block.header == "DEFAULT":
                for key, option in block.options.items():
                    if key in self._defaults:
                        what = f"sets {printable(key, 60)!r} a second time in [DEFAULT]"
                        _refuse(self.path, option[0], what)
                    self._defaults[key] = option
            elif block.header in self._blocks:
                self._refuse_again(block.header, block.line)
            else:
                self._blocks[block.header] = block
                for line, value in block.options.values():
                    if value.startswith("\n"):
                        _nested(value, self.path, line)

    def _refuse_again(self, header: str, line: int) -> NoReturn:
        _refuse(self.path, line, f"begins the section [{printable(header, 80)}] a second time")

    def _check_keys(self, spans: list[tuple[int, int]]) -> None:
        """Refuse a key that is set twice in one of the plain sections.

        Sections with the same keys in the same order are checked once. Keys of the sections
        between them may be counted to a plain one, so what looks double is read again.
        """
        text = self._text
        # Each section begins with the `[` of its header.
        for keys in set(" ".join(_MARGIN.findall("\n" + text.lower())).split("[")):
            words = keys.split()
            if len(set(words)) != len(words):
                for start, end in spans:
                    _read_blocks(text[start:end], self._line(start), self.path)
                return
