"""`.age-recipients` files: parse and build them, and check which recipients are usable.

The grammar is the age program's: one recipient in each line; empty lines and lines that begin with
`#` are ignored; no blanks around a recipient and no comment after it, except an ssh key's own. A
line end may be CRLF, the last one may be missing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from filevault.backends.age import AGE
from filevault.backends.age.library import library
from filevault.backends.age.ssh_keys import public_key
from filevault.errors import BackendError, UsageError
from filevault.system.merge_conflicts import LINES_HINT, is_conflict
from filevault.system.printable import printable
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FILE = AGE.marker
MAX_FILE = 1 << 20
MAX_LINE = 8 << 10
_MAX_COMMENT = 64 << 10
PQ_PREFIX = "age1pq1"
X25519 = "X25519"
_TAG_PREFIXES = {"age1tag1": "tag", "age1tagpq1": "tagpq"}
_PQ_PREFIXES = (PQ_PREFIX, "age1tagpq1")
_NATIVE = r"age1[a-z0-9+._-]+\Z"
PQ_REASON = (
    "it is post-quantum, and pyrage, the age library that filevault uses, cannot encrypt to it"
)


class AgeRecipients(Record):
    """Recipients in canonical form: sorted, without duplicates, ssh keys without comments.

    `unresolved` are those that cannot be encrypted to.
    """

    all: tuple[str, ...]
    unresolved: tuple[str, ...] = ()


def parse(data: bytes, what: str, warn: Callable[[str], None]) -> AgeRecipients:
    """Return the recipients of a file.

    Args:
        data: the file's bytes; `MAX_FILE` + 1 bytes suffice of a longer one.
        what: the file's name in messages, already printable.
        warn: called with a warning about an ssh key of a type that age ignores.

    Raises:
        BackendError: if the age program would refuse it; the message has the line's number and
            never quotes it.
        ProgramError: if pyrage is not installed.
    """
    if len(data) > MAX_FILE:
        raise BackendError(f"{what} is longer than {MAX_FILE} bytes")
    if is_conflict(data):
        raise BackendError(f"{what} contains the marks of a merge conflict", hint=LINES_HINT)
    found: dict[str, bool] = {}
    lines = data.split(b"\n")
    for number, raw in enumerate(lines, 1):
        line = raw.removesuffix(b"\r")
        if len(raw) >= _MAX_COMMENT:
            raise _refused(what, number, "is too long")
        if not line or line.startswith(b"#"):
            continue
        if len(line) > MAX_LINE:
            raise _refused(what, number, "is too long")
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            raise _refused(what, number, "is not UTF-8") from None
        key = public_key(text)
        if key is not None and not key.supported:
            warn(
                f"{what}, line {number}: age does not encrypt to this ssh key of the type "
                f"{printable(key.type, 40)!r}; it is ignored"
            )
            continue
        normal = _normal(text)
        if normal is None:
            reason = "is not a recipient"
            if text.startswith("AGE-"):
                reason = "contains an identity, a secret, where a recipient belongs"
            elif text.strip() != text or " #" in text:
                reason = "is not a recipient: no blanks and no comment may stand beside one"
            raise _refused(what, number, reason)
        found[normal] = can_encrypt_to(normal)
    if not found:
        raise BackendError(f"{what} names no recipients", hint="write one into each line")
    return recipients(found)


def recipients(found: dict[str, bool]) -> AgeRecipients:
    """Return recipients from a table from each to whether it is usable."""
    names = tuple(sorted(found))
    return AgeRecipients(names, tuple(name for name in names if not found[name]))


def parse_words(text: str, what: str) -> AgeRecipients:
    """Return the recipients of a list separated by blanks. Raises BackendError."""
    found = {}
    for number, word in enumerate(text.split(), 1):
        normal = _normal(word)
        if normal is None:
            raise BackendError(f"word {number} of {what} is not an age recipient")
        found[normal] = can_encrypt_to(normal)
    if not found:
        raise BackendError(f"{what} names no recipients")
    return recipients(found)


def checked(text: str, *, usable: bool = True) -> str:
    """Return a recipient that the user gave, in canonical form.

    Raises UsageError for one that is invalid or, if it must be `usable`, cannot be encrypted to.
    """
    text = text.strip()
    key = public_key(text)
    normal = _normal(text)
    if text.startswith("AGE-"):
        raise UsageError(
            "that is an identity, a secret key, and no recipient",
            hint="age-keygen -y shows the recipient of an identity",
        )
    if normal is None or (key is not None and not key.supported):
        raise UsageError(
            f"{printable(text, 60)!r} is not an age recipient",
            hint="it looks like age1..., ssh-ed25519 AAAA... or ssh-rsa AAAA...",
        )
    if usable and not can_encrypt_to(normal):
        raise UsageError(
            f"{printable(text, 60)!r} cannot be a recipient: {why_not(normal)}",
            hint="give another one of that user: age1..., ssh-ed25519 AAAA... or ssh-rsa AAAA...",
        )
    return normal


def why_not(recipient: str) -> str:
    """Return the reason why a recipient is unresolved."""
    if recipient.startswith(PQ_PREFIX):
        return PQ_REASON
    if recipient.startswith("ssh-"):
        return "pyrage, the age library that filevault uses, does not accept this ssh key"
    return "its recipient is unknown"


def do_not_mix(complaint: str) -> bool:
    """Return whether the library refused a set for its labels (C2SP age, "labels")."""
    return "recipient with labels" in complaint or "recipients with" in complaint


def mixture(names: Sequence[str]) -> str:
    """Return the reason why the library does not mix these recipients, with an example."""
    quantum = [name for name in names if name.startswith(_PQ_PREFIXES)]
    others = [name for name in names if name not in quantum]
    if not quantum or not others:
        return "age does not encrypt to these recipients together"
    shown, other = printable(quantum[0], 40), printable(others[0], 40)
    return (
        f"{shown} is post-quantum, {other} is not, and age does not encrypt to both types together"
    )


def can_encrypt_to(recipient: str) -> bool:
    """Return whether the library accepts a recipient; of a plugin's, only its form is checked."""
    age = library()
    if recipient.startswith(PQ_PREFIX):
        return False
    try:
        load(recipient)
    except age.RecipientError:
        return False
    return True


