"""The access keys of the IAM user whose key is rotated, and the credentials that sign the calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.aws.call import Caller
from filevault.aws.clients import Clients
from filevault.aws.errors import is_denied
from filevault.aws.iam import AccessKeys
from filevault.aws.sts import get_caller_identity
from filevault.credentials import Credentials
from filevault.errors import AwsError, ConfigError, FilevaultError, ProviderError
from filevault.plan.sts_endpoint import sts_endpoint
from filevault.rotation.retry import is_unknown_key
from filevault.system.printable import printable
from filevault.system.signals import are_signals_blocked
from filevault.system.times import format_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.aws.iam import ListedKey
    from filevault.aws.sts import Identity
    from filevault.credentials import AccessKey
    from filevault.rotation.batch import Target
    from filevault.rotation.retry import Retry

NO_SUCH_KEY = "NoSuchEntity"
"""IAM's code for a key that the user does not have."""


class UserKeys:
    """The access keys of one IAM user, as a profile of that user reaches them.

    Args:
        target: the profile, its plan and its settings: region and endpoints.
        obtain_session: returns the session that the plan of the profile ends in, None where the
            long-term key itself signs; called once, so that one token code is enough.
        allow_http: allow plain http beyond the loopback interface.
    """

    def __init__(
        self,
        target: Target,
        obtain_session: Callable[[], Credentials | None],
        *,
        allow_http: bool,
    ) -> None:
        name, profile = target.name, target.profile
        self._clients = Clients(profile=name, allow_http=allow_http)
        # For calls that signals or other writers wait for, or that are repeated anyway.
        self._short_clients = Clients.short_timeouts(profile=name, allow_http=allow_http)
        self._sts = sts_endpoint(profile, profile.chain)
        self._iam = self._sts._replace(url=profile.iam_endpoint_url)
        self._obtain_session = obtain_session
        self._role = target.plan.step.assumed_role  # None for a session of the user
        self._user_command = target.user_command
        self._session: Credentials | None = None
        self._owner: Identity | None = None
        self._connected = False
        self._subject = f"profile {printable(name)!r}"

    def identity_of(self, key: AccessKey, *, short_timeouts: bool = False) -> Identity:
        """Ask AWS whom a key belongs to. Raises AwsError, NetworkError, ConfigError."""
        credentials = Credentials(key.access_key_id, key.secret_access_key)
        clients = self._short_clients if short_timeouts else self._clients
        return get_caller_identity(Caller(clients, self._sts, credentials, self._subject))

    def works(self, key: AccessKey) -> bool:
        """Ask AWS whether it accepts a key: it knows it, and it is active."""
        try:
            self.identity_of(key)
        except AwsError as error:
            if not is_unknown_key(error):
                raise
            return False
        return True

    def owner(self, key: AccessKey, retry: Retry | None = None) -> Identity:
        """Return the user that a key belongs to; AWS is asked once.

        With `retry`, repeat the call while AWS may not know the key yet.
        """
        if self._owner is None:

            def ask() -> Identity:
                return self.identity_of(key)

            self._owner = ask() if retry is None else retry.until_known(ask)
        return self._owner

    def connect(self, key: AccessKey) -> Identity:
        """Obtain the session once, and return the user that a key belongs to.

        Raises ConfigError for a role of another account, where a user of the same name would be
        a different one, and whatever obtaining the session raises.
        """
        owner = self.owner(key)
        if not self._connected:
            self._check_role(owner)
            self._session = self._obtain_session()
            self._connected = True
        return owner

    def _check_role(self, owner: Identity) -> None:
        if self._role is None:
            return
        account = self._role.split(":")[4]
        if account != owner.account or owner.user_name is None:
            raise ConfigError(
                f"{self._subject} has the role {printable(self._role)} of another account, which "
                f"cannot change the keys of {printable(owner.arn)}",
                hint=f"use a profile of the key's own account: {self._user_command}",
            )

    def signed_by(self, key: AccessKey, *, short_timeouts: bool = False) -> AccessKeys:
        """Return the calls on the user's keys, signed by the session or, without one, by a key.

        A session outlives the key that it was made from; only without one do the last calls need
        the new key. The time-outs are short with `short_timeouts`, or while signals are blocked.
        """
        owner = self.connect(key)
        credentials = self._session or Credentials(key.access_key_id, key.secret_access_key)
        # The session of a role belongs to no user, so IAM needs the user's name.
        user = owner.user_name if self._role is not None else None
        short = short_timeouts or are_signals_blocked()
        clients = self._short_clients if short else self._clients
        return AccessKeys(Caller(clients, self._iam, credentials, self._subject), user)

    # Questions to IAM; `key` signs them where there is no session.

    def listed(self, key: AccessKey) -> tuple[ListedKey, ...] | None:
        """Return the user's keys, None where listing them is not allowed."""
        try:
            return self.signed_by(key).listed()
        except AwsError as error:
            if is_denied(error):
                return None
            raise

    def was_never_used(self, access_key_id: str, key: AccessKey) -> bool:
        """Return whether a key was never used, as far as IAM says."""
        try:
            return self.signed_by(key).last_use(access_key_id).at is None
        except FilevaultError:
            return True

    def last_use_text(self, access_key_id: str, key: AccessKey) -> str:
        """Return when a key was last used, as the rest of a sentence."""
        try:
            use = self.signed_by(key).last_use(access_key_id)
        except FilevaultError as error:
            denied = is_denied(error)
            why = "iam:GetAccessKeyLastUsed is not allowed" if denied else "IAM does not say"
            return f"when it was last used is not known ({why})"
        if use.at is None:
            return "was never used"
        service = f" for {printable(use.service)}" if use.service else ""
        return f"was last used at {format_time(use.at)}{service}"

    def check_gone(self, key: AccessKey) -> None:
        """Raise ProviderError if a key that IAM did not find for its user works all the same.

        IAM gives the same answer for the key of another user, whose secret must be kept.
        """
        try:
            found = self.identity_of(key)
        except AwsError as error:
            if not is_unknown_key(error):
                raise
            return
        raise ProviderError(
            f"IAM does not find the key {printable(key.access_key_id)} among those of the user, "
            f"but it works: it belongs to {printable(found.arn)}",
            hint="was another user's key put into the item by hand? its secret stays in the item",
        )
