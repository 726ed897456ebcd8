"""Call: GetFederationToken, which signs in to the console where a user's session cannot."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filevault.calls.call import Call, CallProvider, signed_by
from filevault.errors import AwsError
from filevault.system.printable import printable

if TYPE_CHECKING:
    from filevault.aws.call import Caller
    from filevault.aws.endpoint import Endpoint
    from filevault.calls.call import CallDependencies
    from filevault.credentials import Credentials
    from filevault.sources.source import CredentialProvider, Source

_USER = r"arn:[a-z0-9-]+:iam::\d{12}:(?:(root)|user/(?:.*/)?([\w+=,.@-]{1,64}))\Z"
_LONGEST_NAME = 32


class FederationToken(Call):
    """GetFederationToken for `profile`, in the name of the user whose key signs."""

    profile: str
    parent: Source
    duration: int
    endpoint: Endpoint
    mfa: None = None  # the call takes no code

    @property
    def owner(self) -> str:
        """The profile whose key signs."""
        return self.parent.owner

    @property
    def operation(self) -> str:
        """The first part of the session file's name."""
        return "get-federation-token"

    @property
    def title(self) -> str:
        """The name of the step in the tree of `--explain`."""
        return "federated user"

    @property
    def description(self) -> str:
        """The text for the call in `--explain`."""
        return "GetCallerIdentity for the user's name and GetFederationToken"

    def provider(
        self, parent: CredentialProvider, dependencies: CallDependencies
    ) -> FederationTokenProvider:
        """Return the provider that calls GetFederationToken."""
        return FederationTokenProvider(self, parent, dependencies)


class FederationTokenProvider(CallProvider):
    """Calls GetFederationToken each time that it is asked.

    The name comes from GetCallerIdentity, which needs no permission, so that CloudTrail shows
    who signed in.
    """

    __slots__ = ("_step",)

    def __init__(
        self, step: FederationToken, parent: CredentialProvider, dependencies: CallDependencies
    ) -> None:
        super().__init__(parent, dependencies)
        self._step = step

    def retrieve(self) -> Credentials:
        """Get the key, ask for the name of its user, then call."""
        made = signed_by(self._parent, self._parent.retrieve(), self._call)
        self._parent.learn_account(made.account_id)
        return made

    def _call(self, key: Credentials) -> Credentials:
        step, run = self._step, self._run
        made = federated(run.caller(step.endpoint, key), duration=step.duration)
        return self._granted(made, step.duration)


def federated(caller: Caller, *, duration: int) -> Credentials:
    """Obtain a session of a federated user for a user's long-term key; `duration` in seconds.

    Raises AwsError, NetworkError, ConfigError.
    """
    from filevault.aws import sts

    name = federated_name(sts.get_caller_identity(caller).arn)
    return sts.get_federation_token(caller, name=name, duration=duration)


def federated_name(arn: str) -> str:
    """Return the name of a federated user for the ARN of a user: 2 to 32 characters.

    Raises AwsError for the ARN of anything else.
    """
    match = re.match(_USER, arn, re.ASCII)
    if match is None:
        raise AwsError(
            f"a federated user is made from an IAM user's key, and this one is of "
            f"{printable(arn, 200)!r}",
            operation="GetFederationToken",
        )
    name = match.group(1) or match.group(2)
    return name[:_LONGEST_NAME] if len(name) > 1 else f"user-{name}"
