"""RolePaths: the paths `/creds/PROFILE` and `/role-arn/ARN`, and which roles may be assumed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filevault.server.served_credentials import ServedCredentials

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filevault.server.renewals import Renewals

_PREFIX = "/role-arn/"
_ARN = r"arn:[a-z0-9-]{3,20}:iam::\d{12}:role/(?:[\w+=,.@-]{1,128}/){0,16}[\w+=,.@-]{1,64}\Z"
"""ARNs of roles (IAM API reference, Role); none of these characters needs an escape in a path."""
_MOST = 32
"""The most roles whose credentials are kept for one token."""


def profile_path(name: str) -> bytes:
    """Return the path of a profile, with everything escaped that RFC 3986 does not leave as is."""
    from urllib.parse import quote

    return b"/creds/" + quote(name, safe="").encode("ascii")


class RolePaths:
    """The roles that clients may name.

    Args:
        renewals: keeps their credentials fresh, as long as clients ask.
        profile: the number of the profile whose credentials assume them.
        life: the seconds that a session of a role lives.
        patterns: ARNs in which `*` stands for any characters; no pattern allows no role.
    """

    def __init__(
        self, renewals: Renewals, profile: int, life: int, patterns: Sequence[str]
    ) -> None:
        self._renewals = renewals
        self._profile = profile
        self._life = life
        self._patterns = list(map(_expression, patterns))
        self._known: dict[bytes, ServedCredentials] = {}

    def find(self, target: bytes) -> ServedCredentials | None:
        """Return the credentials of an allowed role, None for any other path."""
        found = self._known.pop(target, None)
        if found is not None:
            self._known[target] = found  # the last one is the one that was asked for last
            return found
        if not self._patterns:
            return None
        path = target.decode("latin-1")
        arn = path.removeprefix(_PREFIX)
        if arn == path or re.match(_ARN, arn, re.ASCII) is None:
            return None
        if not any(re.fullmatch(each, arn) for each in self._patterns):
            return None
        made = ServedCredentials(arn, self._life, on_demand=True)
        if len(self._known) < _MOST:
            self._renewals.add(made, self._profile, arn)
        elif not self._replace(made, arn):
            made.failure = "too many roles are being obtained at once"
            made.is_renewing = True  # never by `Renewals`, which does not know it
            return made
        self._known[target] = made
        return made

    def _replace(self, made: ServedCredentials, arn: str) -> bool:
        """Forget the role that was not asked for longest; return False if all are on their way."""
        for target, known in self._known.items():
            if not known.is_renewing:
                self._renewals.replace(known, made, self._profile, arn)
                del self._known[target]
                return True
        return False


def _expression(pattern: str) -> str:
    """Return a regular expression for a pattern that takes time in proportion to the text."""
    first, *rest = map(re.escape, pattern.split("*"))
    if not rest:
        return first
    # What has been found is not looked for again: the first place is as good as any later one.
    return first + "".join(f"(?>.*?{each})" for each in rest[:-1]) + f".*{rest[-1]}"
