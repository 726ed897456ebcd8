"""The user's gpg keys: resolve the ids of a `.gpg-id`, and check which keys are usable.

Ids are resolved offline to full fingerprints, the only names that gpg is given. An ambiguous id
is rejected: which of its keys gpg would choose depends on trust and dates.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filevault.backends.gpg import status
from filevault.errors import BackendError, ProgramError
from filevault.system.printable import printable
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from filevault.backends.gpg.process import Gpg
    from filevault.backends.gpg.status import Reply

# Short and long key id, version 4 and 5 fingerprint. A final `!` means this subkey and no other.
_HEX_ID = re.compile(r"(?:0x)?([0-9A-Fa-f]{8}|[0-9A-Fa-f]{16}|[0-9A-Fa-f]{40}|[0-9A-Fa-f]{64})(!?)")
_MAILBOX = re.compile(r"<?([^\s<>@]+@[^\s<>@]+)>?")
# Validity letters of a key or subkey that make it unusable (GnuPG doc/DETAILS, field 2).
_PROBLEMS = {"r": "is revoked", "e": "has expired", "i": "is invalid", "d": "is disabled"}


class Subkey(Record):
    """A key or subkey for encryption."""

    fingerprint: str
    key_id: str
    problem: str | None


class GpgKey(Record):
    """A key of gpg's keyring; `problem` is the reason why it is unusable, None if it is usable."""

    fingerprint: str
    key_id: str
    mailboxes: frozenset[str]
    all_ids: frozenset[str]
    """Key ids and fingerprints of the key and all its subkeys."""
    encryption: tuple[Subkey, ...]
    problem: str | None


class Recipient(Record):
    """A resolved id.

    `name` is the full fingerprint (with `!`, that of the subkey, if the id ends in `!`), or the id
    as written if it cannot be resolved. `key_ids` are those that a message to it may name.
    `problem` is the reason why it is unusable, None if it is usable. `candidates` are the
    fingerprints of the keys that fit an ambiguous id.
    """

    name: str
    key_ids: frozenset[str]
    problem: str | None
    candidates: tuple[str, ...] = ()


class GpgKeys:
    """The keys of gpg's keyring, by the ids that are resolved; each id is looked up once."""

    def __init__(self, gpg: Gpg) -> None:
        self._gpg = gpg
        self._groups: Mapping[str, tuple[str, ...]] | None = None
        self._found: dict[str, Recipient] = {}

    def resolve(self, ids: Sequence[str]) -> tuple[Recipient, ...]:
        """Resolve ids and the groups of gpg.conf; sorted by name, without duplicates.

        Raises:
            ProgramError: if gpg cannot be run.
            BackendError: for an id in a group that gpg would take for an option.
        """
        if self._groups is None:
            self._groups = _groups(self._gpg)
        members: list[str] = []
        for entry in ids:
            members += self._groups.get(entry.lower(), (entry,))
        for entry in members:
            if entry.startswith("-"):
                raise BackendError(
                    f"a group of gpg.conf has the member {printable(entry, 100)!r}, which is an "
                    "option, not a key id"
                )
        self._look_up([entry for entry in members if entry not in self._found])
        found = {self._found[entry].name: self._found[entry] for entry in members}
        return tuple(found[name] for name in sorted(found))

    def _look_up(self, ids: Sequence[str]) -> None:
        """Look up all hexadecimal ids in one listing, every other id in its own."""
        plain = [entry for entry in ids if _HEX_ID.fullmatch(entry)]
        if plain:
            keys = _parse(self._gpg.listing("--list-keys", "--", *plain).output)
            for entry in plain:
                self._found[entry] = _by_number(entry, keys)
        for entry in ids:
            if entry not in self._found:
                keys = _parse(self._gpg.listing("--list-keys", "--", entry).output)
                self._found[entry] = _by_name(entry, keys)

    def secret(self, recipients: Sequence[Recipient]) -> tuple[Recipient, ...] | None:
        """Return the recipients whose secret key is available or on a card.

        Return None if gpg does not say.
        """
        if not recipients:
            return ()
        names = [recipient.name.rstrip("!") for recipient in recipients]
        reply = self._gpg.listing("--list-secret-keys", "--", *names)
        present = secret_key_ids(reply)
        if reply.status != 0 and not present and status.NO_SECRET_KEY not in reply.codes():
            return None
        return tuple(recipient for recipient in recipients if recipient.key_ids & present)


def secret_key_ids(listing: Reply) -> set[str]:
    """Return the ids of encryption keys whose secret part is available or on a card."""
    return {
        fields[4]
        for fields in _records(listing.output)
        if fields[0] in ("sec", "ssb") and fields[14] != "#" and "e" in fields[11]
    }


def exact(key_ids: Iterable[str], recipients: Sequence[Recipient]) -> bool:
    """Return whether a message names each of the recipients and no other key."""
    named = set(key_ids)
    allowed = frozenset[str]().union(*(recipient.key_ids for recipient in recipients))
    return named <= allowed and all(recipient.key_ids & named for recipient in recipients)


