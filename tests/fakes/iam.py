"""The part of IAM that deals with a user's own access keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from tests.fakes.clock import Clock, iso
from tests.fakes.directory import Directory
from tests.fakes.identities import Caller, IamKey, User
from tests.fakes.parameters import Parameters, ascii_pattern
from tests.fakes.queryapi import Action
from tests.fakes.refusal import Refusal, access_denied, validation_error
from tests.fakes.wire import Result

USER_NAME = ascii_pattern(r"[\w+=,.@-]+")
KEY_ID = ascii_pattern(r"[\w]+")


class Iam:
    """Serve users and access keys of the caller's account.

    Without UserName a call means the calling user, whom a role session does not have.
    """

    name = "iam"
    version = "2010-05-08"
    regions = re.compile("us-east-1")

    def __init__(self, directory: Directory, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        self.unsigned: Mapping[str, Callable[[Parameters], Result]] = {}
        self.actions: Mapping[str, Action] = {
            "CreateAccessKey": self.create_access_key,
            "DeleteAccessKey": self.delete_access_key,
            "GetAccessKeyLastUsed": self.get_access_key_last_used,
            "GetUser": self.get_user,
            "ListAccessKeys": self.list_access_keys,
            "UpdateAccessKey": self.update_access_key,
        }

    def get_user(self, caller: Caller, parameters: Parameters) -> Result:
        """Describe a user."""
        user = self._user(caller, parameters, "GetUser")
        return {
            "User": {
                "Path": user.path,
                "UserName": user.name,
                "UserId": user.user_id,
                "Arn": user.arn,
                "CreateDate": iso(user.created),
            }
        }

    def create_access_key(self, caller: Caller, parameters: Parameters) -> Result:
        """Make an access key, unknown to all services until it has propagated."""
        user = self._user(caller, parameters, "CreateAccessKey")
        key = self._directory.add_access_key(user)
        key.known_from = key.created + self._directory.propagation_seconds
        key.unknown_attempts = self._directory.propagation_attempts
        return {"AccessKey": {**_described(key), "SecretAccessKey": key.secret_access_key}}

    def list_access_keys(self, caller: Caller, parameters: Parameters) -> Result:
        """List a user's keys; there are never enough for a second page."""
        user = self._user(caller, parameters, "ListAccessKeys")
        return {
            "AccessKeyMetadata": [_described(key) for key in user.keys.values()],
            "IsTruncated": "false",
        }

    def update_access_key(self, caller: Caller, parameters: Parameters) -> Result:
        """Activate or deactivate a key."""
        key_id = parameters.required("AccessKeyId", least=16, most=128, pattern=KEY_ID)
        status = parameters.choice("Status", ("Active", "Inactive"))
        key = self._key(self._user(caller, parameters, "UpdateAccessKey"), key_id)
        key.status = "Active" if status == "Active" else "Inactive"
        return None

    def delete_access_key(self, caller: Caller, parameters: Parameters) -> Result:
        """Delete a key for good."""
        key_id = parameters.required("AccessKeyId", least=16, most=128, pattern=KEY_ID)
        key = self._key(self._user(caller, parameters, "DeleteAccessKey"), key_id)
        self._directory.delete_access_key(key)
        return None

    def get_access_key_last_used(self, caller: Caller, parameters: Parameters) -> Result:
        """Tell when a key was used; another account's keys and none look the same."""
        key_id = parameters.required("AccessKeyId", least=16, most=128, pattern=KEY_ID)
        parameters.check()
        key = self._directory.keys.get(key_id)
        allowed = caller.may("iam:GetAccessKeyLastUsed")
        if not allowed or key is None or key.user.account != caller.account:
            raise _not_authorised(caller, "GetAccessKeyLastUsed", f"access key {key_id}")
        last_used: dict[str, Result] = {"ServiceName": "N/A", "Region": "N/A"}
        if key.last_used is not None:
            at, service, region = key.last_used
            last_used = {"LastUsedDate": iso(at), "ServiceName": service, "Region": region}
        return {"UserName": key.user.name, "AccessKeyLastUsed": last_used}

    def _user(self, caller: Caller, parameters: Parameters, action: str) -> User:
        name = parameters.text("UserName", least=1, most=128, pattern=USER_NAME)
        parameters.check()
        if name is None:
            if caller.user is None:
                raise validation_error(
                    "Must specify userName when calling with non-User credentials"
                )
            name = caller.user.name
        if not caller.may(f"iam:{action}"):
            raise _not_authorised(caller, action, f"user {name}")
        user = self._directory.users.get((caller.account, name))
        if user is None:
            raise Refusal("NoSuchEntity", f"The user with name {name} cannot be found.", 404)
        return user

    def _key(self, user: User, key_id: str) -> IamKey:
        key = user.keys.get(key_id)
        if key is None:
            raise Refusal("NoSuchEntity", f"The Access Key with id {key_id} cannot be found.", 404)
        return key


def _described(key: IamKey) -> dict[str, Result]:
    return {
        "UserName": key.user.name,
        "AccessKeyId": key.access_key_id,
        "Status": key.status,
        "CreateDate": iso(key.created),
    }


def _not_authorised(caller: Caller, action: str, resource: str) -> Refusal:
    return access_denied(
        f"User: {caller.arn} is not authorized to perform: iam:{action} on resource: {resource} "
        f"because no identity-based policy allows the iam:{action} action"
    )
