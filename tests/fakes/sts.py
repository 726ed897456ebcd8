"""The security token service: sessions, with the limits that AWS puts on them.

Limits are those of the API reference and the IAM guide's page on temporary credentials.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from tests.fakes.clock import Clock, iso
from tests.fakes.directory import Directory
from tests.fakes.identities import Caller, Role, Session
from tests.fakes.parameters import Parameters, ascii_pattern
from tests.fakes.queryapi import Action
from tests.fakes.refusal import Refusal, access_denied, invalid_value, validation_error
from tests.fakes.restrictions import Restrictions, read_restrictions
from tests.fakes.wire import Result

if TYPE_CHECKING:
    from tests.fakes.identity_provider import IdentityProvider

NAME = ascii_pattern(r"[\w+=,.@-]*")
EXTERNAL_ID = ascii_pattern(r"[\w+=,.@:\/-]*")
SERIAL = ascii_pattern(r"[\w+=/:,.@-]*")
CODE = ascii_pattern(r"[\d]*")
ROLE_ARN = re.compile(r"arn:aws(-[a-z]+)*:iam::\d{12}:role/\S+")
LONGEST_CHAINED = 3600


class WebTrust(NamedTuple):
    """The trust policy of a role for web identities: an issuer, an audience, a subject pattern."""

    issuer: str
    audience: str
    subject: str


class Sts:
    """Hand out sessions of users, roles and federated users.

    `mfa_survives_roles` decides whether a role session made with MFA counts as MFA for the next
    role of a chain.
    """

    name = "sts"
    version = "2011-06-15"

    def __init__(self, directory: Directory, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        self.regions = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
        self.mfa_survives_roles = True
        self.identity_providers: dict[str, IdentityProvider] = {}
        """Those that IAM knows, by issuer."""
        self.web_trusts: dict[str, WebTrust] = {}
        """By the ARN of a role."""
        self.actions: Mapping[str, Action] = {
            "AssumeRole": self.assume_role,
            "GetCallerIdentity": self.get_caller_identity,
            "GetFederationToken": self.get_federation_token,
            "GetSessionToken": self.get_session_token,
        }
        self.unsigned: Mapping[str, Callable[[Parameters], Result]] = {
            "AssumeRoleWithWebIdentity": self.assume_role_with_web_identity,
        }

    def get_caller_identity(self, caller: Caller, _parameters: Parameters) -> Result:
        """Tell whose credentials signed; no policy can forbid it."""
        return {"Arn": caller.arn, "UserId": caller.user_id, "Account": caller.account}

    def get_session_token(self, caller: Caller, parameters: Parameters) -> Result:
        """Give a user a session, which is an MFA session if a code came along."""
        seconds = parameters.integer("DurationSeconds", least=900, most=129600, default=43200)
        presented = _presented(parameters)
        parameters.check()
        if caller.session is not None:
            raise access_denied("Cannot call GetSessionToken with session credentials")
        _authorise(caller, "sts:GetSessionToken", caller.arn)
        mfa = presented is not None
        if presented is not None:
            self._spend(caller, presented)
        session = Session(
            "session-token",
            self._expiration(seconds),
            user=caller.user,
            mfa=mfa,
            mfa_at=self._clock() if mfa else None,
        )
        return {"Credentials": _credentials(self._directory.add_session(session))}

    def get_federation_token(self, caller: Caller, parameters: Parameters) -> Result:
        """Give a federated user a session, from a long-term key only."""
        name = parameters.required("Name", least=2, most=32, pattern=NAME)
        seconds = parameters.integer("DurationSeconds", least=900, most=129600, default=43200)
        restrictions = read_restrictions(parameters)
        parameters.check()
        if caller.session is not None or caller.user is None:
            raise access_denied("Cannot call GetFederationToken with session credentials")
        federated = f"arn:aws:sts::{caller.account}:federated-user/{name}"
        _authorise(caller, "sts:GetFederationToken", federated)
        session = Session(
            "federated",
            self._expiration(seconds),
            user=caller.user,
            name=name,
            tags=restrictions.tags,
            policy=restrictions.policy,
            policy_arns=restrictions.policy_arns,
        )
        return {
            "Credentials": _credentials(self._directory.add_session(session)),
            "FederatedUser": {"FederatedUserId": f"{caller.account}:{name}", "Arn": federated},
            "PackedPolicySize": restrictions.packed_percent,
        }

    def assume_role(self, caller: Caller, parameters: Parameters) -> Result:
        """Give a session of a role, in the order parameters, MFA, trust, duration.

        A token code is spent even if what follows is refused.
        """
        arn = parameters.required("RoleArn", least=20, most=2048)
        name = parameters.required("RoleSessionName", least=2, most=64, pattern=NAME)
        seconds = parameters.integer("DurationSeconds", least=900, most=43200, default=3600)
        external_id = parameters.text("ExternalId", least=2, most=1224, pattern=EXTERNAL_ID)
        identity = parameters.text("SourceIdentity", least=2, most=64, pattern=NAME)
        presented = _presented(parameters)
        restrictions = read_restrictions(parameters)
        parameters.check()
        if not ROLE_ARN.fullmatch(arn):
            raise validation_error(f"{arn} is invalid")
        if presented is not None:
            self._spend(caller, presented)
        mfa = presented is not None or (
            caller.mfa and (self.mfa_survives_roles or caller.user is not None)
        )
        mfa_at = self._clock() if presented is not None else None
        if presented is None and caller.session is not None:
            mfa_at = caller.session.mfa_at
        role = self._trusting_role(caller, arn, external_id, mfa, mfa_at)
        earlier = caller.session if _chained(caller) else None
        inherited = _inherited_tags(earlier, restrictions)
        identity = _source_identity(earlier, identity)
        _check_role_allows(caller, role, restrictions, identity)
        if earlier is not None and seconds > LONGEST_CHAINED:
            raise validation_error(
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed "
                "by role chaining"
            )
        if seconds > role.max_session_duration:
            raise validation_error(
                "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
            )
        session = self._directory.add_session(
            Session(
                "role",
                self._expiration(seconds),
                user=caller.user if caller.session is None else caller.session.user,
                role=role,
                name=name,
                mfa=mfa,
                mfa_at=mfa_at,
                chain_depth=1 + (earlier.chain_depth if earlier is not None else 0),
                tags={**inherited, **restrictions.tags},
                transitive_tag_keys={*inherited, *restrictions.transitive_tag_keys},
                source_identity=identity,
                policy=restrictions.policy,
                policy_arns=restrictions.policy_arns,
            )
        )
        return {
            "Credentials": _credentials(session),
            "AssumedRoleUser": {
                "AssumedRoleId": f"{role.role_id}:{name}",
                "Arn": f"arn:aws:sts::{role.account}:assumed-role/{role.name}/{name}",
            },
            "PackedPolicySize": restrictions.packed_percent,
            "SourceIdentity": identity,
        }

    def assume_role_with_web_identity(self, parameters: Parameters) -> Result:
        """Give a session of a role to a web identity token, whose signature is verified."""
        arn = parameters.required("RoleArn", least=20, most=2048)
        name = parameters.required("RoleSessionName", least=2, most=64, pattern=NAME)
        token = parameters.required("WebIdentityToken", least=4, most=20000)
        seconds = parameters.integer("DurationSeconds", least=900, most=43200, default=3600)
        restrictions = read_restrictions(parameters)
        parameters.check()
        from tests.fakes.identity_provider import payload_of

        provider = self.identity_providers.get(payload_of(token).get("iss", ""))
        if provider is None:
            raise Refusal(
                "InvalidIdentityToken",
                "No OpenIDConnect provider found in your account for "
                f"{payload_of(token).get('iss')}",
            )
        claims = provider.verify(token)
        role, trust = self._directory.roles.get(arn), self.web_trusts.get(arn)
        audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        if (
            role is None
            or trust is None
            or trust.issuer != claims["iss"]
            or trust.audience not in audience
            or not fnmatch.fnmatchcase(claims["sub"], trust.subject)
        ):
            raise access_denied("Not authorized to perform sts:AssumeRoleWithWebIdentity")
        if seconds > role.max_session_duration:
            raise validation_error(
                "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
            )
        session = self._directory.add_session(
            Session(
                "role",
                self._expiration(seconds),
                user=None,
                role=role,
                name=name,
                policy=restrictions.policy,
                policy_arns=restrictions.policy_arns,
            )
        )
        return {
            "Credentials": _credentials(session),
            "SubjectFromWebIdentityToken": claims["sub"],
            "AssumedRoleUser": {
                "AssumedRoleId": f"{role.role_id}:{name}",
                "Arn": f"arn:aws:sts::{role.account}:assumed-role/{role.name}/{name}",
            },
            "Provider": claims["iss"],
            "Audience": audience[0],
        }

    def _trusting_role(
        self,
        caller: Caller,
        arn: str,
        external_id: str | None,
        mfa: bool,
        mfa_at: float | None,
    ) -> Role:
        _authorise(caller, "sts:AssumeRole", arn)
        role = self._directory.roles.get(arn)
        federated = caller.session is not None and caller.session.kind == "federated"
        if (
            role is None
            or federated
            or role.trusts.isdisjoint(caller.principals)
            or (role.external_id is not None and role.external_id != external_id)
            or (role.require_mfa and not mfa)
            or not self._fresh_enough(role, mfa_at)
        ):
            raise _not_authorised(caller, "sts:AssumeRole", arn)
        return role

    def _fresh_enough(self, role: Role, mfa_at: float | None) -> bool:
        if role.max_mfa_age is None:
            return True
        return mfa_at is not None and self._clock() - mfa_at < role.max_mfa_age

    def _spend(self, caller: Caller, presented: tuple[str | None, str | None]) -> None:
        serial, code = presented
        if serial is None or code is None:
            raise access_denied(
                "MultiFactorAuthentication failed, must provide both MFA serial number and one "
                "time pass code."
            )
        long_term = caller.user is not None and caller.session is None
        device = caller.user.devices.get(serial) if caller.user is not None else None
        if not long_term or device is None:
            raise access_denied(
                "MultiFactorAuthentication failed, unable to validate MFA code.  Please verify "
                "your MFA serial number is valid and associated with this user."
            )
        if not device.accept(code, self._clock()):
            raise access_denied(
                "MultiFactorAuthentication failed with invalid MFA one time pass code. "
            )

    def _expiration(self, seconds: int) -> float:
        return float(int(self._clock()) + seconds)


def _presented(parameters: Parameters) -> tuple[str | None, str | None] | None:
    serial = parameters.text("SerialNumber", least=9, most=256, pattern=SERIAL)
    code = parameters.text("TokenCode", least=6, most=6, pattern=CODE)
    return None if serial is None and code is None else (serial, code)


def _inherited_tags(earlier: Session | None, restrictions: Restrictions) -> dict[str, str]:
    if earlier is None:
        return {}
    inherited = {key: earlier.tags[key] for key in earlier.transitive_tag_keys}
    asked = {key.casefold() for key in restrictions.tags}
    if not asked.isdisjoint(key.casefold() for key in inherited):
        raise invalid_value(
            "One of the specified transitive tag keys can't be set because it conflicts with a "
            "transitive tag key from the calling session."
        )
    return inherited


def _source_identity(earlier: Session | None, asked: str | None) -> str | None:
    if earlier is None or earlier.source_identity is None:
        return asked
    if asked not in (None, earlier.source_identity):
        raise access_denied("The source identity is already set for this assume role session")
    return earlier.source_identity


def _check_role_allows(
    caller: Caller, role: Role, restrictions: Restrictions, identity: str | None
) -> None:
    if restrictions.tags:
        _authorise(caller, "sts:TagSession", role.arn)
        if role.tag_keys is not None and not role.tag_keys.issuperset(restrictions.tags):
            raise _not_authorised(caller, "sts:TagSession", role.arn)
    if identity is not None:
        _authorise(caller, "sts:SetSourceIdentity", role.arn)
        if role.source_identities is not None and identity not in role.source_identities:
            raise _not_authorised(caller, "sts:SetSourceIdentity", role.arn)


def _chained(caller: Caller) -> bool:
    return caller.session is not None and caller.session.kind == "role"


def _authorise(caller: Caller, action: str, resource: str) -> None:
    if not caller.may(action):
        raise _not_authorised(caller, action, resource)


def _not_authorised(caller: Caller, action: str, resource: str) -> Refusal:
    return access_denied(
        f"User: {caller.arn} is not authorized to perform: {action} on resource: {resource}"
    )


def _credentials(session: Session) -> dict[str, Result]:
    return {
        "AccessKeyId": session.access_key_id,
        "SecretAccessKey": session.secret_access_key,
        "SessionToken": session.session_token,
        "Expiration": iso(session.expiration),
    }
