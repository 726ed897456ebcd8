"""The endpoint of STS for a profile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.aws.endpoint import Endpoint
from filevault.partitions import FALLBACK_REGION, partition_named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filevault.config.profile import Profile


def sts_endpoint(profile: Profile, chain: Sequence[Profile]) -> Endpoint:
    """Return the endpoint of STS for a profile.

    A profile without a region gets the home region of the partition in the ARNs of its `chain`:
    an access key is known in one partition only.
    """
    return Endpoint(
        profile.region or _home(chain),
        profile.sts_endpoint_url,
        profile.sts_regional_endpoints or "regional",
        profile.use_fips_endpoint,
        profile.use_dualstack_endpoint,
    )


def _home(chain: Sequence[Profile]) -> str:
    arns = [each.role_arn for each in chain] + [each.mfa_serial for each in chain]
    for arn in arns:
        parts = (arn or "").split(":")
        partition = partition_named(parts[1]) if parts[0] == "arn" and len(parts) > 1 else None
        if partition is not None:
            return partition.home
    return FALLBACK_REGION
