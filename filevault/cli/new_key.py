"""A new access key from the terminal, the environment or stdin."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from filevault.credentials import AccessKey
from filevault.errors import UsageError
from filevault.system.record import Record
from filevault.system.strict_json import is_too_deep
from filevault.system.times import iam_time
from filevault.vault.item import check_access_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filevault.unlock.prompt import Prompter

_LIMIT = 64 << 10
_FORMS = (
    "give what aws iam create-access-key prints, credential_process JSON, the CSV file of the "
    "console, or two lines: key id and secret"
)


_CSV_ID = "access key id"
_CSV_SECRET = "secret access key"  # noqa: S105 - the name of a column


class NewKey(Record):
    """A key to store; `created` is IAM's CreateDate as `YYYY-MM-DDTHH:MM:SSZ` where known."""

    key: AccessKey
    created: str | None = None


def from_terminal(prompter: Prompter) -> NewKey:
    """Ask for the key id, and without echo for the secret. Raises UsageError for an invalid key."""
    key_id = prompter.line("Access key id: ").strip()
    check_access_key(AccessKey(key_id, "x" * 40))
    secret = prompter.hidden("Secret access key: ").decode("utf-8", "replace").strip()
    return _checked(key_id, secret)


def from_environment(environ: Mapping[str, str]) -> NewKey:
    """Take the key from `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        if not environ.get(name):
            raise UsageError(
                f"--env needs {name}, which is not set",
                hint="set both variables, or leave --env out to be asked",
            )
    if environ.get("AWS_SESSION_TOKEN"):
        raise UsageError(
            "AWS_SESSION_TOKEN is set: these are temporary credentials, not a long-term key",
            hint="set the long-term key (AKIA...) that they were made from instead",
        )
    return _checked(environ["AWS_ACCESS_KEY_ID"], environ["AWS_SECRET_ACCESS_KEY"])


def from_stdin() -> NewKey:
    """Read the key from stdin: one of four forms."""
    data = sys.stdin.buffer.read(_LIMIT + 1)
    if len(data) > _LIMIT:
        raise UsageError("stdin gives more than a key", hint=_FORMS)
    try:
        # The console begins its files with a byte order mark.
        text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError:
        raise UsageError("stdin is not UTF-8", hint=_FORMS) from None
    if text.lstrip().startswith("{"):
        return _from_json(text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if lines and _is_heading(lines[0]):
        return _from_csv(text)
    if len(lines) != 2:
        raise UsageError(f"stdin has {len(lines)} lines of text instead of two", hint=_FORMS)
    return _checked(lines[0], lines[1])


def _from_json(text: str) -> NewKey:
    if is_too_deep(text):
        raise UsageError("the JSON on stdin is nested too deeply to be a key", hint=_FORMS)
    # The cause is left out of these errors: a JSON error carries the text, secret included.
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise UsageError("stdin begins like JSON but is not valid JSON", hint=_FORMS) from None
    inner = value.get("AccessKey")
    if isinstance(inner, dict):
        value = inner
    if value.get("SessionToken"):
        raise UsageError(
            "the JSON on stdin has a SessionToken: temporary credentials, not a long-term key",
            hint="give the long-term key (AKIA...) that they were made from",
        )
    key_id, secret = value.get("AccessKeyId"), value.get("SecretAccessKey")
    if not isinstance(key_id, str) or not isinstance(secret, str):
        raise UsageError("the JSON on stdin has no AccessKeyId and SecretAccessKey", hint=_FORMS)
    if value.get("Status") == "Inactive":
        raise UsageError(
            "the key on stdin is inactive at AWS", hint="activate it in IAM, or create another one"
        )
    return _checked(key_id, secret, iam_time(value.get("CreateDate")))


def _is_heading(line: str) -> bool:
    names = [name.strip(' "').lower() for name in line.split(",")]
    return _CSV_ID in names and _CSV_SECRET in names


def _from_csv(text: str) -> NewKey:
    """Parse the CSV file that IAM's console offers for download.

    The present file has the columns `Access key ID,Secret access key`, older ones begin with
    `User name,Password`. Names are compared in lower case, as the AWS CLI does.
    """
    import csv

    try:
        rows = [row for row in csv.reader(text.splitlines(), strict=True) if any(row)]
    except csv.Error:
        raise UsageError("the CSV on stdin is damaged", hint=_FORMS) from None
    names = [name.strip().lower() for name in rows[0]]
    if len(rows) != 2:
        raise UsageError(
            f"the CSV on stdin has {len(rows) - 1} keys instead of one",
            hint="leave the line with the names and the one with the key",
        )
    columns = [names.index(name) for name in (_CSV_ID, _CSV_SECRET)]
    if max(columns) >= len(rows[1]) or len(set(names)) != len(names):
        raise UsageError("the CSV on stdin is damaged", hint=_FORMS)
    key_id, secret = (rows[1][column] for column in columns)
    if not key_id and not secret:
        raise UsageError(
            "the CSV on stdin has no access key",
            hint="it is that of a user who was made without one",
        )
    return _checked(key_id, secret)


def _checked(key_id: str, secret: str, created: str | None = None) -> NewKey:
    key = AccessKey(key_id.strip(), secret.strip())
    check_access_key(key)
    return NewKey(key, created)
