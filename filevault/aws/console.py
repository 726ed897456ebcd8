"""The AWS console: the hosts of each partition, where a link leads, and what a sign-in link is.

Pure: regions, paths and tokens go in, addresses come out. A sign-in link is a bearer secret for
the fifteen minutes in which it can be used.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filevault.errors import ConfigError, UsageError
from filevault.system.printable import printable
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

LINK_LIFE = 15 * 60
"""Seconds in which AWS accepts a sign-in link (IAM User Guide, custom identity broker access)."""

_ISSUER = "filevault"
_REGION = r"[a-z0-9]+(?:-[a-z0-9]+)*\Z"  # it becomes part of a host's name
_LONGEST_REGION = 63


class Partition(Record):
    """A partition of AWS: its name in ARNs, what its regions begin with, and its two domains.

    `home` is the region whose sign-in host serves those who name no region. Sign-in domains are
    those of botocore's endpoint rules for `signin`, home regions those of its partitions; the
    console's domains of the iso partitions follow their sign-in domains.
    """

    name: str
    prefix: str
    home: str
    signin: str
    console: str


_AWS = Partition("aws", "", "us-east-1", "signin.aws.amazon.com", "console.aws.amazon.com")
PARTITIONS = (
    Partition("aws-cn", "cn-", "cn-northwest-1", "signin.amazonaws.cn", "console.amazonaws.cn"),
    Partition(
        "aws-us-gov",
        "us-gov-",
        "us-gov-west-1",
        "signin.amazonaws-us-gov.com",
        "console.amazonaws-us-gov.com",
    ),
    Partition(
        "aws-eusc",
        "eusc-",
        "eusc-de-east-1",
        "signin.amazonaws-eusc.eu",
        "console.amazonaws-eusc.eu",
    ),
    Partition(
        "aws-iso", "us-iso-", "us-iso-east-1", "signin.c2shome.ic.gov", "console.c2shome.ic.gov"
    ),
    Partition(
        "aws-iso-b",
        "us-isob-",
        "us-isob-east-1",
        "signin.sc2shome.sgov.gov",
        "console.sc2shome.sgov.gov",
    ),
    Partition(
        "aws-iso-e",
        "eu-isoe-",
        "eu-isoe-west-1",
        "signin.csphome.adc-e.uk",
        "console.csphome.adc-e.uk",
    ),
    Partition(
        "aws-iso-f",
        "us-isof-",
        "us-isof-south-1",
        "signin.csphome.hci.ic.gov",
        "console.csphome.hci.ic.gov",
    ),
    _AWS,  # the last one: its regions are all the others
)


class Console(Record):
    """The console of one region, or of a partition where `region` is None.

    `signin` is the address of the sign-in service, `domain` the console's.
    """

    signin: str
    domain: str
    region: str | None

    @property
    def federation_url(self) -> str:
        """Where credentials are exchanged for a sign-in token."""
        return f"{self.signin}/federation"

    def destination(self, path: str | None) -> str:
        """Return the address of a page of the console; its start page where `path` is None.

        `path` is what follows the host, with or without query and fragment; the region is added
        to its query unless it names one. Raises UsageError.
        """
        host = self.domain if self.region is None else f"{self.region}.{self.domain}"
        if path is None:
            return f"https://{host}/" + "".join(
                f"console/home?region={region}" for region in self._regions()
            )
        if not path.isprintable() or re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:", path):
            raise UsageError(
                f"{printable(path, 200)!r} is no path of the console",
                hint="give what follows the host, for example --path s3/buckets",
            )
        page, mark, fragment = path.lstrip("/").partition("#")
        page, _, query = page.partition("?")
        parts = [part for part in query.split("&") if part]
        if not any(part.startswith("region=") for part in parts):
            parts += [f"region={region}" for region in self._regions()]
        return f"https://{host}/{page}{'?' if parts else ''}{'&'.join(parts)}{mark}{fragment}"

    def link(self, token: str, destination: str) -> str:
        """Return the sign-in link for a sign-in token, which makes it a secret."""
        return (
            f"{self.federation_url}?Action=login&Issuer={_ISSUER}"
            f"&Destination={_escaped(destination)}&SigninToken={_escaped(token)}"
        )

    def after_logout(self, link: str) -> str:
        """Return the link that first ends the session that the browser has in this partition."""
        return f"{self.signin}/oauth?Action=logout&redirect_uri={_escaped(link)}"

    def _regions(self) -> Iterator[str]:
        if self.region is not None:
            yield self.region


def console_of(region: str | None, arn: str | None, signin_url: str | None) -> Console:
    """Return the console that a person means.

    Args:
        region: the region asked for; it decides the partition.
        arn: whose credentials sign in; it decides where there is no region.
        signin_url: another address of the sign-in service, None for the partition's.

    Raises ConfigError for a region that cannot be one.
    """
    if region is not None and not (
        len(region) <= _LONGEST_REGION and re.match(_REGION, region, re.ASCII)
    ):
        raise ConfigError(
            f"there is no region {printable(region, 80)!r}",
            hint="correct region in the AWS config, AWS_REGION or --region",
        )
    partition = _partition(region, arn)
    if region is not None and region.endswith("-global"):
        region = None  # botocore's name for the services of a partition that have no region
    host = f"https://{region or partition.home}.{partition.signin}"
    return Console((signin_url or host).rstrip("/"), partition.console, region)


def _partition(region: str | None, arn: str | None) -> Partition:
    if region is None:
        name = arn.split(":")[1] if arn is not None and arn.count(":") > 1 else _AWS.name
        return next((each for each in PARTITIONS if each.name == name), _AWS)
    for partition in PARTITIONS:
        if region == f"{partition.name}-global" or region.startswith(partition.prefix):
            return partition
    return _AWS


def _escaped(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")
