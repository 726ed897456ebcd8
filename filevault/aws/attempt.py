"""A call to AWS, as messages about its failure need it, with the secrets to redact."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

_TEXT_LIMIT = 400


class Attempt:
    """A call to AWS, as messages about its failure need it.

    Args:
        operation: AWS's name of the call.
        subject: the profile that the call is for, e.g. `"profile 'work'"`, already printable.
        secrets: texts that no message may contain, even if a server sends them back: the secret
            access key, then the session token or None.
        code: the token code in the call, which no message may contain either.
    """

    __slots__ = ("_code", "_secrets", "operation", "subject")

    def __init__(
        self, operation: str, subject: str, secrets: Sequence[str | None], code: str | None
    ) -> None:
        self.operation = operation
        self.subject = subject
        self._secrets = secrets
        self._code = code

    @property
    def with_session(self) -> bool:
        """Whether the call is signed with a session instead of a long-term key."""
        return len(self._secrets) > 1 and self._secrets[1] is not None

    @property
    def once(self) -> bool:
        """Whether the call contains a token code, which AWS accepts once."""
        return self._code is not None

    def redacted(self, text: str) -> str:
        """Return a text with the secrets and the token code replaced by asterisks.

        Secrets are replaced wherever they occur, a code only as a word of its own: its six digits
        may be a part of another number.
        """
        for secret in self._secrets:
            if secret:
                text = text.replace(secret, "***")
        if self._code:
            text = re.sub(rf"(?<!\w){re.escape(self._code)}(?!\w)", "***", text)
        return text

    def shown(self, text: str) -> str:
        """Return a server's text, redacted, printable and cut to length for a message."""
        return printable(self.redacted(text), _TEXT_LIMIT).rstrip(" .")
