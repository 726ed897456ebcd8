"""Base class of the ways to get a web identity token, and the check of a token."""

from __future__ import annotations

import re
from abc import abstractmethod
from typing import TYPE_CHECKING

from filevault.errors import ProviderError
from filevault.system.printable import printable
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.config.settings import Settings

_SHORTEST = 4
_LONGEST = 20000
"""Characters of a token that STS takes (STS API reference, WebIdentityToken)."""


class TokenRequest(Record):
    """What a way needs to get a token.

    `settings` has the environment. `ca_bundle` is the file of the certificates to trust, None for
    the usual ones. `allow_http` permits plain http beyond the loopback interface. `say` prints what
    is waited for, to stderr; `tell` shows a line on the terminal, if there is one.
    """

    settings: Settings
    profile: str
    ca_bundle: str | None = None
    allow_http: bool = False
    say: Callable[[str], None] = lambda _: None
    tell: Callable[[str], None] = lambda _: None

    @property
    def subject(self) -> str:
        """The profile in messages."""
        return f"profile {printable(self.profile)!r}"


class TokenWay(Record):
    """A way to get a web identity token: data only."""

    @property
    @abstractmethod
    def title(self) -> str:
        """The token in `--explain` and in messages: `the token of ...`."""

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables that contain the token, or give a token to any process that has them."""
        return ()

    def mark(self, settings: Settings) -> tuple[str, ...]:  # noqa: ARG002
        """Return what changes if the token is of another identity; no part of it is a secret."""
        return ()

    @abstractmethod
    def token(self, request: TokenRequest) -> str:
        """Return a token, read or fetched now. Raises ProviderError, ConfigError, NetworkError."""


def checked(text: str, origin: str) -> str:
    """Return a token without the white space around it, which AWS would refuse.

    `origin` names the token in messages. Raises ProviderError for what can be no token.
    """
    token = text.strip()
    if not token:
        raise ProviderError(f"{origin} is empty")
    if len(token) > _LONGEST:
        raise ProviderError(f"{origin} is longer than {_LONGEST} characters, the limit of STS")
    if not re.match(r"[!-~]*\Z", token):
        raise ProviderError(
            f"{origin} is no web identity token: it contains a blank, a control character or a "
            "character outside of ASCII"
        )
    if len(token) < _SHORTEST:
        raise ProviderError(f"{origin} is shorter than {_SHORTEST} characters, the limit of STS")
    return token
