"""Where a call to STS goes: region, address and how the region is turned into one."""

from __future__ import annotations

import re

from filevault.errors import ConfigError
from filevault.printable import printable
from filevault.values import Value

FALLBACK_REGION = "us-east-1"
"""The region that STS calls of a profile without one go to."""

# Compiled when the first URL is met: most profiles have none, and each command would pay.
_URL = (
    r"(https?)://(\[[0-9a-f:.]+\]|(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?)(?::(\d{1,5}))?"
    r"(?:/[!-~]*)?\Z"
)
_LOOPBACK = r"(?:localhost|\[::1\]|127(?:\.(?:25[0-5]|2[0-4]\d|1?\d?\d)){3})\Z"
_LAST_PORT = 65535


class Endpoint(Value):
    """One endpoint: `url` wins over what botocore would make of `region`.

    `sts_regional_endpoints` is `regional` or `legacy`; `use_fips` and `use_dualstack` choose
    among the addresses of a region.
    """

    region: str
    url: str | None = None
    sts_regional_endpoints: str = "regional"
    use_fips: bool = False
    use_dualstack: bool = False


def check_url(url: str, *, allow_http: bool) -> None:
    """Refuse an address that would carry session tokens in the clear.

    Plain http is for the loopback interface only, unless `allow_http`. Raises ConfigError.
    """
    match = re.match(_URL, url, re.IGNORECASE | re.ASCII)
    if match is None or int(match.group(3) or 0) > _LAST_PORT:
        raise ConfigError(
            f"the endpoint URL {printable(url, 200)!r} is not of the form https://HOST[:PORT]",
            hint="correct endpoint_url in the AWS config, or the AWS_ENDPOINT_URL variables",
        )
    scheme, host = match.group(1).lower(), match.group(2).lower()
    if scheme == "https" or allow_http or re.match(_LOOPBACK, host, re.ASCII):
        return
    raise ConfigError(
        f"the endpoint URL {printable(url, 200)!r} is plain http, which shows the credentials to "
        "everybody on the way",
        hint="use https, or --allow-http where the network itself is trusted",
    )
