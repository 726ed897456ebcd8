"""What agent and client say to each other, and where they meet.

One connection, one request, one answer: each a line of JSON, at most 4 KiB, always with the same
fields. Both sides check the socket's folder and, by SO_PEERCRED (unix(7)), who the other is.
"""

from __future__ import annotations

import binascii
import errno
import os
import stat
import sys
from typing import TYPE_CHECKING, Any, Protocol

from filevault.errors import DamagedError, StorageError
from filevault.keycache import KINDS, LIMIT
from filevault.system.files import Folder, storage_error
from filevault.system.printable import printable, shell_word
from filevault.system.record import Record
from filevault.system.strict_json import dumps, loads

if TYPE_CHECKING:
    from collections.abc import Mapping

LINE = 4096
"""The longest line in bytes, its end included."""
OPERATIONS = ("get", "put", "lock", "status")
_LONGEST_MARK = 64
_SOL_SOCKET, _SO_PEERCRED = 1, 17  # asm-generic/socket.h
_REQUEST = {"op": str, "state": str, "kind": str, "key": str, "mark": str, "deadline": int}
_ANSWER = {"ok": int, "key": str, "mark": str, "deadline": int, "count": int}


class Request(Record):
    """A question: about one kind of key of a vault.

    `state` is the vault's state id, empty for `lock` of all; so is `kind` for `lock` of all kinds.
    The rest is for `put` only.
    """

    _secret = ("key",)

    op: str
    state: str
    kind: str = ""
    key: bytes = b""
    mark: str = ""
    deadline: int = 0


class Answer(Record):
    """What the agent says: `ok` is false where it holds nothing of that kind, or refuses.

    `get` gives key, mark and deadline, `status` the latter two, `lock` how many were forgotten.
    """

    _secret = ("key",)

    ok: bool
    key: bytes = b""
    mark: str = ""
    deadline: int = 0
    count: int = 0


def request_line(request: Request) -> bytes:
    """Return a request as it is sent."""
    return _line({**request._asdict(), "key": _text(request.key)})


def answer_line(answer: Answer) -> bytes:
    """Return an answer as it is sent."""
    return _line({**answer._asdict(), "ok": int(answer.ok), "key": _text(answer.key)})


def parse_request(line: bytes) -> Request:
    """Parse a request; raises DamagedError for what is none."""
    request = Request(**_fields(line, _REQUEST, "the request"))
    if (
        request.op not in OPERATIONS
        or not _is_state(request.state, empty=request.op == "lock")
        or (request.kind not in KINDS and (request.kind or request.op != "lock"))
        or (request.op == "put") != bool(request.key)
    ):
        raise DamagedError("the request means nothing")
    return request


def parse_answer(line: bytes) -> Answer:
    """Parse an answer; raises DamagedError for what is none."""
    fields = _fields(line, _ANSWER, "the agent's answer")
    if fields["ok"] not in (0, 1):
        raise DamagedError("the agent's answer is neither yes nor no")
    return Answer(**{**fields, "ok": fields["ok"] == 1})


def _line(fields: Mapping[str, object]) -> bytes:
    return dumps(fields) + b"\n"


def _text(key: bytes) -> str:
    return binascii.b2a_base64(key, newline=False).decode("ascii")


def _fields(line: bytes, wanted: Mapping[str, type], what: str) -> dict[str, Any]:
    found: dict[str, Any] = {**loads(line, wanted, what)}
    mark, key = str(found["mark"]), str(found["key"])
    if len(mark) > _LONGEST_MARK or not _is_hex(mark):
        raise DamagedError(f"{what} has a mark that is none")
    try:
        found["key"] = binascii.a2b_base64(key, strict_mode=True) if key else b""
    except ValueError:
        # Without the cause: what is nearly base64 may be nearly a key.
        raise DamagedError(f"{what} has a key that is none") from None
    if len(key) > LIMIT * 2:
        raise DamagedError(f"{what} has a key that is too long")
    return found


def _is_hex(text: str) -> bool:
    return all(character in "0123456789abcdef" for character in text)


def _is_state(text: str, *, empty: bool) -> bool:
    return (len(text) == 32 and _is_hex(text)) or (empty and not text)


class _Socket(Protocol):
    def getsockopt(self, level: int, option: int, size: int, /) -> bytes: ...


def peer(connection: _Socket) -> tuple[int, int]:
    """Return process id and user of whoever is at the other end; raises OSError."""
    data = connection.getsockopt(_SOL_SOCKET, _SO_PEERCRED, 12)  # struct ucred: three ints
    pid = int.from_bytes(data[0:4], sys.byteorder, signed=True)
    return pid, int.from_bytes(data[4:8], sys.byteorder)


def open_folder(path: str) -> Folder:
    """Open a folder in which a socket may lie: ours, no link, nobody else's business.

    Raises FileNotFoundError where there is none, StorageError if it is anything else.
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
            f"{shown!r} is no place for the agent's socket: it is not a folder, or a link",
            hint=f"look what it is, and remove it: ls -ld {shell_word(path)}",
        ) from error
    folder = Folder(fd, path)
    info = os.fstat(fd)
    if info.st_uid != os.geteuid():
        folder.close()
        raise StorageError(
            f"{shown!r} is no place for the agent's socket: it belongs to user {info.st_uid}",
            hint="set XDG_RUNTIME_DIR to a folder of yours, mode 0700",
        )
    if not is_private(folder):
        folder.close()
        raise StorageError(
            f"{shown!r} is no place for the agent's socket: others can open it",
            hint=f"chmod 700 {shell_word(path)}",
        )
    return folder


def is_private(folder: Folder) -> bool:
    """Tell whether a folder is ours and nobody else can open it."""
    info = os.fstat(folder.fd)
    return info.st_uid == os.geteuid() and not stat.S_IMODE(info.st_mode) & 0o077
