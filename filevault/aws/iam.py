"""The calls to IAM that list, make, deactivate and delete the access keys of one user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from filevault.aws.refusals import Attempt, not_awss, translated
from filevault.credentials import AccessKey
from filevault.values import Value

if TYPE_CHECKING:
    from filevault.aws.client import Clients
    from filevault.aws.endpoint import Endpoint
    from filevault.credentials import Credentials

_METHODS = {
    "CreateAccessKey": "create_access_key",
    "DeleteAccessKey": "delete_access_key",
    "GetAccessKeyLastUsed": "get_access_key_last_used",
    "ListAccessKeys": "list_access_keys",
    "UpdateAccessKey": "update_access_key",
}


class ListedKey(Value):
    """An access key as IAM lists it; `created` is in Unix seconds."""

    access_key_id: str
    active: bool
    created: int | None


class MadeKey(Value):
    """A new access key; `created` is in Unix seconds, `user_name` whose it is."""

    key: AccessKey
    created: int | None
    user_name: str


class LastUse(Value):
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
            return tuple(
                ListedKey(
                    str(each["AccessKeyId"]),
                    each["Status"] == "Active",
                    _seconds(each.get("CreateDate")),
                )
                for each in response["AccessKeyMetadata"]
            )
        except (LookupError, TypeError, AttributeError) as error:
            raise not_awss(operation, self._subject) from error

    def create(self) -> MadeKey:
        """Make a key. The request is never repeated where it may have had its effect."""
        operation = "CreateAccessKey"
        response = self._call(operation, {}, once=True)
        try:
            made = response["AccessKey"]
            return MadeKey(
                AccessKey(str(made["AccessKeyId"]), str(made["SecretAccessKey"])),
                _seconds(made.get("CreateDate")),
                str(made.get("UserName", "")),
            )
        except (LookupError, TypeError, AttributeError) as error:
            raise not_awss(operation, self._subject) from error

    def deactivate(self, access_key_id: str) -> None:
        """Let a key open nothing any more; it can be made active again."""
        self._call("UpdateAccessKey", {"AccessKeyId": access_key_id, "Status": "Inactive"})

    def delete(self, access_key_id: str) -> None:
        """Delete a key for good."""
        self._call("DeleteAccessKey", {"AccessKeyId": access_key_id})

    def last_use(self, access_key_id: str) -> LastUse:
        """Return when a key was last used, as far as IAM has noticed yet."""
        operation = "GetAccessKeyLastUsed"
        response = self._call(operation, {"AccessKeyId": access_key_id}, by_name=False)
        try:
            found = response.get("AccessKeyLastUsed", {})
            at = _seconds(found.get("LastUsedDate"))
            return LastUse(at, None if at is None else str(found.get("ServiceName", "")))
        except (TypeError, AttributeError) as error:
            raise not_awss(operation, self._subject) from error

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
        with translated(attempt):
            client = self._clients.open("iam", self._endpoint, credentials, once=once)
            try:
                return getattr(client, _METHODS[operation])(**parameters)
            except (LookupError, TypeError, AttributeError, ValueError) as error:
                # botocore's parsers trust an answer of status 200 to be what the model says.
                raise not_awss(operation, self._subject) from error
            finally:
                client.close()


def _seconds(moment: Any) -> int | None:  # noqa: ANN401
    return None if moment is None else int(moment.timestamp())
