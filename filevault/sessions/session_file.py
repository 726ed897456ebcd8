"""One session file: its name, and its sealed content.

The name is `sessions/<owner>/<operation>-<32 hex>@<expiry>.fvs`. It is authenticated together with
the content (`docs/format.md` §7).
"""

from __future__ import annotations

from functools import lru_cache

from filevault.backends.item_header import ItemHeader
from filevault.backends.sealing import envelope
from filevault.backends.sealing.key_schedule import session_key_id
from filevault.credentials import Credentials
from filevault.errors import DamagedError
from filevault.system import strict_json
from filevault.system.record import Record
from filevault.system.times import format_time, parse_time

FOLDER = "sessions"
SUFFIX = ".fvs"
MAX_FILE = envelope.MAX_FILE
OPERATIONS = (
    "get-session-token",
    "assume-role",
    "assume-role-with-web-identity",
    "get-federation-token",
    "get-scoped-credentials",
    "sso-role",
    "login",
    "process",
)
"""The calls that a session can come from; the first part of its file's name."""

_WHAT = "a session"
HASH_LENGTH = 32
_HEX = b"0123456789abcdef"
_BODY: dict[str, type] = {
    "Version": int,
    "AccessKeyId": str,
    "SecretAccessKey": str,
    "SessionToken": str,
    "Expiration": str,
}


class SessionName(Record):
    """The name of a session, which determines its file.

    `owner` is a profile, `hash` the 32 digits of `session_hash`, `source` the reference of the
    credential source that it was made from: `item:<name>`, `web:<profile>`, ...
    """

    owner: str
    operation: str
    hash: str
    source: str

    @property
    def prefix(self) -> str:
        """The beginning of the names of its files."""
        return f"{self.operation}-{self.hash}@"


class FileName(Record):
    """A parsed file name; `expiration` is in Unix seconds."""

    operation: str
    hash: str
    expiration: int


class SessionFile(Record):
    """The path of a session file, all of it authenticated with the content.

    `state_id` is the name of the state directory, `folder` that of the owner's folder, `entry`
    that of the file.
    """

    state_id: str
    folder: str
    entry: str

    @property
    def header_name(self) -> str:
        """The `name` in the header of the file."""
        return f"{FOLDER}/{self.folder}/{self.entry[: -len(SUFFIX)]}"


class KeptSession(Record):
    """A session from a file; `whole_life` is in seconds, rounded up to whole minutes."""

    credentials: Credentials
    expiration: int
    whole_life: int


def file_name(name: SessionName, expiration: int) -> str:
    """Return the name of the file of a session that lives until then."""
    compact = format_time(expiration).replace("-", "").replace(":", "")
    return f"{name.prefix}{compact}{SUFFIX}"


def parse_name(entry: str) -> FileName | None:
    """Parse a file's name; return None if it is not that of a session file."""
    parts = split_name(entry)
    return None if parts is None else FileName(*parts)


def split_name(entry: str) -> tuple[str, str, int] | None:
    """Return the fields of a `FileName`; for listings, since a Record takes longer than parsing."""
    head, _, end = entry.rpartition("@")
    operation, _, digest = head.rpartition("-")
    if (
        operation not in OPERATIONS
        or len(digest) != HASH_LENGTH
        or not digest.isascii()
        or digest.encode().translate(None, _HEX)
    ):
        return None
    expiration = _expiration(end)
    return None if expiration is None else (operation, digest, expiration)


@lru_cache(maxsize=16)  # many sessions end at the same second
def _expiration(end: str) -> int | None:
    """Return the Unix seconds in the end of a file's name: `YYYYMMDDTHHMMSSZ.fvs`."""
    text = end.removesuffix(SUFFIX)
    spread = f"{text[:4]}-{text[4:6]}-{text[6:11]}:{text[11:13]}:{text[13:]}"
    try:
        return None if text == end else parse_time(spread)
    except ValueError:
        return None


def seal(key: bytes, file: SessionFile, source: str, now: float, credentials: Credentials) -> bytes:
    """Return the bytes of a session file.

    Args:
        key: the session key, 32 bytes.
        file: which file.
        source: the reference of the credential source.
        now: Unix seconds.
        credentials: temporary ones, which have an expiry.
    """
    header = ItemHeader(
        kind="session",
        name=file.header_name,
        generation=int(now),
        created=format_time(now),
        source=source,
    )
    key_id = session_key_id(key, file.state_id)
    return envelope.seal(key, file.state_id, key_id, header, _body(credentials))


def unseal(key: bytes, file: SessionFile, data: bytes) -> KeptSession:
    """Return the content of a session file.

    Raises IntegrityError or NewerFormatError for anything but a session that was sealed under
    that key for that name.
    """
    sealed = envelope.parse(data, _WHAT)
    key_id = session_key_id(key, file.state_id)
    envelope.expect(sealed, file.state_id, key_id, "session", file.header_name, _WHAT)
    credentials, expiration = _read_body(envelope.unseal(key, sealed, _WHAT))
    return KeptSession(credentials, expiration, _whole_life(sealed.header.created, expiration))


def _whole_life(created: str, expiration: int) -> int:
    # The file is written a moment after the life began.
    life = expiration - parse_time(created)
    return -(-life // 60) * 60


def life_of(entry: str, data: bytes) -> int | None:
    """Return the whole life in a session file's header, in seconds; nothing is verified.

    None for a file whose name or header is not that of a session. Raises IntegrityError or
    NewerFormatError.
    """
    named = parse_name(entry)
    try:
        created = envelope.parse(data, _WHAT).header.created
        return None if named is None else _whole_life(created, named.expiration)
    except ValueError:
        return None


def source_of(data: bytes) -> str | None:
    """Return the credential source in a session file's header; nothing is verified.

    Raises IntegrityError or NewerFormatError.
    """
    return envelope.parse(data, _WHAT).header.source


def _body(credentials: Credentials) -> bytes:
    values: dict[str, object] = {
        "Version": 1,
        "AccessKeyId": credentials.access_key_id,
        "SecretAccessKey": credentials.secret_access_key,
        "SessionToken": credentials.session_token,
        "Expiration": format_time(credentials.expiration or 0),
    }
    if credentials.account_id is not None:
        values["AccountId"] = credentials.account_id
    if credentials.arn is not None:
        values["Arn"] = credentials.arn
    return strict_json.dumps(values)


def _read_body(data: bytes) -> tuple[Credentials, int]:
    fields = dict(_BODY)
    for optional in ("AccountId", "Arn"):
        if f'"{optional}":'.encode() in data:
            fields[optional] = str
    values = strict_json.loads(data, fields, _WHAT)
    try:
        if values["Version"] != 1:
            raise ValueError("another version")
        expiration = parse_time(str(values["Expiration"]))
    except ValueError as error:
        raise DamagedError(f"{_WHAT} is damaged: it has {error}") from error
    credentials = Credentials(
        access_key_id=str(values["AccessKeyId"]),
        secret_access_key=str(values["SecretAccessKey"]),
        session_token=str(values["SessionToken"]),
        expiration=expiration,
        account_id=str(values["AccountId"]) if "AccountId" in values else None,
        arn=str(values["Arn"]) if "Arn" in values else None,
    )
    return credentials, expiration
