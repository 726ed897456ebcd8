"""The text inside a long-term item (`docs/format.md` §3).

Line 1 is the secret, the rest `key: value`: what `pass`, gopass and browserpass show and edit.
A rewrite replaces the lines that it must and keeps every other byte. What others keep in forms of
their own is read too, and takes this form when it is first rewritten.
"""

from __future__ import annotations

import re

from filevault.credentials import AccessKey
from filevault.errors import DamagedError, NewerFormatError, NoKeyError, UsageError
from filevault.printable import printable
from filevault.times import parse_time
from filevault.values import Value
from filevault.vault.forms import ForeignItem, names_secret, read_foreign, refuse_gopass

ROTATION_FIELDS = (
    "rotation_started",
    "rotation_known_keys",
    "next_aws_access_key_id",
    "next_aws_secret_access_key",
    "previous_aws_access_key_id",
    "previous_aws_secret_access_key",
    "previous_deactivated",
)

_SECRET_KEY = r"[A-Za-z0-9/+=]{16,128}\Z"  # noqa: S105 - a pattern
# IAM's own pattern for an access key id: 16 to 128 word characters.
_KEY_ID = r"[A-Za-z0-9_]{16,128}\Z"
_AWS_KEY_ID = rb"(?:AKIA|ASIA)[A-Z0-9]{12}"
_LINE_END = rb"\r?\n\Z"
_CONTROL = r"[\x00-\x1f\x7f-\x9f]"


_STARTED, _KNOWN, *_KEYS, _DEACTIVATED = ROTATION_FIELDS


class Rotation(Value):
    """What an item says of a rotation that is under way, or of the key that came before.

    `started` is a time as in the format, `known_keys` the ids of the user's keys before the new
    one was made, None where IAM would not say. `next` is the new key until it is proven to work,
    `previous` the old one until it is gone, `deactivated` when that was set inactive to wait for
    its deletion.
    """

    started: str | None = None
    known_keys: tuple[str, ...] | None = None
    next: AccessKey | None = None
    previous: AccessKey | None = None
    deactivated: str | None = None

    def __repr__(self) -> str:
        return f"Rotation(started={self.started!r}, next={self.next!r}, previous={self.previous!r})"


class LongTermItem(Value):
    """What a long-term item says. Times as in the format; None where a line is missing."""

    key: AccessKey
    mfa_serial: str | None = None
    created: str | None = None
    created_from: str | None = None
    path_name: str | None = None

    def __repr__(self) -> str:
        return f"LongTermItem(key={self.key!r}, created={self.created!r}, ...)"


def check_access_key(key: AccessKey) -> None:
    """Refuse what cannot be an IAM access key, before it is stored.

    Raises:
        UsageError: naming the part and what is wrong with it, never its value.
    """
    if not re.match(_KEY_ID, key.access_key_id):
        raise UsageError(
            "that is no access key id: 16 to 128 letters and digits are needed, "
            f"these are {len(key.access_key_id)} characters",
            hint="it looks like AKIA followed by 16 letters and digits",
        )
    if key.access_key_id.startswith("ASIA"):
        raise UsageError(
            "that is the key id of a temporary session, which expires by itself",
            hint="store the long-term key (AKIA...) that it was made from",
        )
    if not re.match(_SECRET_KEY, key.secret_access_key):
        raise UsageError(
            "that is no secret access key: 16 to 128 characters of A-Z, a-z, 0-9, / + = are needed"
        )


def _lines(text: bytes) -> list[bytes]:
    """Split at LF only, keeping line ends: nothing else ends a line here."""
    return re.findall(rb"[^\n]*\n|[^\n]+", text)


