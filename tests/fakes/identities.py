"""The kinds of principals: users with their keys and MFA devices, roles, and sessions."""

from __future__ import annotations

import base64
import fnmatch
import secrets
from collections.abc import Collection, Mapping
from typing import Literal, NamedTuple

from tests.fakes.clock import Clock
from tests.fakes.totp import STEP_SECONDS, matching_steps, totp

_ID_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


def new_id(prefix: str) -> str:
    """Make a unique id as IAM does: four letters for the kind, then sixteen of base32."""
    return prefix + "".join(secrets.choice(_ID_LETTERS) for _ in range(16))


def new_key_id(account: str) -> str:
    """Make the id of an access key, which carries the number of its account as IAM's do."""
    number = 1 << 79 | int(account) << 39 | secrets.randbits(39)
    return "AKIA" + "".join(_ID_LETTERS[number >> shift & 31] for shift in range(75, -1, -5))


def new_secret() -> str:
    """Make a secret access key: 40 characters of base64."""
    return base64.b64encode(secrets.token_bytes(30)).decode()


def new_token() -> str:
    """Make a session token, of no fixed length, with all the characters that base64 has."""
    size = 300 + secrets.randbelow(90)
    return "IQoJb3JpZ2luX2Vj" + base64.b64encode(secrets.token_bytes(size)).decode()


class IamKey:
    """A long-term access key of a user."""

    __slots__ = (
        "access_key_id",
        "created",
        "known_from",
        "last_used",
        "secret_access_key",
        "status",
        "unknown_attempts",
        "user",
    )

    def __init__(
        self, user: User, access_key_id: str, secret_access_key: str, created: float
    ) -> None:
        self.user = user
        self.access_key_id = access_key_id
        self.secret_access_key = secret_access_key
        self.status: Literal["Active", "Inactive"] = "Active"
        self.created = created
        self.last_used: tuple[float, str, str] | None = None
        """When, and with which service in which region."""
        self.known_from = created
        """Before this time the key is unknown to every service."""
        self.unknown_attempts = 0
        """So many more uses find the key unknown."""


class MfaDevice:
    """A virtual MFA device; each step's code is accepted once."""

    __slots__ = ("_used_steps", "seed", "serial")

    def __init__(self, serial: str, seed: bytes) -> None:
        self.serial = serial
        self.seed = seed
        self._used_steps: set[int] = set()

    @property
    def base32_seed(self) -> str:
        """Return the seed as AWS shows it to whoever registers the device."""
        return base64.b32encode(self.seed).decode()

    def accept(self, code: str, at: float) -> bool:
        """Use up a code; False if it is wrong, out of its time, or used."""
        for step in matching_steps(self.seed, code, at):
            if step not in self._used_steps:
                self._used_steps.add(step)
                return True
        return False


class User:
    """An IAM user. `denied` holds actions, with `*` as wildcard, that its policies do not allow."""

    def __init__(self, name: str, account: str, path: str, clock: Clock) -> None:
        self.name = name
        self.account = account
        self.path = path
        self.user_id = new_id("AIDA")
        self.created = clock()
        self.keys: dict[str, IamKey] = {}
        self.devices: dict[str, MfaDevice] = {}
        self.denied: set[str] = set()
        self.access_key_id = ""
        """The key that the user was made with, whatever became of it."""
        self.secret_access_key = ""
        self._clock = clock

    @property
    def arn(self) -> str:
        """Return the user's ARN, path included."""
        return f"arn:aws:iam::{self.account}:user{self.path}{self.name}"

    @property
    def mfa_serial(self) -> str:
        """Return the serial of the user's first MFA device."""
        return self._device(None).serial

    @property
    def mfa_seed(self) -> str:
        """Return the base32 seed of the user's first MFA device."""
        return self._device(None).base32_seed

    def totp(self, serial: str | None = None, *, ahead: int = 0) -> str:
        """Return the code valid at the fake's clock, or so many 30-second steps later."""
        return totp(self._device(serial).seed, self._clock() + ahead * STEP_SECONDS)

    def _device(self, serial: str | None) -> MfaDevice:
        if not self.devices:
            raise LookupError(f"user {self.name} has no MFA device")
        return next(iter(self.devices.values())) if serial is None else self.devices[serial]


