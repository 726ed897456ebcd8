"""The packets of an OpenPGP message: check its form, and return its recipients.

gpg also accepts unencrypted, signed and passphrase-encrypted messages, and several in a row. An
item has exactly one form: session keys for public keys, then one packet of encrypted data with an
integrity check (RFC 4880 §4, §5.1, §5.13). That is checked before gpg is started.
"""

from __future__ import annotations

import binascii
from typing import TYPE_CHECKING

from filevault.errors import DamagedError, TamperedError, UnsupportedItemError
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_FILE = 1 << 20
MAX_TEXT = MAX_FILE - (64 << 10)
"""The length of the longest item: a longer one would not fit into a file."""

HIDDEN = "0" * 16
"""The key id of a recipient that the writer left out (RFC 4880 §5.1)."""

# Bounds on the time that gpg takes: it tries a secret key for each.
_MAX_RECIPIENTS = 256
_MAX_HIDDEN = 16

_SESSION_KEY, _SIGNATURE, _PASSPHRASE, _UNPROTECTED, _PROTECTED, _AEAD = 1, 2, 3, 9, 18, 20
_PADDING = 21
_ARMOR = b"-----BEGIN PGP "

# RFC 9580: packets of version 6, encrypted data of version 2, and public-key algorithms that no
# gpg has. LibrePGP, which gpg 2.3 and later write, goes another way.
_NEWER_SESSION_KEY = 6
_NEWER_PROTECTED = 2
_NEWER_ALGORITHMS = frozenset({25, 26, 35, 36})


class Message(Record):
    """An encrypted message: its bytes without armor, and the key ids that it names, in order."""

    _secret = ("data",)

    data: bytes
    key_ids: tuple[str, ...]


class _Packet(Record):
    tag: int
    start: int
    end: int
    partial: bool


def parse(data: bytes, what: str) -> Message:
    """Parse an item file, binary or armored.

    Args:
        data: the whole file.
        what: the item's name in messages, already printable.

    Raises:
        DamagedError: if it is not an OpenPGP message, is truncated or too long.
        TamperedError: if its form is not that of an item.
        UnsupportedItemError: if it follows a later standard than gpg reads.
    """
    if len(data) > MAX_FILE:
        raise DamagedError(f"{what} is damaged: it is longer than {MAX_FILE} bytes")
    data = _without_armor(data, b"MESSAGE", what)
    key_ids: list[str] = []
    algorithms: set[int] = set()
    complete = False
    for packet in _packets(data, what):
        if _is_newer(data, packet):
            raise _newer(what)
        if complete:
            raise TamperedError(f"{what} is refused: something follows the encrypted message")
        if packet.tag == _SESSION_KEY:
            key_ids.append(_key_id(data, packet, what))
            algorithms.add(data[packet.start + 9])
        elif packet.tag in (_PROTECTED, _AEAD) and key_ids:
            complete = True
        else:
            raise TamperedError(f"{what} is refused: {_reason(packet.tag)}")
        if len(key_ids) > _MAX_RECIPIENTS:
            raise TamperedError(f"{what} is refused: it has more than {_MAX_RECIPIENTS} recipients")
    if not complete:
        raise DamagedError(f"{what} is damaged: it has been cut short")
    if algorithms <= _NEWER_ALGORITHMS:
        raise _newer(what)
    named = [key_id for key_id in key_ids if key_id != HIDDEN]
    if len(set(named)) < len(named) or len(key_ids) - len(named) > _MAX_HIDDEN:
        raise TamperedError(f"{what} is refused: it names a recipient again and again")
    return Message(data, tuple(key_ids))


def signature(data: bytes, what: str) -> bytes:
    """Return detached signatures without armor. Raises DamagedError for anything else."""
    data = _without_armor(data, b"SIGNATURE", what)
    tags = {packet.tag for packet in _packets(data, what)}
    if tags != {_SIGNATURE}:
        raise DamagedError(f"{what} is not a detached signature")
    return data


