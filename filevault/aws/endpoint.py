"""Endpoint: the region and URL of a call; checks and redaction of URLs."""

from __future__ import annotations

import re

from filevault.errors import ConfigError
from filevault.partitions import partition_of
from filevault.system.printable import printable
from filevault.system.record import Record

# Regions whose STS calls go to the global endpoint in legacy mode (botocore 1.44,
# LEGACY_GLOBAL_STS_REGIONS).
_LEGACY_GLOBAL = frozenset(
    {
        "ap-northeast-1",
        "ap-south-1",
        "ap-southeast-1",
        "ap-southeast-2",
        "aws-global",
        "ca-central-1",
        "eu-central-1",
        "eu-north-1",
        "eu-west-1",
        "eu-west-2",
        "eu-west-3",
        "sa-east-1",
        "us-east-1",
        "us-east-2",
        "us-west-1",
        "us-west-2",
    }
)

_OF_LABEL = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")
_OF_ADDRESS = frozenset("0123456789abcdef:.")  # of IPv6, which a URL has in brackets
# Compiled on first use, because most profiles have no URL.
_ORIGIN = r"(https?://)?(?:[^/?#@\s]*@)?((?:\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::\d*)?)(?=[/?#]|\Z)"
_LAST_PORT = 65535


class Endpoint(Record):
    """The endpoint of a call: `url` or, without it, botocore's for `region`.

    `sts_regional_endpoints` is `regional` or `legacy`; `use_fips` and `use_dualstack` select
    among the endpoints of a region.
    """

    region: str
    url: str | None = None
    sts_regional_endpoints: str = "regional"
    use_fips: bool = False
    use_dualstack: bool = False

    @property
    def fips(self) -> bool:
        """Whether this is a FIPS endpoint, also by one of botocore's pseudo-regions."""
        return self.use_fips or self.region.startswith("fips-") or self.region.endswith("-fips")

    @property
    def global_version_1(self) -> bool:
        """Whether this is the global endpoint of STS, which issues tokens of version 1.

        Such a session is not valid in regions that are disabled by default (IAM User Guide,
        "Managing AWS STS in an AWS Region"). The conditions are those of botocore's endpoint rules
        for STS.
        """
        if self.url is not None or self.fips or self.use_dualstack:
            return False
        legacy = self.sts_regional_endpoints == "legacy" and self.region in _LEGACY_GLOBAL
        return legacy or self.region == "aws-global"

    @property
    def identity(self) -> dict[str, object]:
        """The part of the endpoint that a session depends on, for the hash of cached sessions.

        Without the region, because sessions of regional endpoints are valid in every region of
        the partition.
        """
        return {
            "endpoint": self.url,
            "global_version_1": self.global_version_1,
            "partition": partition_of(self.region).name,
            "use_fips": self.fips,
        }


SETTINGS = "endpoint_url in the AWS config, or the AWS_ENDPOINT_URL variables"
"""The settings for URLs of endpoints, except the sign-in service's, for messages."""


def check_url(url: str, *, allow_http: bool, setting: str = SETTINGS) -> None:
    """Raise ConfigError for a URL that is malformed or would send credentials unencrypted.

    Plain http is allowed for the loopback interface, and elsewhere with `allow_http`. `setting` is
    the origin of the URL, for messages.
    """
    found = _scheme_and_host(url)
    if found is None:
        raise ConfigError(
            f"the endpoint URL {redact_url(url)!r} is not of the form https://HOST[:PORT]",
            hint=f"correct {setting}",
        )
    scheme, host = found
    if scheme == "https" or allow_http or is_loopback(host):
        return
    raise ConfigError(
        f"the endpoint URL {redact_url(url)!r} is plain http, which shows the credentials to "
        "everybody on the way",
        hint=f"use https in {setting}, or --allow-http or FILEVAULT_ALLOW_HTTP=1 where the "
        "network itself is trusted",
    )


def _scheme_and_host(url: str) -> tuple[str, str] | None:
    """Return scheme and host of `https://HOST[:PORT][/PATH]`, in lower case; None for other forms.

    Without regular expressions: compiling one takes longer than everything else about a URL.
    """
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if scheme not in ("http", "https") or not separator or not rest.isascii():
        return None
    authority, _slash, path = rest.lower().partition("/")
    if not path.isprintable() or " " in path:
        return None
    if authority.startswith("["):
        address, bracket, port = authority[1:].partition("]")
        host, valid = f"[{address}]", bool(address and bracket) and _OF_ADDRESS.issuperset(address)
    else:
        host, colon, port = authority.partition(":")
        port = colon + port
        labels = host.removesuffix(".").split(".")
        valid = all(1 <= len(each) <= 63 and _OF_LABEL.issuperset(each) for each in labels)
    return (scheme, host) if valid and _is_port(port) else None


def _is_port(text: str) -> bool:
    """Return whether a text is empty, or a colon and the number of a port."""
    number = text[1:]
    if not text or not number.isdigit():
        return not text
    return text[0] == ":" and len(number) <= 5 and int(number) <= _LAST_PORT


def is_loopback(host: str) -> bool:
    """Return whether a host, in lower case and as URLs have it, is the loopback interface."""
    first, *others = host.split(".")
    if first == "127" and host.isascii() and len(others) == 3:
        return all(map(_is_octet, others))
    return host in ("localhost", "[::1]")


def _is_octet(text: str) -> bool:
    """Return whether a text is a decimal number up to 255, of at most three digits."""
    return text.isdigit() and (len(text) < 3 or (len(text) == 3 and "100" <= text <= "255"))


def stays_here(url: str) -> bool:
    """Return whether a URL leads to the loopback interface."""
    found = _scheme_and_host(url)
    return found is not None and is_loopback(found[1])


def redact_url(url: str) -> str:
    """Return scheme, host and port of a URL; its other parts may be secrets.

    Return only the scheme if the URL cannot be parsed with certainty.
    """
    match = re.match(_ORIGIN, url, re.IGNORECASE | re.ASCII)
    if match is None or "@" in url[match.end() :]:
        scheme = re.match(r"https?://", url, re.IGNORECASE | re.ASCII)
        return f"{scheme[0] if scheme else ''}..."
    return printable(f"{match[1] or ''}{match[2]}", 200)


def without_urls(text: str) -> str:
    """Return a text from outside with its URLs redacted by `redact_url`.

    Text before an @ is redacted without a scheme, too, because proxies are written so. Takes time
    quadratic in the text's length.
    """
    text = re.sub(
        r"[a-zA-Z][a-zA-Z0-9+.-]{0,30}://(?:\S*@)?[^\s\"'<>]*",
        lambda found: redact_url(found[0]),
        text,
    )
    return re.sub(r"[^\s\"'<>]+:\S*@", "***@", text)
