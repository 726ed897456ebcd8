"""Netlink: one question to the kernel and its answer (netlink(7))."""

from __future__ import annotations

import os
import socket
import struct

REQUEST, ACK = 0x1, 0x4
"""Flags of each request, and of one that is answered by a status alone (linux/netlink.h)."""
_ERROR = 2
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_STATUS = struct.Struct("=i")
_LONGEST = 8192  # bytes of an answer
_KERNEL = 0  # the port of the kernel itself


def ask(family: int, message_type: int, flags: int, body: bytes) -> bytes:
    """Send a message to the kernel, and return the body of its answer.

    `family` is a netlink family such as NETLINK_ROUTE. The answer to ACK is empty. Raises OSError
    with what the kernel says, or if there is no such family.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, family) as kernel:
        head = _HEADER.pack(_HEADER.size + len(body), message_type, flags, 1, _KERNEL)
        kernel.sendto(head + body, (_KERNEL, 0))
        answer, (sender, _groups) = kernel.recvfrom(_LONGEST)  # it is there when that returns
    if sender != _KERNEL or len(answer) < _HEADER.size + _STATUS.size:
        raise OSError("the answer is not the kernel's")
    if _HEADER.unpack_from(answer)[1] != _ERROR:
        return answer[_HEADER.size :]
    (code,) = _STATUS.unpack_from(answer, _HEADER.size)
    if code:
        raise OSError(-code, os.strerror(-code))
    return b""
