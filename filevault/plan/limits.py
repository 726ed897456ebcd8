"""The limits of STS, checked before any call and before a token code is spent.

Messages name the setting.

Limits are those of the STS API reference and of the IAM guide on temporary credentials.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filevault.config.inheritance import comment_hint
from filevault.errors import ConfigError, UsageError
from filevault.system.printable import printable
from filevault.system.record import Record
from filevault.system.times import format_duration

if TYPE_CHECKING:
    from filevault.config.profile import Profile
    from filevault.errors import FilevaultError

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


class Duration(Record):
    """A duration in seconds; `origin` is what asked for it, None for the default.

    `option` is True if it was the command line.
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
        hint = "choose a duration between these two"
        raise UsageError(message, hint=hint) if self.option else ConfigError(message, hint=hint)


def check_serial(profile: Profile) -> None:
    """Refuse an `mfa_serial` that no call can use; raises ConfigError."""
    serial = profile.mfa_serial
    if serial is None:
        return
    found = serial_fault(serial)
    if found is not None:
        reason, hint = found
        raise _refusal(profile, "mfa_serial", serial, reason, hint)


def serial_fault(serial: str) -> tuple[str, str | None] | None:
    """Return why an MFA serial cannot be used, with a hint; None for one that can be.

    A serial is the ARN of a virtual device or the number of a hardware token. STS takes codes
    only, so a FIDO security key, whose ARN has `u2f`, cannot serve (IAM User Guide, "MFA-protected
    API access").
    """
    if not re.match(_SERIAL, serial, re.ASCII):
        return "neither an ARN nor a serial number", comment_hint(serial)
    arn = re.match(r"arn:[^:]*:[^:]*:[^:]*:[^:]*:([^/]*)", serial)
    arn_type = "mfa" if arn is None else arn[1]
    if arn_type == "u2f":
        return (
            "a FIDO security key: these sign in to the console, but calls to AWS take codes only",
            "register a virtual MFA device beside it, and name that one",
        )
    article = "an" if arn_type[:1] == "a" else "a"
    if arn_type in ("user", "role", "group", "root", "assumed-role"):
        return (
            f"the ARN of {article} {arn_type}, not of an MFA device",
            (
                "the IAM console shows the device's ARN, arn:aws:iam::ACCOUNT:mfa/NAME, under the "
                "user's security credentials"
            ),
        )
    return None


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


def _refusal(
    profile: Profile, setting: str, value: str, reason: str, hint: str | None = None
) -> FilevaultError:
    return ConfigError(
        f"{setting} of profile {printable(profile.name)!r} is {printable(value, 200)!r}, which is "
        f"{reason}",
        hint=hint or comment_hint(value),
    )
