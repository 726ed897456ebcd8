"""The AWS config file, parsed as botocore parses it: same values, same refusals.

Every line is checked, but of sections with the same lines below their headers, of which there may
be thousands, only the first. If these have few lines, they are read line by line; if many, a
regular expression, which takes as long to compile as 8 KiB to read, checks them. Only the requested
sections are parsed. Like botocore, this refuses the whole file for one wrong line, and names the
line's number.
"""

from __future__ import annotations

from filevault import errors
from filevault.errors import StorageError
from filevault.system.config_files import read_config
from filevault.system.printable import printable
from filevault.system.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from typing import NoReturn

    from filevault.system.inputs import Inputs

LIMIT = 4 << 20  # bytes of a config file
_SHORT = 8192  # characters that are read line by line
_COUNTED = 4096
_SECTIONS_KEPT = 256  # of those parsed: there may be as many profiles as keys

_SPECIAL = frozenset(" \t\"'\\")  # characters that shlex changes
_TYPES = ("profile", "sso-session", "services")

# A plain section: header and keys begin at the left margin, keys are plain words, and an empty
# value is followed only by indented `key = value` lines. _read_blocks parses all others. A line
# matches in one way only and repeats inside it are possessive, so that matching takes linear time;
# groups are not possessive because of a bug before Python 3.11.5 (python/cpython#106052).
_PLAIN = r"""^ \[ ([^\]\n]++) \] [^\]\n]*+ \n
    (?: [ \t]*+ (?:[#;].*+)? \n )*
    (?: [A-Za-z0-9_.\-]++ [ \t]*+ [=:] [ \t]*+
        (?: \S.*+ \n
            (?: [ \t].*+ \n | (?:[#;].*+)? \n )*
          | \n
            (?: [ \t]*+ (?:[#;].*+)? \n
              | [ \t]++ [A-Za-z0-9_.\-]++ [ \t]*+ =
                [^\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]*+ \n )* )
    )*
    (?= \[.+\] | \Z )"""
_MARGIN = r"\n([a-z0-9_.\-]++)"  # a literal first character: twice as fast as ^


class Section(Record):
    """A section that AWS defines: a profile, an SSO session or a set of services.

    A value is in `values`, or in `nested` if it is an indented block; keys are in lower case,
    those in a block as written. `line` is the line number of the header, `lines` contains those
    of the keys, from 1.
    """

    _secret = ("values", "nested")  # the AWS CLI accepts keys in this file

    section_type: str
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
    # The line is not part of the message: it may contain a secret.
    raise errors.ConfigSyntaxError(
        f"line {line} of {printable(path)!r} {what}",
        hint="the AWS CLI and the SDKs refuse such a file as a whole, so correct that line",
    )


def _read_blocks(text: str, line: int, path: str) -> list[_Block]:
    """Parse lines as RawConfigParser does with its defaults; `line` is the first line's number."""
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
        key, equals, after = raw.partition("=")
        if equals and key[:1].isalpha() and ":" not in key and blocks:  # nearly every line
            key = key.rstrip().lower()
            if key not in values:
                indent = 0
                value = values[key] = [after.strip()]
                started[key] = number
                continue
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
        end = stripped.rfind("]") if stripped[0] == "[" else 0
        if end > 1:
            finish()
            blocks.append(_Block(stripped[1:end], number, {}))
            value = None
            continue
        if not blocks:
            _refuse(path, number, "stands before the first section")
        found = [each for each in (stripped.find("="), stripped.find(":")) if each >= 0]
        if not found:
            _refuse(path, number, "is neither a section, a comment nor 'key = value'")
        separator = min(found)
        key = stripped[:separator].rstrip().lower()
        if not key:
            _refuse(path, number, "has no key before its separator")
        if key in values:
            _refuse(path, number, f"sets {printable(key, 60)!r} a second time in its section")
        value = values[key] = [stripped[separator + 1 :].strip()]
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
    """Return type and name of a section as botocore does, None if AWS does not define it."""
    first, _space, rest = header.partition(" ")
    if first in _TYPES and rest and _SPECIAL.isdisjoint(rest):
        return first, rest
    for section_type in _TYPES:
        if header.startswith(section_type):
            words = _words(header)
            return (section_type, words[1]) if len(words) == 2 else None
    return ("profile", "default") if header == "default" else None


