"""MetadataAddress: 169.254.169.254 on the loopback device, as long as a server listens there.

The kernel removes the address by itself if this process is killed: it is added for a minute, and
that is renewed. The messages to the kernel are those of rtnetlink(7).
"""

from __future__ import annotations

import contextlib
import errno
import re
import socket
import struct
from time import monotonic
from typing import TYPE_CHECKING

from filevault.errors import UsageError
from filevault.system import netlink

if TYPE_CHECKING:
    from filevault.server.event_loop import EventLoop

ADDRESS = "169.254.169.254"
"""The address of the metadata service ("Use the Instance Metadata Service" in the EC2 guide)."""
PORT = 80
LIFE = 60
"""The seconds after which the kernel removes the address, unless that is renewed."""
_INTERVAL = LIFE / 3
_PROBE_TIMEOUT = 0.5  # seconds; a metadata service is on the same host
_DEVICE = b"lo"
_LABEL = b"lo:filevault"
"""What `ip address` shows for it; only an address with this label is ever removed."""

# linux/netlink.h, linux/rtnetlink.h, linux/if_addr.h
_RTM_NEWADDR, _RTM_DELADDR = 20, 21
_NLM_F_REPLACE, _NLM_F_EXCL, _NLM_F_CREATE = 0x100, 0x200, 0x400
_IFA_ADDRESS, _IFA_LOCAL, _IFA_LABEL, _IFA_CACHEINFO = 1, 2, 3, 6
_RT_SCOPE_HOST = 254
_IFADDRMSG = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, device
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_CACHEINFO = struct.Struct("=IIII")  # preferred, valid, created, updated

_DMI = "/sys/class/dmi/id/"
_XEN = "/sys/hypervisor/uuid"
_IP_FREEBIND = 15
"""An option of sockets: an address that is not there yet can be bound (linux/in.h, ip(7))."""
_LEAVE = "leave --listen out: SDKs find the address in AWS_EC2_METADATA_SERVICE_ENDPOINT"
_TAKEN = f"{ADDRESS}:{PORT} answers already: another server, or this machine's cloud"
_INSTANCE = r"i-[0-9a-f]{8,32}"
_REFUSED = (errno.EPERM, errno.EACCES)


def is_instance(root: str = "") -> bool:
    """Return whether this machine is an EC2 instance, by what its firmware says.

    `root` is the folder of `/sys`. The signs are those of "Detect whether a host is an EC2
    instance" in the EC2 guide; a file that cannot be read says nothing.
    """
    if _read(f"{root}{_DMI}sys_vendor") == "Amazon EC2":
        return True
    if re.fullmatch(_INSTANCE, _read(f"{root}{_DMI}board_asset_tag")):
        return True
    for path in (f"{root}{_DMI}product_uuid", f"{root}{_XEN}"):
        first = _read(path).lower().partition("-")[0]
        # Firmware may write the first four bytes in the opposite order: 45e12aec is ec2ae145.
        if first.startswith("ec2") or (len(first) == 8 and f"{first[6:]}{first[4:6]}"[:3] == "ec2"):
            return True
    return False


def _read(path: str) -> str:
    with contextlib.suppress(OSError), open(path, encoding="ascii", errors="replace") as file:
        return file.read(200).strip()
    return ""


