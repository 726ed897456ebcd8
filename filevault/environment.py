"""The child's environment and the export formats: pure functions of values."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filevault.errors import FilevaultError
from filevault.printable import printable
from filevault.times import format_time
from filevault.values import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filevault.credentials import Credentials

# Each of these would make some SDK use other credentials than the ones handed out, or use them
# wrongly: botocore prefers a stale AWS_SECURITY_TOKEN, the JavaScript SDK AWS_PROFILE, and so on.
_REMOVED = frozenset(
    {
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_SECURITY_TOKEN",
        "AWS_CREDENTIAL_EXPIRATION",
        "AWS_SESSION_EXPIRATION",
        "AWS_CREDENTIAL_FILE",
        "AWS_PROFILE",
        "AWS_DEFAULT_PROFILE",
        "AWS_SDK_LOAD_CONFIG",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_ROLE_ARN",
        "AWS_ROLE_SESSION_NAME",
        "AWS_ACCOUNT_ID",
        "AWS_CREDENTIAL_SCOPE",
    }
)
_REMOVED_PREFIXES = ("AWS_CONTAINER_", "AWS_EC2_METADATA_")

# `%` is left out for fish, `~` and `!` for every shell; zsh takes `=word` at the beginning and
# after a colon for the path of a command.
_BARE_WORD = r"(?!=)(?:[A-Za-z0-9_/=.,@+-]|:(?!=))+\Z"


class Handout(Value):
    """What a command hands out: credentials with the profile they are for."""

    profile: str
    credentials: Credentials
    region: str | None = None
    endpoint_url: str | None = None


def variables(handout: Handout) -> dict[str, str]:
    """Return the variables that carry a handout, in the order in which they are printed.

    Raises:
        FilevaultError: if a value holds anything but printable ASCII.
    """
    credentials = handout.credentials
    credentials.check_printable()
    found = {
        "AWS_ACCESS_KEY_ID": credentials.access_key_id,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key,
    }
    if credentials.session_token:
        found["AWS_SESSION_TOKEN"] = credentials.session_token
    if credentials.expiration is not None:
        expiration = format_time(credentials.expiration)
        found["AWS_CREDENTIAL_EXPIRATION"] = expiration
        found["AWS_SESSION_EXPIRATION"] = expiration  # what prompt themes read
    if handout.region:
        found["AWS_REGION"] = found["AWS_DEFAULT_REGION"] = handout.region
    if handout.endpoint_url:
        found["AWS_ENDPOINT_URL"] = handout.endpoint_url
    for name, value in found.items():
        if not (value.isascii() and value.isprintable()):
            raise FilevaultError(f"the value of {name} holds characters that no value of it has")
    return found


def child_environment(parent: Mapping[str, str], handout: Handout) -> dict[str, str]:
    """Return the environment of a command: the parent's, cleaned, with the handout.

    `parent` comes without the sources of secrets, which `filevault.settings` has taken out.
    """
    child = {
        name: value
        for name, value in parent.items()
        if name not in _REMOVED and not name.startswith(_REMOVED_PREFIXES)
    }
    child["AWS_VAULT"] = handout.profile
    child.update(variables(handout))
    return child


def _posix(value: str) -> str:
    if re.match(_BARE_WORD, value):
        return value
    return "'" + value.replace("'", "'\\''") + "'"


def _env(handout: Handout) -> str:
    return "".join(f"{name}={_posix(value)}\n" for name, value in variables(handout).items())


def _export_env(handout: Handout) -> str:
    found = variables(handout).items()
    return "".join(f"export {name}={_posix(value)}\n" for name, value in found)


def _env_file(handout: Handout) -> str:
    # `docker run --env-file` takes everything after the `=` as it stands, quotes included.
    return "".join(f"{name}={value}\n" for name, value in variables(handout).items())


def _fish(handout: Handout) -> str:
    lines = []
    for name, value in variables(handout).items():
        if not re.match(_BARE_WORD, value):
            value = "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
        lines.append(f"set -gx {name} {value}\n")
    return "".join(lines)


def _powershell(handout: Handout) -> str:
    lines = []
    for name, value in variables(handout).items():
        quoted = value.replace("'", "''")
        lines.append(f"$Env:{name} = '{quoted}'\n")
    return "".join(lines)


def _json(handout: Handout) -> str:
    """The credential_process contract; `Version` is an integer, which every SDK insists on."""
    import json

    credentials = handout.credentials
    credentials.check_printable()
    body: dict[str, object] = {
        "Version": 1,
        "AccessKeyId": credentials.access_key_id,
        "SecretAccessKey": credentials.secret_access_key,
    }
    if credentials.session_token:
        body["SessionToken"] = credentials.session_token
    if credentials.expiration is not None:
        body["Expiration"] = format_time(credentials.expiration)
    if credentials.account_id:
        body["AccountId"] = credentials.account_id
    return json.dumps(body, indent=2) + "\n"


def _ini(handout: Handout) -> str:
    """A section as `~/.aws/credentials` has them."""
    if not handout.profile.isprintable() or "]" in handout.profile:
        raise FilevaultError(
            f"{printable(handout.profile)!r} cannot be the name of a section in an ini file"
        )
    names = {
        "AWS_ACCESS_KEY_ID": "aws_access_key_id",
        "AWS_SECRET_ACCESS_KEY": "aws_secret_access_key",
        "AWS_SESSION_TOKEN": "aws_session_token",
        "AWS_CREDENTIAL_EXPIRATION": "aws_credential_expiration",
        "AWS_REGION": "region",
    }
    found = variables(handout)
    lines = [f"{key}={found[name]}\n" for name, key in names.items() if name in found]
    return f"[{handout.profile}]\n" + "".join(lines) + "\n"


_FORMATS = {
    "env": _env,
    "export-env": _export_env,
    "json": _json,
    "ini": _ini,
    "fish": _fish,
    "powershell": _powershell,
    "env-file": _env_file,
}
FORMATS = tuple(_FORMATS)


def export(handout: Handout, form: str) -> str:
    """Return a handout as text in one of FORMATS, each line ended.

    Raises FilevaultError if a value cannot be written in it safely.
    """
    return _FORMATS[form](handout)
