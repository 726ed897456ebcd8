"""Changing whom a `pass` or `age` vault is encrypted to: the files, then every item they govern.

What is to come is noted first, so that a run that was interrupted is no change by somebody else,
and the same command again does the rest. Items are replaced one by one, each atomically.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, cast

from filevault.errors import BackendError, FilevaultError, PinError, StorageError, UsageError
from filevault.printable import printable
from filevault.trust import Pin, difference
from filevault.values import Value
from filevault.vault.identity import pin_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from filevault.backends import RecipientsBackend
    from filevault.files import Folder
    from filevault.vault import Vault

_LIMIT = 1 << 20


class Change(Value):
    """What is to be done.

    `wanted` has the recipients of each file that is written, by its place; `former` is the place
    that governed the root before a new file does. `before` and `after` are the vault's identity.
    """

    wanted: tuple[tuple[str, tuple[str, ...]], ...]
    former: str
    before: Pin
    after: Pin


class Recipients:
    """The recipients of an open vault, whose lock the caller holds.

    Args:
        vault: the vault.
        kind: `pass` or `age`.
        prefix: the folders from the store to the vault's root.
        file: the name of a recipients file.
    """

    def __init__(self, vault: Vault, kind: str, prefix: Sequence[str], file: str) -> None:
        self._vault = vault
        self._backend = cast("RecipientsBackend", vault.backend)
        self._kind = kind
        self._prefix = prefix
        self._file = file
        self._own = "/".join((*prefix, file))

    def adding(self, names: Sequence[str]) -> Change:
        """Return how recipients are added to those of the root.

        Raises UsageError or BackendError for one that cannot be encrypted to.
        """
        given = self._backend.resolve(names)
        before = pin_of(self._kind, self._backend)
        place = self._root(before)
        present = dict(before.recipients)[place]
        wanted = tuple(sorted({*present, *given}))
        if wanted == present:
            return Change((), "", before, before)
        return self._change(before, place, {place: wanted})

    def removing(self, names: Sequence[str]) -> Change:
        """Return how recipients are removed, wherever in the vault they stand.

        Raises UsageError for one that stands nowhere, and where nobody would be left.
        """
        before = pin_of(self._kind, self._backend)
        place = self._root(before)
        known = {each for _, recipients in before.recipients for each in recipients}
        given = {each for name in names for each in self._meant(name, known)}
        wanted = {}
        for each, recipients in before.recipients:
            left = tuple(one for one in recipients if one not in given)
            if not left:
                raise UsageError(
                    f"the last recipient of {printable(each)!r} cannot be removed: nobody could "
                    "open what it governs"
                )
            if left != recipients:
                wanted[each] = left
        absent = given - known
        if absent and self._vault.trust.pending is None:
            raise UsageError(f"{printable(min(absent))} is no recipient of this vault")
        return self._change(before, place, wanted)

    def _meant(self, name: str, known: set[str]) -> Sequence[str]:
        if name in known:
            return [name]
        return self._backend.resolve([name], usable=False)

    def _root(self, pin: Pin) -> str:
        place = pin.root_place(self._prefix)
        if place is None or place.startswith("env:"):
            name = "nothing" if place is None else place[4:]
            raise UsageError(
                f"{name} decides who the recipients are", hint="unset it, or change it there"
            )
        return place

    def _change(self, before: Pin, root: str, wanted: Mapping[str, tuple[str, ...]]) -> Change:
        former = ""
        places = dict(wanted)
        # A file above our folder governs entries that are not ours: one of our own is made.
        if root in places and root != self._own:
            former = root
            places[self._own] = places.pop(root)
        after = before
        for place, recipients in places.items():
            after = after.replacing(place, recipients, former if place == self._own else "")
        return Change(tuple(sorted(places.items())), former, before, after)

    def write(self, change: Change) -> list[str]:
        """Write the recipients files and pin them; return their paths in the store.

        Raises:
            BackendError: if somebody who stays cannot be encrypted to; nothing is written then.
            LockedError: if a signature is wanted that cannot be made.
            PinError: if recipients files changed under our hands.
            StorageError: if they cannot be written.
        """
        self._check_usable(change)
        files = {
            place: self._backend.recipients_files(wanted, self._read(place))
            for place, wanted in change.wanted
        }
        trust = self._vault.trust
        written = []
        with self._noting():
            trust.set_pending(change.after.digest)
        for place, contents in files.items():
            folder = place.rpartition("/")[0]
            with self._folder(folder.split("/") if folder else (), create=True) as opened:
                for name, data in contents.items():
                    opened.write(name, data)
                    written.append(f"{folder}/{name}" if folder else name)
        self._backend.forget()
        actual = pin_of(self._kind, self._backend)
        if actual != change.after:
            changes = "; ".join(difference(change.after, actual)[:4])
            raise PinError(
                f"somebody else changed the recipients meanwhile: {changes}",
                hint="if that is meant, filevault recipients accept",
            )
        with self._noting():
            trust.set_pin(actual)
        return written

    def reencrypt(
        self, change: Change, done: Callable[[str], None], failed: Callable[[str, str], None]
    ) -> list[str]:
        """Encrypt anew what is encrypted to others than its recipients; return the paths.

        `done` hears each name, `failed` a name and the reason.
        """
        paths = []
        places = {place for place, _ in change.wanted}
        unfinished = self._vault.trust.pending is not None
        for name in self._vault.files():
            try:
                if not unfinished and self._backend.governs(name).place not in places:
                    continue
                if self._vault.reencrypt(name):
                    paths.append(self._vault.path(name))
                    done(name)
            except FilevaultError as error:
                failed(name, error.message)
        self._vault.reseal_session_key()
        return paths

    def files(self, change: Change) -> list[str]:
        """Return the paths of all recipients files that there are after a change.

        With those of signatures, there or not; and nothing that lies outside of the store.
        """
        places = [place for place, _ in change.after.recipients]
        files = [place for place in places if place.rpartition("/")[2] == self._file]
        return [path for place in files for path in (place, f"{place}.sig")]

    def finish(self) -> None:
        """Forget what was to come: everything is written, and committed."""
        with self._noting():
            self._vault.trust.set_pending(None)

    def _check_usable(self, change: Change) -> None:
        wanted = {each for _, recipients in change.wanted for each in recipients}
        for file in self._backend.governing():
            for name in file.unresolved:
                if name in wanted:
                    raise BackendError(
                        f"{printable(name)} of {printable(file.place)!r} cannot be encrypted to, "
                        "so nothing could be encrypted anew",
                        hint="make the key known here, or filevault recipients remove it first",
                    )

    @contextlib.contextmanager
    def _noting(self) -> Iterator[None]:
        """Let a pin that was given stand in where nothing can be remembered."""
        try:
            yield
        except StorageError:
            if self._vault.state is not None:
                raise

    @contextlib.contextmanager
    def _folder(self, parts: Sequence[str], *, create: bool = False) -> Iterator[Folder]:
        with contextlib.ExitStack() as opened:
            folder = self._vault.folder
            for part in parts:
                inner = folder.make_child(part) if create else folder.child(part)
                folder = opened.enter_context(inner)
            yield folder

    def _read(self, place: str) -> bytes:
        folder, _, file = place.rpartition("/")
        try:
            with self._folder(folder.split("/") if folder else ()) as opened:
                opened.refuse_link(file)
                return opened.read(file, _LIMIT)
        except FileNotFoundError:
            return b""
