"""The child's environment and the export formats: pure functions of values."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filevault.config.aws_variables import (
    MARKER,
    VARIABLES,
    ChildSettings,
    is_removed,
    is_setting,
    marked,
)
from filevault.errors import FilevaultError
from filevault.system.printable import printable
from filevault.system.record import Record
from filevault.system.times import format_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filevault.credentials import Credentials

_PATHS = frozenset({"AWS_CA_BUNDLE"})
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
_CREDENTIAL_FIELDS = frozenset(
    {"access_key_id", "secret_access_key", "session_token", "expiration", "account_id"}
)
# The service ids of `[services]` sections that can be the end of a variable's name.
_SERVICE = r"[a-z0-9_]+\Z"

# `%` is left out for fish, `~` and `!` for every shell; zsh takes `=word` at the beginning and
# after a colon for the path of a command.
_BARE_WORD = r"(?!=)(?:[A-Za-z0-9_/=.,@+-]|:(?!=))+\Z"
_CMD_WORD = r"[A-Za-z0-9_/=.,:@+-]+\Z"


class IssuedCredentials(Record):
    """What a command hands out: credentials with the profile they are for.

    `account` is the AWS account of exactly these credentials, None where it is not known for
    sure. `sdk_profile` is the profile that an SDK shall read instead of getting the credentials
    in its environment.
    """

    profile: str
    credentials: Credentials
    region: str | None = None
    endpoint_url: str | None = None
    account: str | None = None
    settings: ChildSettings = ChildSettings()
    sdk_profile: str | None = None

    @property
    def account_id(self) -> str | None:
        """The account that is handed on."""
        return self.account or self.credentials.account_id

    def fields(self) -> dict[str, str]:
        """Return what the variables carry, by the field names of `awsvariables.VARIABLES`.

        The endpoints of services are not among them.
        """
        credentials = self.credentials
        settings = self.settings
        expiration = credentials.expiration
        found: dict[str, str | bool | None] = {
            "access_key_id": credentials.access_key_id,
            "secret_access_key": credentials.secret_access_key,
            "session_token": credentials.session_token,
            "expiration": None if expiration is None else format_time(expiration),
            "account_id": self.account_id,
            "sdk_profile": self.sdk_profile,
            "region": self.region,
            "endpoint_url": self.endpoint_url,
            "ignore_configured_endpoint_urls": settings.ignore_configured_endpoint_urls,
            "use_fips_endpoint": settings.use_fips_endpoint,
            "use_dualstack_endpoint": settings.use_dualstack_endpoint,
            "sts_regional_endpoints": settings.sts_regional_endpoints,
            "account_id_endpoint_mode": settings.account_id_endpoint_mode,
            "ca_bundle": settings.ca_bundle,
        }
        if self.sdk_profile is not None:
            found = {name: found[name] for name in found if name not in _CREDENTIAL_FIELDS}
        # `true` is the only word that every SDK takes for a switch that is on.
        return {
            name: "true" if value is True else str(value) for name, value in found.items() if value
        }


def variables(handout: IssuedCredentials) -> dict[str, str]:
    """Return the variables that carry a handout, in the order in which they are printed.

    Raises:
        FilevaultError: if a value holds anything but printable ASCII, a path any hidden character.
    """
    found = _carried(handout)
    for name, value in found.items():
        _check(name, value)
    return found


def _carried(handout: IssuedCredentials) -> dict[str, str]:
    handout.credentials.check_printable()
    fields = handout.fields()
    found = {}
    for each in VARIABLES:
        if each.carries == "service_endpoints":
            for service, url in handout.settings.service_endpoints:
                if re.match(_SERVICE, service):
                    found[each.name[:-1] + service.upper()] = url
        elif each.carries in fields:
            found[each.name] = fields[each.carries]
    return found


def _check(name: str, value: str) -> None:
    ascii_only = name not in _PATHS
    if (ascii_only and not value.isascii()) or printable(value) != value:
        raise FilevaultError(f"the value of {name} holds characters that no value of it has")


def child_environment(parent: Mapping[str, str], handout: IssuedCredentials) -> dict[str, str]:
    """Return the environment of a command: the parent's, cleaned, with the handout.

    `parent` comes without the sources of secrets and without what another filevault set; both
    are taken out by `filevault.config.settings`.
    """
    child = {name: value for name, value in parent.items() if not is_removed(name, value)}
    child["AWS_VAULT"] = handout.profile
    found = _carried(handout)
    for name, value in found.items():
        if parent.get(name) != value:  # what only passes through is as it was
            _check(name, value)
    child.update(found)
    if handout.sdk_profile is not None:
        # An SDK that cannot read the profile, as from a locked vault, must fail: the JavaScript
        # SDK would go on to the machine's role.
        child["AWS_EC2_METADATA_DISABLED"] = "true"
    ours = {
        name: value
        for name, value in found.items()
        if is_setting(name) and not _is_users(parent.get(name), name, value)
    }
    if ours:
        child[MARKER] = marked(ours)
    return child


def _is_users(inherited: str | None, name: str, value: str) -> bool:
    """Tell whether a setting was the user's variable before, which only `--region` outdoes."""
    return bool(inherited) and (inherited == value or name not in _REGIONS)


