"""Encrypting those items of a `pass` or `age` vault anew that have not their recipients.

What is to be done is seen in the items as they are, so that a run that was cut off is gone on with
and nothing is done twice. Each item is replaced atomically.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.backends.protocols import ItemHeader
from filevault.errors import BackendError, FilevaultError, LockedError, NotARecipientError
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from filevault.vault import Vault
    from filevault.vault.pin import Pin

_KIND = "credentials"


class Due(Record):
    """An item that is to be encrypted anew: for sure, or because nothing tells that it is not.

    `place` is that of the recipients which govern it.
    """

    name: str
    place: str
    surely: bool


class Reencryption:
    """What is to be encrypted anew in an open vault, whose lock the caller holds.

    Args:
        vault: the vault.
        places: those of which an item is due unless it is known to be encrypted rightly.
        provable: those of which an item is due only if it is known not to be.
    """

    def __init__(
        self, vault: Vault, places: Collection[str], provable: Collection[str] = ()
    ) -> None:
        self._vault = vault
        self._backend = vault.recipients_backend
        self._places = places
        self._provable = provable

    def due(self, changing: Collection[str] = ()) -> Iterator[Due]:
        """Yield the items that are due; of places that are about to change, every one."""
        for name, place in self._governed({*self._places, *self._provable, *changing}):
            if place in changing:
                yield Due(name, place, surely=True)
                continue
            differs = self._differs(name)
            if differs or (differs is None and place in self._places):
                yield Due(name, place, surely=differs is True)

    def check_openable(self, changing: Collection[str]) -> None:
        """Open one item that is due, before anything is changed.

        Raises LockedError or BackendError if there are such and none can be opened.
        """
        hindrance: FilevaultError | None = None
        for item in self.due(changing):
            try:
                self._open(item.name, self._vault.store.read(item.name))
                return
            except NotARecipientError as error:
                if item.surely:
                    hindrance = hindrance or error
            except LockedError:
                raise  # every further item would ask again
            except BackendError as error:
                hindrance = hindrance or error
            except FilevaultError:
                continue  # damaged, which hinders no other: it is named when its turn comes
        if hindrance is not None:
            raise hindrance

    def run(
        self, done: Callable[[str], None], failed: Callable[[Due, FilevaultError], None]
    ) -> list[str]:
        """Encrypt anew what is due; return the paths of what was.

        `done` hears each name, `failed` an item and the reason. What cannot be unlocked ends it:
        the rest fails for the same reason, without a question for each.
        """
        paths = []
        locked: LockedError | None = None
        for item in list(self.due()):
            try:
                if locked is not None:
                    raise locked
                if self._encrypt_anew(item.name):
                    paths.append(self._vault.path(item.name))
                    done(item.name)
            except NotARecipientError as error:
                # Others may have encrypted it anew already; where nothing tells, it is theirs.
                if item.surely:
                    failed(item, error)
            except LockedError as error:
                locked = error
                failed(item, error)
            except FilevaultError as error:
                failed(item, error)
        self._vault.reseal_session_key()
        return paths

    def _open(self, name: str, data: bytes) -> bytes:
        return self._backend.decrypt(_KIND, name, data)

    def _encrypt_anew(self, name: str) -> bool:
        """Encrypt a file anew unless its recipients are the right ones; tell whether it did.

        What was seen of the key in it stays so, if nobody has changed it since.
        """
        vault, store = self._vault, self._vault.store
        data = store.read(name)
        if self._backend.differs(name, data) is False:
            return False
        new = self._backend.encrypt(ItemHeader(_KIND, name, 0, ""), self._open(name, data))
        owner = vault.entries.owner(name)
        before = vault.item_digest(owner)
        store.write(name, new)
        seen = vault.trust.seen(vault.path_name(owner))
        if seen is not None and seen.sha256 == before:
            after = seen._replace(sha256=vault.item_digest(owner))
            vault.last_seen.remember(vault.path_name(owner), after)
        return True

    def paths(self) -> list[str]:
        """Return the paths of all items of the places."""
        return [self._vault.path(name) for name, _ in self._governed(self._places)]

    def _governed(self, places: Collection[str]) -> Iterator[tuple[str, str]]:
        for name in self._vault.store.names():
            try:
                place = self._backend.governs(name).path
            except FilevaultError:
                continue  # under a recipients file that cannot be used, which is none of these
            if place in places:
                yield name, place

    def _differs(self, name: str) -> bool | None:
        try:
            return self._backend.differs(name, self._vault.store.read(name))
        except FilevaultError:
            return None  # nothing can be told; what is wrong shows when it is opened


def changed_places(before: Pin, after: Pin) -> dict[str, tuple[str, ...]]:
    """Return the places of `after` that govern other items or have others as recipients.

    Each with who was taken out.
    """
    old, new = dict(before.recipients), dict(after.recipients)
    found: dict[str, set[str]] = {}
    for place in old.keys() | new.keys():
        if place in new and old.get(place) == new[place]:
            continue
        was = old.get(place) or old.get(_above(place, old) or "", ())
        for governing in _governing_now(place, new):
            found.setdefault(governing, set()).update(set(was) - set(new[governing]))
    return {place: tuple(sorted(found[place])) for place in sorted(found)}


def _governing_now(place: str, places: Collection[str]) -> Sequence[str]:
    """Return what governs, now, the items that a place governs or did govern."""
    if place in places:
        return [place]
    above = None if place.startswith("env:") else _above(place, places)
    return list(places) if above is None else [above]


def _above(place: str, places: Collection[str]) -> str | None:
    """Return the nearest of the places in the folders above one."""
    fitting = [
        each for each in places if not each.startswith("env:") and place.startswith(_folder(each))
    ]
    return max(fitting, key=lambda each: len(_folder(each)), default=None)


def _folder(place: str) -> str:
    return place[: place.rfind("/") + 1]
