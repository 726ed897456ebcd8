"""The time of AWS, as the `Date` of an answer of STS says it; the request is not signed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from filevault.aws.endpoint import check_url
from filevault.aws.http_request import HttpRequest
from filevault.partitions import partition_of

if TYPE_CHECKING:
    from filevault.aws.endpoint import Endpoint

_TIMEOUT = 5.0  # seconds


def sts_url(endpoint: Endpoint) -> str:
    """Return the URL of STS: the configured one, else that of the region."""
    if endpoint.url is not None:
        return endpoint.url
    from botocore.loaders import create_loader

    name = partition_of(endpoint.region).name
    found: Any = create_loader().load_data("partitions")
    suffix = next(
        each["outputs"]["dnsSuffix"] for each in found["partitions"] if each["id"] == name
    )
    return f"https://sts.{endpoint.region}.{suffix}/"


def server_date(url: str, *, allow_http: bool) -> str | None:
    """Return the `Date` header of an answer, None if there is none.

    Raises NetworkError, ConfigError.
    """
    check_url(url, allow_http=allow_http)
    request = HttpRequest("GET", url, {})
    answer = request.send(
        operation="asking for the time",
        subject="the clock",
        seconds=_TIMEOUT,
    )
    return answer.date
