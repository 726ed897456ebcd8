"""The table of AWS partitions: their regions, their console and sign-in hosts, IAM's regions.

Names, regions and home regions are those of botocore's `partitions.json`, IAM's regions those of
its endpoint rules for `iam`, sign-in hosts those of its rules for `signin`. The console's hosts in
the iso partitions follow their sign-in hosts. Tests compare the table with botocore.
"""

from __future__ import annotations

from filevault.errors import ConfigError
from filevault.system.printable import printable
from filevault.system.record import Record

FALLBACK_REGION = "us-east-1"
"""The region for calls to STS where neither a region nor an ARN determines one."""

_MAX_LENGTH = 63  # a region becomes a label of host names (RFC 1035 §2.3.4)


class Partition(Record):
    """A partition of AWS.

    `name` is as in ARNs. `prefix` is what the names of its regions begin with. `home` is the
    region for callers that name none, `iam` the region that requests to IAM are signed for.
    `web_domain` is the common domain of console and sign-in.
    """

    name: str
    prefix: str
    home: str
    iam: str
    web_domain: str

    @property
    def console_domain(self) -> str:
        """The console's host, without a region."""
        return f"console.{self.web_domain}"

    @property
    def signin_domain(self) -> str:
        """The host of the sign-in service, without a region."""
        return f"signin.{self.web_domain}"


_AWS = Partition("aws", "", FALLBACK_REGION, "us-east-1", "aws.amazon.com")
PARTITIONS = (
    Partition("aws-cn", "cn-", "cn-northwest-1", "cn-north-1", "amazonaws.cn"),
    Partition("aws-us-gov", "us-gov-", "us-gov-west-1", "us-gov-west-1", "amazonaws-us-gov.com"),
    Partition("aws-eusc", "eusc-", "eusc-de-east-1", "eusc-de-east-1", "amazonaws-eusc.eu"),
    Partition("aws-iso", "us-iso-", "us-iso-east-1", "us-iso-east-1", "c2shome.ic.gov"),
    Partition("aws-iso-b", "us-isob-", "us-isob-east-1", "us-isob-east-1", "sc2shome.sgov.gov"),
    Partition("aws-iso-e", "eu-isoe-", "eu-isoe-west-1", "eu-isoe-west-1", "csphome.adc-e.uk"),
    Partition("aws-iso-f", "us-isof-", "us-isof-south-1", "us-isof-south-1", "csphome.hci.ic.gov"),
    _AWS,  # last: its empty prefix matches every region
)


def partition_of(region: str) -> Partition:
    """Return the partition of a region; an unknown region is in `aws`."""
    region = region.removeprefix("fips-").removesuffix("-fips")
    for partition in PARTITIONS:
        if region.startswith(partition.prefix) or region == f"{partition.name}-global":
            return partition
    return _AWS


def partition_named(name: str) -> Partition | None:
    """Return the partition that ARNs call `name`, None if it is unknown."""
    return next((each for each in PARTITIONS if each.name == name), None)


def is_region(text: str) -> bool:
    """Return whether a text has the form of a region's name."""
    # Every run calls this, and compiling a regular expression costs more than the check.
    words = text.split("-")
    return (
        len(text) <= _MAX_LENGTH
        and text.isascii()
        and not text.isdigit()
        and text == text.lower()
        and all(word.isalnum() for word in words)
    )


def check_region(region: str, where: str, hint: str | None = None) -> None:
    """Raise ConfigError unless a text has the form of a region's name.

    Args:
        region: the text.
        where: the setting that it comes from, for the message.
        hint: a more specific hint than the one about upper case.
    """
    if is_region(region):
        return
    lower = region.strip().lower()
    if hint is None and is_region(lower):
        hint = f"names of regions are in lower case: {lower}"
    raise ConfigError(f"{where} is not the name of a region: {printable(region, 80)!r}", hint=hint)
