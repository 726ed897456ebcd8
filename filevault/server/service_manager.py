"""The service manager (systemd): its sockets, and what it is told about this process."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

from filevault.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

_FIRST = 3  # SD_LISTEN_FDS_START of sd_listen_fds(3)


def inherited_listener(get: Callable[[str], str | None]) -> socket.socket | None:
    """Return the listening socket that the service manager passed on, None without one.

    `get` returns an environment variable, or None. Raises ConfigError for several sockets, and
    for one that is not a listening IPv4 socket (sd_listen_fds(3)).
    """
    if get("LISTEN_PID") != str(os.getpid()):
        return None
    if get("LISTEN_FDS") != "1":
        raise ConfigError(
            "the service manager passes on more than one socket", hint="one ListenStream= is served"
        )
    os.set_inheritable(_FIRST, False)
    try:
        found = socket.socket(fileno=_FIRST)
        listens = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ConfigError("LISTEN_FDS is set, but descriptor 3 is no socket") from error
    if not listens or found.family != socket.AF_INET:
        raise ConfigError(
            "the socket of the service manager is not a listening IPv4 socket",
            hint="write ListenStream=127.0.0.1:PORT in the unit",
        )
    return found


def notify(path: str | None, *states: str) -> None:
    """Send states such as `READY=1` to the service manager (sd_notify(3)).

    `path` is that of its socket, the value of NOTIFY_SOCKET; None without a service manager.
    """
    if path is None or path[0] not in "/@":
        return
    address = "\0" + path[1:] if path[0] == "@" else path
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(address)
        sender.send("\n".join(states).encode("utf-8", "replace"))
