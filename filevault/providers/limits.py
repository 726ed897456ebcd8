"""What STS accepts: refused here in the config's own words, before any call and any token code.

Limits are those of the STS API reference and of the IAM guide on temporary credentials.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filevault.errors import ConfigError, UsageError
from filevault.printable import printable
from filevault.times import format_duration
from filevault.values import Value

if TYPE_CHECKING:
    from filevault.errors import FilevaultError
    from filevault.profiles import Profile

SHORTEST = 900
LONGEST_SESSION_TOKEN = 129600
LONGEST_FEDERATION = 129600
LONGEST_ROLE = 43200
LONGEST_CHAINED_ROLE = 3600

_TAGS = 50
_TAG_KEY = 128
_TAG_VALUE = 256
_ROLE_ARN = r"arn:[a-z0-9-]+:iam::\d{12}:role/[!-~]{1,2000}\Z"
_SERIAL = r"[\w+=/:,.@-]{9,256}\Z"
_NAME = r"[\w+=,.@-]{2,64}\Z"
_EXTERNAL_ID = r"[\w+=,.@:/-]{2,1224}\Z"


class Duration(Value):
    """A duration in seconds and what asked for it, None where it is the default.

    `option` says that it was the command line.
    """

    seconds: int
    origin: str | None = None
    option: bool = False

    def checked(self, operation: str, longest: int) -> int:
        """Return the seconds; raises UsageError or ConfigError outside 15 minutes to `longest`."""
        if SHORTEST <= self.seconds <= longest:
            return self.seconds
        message = (
            f"{self.origin or 'the default'} asks for {format_duration(self.seconds)}, but "
            f"{operation} takes {format_duration(SHORTEST)} to {format_duration(longest)}"
        )
        raise UsageError(message) if self.option else ConfigError(message)


def check_serial(profile: Profile) -> None:
    """Refuse an `mfa_serial` that STS would; raises ConfigError."""
    if profile.mfa_serial is not None and not re.match(_SERIAL, profile.mfa_serial, re.ASCII):
        raise _refusal(profile, "mfa_serial", profile.mfa_serial, "neither an ARN nor a serial")


def check_role(profile: Profile) -> None:
    """Refuse role parameters that STS would; raises ConfigError."""
    if profile.role_arn is not None and not re.match(_ROLE_ARN, profile.role_arn, re.ASCII):
        raise _refusal(
            profile, "role_arn", profile.role_arn, "not of the form arn:aws:iam::ACCOUNT:role/NAME"
        )
    if profile.external_id is not None and not re.match(
        _EXTERNAL_ID, profile.external_id, re.ASCII
    ):
        raise _refusal(
            profile,
            "external_id",
            profile.external_id,
            "not 2 to 1224 letters, digits or =,.@:/-+_",
        )
    names = {
        "role_session_name": profile.role_session_name,
        "source_identity": profile.source_identity,
    }
    for setting, value in names.items():
        if value is not None and not re.match(_NAME, value, re.ASCII):
            raise _refusal(profile, setting, value, "not 2 to 64 letters, digits or =,.@-+_")
    if len(profile.session_tags) > _TAGS:
        raise _refusal(
            profile, "session_tags", f"{len(profile.session_tags)} tags", f"more than {_TAGS}"
        )
    for key, value in profile.session_tags:
        if not 1 <= len(key) <= _TAG_KEY or len(value) > _TAG_VALUE:
            raise _refusal(
                profile,
                "session_tags",
                key,
                f"longer than {_TAG_KEY} characters for a key or {_TAG_VALUE} for a value",
            )


def _refusal(profile: Profile, setting: str, value: str, reason: str) -> FilevaultError:
    return ConfigError(
        f"{setting} of profile {printable(profile.name)!r} is {printable(value, 200)!r}, which is "
        f"{reason}"
    )
