"""How AWS is reached for one profile: who signs which call, and whose keys are meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.aws.iam import AccessKeys
from filevault.aws.sts import get_caller_identity
from filevault.credentials import Credentials
from filevault.errors import ConfigError
from filevault.rotation.signals import must_hurry
from filevault.system.printable import printable

if TYPE_CHECKING:
    from filevault.aws.clients import Clients
    from filevault.aws.endpoint import Endpoint
    from filevault.aws.sts import Identity
    from filevault.credentials import AccessKey
    from filevault.rotation.retry import Patience
    from filevault.sources.source import CredentialProvider


class Access:
    """AWS, as the credentials of one profile reach it.

    Args:
        clients: makes clients.
        short_timeouts: makes clients for calls that signals or other writers must wait for, or
            that are made again where they fail.
        sts: the endpoint that tells identities.
        iam: the endpoint of IAM.
        provider: obtains the session that the plan of the profile ends in; asked once, so that a
            person gives one token code for the whole rotation. None for a plan without.
        role: the ARN of the role that they are of, None for those of the user.
        profile: the profile.
        direct: the command that rotates the key with the user's own credentials, for hints.
    """

    def __init__(
        self,
        clients: Clients,
        short_timeouts: Clients,
        sts: Endpoint,
        iam: Endpoint,
        provider: CredentialProvider | None,
        *,
        role: str | None,
        profile: str,
        direct: str,
    ) -> None:
        self._clients = clients
        self._hasty = short_timeouts
        self._sts = sts
        self._iam = iam
        self._provider = provider
        self._role = role
        self._direct = direct
        self._session: Credentials | None = None
        self._identity: Identity | None = None
        self._connected = False
        self._subject = f"profile {printable(profile)!r}"

    def identity_of(self, key: AccessKey, *, short_timeouts: bool = False) -> Identity:
        """Ask whose a long-term key is. Raises AwsError, NetworkError, ConfigError."""
        credentials = Credentials(key.access_key_id, key.secret_access_key)
        clients = self._hasty if short_timeouts else self._clients
        return get_caller_identity(clients, self._sts, credentials, subject=self._subject)

    def connect(self, key: AccessKey) -> Identity:
        """Obtain the credentials and return whose key it is; done once.

        Raises ConfigError for a role of another account, where a user of the same name would be
        somebody else, and what the providers raise.
        """
        identity = self.identify(key)
        if not self._connected:
            self._check_role(identity)
            self._session = None if self._provider is None else self._provider.retrieve()
            self._connected = True
        return identity

    def identify(self, key: AccessKey, patience: Patience | None = None) -> Identity:
        """Ask once whose key it is, where `patience` is given while AWS may not know it yet."""
        if self._identity is None:

            def ask() -> Identity:
                return self.identity_of(key)

            self._identity = (
                ask() if patience is None else patience.ask("AWS to know the new key", ask)
            )
        return self._identity

    def _check_role(self, identity: Identity) -> None:
        if self._role is None:
            return
        account = self._role.split(":")[4]
        if account != identity.account or identity.user_name is None:
            raise ConfigError(
                f"{self._subject} has the role {printable(self._role)} of another account, which "
                f"cannot change the keys of {printable(identity.arn)}",
                hint=f"let a profile of the key's own account do it: {self._direct}",
            )

    def keys(self, key: AccessKey, *, short_timeouts: bool = False) -> AccessKeys:
        """Return the user's keys, as the profile's session sees them or, without one, `key`.

        A session outlives the key that it was made from; only without one do the last calls
        need the new key. With `short_timeouts`, or where signals wait, what it returns makes haste.
        """
        identity = self.connect(key)
        credentials = self._session or Credentials(key.access_key_id, key.secret_access_key)
        # A role's session is no user, so the user is named to IAM.
        user = identity.user_name if self._role is not None else None
        clients = self._hasty if short_timeouts or must_hurry() else self._clients
        return AccessKeys(clients, self._iam, credentials, user, self._subject)
