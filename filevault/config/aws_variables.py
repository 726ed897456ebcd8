"""The table of AWS variables that commands inherit, lose or get.

`filevault.issued` builds the environment of commands and the exports from it,
`filevault.config.settings` the environment of helper programs. The effect of each variable on
SDKs is in docs/reference/environment.md.
"""

from __future__ import annotations

from filevault.system.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

CREDENTIAL = "credential"
"""A credential or a source of one: no program that filevault starts inherits it."""
IDENTITY = "identity"
"""Selects another identity, or belongs to other credentials: no command inherits it."""
SETTING = "setting"
"""Overrides a setting of the profile: inherited unless empty or set by an outer filevault."""

MARKER = "FILEVAULT_SET"
"""The variable that lists the settings that `exec` put into the environment."""
OVERRIDDEN = (
    "AWS_EC2_METADATA_DISABLED",
    "AWS_EC2_METADATA_V1_DISABLED",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CREDENTIAL_PROFILES_FILE",
)
"""What `exec` sets or removes for SDKs against the user's own value, which MARKER then contains."""

_MAX_MARKER = 32 << 10  # characters
_MAX_MARKED = 512
_FORMER = "+"  # begins a word of MARKER with a value of the user's


class Variable(Record):
    """A variable or, with `*` at the end of its name, all variables that begin so.

    `inherited` is CREDENTIAL, IDENTITY or SETTING. `carries` is the value that commands get in it,
    a key of `IssuedCredentials.fields`; None if it is only removed. `ini` is the key of that value
    in an ini file.
    """

    name: str
    inherited: str
    carries: str | None = None
    ini: str | None = None


# In the order in which they are printed.
VARIABLES = (
    Variable("AWS_ACCESS_KEY_ID", CREDENTIAL, "access_key_id", "aws_access_key_id"),
    Variable("AWS_SECRET_ACCESS_KEY", CREDENTIAL, "secret_access_key", "aws_secret_access_key"),
    Variable("AWS_SESSION_TOKEN", CREDENTIAL, "session_token", "aws_session_token"),
    Variable("AWS_CREDENTIAL_EXPIRATION", IDENTITY, "expiration", "aws_credential_expiration"),
    Variable("AWS_SESSION_EXPIRATION", IDENTITY, "expiration"),
    Variable("AWS_PROFILE", IDENTITY, "sdk_profile"),
    Variable("AWS_CONTAINER_CREDENTIALS_FULL_URI", CREDENTIAL, "container_uri"),
    Variable("AWS_CONTAINER_AUTHORIZATION_TOKEN", CREDENTIAL, "container_token"),
    Variable("AWS_EC2_METADATA_SERVICE_ENDPOINT", IDENTITY, "metadata_uri"),
    Variable("AWS_REGION", SETTING, "region", "region"),
    Variable("AWS_DEFAULT_REGION", SETTING, "region"),
    Variable("AWS_ACCOUNT_ID", IDENTITY, "account_id", "aws_account_id"),
    Variable("AWS_ENDPOINT_URL", SETTING, "endpoint_url", "endpoint_url"),
    Variable("AWS_ENDPOINT_URL_*", SETTING, "service_endpoints"),
    Variable(
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
        SETTING,
        "ignore_configured_endpoint_urls",
        "ignore_configured_endpoint_urls",
    ),
    Variable("AWS_USE_FIPS_ENDPOINT", SETTING, "use_fips_endpoint", "use_fips_endpoint"),
    Variable(
        "AWS_USE_DUALSTACK_ENDPOINT", SETTING, "use_dualstack_endpoint", "use_dualstack_endpoint"
    ),
    Variable(
        "AWS_STS_REGIONAL_ENDPOINTS", SETTING, "sts_regional_endpoints", "sts_regional_endpoints"
    ),
    Variable(
        "AWS_ACCOUNT_ID_ENDPOINT_MODE",
        SETTING,
        "account_id_endpoint_mode",
        "account_id_endpoint_mode",
    ),
    Variable("AWS_CA_BUNDLE", SETTING, "ca_bundle", "ca_bundle"),
    Variable("AWS_ACCESS_KEY", CREDENTIAL),
    Variable("AWS_SECRET_KEY", CREDENTIAL),
    Variable("AWS_SECURITY_TOKEN", CREDENTIAL),
    Variable("AWS_BEARER_TOKEN_*", CREDENTIAL),
    Variable("AWS_CONTAINER_*", CREDENTIAL),
    Variable("AWS_CREDENTIAL_FILE", IDENTITY),
    Variable("AWS_CREDENTIAL_SCOPE", IDENTITY),
    Variable("AWS_DEFAULT_PROFILE", IDENTITY),
    Variable("AWS_SDK_LOAD_CONFIG", IDENTITY),
    Variable("AWS_WEB_IDENTITY_TOKEN_FILE", IDENTITY),
    Variable("AWS_ROLE_ARN", IDENTITY),
    Variable("AWS_ROLE_SESSION_NAME", IDENTITY),
    # Not AWS_EC2_METADATA_DISABLED and AWS_EC2_METADATA_V1_DISABLED: the user's safeguards.
    Variable("AWS_EC2_METADATA_SERVICE_ENDPOINT*", IDENTITY),
)
_EXACT = {each.name: each for each in VARIABLES if not each.name.endswith("*")}
_FAMILIES = tuple((each.name[:-1], each) for each in VARIABLES if each.name.endswith("*"))


