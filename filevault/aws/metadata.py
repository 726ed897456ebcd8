"""Requests to the metadata endpoints of containers and EC2 instances."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filevault.aws.endpoint import is_loopback, redact_url
from filevault.aws.http_request import HttpRequest
from filevault.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from filevault.aws.http_request import HttpAnswer

_URL = r"(https?)://(\[[0-9a-f:.]+\]|[a-z0-9_.-]{1,253})(?::\d{1,5})?(?:/[!-~]*)?\Z"
_ATTEMPTS = 3


def check_metadata_url(
    url: str, hosts: Collection[str], *, setting: str, allow_http: bool = False
) -> None:
    """Raise ConfigError for an endpoint that no machine has.

    Plain http is for the loopback interface and for `hosts`, which only this machine can reach:
    elsewhere it would show the credentials, or take those that another machine on the way makes up.
    `setting` is the origin of the URL, for messages.
    """
    match = re.match(_URL, url, re.IGNORECASE | re.ASCII)
    if match is None:
        raise ConfigError(
            f"{setting} is not of the form http://HOST[:PORT]/PATH: {redact_url(url)!r}"
        )
    scheme, host = match.group(1).lower(), match.group(2).lower()
    if scheme == "https" or allow_http or host in hosts or is_loopback(host):
        return
    raise ConfigError(
        f"{setting} is plain http to another host than this machine's: {redact_url(url)!r}",
        hint=f"http may go to the loopback interface, {' and '.join(sorted(hosts))}; use https",
    )


def ask(
    method: str,
    url: str,
    headers: Mapping[str, str],
    *,
    subject: str,
    seconds: float,
    attempts: int = _ATTEMPTS,
) -> HttpAnswer:
    """Send a request to a metadata endpoint, never through a proxy; return the answer.

    `seconds` limits one attempt. Raises NetworkError.
    """
    request = HttpRequest(method, url, {"Accept": "*/*", **headers})
    return request.send(
        operation="the request for the machine's credentials",
        subject=subject,
        seconds=seconds,
        attempts=attempts,
        direct=True,
    )
