"""Entries for the journal of systemd, by its native protocol: one datagram of `NAME=value` lines.

https://systemd.io/JOURNAL_NATIVE_PROTOCOL/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import ProgramError
from filevault.system.printable import printable

if TYPE_CHECKING:
    from filevault.issued.issue_log import IssuedLine

SOCKET = "/run/systemd/journal/socket"
IDENTIFIER = "filevault"
_TIMEOUT = 1.0  # seconds
_INFO = 6  # syslog(3): LOG_INFO


def send(line: IssuedLine, root: str) -> None:
    """Send an entry; `root` is the parent of `/run`, empty for `/`.

    Raises ProgramError if the journal does not take it.
    """
    import socket

    path = f"{root}{SOCKET}"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(_TIMEOUT)
            sender.sendto(_entry(line), path)
    except OSError as error:
        reason = (error.strerror or "it does not answer").lower()
        raise ProgramError(
            f"the journal at {printable(path)} does not take the entry: {reason}"
        ) from error


def _entry(line: IssuedLine) -> bytes:
    """Return the datagram. No value has a line end, so that none needs a length."""
    to = "" if line.command is None else f" to {line.command}"
    values = {
        "MESSAGE": f"{line.verb}: credentials of {line.profile}{to}, key ...{line.key}",
        "PRIORITY": str(_INFO),
        "SYSLOG_IDENTIFIER": IDENTIFIER,
        **{f"FILEVAULT_{name.upper()}": value for name, value in line._asdict().items()},
    }
    lines = (f"{name}={value}\n" for name, value in values.items() if value is not None)
    return "".join(lines).encode("utf-8")
