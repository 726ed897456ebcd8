"""Credential source: the role of the EC2 instance, `Ec2InstanceMetadata`, by IMDSv2 only.

The protocol is that of the EC2 User Guide, "Use the Instance Metadata Service". Version 1, which
hands credentials to any request, is never used.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filevault.errors import ConfigError, NetworkError, ProviderError
from filevault.sources.machine import MachineCredentials
from filevault.sources.source import CredentialProvider
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filevault.aws.http_request import HttpAnswer
    from filevault.config.profile import Profile
    from filevault.config.settings import Settings
    from filevault.credentials import Credentials
    from filevault.sources.source import SourceDependencies

_DISABLED = "AWS_EC2_METADATA_DISABLED"
_ENDPOINT = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
_MODE = "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"
_PROFILE = "AWS_EC2_INSTANCE_PROFILE_NAME"
_SECONDS = "AWS_METADATA_SERVICE_TIMEOUT"
_ATTEMPTS = "AWS_METADATA_SERVICE_NUM_ATTEMPTS"
_ADDRESSES = {"ipv4": "http://169.254.169.254", "ipv6": "http://[fd00:ec2::254]"}
_HOSTS = frozenset({"169.254.169.254", "[fd00:ec2::254]"})
_PATHS = (
    "latest/meta-data/iam/security-credentials-extended/",
    "latest/meta-data/iam/security-credentials/",
)
"""The path whose answer has the account as well, then the one that older instances have."""
_TOKEN = "latest/api/token"  # noqa: S105 - a path
_TOKEN_LIFE = "21600"  # noqa: S105 - seconds, the longest
_TIMEOUT = 1.0  # seconds for an attempt, as botocore's
_DEFAULT_ATTEMPTS = 2
_HOPS = (
    "is this an EC2 instance? in a container the answer is lost unless the hop limit is 2: aws ec2 "
    "modify-instance-metadata-options --instance-id ID --http-put-response-hop-limit 2"
)


class InstanceCredentials(MachineCredentials):
    """The credentials of the instance's role; `configured` are keys of the profile's section."""

    profile: str
    configured: tuple[tuple[str, str], ...] = ()

    @classmethod
    def named_by(cls, profile: Profile) -> InstanceCredentials:
        """Return the source for a profile, with its settings of the metadata service."""
        return cls(profile.name, profile.metadata_settings)

    def setting(self, name: str, settings: Settings) -> str | None:
        """Return the value of a variable, else of the key of the same meaning in the section."""
        key = name.removeprefix("AWS_").lower()
        return settings.get(name) or dict(self.configured).get(key)

    @property
    def reference(self) -> str:
        """`instance:` and the name of the profile."""
        return f"instance:{self.profile}"

    @property
    def title(self) -> str:
        """The name of the step in the tree of `--explain`."""
        return "instance's role"

    @property
    def signer(self) -> str:
        """The name of the credentials in `--explain` where they sign a call."""
        return "the instance's role"

    @property
    def description(self) -> str:
        """The text for the step in `--explain`."""
        return "the metadata service of the instance is asked"

    def mark(self, dependencies: SourceDependencies) -> tuple[str, ...]:
        """Return what variables and section say: without a request nothing else is known."""
        settings = dependencies.settings()
        return tuple(self.setting(name, settings) or "" for name in (_ENDPOINT, _MODE, _PROFILE))

    def provider(self, dependencies: SourceDependencies) -> InstanceCredentialsProvider:
        """Return the provider that asks the metadata service."""
        return InstanceCredentialsProvider(self, dependencies)


class InstanceCredentialsProvider(CredentialProvider):
    """Asks the metadata service each time that it is asked.

    - The extended path goes first. If the service does not have it, the older one is used.
    - If the role's name is no longer right, it is asked for once more.
    - A token that the service no longer accepts is replaced once.
    """

    __slots__ = ("_dependencies", "_step", "_subject", "_token")

    def __init__(self, step: InstanceCredentials, dependencies: SourceDependencies) -> None:
        self._dependencies = dependencies
        self._step = step
        self._subject = f"profile {printable(step.profile)!r}"
        self._token: str | None = None

    def retrieve(self) -> Credentials:
        """Ask. Raises ConfigError, ProviderError, NetworkError."""
        from filevault.sources.outside_credentials import read_credentials

        settings = self._dependencies.settings()
        if settings.flag(_DISABLED):
            raise ProviderError(
                f"{self._subject} has credential_source = Ec2InstanceMetadata, but {_DISABLED} is "
                "set",
                hint="unset it to use the role of the instance",
            )
        base = self._base()
        values = self._credentials(base, self._setting(_PROFILE)).json()
        if values.get("Code", "Success") != "Success":
            code = printable(str(values.get("Code")), 80)
            raise ProviderError(
                f"the metadata service has no credentials for {self._subject}: {code}",
                hint="check the instance profile, and the trust policy of its role",
            )
        return read_credentials(
            values, "the answer of the metadata service", self._dependencies.clock()
        )

    def _credentials(self, base: str, name: str | None) -> HttpAnswer:
        """Return the answer with the credentials; `name` is the role's if it is configured."""
        for path in _PATHS:
            for _ in range(2):
                role = self._role(base + path) if name is None else name
                if role is None:
                    break  # the service does not have this path
                answer = self._get(base + path + _checked_name(role, self._subject))
                if answer.status == 200:
                    return answer
                if answer.status != 404:
                    raise self._refused(answer)
                if name is not None:
                    break
        raise ProviderError(
            f"the metadata service has no role for {self._subject}",
            hint="attach an instance profile to the instance",
        )

    def _role(self, url: str) -> str | None:
        """Return the name of the role, None if the service does not have the path."""
        answer = self._get(url)
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise self._refused(answer)
        return answer.body.decode("ascii", "replace").strip().partition("\n")[0]

    def _get(self, url: str) -> HttpAnswer:
        answer = self._sent(url)
        if answer.status == 401:
            self._token = None
            answer = self._sent(url)
        return answer

    def _sent(self, url: str) -> HttpAnswer:
        if self._token is None:
            self._token = self._new_token()
        headers = {"X-aws-ec2-metadata-token": self._token}
        return self._ask("GET", url, headers)

    def _new_token(self) -> str:
        headers = {"X-aws-ec2-metadata-token-ttl-seconds": _TOKEN_LIFE}
        try:
            answer = self._ask("PUT", self._base() + _TOKEN, headers)
        except NetworkError as error:
            raise error.add_context(hint=_HOPS) from error
        token = answer.body.decode("ascii", "replace")
        if answer.status in (403, 404, 405):
            raise ProviderError(
                f"the metadata service gives {self._subject} no token: status {answer.status}",
                hint="it is switched off, or knows version 1 only, which is never used",
            )
        if answer.status != 200 or not re.match(r"[!-~]{1,1024}\Z", token):
            raise self._refused(answer)
        return token

    def _refused(self, answer: HttpAnswer) -> ProviderError:
        return ProviderError(
            f"the metadata service refused {self._subject} credentials: status {answer.status}"
        )

    def _base(self) -> str:
        """Return the address of the service, with a slash at its end. Raises ConfigError."""
        from filevault.aws.metadata import check_metadata_url

        mode = (self._setting(_MODE) or "ipv4").lower()
        if mode not in _ADDRESSES:
            raise ConfigError(f"{_where(_MODE)} is neither ipv4 nor ipv6: {printable(mode, 40)!r}")
        url = self._setting(_ENDPOINT) or _ADDRESSES[mode]
        allowed = self._dependencies.allow_http
        check_metadata_url(url, _HOSTS, setting=_where(_ENDPOINT), allow_http=allowed)
        return f"{url.rstrip('/')}/"

    def _ask(self, method: str, url: str, headers: Mapping[str, str]) -> HttpAnswer:
        from filevault.aws.metadata import ask

        return ask(
            method,
            url,
            headers,
            subject=self._subject,
            seconds=self._number(_SECONDS, r"\d{1,3}(\.\d{1,3})?", _TIMEOUT),
            attempts=int(self._number(_ATTEMPTS, r"\d{1,2}", _DEFAULT_ATTEMPTS)),
        )

    def _number(self, name: str, form: str, default: float) -> float:
        """Return a number that a variable or the section sets. Raises ConfigError."""
        value = self._setting(name)
        if value is None:
            return default
        if not re.match(rf"{form}\Z", value, re.ASCII) or not float(value):
            raise ConfigError(
                f"{_where(name)} is no number that can be used: {printable(value, 40)!r}"
            )
        return float(value)

    def _setting(self, name: str) -> str | None:
        return self._step.setting(name, self._dependencies.settings())


def _where(name: str) -> str:
    """Return a variable and the key of the same meaning, for messages."""
    return f"{name} (or {name.removeprefix('AWS_').lower()})"


def _checked_name(name: str, subject: str) -> str:
    """Return the name of a role for a URL. Raises ProviderError for what is none."""
    if not re.match(r"[\w+=,.@-]{1,128}\Z", name, re.ASCII):
        raise ProviderError(f"the metadata service answered {subject} with no name of a role")
    return name
