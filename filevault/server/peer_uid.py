"""The user at the other end of a loopback connection, from the kernel's table of sockets."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from socket import socket

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_ESTABLISHED = "01"


def peer_uid(connection: socket) -> int | None:
    """Return the uid that owns the other end of an IPv4 connection within this machine.

    None if it is unknown: without `/proc`, from another network namespace, or after the other end
    was closed. The table is described in proc_pid_net(5).
    """
    theirs, ours = _shown(connection.getpeername()), _shown(connection.getsockname())
    for path in _TABLES:
        try:
            with open(path, encoding="ascii") as table:
                for line in table:
                    fields = line.split()
                    # For a client with an IPv6 socket, the mapped address ends with these.
                    if (
                        len(fields) > 7
                        and fields[1].endswith(theirs)
                        and fields[2].endswith(ours)
                        and fields[3] == _ESTABLISHED
                    ):
                        return int(fields[7])
        except (OSError, ValueError):
            continue
    return None


def can_find_peers() -> bool:
    """Return whether the kernel's table can be read."""
    try:
        with open(_TABLES[0], encoding="ascii") as table:
            return bool(table.readline())
    except (OSError, ValueError):
        return False


def _shown(address: tuple[str, int]) -> str:
    """Return an address as in the table: the four bytes as a number in the machine's order."""
    host, port = address[:2]
    number = int.from_bytes(bytes(map(int, host.split("."))), sys.byteorder)
    return f"{number:08X}:{port:04X}"
