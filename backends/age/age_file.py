"""Parse the armor and the header of an age file, and bound its costs (age-encryption.org/v1).

Files come from a synced folder that others may write. Armor and header are parsed strictly and
cheaply, so that the library gets only files with a small and complete header: its time is
quadratic in the number of stanzas, and it does as much work as a scrypt stanza asks for.
"""

from __future__ import annotations

import binascii
import re
from typing import TYPE_CHECKING

from filevault.errors import DamagedError, LockedError, TamperedError
from filevault.system.printable import printable
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_FILE = 1 << 20
MAX_HEADER = 256 << 10
MAX_STANZAS = 128
MAX_WORK_FACTOR = 20
_VERSION_LINE = b"age-encryption.org/v1\n"
_CHANGED_LINE = b"age-encryption.org/v1\r\n"
_MAGIC = b"age-encryption.org/"
_BEGIN = b"-----BEGIN AGE ENCRYPTED FILE-----"
_END = b"-----END AGE ENCRYPTED FILE-----"
_COLUMNS = 64
_MAX_BLANK = 1024  # bytes that the age program skips before and after armor
_BLANK = b" \t\r\n\v\f"
_ARGUMENT = rb"[!-~]+\Z"
_SALT_SIZE = 16
_WRAPPED_KEY_SIZE = 32
_MAC_SIZE = 32
_UNKNOWN_MEMORY_KIB = 65536
_CHEAPER = "encrypt the file again on the machine that made it, e.g. age -d FILE | age -p > NEW"


class Stanza(Record):
    """A stanza: type, arguments and the bytes of its body; not authenticated."""

    type: str
    args: tuple[str, ...]
    body: bytes


class AgeFile(Record):
    """A file without armor, and its stanzas."""

    _secret = ("data",)

    data: bytes
    stanzas: tuple[Stanza, ...]


def is_age(data: bytes) -> bool:
    """Return whether bytes begin as an age file does, armored or not."""
    return data.startswith((_MAGIC, _BEGIN))


def parse(data: bytes, what: str) -> AgeFile:
    """Parse a file and remove its armor, so that exactly the checked bytes are decrypted.

    Args:
        data: the file's bytes; `MAX_FILE` + 1 bytes suffice of a longer one.
        what: the file's name in messages, already printable.

    Raises:
        DamagedError: if it is incomplete, or beyond the bounds of this module.
    """
    if len(data) > MAX_FILE:
        raise _damaged(what, f"it is longer than {MAX_FILE} bytes")
    if data[: _MAX_BLANK + len(_BEGIN)].lstrip(_BLANK).startswith(_BEGIN):
        data = _without_armor(data, what)
    if not data.startswith(_VERSION_LINE):
        if data.startswith(_CHANGED_LINE):
            raise DamagedError(
                f"{what} is damaged: its line ends were changed, as core.autocrlf tells git to",
                hint="delete the file, then run git -c core.autocrlf=false checkout -- FILE",
            )
        raise _damaged(what, "it does not begin as an age file of version 1 does")
    return AgeFile(data, _stanzas(data, what))


def parse_item(data: bytes, what: str) -> AgeFile:
    """Parse an item file, which is never encrypted with a passphrase.

    Raises DamagedError as `parse`, TamperedError for a file encrypted with a passphrase.
    """
    file = parse(data, what)
    if any(stanza.type == "scrypt" for stanza in file.stanzas):
        raise TamperedError(
            f"{what} is encrypted with a passphrase, which no item of an age vault is",
            hint="filevault did not write it: delete it, or decrypt it by hand with age -d",
        )
    return file


def parse_protected(data: bytes, what: str, available: Callable[[], int]) -> AgeFile:
    """Parse a file that is encrypted with a passphrase, and check its cost.

    Args:
        data: the file's bytes.
        what: the file's name in messages, already printable.
        available: returns the KiB of memory that this process may count on.

    Raises:
        DamagedError: if it is incomplete.
        LockedError: if it is encrypted otherwise, or its cost is more than is allowed.
    """
    file = parse(data, what)
    if all(stanza.type != "scrypt" for stanza in file.stanzas):
        raise LockedError(
            f"{what} is encrypted, but not with a passphrase",
            hint="decrypt it with age -d, or protect it with a passphrase: age -p",
        )
    if len(file.stanzas) > 1:
        raise _damaged(what, "it has a passphrase beside other recipients")
    factor = work_factor(file.stanzas[0], what)
    memory = 1 << factor  # 128 * r * N bytes with r = 8 (RFC 7914 §5), in KiB
    spare = spare_memory(available)
    if memory > spare:
        raise LockedError(
            f"{what} needs {memory >> 10} MiB of memory to open, and this machine can spare "
            f"{spare >> 10}",
            hint=f"{_CHEAPER}; or allow the process more memory",
        )
    return file


