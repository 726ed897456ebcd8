"""The formats of other tools for AWS keys in a `pass` or age store (`docs/format.md` §3).

Read, never written: lines such as `access_key: AKIA...` below the secret, shell exports, an INI
section, the JSON of a credential process, and AWS Vault's own entries. A key in two
entries is joined by `filevault.vault.split_entries`.
"""

from __future__ import annotations

import binascii
import json
import re
from typing import Any

from filevault.credentials import AWS_KEY_ID, AccessKey, is_key_id, is_secret_key
from filevault.errors import DamagedError, UnsupportedItemError
from filevault.system.record import Record
from filevault.system.strict_json import MAX_FOREIGN_DEPTH, is_too_deep
from filevault.vault.item_lines import ROTATION_FIELDS

_AWS_SECRET = r"[A-Za-z0-9/+]{40}\Z"  # noqa: S105 - what AWS has always issued
_AWS_KEY_ID = rf"{AWS_KEY_ID}\Z"
_CONTROL = r"[\x00-\x1f\x7f-\x9f\u2028\u2029]"

# Names without the prefix aws_, in lower case, without blanks, hyphens and underscores.
_LABELS = {
    **dict.fromkeys(("accesskeyid", "accesskey", "accessid", "keyid"), "id"),
    **dict.fromkeys(("secretaccesskey", "secretkey", "accesskeysecret", "secret"), "secret"),
    **dict.fromkeys(("sessiontoken", "securitytoken"), "token"),
    **dict.fromkeys(("user", "username", "login"), "user"),
    "mfaserial": "mfa",
}
_LONGEST_LABEL = 40

# Members of AWS Vault and credential processes about the key itself, dropped with the key.
_WRAPPER = ("Key", "Data", "KeychainNotTrustApplication", "KeychainNotSynchronizable")
_ABOUT_THE_KEY = (
    *("Version", "Expiration", "Source", "ProviderName", "CanExpire", "Expires"),
    *("AccountID", "AccountId"),
)
# Names with a meaning in a line of an item, to filevault or to browserpass.
_TAKEN = (
    *("aws_access_key_id", "mfa_serial", "created", "created_from", "filevault", "json"),
    *ROTATION_FIELDS,
    *("secret", "pass", "password", "otpauth"),
)
_REPLACE = "`filevault add --force --discard` replaces it with a new key"


class ForeignItem(Record):
    """A key in the format of another tool.

    `rest` are the lines that a rewrite keeps: all but those of the key. `temporary` is True if
    these are the credentials of a session.
    """

    _secret = ("rest",)

    key: AccessKey
    mfa_serial: str | None
    rest: bytes
    temporary: bool


def refuse_gopass(text: bytes, what: str) -> None:
    """Raise DamagedError for the formats that only gopass reads."""
    if text.startswith(b"GOPASS-SECRET-1.0"):
        raise DamagedError(
            f"{what} is in gopass's old MIME form, which is not read here",
            hint=f"`gopass edit` or `pass edit` can make plain lines of it; {_REPLACE}",
        )
    if text.startswith(b"gopass://"):
        raise DamagedError(
            f"{what} is a gopass reference to another entry, which is not followed",
            hint=f"copy the entry that it names; {_REPLACE}",
        )


def names_secret(lines: list[bytes]) -> bool:
    """Return whether a line has a label of the secret access key; filevault writes none."""
    return any(_labelled(line)[0] == "secret" for line in lines)


def read_foreign(text: bytes, what: str) -> ForeignItem | None:
    """Parse the key of a text in another tool's format, None if there is none.

    Args:
        text: the plaintext.
        what: the name of the item in messages.

    Raises:
        DamagedError: if it contains several keys, or an entry of AWS Vault that is no key.
        UnsupportedItemError: for JSON that is nested too deeply.
    """
    if text.lstrip().startswith(b"{"):
        return _read_json(text, what)
    return _read_lines(text, what)


def is_aws_vault_session(name: str) -> bool:
    """Return whether a name is that of a session or token of AWS Vault, not of a key.

    The names are those of its versions 4 to 7: `sts.AssumeRole,<base64>,<base64>,<time>`,
    `session:<profile>:<serial>:<time>`, `<profile> session (<time>)`, `oidc:<start url>`.
    """
    if "," not in name and ":" not in name and "(" not in name:  # nearly all, of thousands
        return False
    if name.startswith("oidc:"):
        return True
    fields = name.split(",")
    if len(fields) == 4 and fields[0] and fields[1] and re.match(r"[0-9]+\Z", fields[3]):
        return all(re.match(r"[A-Za-z0-9_-]*\Z", f) and len(f) % 4 != 1 for f in fields[1:3])
    return bool(
        re.match(r"session:[^:]*:.*:[0-9]+[^:]*\Z", name)
        or re.search(r".session \([0-9]+\)\Z", name)
    )


