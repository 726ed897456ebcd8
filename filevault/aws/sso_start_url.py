"""Vanity start URLs: which start URL of AWS a company's own address leads to.

The rules are the AWS CLI's: an address of AWS is used as it is; any other one may redirect once,
and only to an address of AWS.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filevault.aws.attempt import Attempt
from filevault.errors import ConfigError, NetworkError
from filevault.partitions import is_region
from filevault.system.printable import printable
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.config.sso_session import SsoSession

_SUFFIXES = (
    ".app.aws",
    ".portal.amazonaws.com",
    ".portal.amazonaws.com.cn",
    ".app.amazonwebservices.com.cn",
    ".portal.amazonaws.eu",
    ".api.amazonwebservices.eu",
    ".awsapps.com",
    ".awsapps.cn",
)
_HOSTS = frozenset(
    {
        "identitycenter.amazonaws.com",
        "identitycenter.amazonaws.com.cn",
        "identitycenter.amazonaws.eu",
        "identitycenter.us-gov.amazonaws.com",
    }
)
_REGION = re.compile(
    r"[^.]+\.(?:portal\.([a-z0-9-]+)\.(?:app\.aws|app\.amazonwebservices\.com\.cn"
    r"|api\.amazonwebservices\.eu)"
    r"|([a-z0-9-]+)\.portal\.amazonaws\.(?:com|com\.cn|eu))"
)
_REDIRECTIONS = (301, 302, 303, 307, 308)
_NO_HEAD = (405, 501)
_DEADLINE = 10.0
_LONGEST = 2048  # characters, as of a start URL in the AWS config


class StartUrl(Record):
    """A start URL of AWS and the region of its Identity Center instance."""

    url: str
    region: str


def resolve(
    session: SsoSession, ask: Callable[[str, str, Attempt, float], tuple[int, str | None]]
) -> StartUrl:
    """Return the start URL and the region with which a session signs in.

    `ask` makes a request (method, URL, attempt, seconds), and returns the status and `Location`;
    it is called only for an address that is not one of AWS's. Raises ConfigError, NetworkError.
    """
    url = session.start_url
    if is_aws(url):
        return StartUrl(url, session.region)
    attempt = Attempt("resolving sso_start_url", session.shown, (), None)
    status, location = ask("HEAD", url, attempt, _DEADLINE)
    if status in _NO_HEAD:
        status, location = ask("GET", url, attempt, _DEADLINE)
    if status not in _REDIRECTIONS or not location:
        raise NetworkError(
            f"sso_start_url of {session.shown} is no address of AWS, and answers {status} instead "
            "of leading to one",
            hint="check sso_start_url in the AWS config: the access portal shows the right one",
        )
    return _target(session, location)


def is_aws(url: str) -> bool:
    """Return whether a URL is an https URL at AWS."""
    from urllib.parse import urlsplit

    from filevault.aws.endpoint import check_url

    try:
        # urlsplit takes `https://evil.example\.awsapps.com` for a host at AWS; a browser does not.
        check_url(url.partition("#")[0], allow_http=False)
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
    except (ConfigError, ValueError):
        return False
    return parts.scheme == "https" and (host in _HOSTS or host.endswith(_SUFFIXES))


def _target(session: SsoSession, location: str) -> StartUrl:
    from urllib.parse import urljoin, urlsplit

    refusal = ConfigError(
        f"sso_start_url of {session.shown} leads to {printable(location, 200)!r}, which is no "
        "address of AWS",
        hint="check sso_start_url in the AWS config",
    )
    try:
        parts = urlsplit(urljoin(session.start_url, location))
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise refusal from None
    authority = host if port in (None, 443) else f"{host}:{port}"
    url = f"{parts.scheme}://{authority}{parts.path.rstrip('/')}"
    if not is_aws(url) or parts.username is not None or len(url) > _LONGEST:
        raise refusal
    found = _REGION.fullmatch(host)
    region = (found[1] or found[2]) if found is not None else ""
    return StartUrl(url, region if region and is_region(region) else session.region)