def is_plugin(recipient: str) -> bool:
    """Return whether a plugin is needed to encrypt to a recipient."""
    if recipient.startswith(tuple(_TAG_PREFIXES)):
        return False
    return recipient.startswith("age1") and recipient.count("1") > 1


def plugin(recipient: str) -> str | None:
    """Return the name of the plugin that encrypts to a recipient, None if there is none."""
    if recipient.startswith(PQ_PREFIX) or not is_plugin(recipient):
        return None
    try:
        return str(load(recipient).plugin())
    except library().RecipientError:
        return None


def stanza(recipient: str) -> tuple[str, ...] | None:
    """Return type and tag of a recipient's stanza in a file, None if they are unknown."""
    key = public_key(recipient)
    if key is not None:
        return (key.type, key.tag)
    native = re.fullmatch(r"age1[a-z0-9]+", recipient) and recipient.count("1") == 1
    return (X25519,) if native else None


def load(recipient: str) -> Any:  # noqa: ANN401 - an object of the library's
    """Return the library's object for a recipient. Raises its RecipientError."""
    age = library()
    if recipient.startswith("ssh-"):
        return age.ssh.Recipient.from_str(recipient)
    for prefix, module in _TAG_PREFIXES.items():
        if recipient.startswith(prefix):
            return getattr(age, module).Recipient.from_str(recipient)
    if is_plugin(recipient):
        return age.plugin.Recipient.from_str(recipient)
    return age.x25519.Recipient.from_str(recipient)


def _normal(text: str) -> str | None:
    """Return a recipient in canonical form, None for an invalid one."""
    if text.startswith("ssh-"):
        key = public_key(text)
        return key.line if key is not None else None
    if not re.match(_NATIVE, text):
        return None
    if text.startswith(PQ_PREFIX):
        return text
    age = library()
    try:
        load(text)
    except age.RecipientError:
        return None
    return text


def build(wanted: Sequence[str], old: bytes = b"") -> bytes:
    """Return a recipients file's bytes, always with a final newline.

    Comments and the lines of recipients that are still wanted are kept byte for byte; new
    recipients are appended, in the order given.

    Args:
        wanted: recipients, as `checked` returns them.
        old: the present file, which `parse` accepts.

    Raises:
        UsageError: if no recipient would be left.
    """
    if not wanted:
        raise UsageError("a vault must have a recipient", hint="add another one first")
    left = list(dict.fromkeys(wanted))
    kept: list[bytes] = []
    for line in old.split(b"\n")[: None if old and not old.endswith(b"\n") else -1]:
        bare = line.removesuffix(b"\r")
        if bare and not bare.startswith(b"#"):
            text = bare.decode("utf-8")
            key = public_key(text)
            if key is None or key.supported:
                normal = _normal(text)
                if normal not in left:
                    continue
                left.remove(normal)
        kept.append(line)
    return b"".join(line + b"\n" for line in [*kept, *(name.encode("utf-8") for name in left)])


def _refused(what: str, number: int, reason: str) -> BackendError:
    return BackendError(
        f"line {number} of {what} {reason}",
        hint="a recipient alone in its line, comments on lines of their own",
    )
