"""The user at the other end of a loopback connection, as the kernel knows it.

The kernel is asked for the one socket (sock_diag(7)), which takes 40 µs whatever else is open.
Where it has no such answer, its whole table is read.
"""

from __future__ import annotations

import os
import socket
import struct
import sys

from filevault.system import netlink

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_ESTABLISHED = "01"
_LOOPBACK = "lo"
_LOOKS = 2  # the kernel may skip a line of a table that changes while it is read
_OVERFLOW = "/proc/sys/kernel/overflowuid"
"""What the kernel shows for users whom a user namespace does not know (user_namespaces(7))."""
_MAP = "/proc/self/uid_map"
_ALL = ["0", "0", "4294967295"]

# linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_EVERY_STATE = _ANY_COOKIE = 0xFFFFFFFF
_OPTIONS = struct.Struct("=BBBBI")  # family, protocol, extensions, padding, states
_PORTS = struct.Struct("!HH16s16s")  # from, to, the addresses
_REST = struct.Struct("=III")  # device, cookie
_STATE_AT = 1
_UID = struct.Struct("=I")
_UID_AT = 4 + _PORTS.size + _REST.size + 12  # behind the expiry and the two queues


def peer_uid(connection: socket.socket) -> int | None:
    """Return the uid that owns the other end of an IPv4 connection within this machine.

    None if it is unknown: without `/proc`, from another network namespace or a user that this one
    does not know, or after the other end was closed.
    """
    try:
        uid = _from_diagnosis(connection)
    except OSError:
        uid = _from_table(connection)
    try:
        return None if uid == _unmapped() else uid
    except (OSError, ValueError):
        return None


def _from_diagnosis(connection: socket.socket) -> int | None:
    """Ask the kernel for the socket at the other end. Raises OSError if it has no answer."""
    (their_host, their_port), (host, port) = connection.getpeername(), connection.getsockname()
    addresses = socket.inet_aton(their_host), socket.inet_aton(host)
    body = _OPTIONS.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, 0, _EVERY_STATE)
    # A client may have bound its socket to the device; one that has not is found as well.
    rest = (socket.if_nametoindex(_LOOPBACK), _ANY_COOKIE, _ANY_COOKIE)
    body += _PORTS.pack(their_port, port, *addresses) + _REST.pack(*rest)
    answer = netlink.ask(_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, netlink.REQUEST, body)
    # Without such a connection the answer is the listener.
    if len(answer) < _UID_AT + _UID.size or answer[_STATE_AT] != int(_ESTABLISHED, 16):
        return None
    found: int = _UID.unpack_from(answer, _UID_AT)[0]
    return found


def _from_table(connection: socket.socket) -> int | None:
    """Look for the socket at the other end in the table of proc_pid_net(5)."""
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
                        return int(fields[7])
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
