"""Values that came from environment variables, for `--explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.aws.endpoint import redact_url
from filevault.system.printable import printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from filevault.config.profile import Overrides
    from filevault.config.settings import Settings

POD = ("AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_WEB_IDENTITY_TOKEN_FILE")

# The overrides of a profile, with the variables that can hold each.
_OVERRIDES = {
    "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
    "mfa_serial": ("AWS_MFA_SERIAL",),
    "sts_regional_endpoints": ("AWS_STS_REGIONAL_ENDPOINTS",),
    "use_fips_endpoint": ("AWS_USE_FIPS_ENDPOINT",),
    "use_dualstack_endpoint": ("AWS_USE_DUALSTACK_ENDPOINT",),
    "ignore_configured_endpoints": ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",),
    "ca_bundle": ("AWS_CA_BUNDLE",),
    "account_id_endpoint_mode": ("AWS_ACCOUNT_ID_ENDPOINT_MODE",),
    "role_arn": ("AWS_ROLE_ARN",),
    "role_session_name": ("AWS_ROLE_SESSION_NAME",),
    "session_tags": ("AWS_SESSION_TAGS",),
    "transitive_session_tags": ("AWS_TRANSITIVE_TAGS",),
    "source_identity": ("AWS_SOURCE_IDENTITY",),
}


def is_pod(settings: Settings) -> bool:
    """Tell whether AWS_ROLE_ARN is the identity of the pod that this runs in.

    Kubernetes sets it together with AWS_WEB_IDENTITY_TOKEN_FILE (IAM roles for service accounts);
    then it is no override of a profile.
    """
    return bool(settings.get("AWS_ROLE_ARN") and settings.get("AWS_WEB_IDENTITY_TOKEN_FILE"))


def lines(args: argparse.Namespace, settings: Settings, overrides: Overrides) -> list[str]:
    """Return the lines that name each value of a plan that came from a variable."""
    found = [f"  - {name}: {shown}" for name, shown in _values(args, settings, overrides)]
    if is_pod(settings):
        names = ", ".join(name for name in POD if settings.get(name))
        found.append(f"  - ignored, because together they are the identity of a pod: {names}")
    return ["from variables:", *found] if found else []


def _values(
    args: argparse.Namespace, settings: Settings, overrides: Overrides
) -> Iterator[tuple[str, str]]:
    get = settings.get
    profile, path = get("AWS_PROFILE"), get("AWS_CONFIG_FILE")
    if path:
        yield "AWS_CONFIG_FILE", f"the AWS config {printable(settings.aws_config_path)}"
    if profile and not args.profile:
        yield "AWS_PROFILE", f"profile {printable(profile)}"
    for field, names in _OVERRIDES.items():
        value = getattr(overrides, field)
        # An option beats the variable.
        name = next((each for each in names if value is not None and get(each)), None)
        if name is None or value == getattr(args, field, None):
            continue
        shown = str(value).lower() if isinstance(value, bool) else printable(value)
        yield name, f"{field} {shown}"
    if not overrides.ignore_configured_endpoints:
        for service, url in sorted(overrides.endpoint_urls.items()):
            name = "AWS_ENDPOINT_URL" + (f"_{service.upper()}" if service else "")
            of = f" of {printable(service)}" if service else ""
            yield printable(name), f"endpoint_url{of} {redact_url(url)}"
    if args.duration is None and get("AWS_VAULT_DURATION"):
        yield "AWS_VAULT_DURATION", f"duration {printable(get('AWS_VAULT_DURATION'))}"
    if args.min_ttl is None and get("AWS_MIN_TTL"):
        yield "AWS_MIN_TTL", f"min-ttl {printable(get('AWS_MIN_TTL'))}"
