"""The text of a long-term item: parse and compose it (`docs/format.md` §3).

Line 1 is the secret, the others are `key: value`, as `pass`, gopass and browserpass show and edit
them. A rewrite replaces the lines that it must and keeps every other byte. The formats of other
tools are read as well, and converted at the first rewrite.
"""

from __future__ import annotations

import re

from filevault.credentials import (
    AWS_KEY_ID,
    AccessKey,
    is_key_id,
    is_secret_key,
    looks_like_key_id,
    looks_like_secret,
)
from filevault.errors import DamagedError, NewerFormatError, NoKeyError, UsageError
from filevault.system.record import Record
from filevault.vault.foreign_formats import ForeignItem, names_secret, read_foreign, refuse_gopass
from filevault.vault.item_lines import (
    ROTATION_FIELDS,
    field_of,
    line_end_of,
    lines_of,
    time_of,
)

_OURS = frozenset({"filevault", "aws_access_key_id", *ROTATION_FIELDS})
_CONTROL = r"[\x00-\x1f\x7f-\x9f]"


class LongTermItem(Record):
    """The content of a long-term item. Times as in the format; None for a missing line."""

    key: AccessKey
    mfa_serial: str | None = None
    created: str | None = None
    created_from: str | None = None
    path_name: str | None = None


def check_access_key(key: AccessKey) -> None:
    """Check that an access key has the form of IAM's, before it is stored.

    Raises:
        UsageError: naming the wrong part and the reason, never its value.
    """
    if looks_like_secret(key.access_key_id):
        raise UsageError(
            "that is not an access key id: it looks like a secret access key",
            hint="are id and secret swapped? the id looks like AKIA followed by 16 letters and "
            "digits",
        )
    if looks_like_key_id(key.secret_access_key):
        raise UsageError(
            "that is no secret access key: it looks like an access key id",
            hint="are id and secret swapped? the secret has 40 characters",
        )
    if not is_key_id(key.access_key_id):
        raise UsageError(
            "that is not an access key id: 16 to 128 letters and digits are needed, "
            f"these are {len(key.access_key_id)} characters",
            hint="it looks like AKIA followed by 16 letters and digits",
        )
    if key.access_key_id.startswith("ASIA"):
        raise UsageError(
            "that is the key id of a temporary session, which expires by itself",
            hint="store the long-term key (AKIA...) that it was made from",
        )
    if not is_secret_key(key.secret_access_key):
        raise UsageError(
            "that is no secret access key: 16 to 128 characters of A-Z, a-z, 0-9, / + = are needed",
            hint="copy it again, whole: AWS shows it once, when the key is created",
        )


def parse(text: bytes, what: str) -> LongTermItem:
    """Parse an item's text.

    Args:
        text: the plaintext.
        what: the name of the item in messages.

    Raises:
        DamagedError: if a required part is missing, a rotation field is repeated, id and secret
            are swapped, or the key is ambiguous.
        NoKeyError: if there is no trace of an AWS key.
        NewerFormatError: if a newer filevault wrote it.
    """
    foreign = _foreign(text, what)
    if foreign is not None:
        if foreign.temporary:
            raise DamagedError(
                f"{what} contains the temporary credentials of a session, no long-term key",
                hint="store the key that they were made from",
            )
        _refuse_swapped(foreign.key, what)
        return LongTermItem(foreign.key, foreign.mfa_serial)
    lines = lines_of(text)
    fields: dict[str, str] = {}
    for line in lines[1:]:
        pair = field_of(line)
        if pair is None:
            continue
        if pair[0] in fields and pair[0] in ROTATION_FIELDS:
            raise DamagedError(f"{what} is damaged: it has two lines {pair[0]!r}")
        fields.setdefault(*pair)
    try:
        secret = lines[0].decode("utf-8").strip() if lines else ""
    except UnicodeDecodeError:
        secret = ""
    key_id = fields.get("aws_access_key_id", "")
    if not secret or re.search(_CONTROL, secret) or not key_id or re.search(_CONTROL, key_id):
        missing = "secret access key" if not secret else "line 'aws_access_key_id'"
        # The item of another tool may be complete, but it is not an AWS key.
        ours = not _OURS.isdisjoint(fields) or not text.strip()
        wrong = "is damaged" if ours else "cannot be used as an AWS key"
        error = DamagedError if _has_traces_of_a_key(text) else NoKeyError
        raise error(
            f"{what} {wrong}: it has no valid {missing}",
            hint="line 1 is the secret access key; 'aws_access_key_id: AKIA...' stands below it",
        )
    version, _, rest = fields.get("filevault", "1").partition(" ")
    if version != "1":
        raise NewerFormatError(f"{what} was written by a newer filevault", hint="upgrade filevault")
    path_name = rest[len("name=") :] if rest.startswith("name=") else None
    key = AccessKey(key_id, secret)
    _refuse_swapped(key, what)
    return LongTermItem(
        key,
        fields.get("mfa_serial"),
        time_of(fields.get("created")),
        fields.get("created_from"),
        path_name,
    )


def _refuse_swapped(key: AccessKey, what: str) -> None:
    """Raise DamagedError if id and secret are swapped: an id is printed, a secret must not be."""
    if is_swapped(key):
        raise DamagedError(
            f"{what} has its secret access key and its access key id swapped",
            hint="correct it with the tool that wrote it, or store the key again with "
            "`filevault add --force`",
        )


