"""One file of a token record: its name, and its sealed content (`docs/format.md` §7)."""

from __future__ import annotations

from filevault.backends.item_header import ItemHeader
from filevault.backends.sealing import envelope
from filevault.backends.sealing.key_schedule import session_key_id
from filevault.errors import DamagedError
from filevault.sources.token_records import (
    LOGIN,
    SSO_CLIENT,
    SSO_TOKEN,
    ListedToken,
    TokenName,
    TokenRecord,
)
from filevault.system import strict_json
from filevault.system.digest import sha256_hex
from filevault.system.record import Record
from filevault.system.times import format_time, parse_time
from filevault.vault.state_directory import SSO_FOLDER

SUFFIX = ".fvs"
MAX_FILE = envelope.MAX_FILE
_FILES = {
    SSO_TOKEN: (SSO_FOLDER, "token"),
    SSO_CLIENT: (SSO_FOLDER, "client"),
    LOGIN: ("login", "token"),
}
_HASH_LENGTH = 32
_WHAT = "a token record"


class TokenPath(Record):
    """The path of a record's file below the state directory, all of it authenticated."""

    folder: str
    entry: str

    @property
    def header_name(self) -> str:
        """The `name` in the header of the file."""
        return f"{self.folder}/{self.entry[: -len(SUFFIX)]}"


def path_of(name: TokenName) -> TokenPath:
    """Return the path of a record: a hash of its identity."""
    folder, word = _FILES[name.kind]
    digest = sha256_hex("\0".join(name.identity).encode())[:_HASH_LENGTH]
    return TokenPath(folder, f"{digest}-{word}{SUFFIX}")


def seal(key: bytes, state_id: str, name: TokenName, record: TokenRecord, now: float) -> bytes:
    """Return the bytes of a record's file.

    `key` is the session key, `state_id` the name of the state directory, `now` in Unix seconds.
    """
    header = ItemHeader(
        kind=name.kind,
        name=path_of(name).header_name,
        generation=int(now),
        created=format_time(now),
        source=name.source,
        expires=None if record.expires is None else format_time(record.expires),
        renewable=record.renewable,
    )
    key_id = session_key_id(key, state_id)
    return envelope.seal(key, state_id, key_id, header, strict_json.dumps(record.values))


def unseal(key: bytes, state_id: str, name: TokenName, data: bytes) -> TokenRecord:
    """Return the content of a record's file.

    Raises IntegrityError or NewerFormatError for anything but a record that was sealed under that
    key for that name.
    """
    return _opened(key, state_id, name.kind, path_of(name), data)


def check(key: bytes, state_id: str, path: TokenPath, data: bytes) -> None:
    """Raise as `unseal` for a file that does not open, of whatever kind of record."""
    kind = envelope.parse(data, _WHAT).header.kind
    if kind not in _FILES:
        raise DamagedError(f"{_WHAT} is damaged: it is of another kind")
    _opened(key, state_id, kind, path, data)


def _opened(key: bytes, state_id: str, kind: str, path: TokenPath, data: bytes) -> TokenRecord:
    sealed = envelope.parse(data, _WHAT)
    key_id = session_key_id(key, state_id)
    envelope.expect(sealed, state_id, key_id, kind, path.header_name, _WHAT)
    plaintext = envelope.unseal(key, sealed, _WHAT)
    values = strict_json.loads_nested(plaintext, _WHAT, 1)
    if not all(isinstance(value, str) for value in values.values()):
        raise DamagedError(f"{_WHAT} is damaged: it has a value that is no text")
    expires = sealed.header.expires
    until = None if expires is None else parse_time(expires)
    return TokenRecord(values, until, sealed.header.renewable)


def listed(folder: str, entry: str, data: bytes) -> ListedToken | None:
    """Return what a file's header says, None for another file; nothing is verified.

    Raises IntegrityError or NewerFormatError.
    """
    header = envelope.parse(data, _WHAT).header
    if header.kind not in _FILES or header.name != TokenPath(folder, entry).header_name:
        return None
    until = None if header.expires is None else parse_time(header.expires)
    return ListedToken(header.kind, header.source or "", until, header.renewable)
