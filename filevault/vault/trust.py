"""What this machine remembers of a vault: its identity and the items it last saw.

The vault's folder is synced and can be written by others; `trust.json` lies in the state
directory, which is not. A vault whose identity changed, or an item older than the one seen
before, is noticed here (`docs/format.md` §4 and §9).
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from filevault.errors import DamagedError, FilevaultError, NewerFormatError, PinError
from filevault.system.printable import printable
from filevault.system.strict_json import dumps, loads_nested
from filevault.vault import seen as memory
from filevault.vault.pin import Pin, difference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from filevault.system.files import Folder
    from filevault.vault.seen import Seen

_FILE = "trust.json"
_LOCK = ".lock"
_LIMIT = 64 << 20
_FORMAT = "filevault/1"
_TEXTS = ("backend", "vault", "commit", "last_slot", "pending")
_LISTS = ("recipients", "unfinished", "writing", "resealing")
_ACCEPT = "if that is meant, filevault recipients accept"


class Trust:
    """The contents of `trust.json`; without a state directory nothing is remembered."""

    def __init__(self, state: Folder | None) -> None:
        self._state = state
        self._content = self._load()
        self._gathered: list[Callable[[dict[str, Any]], None]] | None = None

    def reload(self) -> None:
        """Take in what other processes have noted since."""
        self._content = self._load()

    def _load(self) -> dict[str, Any]:
        if self._state is None:
            return {}
        try:
            # Somebody else's word on what we have seen is none.
            data = self._state.read(_FILE, _LIMIT, own=True)
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
        if not memory.is_valid(content):
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
        return memory.present(self._content, path_name)

    def removed(self, path_name: str) -> Seen | None:
        """Return the last state of an item that this machine removed, None if it did not."""
        return memory.removed(self._content, path_name)

    @property
    def resealing(self) -> dict[str, tuple[str, ...]]:
        """The items that an unfinished rekey takes over although they are older: the digests."""
        return {name: tuple(each) for name, each in self._content.get("resealing", {}).items()}

    def remembers_items(self) -> bool:
        """Tell whether any item was ever seen."""
        return bool(self._content.get("items"))

    def _update(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Apply a change to what is on disk now, so that two processes lose nothing."""
        if self._state is None:
            return
        from filevault.system.locks import locked

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
                for key in (*_TEXTS, *_LISTS):
                    content.pop(key, None)
                memory.forget_all(content)
            content.pop("writing", None)
            content["backend"] = pin.backend
            if pin.vault:
                content.update(vault=pin.vault, commit=pin.commit)
            else:
                content["recipients"] = {place: list(each) for place, each in pin.recipients}

        self._update(change)

    def begin_rekey(
        self, pin: Pin, seen: Mapping[str, Seen], older: Mapping[str, str] | None = None
    ) -> None:
        """Remember that a vault is about to get a new key, and its items as they are before.

        `older` has the digests of items that are older than the ones seen last. From here until
        `end_rekey` both keys are the vault's, so that it opens wherever the process that changes
        the key may be killed.
        """

        def change(content: dict[str, Any]) -> None:
            content["pending"] = pin.digest
            content["resealing"] = {name: [digest] for name, digest in (older or {}).items()}
            for path_name, each in seen.items():
                memory.note(content, path_name, each)

        self._update(change)

    def end_rekey(self, pin: Pin, seen: Mapping[str, Seen], slot: str) -> None:
        """Remember that a vault has its new key, what its items are now, and its keyslot."""

        def change(content: dict[str, Any]) -> None:
            for key in ("pending", "resealing"):
                content.pop(key, None)
            content.update(backend=pin.backend, vault=pin.vault, commit=pin.commit)
            content["last_slot"] = slot
            for path_name, each in seen.items():
                memory.note(content, path_name, each)

        self._update(change)

    def set_last_slot(self, slot: str) -> None:
        """Remember the keyslot that opened the vault."""
        if slot != self.last_slot:
            self._update(lambda content: content.__setitem__("last_slot", slot))

    def set_seen(self, path_name: str, seen: Seen) -> None:
        """Remember an item that was read, unless something later is remembered already."""
        if self.seen(path_name) != seen:
            self._note(lambda content: memory.note(content, path_name, seen))

    def replace_seen(self, path_name: str, seen: Seen) -> None:
        """Remember an item that was stored or accepted, whatever was remembered of it."""
        if self.seen(path_name) != seen or self.removed(path_name) is not None:
            self._note(lambda content: memory.replace(content, path_name, seen))

    def bury(self, path_name: str, last: Seen) -> None:
        """Remember that an item is removed on purpose; `last` is what it was."""
        self._note(lambda content: memory.bury(content, path_name, last))

    @contextlib.contextmanager
    def gathering(self, failed: Callable[[FilevaultError], None] | None = None) -> Iterator[None]:
        """Write what is noted of items once, at the end: for walks over a whole vault.

        `failed` is called where that cannot be written; without it the error is raised.
        """
        if self._gathered is not None:
            yield
            return
        changes: list[Callable[[dict[str, Any]], None]] = []
        self._gathered = changes
        try:
            yield
        finally:
            self._gathered = None
            try:
                if changes:
                    self._update(lambda content: _apply(changes, content))
            except FilevaultError as error:
                if failed is None:
                    raise
                failed(error)

    def _note(self, change: Callable[[dict[str, Any]], None]) -> None:
        if self._state is None:
            return
        if self._gathered is None:
            self._update(change)
        else:
            self._gathered.append(change)
            change(self._content)


def _apply(changes: Sequence[Callable[[dict[str, Any]], None]], content: dict[str, Any]) -> None:
    for change in changes:
        change(content)


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
