"""Environment variables and options that override settings of a profile: one table."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from filevault.partitions import check_region
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

    from filevault.config.settings import Settings

TEXT = "text"
SWITCH = "switch"
URL = "url"
DURATION = "duration"


class OverridingVariable(Record):
    """One variable, or with `*` at the end all that begin so.

    `setting` is the field of `Overrides` or, for one that goes into a plan otherwise, what it
    sets. `type` is TEXT, SWITCH, URL or DURATION. `meaning` is its name in `--explain`, the
    setting unless given. `option` is the command line option that goes before the variable, as
    argparse names it. `target_only` keeps a value from the profiles that the target takes its
    credentials from.
    """

    name: str
    setting: str
    type: str = TEXT
    meaning: str | None = None
    option: str | None = None
    target_only: bool = False


# In the order in which --explain shows them; of two for one setting the first goes before.
VARIABLES = (
    OverridingVariable("AWS_CONFIG_FILE", "config_file", meaning="the AWS config"),
    OverridingVariable("AWS_PROFILE", "profile", option="profile"),
    OverridingVariable("AWS_REGION", "region", option="region"),
    OverridingVariable("AWS_DEFAULT_REGION", "region", option="region"),
    OverridingVariable("AWS_MFA_SERIAL", "mfa_serial"),
    OverridingVariable("AWS_STS_REGIONAL_ENDPOINTS", "sts_regional_endpoints"),
    OverridingVariable("AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint", SWITCH),
    OverridingVariable("AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint", SWITCH),
    OverridingVariable(
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "ignore_configured_endpoints", SWITCH
    ),
    OverridingVariable("AWS_CA_BUNDLE", "ca_bundle"),
    OverridingVariable("AWS_ACCOUNT_ID_ENDPOINT_MODE", "account_id_endpoint_mode"),
    OverridingVariable("AWS_ROLE_ARN", "role_arn", target_only=True),
    OverridingVariable("AWS_ROLE_SESSION_NAME", "role_session_name", target_only=True),
    OverridingVariable("AWS_SESSION_TAGS", "session_tags", target_only=True),
    OverridingVariable("AWS_TRANSITIVE_TAGS", "transitive_session_tags", target_only=True),
    OverridingVariable("AWS_SOURCE_IDENTITY", "source_identity", target_only=True),
    OverridingVariable("AWS_ENDPOINT_URL*", "endpoint_urls", URL, "endpoint_url"),
    OverridingVariable("AWS_VAULT_DURATION", "duration", DURATION, option="duration"),
    OverridingVariable("AWS_MIN_TTL", "min_ttl", DURATION, "min-ttl", option="min_ttl"),
)

DURATIONS = {
    "duration": "AWS_VAULT_DURATION",
    "assume_role_ttl": "AWS_ASSUME_ROLE_TTL",
    "session_token_ttl": "AWS_SESSION_TOKEN_TTL",
    "chained_session_token_ttl": "AWS_CHAINED_SESSION_TOKEN_TTL",
    "federation_token_ttl": "AWS_FEDERATION_TOKEN_TTL",
}
"""The variables with the durations of sessions, by the option of a plan that each one sets."""

_IGNORE_URLS = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"
_POD = ("AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_WEB_IDENTITY_TOKEN_FILE")


class Overrides(Record):
    """Settings from options and environment, which go before the config; None is not given.

    `endpoint_urls` has the general one under "", those of services under their names in a
    `[services]` section, such as `sts`.
    """

    region: str | None = None
    mfa_serial: str | None = None
    sts_regional_endpoints: str | None = None
    use_fips_endpoint: bool | None = None
    use_dualstack_endpoint: bool | None = None
    endpoint_urls: Mapping[str, str] = MappingProxyType({})
    ignore_configured_endpoints: bool | None = None
    role_arn: str | None = None
    role_session_name: str | None = None
    session_tags: str | None = None
    transitive_session_tags: str | None = None
    source_identity: str | None = None
    ca_bundle: str | None = None
    account_id_endpoint_mode: str | None = None

    def for_parents(self) -> Overrides:
        """Return what applies to the profiles that the target takes its credentials from."""
        return self._replace(**{each.setting: None for each in VARIABLES if each.target_only})


class UsedVariable(Record):
    """A variable that a plan uses, for `--explain`.

    `value` is as the environment has it, a switch as `true` or `false`; `service` is the service
    whose endpoint it is, if any.
    """

    variable: OverridingVariable
    name: str
    value: str
    service: str = ""


def read_overrides(settings: Settings, region: str | None) -> Overrides:
    """Return what options and environment override; `region` is `--region`.

    Raises ConfigError for what cannot be the name of a region, UsageError for a switch that is
    neither true nor false.
    """
    if region:
        check_region(region, "--region")
    values: dict[str, object] = {"region": region or None}
    urls: dict[str, str] = {}
    for used in _used(settings):
        setting = used.variable.setting
        if used.variable.type == URL:
            urls[used.service] = used.value
        elif setting in Overrides._fields and values.get(setting) is None:
            if setting == "region":
                check_region(used.value, used.name)
            is_switch = used.variable.type == SWITCH
            values[setting] = used.value == "true" if is_switch else used.value
    return Overrides(**values, endpoint_urls=urls)  # type: ignore[arg-type]


def read_durations(settings: Settings, duration: int | None) -> dict[str, int | None]:
    """Return the values of `DURATIONS` in seconds, None for a variable that is not set.

    `duration` is `--duration`, which overrides its variable. Raises UsageError.
    """
    found: dict[str, int | None]
    found = {} if duration is None else {"duration": duration}
    for option, name in DURATIONS.items():
        if option not in found:
            found[option] = settings.duration(name)
    return found


def used_variables(settings: Settings, options: Container[str]) -> list[UsedVariable]:
    """Return the variables that a plan uses; `options` are the options that were given."""
    found: dict[tuple[str, str], UsedVariable] = {}
    for used in _used(settings):
        if used.variable.option is None or used.variable.option not in options:
            found.setdefault((used.variable.setting, used.service), used)
    if any(each.name == _IGNORE_URLS and each.value == "true" for each in found.values()):
        return [each for each in found.values() if each.variable.type != URL]
    return list(found.values())


def pod_variables(settings: Settings) -> tuple[str, ...]:
    """Return the variables of the pod that this runs in, none elsewhere.

    Kubernetes sets AWS_ROLE_ARN together with AWS_WEB_IDENTITY_TOKEN_FILE (IAM roles for service
    accounts); they are the identity of the pod then, and override no setting of a profile.
    """
    if settings.get("AWS_ROLE_ARN") and settings.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
        return tuple(name for name in _POD if settings.get(name))
    return ()


def _used(settings: Settings) -> Iterator[UsedVariable]:
    """Go through the variables of the table that are set, in its order."""
    pod = pod_variables(settings)
    for variable in VARIABLES:
        if variable.type == URL:
            for name, service in _endpoint_variables(settings, variable.name[:-1]):
                yield UsedVariable(variable, name, settings.get(name) or "", service)
            continue
        value = settings.get(variable.name)
        if value is None or variable.name in pod:
            continue
        if variable.type == SWITCH:
            value = "true" if settings.flag(variable.name) else "false"
        yield UsedVariable(variable, variable.name, value)


def _endpoint_variables(settings: Settings, general: str) -> list[tuple[str, str]]:
    """Return the variables with the endpoint of all services or of one, which comes with it."""
    return sorted(
        (name, name.removeprefix(general).removeprefix("_").lower())
        for name, url in settings.environ.items()
        if url and (name == general or name.startswith(f"{general}_"))
    )