class MetadataAddress:
    """The address; `listen` adds it, `close` removes it."""

    def __init__(self) -> None:
        self._renewed = monotonic()

    def listen(self, backlog: int, root: str = "") -> socket.socket:
        """Add the address and return a listener at its port 80, for this machine alone.

        `root` is as in `is_instance`. Raises UsageError where that must not or cannot be done.
        """
        if is_instance(root):
            raise UsageError(
                f"this is an EC2 instance, whose own metadata service has {ADDRESS}", hint=_LEAVE
            )
        # It listens before the address is there: of two servers that start one gets no further.
        try:
            listener = _listener(backlog)
        except OSError as error:
            if error.errno == errno.EADDRINUSE and _answers():
                raise UsageError(_TAKEN, hint=_LEAVE) from error
            raise _refusal(error, "listen there") from error
        try:
            self._add()
        except UsageError:
            listener.close()
            raise
        return listener

    def _add(self) -> None:
        """Add the address, at which this process listens already. Raises UsageError."""
        _remove()  # left by a server that was killed less than a minute ago
        if _is_here():
            raise UsageError(
                f"{ADDRESS} is an address of this machine already",
                hint=f"ip address show to {ADDRESS} shows where",
            )
        if _answers():
            raise UsageError(_TAKEN, hint=_LEAVE)
        try:
            _change(_RTM_NEWADDR, _NLM_F_CREATE | _NLM_F_EXCL)
        except OSError as error:
            raise _refusal(error, "add it to the loopback device") from error
        if not _answers():  # by now it is this process that answers
            _remove()
            raise UsageError(
                f"cannot listen at {ADDRESS}:{PORT}: nothing reaches it on this machine",
                hint="ip link set lo up starts the loopback device; a firewall may be in the way, "
                "too",
            )

    def run_in(self, loop: EventLoop) -> None:
        """Keep the address from now on."""
        self._renewed = monotonic() - _INTERVAL
        loop.add_timer(self._renew)

    def close(self) -> None:
        """Remove the address, if it is filevault's and no other server has it by now.

        Call it after the listener is closed.
        """
        with contextlib.suppress(OSError), _listener(1):
            _remove()

    def _renew(self) -> float:
        now = monotonic()
        if now - self._renewed >= _INTERVAL:
            self._renewed = now
            # It is added again if it is gone, after a long stop of this process for example.
            with contextlib.suppress(OSError):
                _change(_RTM_NEWADDR, _NLM_F_CREATE | _NLM_F_REPLACE)
        return self._renewed + _INTERVAL - now


def _listener(backlog: int) -> socket.socket:
    """Return a listener, whether the address is there or not. Raises OSError.

    It is for what comes from this machine. There is one at a time.
    """
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # Old kernels let root alone say so; the endpoint looks at the other end in any case.
        with contextlib.suppress(PermissionError):
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, _DEVICE)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        made.bind((ADDRESS, PORT))
        made.listen(backlog)
    except OSError:
        made.close()
        raise
    return made


def _remove() -> None:
    """Remove the address, if it is filevault's."""
    with contextlib.suppress(OSError):
        _change(_RTM_DELADDR, 0)


def _refusal(error: OSError, what: str) -> UsageError:
    if error.errno in _REFUSED:
        return UsageError(
            f"cannot listen at {ADDRESS}:{PORT}: no permission to {what}",
            hint="it takes root, or the capabilities CAP_NET_ADMIN and CAP_NET_BIND_SERVICE; "
            "without --listen it takes neither",
        )
    reason = (error.strerror or "unknown reason").lower()
    return UsageError(
        f"cannot listen at {ADDRESS}:{PORT}: cannot {what}: {reason}",
        hint="without --listen another address is used",
    )


def _answers() -> bool:
    """Return whether a server answers at the address, here or in the network."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_TIMEOUT)
        return probe.connect_ex((ADDRESS, PORT)) == 0


def _is_here() -> bool:
    """Return whether the address is one of this machine's: then it is its own way to it."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((ADDRESS, PORT))  # which sends nothing
        return bool(probe.getsockname()[0] == ADDRESS)
    return False


def _change(message_type: int, flags: int) -> None:
    """Let the kernel add or remove the address. Raises OSError."""
    address = socket.inet_aton(ADDRESS)
    attributes = [(_IFA_LOCAL, address), (_IFA_ADDRESS, address), (_IFA_LABEL, _LABEL + b"\0")]
    if message_type == _RTM_NEWADDR:
        attributes.append((_IFA_CACHEINFO, _CACHEINFO.pack(LIFE, LIFE, 0, 0)))
    device = socket.if_nametoindex(_DEVICE.decode("ascii"))
    body = _IFADDRMSG.pack(socket.AF_INET, 32, 0, _RT_SCOPE_HOST, device)
    for number, value in attributes:
        padding = bytes(-len(value) % 4)
        body += _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), number) + value + padding
    netlink.ask(socket.NETLINK_ROUTE, message_type, netlink.REQUEST | netlink.ACK | flags, body)
