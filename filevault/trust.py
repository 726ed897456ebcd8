"""What this machine remembers of a vault: its identity and the items it last saw.

The vault's folder is synced and can be written by others; `trust.json` lies in the state
directory, which is not. A vault whose identity changed, or an item older than the one seen
before, is noticed here (`docs/format.md` §4 and §9).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from filevault.digest import sha256_hex
from filevault.errors import DamagedError, NewerFormatError, PinError
from filevault.printable import printable
from filevault.strictjson import dumps, loads_nested
from filevault.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from filevault.files import Folder

_FILE = "trust.json"
_LOCK = ".lock"
_LIMIT = 64 << 20
_FORMAT = "filevault/1"
_TEXTS = ("backend", "vault", "commit", "last_slot", "pending")
_LISTS = ("recipients", "unfinished", "writing")
_ACCEPT = "if that is meant, filevault recipients accept"


class Pin(Value):
    """The identity of a vault: ids of a `file` vault, recipients of the others.

    `recipients` has, for each recipients file by its path in the store and for each override by
    `env:NAME`, the sorted fingerprints or recipients.
    """

    backend: str
    vault: str = ""
    commit: str = ""
    recipients: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def digest(self) -> str:
        """What `FILEVAULT_PIN` holds: SHA-256 over fixed lines, as 64 hex digits."""
        lines = ["filevault-pin-1", self.backend]
        if self.vault:
            lines += [self.vault, self.commit]
        for place, recipients in sorted(self.recipients, key=_order):
            lines += [f"{place}\t{recipient}" for recipient in sorted(recipients)]
        return sha256_hex("".join(f"{line}\n" for line in lines).encode("utf-8"))

    def root_place(self, prefix: Sequence[str]) -> str | None:
        """Return the place that governs items right below the root: an override goes first."""
        root = "/".join((*prefix, ""))
        for place, _ in sorted(self.recipients, key=_order, reverse=True):
            folder = place[: place.rfind("/") + 1]
            if place.startswith("env:") or root.startswith(folder):
                return place
        return None

    def replacing(self, place: str, recipients: Sequence[str], former: str = "") -> Pin:
        """Return the identity after a place got these recipients, in the stead of `former`."""
        places = dict(self.recipients)
        places.pop(former, None)
        places[place] = tuple(sorted(recipients))
        return self._replace(recipients=tuple(sorted(places.items())))


def _order(entry: tuple[str, tuple[str, ...]]) -> tuple[bool, bytes]:
    """Files by path, then overrides."""
    return entry[0].startswith("env:"), entry[0].encode("utf-8", "surrogateescape")


class Seen(Value):
    """What was last seen of an item; `account` is the AWS account of its key."""

    generation: int | None
    sha256: str
    created: str | None = None
    created_from: str | None = None
    account: str | None = None


class Trust:
    """The contents of `trust.json`; without a state directory nothing is remembered."""

    def __init__(self, state: Folder | None) -> None:
        self._state = state
        self._content = self._load()

    def reload(self) -> None:
        """Take in what other processes have noted since."""
        self._content = self._load()

    def _load(self) -> dict[str, Any]:
        if self._state is None:
            return {}
        try:
            # Somebody else's word on what we have seen is none.
            data = self._state.read(_FILE, _LIMIT, ours=True)
        except FileNotFoundError:
            return {}
        what = printable(self._state.join(_FILE))
        try:
            content = loads_nested(data, what, 3)
        except DamagedError as error:
            raise self._damaged(what) from error
        version = content.get("format")
        if isinstance(version, str) and version != _FORMAT and version.startswith("filevault/"):
            raise NewerFormatError(
                f"{what} was written by a newer filevault", hint="upgrade filevault"
            )
        texts = (content.get(key, "") for key in _TEXTS)
        if version != _FORMAT or not all(isinstance(text, str) for text in texts):
            raise self._damaged(what)
        items = content.get("items", {})
        if not isinstance(items, dict) or not all(isinstance(i, dict) for i in items.values()):
            raise self._damaged(what)
        for lists in (content.get(key, {}) for key in _LISTS):
            if not isinstance(lists, dict) or not all(
                isinstance(each, list) and all(isinstance(one, str) for one in each)
                for each in lists.values()
            ):
                raise self._damaged(what)
        return content

    @staticmethod
    def _damaged(what: str) -> DamagedError:
        return DamagedError(
            f"{what} is damaged",
            hint=f"move it away; then compare the vault with what you expect and, {_ACCEPT}",
        )

    @property
    def pin(self) -> Pin | None:
        """The identity that was pinned here, None before the first use."""
        content = self._content
        if not content.get("backend"):
            return None
        recipients = content.get("recipients", {})
        return Pin(
            content["backend"],
            content.get("vault", ""),
            content.get("commit", ""),
            tuple((place, tuple(recipients[place])) for place in sorted(recipients)),
        )

    @property
    def state(self) -> Folder | None:
        """The state directory, None without one."""
        return self._state

    def section(self, name: str) -> dict[str, Any] | None:
        """Return what another module keeps here under a name of its own, None if nothing."""
        section = self._content.get(name)
        return section if isinstance(section, dict) else None

    def update_section(self, name: str, entries: Mapping[str, Any]) -> None:
        """Add or replace entries of a section; with none, it is there from now on."""

        def change(content: dict[str, Any]) -> None:
            before = content.get(name)
            content[name] = {**(before if isinstance(before, dict) else {}), **entries}

        self._update(change)

    @property
    def pending(self) -> str | None:
        """The digest of the pin after a change that has begun and not ended."""
        return self._content.get("pending") or None

    @property
    def unfinished(self) -> dict[str, tuple[str, ...]]:
        """The places whose items may be encrypted to others, each with who was taken out."""
        return {place: tuple(each) for place, each in self._content.get("unfinished", {}).items()}

    @property
    def writing(self) -> dict[str, tuple[str, ...]]:
        """The recipients files that a change is writing: see `begin_change`."""
        return {path: tuple(each) for path, each in self._content.get("writing", {}).items()}

    def begin_change(
        self,
        pin: Pin,
        unfinished: Mapping[str, Sequence[str]],
        writing: Mapping[str, Sequence[str]],
    ) -> None:
        """Note that recipients are about to be changed.

        `writing` has for each path the digest of what lies there and, as text, what is to; it is
        forgotten once the new recipients are pinned.
        """

        def change(content: dict[str, Any]) -> None:
            content["pending"] = pin.digest
            content["unfinished"] = {place: list(each) for place, each in unfinished.items()}
            content["writing"] = {path: list(each) for path, each in writing.items()}

        self._update(change)

    def set_unfinished(self, places: Mapping[str, Sequence[str]]) -> None:
        """Note of which places items are left to be encrypted anew, and that no more is to come."""

        def change(content: dict[str, Any]) -> None:
            for key in ("pending", "unfinished", "writing"):
                content.pop(key, None)
            if places:
                content["unfinished"] = {place: list(each) for place, each in places.items()}

        self._update(change)

    @property
    def last_slot(self) -> str | None:
        """The keyslot that last opened the vault here."""
        return self._content.get("last_slot") or None

    def seen(self, path_name: str) -> Seen | None:
        """Return what was last seen of an item, by its encoded name."""
        entry = self._content.get("items", {}).get(path_name)
        if entry is None:
            return None
        generation, digest = entry.get("generation"), entry.get("sha256")
        if type(digest) is not str or type(generation) not in (int, type(None)):
            return None
        texts = (entry.get(key) for key in ("created", "created_from", "account"))
        return Seen(
            generation,
            digest,
            *(text if isinstance(text, str) else None for text in texts),
        )

    def remembers_items(self) -> bool:
        """Tell whether any item was ever seen."""
        return bool(self._content.get("items"))

    def _update(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Apply a change to what is on disk now, so that two processes lose nothing."""
        if self._state is None:
            return
        from filevault.locks import locked

        with locked(self._state, _LOCK):
            content = self._load() or {"format": _FORMAT}
            before = dumps(content)
            change(content)
            after = dumps(content)
            if after != before or before == dumps({"format": _FORMAT}):
                self._state.write(_FILE, after)
            self._content = content

    def set_pin(self, pin: Pin) -> None:
        """Pin an identity; another vault than before starts with no memory of items."""

        def change(content: dict[str, Any]) -> None:
            if (content.get("backend"), content.get("vault", "")) != (pin.backend, pin.vault):
                for key in (*_TEXTS, *_LISTS, "items"):
                    content.pop(key, None)
            content.pop("writing", None)
            content["backend"] = pin.backend
            if pin.vault:
                content.update(vault=pin.vault, commit=pin.commit)
            else:
                content["recipients"] = {place: list(each) for place, each in pin.recipients}

        self._update(change)

    def begin_rekey(self, pin: Pin, seen: Mapping[str, Seen]) -> None:
        """Remember that a vault is about to get a new key, and its items as they are before.

        From here until `end_rekey` both keys are the vault's, so that it opens wherever the
        process that changes the key may be killed.
        """

        def change(content: dict[str, Any]) -> None:
            content["pending"] = pin.digest
            _note(content, seen)

        self._update(change)

    def end_rekey(self, pin: Pin, seen: Mapping[str, Seen], slot: str) -> None:
        """Remember that a vault has its new key, what its items are now, and its keyslot."""

        def change(content: dict[str, Any]) -> None:
            content.pop("pending", None)
            content.update(backend=pin.backend, vault=pin.vault, commit=pin.commit)
            content["last_slot"] = slot
            _note(content, seen)

        self._update(change)

    def set_last_slot(self, slot: str) -> None:
        """Remember the keyslot that opened the vault."""
        if slot != self.last_slot:
            self._update(lambda content: content.__setitem__("last_slot", slot))

    def set_seen(self, path_name: str, seen: Seen) -> None:
        """Remember an item as it is now."""
        if self.seen(path_name) != seen:
            self._update(lambda content: _note(content, {path_name: seen}))

    def forget(self, path_name: str) -> None:
        """Forget an item that was removed on purpose."""
        if path_name in self._content.get("items", {}):
            self._update(lambda content: content.get("items", {}).pop(path_name, None))


