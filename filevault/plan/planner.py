"""The plan of a profile: the calls that it needs, their order, durations and reasons.

The plan is pure data; nothing is called. A chained role gets an hour at most, as AWS grants no
more. The rules are AWS Vault's: its session before a role, one token code for the whole chain.
But every session can be cached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.config.aws_variables import ChildSettings
from filevault.plan import account, limits
from filevault.plan.limits import Duration
from filevault.plan.sts_endpoint import sts_endpoint
from filevault.sources import source_of
from filevault.system.printable import printable
from filevault.system.record import Record
from filevault.system.times import format_duration

if TYPE_CHECKING:
    from filevault.aws.endpoint import Endpoint
    from filevault.calls.assume_role import AssumeRole
    from filevault.calls.assume_role_with_web_identity import AssumeRoleWithWebIdentity
    from filevault.calls.get_federation_token import FederationToken
    from filevault.config.profile import Profile
    from filevault.mfa.request import MfaRequest
    from filevault.sources.source import Source, Step

_ROLE = 3600
_SESSION = 3600
_MFA_SESSION = 28800
_FEDERATION = 3600


class PlanOptions(Record):
    """Options and variables that decide a plan; durations are in seconds.

    `duration` is `--duration` or AWS_VAULT_DURATION, the four others are AWS_ASSUME_ROLE_TTL,
    AWS_SESSION_TOKEN_TTL, AWS_CHAINED_SESSION_TOKEN_TTL and AWS_FEDERATION_TOKEN_TTL. With
    `console` the credentials must be able to sign in to the console; those of GetSessionToken
    cannot. With `for_iam` they must be able to call IAM; those of GetSessionToken can only with
    MFA.
    """

    no_session: bool = False
    duration: int | None = None
    assume_role_ttl: int | None = None
    session_token_ttl: int | None = None
    chained_session_token_ttl: int | None = None
    federation_token_ttl: int | None = None
    console: bool = False
    for_iam: bool = False


class Plan(Record):
    """How a profile gets its credentials.

    `step` is the last step, which contains its parents. `region`, `endpoint_url` and `child` are
    settings for the command that gets the credentials. `reasons` has a sentence for each choice,
    for `--explain`; `warnings` are printed before the plan is carried out. `account_id` is the
    account of the credentials as far as the AWS config states it. `at_aws` is True if no endpoint
    URL is set, so that AWS itself answers.
    """

    step: Step
    profile: str
    region: str | None
    endpoint_url: str | None
    reasons: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    child: ChildSettings = ChildSettings()
    account_id: str | None = None
    at_aws: bool = False


def plan(profile: Profile, options: PlanOptions) -> Plan:
    """Decide how a profile gets its credentials.

    Raises:
        NoCredentialsError: if the profile at the source end of the chain names no source.
        NoSourceError: for a role with nothing to assume it with.
        ConfigError: for a source that is not built in, and for values that STS would refuse.
        UsageError: for a `--duration` that STS would refuse.
    """
    chain = profile.chain
    source = source_of(chain[0])
    if source is None:
        from filevault.plan.missing_source import missing_source

        raise missing_source(chain[0])
    planner = _Planner(options, chain)
    if chain[0].source != "stored":
        planner.say(chain[0], f"its credentials come from {chain[0].source_where}")
    for each in chain:
        if each.shadowed:
            planner.say(each, f"{_used(each)} before {', '.join(each.shadowed)}")
    step: Step
    if options.console and source.is_long_term and all(each.role_arn is None for each in chain):
        step = planner.federation(profile, source)
    else:
        step = planner.steps(chain, source)
    account_id, conflict = account.configured_account(step, chain)
    return Plan(
        step,
        profile.name,
        profile.region,
        profile.endpoint_url,
        tuple(planner.reasons),
        (*planner.warnings, *conflict),
        profile.child,
        account_id,
        at_aws=profile.endpoint_url is None and profile.sts_endpoint_url is None,
    )


def _used(profile: Profile) -> str:
    """Return which of several sources of a profile is used, for a reason."""
    if profile.source == "stored":
        return "its stored key signs and goes"
    if profile.source == "profile":
        return "source_profile is followed and goes"
    return f"{profile.source_where} is used and goes"


def federation_seconds(options: PlanOptions) -> int:
    """Return the duration of a federated user's session, in seconds.

    Raises UsageError or ConfigError for what STS would refuse.
    """
    duration = _federation_duration(options)
    return duration.checked("GetFederationToken", limits.LONGEST_FEDERATION)


def _federation_duration(options: PlanOptions) -> Duration:
    if options.duration is not None:
        return _asked(options.duration)
    if options.federation_token_ttl is not None:
        return Duration(options.federation_token_ttl, "AWS_FEDERATION_TOKEN_TTL")
    return Duration(_FEDERATION)


class _Planner:
    """Makes the steps of one plan and records the reason for each."""

    def __init__(self, options: PlanOptions, chain: list[Profile]) -> None:
        self._options = options
        self._chain = chain
        # Why the key is used without a session; dropped if a later profile gets one.
        self._without: list[tuple[Profile, str]] = []
        self.reasons: list[str] = []
        self.warnings: list[str] = []

    def say(self, profile: Profile, reason: str) -> None:
        sentence = f"{printable(profile.name)}: {reason}"
        if sentence not in self.reasons:
            self.reasons.append(sentence)

    def steps(self, profiles: list[Profile], source: Source) -> Step:
        """Go from the source through the profiles that follow each other, the target last."""
        step: Step = source
        for index, each in enumerate(profiles):
            above = profiles[index + 1 :]
            if step.is_long_term:
                step = self.session(each, above, source)
            if each.role_arn is not None:
                self._say_why_without()
                if each.source == "web-identity":
                    step = self.web_identity_role(each, each.role_arn, source)
                else:
                    step = self.role(each, each.role_arn, step)
        self._say_why_without()
        return step

    def _say_why_without(self) -> None:
        for profile, reason in self._without:
            self.say(profile, reason)
        self._without.clear()

    def session(self, profile: Profile, above: list[Profile], key: Source) -> Step:
        """Plan GetSessionToken before the uses of the stored key, or note the reason against it."""
        reason = self._no_session(profile, above)
        if reason is not None:
            self._without.append((profile, reason))
            return key
        self._without.clear()
        device = _device(profile, above)
        limits.check_serial(device)
        mfa = _mfa(device)
        duration = self._session_duration(mfa is not None, chained=bool(above))
        outermost = all(each.role_arn is None for each in (profile, *above))
        if outermost:
            self.say(profile, "a session is issued instead of the stored key")
        else:
            whose = "" if device is profile else f", with the device of {printable(device.name)}"
            self.say(profile, f"a session with MFA comes first{whose}: one code serves every role")
        if duration.origin is not None:
            self.say(profile, f"{duration.origin} sets the session's duration")
        from filevault.calls.get_session_token import SessionToken

        return SessionToken(
            profile=profile.name,
            parent=key,
            duration=duration.checked("GetSessionToken", limits.LONGEST_SESSION_TOKEN),
            endpoint=self._endpoint(profile),
            mfa=mfa,
            exact=outermost and self._options.duration is not None,
        )

    def federation(self, profile: Profile, key: Source) -> FederationToken:
        """Plan a federated user, who can sign in to the console where the key's user cannot."""
        from filevault.calls.get_federation_token import FederationToken

        self.say(
            profile, "the session of a user cannot sign in, so that of a federated user is used"
        )
        duration = _federation_duration(self._options)
        if duration.origin is not None:
            self.say(profile, f"{duration.origin} sets the session's duration")
        if profile.mfa_serial is not None:
            self.say(profile, "no MFA: GetFederationToken takes no code")
            self.warnings.append(
                f"the console session of {printable(profile.name)!r} carries no MFA, which AWS "
                "grants to roles only: policies that demand it will refuse"
            )
        return FederationToken(
            profile=profile.name,
            parent=key,
            duration=federation_seconds(self._options),
            endpoint=self._endpoint(profile),
        )

    def role(self, profile: Profile, role_arn: str, parent: Step) -> AssumeRole:
        """Plan to assume a profile's role."""
        from filevault.calls.assume_role import AssumeRole

        limits.check_role(profile)
        return AssumeRole(
            profile=profile.name,
            parent=parent,
            role_arn=role_arn,
            duration=self._capped_if_chained(profile, parent),
            endpoint=self._endpoint(profile),
            mfa=self._role_mfa(profile, parent),
            fresh_mfa=self._fresh_mfa(profile, parent),
            external_id=profile.external_id,
            session_name=profile.role_session_name,
            tags=profile.session_tags,
            transitive_tags=profile.transitive_session_tags,
            source_identity=profile.source_identity,
        )

    def web_identity_role(
        self, profile: Profile, role_arn: str, source: Source
    ) -> AssumeRoleWithWebIdentity:
        """Plan to exchange a web identity token for the credentials of a profile's role."""
        from filevault.calls.assume_role_with_web_identity import AssumeRoleWithWebIdentity
        from filevault.sources.web_identity import WebIdentity

        if not isinstance(source, WebIdentity):
            raise TypeError(f"{type(source).__name__} is no web identity token")
        limits.check_role(profile)
        duration = self._role_duration(profile)
        if duration.origin is not None:
            self.say(profile, f"{duration.origin} sets the role's duration")
        if profile.mfa_serial is not None:
            self.say(profile, "no MFA: a web identity token takes its place")
        left_out = [
            name
            for name, value in (
                ("external_id", profile.external_id),
                ("session_tags", profile.session_tags),
                ("transitive_session_tags", profile.transitive_session_tags),
                ("source_identity", profile.source_identity),
            )
            if value
        ]
        if left_out:
            self.warnings.append(
                f"{' and '.join(left_out)} of profile {printable(profile.name)!r} cannot be sent: "
                "AssumeRoleWithWebIdentity does not take them, the token carries its own"
            )
        return AssumeRoleWithWebIdentity(
            profile=profile.name,
            parent=source,
            role_arn=role_arn,
            duration=duration.checked("AssumeRoleWithWebIdentity", limits.LONGEST_ROLE),
            endpoint=self._endpoint(profile),
            session_name=profile.role_session_name,
        )

    def _no_session(self, profile: Profile, above: list[Profile]) -> str | None:
        """Return why there is no session before the profile's key is used, None if there is."""
        if self._options.no_session:
            if above or profile.role_arn is not None:
                return "no session, as --no-session asks"
            return "the stored key itself is issued, as --no-session asks"
        child = above[0] if above else None
        if self._rotates_own_key(profile, child):
            return None
        if profile.role_arn is not None and (child is None or child.role_arn is None):
            return "no session: the role is assumed with the stored key"
        if child is None and self._options.for_iam and profile.mfa_serial is None:
            return "no session: IAM accepts none that was made without MFA"
        if child is None:
            return None
        roles = [each for each in (profile, *above) if each.role_arn is not None]
        device = _device(profile, above)
        if device.mfa_serial is None or child.mfa_serial is None:
            which = child if child.mfa_serial is None else profile
            return (
                f"no session: {printable(which.name)} has no mfa_serial, so it would save no code"
            )
        different = [
            each for each in (child, *roles[:1]) if each.mfa_serial not in (None, device.mfa_serial)
        ]
        if different:
            return f"no session: {printable(different[0].name)} needs another MFA device"
        if len(roles) == 1 and self._role_duration(roles[0]).seconds > limits.LONGEST_CHAINED_ROLE:
            return (
                f"no session: {printable(roles[0].name)} is to last longer than the hour that a "
                "session can ask for"
            )
        return None

    def _rotates_own_key(self, profile: Profile, child: Profile | None) -> bool:
        """Return whether a rotation needs a session with MFA for the key's own profile.

        The session serves the role of that profile's section and, where the role may not change
        keys, the user; AWS takes each token code only once.
        """
        return self._options.for_iam and child is None and profile.mfa_serial is not None

    def _session_duration(self, with_mfa: bool, *, chained: bool) -> Duration:
        options = self._options
        if options.duration is not None:
            return _asked(options.duration)
        if chained and options.chained_session_token_ttl is not None:
            return Duration(options.chained_session_token_ttl, "AWS_CHAINED_SESSION_TOKEN_TTL")
        if not chained and options.session_token_ttl is not None:
            return Duration(options.session_token_ttl, "AWS_SESSION_TOKEN_TTL")
        return Duration(_MFA_SESSION if with_mfa else _SESSION)

    def _role_duration(self, profile: Profile) -> Duration:
        options = self._options
        if options.duration is not None:
            return _asked(options.duration)
        if options.assume_role_ttl is not None:
            return Duration(options.assume_role_ttl, "AWS_ASSUME_ROLE_TTL")
        if profile.duration_seconds is not None:
            return Duration(
                profile.duration_seconds, f"duration_seconds of {printable(profile.name)}"
            )
        return Duration(_ROLE)

    def _capped_if_chained(self, profile: Profile, parent: Step) -> int:
        """Return a role's duration; AWS grants a chained role no more than an hour."""
        duration = self._role_duration(profile)
        if not parent.may_be_users and duration.seconds > limits.LONGEST_CHAINED_ROLE:
            self.say(
                profile,
                f"{duration.origin} asks for {format_duration(duration.seconds)}, but a role that "
                "is assumed from a session gets an hour",
            )
            return limits.LONGEST_CHAINED_ROLE
        if duration.origin is not None:
            self.say(profile, f"{duration.origin} sets the role's duration")
        return duration.checked("AssumeRole", limits.LONGEST_ROLE)

    def _role_mfa(self, profile: Profile, parent: Step) -> MfaRequest | None:
        if profile.mfa_serial is None:
            return None
        if not parent.may_be_users:
            if profile.mfa_serial == parent.carried_mfa:
                self.say(profile, "no second token code: the first session carries the MFA")
            else:
                self.say(profile, "no MFA: a role's session cannot present a device")
            return None
        limits.check_serial(profile)
        self.say(profile, "the role is assumed with MFA")
        return _mfa(profile)

    def _fresh_mfa(self, profile: Profile, parent: Step) -> MfaRequest | None:
        """Return the device for a new code, if AWS refuses the MFA of the user's session."""
        if parent.is_user_session and profile.mfa_serial == parent.carried_mfa:
            return _mfa(profile)
        return None

    def _endpoint(self, profile: Profile) -> Endpoint:
        endpoint = sts_endpoint(profile, self._chain)
        if profile.region is None:
            self.say(profile, f"no region is set, so STS is asked in {endpoint.region}")
        return endpoint


def _device(profile: Profile, above: list[Profile]) -> Profile:
    """Return the profile whose MFA device is used for a session of `profile`.

    The AWS CLI's guide sets `mfa_serial` only in the sections of roles. If the key's profile has
    none, the device is that of the role whose `source_profile` it is.
    """
    if profile.mfa_serial is None and profile.role_arn is None and above:
        return above[0] if above[0].role_arn is not None else profile
    return profile


def _asked(seconds: int) -> Duration:
    return Duration(seconds, "--duration (AWS_VAULT_DURATION)", option=True)


def _mfa(profile: Profile) -> MfaRequest | None:
    if profile.mfa_serial is None:
        return None
    from filevault.mfa.request import MfaRequest

    return MfaRequest(profile.mfa_serial, profile.mfa_process)
