"""Credential source: a web identity token, which STS exchanges for the credentials of a role."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import ConfigError, NoSourceError
from filevault.identity_tokens.way import TokenRequest, TokenWay
from filevault.identity_tokens.ways import way_of
from filevault.sources.source import CredentialProvider, Source
from filevault.system.digest import sha256_hex
from filevault.system.printable import printable

if TYPE_CHECKING:
    from filevault.config.profile import Profile
    from filevault.credentials import Credentials
    from filevault.sources.source import SourceDependencies


class WebIdentity(Source):
    """A web identity token; only AssumeRoleWithWebIdentity makes credentials of it.

    `ca_bundle` is the file of certificates to trust where the token is fetched.
    """

    profile: str
    way: TokenWay
    ca_bundle: str | None = None

    @classmethod
    def of(cls, profile: Profile) -> WebIdentity:
        """Return the token that a profile names. Raises NoSourceError without a `role_arn`."""
        if profile.role_arn is None:
            raise NoSourceError(
                f"profile {printable(profile.name)!r} has {profile.source_where}, but no role_arn: "
                "a web identity token is worth the credentials of a role only",
                hint="add role_arn = ARN below it",
            )
        return cls(profile.name, way_of(profile), profile.child.ca_bundle)

    @property
    def needs_vault(self) -> bool:
        """False."""
        return False

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables that contain the token, or with which any process could get one."""
        return self.way.variables

    @property
    def reference(self) -> str:
        """`web:` and the name of the profile."""
        return f"web:{self.profile}"

    @property
    def title(self) -> str:
        """The name of the step in the tree of `--explain`."""
        return self.way.title

    @property
    def signer(self) -> str:
        """The name of the token in `--explain`."""
        return self.way.title

    @property
    def description(self) -> str:
        """The text for the step in `--explain`."""
        return self.way.title

    def identity(self, dependencies: SourceDependencies) -> str:
        """Return a hash of where the token comes from, and of whom it is as far as that shows."""
        way = self.way
        parts = (type(way).__name__, repr(way._asdict()), *way.mark(dependencies.settings()))
        return sha256_hex("\0".join(parts).encode("utf-8", "surrogateescape"))

    def token(self, dependencies: SourceDependencies) -> str:
        """Return a token, read or fetched now. Raises what `TokenWay.token` raises."""
        return self.way.token(
            TokenRequest(
                dependencies.settings(),
                self.profile,
                self.ca_bundle,
                dependencies.allow_http,
                dependencies.say,
                dependencies.tell,
            )
        )

    def provider(self, dependencies: SourceDependencies) -> CredentialProvider:  # noqa: ARG002
        """Return a provider without credentials."""
        return _NoCredentials()


class _NoCredentials(CredentialProvider):
    """The provider before AssumeRoleWithWebIdentity, a call that nothing signs."""

    def retrieve(self) -> Credentials:
        """Raise ConfigError."""
        raise ConfigError("a web identity token is no credential that could sign a call")
