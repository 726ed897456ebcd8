"""`trust.json`, the memory of this machine: a vault's pin and the items as last seen.

The vault's folder is synced and other users can write it; the state directory with `trust.json`
is local. So a vault whose identity changed, or an item that is older than before, can be detected
(`docs/format.md` §4 and §9).
"""

from __future__ import annotations

import contextlib

from filevault.errors import DamagedError, FilevaultError, NewerFormatError
from filevault.system.printable import printable
from filevault.system.strict_json import dumps_with_texts, loads_with_texts, without_records
from filevault.vault import seen_items
from filevault.vault.pin import Pin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from filevault.system.files import Folder
    from filevault.vault.seen_items import SeenItem

    IsStored = Callable[[str, str], bool]
    """Return for the encoded name and the digest of an item whether its file still has that."""
    _Change = tuple[Callable[[dict[str, Any], str, str], None], str, str, IsStored | None]

_FILE = "trust.json"
_LOCK = ".lock"
_LIMIT = 64 << 20
_LARGE = 4096  # bytes of a file whose items may be parsed later
_FORMAT = "filevault/1"
_TEXTS = ("backend", "vault", "commit", "last_slot", "pending")
_LISTS = ("recipients", "unfinished", "writing", "resealing")


class Trust:
    """The content of `trust.json`; without a state directory it is empty and stays so.

    With `remembers` False it is read and never written. With `items_later`, what it says of the
    items is parsed when it is asked for the first time: there may be thousands. `seen` may raise
    DamagedError then.
    """

    def __init__(
        self, state: Folder | None, *, remembers: bool = True, items_later: bool = False
    ) -> None:
        self._state = state
        self._remembers = remembers
        self._unparsed: bytes | None = None  # the file, until its items are parsed
        self._content: dict[str, Any] = {}
        self._content = self._load_without_items() if items_later else self._load()
        self._batch: list[_Change] | None = None

    def reload(self) -> None:
        """Read the file again, with the changes of other processes; not inside a batch."""
        if self._batch is None:
            self._content, self._unparsed = self._load(), None

    def _load(self) -> dict[str, Any]:
        return self._present(*self._read())

    def _present(self, data: bytes | None, what: str) -> dict[str, Any]:
        """Return what these bytes of the file say."""
        if data is None:
            return {}
        # Writing what is known takes a tenth of the time of parsing it again.
        if self._content and self._unparsed is None and _dumps(self._content) == data:
            return self._content
        return self._parsed(data, what)

    def _load_without_items(self) -> dict[str, Any]:
        """Return what the file says, without its items if there are many."""
        data, what = self._read()
        if data is None:
            return {}
        rest = without_records(data, seen_items.ITEMS) if len(data) > _LARGE else None
        if rest is not None:
            with contextlib.suppress(FilevaultError):  # which is raised for the whole below
                content = self._parsed(rest, what)
                if seen_items.ITEMS not in content:
                    self._unparsed = data
                    return content
        return self._parsed(data, what)

    def _with_items(self) -> dict[str, Any]:
        """Return the content, with the items. Raises DamagedError."""
        if self._unparsed is not None and self._state is not None:
            what = printable(self._state.join(_FILE))
            self._content, self._unparsed = self._parsed(self._unparsed, what), None
        return self._content

    def _read(self) -> tuple[bytes | None, str]:
        """Return the bytes of the file, None without one, and its path for messages."""
        if self._state is None:
            return None, ""
        what = printable(self._state.join(_FILE))
        try:
            # A trust.json that another user owns is an error.
            return self._state.read(_FILE, _LIMIT, own=True), what
        except FileNotFoundError:
            return None, what

    def _parsed(self, data: bytes, what: str) -> dict[str, Any]:
        try:
            content = loads_with_texts(data, what, seen_items.ITEMS)
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
        if not seen_items.is_valid(content):
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
            hint="move it away and compare the vault with what you expect; if it is right, run "
            "filevault recipients accept",
        )

    @property
    def pin(self) -> Pin | None:
        """The pinned identity, None before the first use."""
        content = self._content
        if not content.get("backend"):
            return None
        recipients = content.get("recipients", {})
        return Pin(
            content["backend"],
            content.get("vault", ""),
            content.get("commit", ""),
            tuple((path, tuple(recipients[path])) for path in sorted(recipients)),
        )

    @property
    def state(self) -> Folder | None:
        """The state directory, None without one."""
        return self._state

    def section(self, name: str) -> dict[str, Any] | None:
        """Return the entries that another module stores under a key, None if there are none."""
        section = self._content.get(name)
        return section if isinstance(section, dict) else None

    def update_section(self, name: str, entries: Mapping[str, Any]) -> None:
        """Add or replace entries of a section; create it even if there are none."""

        def change(content: dict[str, Any]) -> None:
            before = content.get(name)
            content[name] = {**(before if isinstance(before, dict) else {}), **entries}

        self._update(change)

    @property
    def pending_pin(self) -> str | None:
        """The digest of the pin after a change of key or recipients that has not ended."""
        return self._content.get("pending") or None

    @property
    def pending_reencryption(self) -> dict[str, tuple[str, ...]]:
        """The recipients files whose items are to be re-encrypted, with removed recipients."""
        return {path: tuple(each) for path, each in self._content.get("unfinished", {}).items()}

    @property
    def pending_files(self) -> dict[str, tuple[str, ...]]:
        """The recipients files that a change is writing: see `begin_recipients_change`."""
        return {path: tuple(each) for path, each in self._content.get("writing", {}).items()}

    def begin_recipients_change(
        self,
        pin: Pin,
        reencryption: Mapping[str, Sequence[str]],
        files: Mapping[str, Sequence[str]],
    ) -> None:
        """Record a change of recipients before its first file is written.

        Args:
            pin: after the change.
            reencryption: the recipients files whose items will be re-encrypted, each with the
                recipients removed from it.
            files: for each path the digest of the present file and, in base64, its new content;
                dropped once the new recipients are pinned.
        """

        def change(content: dict[str, Any]) -> None:
            content["pending"] = pin.digest
            content["unfinished"] = {path: list(each) for path, each in reencryption.items()}
            content["writing"] = {path: list(each) for path, each in files.items()}

        self._update(change)

    def end_recipients_change(self, left: Mapping[str, Sequence[str]]) -> None:
        """Record the end of a change; `left` are recipients files with items still to do."""

        def change(content: dict[str, Any]) -> None:
            for key in ("pending", "unfinished", "writing"):
                content.pop(key, None)
            if left:
                content["unfinished"] = {path: list(each) for path, each in left.items()}

        self._update(change)

    @property
    def last_slot(self) -> str | None:
        """The keyslot that last opened the vault here."""
        return self._content.get("last_slot") or None

    def seen(self, path_name: str) -> SeenItem | None:
        """Return what was last seen of an item, by its encoded name."""
        return seen_items.seen_item(self._with_items(), path_name)

    def removed(self, path_name: str) -> SeenItem | None:
        """Return the last state of an item that this machine removed, None if it did not."""
        return seen_items.removed_item(self._content, path_name)

    @property
    def rekey_older_items(self) -> dict[str, tuple[str, ...]]:
        """Digests of items that a pending rekey re-encrypts although newer ones were seen here."""
        return {name: tuple(each) for name, each in self._content.get("resealing", {}).items()}

    def _update(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Apply a change to the file as it is now, under a lock, and write it."""
        if self._state is None or not self._remembers:
            return
        from filevault.system.locks import locked

        with locked(self._state, _LOCK):
            before, what = self._read()
            content = _copy(self._present(before, what) or {"format": _FORMAT})
            change(content)
            after = _dumps(content)
            if after != before:
                self._state.write(_FILE, after)
            self._content, self._unparsed = content, None

    def set_pin(self, pin: Pin) -> None:
        """Pin an identity; if it is another vault's, drop all records of the previous vault."""

        def change(content: dict[str, Any]) -> None:
            if (content.get("backend"), content.get("vault", "")) != (pin.backend, pin.vault):
                for key in (*_TEXTS, *_LISTS):
                    content.pop(key, None)
                seen_items.forget_all(content)
            content.pop("writing", None)
            content["backend"] = pin.backend
            if pin.vault:
                content.update(vault=pin.vault, commit=pin.commitment)
            else:
                content["recipients"] = {path: list(each) for path, each in pin.recipients}

        self._update(change)

    def begin_rekey(
        self, pin: Pin, seen: Mapping[str, SeenItem], older: Mapping[str, str] | None = None
    ) -> None:
        """Record that the vault is about to get a new key, and its items before that.

        From here until `end_rekey` both keys are accepted, so that the vault opens wherever the
        process is killed.

        Args:
            pin: with the new key.
            seen: the items, by encoded name.
            older: the digests of items that are older than the ones seen last.
        """

        def change(content: dict[str, Any]) -> None:
            content["pending"] = pin.digest
            content["resealing"] = {name: [digest] for name, digest in (older or {}).items()}
            for path_name, each in seen.items():
                seen_items.record(content, path_name, seen_items.text_of(path_name, each))

        self._update(change)

    def end_rekey(self, pin: Pin, seen: Mapping[str, SeenItem], slot: str) -> None:
        """Record that the vault has its new key, its re-encrypted items, and its keyslot."""

        def change(content: dict[str, Any]) -> None:
            for key in ("pending", "resealing"):
                content.pop(key, None)
            content.update(backend=pin.backend, vault=pin.vault, commit=pin.commitment)
            content["last_slot"] = slot
            for path_name, each in seen.items():
                seen_items.record(content, path_name, seen_items.text_of(path_name, each))

        self._update(change)

    def set_last_slot(self, slot: str) -> None:
        """Record the keyslot that opened the vault."""
        if slot != self.last_slot:
            self._update(lambda content: content.__setitem__("last_slot", slot))

    def record_seen(
        self, path_name: str, seen: SeenItem, is_stored: IsStored | None = None
    ) -> None:
        """Record an item that was read, unless a later state is recorded.

        `is_stored` is called under the lock; None to record the item in any case.
        """
        if self.seen(path_name) != seen:
            self._record(seen_items.record, path_name, seen, is_stored)

    def record_account(self, path_name: str, key_id: str, account: str) -> None:
        """Record the AWS account of an item's key, unless another key is recorded."""
        seen = self.seen(path_name)
        if seen is not None and seen.key_id == key_id and seen.account != account:
            self._record(seen_items.record_account, path_name, seen._replace(account=account))

    def replace_seen(
        self, path_name: str, seen: SeenItem, is_stored: IsStored | None = None
    ) -> None:
        """Record an item that was stored or accepted, whatever was recorded of it.

        `is_stored` is that of `record_seen`.
        """
        known, tombstone = self.seen(path_name), self.removed(path_name)
        if known == seen and tombstone is None:
            return
        lowers = (known is not None and known.outdates(seen.generation, seen.sha256)) or (
            tombstone is not None
            and seen_items.is_put_back(tombstone, seen.generation, seen.sha256)
        )
        # Until the end of a batch another process may store the item again, or remove it.
        change = seen_items.replace if lowers or self._batch is None else seen_items.record
        self._record(change, path_name, seen, is_stored)

    def record_removed(self, path_name: str, last: SeenItem) -> None:
        """Record that an item is removed on purpose; `last` is its last state."""
        self._record(seen_items.record_removed, path_name, last)

    @contextlib.contextmanager
    def batch(self, failed: Callable[[FilevaultError], None] | None = None) -> Iterator[None]:
        """Write the records of items once, at the end: for walks over a whole vault.

        `failed` is called if they cannot be written; without it the error is raised.
        """
        if self._batch is not None:
            yield
            return
        changes: list[_Change] = []
        self._batch = changes
        try:
            yield
        finally:
            self._batch = None
            try:
                if changes:
                    self._update(lambda content: _apply(changes, content))
            except FilevaultError as error:
                if failed is None:
                    raise
                failed(error)

    def _record(
        self,
        change: Callable[[dict[str, Any], str, str], None],
        path_name: str,
        seen: SeenItem,
        is_stored: IsStored | None = None,
    ) -> None:
        """Apply a change to an item that is still as it was, or add it to the batch."""
        if self._state is None or not self._remembers:
            return
        # As text: there may be very many.
        changes = [(change, path_name, seen_items.text_of(path_name, seen), is_stored)]
        if self._batch is None:
            self._update(lambda content: _apply(changes, content))
        else:
            self._batch += changes
            _apply(changes, self._with_items())


def _dumps(content: Mapping[str, Any]) -> bytes:
    return dumps_with_texts(content, seen_items.ITEMS)


def _copy(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy to change: changes replace what is in a member's table, and do not alter it."""
    return {key: {**each} if isinstance(each, dict) else each for key, each in content.items()}


def _apply(changes: Sequence[_Change], content: dict[str, Any]) -> None:
    for change, path_name, text, is_stored in changes:
        if is_stored is None or is_stored(path_name, seen_items.digest_of(text)):
            change(content, path_name, text)