class _Findings:
    """The parts of a key, collected from a text."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.secrets: list[str] = []
        self.token = False
        self.mfa_serial: str | None = None

    def take(self, part: str, value: str) -> bool:
        """Collect a labelled value; return whether it is part of the key, to be dropped with it."""
        if (part == "id" and is_key_id(value)) or (part == "user" and re.match(_AWS_KEY_ID, value)):
            self.ids.append(value)
        elif part == "secret" and is_secret_key(value):
            self.secrets.append(value)
        elif part == "token":
            self.token = self.token or bool(value)
        elif part == "mfa" and value and not re.search(_CONTROL, value):
            self.mfa_serial = self.mfa_serial or value
        else:
            return False
        return True

    def item(self, rest: bytes, what: str) -> ForeignItem | None:
        if not self.ids or not self.secrets:
            return None
        if len(set(self.ids)) > 1 or len(set(self.secrets)) > 1:
            raise DamagedError(
                f"{what} contains several keys, and it is not clear which one is meant",
                hint=f"keep one key in an item; {_REPLACE}",
            )
        temporary = self.token or self.ids[0].startswith("ASIA")
        key = AccessKey(self.ids[0], self.secrets[0])
        return ForeignItem(key, self.mfa_serial, rest, temporary)


def _read_lines(text: bytes, what: str) -> ForeignItem | None:
    lines = re.findall(rb"[^\n]*\n|[^\n]+", text)
    found = _Findings()
    rest = []
    for line in lines[1:]:
        if not found.take(*_labelled(line)):
            rest.append(line)
    if not lines or found.take(*_labelled(lines[0])):
        return found.item(b"".join(rest), what)
    first = lines[0].decode("utf-8", "replace").strip()
    if re.match(_AWS_KEY_ID, first):
        found.ids.append(first)
    elif is_secret_key(first) and (
        # Next to a labelled secret, line 1 may be another one, such as a console password.
        not found.secrets or first in found.secrets or re.match(_AWS_SECRET, first)
    ):
        found.secrets.append(first)
    else:
        rest.insert(0, lines[0])
    return found.item(b"".join(rest), what)


def _labelled(line: bytes) -> tuple[str, str]:
    """Return part and value of a `name: value`, `name = value` or `export NAME=value` line."""
    try:
        text = line.decode("utf-8").strip()
    except UnicodeDecodeError:
        return "", ""
    ends = [index for index in (text.find(":"), text.find("=")) if index > 0]
    if not ends or min(ends) > _LONGEST_LABEL:
        return "", ""
    part = _part(text[: min(ends)].removeprefix("export "))
    value = text[min(ends) + 1 :].strip().removesuffix(";").rstrip()
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    return part, value


def _part(name: str) -> str:
    plain = re.sub(r"[ _-]", "", name.strip().lower())
    return _LABELS.get(plain.removeprefix("aws"), "")


def _read_json(text: bytes, what: str) -> ForeignItem | None:
    try:
        whole = text.decode("utf-8")
        start = len(whole) - len(whole.lstrip())
        _refuse_deep(whole, what)
        value, end = json.JSONDecoder(object_pairs_hook=_unique).raw_decode(whole, start)
    except (ValueError, RecursionError):
        return None
    # `pass otp append` and users add lines below.
    _, _, below = whole[end:].partition("\n")
    if whole[end:].partition("\n")[0].strip():
        return None
    found = _Findings()
    if isinstance(value.get("Key"), str) and isinstance(value.get("Data"), str):
        kept = _take_aws_vault(value, found, what)
    else:
        kept = _take_object(value, found)
    return found.item((kept + below).encode("utf-8"), what)


def _refuse_deep(text: str, what: str) -> None:
    if is_too_deep(text):
        raise UnsupportedItemError(
            f"{what} contains JSON that is nested more than {MAX_FOREIGN_DEPTH} levels deep",
            hint=f"keep the key in lines, without what is nested; {_REPLACE}",
        )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a name stands twice")
    return dict(pairs)


def _take_aws_vault(wrapper: dict[str, Any], found: _Findings, what: str) -> str:
    name = wrapper["Key"]
    try:
        inner = binascii.a2b_base64(wrapper["Data"], strict_mode=True).decode("utf-8")
        _refuse_deep(inner, what)
        data = json.loads(inner, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise DamagedError(
            f"{what} is damaged: AWS Vault's entry in it has no valid data"
        ) from error
    if is_aws_vault_session(name) or not isinstance(data, dict) or "AccessKeyID" not in data:
        raise DamagedError(
            f"{what} is a session of AWS Vault, not a key",
            hint="AWS Vault makes a new one when it needs it",
        )
    outer = {name: value for name, value in wrapper.items() if name not in _WRAPPER}
    if outer.get("Label") == f"aws-vault ({name})":
        del outer["Label"]
    if outer.get("Description") == "":
        del outer["Description"]
    return _take_object(data, found) + "".join(_line(*pair) for pair in outer.items())


def _take_object(value: dict[str, Any], found: _Findings) -> str:
    """Collect the key's parts from an object; return lines for its other members."""
    kept = []
    for name, member in value.items():
        about = name in _ABOUT_THE_KEY or (_part(name) == "token" and member is None)
        if about or (isinstance(member, str) and found.take(_part(name), member)):
            continue
        kept.append(_line(name, member))
    return "".join(kept)


def _line(name: str, value: object) -> str:
    """Return a `name: value` line, or a line of JSON if that cannot express the value."""
    plain = isinstance(value, str) and value == value.strip() and not re.search(_CONTROL, value)
    shown = value if plain else json.dumps(value)
    is_name = re.match(r"[A-Za-z][A-Za-z0-9_. -]*\Z", name) and name == name.strip()
    taken = name.lower() in _TAKEN or _part(name) not in ("", "user")
    if not is_name or taken or not str(shown).isprintable():
        return f"json: {json.dumps({name: value})}\n"
    return f"{name}: {shown}\n"
