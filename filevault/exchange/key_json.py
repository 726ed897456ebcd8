"""The JSON that `aws iam create-access-key` and credential processes print."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from filevault.errors import UsageError
from filevault.exchange.candidate import candidate, plain_value
from filevault.exchange.found_keys import Contents, FileFormat, LeftOut
from filevault.system.printable import printable
from filevault.system.strict_json import is_too_deep
from filevault.system.times import iam_time

if TYPE_CHECKING:
    from collections.abc import Collection

    from filevault.exchange.found_keys import Entry


# What IAM and credential processes say about a key; anything else would be lost with the file.
_MEMBERS = frozenset(
    (
        "AccessKeyId",
        "CreateDate",
        "Expiration",
        "SecretAccessKey",
        "SessionToken",
        "Status",
        "UserName",
        "Version",
    )
)


def recognise(text: str) -> bool:
    """Return whether a text begins like a JSON object."""
    return text.lstrip().startswith("{")


def read(text: str, path: str) -> Contents:
    """Return the key of the object. Raises UsageError for any other JSON."""
    value = _key(_object(text, path))
    name = plain_value(_text(value.get("UserName"))) or ""
    key_id, secret = _text(value.get("AccessKeyId")), _text(value.get("SecretAccessKey"))
    token = _text(value.get("SessionToken"))
    found = candidate(name, key_id, secret, path, token=token)
    if found is None:
        raise UsageError(
            f"{printable(path)!r} is JSON without AccessKeyId and SecretAccessKey",
            hint="name a file that has both, as aws iam create-access-key prints them",
        )
    if isinstance(found, LeftOut):
        return Contents((), (found,))
    if value.get("Status") == "Inactive":
        return Contents((), (LeftOut(name, path, "the key is inactive at AWS"),))
    return Contents((found._replace(created=iam_time(value.get("CreateDate"))),))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _object(text: str, path: str) -> dict[str, Any]:
    shown = printable(path)
    if is_too_deep(text):
        raise UsageError(
            f"the JSON in {shown!r} is nested too deeply to be a key",
            hint="name a file as aws iam create-access-key prints it",
        )
    # The cause is left out of the error: it carries the text, secret included.
    try:
        value: dict[str, Any] = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise UsageError(
            f"{shown!r} begins like JSON but is not valid JSON",
            hint="name a file as aws iam create-access-key prints it",
        ) from None
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the members of an object. Raises ValueError if two have the same name."""
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError
    return value


def _key(value: dict[str, Any]) -> dict[str, Any]:
    """Return the object with the members of the key: IAM wraps it."""
    inner = value.get("AccessKey")
    return inner if isinstance(inner, dict) else value


def without(text: str, path: str, entries: Collection[Entry]) -> str:
    """Return nothing if the key is one of these. Raises UsageError if that is not all there is."""
    found = read(text, path).keys
    if not found or found[0].entry not in entries:
        return text
    value = _object(text, path)
    key = _key(value)
    if not key.keys() <= _MEMBERS or (key is not value and value.keys() != {"AccessKey"}):
        raise UsageError(
            f"{printable(path)!r} also has other values than those of the key, so it stays",
            hint="take the key out with an editor",
        )
    return ""


FORMAT = FileFormat("json", "the JSON of aws iam create-access-key", recognise, read, without)