def _is_newer(data: bytes, packet: _Packet) -> bool:
    """Return whether only RFC 9580 has such a packet."""
    version = data[packet.start] if packet.start < packet.end else 0
    return (
        packet.tag == _PADDING
        or (packet.tag in (_SESSION_KEY, _PASSPHRASE) and version == _NEWER_SESSION_KEY)
        or (packet.tag == _PROTECTED and version == _NEWER_PROTECTED)
    )


def _newer(what: str) -> UnsupportedItemError:
    return UnsupportedItemError(
        f"{what} was written by a newer OpenPGP program, in a form (RFC 9580) that gpg does not "
        "read",
        hint="it is whole: decrypt it with the program that wrote it, such as sq, and encrypt it "
        "again with gpg or pass; or store the key again with filevault add --force --discard",
    )


def _reason(tag: int) -> str:
    if tag == _PASSPHRASE:
        return "it can be opened with a passphrase"
    if tag == _UNPROTECTED:
        return "its encryption has no integrity check"
    return "it is not encrypted"


def _key_id(data: bytes, packet: _Packet, what: str) -> str:
    """Return the recipient of a session key packet, version 3 (RFC 4880 §5.1)."""
    if packet.partial or packet.end - packet.start < 10 or data[packet.start] != 3:
        raise DamagedError(f"{what} is damaged: a recipient in it cannot be read")
    return data[packet.start + 1 : packet.start + 9].hex().upper()


def _packets(data: bytes, what: str) -> Iterator[_Packet]:
    """Yield the outermost packets (RFC 4880 §4.2); raises DamagedError."""
    position = 0
    while position < len(data):
        first = data[position]
        if not first & 0x80:
            raise DamagedError(f"{what} is damaged: it is no OpenPGP message")
        position += 1
        partial = False
        if first & 0x40:
            tag = first & 0x3F
            start, length, partial = _new_length(data, position, what)
            position = start + length
            more = partial
            while more:
                begin, length, more = _new_length(data, position, what)
                position = begin + length
        else:
            tag = first >> 2 & 0x0F
            start, position = _old_length(data, position, first & 3, what)
        if position > len(data):
            raise DamagedError(f"{what} is damaged: it has been cut short")
        yield _Packet(tag, start, position, partial)


def _new_length(data: bytes, position: int, what: str) -> tuple[int, int, bool]:
    """Return (start of the body, its length, whether another part follows)."""
    octets = data[position : position + 6]
    if octets:
        first = octets[0]
        if first < 192:
            return position + 1, first, False
        if first < 224 and len(octets) > 1:
            return position + 2, (first - 192 << 8) + octets[1] + 192, False
        if 224 <= first < 255:
            return position + 1, 1 << (first & 0x1F), True
        if first == 255 and len(octets) > 4:
            return position + 5, int.from_bytes(octets[1:5], "big"), False
    raise DamagedError(f"{what} is damaged: it has been cut short")


def _old_length(data: bytes, position: int, length_type: int, what: str) -> tuple[int, int]:
    """Return (start of the body, end of the packet)."""
    if length_type == 3:  # as long as the file
        return position, len(data)
    size = 1 << length_type
    octets = data[position : position + size]
    if len(octets) < size:
        raise DamagedError(f"{what} is damaged: it has been cut short")
    return position + size, position + size + int.from_bytes(octets, "big")


def _without_armor(data: bytes, label: bytes, what: str) -> bytes:
    """Return the data in ASCII armor, and binary data unchanged (RFC 4880 §6.2).

    The armor's checksum is ignored: the message has an integrity check of its own.
    """
    if not data.lstrip(b" \t\r\n").startswith(_ARMOR):
        return data
    lines = [line.strip() for line in data.strip().splitlines()]
    ends = (b"-----BEGIN PGP %s-----" % label, b"-----END PGP %s-----" % label)
    if (lines[0], lines[-1]) != ends or b"" not in lines:
        raise DamagedError(
            f"{what} is damaged: its armor is not that of a {label.decode().lower()}"
        )
    body = lines[lines.index(b"") + 1 : -1]
    if body and body[-1].startswith(b"="):
        body.pop()
    try:
        return binascii.a2b_base64(b"".join(body), strict_mode=True)
    except binascii.Error as error:
        raise DamagedError(f"{what} is damaged: its armor cannot be decoded") from error
