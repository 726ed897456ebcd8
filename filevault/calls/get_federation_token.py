"""A federated user's session, which signs in to the console where a user's own cannot."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filevault.aws import sts
from filevault.calls.lifetime import held_to
from filevault.errors import AwsError
from filevault.sources.stored import signed_by
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.aws.clients import Clients
    from filevault.aws.endpoint import Endpoint
    from filevault.credentials import Credentials
    from filevault.plan.steps import FederationToken
    from filevault.sources.protocols import CredentialProvider

_USER = r"arn:[a-z0-9-]+:iam::\d{12}:(?:(root)|user/(?:.*/)?([\w+=,.@-]{1,64}))\Z"
_LONGEST_NAME = 32


class FederationTokenProvider:
    """Calls GetFederationToken each time it is asked, in the name of the user.

    The name comes from GetCallerIdentity, which needs no permission, so that CloudTrail shows
    who signed in.
    """

    __slots__ = ("_clients", "_clock", "_source", "_step", "_subject")

    def __init__(
        self,
        step: FederationToken,
        source: CredentialProvider,
        clients: Clients,
        clock: Callable[[], float],
        subject: str,
    ) -> None:
        self._step = step
        self._source = source
        self._clients = clients
        self._clock = clock
        self._subject = subject

    def retrieve(self) -> Credentials:
        """Open the key, ask whose it is, then call."""
        return signed_by(self._source, self._source.retrieve(), self._call)

    def _call(self, key: Credentials) -> Credentials:
        step = self._step
        made = federated(
            self._clients, step.endpoint, key, duration=step.duration, subject=self._subject
        )
        return held_to(made, step.duration, self._clock(), self._subject)


def federated(
    clients: Clients, endpoint: Endpoint, key: Credentials, *, duration: int, subject: str
) -> Credentials:
    """Obtain a session of a federated user for a user's long-term key; `duration` in seconds.

    Raises AwsError, NetworkError, ConfigError.
    """
    identity = sts.get_caller_identity(clients, endpoint, key, subject=subject)
    name = federated_name(identity.arn)
    return sts.get_federation_token(
        clients, endpoint, key, name=name, duration=duration, subject=subject
    )


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