class Role:
    """An IAM role. `trusts` holds ARNs, or accounts whose every principal may assume it.

    `max_mfa_age` is a condition on `aws:MultiFactorAuthAge`, in seconds.
    `source_identities` and `tag_keys` are what its trust policy lets sessions set; None is all.
    """

    def __init__(
        self,
        name: str,
        account: str,
        path: str,
        *,
        trusts: frozenset[str],
        max_session_duration: int,
        external_id: str | None,
        require_mfa: bool,
        max_mfa_age: int | None,
        source_identities: frozenset[str] | None,
        tag_keys: frozenset[str] | None,
    ) -> None:
        self.name = name
        self.account = account
        self.path = path
        self.role_id = new_id("AROA")
        self.trusts = trusts
        self.max_session_duration = max_session_duration
        self.external_id = external_id
        self.require_mfa = require_mfa
        self.max_mfa_age = max_mfa_age
        self.source_identities = source_identities
        self.tag_keys = tag_keys
        self.denied: set[str] = set()

    @property
    def arn(self) -> str:
        """Return the role's ARN, path included."""
        return f"arn:aws:iam::{self.account}:role{self.path}{self.name}"


class Session:
    """Temporary credentials and what they stand for."""

    def __init__(
        self,
        kind: Literal["session-token", "role", "federated", "login"],
        expiration: float,
        *,
        user: User | None,
        role: Role | None = None,
        name: str = "",
        mfa: bool = False,
        mfa_at: float | None = None,
        chain_depth: int = 0,
        tags: Mapping[str, str] | None = None,
        transitive_tag_keys: Collection[str] = (),
        source_identity: str | None = None,
        policy: str | None = None,
        policy_arns: tuple[str, ...] = (),
    ) -> None:
        self.access_key_id = new_id("ASIA")
        self.secret_access_key = new_secret()
        self.session_token = new_token()
        self.kind = kind
        self.expiration = expiration
        self.user = user
        """The user at the root of the chain."""
        self.role = role
        self.name = name
        self.mfa = mfa
        self.mfa_at = mfa_at
        """When the code was presented."""
        self.chain_depth = chain_depth
        """How many roles were assumed on the way."""
        self.tags = dict(tags or {})
        self.transitive_tag_keys = frozenset(transitive_tag_keys)
        self.source_identity = source_identity
        self.policy = policy
        self.policy_arns = policy_arns


class Caller(NamedTuple):
    """Whoever signed a request. `user` is None for roles and federated users."""

    arn: str
    user_id: str
    account: str
    denied: frozenset[str]
    mfa: bool
    user: User | None
    session: Session | None

    def may(self, action: str) -> bool:
        """Tell whether the caller's own policies allow an action such as `iam:GetUser`."""
        return not any(fnmatch.fnmatchcase(action, pattern) for pattern in self.denied)

    @property
    def principals(self) -> frozenset[str]:
        """List the names by which a trust policy may mean the caller."""
        role = self.session.role if self.session is not None else None
        names = {self.arn, self.account, f"arn:aws:iam::{self.account}:root"}
        return frozenset(names | ({role.arn} if role is not None else set()))


def caller_of(holder: IamKey | Session) -> Caller:
    """Tell whom credentials stand for."""
    if isinstance(holder, IamKey):
        user, session = holder.user, None
        return Caller(
            user.arn, user.user_id, user.account, frozenset(user.denied), False, user, session
        )
    if holder.kind == "role" and holder.role is not None:
        role = holder.role
        return Caller(
            f"arn:aws:sts::{role.account}:assumed-role/{role.name}/{holder.name}",
            f"{role.role_id}:{holder.name}",
            role.account,
            frozenset(role.denied),
            holder.mfa,
            None,
            holder,
        )
    if holder.user is None:
        raise LookupError(f"session {holder.access_key_id} stands for nobody")
    user = holder.user
    denied = frozenset(user.denied)
    if holder.kind == "federated":
        arn = f"arn:aws:sts::{user.account}:federated-user/{holder.name}"
        name = f"{user.account}:{holder.name}"
        return Caller(arn, name, user.account, denied, holder.mfa, None, holder)
    return Caller(user.arn, user.user_id, user.account, denied, holder.mfa, user, holder)
