"""Which calls a profile needs, in which order and why: pure data, nothing is called.

The rules are AWS Vault's (its session before a role, one token code for the whole chain, the
hour that AWS grants to chained roles), with every session cached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.aws.endpoint import FALLBACK_REGION, Endpoint
from filevault.awsvariables import ChildSettings
from filevault.errors import ConfigError, NoCredentialsError
from filevault.exportcommand import parse
from filevault.printable import printable, shell_word
from filevault.providers import account, limits
from filevault.providers.limits import Duration
from filevault.providers.steps import (
    AssumeRole,
    FederationToken,
    MfaRequest,
    SessionToken,
    Source,
    Step,
    StoredKey,
    calls,
)
from filevault.times import format_duration
from filevault.values import Value

if TYPE_CHECKING:
    from filevault.profiles import Profile

_ROLE = 3600
_SESSION = 3600
_MFA_SESSION = 28800
_FEDERATION = 3600


class Options(Value):
    """What the command line and the environment ask of the plan; durations are in seconds.

    `duration` is `--duration` or AWS_VAULT_DURATION, the four others are AWS_ASSUME_ROLE_TTL,
    AWS_SESSION_TOKEN_TTL, AWS_CHAINED_SESSION_TOKEN_TTL and AWS_FEDERATION_TOKEN_TTL. `console`
    says that the credentials are to sign in, which those of GetSessionToken cannot; `for_iam`
    that IAM is to be called, which takes no session of GetSessionToken made without MFA.
    """

    no_session: bool = False
    duration: int | None = None
    assume_role_ttl: int | None = None
    session_token_ttl: int | None = None
    chained_session_token_ttl: int | None = None
    federation_token_ttl: int | None = None
    console: bool = False
    for_iam: bool = False


class Plan(Value):
    """The outermost step, with its sources inside, and a sentence for each choice.

    `region`, `endpoint_url` and `child` are the child's, None where the profile has none.
    `warnings` are what a person should know before it is carried out. `account_id` is the account
    of the credentials as far as the AWS config says it; `at_aws` says that no address is set, so
    that AWS itself answers.
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


def plan(profile: Profile, options: Options) -> Plan:
    """Decide how a profile gets its credentials.

    Raises:
        NoCredentialsError: if the profile, or the one at the end of its sources, has none.
        ConfigError: for a source that is not built in, and for values that STS would refuse.
        UsageError: for a `--duration` that STS would refuse.
    """
    chain = [profile]
    while chain[-1].source == "profile" and chain[-1].source_profile is not None:
        chain.append(chain[-1].source_profile)
    chain.reverse()
    _check_source(chain[0])
    planner = _Planner(options)
    key = StoredKey(chain[0].name)
    step: Step
    if chain[0].shadowed:
        planner.say(chain[0], f"the stored key is used, not {' or '.join(chain[0].shadowed)}")
    if options.console and all(each.role_arn is None for each in chain):
        step = planner.federation(profile, key)
    else:
        step = planner.chain(chain, key)
    account_id, conflict = account.configured(step, chain)
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


_SETTINGS = {
    "sso": ("sso_session", "sso_start_url"),
    "web-identity": ("web_identity_token_file", "web_identity_token_process"),
    "process": ("credential_process",),
    "credential-source": ("credential_source",),
}


def _check_source(root: Profile) -> None:
    name = printable(root.name)
    if root.source == "stored":
        return
    command = parse(root.credential_process or "") if root.source == "process" else None
    if command is not None and command.profile != root.name:
        words = " ".join(shell_word(word) for word in command.options())
        raise ConfigError(
            f"profile {name!r} is for SDKs: its credential_process runs filevault for profile "
            f"{printable(command.profile)!r}",
            hint=f"name that profile: filevault {words and words + ' '}exec "
            f"{shell_word(command.profile)}",
        )
    if root.source in _SETTINGS and command is None:
        names = _SETTINGS[root.source]
        setting = next((each for each in names if getattr(root, each) is not None), names[0])
        raise ConfigError(
            f"profile {name!r} takes its credentials from {setting}, which this version of "
            "filevault cannot do",
            hint=f"store a key for it: filevault add {name}",
        )
    raise NoCredentialsError(
        f"profile {name!r} has neither a stored key nor a source of credentials",
        hint=f"filevault add {name} stores a key for it (`~/.aws/credentials` is never a source)",
    )


def federation_seconds(options: Options) -> int:
    """Return how long a federated user's session shall live, in seconds.

    Raises UsageError or ConfigError for what STS would refuse.
    """
    duration = _federation_duration(options)
    return duration.checked("GetFederationToken", limits.LONGEST_FEDERATION)


def _federation_duration(options: Options) -> Duration:
    if options.duration is not None:
        return _asked(options.duration)
    if options.federation_token_ttl is not None:
        return Duration(options.federation_token_ttl, "AWS_FEDERATION_TOKEN_TTL")
    return Duration(_FEDERATION)


