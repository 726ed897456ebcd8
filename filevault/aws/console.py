"""Addresses of the AWS console: its host in a region, its pages, sign-in and sign-out links.

Pure functions of regions, paths and tokens; the hosts of each partition are in
`filevault.partitions`. A sign-in link is a bearer secret for the 15 minutes in which it is valid.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filevault.errors import ConfigError, UsageError
from filevault.partitions import FALLBACK_REGION, is_region, partition_named, partition_of
from filevault.system.printable import printable
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

LINK_LIFETIME = 15 * 60
"""Seconds for which AWS accepts a sign-in link (IAM User Guide, custom identity broker access)."""

_ISSUER = "filevault"


class Console(Record):
    """The console of one region, or of a partition where `region` is None.

    `signin` is the URL of the sign-in service, `domain` the console's host without a region.
    """

    signin: str
    domain: str
    region: str | None

    @property
    def federation_url(self) -> str:
        """The URL that exchanges credentials for a sign-in token."""
        return f"{self.signin}/federation"

    def destination(self, path: str | None) -> str:
        """Return the URL of a page of the console, by default of its start page.

        `path` is what follows the host, with or without query and fragment; the region is added
        to the query unless it names one. Raises UsageError if it is no such path.
        """
        host = self.domain if self.region is None else f"{self.region}.{self.domain}"
        if path is None:
            return f"https://{host}/" + "".join(
                f"console/home?region={region}" for region in self._regions()
            )
        if not path.isprintable() or re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:", path):
            raise UsageError(
                f"{printable(path, 200)!r} is not a path of the console",
                hint="give what follows the host, for example --path s3/buckets",
            )
        page, mark, fragment = path.lstrip("/").partition("#")
        page, _, query = page.partition("?")
        parts = [part for part in query.split("&") if part]
        if not any(part.startswith("region=") for part in parts):
            parts += [f"region={region}" for region in self._regions()]
        return f"https://{host}/{page}{'?' if parts else ''}{'&'.join(parts)}{mark}{fragment}"

    def link(self, token: str, destination: str) -> str:
        """Return the link that signs in with a token; like the token, it is a secret."""
        return (
            f"{self.federation_url}?Action=login&Issuer={_ISSUER}"
            f"&Destination={_escaped(destination)}&SigninToken={_escaped(token)}"
        )

    def after_logout(self, link: str) -> str:
        """Return a link that signs the browser out of this partition, then follows `link`."""
        return f"{self.signin}/oauth?Action=logout&redirect_uri={_escaped(link)}"

    def _regions(self) -> Iterator[str]:
        if self.region is not None:
            yield self.region


def console_of(region: str | None, arn: str | None, signin_url: str | None) -> Console:
    """Return the console of a region, or of a partition.

    Args:
        region: determines the partition.
        arn: the identity that signs in; determines the partition where there is no region.
        signin_url: another address of the sign-in service, None for the partition's.

    Raises ConfigError if `region` cannot be the name of one.
    """
    if region is not None and not is_region(region):
        raise ConfigError(
            f"there is no region {printable(region, 80)!r}",
            hint="correct region in the AWS config, AWS_REGION or --region",
        )
    if region is not None:
        partition = partition_of(region)
    else:
        name = arn.split(":")[1] if arn is not None and arn.count(":") > 1 else ""
        partition = partition_named(name) or partition_of(FALLBACK_REGION)
    if region is not None and region.endswith("-global"):
        region = None  # botocore's name for the services of a partition that have no region
    host = f"https://{region or partition.home}.{partition.signin_domain}"
    return Console((signin_url or host).rstrip("/"), partition.console_domain, region)


def _escaped(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")
