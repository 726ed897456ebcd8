"""Where a profile's setting comes from: its own section, one that it includes, or `[default]`.

`include_profile` and inheritance from `[default]` are AWS Vault's; the AWS CLI knows neither.
Settings that make credentials are never inherited from `[default]`: otherwise its role or SSO
account would apply to every profile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault import errors
from filevault.errors import ConfigError
from filevault.partitions import check_region
from filevault.system.printable import printable
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filevault.config.aws_config import AwsConfig, Section

_HANDED_DOWN = frozenset(
    {
        "duration_seconds",
        "endpoint_url",
        "ignore_configured_endpoint_urls",
        "mfa_process",
        "mfa_serial",
        "region",
        "services",
        "sts_regional_endpoints",
        "use_dualstack_endpoint",
        "use_fips_endpoint",
    }
)


class ProfileSetting(Record):
    """A value as it is written in the AWS config, with its section."""

    _secret = ("value",)

    key: str
    value: str
    section: Section

    @property
    def where(self) -> str:
        """Return the key with file and line, for messages."""
        return f"{self.key} in {_line_of(self.section, self.key)}"


class Inheritance:
    """The sections that decide one profile's settings, in their order."""

    __slots__ = ("_keys", "all", "config", "name", "own")

    def __init__(self, config: AwsConfig, name: str, section: Section | None) -> None:
        self.config = config
        self.name = name
        self.own = _included(config, section)
        self.all = self.own + _included(config, config.profile("default"))
        # Most look-ups find nothing, so the keys are collected once.
        self._keys = {key for each in self.all for key in (*each.values, *each.nested)}

    def find(self, key: str) -> ProfileSetting | None:
        """Return the first setting that is not empty.

        A key that is empty in the profile's own sections switches off what `[default]` has.
        """
        if key not in self._keys:
            return None
        own = _find(self.own, key)
        if own is not None or key not in _HANDED_DOWN:
            return own
        if any(key in section.values for section in self.own):
            return None
        return _find(self.all, key)

    def raw(self, key: str) -> str | None:
        """Return a value, which may have several lines."""
        setting = self.find(key)
        return None if setting is None else setting.value

    def text(self, key: str) -> str | None:
        """Return a value. Raises ConfigError if it has several lines."""
        setting = self.find(key)
        return None if setting is None else single_line(setting.value, setting.where)

    def region(self) -> str | None:
        """Return `region`. Raises ConfigError if it cannot be the name of a region."""
        value = self.text("region")
        setting = self.find("region")
        if value is not None and setting is not None:
            check_region(value, setting.where, hint=comment_hint(value))
        return value

    def duration(self) -> int | None:
        """Return `duration_seconds`."""
        setting = self.find("duration_seconds")
        if setting is None:
            return None
        value = setting.value
        # int() alone would accept "3_600" and non-ASCII digits.
        if not (value.isascii() and value.isdigit() and len(value) <= 9 and int(value) > 0):
            raise ConfigError(
                f"{setting.where} is not a positive whole number: {printable(value, 40)!r}",
                hint=comment_hint(value),
            )
        return int(value)

    def services_endpoint(self, service: str) -> str | None:
        """Return the endpoint that the profile's `[services]` section has for a service."""
        section = self._services()
        if section is None:
            return None
        if service in section.values:
            where = f"{service} in {_line_of(section, service)}"
            raise ConfigError(f"{where} is not followed by an indented block")
        return _service_url(section, service)

    def services_endpoints(self) -> dict[str, str]:
        """Return the endpoints of all services in the profile's `[services]` section."""
        section = self._services()
        if section is None:
            return {}
        found = ((service, _service_url(section, service)) for service in section.nested)
        return {service: url for service, url in found if url}

    def _services(self) -> Section | None:
        """Return the `[services]` section of the profile.

        The `endpoint_url` of the profile's own section takes precedence over `services`
        of `[default]`.
        """
        setting = _find(self.own, "services")
        if setting is None and _find(self.own, "endpoint_url") is None:
            setting = self.find("services")
        if setting is None:
            return None
        section = self.config.services(setting.value)
        if section is None or not section.lines:
            raise ConfigError(
                f"{setting.where} names the section [services {printable(setting.value)}], which "
                "does not exist or is empty"
            )
        return section

    def account_id(self) -> str | None:
        """Return `aws_account_id`, which is not inherited from `[default]`."""
        setting = self.find("aws_account_id")
        if setting is None:
            return None
        value = setting.value
        if not (value.isascii() and value.isdigit() and len(value) == 12):
            raise ConfigError(
                f"{setting.where} is no AWS account id of 12 digits: {printable(value, 40)!r}",
                hint=comment_hint(value),
            )
        return value

    def session(self, name: str) -> dict[str, str] | None:
        """Return the settings of an `[sso-session]` section, None if there is none."""
        section = self.config.sso_session(name)
        if section is None:
            return None
        found = (
            _find([section], key)
            for key in ("sso_start_url", "sso_region", "sso_registration_scopes")
        )
        return {
            setting.key: single_line(setting.value, setting.where) for setting in found if setting
        }


