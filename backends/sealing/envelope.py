"""The envelope: a plaintext header line, authenticated with the sealed body that follows.

Items of a `file` vault and all session files have this form (`docs/format.md` §4). The header
is verified as the stored bytes; it is never serialised again for a comparison.
"""

from __future__ import annotations

import os

from filevault.backends.item_header import ItemHeader
from filevault.backends.sealing import format_header, xaes
from filevault.errors import BackendError, DamagedError, TamperedError
from filevault.system import strict_json
from filevault.system.printable import printable
from filevault.system.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MAX_FILE = 1 << 20
HEAD_SIZE = 1024
"""How many of a file's first bytes `created` reads."""

_DIGITS = b"0123456789TZ:-"  # and the other characters of a time
_BLOCK = 256
_OVERHEAD = xaes.NONCE_SIZE + xaes.TAG_SIZE

KINDS = frozenset({"credentials", "totp", "session-key", "retired"})
"""Kinds of the items of a vault."""

TOKEN_KINDS = frozenset({"sso-token", "sso-client", "login"})
"""Kinds of token records, whose header may say until when they serve."""

SESSION_KINDS = frozenset({"session", *TOKEN_KINDS})
"""Kinds of session files, whose header names their source."""

_ORIGINS = frozenset({"iam", "add"})
_FIELDS: dict[str, type] = {
    "format": str,
    "vault": str,
    "key": str,
    "kind": str,
    "name": str,
    "generation": int,
    "created": str,
}


class Envelope(Record):
    """A parsed file; nothing of it is authenticated before it is unsealed."""

    header: ItemHeader
    vault: str
    key: str
    line: bytes
    body: bytes


def seal(
    key: bytes,
    vault: str,
    key_id: str,
    header: ItemHeader,
    plaintext: bytes,
    random: Callable[[int], bytes] = os.urandom,
) -> bytes:
    """Return the bytes of a file: header line, nonce, ciphertext, tag.

    Raises BackendError if header or file would be longer than a reader accepts.
    """
    values: dict[str, object] = {
        "format": format_header.FORMAT,
        "vault": vault,
        "key": key_id,
        "kind": header.kind,
        "name": header.name,
        "generation": header.generation,
        "created": header.created,
    }
    if header.created_from is not None:
        values["created_from"] = header.created_from
    if header.source is not None:
        values["source"] = header.source
    if header.expires is not None:
        values["expires"] = header.expires
    if header.renewable:
        values["renewable"] = 1
    line = strict_json.dumps(values) + b"\n"
    what = _item(header.name)
    padded = plaintext + b"\x80" + bytes(-(len(plaintext) + 1) % _BLOCK)
    if len(line) > format_header.MAX_HEADER or len(line) + len(padded) + _OVERHEAD > MAX_FILE:
        raise BackendError(f"{what} is longer than an item may be")
    _header(line, what)  # never write what could not be read
    nonce = random(xaes.NONCE_SIZE)
    return line + nonce + xaes.encrypt(key, nonce, padded, line)


def created(head: bytes) -> tuple[str, str | None] | None:
    """Return `created` and `created_from` from a file's first bytes; not authenticated."""
    # A quotation mark inside a JSON text is escaped, so this cannot be inside a name.
    _, _, text = head.partition(b"\n")[0].partition(b'"created":"')
    time, end, rest = text[:20], text[20:21], text[21:]
    if end != b'"' or time.translate(None, _DIGITS):
        return None
    origins = (
        each for each in ("iam", "add") if rest.startswith(b',"created_from":"%b"' % each.encode())
    )
    return time.decode("ascii"), next(origins, None)


def parse(data: bytes, what: str) -> Envelope:
    """Parse a file.

    Args:
        data: the file's bytes; of a file longer than `MAX_FILE`, the first `MAX_FILE` + 1 suffice.
        what: the file's name in messages, already printable.

    Raises:
        NewerFormatError: for a format above 1.
        DamagedError: if filevault did not write it.
    """
    line, body = format_header.split(data, what)
    header, vault, key = _header(line, what)
    if len(data) > MAX_FILE:
        raise DamagedError(f"{what} is damaged: it is longer than {MAX_FILE} bytes")
    sealed = len(body) - _OVERHEAD
    if sealed < _BLOCK or sealed % _BLOCK:
        raise DamagedError(f"{what} is damaged: it has been cut short, or something was added")
    return Envelope(header, vault, key, line, body)


