"""AWS regions and partitions: the form of a region's name, and which partition it belongs to.

Partitions, their regions and their home regions are those of botocore's `partitions.json`;
`tests/unit/test_regions.py` compares the two.
"""

from __future__ import annotations

from filevault.errors import ConfigError
from filevault.system.printable import printable

FALLBACK_REGION = "us-east-1"
"""The region for calls to STS where neither a region nor an ARN says otherwise."""

# What the regions of a partition begin with, and the region for callers that name none.
_PARTITIONS = {
    "aws-cn": ("cn-", "cn-northwest-1"),
    "aws-us-gov": ("us-gov-", "us-gov-west-1"),
    "aws-eusc": ("eusc-", "eusc-de-east-1"),
    "aws-iso": ("us-iso-", "us-iso-east-1"),
    "aws-iso-b": ("us-isob-", "us-isob-east-1"),
    "aws-iso-e": ("eu-isoe-", "eu-isoe-west-1"),
    "aws-iso-f": ("us-isof-", "us-isof-south-1"),
}
_LONGEST = 63  # it becomes a label of host names (RFC 1035 §2.3.4)


def partition_of(region: str) -> str:
    """Return the name of a region's partition as ARNs have it; an unknown region is in `aws`."""
    region = region.removeprefix("fips-").removesuffix("-fips")
    for name, (prefix, _home) in _PARTITIONS.items():
        if region.startswith(prefix) or region == f"{name}-global":
            return name
    return "aws"


def home_region(partition: str) -> str | None:
    """Return the region that serves callers that name none, None for an unknown partition."""
    if partition == "aws":
        return FALLBACK_REGION
    return _PARTITIONS[partition][1] if partition in _PARTITIONS else None


def is_region(text: str) -> bool:
    """Tell whether a text has the form of a region's name."""
    # Every run asks this, and compiling a regular expression costs more than the answer.
    words = text.split("-")
    return (
        len(text) <= _LONGEST
        and text.isascii()
        and not text.isdigit()
        and text == text.lower()
        and all(word.isalnum() for word in words)
    )


def check_region(region: str, where: str, hint: str | None = None) -> None:
    """Refuse a text that cannot be a region's name; raises ConfigError.

    Args:
        region: the text.
        where: the setting and its place, for the message.
        hint: a more specific hint than the one about letters in upper case.
    """
    if is_region(region):
        return
    lower = region.strip().lower()
    if hint is None and is_region(lower):
        hint = f"names of regions are in lower case: {lower}"
    raise ConfigError(f"{where} is not the name of a region: {printable(region, 80)!r}", hint=hint)
