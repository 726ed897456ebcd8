"""The hash and the name under which a step's session is filed (`docs/format.md` §7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.sessions.session_file import HASH_LENGTH, SessionName
from filevault.system.digest import sha256_hex
from filevault.system.strict_json import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from filevault.sources.source import Step


def session_hash(step: Step, source_identity: str) -> str:
    """Return the 32 hex digits that name a step's session.

    Args:
        step: the step whose session is named.
        source_identity: as `Source.identity` returns it for the plan's credential source.
    """
    if step.parent is None and step.operation is None:
        return source_identity  # it has no session
    parent = source_identity if step.parent is None else session_hash(step.parent, source_identity)
    return request_hash(step.request_identity(parent))


def request_hash(request: Mapping[str, object]) -> str:
    """Return the 32 hex digits that name a request: SHA-256 over its canonical JSON."""
    return sha256_hex(canonical(request).encode("ascii"))[:HASH_LENGTH]


def session_name(step: Step, source_identity: str) -> SessionName:
    """Return the name under which a step's session is kept; the step has an `operation`."""
    hash_ = session_hash(step, source_identity)
    return SessionName(step.owner, step.operation or "", hash_, step.source.reference)


def equivalent_names(
    step: Step, source_identity: str, lives: Iterable[int]
) -> Iterator[SessionName]:
    """Return the names of other sessions that serve as well to obtain another session.

    Args:
        step: a step whose session only serves to obtain another one.
        source_identity: as for `session_hash`.
        lives: the whole lives of the sessions that the step's owner has, in seconds.
    """
    for each in step.equivalents(lives):
        yield session_name(each, source_identity)