def expect(envelope: Envelope, vault: str, key_id: str, kind: str, name: str, what: str) -> None:
    """Raise TamperedError unless a header has the expected values."""
    header = envelope.header
    if envelope.vault != vault:
        raise TamperedError(
            f"{what} belongs to another vault",
            hint="it was copied here from elsewhere: delete it, and add the key to this vault",
        )
    if envelope.key != key_id:
        raise TamperedError(
            f"{what} is sealed under another key of this vault",
            hint="the vault's key was changed and this file was not sealed again, "
            "or an old copy of this file or of vault.json was put back: filevault rekey --finish "
            "says more",
        )
    if header.kind != kind:
        raise TamperedError(
            f"{what} is of the kind {header.kind!r} where {kind!r} belongs",
            hint="the file was moved or swapped: put it back, or restore it from a copy",
        )
    if header.name != name:
        raise TamperedError(
            f"{what} was sealed as {printable(header.name, 200)!r}",
            hint="the file was moved, renamed or swapped: give it back its name",
        )


def unseal(key: bytes, envelope: Envelope, what: str) -> bytes:
    """Return the plaintext. Raises DamagedError if header or body was changed."""
    from cryptography.exceptions import InvalidTag

    nonce, sealed = envelope.body[: xaes.NONCE_SIZE], envelope.body[xaes.NONCE_SIZE :]
    try:
        padded = xaes.decrypt(key, nonce, sealed, envelope.line)
    except InvalidTag as error:
        raise DamagedError(
            f"{what} is damaged: its content is not what was sealed",
            hint="restore the file from a copy or from the history of the repository",
        ) from error
    plaintext = padded.rstrip(b"\x00")
    if not plaintext.endswith(b"\x80"):
        raise DamagedError(f"{what} is damaged: its padding is not filevault's")
    return plaintext[:-1]


def _item(name: str) -> str:
    return f"item {printable(name, 200)!r}"


def _header(line: bytes, what: str) -> tuple[ItemHeader, str, str]:
    # In raw JSON a key is `"key":`, which inside a string would have backslashes: one scan finds
    # which fields to require, and the line is parsed once.
    fields = _FIELDS
    if b'"created_from":' in line:
        fields = {**fields, "created_from": str}
    if b'"source":' in line:
        fields = {**fields, "source": str}
        if b'"expires":' in line:
            fields["expires"] = str
        if b'"renewable":' in line:
            fields["renewable"] = int
    values = format_header.parse(line, fields, what)
    vault = format_header.check_hex(values, "vault", 32, what)
    key = format_header.check_hex(values, "key", 16, what)
    created = format_header.check_time(values, "created", what)
    kind, name, generation = values["kind"], values["name"], values["generation"]
    created_from, source = values.get("created_from"), values.get("source")
    if kind not in KINDS and kind not in SESSION_KINDS:
        raise DamagedError(f"{what} is damaged: it is of no known kind")
    if not name:
        raise DamagedError(f"{what} is damaged: it has no name")
    if created_from is not None and (kind != "credentials" or created_from not in _ORIGINS):
        raise DamagedError(f"{what} is damaged: its 'created_from' is not valid")
    if (source is not None) != (kind in SESSION_KINDS):
        raise DamagedError(f"{what} is damaged: only session files have a 'source', and each has")
    if source is not None and not _is_reference(str(source)):
        raise DamagedError(f"{what} is damaged: its 'source' is not valid")
    expires = None
    if "expires" in values:
        expires = format_header.check_time(values, "expires", what)
    renewable = values.get("renewable")
    if kind not in TOKEN_KINDS and (expires, renewable) != (None, None):
        raise DamagedError(f"{what} is damaged: only token records have 'expires' or 'renewable'")
    if renewable not in (None, 1):
        raise DamagedError(f"{what} is damaged: its 'renewable' is not valid")
    header = ItemHeader(
        str(kind),
        str(name),
        int(generation),
        created,
        None if created_from is None else str(created_from),
        None if source is None else str(source),
        expires,
        renewable is not None,
    )
    return header, vault, key


def _is_reference(source: str) -> bool:
    """Return whether a text names a credential source: a lower-case word, a colon and a name."""
    word, colon, _name = source.partition(":")
    return bool(colon) and word.isascii() and word.isalpha() and word.islower()
