"""SsoSession: an Identity Center session, of an `[sso-session]` section or a profile's own keys.

The settings are botocore's: a profile with `sso_session` takes start URL, region and scopes from
that section, one without it from its own keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import ConfigError
from filevault.partitions import check_region
from filevault.system.printable import printable
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filevault.config.overrides import Overrides
    from filevault.config.profile import Profile

DEFAULT_SCOPES = ("sso:account:access",)
"""The scope that accounts and roles need; with any scope AWS gives refresh tokens."""

_MAX_URL = 2048
_MAX_SCOPES = 64


class SsoSession(Record):
    """An Identity Center session.

    `name` is that of the section, None for a profile's own keys; `start_url` is as configured.
    `oidc_url` and `portal_url` are the endpoints that are set for the two services. `ca_bundle`
    is the path of certificates. `profile` is the profile that the settings were taken with.
    """

    name: str | None
    start_url: str
    region: str
    scopes: tuple[str, ...]
    oidc_url: str | None = None
    portal_url: str | None = None
    use_fips: bool = False
    use_dualstack: bool = False
    ca_bundle: str | None = None
    profile: str | None = None

    @property
    def shown(self) -> str:
        """The name of the session in messages."""
        if self.name is not None:
            return f"SSO session {printable(self.name)!r}"
        return f"the SSO session of {printable(self.start_url, 200)}"

    @property
    def origin(self) -> str:
        """The section that has the settings, for messages."""
        return _section(self.name) if self.name else f"profile {printable(self.profile)!r}"

    @property
    def reference(self) -> str:
        """The session as a credential source in headers of files: `sso:`, then name or URL."""
        return f"sso:{self.name or self.start_url}"

    @property
    def argument(self) -> str:
        """The word that means this session on the command line of `filevault sso`."""
        return self.name or self.profile or ""


def sso_session_of(profile: Profile) -> SsoSession:
    """Return the Identity Center session of a profile. Raises ConfigError."""
    name = profile.sso_session
    shown = _section(name) if name else f"profile {printable(profile.name)!r}"
    return _checked(
        f"{shown} has" if name else f"{shown} has {profile.source_where}, but",
        SsoSession(
            name=name,
            start_url=profile.sso_start_url or "",
            region=profile.sso_region or "",
            scopes=read_scopes(profile.sso_registration_scopes, shown),
            oidc_url=profile.sso_oidc_endpoint_url,
            portal_url=profile.sso_endpoint_url,
            use_fips=profile.use_fips_endpoint,
            use_dualstack=profile.use_dualstack_endpoint,
            ca_bundle=profile.child.ca_bundle,
            profile=profile.name,
        ),
    )


def sso_session_named(name: str, values: Mapping[str, str], overrides: Overrides) -> SsoSession:
    """Return the session of a section whose settings are `values`. Raises ConfigError."""
    shown = _section(name)
    urls = {} if overrides.ignore_configured_endpoints else overrides.endpoint_urls
    return _checked(
        f"{shown} has",
        SsoSession(
            name=name,
            start_url=values.get("sso_start_url", ""),
            region=values.get("sso_region", ""),
            scopes=read_scopes(values.get("sso_registration_scopes"), shown),
            oidc_url=urls.get("sso_oidc") or urls.get(""),
            portal_url=urls.get("sso") or urls.get(""),
            use_fips=bool(overrides.use_fips_endpoint),
            use_dualstack=bool(overrides.use_dualstack_endpoint),
            ca_bundle=overrides.ca_bundle,
        ),
    )


def _section(name: str) -> str:
    return f"the section [sso-session {printable(name)}]"


def _checked(begin: str, session: SsoSession) -> SsoSession:
    """Return a session whose settings are complete; `begin` begins the message about a gap."""
    for key, value in (("sso_start_url", session.start_url), ("sso_region", session.region)):
        if not value:
            raise ConfigError(
                f"{begin} no {key}",
                hint=f"add {key} = ... to it, as your administrator or the access portal says",
            )
    _check_start_url(session.start_url, session.origin)
    check_region(session.region, f"sso_region of {session.origin}")
    return session


def _check_start_url(url: str, shown: str) -> None:
    """Raise ConfigError unless a start URL is https and of plain characters.

    Plain http is accepted for the loopback interface, where stand-ins for AWS are.
    """
    loopback = url.startswith(("http://127.0.0.1:", "http://localhost:"))
    plain = url.isascii() and url.isprintable() and not set(url) & set(" \"'<>\\^`{|}")
    if not plain or len(url) > _MAX_URL or not (url.startswith("https://") or loopback):
        raise ConfigError(
            f"sso_start_url of {shown} is no https URL: {printable(url, 80)!r}",
            hint="it looks like https://d-0123456789.awsapps.com/start",
        )


def read_scopes(text: str | None, shown: str) -> tuple[str, ...]:
    """Return the scopes of a list with commas, sorted, each once; the default for none.

    `shown` names the section in messages. Raises ConfigError.
    """
    where = f"sso_registration_scopes of {shown}"
    if text is None:
        return DEFAULT_SCOPES
    found = sorted({scope.strip() for scope in text.split(",")} - {""})
    for scope in found:
        if not (scope.isascii() and scope.isprintable()) or " " in scope or len(scope) > 256:
            raise ConfigError(f"{where} has a scope that is none: {printable(scope, 80)!r}")
    if len(found) > _MAX_SCOPES:
        raise ConfigError(f"{where} has more than {_MAX_SCOPES} scopes")
    return tuple(found) or DEFAULT_SCOPES
