"""Take over a console login that the AWS CLI or an SDK has left in a file without encryption.

The file is deleted only once the encrypted record is on the disk and was read back. Other programs
may refresh the tokens meanwhile: a file that has changed is read again.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

from filevault.errors import ConfigError, StorageError
from filevault.sources.login_record import LoginRecord, record_name
from filevault.system.digest import sha256_hex
from filevault.system.files import Folder
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.cli.console_login import LoginTarget
    from filevault.cli.context import Context
    from filevault.sessions.token_store import TokenStore

VARIABLE = "AWS_LOGIN_CACHE_DIRECTORY"
_DEFAULT = ".aws/login/cache"
_LIMIT = 64 << 10  # bytes
_PLAIN = re.compile(r"[!-~]{1,20000}")
_ACCOUNT = re.compile(r"[0-9]{12}")
_TRIES = 5  # at a file that another program changes meanwhile
_KNOWN = {
    *("accessToken", "tokenType", "clientId", "refreshToken", "idToken", "dpopKey"),
    "signInRegion",
}
_KNOWN_KEY = {"accessKeyId", "secretAccessKey", "sessionToken", "accountId", "expiresAt"}


def adopt(
    target: LoginTarget,
    tokens: TokenStore,
    context: Context,
    drop_sessions: Callable[[str], object],
) -> LoginRecord:
    """Store the login of a profile's file, delete the file, and return the login.

    `drop_sessions` deletes the cached sessions that an earlier login of a user gave; it is called
    before the new one is stored. Raises ConfigError if there is no such file or it cannot be used,
    StorageError.
    """
    user = target.login_session
    if user is None:
        raise ConfigError(
            f"{target.subject} has no login_session, so there is nothing to take over",
            hint="aws login writes it; without the AWS CLI: " + target.command,
        )
    path = _folder(context)
    entry = f"{sha256_hex(user.encode())}.json"
    shown = printable(f"{path}/{entry}")
    name = record_name(user)
    try:
        folder = Folder.open(path)
    except FileNotFoundError:
        raise _absent(target, shown) from None
    with folder, tokens.lock(name, "using this login session"):
        try:
            data = folder.read(entry, _LIMIT)
        except FileNotFoundError:
            raise _absent(target, shown) from None
        for _ in range(_TRIES):
            _check_owner(folder, entry, shown)
            record = _parsed(data, target, shown)
            drop_sessions(user)
            tokens.replace(name, record.record())
            kept = tokens.read(name)
            if kept is None or LoginRecord.of(kept) != record:
                raise StorageError(
                    "the encrypted login session cannot be read back",
                    hint=f"{shown} stays as it is",
                )
            if _deleted_if_same(folder, entry, data):
                context.reporter.result(f"Deleted {shown}, whose tokens were not encrypted.")
                return record
            data = folder.read(entry, _LIMIT)
    raise StorageError(
        f"another program changes {shown} all the time",
        hint="end the programs that use this login session, and run it again",
    )


def _deleted_if_same(folder: Folder, entry: str, data: bytes) -> bool:
    """Delete a file unless its content has changed; return whether it was deleted."""
    try:
        if folder.read(entry, _LIMIT) != data:
            return False
    except FileNotFoundError:
        return True
    folder.remove(entry)
    return True


def _folder(context: Context) -> str:
    """Return the folder of the AWS CLI's login sessions, as botocore finds it."""
    settings = context.settings
    home = settings.home_if_known
    given = settings.get(VARIABLE)
    if given is None:
        return f"{home or '~'}/{_DEFAULT}"
    if given == "~" or given.startswith("~/"):
        return f"{home or '~'}{given[1:]}"
    return re.sub(
        r"\$(?:(\w+)|\{(\w+)\})",
        lambda found: settings.environ.get(found[1] or found[2], found[0]),
        given,
    )


def _absent(target: LoginTarget, shown: str) -> ConfigError:
    return ConfigError(
        f"there is no login session of {target.subject} at {shown}",
        hint=f"{VARIABLE} names another folder; to sign in without it: {target.command}",
    )


def _check_owner(folder: Folder, entry: str, shown: str) -> None:
    """Raise ConfigError for a file of another user, whose session it would be."""
    info = os.stat(entry, dir_fd=folder.fd, follow_symlinks=False)
    if info.st_uid not in (0, os.geteuid()):
        raise ConfigError(f"{shown} belongs to user {info.st_uid}, not to you")


def _parsed(data: bytes, target: LoginTarget, shown: str) -> LoginRecord:
    """Return the login in the AWS CLI's file. Raises ConfigError."""
    from filevault.aws.dpop import DpopKey
    from filevault.aws.login_tokens import account_of_login
    from filevault.aws.timestamp import read_timestamp
    from filevault.credentials import Credentials
    from filevault.errors import DamagedError
    from filevault.partitions import check_region
    from filevault.system.strict_json import is_too_deep

    user = target.login_session or ""
    if len(data) > _LIMIT:
        raise ConfigError(f"{shown} is longer than {_LIMIT} bytes")
    try:
        text = data.decode("utf-8")
        values: Any = None if is_too_deep(text) else json.loads(text)
        given = dict(values["accessToken"])
        texts = {
            **{key: given[key] for key in ("accessKeyId", "secretAccessKey", "sessionToken")},
            **{key: values[key] for key in ("clientId", "refreshToken", "dpopKey")},
        }
        expiration = read_timestamp(given["expiresAt"])
        optional = {key: values.get(key) for key in ("tokenType", "idToken", "signInRegion")}
        dpop = DpopKey.load(str(texts["dpopKey"]))
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        missing = f": it lacks {error}" if isinstance(error, KeyError) else ""
        raise ConfigError(
            f"{shown} is no login session of the AWS CLI{missing}",
            hint=f"to sign in without it: {target.command}",
        ) from None
    except DamagedError as error:
        raise ConfigError(f"{shown} cannot be used: {error.message}") from error
    plain = [value for key, value in texts.items() if key != "dpopKey"]
    plain += [value for value in optional.values() if value is not None]
    if not all(isinstance(each, str) and _PLAIN.fullmatch(each) for each in plain):
        raise ConfigError(f"{shown} is no login session of the AWS CLI")
    region = optional["signInRegion"] or target.region
    if region is None:
        raise ConfigError(
            f"{shown} does not say in which region it was issued, and {target.subject} has none",
            hint=f"name it: {target.command} --adopt --region R",
        )
    check_region(region, f"signInRegion in {shown}")
    rest = {key: value for key, value in values.items() if key not in _KNOWN}
    inner = {key: value for key, value in given.items() if key not in _KNOWN_KEY}
    if inner:
        rest["accessToken"] = inner
    account = str(given.get("accountId"))
    return LoginRecord(
        Credentials(
            texts["accessKeyId"],
            texts["secretAccessKey"],
            texts["sessionToken"],
            expiration or 0,
            account if _ACCOUNT.fullmatch(account) else account_of_login(user),
            user,
        ),
        texts["refreshToken"],
        texts["clientId"],
        dpop.pem(),
        region,
        optional["tokenType"] or "aws_sigv4",
        optional["idToken"],
        rest=(("unknown", json.dumps(rest)),) if rest else (),
    )