def _groups(gpg: Gpg) -> dict[str, tuple[str, ...]]:
    """Return the groups of gpg.conf by lower-case name; gpg does not expand them further."""
    reply = gpg.listing("--list-config", "group")
    if reply.status != 0:
        raise ProgramError(
            f"gpg cannot be used: {reply.complaint() or f'status {reply.status}'}",
            hint="check gpg.conf and PASSWORD_STORE_GPG_OPTS",
        )
    found: dict[str, tuple[str, ...]] = {}
    for fields in _records(reply.output):
        if fields[:2] == ["cfg", "group"]:
            found[_unescape(fields[2]).lower()] = tuple(filter(None, fields[3].split(";")))
    return found


def _by_number(entry: str, keys: Sequence[GpgKey]) -> Recipient:
    match = _HEX_ID.fullmatch(entry)
    number = match[1].upper() if match else ""
    forced = bool(match and match[2])
    fitting = [
        key
        for key in keys
        if (
            any(known.endswith(number) for known in key.all_ids)
            if len(number) == 8
            else number in key.all_ids
        )
    ]
    if not forced:
        as_written = number if len(number) >= 40 else entry
        return _choose(as_written, fitting)
    subkeys = [
        subkey
        for key in fitting
        for subkey in key.encryption
        if subkey.fingerprint.endswith(number)
    ]
    if len(subkeys) != 1:
        return Recipient(entry, frozenset(), "is not exactly one encryption key in gpg's keyring")
    subkey = subkeys[0]
    return Recipient(f"{subkey.fingerprint}!", frozenset({subkey.key_id}), subkey.problem)


def _by_name(entry: str, keys: Sequence[GpgKey]) -> Recipient:
    mailbox = _MAILBOX.fullmatch(entry)
    if mailbox:  # gpg prefers the whole address; `bob@x` is no part of `jbob@x`
        whole = [key for key in keys if mailbox[1].lower() in key.mailboxes]
        keys = whole or keys
    return _choose(entry, keys)


def _choose(entry: str, keys: Sequence[GpgKey]) -> Recipient:
    usable = [key for key in keys if key.problem is None]
    candidates = usable or keys
    if not candidates:
        return Recipient(entry, frozenset(), "has no key in gpg's keyring")
    if len(candidates) > 1:
        fingerprints = tuple(sorted(key.fingerprint for key in candidates))
        return Recipient(entry, frozenset(), "fits several keys in gpg's keyring", fingerprints)
    key = candidates[0]
    key_ids = frozenset(subkey.key_id for subkey in key.encryption)
    return Recipient(key.fingerprint, key_ids, key.problem)


def _records(listing: bytes) -> list[list[str]]:
    """Split a colon listing; only LF ends a line, and gpg escapes that and colons in names."""
    found = []
    for line in listing.split(b"\n"):
        if line and not line.startswith(b"["):
            fields = line.decode("utf-8", "replace").split(":")
            found.append(fields + [""] * (21 - len(fields)))
    return found


def _parse(listing: bytes) -> list[GpgKey]:
    blocks: list[list[list[str]]] = []
    for fields in _records(listing):
        if fields[0] == "pub":
            blocks.append([])
        if blocks:
            blocks[-1].append(fields)
    keys = {key.fingerprint: key for key in map(_key, blocks)}
    return list(keys.values())


def _key(block: Sequence[Sequence[str]]) -> GpgKey:
    """Read one key's records (GnuPG doc/DETAILS): each `pub` or `sub` is followed by its `fpr`."""
    public = block[0]
    everything: set[str] = set()
    mailboxes: set[str] = set()
    encryption: list[Subkey] = []
    fingerprint, current = "", public
    for fields in block:
        if fields[0] in ("pub", "sub"):
            current = fields
            everything.add(fields[4])
        elif fields[0] == "fpr":
            fingerprint = fingerprint or fields[9]
            everything.add(fields[9])
            if "e" in current[11] and current[1] not in ("r", "i", "d"):
                problem = _PROBLEMS.get(current[1])
                encryption.append(Subkey(fields[9], current[4], problem))
        elif fields[0] == "uid" and fields[1] != "r":
            mailboxes.update(_mailbox(_unescape(fields[9])))
    problem = _PROBLEMS.get(public[1]) or ("is disabled" if "D" in public[11] else None)
    if problem is None and "E" not in public[11]:
        problem = (
            "has no encryption key that has not expired" if encryption else "cannot encrypt at all"
        )
    if problem is not None:
        encryption = [subkey._replace(problem=problem) for subkey in encryption]
    return GpgKey(
        fingerprint,
        public[4],
        frozenset(mailboxes),
        frozenset(everything),
        tuple(encryption),
        problem,
    )


def _mailbox(user_id: str) -> Iterable[str]:
    match = re.search(r"<([^<>]*)>\s*\Z", user_id)
    address = match[1] if match else user_id
    return (address.lower(),) if _MAILBOX.fullmatch(address) else ()


def _unescape(text: str) -> str:
    return re.sub(r"\\x([0-9a-fA-F]{2})", lambda match: chr(int(match[1], 16)), text)
