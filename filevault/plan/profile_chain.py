"""The profiles that a plan goes through, from the one with the credentials to the target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.aws.endpoint import Endpoint
from filevault.config.credential_source import SETTINGS
from filevault.errors import ConfigError, NoCredentialsError, NoSourceError
from filevault.partitions import FALLBACK_REGION, partition_named
from filevault.system.printable import printable, shell_word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filevault.config.profile import Profile


def chain_of(profile: Profile) -> list[Profile]:
    """Return the profiles whose credentials lead to a profile's, the target last."""
    chain = [profile]
    while chain[-1].source == "profile" and chain[-1].source_profile is not None:
        chain.append(chain[-1].source_profile)
    chain.reverse()
    return chain


def sts_endpoint(profile: Profile, chain: Sequence[Profile]) -> Endpoint:
    """Return where STS is called for a profile of a chain.

    A profile without a region takes the home region of the partition that the chain's ARNs are
    of: an access key is known in one partition only.
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


def check_source(root: Profile) -> None:
    """Refuse a chain that does not begin with a stored key.

    Raises:
        ConfigError: for a source that is not built in, and for keys in the AWS config.
        NoSourceError: for a role without anything to assume it with.
        NoCredentialsError: for a profile that names no source at all.
    """
    if root.source == "stored":
        return
    from filevault.config.export_command import parse

    shown = printable(root.name)
    add = f"filevault add {shell_word(root.name)}"
    if root.source == "config-keys":
        raise ConfigError(
            f"profile {shown!r} has its access key in the AWS config, where filevault does not "
            f"read it: {root.source_where}",
            hint=f"{add} stores it; then take it out of the file",
        )
    command = parse(root.credential_process or "") if root.source == "process" else None
    if command is not None and command.profile != root.name:
        words = " ".join(shell_word(word) for word in command.options())
        raise ConfigError(
            f"profile {shown!r} is for SDKs: its credential_process runs filevault for profile "
            f"{printable(command.profile)!r}",
            hint=f"name that profile: filevault {words and words + ' '}exec "
            f"{shell_word(command.profile)}",
        )
    if root.source in SETTINGS and command is None:
        raise ConfigError(
            f"profile {shown!r} takes its credentials from {root.source_where}, which this version "
            "of filevault cannot do",
            hint=f"store a key for it: {add}",
        )
    if root.source_where is not None and command is None:
        raise NoSourceError(
            f"profile {shown!r} has {root.source_where}, but neither a source_profile nor a "
            "stored key to assume the role with",
            hint=f"add source_profile = NAME below it, or store a key for it: {add}",
        )
    raise NoCredentialsError(
        f"profile {shown!r} has neither a stored key nor a source of credentials",
        hint=f"{add} stores a key for it (`~/.aws/credentials` is never a source)",
    )
