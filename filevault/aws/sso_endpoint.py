"""The endpoints of Identity Center: its OIDC service and its access portal.

The hosts are those of botocore's endpoint rules for `sso-oidc` and `sso`; tests compare them.
"""

from __future__ import annotations

from filevault.partitions import partition_of

_SUFFIXES = {
    "aws": ("amazonaws.com", "api.aws"),
    "aws-cn": ("amazonaws.com.cn", "api.amazonwebservices.com.cn"),
    "aws-us-gov": ("amazonaws.com", "api.aws"),
    "aws-eusc": ("amazonaws.eu", "api.amazonwebservices.eu"),
    "aws-iso": ("c2s.ic.gov", "api.aws.ic.gov"),
    "aws-iso-b": ("sc2s.sgov.gov", "api.aws.scloud"),
    "aws-iso-e": ("cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"),
    "aws-iso-f": ("csp.hci.ic.gov", "api.aws.hci.ic.gov"),
}
"""Partition to the suffixes of its hosts: the usual one, and that of dual-stack endpoints."""

OIDC = "oidc"
PORTAL = "portal.sso"


def sso_url(service: str, region: str, *, use_fips: bool, use_dualstack: bool) -> str:
    """Return the URL of OIDC or PORTAL in a region."""
    partition = partition_of(region).name
    suffix = _SUFFIXES[partition][use_dualstack]
    # The endpoints of GovCloud are FIPS endpoints as they are.
    fips = "-fips" if use_fips and (use_dualstack or partition != "aws-us-gov") else ""
    return f"https://{service}{fips}.{region}.{suffix}"
