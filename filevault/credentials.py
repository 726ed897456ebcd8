"""Access keys and credentials as values, and the patterns of their ids and secrets."""

from __future__ import annotations

from filevault.errors import FilevaultError
from filevault.system.record import Record


class AccessKey(Record):
    """A long-term IAM access key."""

    _secret = ("secret_access_key",)

    access_key_id: str
    secret_access_key: str


class Credentials(Record):
    """Credentials of a provider: temporary, or long-term if `session_token` is None.

    `expiration` is in Unix seconds, None for a long-term key.
    """

    _secret = ("secret_access_key", "session_token")

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None
    expiration: int | None = None
    account_id: str | None = None
    arn: str | None = None

    def check_printable(self) -> None:
        """Raise FilevaultError unless all parts are printable ASCII, as AWS's are.

        A line end or an escape sequence would get into an environment file or a shell.
        """
        for value in (self.access_key_id, self.secret_access_key, self.session_token or ""):
            if not (value.isascii() and value.isprintable() and " " not in value):
                raise FilevaultError(
                    "the credentials contain characters that no AWS credential has; nothing was "
                    "issued"
                )


KEY_ID = r"[A-Za-z0-9_]{16,128}"
"""Pattern of an access key id as IAM's API documents it."""
SECRET_KEY = r"[A-Za-z0-9/+=]{16,128}"  # noqa: S105 - a pattern
"""Pattern of a secret access key that can be stored."""
AWS_KEY_ID = r"(?:AKIA|ASIA)[A-Z0-9]{12,124}"
"""Pattern of an access key id of AWS itself, long-term or temporary."""
_ISSUED_KEY_ID = r"\s*(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,28}\s*\Z"  # as AWS makes them
# AWS's secrets are 40 characters of base 64. Some other providers' ids are 40 hex digits.
_ISSUED_SECRET = r"(?=[^a-z]*[a-z])(?=[^A-Z]*[A-Z])[A-Za-z0-9/+]{40}\Z"  # noqa: S105 - a pattern


def is_key_id(text: str) -> bool:
    """Return whether a text can be an access key id."""
    import re

    return re.match(rf"{KEY_ID}\Z", text) is not None


def is_secret_key(text: str) -> bool:
    """Return whether a text can be a secret access key that is stored."""
    import re

    return re.match(rf"{SECRET_KEY}\Z", text) is not None


def looks_like_key_id(text: str) -> bool:
    """Return whether a text has the form of the access key ids that AWS issues."""
    import re

    return re.match(_ISSUED_KEY_ID, text) is not None


def looks_like_secret(text: str) -> bool:
    """Return whether a text has the form of the secret access keys that AWS issues."""
    import re

    return re.match(_ISSUED_SECRET, text.strip()) is not None


_BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"  # RFC 4648 §6


def account_of(access_key_id: str) -> str | None:
    """Return the AWS account that an access key id belongs to, None if it does not contain it.

    In ids made since 2019, after the four letters, in base 32, comes one bit and then the account
    in 40 bits. In older ids the fifth letter is I or J.
    """
    digits = access_key_id[4:]
    if len(digits) != 16 or digits[0] in "IJ" or not set(digits) <= set(_BASE32):
        return None
    number = 0
    for digit in digits[:10]:
        number = number << 5 | _BASE32.index(digit)
    return f"{(number >> 2 & 0x7FFFFFFFFF80) >> 7:012d}"