def _words(header: str) -> list[str]:
    import shlex

    try:
        return shlex.split(header)
    except ValueError:
        return []


def _plain_check(text: str) -> Callable[[int, int], bool]:
    """Return a function that says whether a part of a text is a plain section without faults."""
    import re

    section = re.compile(_PLAIN, re.VERBOSE | re.MULTILINE)
    keys = re.compile(_MARGIN)
    lower = text.lower()

    def check(start: int, end: int) -> bool:
        match = section.match(text, start, end)
        if match is None or match.end() != end:
            return False
        found = keys.findall(lower, start, end)
        return len(set(found)) == len(found)

    return check


class AwsConfig:
    """A config file, checked as a whole; its sections are parsed on demand."""

    __slots__ = (
        "_blocks",
        "_defaults",
        "_index",
        "_line_counts",
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
        self._unread: list[str] = []  # headers that AWS does not define, known with the index
        self._sections: dict[str, Section] = {}
        self._line_counts = [1]  # the numbers of the lines at each _COUNTED characters
        self._scan()

    @classmethod
    def load(
        cls, path: str, trusted: Collection[str] = (), inputs: Inputs | None = None
    ) -> AwsConfig:
        """Read a file; a missing one counts as empty. The rest is as for `read_config`.

        Raises:
            ConfigSyntaxError: if botocore would refuse it.
            ConfigError: if another user can write it, or it is too long.
            StorageError: if it cannot be read.
        """
        try:
            data = read_config(path, LIMIT, trusted=trusted, inputs=inputs)
        except StorageError as error:
            raise error.add_context(
                hint="AWS_CONFIG_FILE names another file, or /dev/null for none; without it HOME "
                "decides"
            ) from error
        return cls.parse(b"" if data is None else data, path)

    @classmethod
    def parse(cls, data: bytes, path: str) -> AwsConfig:
        """Check the bytes of a file; `path` is for messages. Raises ConfigSyntaxError."""
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

    def sso_session_names(self) -> list[str]:
        """Return the names of the SSO sessions in the order of the file."""
        return list(self._names("sso-session"))

    def values_of(self, key: str) -> list[str]:
        """Return each value that any section gives a setting, in the order of the file."""
        import re

        lines = rf"(?im)^{re.escape(key)}[ \t]*[=:][ \t]*(\S.*?)[ \t]*$"
        return list(dict.fromkeys(re.findall(lines, self._text)))

    def profile(self, name: str) -> Section | None:
        """Return the section of a profile; of two the last, as botocore does."""
        return self._find("profile", name)

    def sso_session(self, name: str) -> Section | None:
        """Return an `[sso-session NAME]`."""
        return self._find("sso-session", name)

    def services(self, name: str) -> Section | None:
        """Return a `[services NAME]`; its endpoints are in `nested`."""
        return self._find("services", name)

    def own_sections(self) -> Iterator[Section]:
        """Yield every section with its own settings only, whatever its header.

        For a credentials file, where `[NAME]` is a profile: a header that AWS does not define is
        the name, and the type is empty. Settings of `[DEFAULT]` are in a section of that name.
        """
        for header, block in self._blocks.items():
            if not isinstance(block, _Block):
                start, end = block
                (block,) = _read_blocks(self._text[start:end], self._line(start), self.path)
            section_type, name = _meaning(header) or ("", header)
            yield self._own_section(section_type, name, block.line, block.options)
        if self._defaults:
            line = min(line for line, _value in self._defaults.values())
            yield self._own_section("", "DEFAULT", line, self._defaults)

    def _own_section(
        self, section_type: str, name: str, line: int, options: Mapping[str, tuple[int, str]]
    ) -> Section:
        values = {key: value for key, (_line, value) in options.items()}
        lines = {key: line for key, (line, _value) in options.items()}
        return Section(section_type, name, values, {}, self.path, line, lines)

    def unread_header(self, name: str) -> str | None:
        """Return a misspelled header of this profile, without its brackets.

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

    def _names(self, section_type: str) -> dict[str, str]:
        if self._index is None:
            self._index = {section_type: {} for section_type in _TYPES}
            profiles = self._index["profile"]
            # All at once, since there may be thousands: only a space is special in none of them.
            headers = "".join(self._blocks)
            only_spaces = not any(each in headers for each in _SPECIAL - {" "})
            for header in self._blocks:
                first, _space, rest = header.partition(" ")
                if first == "profile" and rest and only_spaces and " " not in rest:
                    profiles[rest] = header
                    continue
                meaning = _meaning(header)
                if meaning is None:
                    self._unread.append(header)
                else:
                    self._index[meaning[0]][meaning[1]] = header
        return self._index[section_type]

    def _find(self, section_type: str, name: str) -> Section | None:
        header = self._names(section_type).get(name)
        return None if header is None else self._section(header, section_type, name)

    def _line(self, position: int) -> int:
        """Return the number of the line at a position, in any order; line ends are counted once."""
        counts, text, step = self._line_counts, self._text, position // _COUNTED
        while len(counts) <= step:
            start = (len(counts) - 1) * _COUNTED
            counts.append(counts[-1] + text.count("\n", start, start + _COUNTED))
        return counts[step] + text.count("\n", step * _COUNTED, position)

    def _section(self, header: str, section_type: str, name: str) -> Section:
        section = self._sections.get(header)
        if section is None:
            block = self._blocks[header]
            if not isinstance(block, _Block):
                start, end = block
                (block,) = _read_blocks(self._text[start:end], self._line(start), self.path)
            values = {}
            nested = {}
            # RawConfigParser adds [DEFAULT] to every section.
            options = {**self._defaults, **block.options}
            for key, (line, value) in options.items():
                if value.startswith("\n"):
                    nested[key] = _nested(value, self.path, line)
                else:
                    values[key] = value
            lines = {key: line for key, (line, _value) in options.items()}
            section = Section(section_type, name, values, nested, self.path, block.line, lines)
            if len(self._sections) >= _SECTIONS_KEPT:
                self._sections.clear()
            self._sections[header] = section
        return section

    def _scan(self) -> None:
        """Check the whole text and record the positions of its sections."""
        text, blocks = self._text, self._blocks
        sections = self._sections_of(text)
        unread = sum(end - start for start, end, _header, is_known in sections if not is_known)
        is_plain = None if unread <= _SHORT else _plain_check(text)
        for start, end, header, is_known in sections:
            if header and (is_known or (is_plain is not None and is_plain(start, end))):
                if header in blocks:
                    self._refuse_again(header, self._line(start))
                blocks[header] = start, end
                continue
            found = _read_blocks(text[start:end], self._line(start), self.path)
            self._add(found)
            if header and len(found) == 1:
                blocks[header] = start, end
        if any(value.startswith("\n") for _line, value in self._defaults.values()):
            for header in blocks:
                self._section(header, *(_meaning(header) or ("", "")))

    @staticmethod
    def _sections_of(text: str) -> list[tuple[int, int, str, bool]]:
        """Cut the text before each header at the left margin, and return the parts.

        That is where each begins and ends, its header, "" if that is not a plain one, and whether
        the lines below it are those of a part before it.
        """
        before, *sections = ("\n" + text[:-1]).split("\n[")
        known: set[str] = set()
        end = len(before)
        found = [(0, end, "", False)] if before else []
        for section in sections:
            start, end = end, end + len(section) + 2
            line, _, body = section.partition("\n")
            bracket = line.rfind("]")
            if bracket < 1:  # no header, but a key or a value
                return [(0, len(text), "", False)]
            header = line[:bracket]
            if "]" in header or header == "DEFAULT":
                header = ""
            found.append((start, end, header, body in known))
            if header and "[" not in body:  # an indented header would begin a section again
                known.add(body)
        return found

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
