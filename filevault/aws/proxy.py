"""The proxy that botocore takes from the environment: checked before anything is sent to it.

Only the name of the variable is ever shown. The value may hold a password, and where it is not
well formed nobody can tell which part of it that is.
"""

from __future__ import annotations

import re

from filevault.errors import ConfigError

# User and password may hold anything that does not end them in a URL (RFC 3986, section 3.2.1);
# botocore takes http and https, and a value without a scheme for http.
_PROXY = (
    r"(?:https?:)?(?://)?(?:[^\s/?#@\[\]\\]*@)?"
    r"(?:\[[0-9a-f:.]+\]|[a-z0-9_.-]{1,255})(?::(\d{1,5}))?/?\Z"
)
_LAST_PORT = 65535


def check_proxy(url: str) -> None:
    """Raise ConfigError if the proxy for an address is none that could be used.

    Which variable counts is botocore's decision, NO_PROXY included.
    """
    from botocore.utils import get_environ_proxies

    scheme = url.partition(":")[0].lower()
    value = get_environ_proxies(url).get(scheme)
    if not value:
        return
    match = re.match(_PROXY, value, re.IGNORECASE | re.ASCII)
    if match is not None and int(match[1] or 0) <= _LAST_PORT:
        return
    raise ConfigError(
        f"{scheme.upper()}_PROXY (or {scheme}_proxy) is not of the form "
        "http://[USER:PASSWORD@]HOST[:PORT]",
        hint="in user and password write / as %2F, @ as %40, : as %3A, ? as %3F and # as %23",
    )
