"""Who exists in the accounts of the fake: users, roles, and the sessions given out.

Plain state and its invariants; which request may do what is the business of the services.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterable

from tests.fakes.clock import Clock
from tests.fakes.identities import IamKey, MfaDevice, Role, Session, User, new_key_id, new_secret
from tests.fakes.refusal import Refusal

ACCOUNT = "123456789012"
KEYS_PER_USER = 2


class Directory:
    """All accounts of the fake."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.users: dict[tuple[str, str], User] = {}
        """By account and name."""
        self.roles: dict[str, Role] = {}
        """By ARN."""
        self.keys: dict[str, IamKey] = {}
        self.sessions: dict[str, Session] = {}
        self.secrets: set[str] = set()
        """Every secret key, token and seed ever given out."""
        self.propagation_seconds = 0.0
        self.propagation_attempts = 0

    def add_user(
        self,
        name: str,
        *,
        account: str = ACCOUNT,
        path: str = "/",
        mfa: bool = False,
        mfa_serial: str | None = None,
        mfa_seed: str | None = None,
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
        denied: Iterable[str] = (),
    ) -> User:
        """Make a user with one active access key and, if asked for, an MFA device."""
        if (account, name) in self.users:
            raise ValueError(f"user {name} exists already")
        user = User(name, account, path, self._clock)
        user.denied.update(denied)
        key = self.add_access_key(user, access_key_id, secret_access_key)
        user.access_key_id = key.access_key_id
        user.secret_access_key = key.secret_access_key
        if mfa or mfa_serial or mfa_seed:
            self.add_mfa_device(user, mfa_serial, mfa_seed)
        self.users[account, name] = user
        return user

    def add_access_key(
        self, user: User, access_key_id: str | None = None, secret_access_key: str | None = None
    ) -> IamKey:
        """Give a user one more access key; raises `Refusal` beyond two."""
        if len(user.keys) >= KEYS_PER_USER:
            raise Refusal(
                "LimitExceeded", f"Cannot exceed quota for AccessKeysPerUser: {KEYS_PER_USER}", 409
            )
        if access_key_id in self.keys:
            raise ValueError(f"access key {access_key_id} exists already")
        key = IamKey(
            user,
            access_key_id or new_key_id(user.account),
            secret_access_key or new_secret(),
            self._clock(),
        )
        user.keys[key.access_key_id] = key
        self.keys[key.access_key_id] = key
        self.secrets.add(key.secret_access_key)
        return key

    def delete_access_key(self, key: IamKey) -> None:
        """Forget an access key."""
        del key.user.keys[key.access_key_id]
        del self.keys[key.access_key_id]

    def add_mfa_device(
        self, user: User, serial: str | None = None, seed: str | None = None
    ) -> MfaDevice:
        """Give a user one more MFA device; the seed is base32."""
        name = user.name if not user.devices else f"{user.name}-{len(user.devices) + 1}"
        device = MfaDevice(
            serial or f"arn:aws:iam::{user.account}:mfa/{name}",
            base64.b32decode(seed) if seed else secrets.token_bytes(40),
        )
        user.devices[device.serial] = device
        self.secrets.add(device.base32_seed)
        return device

    def add_role(
        self,
        name: str,
        *,
        account: str = ACCOUNT,
        path: str = "/",
        trusts: Iterable[User | Role | str] | None = None,
        max_session_duration: int = 3600,
        external_id: str | None = None,
        require_mfa: bool = False,
        max_mfa_age: int | None = None,
        source_identities: Iterable[str] | None = None,
        tag_keys: Iterable[str] | None = None,
        denied: Iterable[str] = (),
    ) -> Role:
        """Make a role; without `trusts` it trusts its own account."""
        role = Role(
            name,
            account,
            path,
            trusts=frozenset(
                principal if isinstance(principal, str) else principal.arn
                for principal in ([account] if trusts is None else trusts)
            ),
            max_session_duration=max_session_duration,
            external_id=external_id,
            require_mfa=require_mfa,
            max_mfa_age=max_mfa_age,
            source_identities=None if source_identities is None else frozenset(source_identities),
            tag_keys=None if tag_keys is None else frozenset(tag_keys),
        )
        if role.arn in self.roles:
            raise ValueError(f"role {role.arn} exists already")
        role.denied.update(denied)
        self.roles[role.arn] = role
        return role

    def add_session(self, session: Session) -> Session:
        """Give a session out."""
        self.sessions[session.access_key_id] = session
        self.secrets.update((session.secret_access_key, session.session_token))
        return session
