"""Export formats: issued credentials as text for shells, files and SDKs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filevault.config.aws_variables import VARIABLES
from filevault.errors import FilevaultError
from filevault.system.printable import printable
from filevault.system.times import format_time

if TYPE_CHECKING:
    from filevault.issued.issued_credentials import IssuedCredentials

# Values that need no quotes. `%` is left out because of fish, `~` and `!` because of all shells.
# zsh expands `=word` at the beginning and after a colon to the path of a command.
_BARE_WORD = r"(?!=)(?:[A-Za-z0-9_/=.,@+-]|:(?!=))+\Z"
_CMD_WORD = r"[A-Za-z0-9_/=.,:@+-]+\Z"


def _posix(value: str) -> str:
    if re.match(_BARE_WORD, value):
        return value
    return "'" + value.replace("'", "'\\''") + "'"


def _env(issued: IssuedCredentials) -> str:
    return "".join(f"{name}={_posix(value)}\n" for name, value in issued.variables().items())


def _export_env(issued: IssuedCredentials) -> str:
    found = issued.variables().items()
    return "".join(f"export {name}={_posix(value)}\n" for name, value in found)


def _env_file(issued: IssuedCredentials) -> str:
    # `docker run --env-file` takes everything after the `=` literally, quotes included.
    return "".join(f"{name}={value}\n" for name, value in issued.variables().items())


def _fish(issued: IssuedCredentials) -> str:
    lines = []
    for name, value in issued.variables().items():
        if not re.match(_BARE_WORD, value):
            value = "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
        lines.append(f"set -gx {name} {value}\n")
    return "".join(lines)


def _ascii(issued: IssuedCredentials) -> dict[str, str]:
    """Return the variables for a shell that accepts quotes beyond ASCII; their values are ASCII."""
    found = issued.variables()
    for name, value in found.items():
        if not value.isascii():
            raise FilevaultError(f"the value of {name} is not ASCII, which this format needs")
    return found


def _powershell(issued: IssuedCredentials) -> str:
    lines = []
    for name, value in _ascii(issued).items():
        quoted = value.replace("'", "''")
        lines.append(f"$Env:{name} = '{quoted}'\n")
    return "".join(lines)


def _windows_cmd(issued: IssuedCredentials) -> str:
    """Return `set` lines of cmd.exe, which cannot escape `%`, `!` and `"` in every context."""
    lines = []
    for name, value in _ascii(issued).items():
        if re.match(_CMD_WORD, value):
            lines.append(f"set {name}={value}\n")
            continue
        if not {'"', "%", "!"}.isdisjoint(value):
            raise FilevaultError(
                f"the value of {name} contains a character that cmd.exe cannot take literally",
                hint="--format powershell can write it",
            )
        lines.append(f'set "{name}={value}"\n')
    return "".join(lines)


def _json(issued: IssuedCredentials) -> str:
    """Return the JSON of credential_process; SDKs require that `Version` is an integer."""
    import json

    credentials = issued.credentials
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
    if issued.account_id:
        body["AccountId"] = issued.account_id
    return json.dumps(body, indent=2) + "\n"


def _ini(issued: IssuedCredentials) -> str:
    """Return a section as in `~/.aws/credentials`."""
    if not issued.profile.isprintable() or "]" in issued.profile:
        raise FilevaultError(
            f"{printable(issued.profile)!r} cannot be the name of a section in an ini file"
        )
    found = issued.variables()
    lines = [
        f"{each.ini}={found[each.name]}\n"
        for each in VARIABLES
        if each.ini is not None and each.name in found
    ]
    return f"[{issued.profile}]\n" + "".join(lines) + "\n"


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


def export(issued: IssuedCredentials, export_format: str) -> str:
    """Return issued credentials as text in one of FORMATS, with a line end after each line.

    Raises FilevaultError if the format cannot represent a value safely.
    """
    return _FORMATS[export_format](issued)
