"""The steps of a plan as plain data, and what identifies the session that a step obtains.

A step holds everything that determines the answer of its call, and nothing else: its hash names
the cached session (`docs/format.md` §7), so that an edited profile misses the cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.aws.endpoint import Endpoint
from filevault.mfa.request import MfaRequest
from filevault.sessions import SessionName, request_hash
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class StoredKey(Record):
    """The long-term key stored under a profile's name."""

    profile: str


class SessionToken(Record):
    """GetSessionToken, called for `profile`; durations are in seconds.

    `exact` says that the person asked for this duration and gets this very session handed out,
    so that a session of another duration does not serve.
    """

    profile: str
    source: StoredKey
    duration: int
    endpoint: Endpoint
    mfa: MfaRequest | None = None
    exact: bool = False


class AssumeRole(Record):
    """AssumeRole for `profile`; a `session_name` of None is generated for each call.

    `fresh_mfa` is the device for a code of its own, if AWS refuses the MFA of the source's session
    as too old.
    """

    profile: str
    source: Source
    role_arn: str
    duration: int
    endpoint: Endpoint
    mfa: MfaRequest | None = None
    external_id: str | None = None
    session_name: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    transitive_tags: tuple[str, ...] = ()
    source_identity: str | None = None
    fresh_mfa: MfaRequest | None = None


class FederationToken(Record):
    """GetFederationToken for `profile`, in the name of the user whose key it is."""

    profile: str
    source: StoredKey
    duration: int
    endpoint: Endpoint
    mfa: None = None  # the call takes no code


Source = StoredKey | SessionToken | AssumeRole
Step = Source | FederationToken
Call = SessionToken | AssumeRole | FederationToken


def stored_key(step: Step) -> StoredKey:
    """Return the long-term key at the bottom of a plan."""
    while not isinstance(step, StoredKey):
        step = step.source
    return step


def calls(step: Step) -> tuple[Call, ...]:
    """Return the calls of a plan in the order in which they are made."""
    found: list[Call] = []
    while not isinstance(step, StoredKey):
        found.append(step)
        step = step.source
    return tuple(reversed(found))


def session_hash(step: Call, item_digest: str) -> str:
    """Return the 32 hex digits that name a step's session.

    Args:
        step: the call whose session is named.
        item_digest: SHA-256 of the stored key's item file, in hex.
    """
    digest = item_digest
    for call in calls(step):
        request = _request(call, digest)
        digest = request_hash(request)
    return digest


def session_name(step: Call, item_digest: str) -> SessionName:
    """Return where the session of a step is kept.

    The owner is the profile whose step it is, so that aliases of it share.
    """
    source = stored_key(step)
    if isinstance(step, SessionToken):
        owner, operation = source.profile, "get-session-token"
    elif isinstance(step, FederationToken):
        owner, operation = source.profile, "get-federation-token"
    else:
        owner, operation = step.profile, "assume-role"
    return SessionName(owner, operation, session_hash(step, item_digest), f"item:{source.profile}")


def source_names(step: Call, item_digest: str, lives: Iterable[int]) -> Iterator[SessionName]:
    """Return where else a session is kept that serves as well as the step's own, as a source.

    A role's session of any duration serves where it only assumes the next role, and so does one
    that was obtained with the stored key and a token code instead of a session with MFA.

    Args:
        step: a call whose session only serves to obtain another one.
        item_digest: as for `session_hash`.
        lives: the whole lives of the sessions that the step's owner has, in seconds.
    """
    if not isinstance(step, AssumeRole):
        return
    key = stored_key(step)
    for seconds in lives:
        same = step._replace(duration=seconds)
        yield session_name(same, item_digest)
        if step.fresh_mfa is not None:
            yield session_name(same._replace(source=key, mfa=step.fresh_mfa), item_digest)


def _request(call: Call, source: str) -> dict[str, object]:
    """Name every input of a call; `source` is the item's digest or the source session's hash."""
    request: dict[str, object] = {
        "source": source,
        **call.endpoint.identity,
        "mfa_serial": call.mfa.serial if call.mfa else None,
    }
    if isinstance(call, SessionToken):
        request["operation"] = "get-session-token"
        request["duration"] = call.duration if call.exact else None
        return request
    if isinstance(call, FederationToken):
        request["operation"] = "get-federation-token"
        request["duration"] = call.duration
        return request
    request["operation"] = "assume-role"
    request["duration"] = call.duration
    request["role_arn"] = call.role_arn
    request["external_id"] = call.external_id
    request["session_name"] = call.session_name
    request["tags"] = [list(tag) for tag in call.tags]
    request["transitive_tags"] = list(call.transitive_tags)
    request["source_identity"] = call.source_identity
    return request
