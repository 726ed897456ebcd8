"""Where a call to STS goes: region, address and how the region is turned into one."""

from __future__ import annotations

import re
from typing import NamedTuple

from filevault.errors import ConfigError
from filevault.printable import printable

FALLBACK_REGION = "us-east-1"
"""The region that STS calls of a profile without one go to."""

_URL = re.compile(
    r"(https?)://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d{1,5})?(?:/[!-~]*)?\Z", re.IGNORECASE
)
_LOOPBACK = re.compile(r"127(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){3}\Z", re.ASCII)


class Endpoint(NamedTuple):
    """One endpoint: `url` wins over what botocore would make of `region`.

    `sts_regional_endpoints` is `regional` or `legacy`.
    """

    region: str
    url: str | None = None
    sts_regional_endpoints: str = "regional"


def check_url(url: str, *, allow_http: bool) -> None:
    """Refuse an address that would carry session tokens in the clear.

    Plain http is for the loopback interface only, unless `allow_http`. Raises ConfigError.
    """
    match = _URL.match(url)
    if match is None:
        raise ConfigError(
            f"the endpoint URL {printable(url, 200)!r} is not of the form https://HOST[:PORT]",
            hint="correct endpoint_url in the AWS config, or the AWS_ENDPOINT_URL variables",
        )
    scheme, host = match.group(1).lower(), match.group(2).lower()
    if scheme == "https" or allow_http or host in ("localhost", "[::1]") or _LOOPBACK.match(host):
        return
    raise ConfigError(
        f"the endpoint URL {printable(url, 200)!r} is plain http, which shows the credentials to "
        "everybody on the way",
        hint="use https, or --allow-http where the network itself is trusted",
    )
