"""Ask an agent for a cached key, as `filevault.keycache.client` does, for some milliseconds."""

import _socket
import posix
import sys
import time

from filevault.lane.question import MissError

TIMEOUT = 0.01
"""Seconds for one request."""
_LINE = 4096
_SOCKET = b"/agent.sock"
_SOL_SOCKET, _SO_PEERCRED = 1, 17  # asm-generic/socket.h
_KIND, _FOLDER, _IS_SOCKET = 0o170000, 0o040000, 0o140000  # stat(2)
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_FRAME = [b"{", b"ok", b":1,", b"key", b":", b",", b"mark", b":", b",", b"deadline", b"count"]


class Agent:
    """The first agent of this user that has its socket.

    Args:
        environ: the environment.
        root: the parent of `/run` and `/tmp`, empty for `/`.
    """

    __slots__ = ("_path",)

    def __init__(self, environ: dict[bytes, bytes], root: bytes) -> None:
        self._path = _socket_of(environ, root)

    def key(self, state: bytes, kind: bytes) -> tuple[bytes, bytes, int]:
        """Return a key, its mark, and its deadline in milliseconds. Raises MissError, OSError."""
        request = b'{"op":"get","state":"%b","kind":"%b","key":"","mark":"","deadline":0}\n'
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            connection.settimeout(TIMEOUT)
            connection.connect(self._path)
            peer = connection.getsockopt(_SOL_SOCKET, _SO_PEERCRED, 12)
            if int.from_bytes(peer[4:8], sys.byteorder) != posix.geteuid():
                raise MissError("the agent belongs to another user")
            connection.sendall(request % (state, kind))
            line = b""
            latest = time.monotonic() + TIMEOUT
            while not line.endswith(b"\n"):
                if time.monotonic() > latest:
                    raise MissError("the agent is slow")
                part = connection.recv(_LINE + 1 - len(line))
                line += part
                if not part or len(line) > _LINE:
                    raise MissError("the agent's answer is not understood")
        finally:
            connection.close()
        return _parse(line)


def _socket_of(environ: dict[bytes, bytes], root: bytes) -> bytes:
    """Return the path of the first socket in the folders that the normal path asks."""
    uid = posix.geteuid()
    job = environ.get(b"FILEVAULT_AGENT_DIR", b"")
    folders = [job]
    if not job.startswith(b"/"):
        runtime = [environ.get(b"XDG_RUNTIME_DIR", b""), root + b"/run/user/%d" % uid]
        folders = [each + b"/filevault" for each in runtime if each.startswith(b"/")]
        folders.append(root + b"/tmp/filevault-%d" % uid)
    for folder in folders:
        try:
            at = posix.lstat(folder)
            info = posix.lstat(folder + _SOCKET)
        except OSError:
            continue
        if at.st_uid != uid or info.st_uid != uid:
            continue
        if (
            at.st_mode & _KIND != _FOLDER
            or at.st_mode & 0o077
            or info.st_mode & _KIND != _IS_SOCKET
        ):
            raise MissError("the agent's folder is open to others")
        return folder + _SOCKET
    raise MissError("there is no agent")


def _parse(line: bytes) -> tuple[bytes, bytes, int]:
    """Return key, mark and deadline of an answer, exactly as the agent writes it."""
    words = line.split(b'"')
    if len(words) != 15 or [*words[:5], *words[6:9], *words[10:12], words[13]] != _FRAME:
        raise MissError("the agent does not have it")
    key, mark, deadline = words[5], words[9], words[12][1:-1]
    if words[12] != b":%b," % deadline or words[14] != b":0}\n" or not deadline.isdigit():
        raise MissError("the agent's answer is not understood")
    return _decoded(key), mark, int(deadline)


def _decoded(text: bytes) -> bytes:
    """Return the bytes of a text in base64 (RFC 4648 §4)."""
    digits = text.rstrip(b"=")
    size = len(digits) * 3 // 4
    octal = {character: f"{value:02o}" for value, character in enumerate(_ALPHABET)}
    number = int("".join([octal[character] for character in digits]) or "0", 8)
    return (number >> (len(digits) * 6 - size * 8)).to_bytes(size, "big")
