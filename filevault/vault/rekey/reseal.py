"""Re-encrypt the items of a `file` vault from former master keys to the present one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.backends.file import unlocked_backend, vault_json
from filevault.backends.file.master_key import concurrent_change
from filevault.backends.sealing import key_schedule
from filevault.errors import FilevaultError, StorageError
from filevault.system.digest import sha256_hex
from filevault.system.printable import printable
from filevault.system.record import Record
from filevault.vault.acceptance import needs_acceptance
from filevault.vault.item import parse
from filevault.vault.item_store import ItemStore
from filevault.vault.seen_items import SeenItem
from filevault.vault.session_key import SessionKeyFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from filevault.backends.item_header import ItemHeader
    from filevault.backends.protocols import SealedBackend
    from filevault.vault.survey import SurveyedItem
    from filevault.vault.vault import Vault


class ItemContent(Record):
    """The result of opening an item: `key_id` is that of an access key, None for a TOTP seed."""

    name: str
    key_id: str | None
    created: str
    older: bool = False


class Resealer:
    """Decrypts items with former master keys and encrypts them with the present one.

    Args:
        vault: the vault, whose lock the caller holds.
        present: the content of vault.json.
        master: the present master key.
        former: former master keys by their ids.
        clock: Unix seconds.
    """

    def __init__(
        self,
        vault: Vault,
        present: vault_json.Marker,
        master: bytes,
        former: Mapping[str, bytes],
        clock: Callable[[], float],
    ) -> None:
        self._vault = vault
        self._items = ItemStore(vault.folder, vault.backend.suffix)
        self._present = present
        self._clock = clock
        self._backends: dict[str, SealedBackend] = {
            key: unlocked_backend(
                vault_json.Marker(present.vault, key, key_schedule.commitment(each, present.vault)),
                each,
            )
            for key, each in former.items()
        }
        self._backends[present.master_id] = unlocked_backend(present, master)

    def has_key(self, item: SurveyedItem) -> bool:
        """Return whether the master key of an item is known."""
        return item.master_id in self._backends

    def _open(self, item: SurveyedItem) -> tuple[bytes, ItemHeader, bytes]:
        """Return an item's file, header and plaintext."""
        data = self._items.read(item.name)
        backend = self._backends[item.master_id]
        text = backend.decrypt(item.item_kind, self._vault.path_name(item.name), data)
        header = backend.peek(data)
        if sha256_hex(data) != item.digest:
            raise concurrent_change()
        return data, header, text

    def content(self, item: SurveyedItem) -> ItemContent:
        """Return what a reader of an item learns. Raises IntegrityError if it does not open."""
        _, header, text = self._open(item)
        key_id = None
        if item.item_kind == "credentials":
            key_id = parse(text, f"item {printable(item.name)!r}").key.access_key_id
        older = item.item_kind == "credentials" and needs_acceptance(self._vault, item.name)
        return ItemContent(item.name, key_id, header.created, older)

    def check(self, item: SurveyedItem) -> SeenItem | None:
        """Open an item under the present key and return what to record of it.

        None for an older copy. Raises IntegrityError, RollbackError for an older copy under
        `--strict`.
        """
        data, _, _ = self._open(item)
        return self._vault.check_rollback(item.name, data)

    def seal(self, item: SurveyedItem) -> SeenItem | None:
        """Re-encrypt an item with the present key, and return what to record of it.

        The new file is opened once before it replaces the old one. For a copy that is older than
        what this machine saw, or of an item that was removed here, the generation stays low and
        None is returned.
        """
        _, header, text = self._open(item)
        path_name = self._vault.path_name(item.name)
        trust = self._vault.trust
        known = [
            each.generation
            for each in (trust.seen(path_name), trust.removed(path_name))
            if each is not None and each.generation is not None
        ]
        older = self._vault.rollbacks.suspicion(path_name, header.generation, item.digest)
        if older is None:
            generation = max(
                int(self._clock()), header.generation + 1, *(each + 1 for each in known)
            )
        else:
            generation = min([header.generation + 1, *known])
        present = self._backends[self._present.master_id]
        data = present.encrypt(header._replace(generation=generation), text)
        if present.decrypt(item.item_kind, path_name, data) != text:
            raise StorageError("the re-encrypted item does not open again")
        self._items.write(item.name, data)
        if older is not None:
            return None
        return SeenItem(generation, sha256_hex(data), header.created, header.created_from)

    def seal_session_key(self) -> None:
        """Re-encrypt the session key with the present key, so that sessions stay readable.

        Sessions made from a re-encrypted item are not found any more, even so: their hash covers
        the digest of the item's file.
        """
        state, state_id = self._vault.state, self._vault.state_id
        if state is None:
            return
        files = {
            master_id: SessionKeyFile(state, state_id, backend, self._clock)
            for master_id, backend in self._backends.items()
        }
        for master_id, file in files.items():
            key = file.read()
            if key is not None and master_id != self._present.master_id:
                files[self._present.master_id].reseal(key)


def item_contents(
    vault: Vault,
    present: vault_json.Marker,
    master: bytes,
    former: Mapping[str, bytes],
    items: Iterable[SurveyedItem],
    clock: Callable[[], float],
) -> list[ItemContent]:
    """Return `Resealer.content` of items; leave out those that do not open."""
    resealer = Resealer(vault, present, master, former, clock)
    found = []
    for item in items:
        try:
            found.append(resealer.content(item))
        except (FilevaultError, KeyError):
            continue
    return found
