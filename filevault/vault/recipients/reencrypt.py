"""Re-encrypt items whose recipients differ from the file that governs them.

The work to do is determined from the items themselves, so an interrupted run can be resumed and
nothing is done twice. Each item is replaced atomically.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.backends.item_header import ItemHeader
from filevault.errors import BackendError, FilevaultError, LockedError, NotARecipientError
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from filevault.vault.pin import Pin
    from filevault.vault.vault import Vault

_KIND = "credentials"


class OutdatedItem(Record):
    """An item to re-encrypt: its recipients differ or, unless `certain`, cannot be compared.

    `path` is that of the recipients file that governs it, or `env:NAME`.
    """

    name: str
    path: str
    certain: bool


class Reencryption:
    """Re-encrypts items of an open vault, whose lock the caller holds.

    Args:
        vault: the vault.
        paths: recipients files whose items count as outdated unless the recipients are equal.
        only_certain: recipients files whose items count as outdated only if the recipients are
            known to differ.
    """

    def __init__(
        self, vault: Vault, paths: Collection[str], only_certain: Collection[str] = ()
    ) -> None:
        self._vault = vault
        self._backend = vault.recipients_backend
        self._paths = paths
        self._only_certain = only_certain

    def outdated(self, changing: Collection[str] = ()) -> Iterator[OutdatedItem]:
        """Yield the outdated items, and all items of the files in `changing`."""
        for name, path in self._governed({*self._paths, *self._only_certain, *changing}):
            if path in changing:
                yield OutdatedItem(name, path, certain=True)
                continue
            differs = self._differs(name)
            if differs or (differs is None and path in self._paths):
                yield OutdatedItem(name, path, certain=differs is True)

    def check_openable(self, changing: Collection[str]) -> None:
        """Fail early: decrypt one outdated item, before anything is changed.

        Raises LockedError or BackendError if there are outdated items and none can be decrypted.
        """
        hindrance: FilevaultError | None = None
        for item in self.outdated(changing):
            try:
                self._open(item.name, self._vault.items.read(item.name))
                return
            except NotARecipientError as error:
                if item.certain:
                    hindrance = hindrance or error
            except LockedError:
                raise  # all other items would ask again
            except BackendError as error:
                hindrance = hindrance or error
            except FilevaultError:
                continue  # damaged: reported by `run`
        if hindrance is not None:
            raise hindrance

    def run(
        self, done: Callable[[str], None], failed: Callable[[OutdatedItem, FilevaultError], None]
    ) -> list[str]:
        """Re-encrypt the outdated items; return the paths of those that were.

        Once a secret cannot be had, all further items fail with the same error, without prompts.

        Args:
            done: called with the name of each re-encrypted item.
            failed: called with each other item and the error.
        """
        paths = []
        locked: LockedError | None = None
        for item in list(self.outdated()):
            try:
                if locked is not None:
                    raise locked
                if self._reencrypt(item.name):
                    paths.append(self._vault.path(item.name))
                    done(item.name)
            except NotARecipientError as error:
                # If it cannot be compared, another user may have re-encrypted it already.
                if item.certain:
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

    def _reencrypt(self, name: str) -> bool:
        """Re-encrypt a file unless its recipients are right; return whether it was re-encrypted.

        The record of the item is updated only if it described the file as it was here before.
        """
        vault, items = self._vault, self._vault.items
        data = items.read(name)
        if self._backend.differs(name, data) is False:
            return False
        new = self._backend.encrypt(ItemHeader(_KIND, name, 0, ""), self._open(name, data))
        owner = vault.lookup.owner(name)
        before = vault.item_digest(owner)
        items.write(name, new)
        seen = vault.trust.seen(vault.path_name(owner))
        if seen is not None and seen.sha256 == before:
            after = seen._replace(sha256=vault.item_digest(owner))
            vault.memory.record_seen(vault.path_name(owner), after)
        return True

    def item_paths(self) -> list[str]:
        """Return the paths of all items that the recipients files `paths` govern."""
        return [self._vault.path(name) for name, _ in self._governed(self._paths)]

    def _governed(self, paths: Collection[str]) -> Iterator[tuple[str, str]]:
        for name in self._vault.items.names():
            try:
                path = self._backend.governs(name).path
            except FilevaultError:
                continue  # its recipients file cannot be used, so it is not one of these
            if path in paths:
                yield name, path

    def _differs(self, name: str) -> bool | None:
        try:
            return self._backend.differs(name, self._vault.items.read(name))
        except FilevaultError:
            return None  # the error shows when it is decrypted


def changed_paths(before: Pin, after: Pin) -> dict[str, tuple[str, ...]]:
    """Return the paths of `after` that govern other items, or have other recipients, than before.

    Each with the recipients removed from it.
    """
    old, new = dict(before.recipients), dict(after.recipients)
    found: dict[str, set[str]] = {}
    for path in old.keys() | new.keys():
        if path in new and old.get(path) == new[path]:
            continue
        was = old.get(path) or old.get(_above(path, old) or "", ())
        for governing in _governing_now(path, new):
            found.setdefault(governing, set()).update(set(was) - set(new[governing]))
    return {path: tuple(sorted(found[path])) for path in sorted(found)}


def _governing_now(path: str, paths: Collection[str]) -> Sequence[str]:
    """Return the paths that now govern the items that `path` governs, or governed before."""
    if path in paths:
        return [path]
    above = None if path.startswith("env:") else _above(path, paths)
    return list(paths) if above is None else [above]


def _above(path: str, paths: Collection[str]) -> str | None:
    """Return the nearest of the paths in the folders above a path."""
    fitting = [
        each for each in paths if not each.startswith("env:") and path.startswith(_folder(each))
    ]
    return max(fitting, key=lambda each: len(_folder(each)), default=None)


def _folder(path: str) -> str:
    return path[: path.rfind("/") + 1]
