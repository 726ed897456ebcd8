"""A service over TLS, with a certificate that no machine trusts."""

from __future__ import annotations

import contextlib
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.conditions.tools import tool
from tests.fakes.server import FakeServer, Respond


class TlsService(NamedTuple):
    """Its URL, and the path of its certificate."""

    url: str
    certificate: str


@contextlib.contextmanager
def tls_service(folder: Path, respond: Respond) -> Iterator[TlsService]:
    """Serve `respond`; key and certificate are written into a folder."""
    key, certificate = str(folder / "key"), str(folder / "certificate")
    subprocess.run(
        [
            *(tool("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with FakeServer(respond, tls=context) as server:
        yield TlsService(f"https://localhost:{server.server_port}", certificate)