def is_swapped(key: AccessKey) -> bool:
    """Return whether an id looks like a secret, or a secret like an id."""
    return looks_like_secret(key.access_key_id) or looks_like_key_id(key.secret_access_key)


def _foreign(text: bytes, what: str) -> ForeignItem | None:
    """Parse the format of another tool; None for filevault's own, which may name filevault."""
    refuse_gopass(text, what)
    if text.isascii() and b"\nfilevault:" in text:
        return None  # the fast path of the test below
    lines = lines_of(text)
    names = _names(lines)
    if "filevault" in names:
        return None
    secret = lines[0].decode("utf-8", "replace").strip() if lines else ""
    ours = "aws_access_key_id" in names and is_secret_key(secret)
    return None if ours and not names_secret(lines) else read_foreign(text, what)


def parse_for_rewrite(old: bytes, what: str) -> ForeignItem | None:
    """Parse the text to rewrite in the format of another tool, None if it is in none.

    Raises DamagedError, with --discard as the hint, if the parts of its key cannot be identified.
    """
    foreign = _foreign(old, what)
    if foreign is None and _may_contain_a_key(old):
        raise DamagedError(
            f"{what} is of no form that is known here; parts of its old key might stay in it",
            hint="--force --discard replaces it with the new key alone",
        )
    return foreign


def _may_contain_a_key(text: bytes) -> bool:
    """Return whether a text in no known format may contain a secret that a rewrite would keep."""
    lines = lines_of(text)
    if "filevault" in _names(lines):
        return False
    return text.lstrip().startswith(b"{") or names_secret(lines[1:])


def _has_traces_of_a_key(text: bytes) -> bool:
    """Return whether a text without a key has traces of one."""
    lines = lines_of(text)
    return (
        not text.strip()
        or not _OURS.isdisjoint(_names(lines))
        or names_secret(lines)
        or re.search(AWS_KEY_ID.encode(), text) is not None
    )


def _names(lines: list[bytes]) -> set[str]:
    return {pair[0] for pair in map(field_of, lines[1:]) if pair}


def compose(
    path_name: str,
    key: AccessKey,
    *,
    created: str | None,
    created_from: str | None,
    mfa_serial: str | None = None,
    old: bytes = b"",
) -> bytes:
    """Return the text of an item for a newly stored key.

    Args:
        path_name: the encoded path without suffix, for the name line.
        key: what to store; must have passed `check_access_key`.
        created: `YYYY-MM-DDTHH:MM:SSZ`, None if unknown.
        created_from: `iam` if `created` is IAM's CreateDate, else `add` or None.
        mfa_serial: sets the line; None keeps the line of `old`.
        old: the text to rewrite: its unknown lines, comments, line ends and final newline stay
            byte for byte, its rotation fields are dropped. In the format of another tool the
            parts of its key are dropped, and the other members of JSON become lines.

    Raises:
        UsageError: for an invalid key or MFA serial.
        DamagedError: if the parts of `old` that must be dropped cannot be identified.
    """
    check_access_key(key)
    if mfa_serial is not None and re.search(_CONTROL, mfa_serial):
        raise UsageError(
            "an MFA serial contains no control characters",
            hint="copy it again from IAM: a serial number or an ARN",
        )
    foreign = parse_for_rewrite(old, "the item to replace") if old else None
    if foreign is not None:
        end = b"\n" if old.lstrip().startswith(b"{") else line_end_of(lines_of(old)[0]) or b"\n"
        old = b"x" + end + foreign.rest
        mfa_serial = foreign.mfa_serial if mfa_serial is None else mfa_serial
    wanted: dict[str, str | None] = {
        "aws_access_key_id": key.access_key_id,
        "mfa_serial": mfa_serial,
        "created": created,
        "created_from": "iam" if created and created_from == "iam" else None,
        "filevault": f"1 name={path_name}",
    }
    if not old:
        head = [key.secret_access_key]
        body = [f"{name}: {value}" for name, value in wanted.items() if value is not None]
        return ("\n".join(head + body) + "\n").encode("utf-8")
    lines = lines_of(old)
    end = line_end_of(lines[0]) or b"\n"
    result: list[bytes] = []
    done: set[str] = set()
    for line in lines[1:]:
        pair = field_of(line)
        name = pair[0] if pair else ""
        if name in ROTATION_FIELDS:
            continue
        if name not in wanted or name in done:
            result.append(line)
            continue
        done.add(name)
        value = wanted[name]
        if value is not None:
            result.append(f"{name}: {value}".encode() + line_end_of(line))
        elif name == "mfa_serial":
            result.append(line)
    added = [
        f"{name}: {value}".encode() + end
        for name, value in wanted.items()
        if name not in done and value is not None
    ]
    first = key.secret_access_key.encode() + (
        line_end_of(lines[0]) or (end if added or result else b"")
    )
    return first + b"".join(added) + b"".join(result)


def with_name(text: bytes, path_name: str) -> bytes:
    """Return the text of an item with another name in its name line, every other byte kept.

    A text without a name line stays as it is: it is in the format of another tool.
    """
    lines = lines_of(text)
    for index, line in enumerate(lines[1:], 1):
        if (field_of(line) or ("", ""))[0] == "filevault":
            lines[index] = f"filevault: 1 name={path_name}".encode() + line_end_of(line)
            break
    return b"".join(lines)


def is_in_rotation(text: bytes) -> bool:
    """Return whether an item has the fields of a rotation that is not finished."""
    return not _names(lines_of(text)).isdisjoint(ROTATION_FIELDS)