def _posix(value: str) -> str:
    if re.match(_BARE_WORD, value):
        return value
    return "'" + value.replace("'", "'\\''") + "'"


def _env(handout: IssuedCredentials) -> str:
    return "".join(f"{name}={_posix(value)}\n" for name, value in variables(handout).items())


def _export_env(handout: IssuedCredentials) -> str:
    found = variables(handout).items()
    return "".join(f"export {name}={_posix(value)}\n" for name, value in found)


def _env_file(handout: IssuedCredentials) -> str:
    # `docker run --env-file` takes everything after the `=` as it stands, quotes included.
    return "".join(f"{name}={value}\n" for name, value in variables(handout).items())


def _fish(handout: IssuedCredentials) -> str:
    lines = []
    for name, value in variables(handout).items():
        if not re.match(_BARE_WORD, value):
            value = "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
        lines.append(f"set -gx {name} {value}\n")
    return "".join(lines)


def _ascii(handout: IssuedCredentials) -> dict[str, str]:
    """Return the variables for a shell that takes more than ASCII quotes for quotes."""
    found = variables(handout)
    for name, value in found.items():
        if not value.isascii():
            raise FilevaultError(f"the value of {name} is not ASCII, which this format needs")
    return found


def _powershell(handout: IssuedCredentials) -> str:
    lines = []
    for name, value in _ascii(handout).items():
        quoted = value.replace("'", "''")
        lines.append(f"$Env:{name} = '{quoted}'\n")
    return "".join(lines)


def _windows_cmd(handout: IssuedCredentials) -> str:
    """`set` lines of cmd.exe, which has no way to escape `%`, `!` and `"` in every context."""
    lines = []
    for name, value in _ascii(handout).items():
        if re.match(_CMD_WORD, value):
            lines.append(f"set {name}={value}\n")
            continue
        if not {'"', "%", "!"}.isdisjoint(value):
            raise FilevaultError(
                f"the value of {name} holds a character that cmd.exe cannot take literally",
                hint="--format powershell can write it",
            )
        lines.append(f'set "{name}={value}"\n')
    return "".join(lines)


def _json(handout: IssuedCredentials) -> str:
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
    if handout.account_id:
        body["AccountId"] = handout.account_id
    return json.dumps(body, indent=2) + "\n"


def _ini(handout: IssuedCredentials) -> str:
    """A section as `~/.aws/credentials` has them."""
    if not handout.profile.isprintable() or "]" in handout.profile:
        raise FilevaultError(
            f"{printable(handout.profile)!r} cannot be the name of a section in an ini file"
        )
    found = variables(handout)
    lines = [
        f"{each.ini}={found[each.name]}\n"
        for each in VARIABLES
        if each.ini is not None and each.name in found
    ]
    return f"[{handout.profile}]\n" + "".join(lines) + "\n"


_FORMATS = {
    "env": _env,
    "export-env": _export_env,
    "json": _json,
    "process": _json,
    "ini": _ini,
    "fish": _fish,
    "powershell": _powershell,
    "windows-cmd": _windows_cmd,
    "env-file": _env_file,
}
FORMATS = tuple(_FORMATS)


def export(handout: IssuedCredentials, form: str) -> str:
    """Return a handout as text in one of FORMATS, each line ended.

    Raises FilevaultError if a value cannot be written in it safely.
    """
    return _FORMATS[form](handout)
