"""Calls to IAM that list, create, deactivate and delete the access keys of one user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from filevault.aws.botocore_errors import not_from_aws
from filevault.aws.call import call
from filevault.credentials import AccessKey, is_key_id
from filevault.system.record import Record

if TYPE_CHECKING:
    from filevault.aws.call import Caller
    from filevault.errors import NotAwsError

_MAX_KEYS = 100  # on one page of ListAccessKeys
_MAX_NAME = 128


class ListedKey(Record):
    """An access key as IAM lists it; `created` is in Unix seconds."""

    access_key_id: str
    active: bool
    created: int | None


class MadeKey(Record):
    """A new access key as the answer to CreateAccessKey has it, unchecked.

    `created` is in Unix seconds, None if the answer has no valid time; `user_name` is empty if
    the answer has none.
    """

    key: AccessKey
    created: int | None
    user_name: str


class LastUse(Record):
    """The last use of a key: Unix seconds and the service, both None if it was never used."""

    at: int | None
    service: str | None


class AccessKeys:
    """The access keys of one user.

    `caller` makes the calls. `user_name` is the user who owns the keys, None for the one whose
    credentials sign. Every method raises AwsError, NetworkError and ConfigError.
    """

    __slots__ = ("_caller", "_subject", "_user_name")

    def __init__(self, caller: Caller, user_name: str | None) -> None:
        self._caller = caller
        self._subject = caller.subject
        self._user_name = user_name

    def listed(self) -> tuple[ListedKey, ...]:
        """Return all keys of the user; IAM allows two, so they fit on one page."""
        operation = "ListAccessKeys"
        response = self._call(operation, {})
        try:
            found = tuple(
                ListedKey(each["AccessKeyId"], each["Status"] == "Active", each.get("CreateDate"))
                for each in response["AccessKeyMetadata"]
            )
            # The ids are written to an item, where a line end would begin another field.
            usable = all(is_key_id(each.access_key_id) for each in found)
        except (LookupError, TypeError, AttributeError) as error:
            raise not_from_aws(operation, self._subject) from error
        if not usable or len(found) > _MAX_KEYS or response.get("IsTruncated"):
            raise not_from_aws(operation, self._subject)
        return found

    def create(self) -> MadeKey:
        """Create a key. The call is never repeated where it may have taken effect.

        The caller checks the answer.
        """
        operation = "CreateAccessKey"
        response = self._call(operation, {}, once=True)
        made = response.get("AccessKey")
        if not isinstance(made, dict):
            raise not_from_aws(operation, self._subject)
        return MadeKey(
            AccessKey(str(made.get("AccessKeyId", "")), str(made.get("SecretAccessKey", ""))),
            made.get("CreateDate"),
            str(made.get("UserName", "")),
        )

    def not_from_aws(self, operation: str, why: str) -> NotAwsError:
        """Return the error for an answer that AWS cannot have sent; `why` is in the message."""
        return not_from_aws(operation, self._subject, why)

    def deactivate(self, access_key_id: str) -> None:
        """Set a key Inactive; this can be reversed."""
        self._call("UpdateAccessKey", {"AccessKeyId": access_key_id, "Status": "Inactive"})

    def activate(self, access_key_id: str) -> None:
        """Set an inactive key Active."""
        self._call("UpdateAccessKey", {"AccessKeyId": access_key_id, "Status": "Active"})

    def delete(self, access_key_id: str) -> None:
        """Delete a key; this cannot be reversed."""
        self._call("DeleteAccessKey", {"AccessKeyId": access_key_id})

    def last_use(self, access_key_id: str) -> LastUse:
        """Return the last use of a key; IAM records a use with some delay."""
        operation = "GetAccessKeyLastUsed"
        response = self._call(operation, {"AccessKeyId": access_key_id}, by_name=False)
        found = response.get("AccessKeyLastUsed")
        if not isinstance(found, dict):
            raise not_from_aws(operation, self._subject)
        at = found.get("LastUsedDate")
        service = str(found.get("ServiceName", ""))[:_MAX_NAME]
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
        return call(self._caller, "iam", operation, parameters, once=once)