def work_factor(stanza: Stanza, what: str) -> int:
    """Return the base-two logarithm of a scrypt stanza's cost, at most `MAX_WORK_FACTOR`.

    Raises DamagedError for an invalid stanza, LockedError for a higher cost.
    """
    if (
        len(stanza.args) != 2
        or len(_unpadded(stanza.args[0].encode("ascii")) or b"") != _SALT_SIZE
        or len(stanza.body) != _WRAPPED_KEY_SIZE
        or not re.match(r"[1-9][0-9]*\Z", stanza.args[1])
    ):
        raise _damaged(what, "its passphrase stanza has no valid form")
    digits = stanza.args[1]
    if len(digits) > 2 or int(digits) > MAX_WORK_FACTOR:
        raise LockedError(
            f"{what} asks for a work factor of 2^{printable(digits, 20)}, "
            f"allowed is up to 2^{MAX_WORK_FACTOR}",
            hint=_CHEAPER,
        )
    return int(digits)


def spare_memory(available: Callable[[], int]) -> int:
    """Return the KiB that scrypt may take: half of the available memory or of ulimit's limit.

    With too little memory the library would abort the process instead of failing.
    """
    import resource

    known = available()
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        left = max(1, (limit >> 10) - _address_space())
        known = min(known, left) if known else left
    return known // 2 if known else _UNKNOWN_MEMORY_KIB


def _address_space() -> int:
    """Return the KiB of address space in use, which is what RLIMIT_AS counts."""
    import resource

    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read(256).split()[0]) * resource.getpagesize() >> 10
    except (OSError, ValueError, IndexError):
        return 0


def _damaged(what: str, reason: str) -> DamagedError:
    return DamagedError(
        f"{what} is damaged: {reason}",
        hint="restore the file from a copy or from the history of the repository",
    )


def _stanzas(data: bytes, what: str) -> tuple[Stanza, ...]:
    """Parse the lines from the version to the MAC; each stanza ends with a short line."""
    found: list[Stanza] = []
    position = len(_VERSION_LINE)
    while True:
        line, position = _line(data, position, what)
        if line.startswith(b"---"):
            if not found or not line.startswith(b"--- ") or len(_mac(line)) != _MAC_SIZE:
                raise _damaged(what, "its header does not end as it must")
            return tuple(found)
        words = line.split(b" ")
        if words[0] != b"->" or len(words) < 2 or not all(re.match(_ARGUMENT, w) for w in words):
            raise _damaged(what, "its header has a line that belongs to no stanza")
        if len(found) == MAX_STANZAS:
            raise _damaged(what, f"its header has more than {MAX_STANZAS} recipients")
        body = bytearray()
        while True:
            line, position = _line(data, position, what)
            part = _unpadded(line) if len(line) <= _COLUMNS else None
            if part is None:
                raise _damaged(what, "a stanza of its header is not encoded as it must be")
            body += part
            if len(line) < _COLUMNS:
                break
        stanza_type, *args = (word.decode("ascii") for word in words[1:])
        found.append(Stanza(stanza_type, tuple(args), bytes(body)))


def _line(data: bytes, position: int, what: str) -> tuple[bytes, int]:
    """Return the header line at a position, and the position of the next one."""
    end = data.find(b"\n", position, MAX_HEADER)
    if end < 0:
        reason = (
            f"its header is longer than {MAX_HEADER} bytes"
            if len(data) > MAX_HEADER
            else "it has been cut short"
        )
        raise _damaged(what, reason)
    return data[position:end], end + 1


def _mac(line: bytes) -> bytes:
    return _unpadded(line[len(b"--- ") :]) or b""


def _unpadded(text: bytes) -> bytes | None:
    """Decode base64 without padding; return None unless it is canonical."""
    try:
        decoded = binascii.a2b_base64(text + b"=" * (-len(text) % 4))
    except binascii.Error:
        return None
    same = binascii.b2a_base64(decoded, newline=False).rstrip(b"=") == text
    return decoded if same else None


def _without_armor(data: bytes, what: str) -> bytes:
    """Return the data in armor, parsed strictly; blanks are allowed before and after it."""
    start = data.index(_BEGIN)
    before, inner = data[:start], data[start:]
    body, end, after = inner.partition(_END)
    lines = [line.removesuffix(b"\r") for line in body.split(b"\n")]
    # The line ends before the footer, so the last piece is empty.
    first, encoded, last = lines[0], lines[1:-1], lines[-1]
    footer = after.partition(b"\n")[0].removesuffix(b"\r")
    if (
        (before and not before.endswith(b"\n"))
        or len(before) > _MAX_BLANK
        or first != _BEGIN
        or not end
        or last
        or footer
        or after.strip(_BLANK)
        or len(after) > _MAX_BLANK
    ):
        raise _damaged(what, "its armor is not whole")
    if any(len(line) != _COLUMNS for line in encoded[:-1]) or (
        encoded and not 0 < len(encoded[-1]) <= _COLUMNS
    ):
        raise _damaged(what, "its armor has a line of the wrong length")
    text = b"".join(encoded)
    try:
        decoded = binascii.a2b_base64(text)
    except binascii.Error as error:
        raise _damaged(what, "its armor is not base64") from error
    if binascii.b2a_base64(decoded, newline=False) != text:
        raise _damaged(what, "its armor is not base64")
    return decoded