def single_line(value: str, where: str) -> str:
    """Return a value; raise ConfigError if it has line breaks or hidden characters.

    Values go into requests, variables and shell lines.
    """
    if printable(value) != value:
        hint = "is the line below it indented by mistake?" if "\n" in value else None
        raise ConfigError(f"{where} contains a line break or a hidden character", hint=hint)
    return value


def comment_hint(value: str) -> str | None:
    """Return a hint for a value that ends in a comment, else None."""
    if " #" in value or " ;" in value:
        return "a comment needs a line of its own: after a value it is part of the value"
    return None


def not_found(
    config: AwsConfig, name: str, referrer: ProfileSetting | None
) -> errors.ProfileNotFoundError:
    """Return the error for a profile that does not exist; `referrer` names it."""
    shown = printable(name)
    if referrer is None:
        path = printable(config.path)
        message = f"profile {shown!r} has neither a section in {path!r} nor a stored key"
    else:
        lacks = (
            "no section there"
            if referrer.key == "include_profile"
            else "neither a section there nor a stored key"
        )
        message = (
            f"profile {printable(referrer.section.name)!r} names a profile that does not exist: "
            f"{referrer.where} says {shown!r}, which has {lacks}"
        )
    return errors.ProfileNotFoundError(message, hint=_hint(config, name))


def profile_header(name: str) -> str:
    """Return the header of a profile's section, printable."""
    if name == "default":
        return "[default]"
    shown = printable(name)
    quoted = f'"{shown}"' if " " in shown else shown
    return f"[profile {quoted}]"


def _hint(config: AwsConfig, name: str) -> str:
    printable(name)
    header = config.unread_header(name)
    if header is not None:
        return f"the section [{printable(header)}] is not a profile: write {profile_header(name)}"
    import difflib

    # Bounded, because comparing long texts takes quadratic time.
    names = [other for other in config.profile_names()[:5000] if len(other) <= 100]
    near = difflib.get_close_matches(name[:100], names, n=1)
    if near:
        return f"did you mean {printable(near[0])!r}?"
    return (
        "`filevault list` shows the profiles; keys in ~/.aws/credentials are never read, "
        "`filevault add` stores them"
    )


def _included(config: AwsConfig, section: Section | None) -> list[Section]:
    """Return a section and those it includes, the nearest first."""
    sections: list[Section] = []
    while section is not None:
        sections.append(section)
        setting = _find([section], "include_profile")
        if setting is None:
            break
        from filevault.config.profile_loop import refuse_loop

        refuse_loop([each.name for each in sections], setting.value, setting.key)
        section = config.profile(setting.value)
        if section is None:
            raise not_found(config, setting.value, setting)
    return sections


def _find(sections: Sequence[Section], key: str) -> ProfileSetting | None:
    for section in sections:
        if key in section.nested:
            raise ConfigError(
                f"{key} in {_line_of(section, key)} is followed by an indented block where a value "
                "belongs"
            )
        value = section.values.get(key)
        if value:
            return ProfileSetting(key, value, section)
    return None


def _service_url(section: Section, service: str) -> str | None:
    url = section.nested.get(service, {}).get("endpoint_url")
    return single_line(url, f"{service} in {_line_of(section, service)}") if url else None


def _line_of(section: Section, key: str) -> str:
    return f"line {section.lines[key]} of {printable(section.path)!r}"
