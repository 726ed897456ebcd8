"""Credential source: the endpoint of a container in ECS, EKS and the like, `EcsContainer`.

The contract is that of the AWS SDKs and Tools Reference Guide, "Container credential provider".
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from filevault.errors import ConfigError, NetworkError, ProviderError
from filevault.sources.machine import MachineCredentials
from filevault.sources.source import CredentialProvider
from filevault.system.printable import printable

if TYPE_CHECKING:
    from filevault.config.settings import Settings
    from filevault.credentials import Credentials
    from filevault.sources.source import SourceDependencies

_RELATIVE = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
_FULL = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
_TOKEN = "AWS_CONTAINER_AUTHORIZATION_TOKEN"  # noqa: S105 - the name of a variable
_TOKEN_FILE = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"  # noqa: S105 - the name of a variable

ECS = "http://169.254.170.2"
"""Where a relative URI leads."""
_HOSTS = frozenset({"169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"})
"""The addresses of ECS and, in IPv4 and IPv6, of EKS Pod Identity."""
_TIMEOUT = 2.0  # seconds for an attempt, as botocore's
_MAX_TOKEN = 32 << 10


class ContainerCredentials(MachineCredentials):
    """The credentials that the container's endpoint gives."""

    profile: str

    @property
    def reference(self) -> str:
        """`container:` and the name of the profile."""
        return f"container:{self.profile}"

    @property
    def title(self) -> str:
        """The name of the step in the tree of `--explain`."""
        return "container's role"

    @property
    def signer(self) -> str:
        """The name of the credentials in `--explain` where they sign a call."""
        return "the container's role"

    @property
    def description(self) -> str:
        """The text for the step in `--explain`."""
        return "the container's endpoint is asked"

    def mark(self, dependencies: SourceDependencies) -> tuple[str, ...]:
        """Return the address, which is another one in each task."""
        settings = dependencies.settings()
        return settings.get(_RELATIVE) or "", settings.get(_FULL) or ""

    def provider(self, dependencies: SourceDependencies) -> ContainerCredentialsProvider:
        """Return the provider that asks the endpoint."""
        return ContainerCredentialsProvider(self, dependencies)


class ContainerCredentialsProvider(CredentialProvider):
    """Calls the endpoint for each request, and reads the token's file before each call."""

    __slots__ = ("_dependencies", "_step")

    def __init__(self, step: ContainerCredentials, dependencies: SourceDependencies) -> None:
        self._step = step
        self._dependencies = dependencies

    def retrieve(self) -> Credentials:
        """Ask. Raises ConfigError, ProviderError, NetworkError."""
        from filevault.aws.metadata import ask
        from filevault.sources.outside_credentials import read_credentials

        subject = f"profile {printable(self._step.profile)!r}"
        url = self._url(subject)
        headers = _authorization(self._dependencies.settings())
        try:
            answer = ask("GET", url, headers, subject=subject, seconds=_TIMEOUT)
        except NetworkError as error:
            raise error.add_context(
                hint="does the container run with a task role, and can it reach its endpoint?"
            ) from error
        if answer.status != 200:
            said = answer.json().get("message") or answer.json().get("Message")
            reason = f": {printable(said, 200)}" if isinstance(said, str) else ""
            raise ProviderError(
                f"the container's endpoint refused {subject} credentials: status "
                f"{answer.status}{reason}"
            )
        return read_credentials(
            answer.json(), "the answer of the container's endpoint", self._dependencies.clock()
        )

    def _url(self, subject: str) -> str:
        """Return the address; a relative URI goes before a full one."""
        from filevault.aws.metadata import check_metadata_url

        settings = self._dependencies.settings()
        relative = settings.get(_RELATIVE)
        if relative is not None:
            url, setting = f"{ECS}/{relative.removeprefix('/')}", _RELATIVE
        else:
            url, setting = settings.get(_FULL) or "", _FULL
        if not url:
            raise ProviderError(
                f"{subject} has credential_source = EcsContainer, but neither {_RELATIVE} nor "
                f"{_FULL} is set",
                hint="they are set in containers of ECS and EKS that have a role",
            )
        allowed = self._dependencies.allow_http
        check_metadata_url(url, _HOSTS, setting=setting, allow_http=allowed)
        return url


def _authorization(settings: Settings) -> dict[str, str]:
    """Return the header with the token of the endpoint; a file goes before the variable.

    Raises ProviderError for a file that cannot be read, ConfigError for a value with a line end
    within.
    """
    path = settings.get(_TOKEN_FILE)
    token, origin = settings.get(_TOKEN), _TOKEN
    if path is not None:
        origin = _TOKEN_FILE
        try:
            fd = os.open(settings.expand(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                token = os.read(fd, _MAX_TOKEN).decode("ascii", "replace").rstrip("\r\n")
            finally:
                os.close(fd)
        except OSError as error:
            reason = (error.strerror or "unknown reason").lower()
            raise ProviderError(f"{origin} names a file that cannot be read: {reason}") from error
    if not token:
        return {}
    if not (token.isascii() and token.isprintable()):
        raise ConfigError(f"{origin} contains a line end or another forbidden character")
    return {"Authorization": token}
