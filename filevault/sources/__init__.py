"""Credential sources: where a profile's credentials begin, one file a source."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from filevault.config.profile import Profile
    from filevault.sources.source import Source

SOURCES = {
    "stored": ("filevault.sources.stored", "StoredKey"),
    "process": ("filevault.sources.process", "ProcessOutput"),
    "credential-source": ("filevault.sources.machine", "MachineCredentials"),
    "web-identity": ("filevault.sources.web_identity", "WebIdentity"),
    "sso": ("filevault.sources.sso", "SsoRole"),
    "login-session": ("filevault.sources.login_session", "LoginSession"),
}
"""The `source` of a profile to the module and class of the credential source."""


def source_of(profile: Profile) -> Source | None:
    """Return the credential source of a profile, None for one that is not built in.

    Raises ConfigError for settings that the source cannot use.
    """
    found = SOURCES.get(profile.source)
    if found is None:
        return None
    module, name = found
    source: type[Source] = getattr(__import__(module, fromlist=[name]), name)
    return source.of(profile)