def find(name: str) -> Variable | None:
    """Return the row of a variable, None if the table has none."""
    if not name.startswith("AWS_"):
        return None
    found = _EXACT.get(name)
    if found is None:
        for prefix, each in _FAMILIES:
            if name.startswith(prefix):
                return each
    return found


def is_credential(name: str) -> bool:
    """Return whether a variable is a credential or a source of one."""
    found = find(name)
    return found is not None and found.inherited == CREDENTIAL


def is_setting(name: str) -> bool:
    """Return whether a variable overrides a setting of the profile."""
    found = find(name)
    return found is not None and found.inherited == SETTING


def is_removed(name: str, value: str) -> bool:
    """Return whether a variable is removed from a command's environment.

    Empty settings are removed because some SDKs distinguish empty from unset.
    """
    found = find(name)
    if found is None:
        return False
    return found.inherited != SETTING or not value


class ChildSettings(Record):
    """The settings of a profile, besides its region, that SDKs read from its section.

    `service_endpoints` contains (service, URL), with the names of the `[services]` section.
    """

    service_endpoints: tuple[tuple[str, str], ...] = ()
    ignore_configured_endpoint_urls: bool = False
    use_fips_endpoint: bool = False
    use_dualstack_endpoint: bool = False
    sts_regional_endpoints: str | None = None
    account_id_endpoint_mode: str | None = None
    ca_bundle: str | None = None


def marker_text(values: Mapping[str, str], former: Mapping[str, str] | None = None) -> str:
    """Return the value of the MARKER variable for settings that filevault sets.

    `former` are the user's own values of those that are `OVERRIDDEN`.
    """
    words = [f"{name}={_escaped(value)}" for name, value in values.items()]
    words += [f"{_FORMER}{name}={_escaped(value)}" for name, value in (former or {}).items()]
    return " ".join(words)


def unchanged_settings(environ: Mapping[str, str]) -> dict[str, str | None]:
    """Return the settings that an outer filevault set and that were not changed since.

    The values are those that the user had given before, None for none; among the settings are
    those that it removed. MARKER is input from
    outside: it can name settings and `OVERRIDDEN` only, and a text that `marker_text` would not
    write names none.
    """
    text = environ.get(MARKER, "")
    if not text or len(text) > _MAX_MARKER:
        return {}
    found: dict[str, str | None] = {}
    former: dict[str, str] = {}
    for word in text.split(" ", _MAX_MARKED):
        name, separator, value = word.removeprefix(_FORMER).partition("=")
        is_former = word.startswith(_FORMER)
        is_known = name in OVERRIDDEN or (is_setting(name) and not is_former)
        if not separator or not is_known or " " in value:
            return {}
        value = value.replace("%20", " ").replace("%25", "%")
        if is_former:
            former[name] = value
        elif environ.get(name) == value:
            found[name] = None
    removed = {name: value for name, value in former.items() if name not in environ}
    return {name: former.get(name) for name in found} | removed


def _escaped(value: str) -> str:
    return value.replace("%", "%25").replace(" ", "%20")