def _note(content: dict[str, Any], seen: Mapping[str, Seen]) -> None:
    for path_name, each in seen.items():
        item = content.setdefault("items", {}).setdefault(path_name, {})
        for key, value in each._asdict().items():
            item.pop(key, None)  # an account that is not known any more must not stay
            if value is not None:
                item[key] = value


def check_pin(trust: Trust, actual: Pin, *, given: str | None, strict: bool) -> bool:
    """Compare a vault's identity with the given pin, else with the local one, before it is read.

    Of a `pass` or `age` vault only the kind is compared: its recipients do not matter to a
    reader, and `check_recipients` has them before anything is written.

    Returns:
        True if nothing is pinned yet, so that the caller should pin the vault.

    Raises:
        PinError: if they differ, or if `strict` and there is no pin at all.
    """
    if given is not None:
        if actual.vault and given != actual.digest:
            raise PinError(
                "this is not the vault that the given pin stands for",
                hint="check that the vault was not replaced; filevault recipients list shows "
                "the pin of the one that is there",
            )
        return False
    local = trust.pin
    if local is None:
        if strict:
            raise PinError(
                "this vault has never been seen here, and --strict trusts nothing unseen",
                hint="give its pin with --pin or FILEVAULT_PIN, or filevault recipients accept",
            )
        return True
    if local.vault != actual.vault or local.backend != actual.backend:
        raise PinError(
            f"the vault was replaced by another one: {_called(local)} is known here, "
            f"{_called(actual)} is there now",
            hint=_ACCEPT,
        )
    # A new key that this machine is giving the vault is as good as the one before it.
    if local.commit != actual.commit and trust.pending != actual.digest:
        raise PinError(
            "the vault's master key is another one than this machine knows", hint=_ACCEPT
        )
    return False


