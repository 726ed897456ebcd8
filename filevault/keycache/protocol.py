"""The protocol between agent and client, and the checks of its socket.

One connection, one request, one answer: each a line of JSON, at most 4 KiB, always with the same
fields. Both sides check the socket's folder and, by SO_PEERCRED (unix(7)), the other's user id.
"""

from __future__ import annotations

import binascii
import errno
import os
import stat
import sys
from typing import TYPE_CHECKING, Any, Protocol

from filevault.errors import DamagedError, StorageError
from filevault.keycache.cached_key import ANSWER_TYPES, KEY_TYPES, MAX_KEY_SIZE
from filevault.system.files import Folder, storage_error
from filevault.system.printable import printable, shell_word
from filevault.system.record import Record
from filevault.system.strict_json import dumps, loads

if TYPE_CHECKING:
    from collections.abc import Mapping

LINE = 4096
"""The longest line in bytes, including its end."""
OPERATIONS = ("get", "put", "lock", "status")
_LONGEST_MARK = 64
_SOL_SOCKET, _SO_PEERCRED = 1, 17  # asm-generic/socket.h
_REQUEST = {"op": str, "state": str, "kind": str, "key": str, "mark": str, "deadline": int}
_ANSWER = {"ok": int, "key": str, "mark": str, "deadline": int, "count": int}


class Request(Record):
    """A request about one type of key of a vault.

    `op` is one of `OPERATIONS`; `lock` forgets keys. `state` is the vault's state id, empty to
    forget the keys of all; `key_type` is empty to forget all types. The rest is for `put` only.
    """

    _secret = ("key",)

    op: str
    state: str
    key_type: str = ""
    key: bytes = b""
    mark: str = ""
    deadline: int = 0


class Answer(Record):
    """The agent's answer: `ok` is false if it has no such key, or refuses.

    `get` returns key, mark and deadline, `status` the latter two, `lock` how many were forgotten.
    """

    _secret = ("key",)

    ok: bool
    key: bytes = b""
    mark: str = ""
    deadline: int = 0
    count: int = 0


def request_line(request: Request) -> bytes:
    """Return the line that encodes a request."""
    fields = {**request._asdict(), "key": _text(request.key)}
    fields["kind"] = fields.pop("key_type")
    return _line(fields)


def answer_line(answer: Answer) -> bytes:
    """Return the line that encodes an answer."""
    return _line({**answer._asdict(), "ok": int(answer.ok), "key": _text(answer.key)})


def parse_request(line: bytes) -> Request:
    """Parse a request; raise DamagedError if it is invalid."""
    fields = _fields(line, _REQUEST, "the request")
    fields["key_type"] = fields.pop("kind")
    request = Request(**fields)
    if (
        request.op not in OPERATIONS
        or not _is_state(request.state, empty=request.op == "lock")
        or (
            request.key_type not in (*KEY_TYPES, *ANSWER_TYPES)
            and (request.key_type or request.op != "lock")
        )
        or (request.op == "put") != bool(request.key)
    ):
        raise DamagedError("the request is invalid")
    return request


def parse_answer(line: bytes) -> Answer:
    """Parse an answer; raise DamagedError if it is invalid."""
    fields = _fields(line, _ANSWER, "the agent's answer")
    if fields["ok"] not in (0, 1):
        raise DamagedError("the agent's answer is invalid: ok is neither 0 nor 1")
    return Answer(**{**fields, "ok": fields["ok"] == 1})


def _line(fields: Mapping[str, object]) -> bytes:
    return dumps(fields) + b"\n"


def _text(key: bytes) -> str:
    return binascii.b2a_base64(key, newline=False).decode("ascii")


def _fields(line: bytes, wanted: Mapping[str, type], what: str) -> dict[str, Any]:
    found: dict[str, Any] = {**loads(line, wanted, what)}
    mark, key = str(found["mark"]), str(found["key"])
    if len(mark) > _LONGEST_MARK or not _is_hex(mark):
        raise DamagedError(f"{what} has an invalid mark")
    try:
        found["key"] = binascii.a2b_base64(key, strict_mode=True) if key else b""
    except ValueError:
        # Without the cause: its text could contain part of a key.
        raise DamagedError(f"{what} has an invalid key") from None
    if len(key) > MAX_KEY_SIZE * 2:
        raise DamagedError(f"{what} has a key that is too long")
    return found


def _is_hex(text: str) -> bool:
    return all(character in "0123456789abcdef" for character in text)


def _is_state(text: str, *, empty: bool) -> bool:
    return (len(text) == 32 and _is_hex(text)) or (empty and not text)


class _Socket(Protocol):
    def getsockopt(self, level: int, option: int, size: int, /) -> bytes: ...


def peer(connection: _Socket) -> tuple[int, int]:
    """Return process id and user id of the other end. Raises OSError."""
    data = connection.getsockopt(_SOL_SOCKET, _SO_PEERCRED, 12)  # struct ucred: three ints
    pid = int.from_bytes(data[0:4], sys.byteorder, signed=True)
    return pid, int.from_bytes(data[4:8], sys.byteorder)


def open_folder(path: str) -> Folder:
    """Open the folder of a socket: it must be owned by this user, mode 0700, and not a link.

    Raises FileNotFoundError if it does not exist, StorageError if it must not be used.
    """
    shown = printable(path)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise storage_error(error, "look into", path) from error
        raise StorageError(
            f"{shown!r} cannot have the agent's socket: it is not a folder, or a link",
            hint=f"look what it is, and remove it: ls -ld {shell_word(path)}",
        ) from error
    folder = Folder(fd, path)
    info = os.fstat(fd)
    if info.st_uid != os.geteuid():
        folder.close()
        raise StorageError(
            f"{shown!r} cannot have the agent's socket: it belongs to user {info.st_uid}",
            hint="set XDG_RUNTIME_DIR to a folder of yours, mode 0700",
        )
    if not is_private(folder):
        folder.close()
        raise StorageError(
            f"{shown!r} cannot have the agent's socket: others can open it",
            hint=f"chmod 700 {shell_word(path)}",
        )
    return folder


def is_private(folder: Folder) -> bool:
    """Return whether a folder belongs to this user and no other user can open it."""
    info = os.fstat(folder.fd)
    return info.st_uid == os.geteuid() and not stat.S_IMODE(info.st_mode) & 0o077
