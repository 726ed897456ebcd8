"""Credential source: the access key in the environment of filevault, `Environment`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import ProviderError
from filevault.sources.machine import MachineCredentials
from filevault.sources.source import CredentialProvider
from filevault.system.printable import printable

if TYPE_CHECKING:
    from filevault.credentials import Credentials
    from filevault.sources.source import SourceDependencies

_KEY_ID = "AWS_ACCESS_KEY_ID"
_SECRET = "AWS_SECRET_ACCESS_KEY"  # noqa: S105 - the name of a variable
_TOKEN = "AWS_SESSION_TOKEN"  # noqa: S105 - the name of a variable
_EXPIRATION = "AWS_CREDENTIAL_EXPIRATION"
_ACCOUNT = "AWS_ACCOUNT_ID"


class EnvironmentKey(MachineCredentials):
    """The access key in the environment; helper programs and commands never inherit it."""

    profile: str

    @property
    def may_be_users(self) -> bool:
        """True: it may be a long-term key."""
        return True

    @property
    def refused_hint(self) -> str:
        """What to do if AWS does not accept the credentials."""
        return f"check {_KEY_ID}, {_SECRET} and {_TOKEN} in the environment"

    @property
    def reference(self) -> str:
        """`environment:` and the name of the profile."""
        return f"environment:{self.profile}"

    @property
    def title(self) -> str:
        """The name of the step in the tree of `--explain`."""
        return "key in the environment"

    @property
    def signer(self) -> str:
        """The name of the credentials in `--explain` where they sign a call."""
        return "the key in the environment"

    @property
    def description(self) -> str:
        """The text for the step in `--explain`."""
        return f"the key in {_KEY_ID} is issued"

    def mark(self, dependencies: SourceDependencies) -> tuple[str, ...]:
        """Return the id of the access key."""
        return (dependencies.settings().get(_KEY_ID) or "",)

    def provider(self, dependencies: SourceDependencies) -> EnvironmentKeyProvider:
        """Return the provider that reads the variables."""
        return EnvironmentKeyProvider(self, dependencies)


class EnvironmentKeyProvider(CredentialProvider):
    """Reads the variables that this process was started with."""

    __slots__ = ("_dependencies", "_step")

    def __init__(self, step: EnvironmentKey, dependencies: SourceDependencies) -> None:
        self._step = step
        self._dependencies = dependencies

    def retrieve(self) -> Credentials:
        """Return the key in the environment. Raises ProviderError if there is none."""
        from filevault.sources.outside_credentials import read_credentials

        settings = self._dependencies.settings()
        missing = [name for name in (_KEY_ID, _SECRET) if not settings.get(name)]
        if missing:
            raise ProviderError(
                f"profile {printable(self._step.profile)!r} has credential_source = Environment, "
                f"but {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set"
            )
        values = {
            "AccessKeyId": settings.get(_KEY_ID),
            "SecretAccessKey": settings.get(_SECRET),
            "Token": settings.get(_TOKEN),
            "Expiration": settings.get(_EXPIRATION),
            "AccountId": settings.get(_ACCOUNT),
        }
        return read_credentials(values, "the environment", self._dependencies.clock())