class _Planner:
    """Makes the steps of one plan and notes why."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.reasons: list[str] = []
        self.warnings: list[str] = []

    def say(self, profile: Profile, reason: str) -> None:
        sentence = f"{printable(profile.name)}: {reason}"
        if sentence not in self.reasons:
            self.reasons.append(sentence)

    def chain(self, profiles: list[Profile], key: StoredKey) -> Source:
        """Go from the stored key through the profiles that follow each other, outermost last."""
        step: Source = key
        for index, each in enumerate(profiles):
            above = profiles[index + 1 :]
            if isinstance(step, StoredKey):
                step = self.session(each, above, step)
            if each.role_arn is not None:
                step = self.role(each, each.role_arn, step)
        return step

    def session(
        self, profile: Profile, above: list[Profile], key: StoredKey
    ) -> StoredKey | SessionToken:
        """Put GetSessionToken before what the stored key is used for, or say why not."""
        reason = self._no_session(profile, above)
        if reason is not None:
            self.say(profile, reason)
            return key
        limits.check_serial(profile)
        mfa = _mfa(profile)
        duration = self._session_duration(mfa is not None, chained=bool(above))
        outermost = all(each.role_arn is None for each in (profile, *above))
        if outermost:
            self.say(profile, "a session is handed out instead of the stored key")
        else:
            self.say(profile, "a session with MFA comes first: one code serves every role")
        if duration.origin is not None:
            self.say(profile, f"{duration.origin} sets the session's duration")
        return SessionToken(
            profile=profile.name,
            source=key,
            duration=duration.checked("GetSessionToken", limits.LONGEST_SESSION_TOKEN),
            endpoint=self._endpoint(profile),
            mfa=mfa,
            exact=outermost and self._options.duration is not None,
        )

    def federation(self, profile: Profile, key: StoredKey) -> FederationToken:
        """Make the stored key of a user fit for the console."""
        self.say(
            profile, "a user's session cannot sign in, so a federated user stands for the user"
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
            source=key,
            duration=federation_seconds(self._options),
            endpoint=self._endpoint(profile),
        )

    def role(self, profile: Profile, role_arn: str, source: Source) -> AssumeRole:
        """Assume a profile's role."""
        limits.check_role(profile)
        return AssumeRole(
            profile=profile.name,
            source=source,
            role_arn=role_arn,
            duration=self._capped(profile, source),
            endpoint=self._endpoint(profile),
            mfa=self._role_mfa(profile, source),
            external_id=profile.external_id,
            session_name=profile.role_session_name,
            tags=profile.session_tags,
            transitive_tags=profile.transitive_session_tags,
            source_identity=profile.source_identity,
        )

    def _no_session(self, profile: Profile, above: list[Profile]) -> str | None:
        """Return why there is no session before the profile's key is used, None if there is."""
        if self._options.no_session:
            if above or profile.role_arn is not None:
                return "no session, as --no-session asks"
            return "the stored key itself is handed out, as --no-session asks"
        child = above[0] if above else None
        if self._rotates_own_key(profile, child):
            return None
        if profile.role_arn is not None and (child is None or child.role_arn is None):
            return "no session: the role is assumed with the stored key"
        if child is None and self._options.for_iam and profile.mfa_serial is None:
            return "no session: IAM takes none that was made without MFA"
        if child is None:
            return None
        if profile.mfa_serial is None or child.mfa_serial is None:
            which = profile if profile.mfa_serial is None else child
            return f"no session: {printable(which.name)} has no mfa_serial, so it would spare none"
        roles = [each for each in (profile, *above) if each.role_arn is not None]
        different = [
            each
            for each in (child, *roles[:1])
            if each.mfa_serial not in (None, profile.mfa_serial)
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
        """Tell whether a session with MFA serves the role of the key's own section and the user.

        Where the role may not change keys the user can, and AWS takes each token code once.
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

    def _capped(self, profile: Profile, source: Source) -> int:
        duration = self._role_duration(profile)
        if not isinstance(source, StoredKey) and duration.seconds > limits.LONGEST_CHAINED_ROLE:
            self.say(
                profile,
                f"{duration.origin} asks for {format_duration(duration.seconds)}, but a role that "
                "is assumed from a session gets an hour",
            )
            return limits.LONGEST_CHAINED_ROLE
        if duration.origin is not None:
            self.say(profile, f"{duration.origin} sets the role's duration")
        return duration.checked("AssumeRole", limits.LONGEST_ROLE)

    def _role_mfa(self, profile: Profile, source: Source) -> MfaRequest | None:
        if profile.mfa_serial is None:
            return None
        if not isinstance(source, StoredKey):
            if profile.mfa_serial == _carried(source):
                self.say(profile, "no second token code: the first session carries the MFA")
            else:
                self.say(profile, "no MFA: a role's session cannot present a device")
            return None
        limits.check_serial(profile)
        self.say(profile, "the role is assumed with MFA")
        return _mfa(profile)

    def _endpoint(self, profile: Profile) -> Endpoint:
        if profile.region is None:
            self.say(profile, f"no region is set, so STS is asked in {FALLBACK_REGION}")
        return Endpoint(
            profile.region or FALLBACK_REGION,
            profile.sts_endpoint_url,
            profile.sts_regional_endpoints or "regional",
            profile.use_fips_endpoint,
            profile.use_dualstack_endpoint,
        )


def _asked(seconds: int) -> Duration:
    return Duration(seconds, "--duration (AWS_VAULT_DURATION)", option=True)


def _carried(source: Source) -> str | None:
    """Return the serial of the MFA device that the session at the bottom carries."""
    found = calls(source)
    mfa = found[0].mfa if found else None
    return None if mfa is None else mfa.serial


def _mfa(profile: Profile) -> MfaRequest | None:
    if profile.mfa_serial is None:
        return None
    return MfaRequest(profile.mfa_serial, profile.mfa_process)