def _field(line: bytes) -> tuple[str, str] | None:
    """Return (key, value) of a `key: value` line, None for any other line."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        return None
    key, colon, value = text.partition(":")
    if not colon or not key or key != key.strip():
        return None
    return key, value.strip()


def parse(text: bytes, what: str) -> LongTermItem:
    """Return what an item's text says.

    Args:
        text: the plaintext.
        what: how messages call the item.

    Raises:
        DamagedError: if a required part is missing, a rotation field stands twice, or it is
            not clear which key is meant.
        NoKeyError: if nothing in it speaks of an AWS key.
        NewerFormatError: if a newer filevault wrote it.
    """
    foreign = _foreign(text, what)
    if foreign is not None:
        if foreign.temporary:
            raise DamagedError(
                f"{what} holds the temporary credentials of a session, no long-term key",
                hint="store the key that they were made from",
            )
        return LongTermItem(foreign.key, foreign.mfa_serial)
    lines = _lines(text)
    fields: dict[str, str] = {}
    for line in lines[1:]:
        pair = _field(line)
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
        kind = DamagedError if _speaks_of_a_key(text) else NoKeyError
        raise kind(
            f"{what} is damaged: it has no valid {missing}",
            hint="line 1 is the secret access key; 'aws_access_key_id: AKIA...' stands below it",
        )
    version, _, rest = fields.get("filevault", "1").partition(" ")
    if version != "1":
        raise NewerFormatError(f"{what} was written by a newer filevault", hint="upgrade filevault")
    path_name = rest[len("name=") :] if rest.startswith("name=") else None
    return LongTermItem(
        AccessKey(key_id, secret),
        fields.get("mfa_serial"),
        _time(fields.get("created")),
        fields.get("created_from"),
        path_name,
    )


def _foreign(text: bytes, what: str) -> ForeignItem | None:
    """Read a text of another form than ours; one that names filevault is ours in any case."""
    refuse_gopass(text, what)
    lines = _lines(text)
    names = _names(lines)
    if "filevault" in names:
        return None
    secret = lines[0].decode("utf-8", "replace").strip() if lines else ""
    ours = "aws_access_key_id" in names and re.match(_SECRET_KEY, secret)
    return None if ours and not names_secret(lines) else read_foreign(text, what)


def _may_hold_a_key(text: bytes) -> bool:
    """Tell of a text in no known form whether it names a secret where a rewrite keeps it."""
    lines = _lines(text)
    if "filevault" in _names(lines):
        return False
    return text.lstrip().startswith(b"{") or names_secret(lines[1:])


def _speaks_of_a_key(text: bytes) -> bool:
    """Tell whether a text that holds no key looks like what is left of one."""
    lines = _lines(text)
    ours = {"filevault", "aws_access_key_id", *ROTATION_FIELDS}
    return (
        not text.strip()
        or not ours.isdisjoint(_names(lines))
        or names_secret(lines)
        or re.search(_AWS_KEY_ID, text) is not None
    )


def _names(lines: list[bytes]) -> set[str]:
    return {pair[0] for pair in map(_field, lines[1:]) if pair}


def _time(text: str | None) -> str | None:
    """A hand-written time of another form is no reason to refuse a key."""
    if text is None:
        return None
    try:
        parse_time(text)
    except ValueError:
        return None
    return text


def compose(
    path_name: str,
    key: AccessKey,
    *,
    created: str,
    created_from: str,
    mfa_serial: str | None = None,
    old: bytes = b"",
) -> bytes:
    """Return the text of an item for a newly stored key.

    Args:
        path_name: the encoded path without suffix, for the name line.
        key: what to store; must have passed `check_access_key`.
        created: `YYYY-MM-DDTHH:MM:SSZ`.
        created_from: `iam` where that is IAM's CreateDate, else `add`.
        mfa_serial: sets the line; None keeps the one that `old` has.
        old: the text to rewrite: its unknown lines, comments, line ends and final newline
            survive byte for byte, its rotation fields go. Of another form than ours, what it
            says of its key goes, and of JSON everything else becomes lines.

    Raises:
        UsageError: for what cannot be a key or an MFA serial.
        DamagedError: if `old` cannot be told apart into what goes and what stays.
    """
    check_access_key(key)
    if mfa_serial is not None and re.search(_CONTROL, mfa_serial):
        raise UsageError("an MFA serial holds no control characters")
    what = "the item to replace"
    foreign = _foreign(old, what) if old else None
    if foreign is None and _may_hold_a_key(old):
        raise DamagedError(
            f"{what} is of no form that is known here; parts of its old key might stay in it",
            hint="--discard replaces it with the new key alone",
        )
    if foreign is not None:
        end = b"\n" if old.lstrip().startswith(b"{") else _line_end(_lines(old)[0]) or b"\n"
        old = b"x" + end + foreign.rest
        mfa_serial = foreign.mfa_serial if mfa_serial is None else mfa_serial
    wanted: dict[str, str | None] = {
        "aws_access_key_id": key.access_key_id,
        "mfa_serial": mfa_serial,
        "created": created,
        "created_from": "iam" if created_from == "iam" else None,
        "filevault": f"1 name={path_name}",
    }
    if not old:
        head = [key.secret_access_key]
        body = [f"{name}: {value}" for name, value in wanted.items() if value is not None]
        return ("\n".join(head + body) + "\n").encode("utf-8")
    lines = _lines(old)
    end = _line_end(lines[0]) or b"\n"
    result: list[bytes] = []
    done: set[str] = set()
    for line in lines[1:]:
        pair = _field(line)
        name = pair[0] if pair else ""
        if name in ROTATION_FIELDS:
            continue
        if name not in wanted or name in done:
            result.append(line)
            continue
        done.add(name)
        value = wanted[name]
        if value is not None:
            result.append(f"{name}: {value}".encode() + _line_end(line))
        elif name == "mfa_serial":
            result.append(line)
    added = [
        f"{name}: {value}".encode() + end
        for name, value in wanted.items()
        if name not in done and value is not None
    ]
    first = key.secret_access_key.encode() + (
        _line_end(lines[0]) or (end if added or result else b"")
    )
    return first + b"".join(added) + b"".join(result)


def read_rotation(text: bytes, what: str) -> Rotation:
    """Return the rotation fields of an item that `parse` has accepted.

    Fields whose key is the item's own, because somebody moved it to line 1 by hand, say nothing
    any more: to act on them would be to deactivate that key.

    Raises:
        DamagedError: for a key of which only one half is there, for what cannot be a key, and
            for fields that contradict each other or line 1.
    """
    fields = {pair[0]: pair[1] for pair in map(_field, _lines(text)[1:]) if pair}
    known = fields.get(_KNOWN)
    found = Rotation(
        fields.get(_STARTED),
        None if known is None else tuple(known.split()),
        _both_halves(fields, _KEYS[0], _KEYS[1], what),
        _both_halves(fields, _KEYS[2], _KEYS[3], what),
        _time(fields.get(_DEACTIVATED)),
    )
    if found.next is not None and found.previous is not None:
        raise DamagedError(f"{what} is damaged: it has a next key and a previous one")
    other = found.next or found.previous
    own = parse(text, what).key
    if other is None or other.access_key_id != own.access_key_id:
        return found
    if other != own:
        raise DamagedError(
            f"{what} is damaged: it has two secrets for the key {printable(own.access_key_id)}",
            hint="take the lines of the wrong one out with the tool that wrote it, or store the "
            "right one with filevault add PROFILE --force --discard",
        )
    return Rotation()


def _both_halves(
    fields: dict[str, str], id_name: str, secret_name: str, what: str
) -> AccessKey | None:
    if id_name not in fields and secret_name not in fields:
        return None
    key = AccessKey(fields.get(id_name, ""), fields.get(secret_name, ""))
    if not re.match(_KEY_ID, key.access_key_id) or not re.match(_SECRET_KEY, key.secret_access_key):
        raise DamagedError(f"{what} is damaged: {id_name} and {secret_name} are no key together")
    return key


def with_rotation(text: bytes, rotation: Rotation) -> bytes:
    """Return an item's text with other rotation fields; every other byte stays.

    The text must be of the form that `compose` makes. The fields stand above the key id, so that
    taking them out again leaves what was there before.
    """
    wanted: dict[str, str] = {}
    if rotation.started is not None:
        wanted[_STARTED] = rotation.started
    if rotation.known_keys is not None:
        wanted[_KNOWN] = " ".join(rotation.known_keys)
    for names, key in ((_KEYS[:2], rotation.next), (_KEYS[2:], rotation.previous)):
        if key is not None:
            wanted[names[0]], wanted[names[1]] = key.access_key_id, key.secret_access_key
    if rotation.deactivated is not None:
        wanted[_DEACTIVATED] = rotation.deactivated
    lines = _lines(text)
    end = _line_end(lines[0]) or b"\n"
    result = lines[:1]
    for line in lines[1:]:
        pair = _field(line)
        name = pair[0] if pair else ""
        if name == "aws_access_key_id":
            result += [f"{field}: {value}".encode() + end for field, value in wanted.items()]
            wanted = {}
        if name not in ROTATION_FIELDS:
            result.append(line)
    return b"".join(result)


def _line_end(line: bytes) -> bytes:
    found = re.search(_LINE_END, line)
    return found.group() if found else b""