def _called(pin: Pin) -> str:
    return f"{printable(pin.vault[:8])}..." if pin.vault else f"a {printable(pin.backend)} vault"


def check_recipients(trust: Trust, actual: Pin, *, given: str | None) -> None:
    """Compare the recipients with the given pin, else with the local one, before a write.

    Raises:
        PinError: if they differ; the message says what was added and removed.
    """
    if given is not None:
        if given != actual.digest:
            raise PinError(
                "the recipients are not the ones that the given pin stands for",
                hint="filevault recipients list shows them with their pin",
            )
        return
    local = trust.pin
    # A change of our own that was interrupted is as good as the state before it.
    if local is not None and actual.digest not in (local.digest, trust.pending):
        changes = "; ".join(difference(local, actual)[:4])
        raise PinError(f"the vault's recipients have changed: {changes}", hint=_ACCEPT)


def difference(before: Pin, after: Pin) -> list[str]:
    """Return what changed from one set of recipients to another, a phrase for each change."""
    old, new = dict(before.recipients), dict(after.recipients)
    changes = []
    for place in sorted(old.keys() | new.keys()):
        shown = printable(place)
        if place not in new:
            changes.append(f"{shown} is gone")
            continue
        if place not in old:
            changes.append(f"{shown} is new")
        added = sorted(set(new[place]) - set(old.get(place, ())))
        removed = sorted(set(old.get(place, ())) - set(new[place]))
        changes += [f"{shown} added {printable(each)}" for each in added]
        changes += [f"{shown} removed {printable(each)}" for each in removed]
    return changes
