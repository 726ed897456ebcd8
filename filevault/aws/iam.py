"""The calls to IAM that list, make, deactivate and delete the access keys of one user."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from filevault.aws.call import call
from filevault.aws.errors import Attempt, not_awss
from filevault.credentials import AccessKey
from filevault.system.record import Record

if TYPE_CHECKING:
    from filevault.aws.clients import Clients
    from filevault.aws.endpoint import Endpoint
    from filevault.credentials import Credentials
    from filevault.errors import NotAwsError

# IAM's own pattern of an id, and the most keys on one page of a list.
_KEY_ID = r"[A-Za-z0-9_]{16,128}\Z"
_MOST_KEYS = 100
_LONGEST_NAME = 128


class ListedKey(Record):
    """An access key as IAM lists it; `created` is in Unix seconds."""

    access_key_id: str
    active: bool
    created: int | None


class MadeKey(Record):
    """A new access key as the answer has it, which nothing vouches for.

    `created` is in Unix seconds, None where the answer has no time that could be read;
    `user_name` is empty where it does not say whose the key is.
    """

    key: AccessKey
    created: int | None
    user_name: str


class LastUse(Record):
    """When a key was last used, in Unix seconds and with which service; None for never."""

    at: int | None
    service: str | None


class AccessKeys:
    """The access keys of one user.

    Args:
        clients: makes clients.
        endpoint: that of IAM.
        credentials: who signs.
        user_name: whose keys; None means those of the user who signs.
        subject: how messages call the one it is for, e.g. `profile 'work'`.

    Every method raises AwsError, NetworkError and ConfigError.
    """

    __slots__ = ("_clients", "_credentials", "_endpoint", "_subject", "_user_name")

    def __init__(
        self,
        clients: Clients,
        endpoint: Endpoint,
        credentials: Credentials,
        user_name: str | None,
        subject: str,
    ) -> None:
        self._clients = clients
        self._endpoint = endpoint
        self._credentials = credentials
        self._user_name = user_name
        self._subject = subject

    def listed(self) -> tuple[ListedKey, ...]:
        """Return all keys of the user; there are two at most, so one page holds them."""
        operation = "ListAccessKeys"
        response = self._call(operation, {})
        try:
            found = tuple(
                ListedKey(each["AccessKeyId"], each["Status"] == "Active", each.get("CreateDate"))
                for each in response["AccessKeyMetadata"]
            )
            # The ids are noted in an item, where a line end would begin another field.
            usable = all(re.match(_KEY_ID, each.access_key_id) for each in found)
        except (LookupError, TypeError, AttributeError) as error:
            raise not_awss(operation, self._subject) from error
        if not usable or len(found) > _MOST_KEYS or response.get("IsTruncated"):
            raise not_awss(operation, self._subject)
        return found

    def create(self) -> MadeKey:
        """Make a key. The request is never repeated where it may have had its effect.

        What the answer says of the key is for the caller to check.
        """
        operation = "CreateAccessKey"
        response = self._call(operation, {}, once=True)
        made = response.get("AccessKey")
        if not isinstance(made, dict):
            raise not_awss(operation, self._subject)
        return MadeKey(
            AccessKey(str(made.get("AccessKeyId", "")), str(made.get("SecretAccessKey", ""))),
            made.get("CreateDate"),
            str(made.get("UserName", "")),
        )

    def not_awss(self, operation: str, why: str) -> NotAwsError:
        """Return the error for an answer that says what AWS never does; `why` is shown."""
        error = not_awss(operation, self._subject)
        error.message = f"{error.message}: {why}"
        return error

    def deactivate(self, access_key_id: str) -> None:
        """Let a key open nothing any more; it can be made active again."""
        self._call("UpdateAccessKey", {"AccessKeyId": access_key_id, "Status": "Inactive"})

    def activate(self, access_key_id: str) -> None:
        """Make an inactive key active again."""
        self._call("UpdateAccessKey", {"AccessKeyId": access_key_id, "Status": "Active"})

    def delete(self, access_key_id: str) -> None:
        """Delete a key for good."""
        self._call("DeleteAccessKey", {"AccessKeyId": access_key_id})

    def last_use(self, access_key_id: str) -> LastUse:
        """Return when a key was last used, as far as IAM has noticed yet."""
        operation = "GetAccessKeyLastUsed"
        response = self._call(operation, {"AccessKeyId": access_key_id}, by_name=False)
        found = response.get("AccessKeyLastUsed")
        if not isinstance(found, dict):
            raise not_awss(operation, self._subject)
        at = found.get("LastUsedDate")
        service = str(found.get("ServiceName", ""))[:_LONGEST_NAME]
        return LastUse(at, None if at is None else service)

    def _call(
        self,
        operation: str,
        parameters: dict[str, object],
        *,
        by_name: bool = True,
        once: bool = False,
    ) -> Any:  # noqa: ANN401
        if by_name and self._user_name is not None:
            parameters["UserName"] = self._user_name
        credentials = self._credentials
        secrets = (credentials.secret_access_key, credentials.session_token)
        attempt = Attempt(operation, self._subject, secrets, None)
        return call(
            self._clients, "iam", self._endpoint, credentials, parameters, attempt, once=once
        )
