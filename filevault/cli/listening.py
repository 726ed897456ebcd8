"""Listening: where a server listens, by `--listen` or at a free port of 127.0.0.1."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Self

from filevault.errors import UsageError
from filevault.server.metadata_address import ADDRESS, PORT, MetadataAddress
from filevault.system.printable import printable

if TYPE_CHECKING:
    from filevault.server.event_loop import EventLoop

_LOOPBACK = "127.0.0.1"
_BACKLOG = 1024


class Listening:
    """A listening socket and, if filevault has added it, its address; a context manager."""

    def __init__(self, listener: socket.socket, address: MetadataAddress | None = None) -> None:
        self.listener = listener
        self._address = address

    @classmethod
    def at(cls, text: str | None, *, ec2: bool, insecure: bool = False, root: str = "") -> Self:
        """Listen at an address and a port, None for a free port of 127.0.0.1.

        With `ec2` the address of the metadata service is added to this machine; without, and
        with `insecure`, it is an address as any other. `root` is the folder of `/sys`. Raises
        UsageError.
        """
        where = parsed(text) if text is not None else (_LOOPBACK, 0)
        if ec2 and not insecure and where == (ADDRESS, PORT):
            address = MetadataAddress()
            return cls(address.listen(_BACKLOG, root), address)
        check_address(where[0], "--listen", insecure=insecure)
        try:
            return cls(socket.create_server(where, backlog=_BACKLOG))
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()  # without what socket adds to it
            shown = f"{printable(where[0])}:{where[1]}"
            raise UsageError(
                f"cannot listen at {shown}: {reason}",
                hint="give a free port in --listen, or none: then the system chooses one",
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()
        if self._address is not None:
            self._address.close()

    def run_in(self, loop: EventLoop) -> None:
        """Keep the address while a loop turns."""
        if self._address is not None:
            self._address.run_in(loop)

    @property
    def adds_address(self) -> bool:
        """Whether filevault has added the address, and removes it at the end."""
        return self._address is not None

    @property
    def host(self) -> str:
        """The Host header of requests (RFC 9110 §7.2)."""
        address, port = self.listener.getsockname()[:2]
        return str(address) if port == PORT else f"{address}:{port}"


def parsed(text: str) -> tuple[str, int]:
    """Return the address and the port of `ADDRESS:PORT`. Raises UsageError."""
    address, _, port = text.rpartition(":")
    parts = address.split(".")
    is_address = len(parts) == 4 and all(
        part.isascii() and part.isdigit() and len(part) <= 3 and int(part) < 256 for part in parts
    )
    if not is_address or not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise UsageError(
            f"--listen is not an IPv4 address and a port: {printable(text, 80)!r}",
            hint="for example --listen 127.0.0.1:9911",
        )
    return address, int(port)


def check_address(address: str, origin: str, *, insecure: bool) -> None:
    """Raise UsageError for an address that others can reach, unless that is wanted."""
    if address == "0.0.0.0":  # noqa: S104 - refused
        raise UsageError(
            f"{origin} names every address of this machine",
            hint="name one: requests must have it in their Host header",
        )
    if not address.startswith("127.") and not insecure:
        raise UsageError(
            f"{origin} names an address that others can reach, without encryption",
            hint="use 127.0.0.1; serve --insecure-listen accepts it",
        )
