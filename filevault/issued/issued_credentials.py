"""Issued credentials: the value that `exec` and `export` give to a command, and its variables."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filevault.config.aws_variables import VARIABLES, ChildSettings
from filevault.errors import FilevaultError
from filevault.system.printable import printable
from filevault.system.record import Record
from filevault.system.times import format_time

if TYPE_CHECKING:
    from filevault.credentials import Credentials

_PATHS = frozenset({"AWS_CA_BUNDLE"})
_CREDENTIAL_FIELDS = frozenset(
    {"access_key_id", "secret_access_key", "session_token", "expiration", "account_id"}
)
# The service ids of `[services]` sections that can be the end of a variable's name.
_SERVICE = r"[a-z0-9_]+\Z"


class ContainerVariables(Record):
    """The address and the token of a container credentials endpoint."""

    _secret = ("token",)

    uri: str
    token: str


class MetadataVariables(Record):
    """The address of a metadata endpoint, which ends with a slash, and whether it speaks IMDSv1."""

    uri: str
    version_1: bool


class IssuedCredentials(Record):
    """Credentials with the profile that they were obtained for and its settings for SDKs.

    `account` is the AWS account of exactly these credentials, None if it is not certain.
    `sdk_profile` is the profile that SDKs read instead of getting the credentials in the
    environment, `container` or `metadata` the endpoint that they ask.
    """

    profile: str
    credentials: Credentials
    region: str | None = None
    endpoint_url: str | None = None
    account: str | None = None
    settings: ChildSettings = ChildSettings()
    sdk_profile: str | None = None
    container: ContainerVariables | None = None
    metadata: MetadataVariables | None = None

    @property
    def account_id(self) -> str | None:
        """The account for the command, None if unknown."""
        return self.account or self.credentials.account_id

    def fields(self) -> dict[str, str]:
        """Return the values of the variables, by `carries` of `aws_variables.VARIABLES`.

        Service endpoints are not among them.
        """
        credentials = self.credentials
        settings = self.settings
        expiration = credentials.expiration
        found: dict[str, str | bool | None] = {
            "access_key_id": credentials.access_key_id,
            "secret_access_key": credentials.secret_access_key,
            "session_token": credentials.session_token,
            "expiration": None if expiration is None else format_time(expiration),
            "account_id": self.account_id,
            "sdk_profile": self.sdk_profile,
            "region": self.region,
            "endpoint_url": self.endpoint_url,
            "ignore_configured_endpoint_urls": settings.ignore_configured_endpoint_urls,
            "use_fips_endpoint": settings.use_fips_endpoint,
            "use_dualstack_endpoint": settings.use_dualstack_endpoint,
            "sts_regional_endpoints": settings.sts_regional_endpoints,
            "account_id_endpoint_mode": settings.account_id_endpoint_mode,
            "ca_bundle": settings.ca_bundle,
        }
        if self.container is not None or self.metadata is not None:
            found |= dict.fromkeys(_CREDENTIAL_FIELDS - {"account_id"})
        if self.metadata is not None:
            found |= {"metadata_uri": self.metadata.uri}
        if self.container is not None:
            found |= {"container_uri": self.container.uri, "container_token": self.container.token}
        if self.sdk_profile is not None:
            found = {name: found[name] for name in found if name not in _CREDENTIAL_FIELDS}
        # `true` is the only value that every SDK accepts for a switch that is on.
        return {
            name: "true" if value is True else str(value) for name, value in found.items() if value
        }

    def variables(self) -> dict[str, str]:
        """Return the environment variables for a command, in the order in which they are printed.

        Raises FilevaultError if a value is not printable ASCII, or a path not printable.
        """
        found = self.unchecked_variables()
        for name, value in found.items():
            check_value(name, value)
        return found

    def unchecked_variables(self) -> dict[str, str]:
        """Return the same, with only the credentials checked."""
        self.credentials.check_printable()
        fields = self.fields()
        found = {}
        for each in VARIABLES:
            if each.carries == "service_endpoints":
                for service, url in self.settings.service_endpoints:
                    if re.match(_SERVICE, service):
                        found[each.name[:-1] + service.upper()] = url
            elif each.carries in fields:
                found[each.name] = fields[each.carries]
        return found


def check_value(name: str, value: str) -> None:
    """Raise FilevaultError if the value of a variable contains other than printable characters.

    Paths may contain any printable character, other values only ASCII.
    """
    ascii_only = name not in _PATHS
    if (ascii_only and not value.isascii()) or printable(value) != value:
        raise FilevaultError(f"the value of {name} contains characters that no value of it has")
