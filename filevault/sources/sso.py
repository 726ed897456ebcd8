"""Credential source: a role of IAM Identity Center, for a user who signed in to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.config.sso_session import SsoSession, sso_session_of
from filevault.errors import AwsError, ConfigError
from filevault.sources.source import CredentialProvider, Source
from filevault.system.digest import sha256_hex
from filevault.system.printable import printable

if TYPE_CHECKING:
    from filevault.config.profile import Profile
    from filevault.credentials import Credentials
    from filevault.sources.source import SourceDependencies
    from filevault.sources.sso_tokens import SsoAccess

_SKEW = 900


class SsoRole(Source):
    """A role in an account, obtained with the sign-in to a session."""

    declares_inputs = True  # only the AWS config decides which session is looked for
    calls_aws = True

    profile: str
    session: SsoSession
    account: str
    role: str

    @classmethod
    def of(cls, profile: Profile) -> SsoRole:
        """Return the role that a profile names. Raises ConfigError."""
        session = sso_session_of(profile)
        shown = printable(profile.name)
        account, role = profile.sso_account_id, profile.sso_role_name
        for key, value in (("sso_account_id", account), ("sso_role_name", role)):
            if not value:
                raise ConfigError(
                    f"profile {shown!r} has {profile.source_where}, but no {key}",
                    hint="filevault sso list shows the accounts and roles, filevault sso profiles "
                    "writes profiles for them",
                )
        if not (
            len(account or "") == 12 and (account or "").isascii() and (account or "").isdigit()
        ):
            raise ConfigError(
                f"sso_account_id of profile {shown!r} is no AWS account id of 12 digits: "
                f"{printable(account, 40)!r}"
            )
        return cls(profile.name, session, account or "", role or "")

    @property
    def operation(self) -> str:
        """The first part of the session file's name."""
        return "sso-role"

    @property
    def reference(self) -> str:
        """`sso:` and the name of the session, or its start URL."""
        return self.session.reference

    @property
    def title(self) -> str:
        """The name of the step in the tree of `--explain`."""
        return f"role {printable(self.role)} of account {self.account} by {self.session.shown}"

    @property
    def signer(self) -> str:
        """The name of the credentials in `--explain` where they sign a call."""
        return "the Identity Center role"

    @property
    def description(self) -> str:
        """The text for the source in `--explain`."""
        return f"GetRoleCredentials with the sign-in to {self.session.shown}"

    def identity(self, dependencies: SourceDependencies) -> str:  # noqa: ARG002
        """Return a hash of start URL, region, account and role."""
        session = self.session
        parts = (session.start_url, session.region, self.account, self.role, session.portal_url)
        return sha256_hex("\0".join(part or "" for part in parts).encode())

    def provider(self, dependencies: SourceDependencies) -> SsoRoleProvider:
        """Return the provider that calls GetRoleCredentials."""
        return SsoRoleProvider(self, dependencies)


class SsoRoleProvider(CredentialProvider):
    """Calls GetRoleCredentials; a person signs in before, if that is necessary."""

    __slots__ = ("_run", "_step")

    def __init__(self, step: SsoRole, dependencies: SourceDependencies) -> None:
        self._step = step
        self._run = dependencies

    def retrieve(self) -> Credentials:
        """Return the role's credentials. Raises ProviderError, AwsError, NetworkError."""
        from filevault.aws import sso_portal
        from filevault.sources.sso_tokens import SsoTokens, portal_service, with_access
        from filevault.system.times import format_time

        step, run = self._step, self._run
        subject = f"profile {printable(step.profile)!r}"

        def ask(access: SsoAccess) -> Credentials:
            return sso_portal.get_role_credentials(
                portal_service(step.session, access.portal_url, run),
                access.token,
                account=step.account,
                role=step.role,
                subject=subject,
            )

        made = with_access(SsoTokens(step.session, run, subject), ask)
        if made.expiration is None or made.expiration <= run.clock() - _SKEW:
            raise AwsError(
                f"AWS gave {subject} a session that ended at {format_time(made.expiration or 0)}",
                operation="GetRoleCredentials",
                hint="check the clock of this machine",
            )
        return made
