"""The user at the other end of a loopback connection, from the kernel's table of sockets."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from socket import socket

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_ESTABLISHED = "01"
_LOOKS = 2  # the kernel may skip a line of a table that changes while it is read
_OVERFLOW = "/proc/sys/kernel/overflowuid"
"""What the kernel shows for users whom a user namespace does not know (user_namespaces(7))."""
_MAP = "/proc/self/uid_map"
_ALL = ["0", "0", "4294967295"]


def peer_uid(connection: socket) -> int | None:
    """Return the uid that owns the other end of an IPv4 connection within this machine.

    None if it is unknown: without `/proc`, from another network namespace or a user that this one
    does not know, or after the other end was closed. The table is described in proc_pid_net(5).
    """
    theirs, ours = _shown(connection.getpeername()), _shown(connection.getsockname())
    for prefix, path in (("", _TABLES[0]), (_mapped(), _TABLES[1])) * _LOOKS:
        try:
            with open(path, encoding="ascii") as table:
                for line in table:
                    fields = line.split()
                    if (
                        len(fields) > 7
                        and fields[1] == prefix + theirs
                        and fields[2] == prefix + ours
                        and fields[3] == _ESTABLISHED
                    ):
                        uid = int(fields[7])
                        return None if uid == _unmapped() else uid
        except (OSError, ValueError):
            continue
    return None


def _unmapped() -> int | None:
    """Return the uid that stands for users who are not known here, None if all are."""
    with open(_MAP, encoding="ascii") as file:
        if file.readline().split() == _ALL:
            return None
    with open(_OVERFLOW, encoding="ascii") as file:
        return int(file.readline())


def _mapped() -> str:
    """Return how the table shows the prefix of IPv4 addresses in IPv6 (RFC 4291 §2.5.5.2)."""
    return f"{0:016X}{int.from_bytes(bytes.fromhex('0000ffff'), sys.byteorder):08X}"


def can_find_peers() -> bool:
    """Return whether the kernel's table can be read, and shows this user as no other."""
    try:
        with open(_TABLES[0], encoding="ascii") as table:
            return bool(table.readline()) and os.geteuid() != _unmapped()
    except (OSError, ValueError):
        return False


def _shown(address: tuple[str, int]) -> str:
    """Return an address as in the table: the four bytes as a number in the machine's order."""
    host, port = address[:2]
    number = int.from_bytes(bytes(map(int, host.split("."))), sys.byteorder)
    return f"{number:08X}:{port:04X}"
