"""The proxies that botocore takes from the environment, checked before they are used.

What is for the loopback interface goes to none: it is plain http, and meant for this machine.
Messages contain only the name of the variable: its value may contain a password, at an unknown
position if it is malformed.
"""

from __future__ import annotations

import re

from filevault.aws.endpoint import stays_here
from filevault.errors import ConfigError

# User and password may contain anything that does not end them in a URL (RFC 3986, §3.2.1);
# botocore accepts http and https, and assumes http for a value without a scheme.
_PROXY = (
    r"(?:https?:)?(?://)?(?:[^\s/?#@\[\]\\]*@)?"
    r"(?:\[[0-9a-f:.]+\]|[a-z0-9_.-]{1,255})(?::(\d{1,5}))?/?\Z"
)
_LAST_PORT = 65535


def proxies_for(url: str) -> dict[str, str]:
    """Return the proxies for a URL, by scheme; none for the loopback interface.

    botocore selects the variable, with NO_PROXY considered. Raises ConfigError for a malformed
    value.
    """
    from botocore.utils import get_environ_proxies

    if stays_here(url):
        return {}
    scheme = url.partition(":")[0].lower()
    found: dict[str, str] = get_environ_proxies(url)
    value = found.get(scheme)
    if not value:
        return found
    match = re.match(_PROXY, value, re.IGNORECASE | re.ASCII)
    if match is not None and int(match[1] or 0) <= _LAST_PORT:
        return found
    raise ConfigError(
        f"{scheme.upper()}_PROXY (or {scheme}_proxy) is not of the form "
        "http://[USER:PASSWORD@]HOST[:PORT]",
        hint="in user and password write / as %2F, @ as %40, : as %3A, ? as %3F and # as %23",
    )
