"""Changing whom a `pass` or `age` vault is encrypted to: what a change comes to.

Its files are written by `filevault.vault.recipients.files`, its items encrypted anew by
`filevault.vault.recipients.reencrypt`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import BackendError, UsageError
from filevault.system.printable import printable
from filevault.system.record import Record
from filevault.vault.identity import pin_of
from filevault.vault.pin import Pin
from filevault.vault.recipients.reencrypt import Reencryption

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from filevault.vault import Vault


class Change(Record):
    """What is to be done.

    `wanted` has the recipients of each file that is written, by its place; `former` is the place
    that governed the root before a new file does. `before` and `after` are the vault's identity.
    `kept` are places that stay as they are, because nobody would be left.
    """

    wanted: tuple[tuple[str, tuple[str, ...]], ...]
    former: str
    before: Pin
    after: Pin
    kept: tuple[str, ...] = ()


class Recipients:
    """The recipients of an open vault, whose lock the caller holds.

    Args:
        vault: the vault.
        prefix: the folders from the store to the vault's root.
        file: the name of a recipients file.
    """

    def __init__(self, vault: Vault, prefix: Sequence[str], file: str) -> None:
        self._vault = vault
        self._backend = vault.recipients_backend
        self._prefix = prefix
        self._own = "/".join((*prefix, file))

    def adding(self, names: Sequence[str]) -> Change:
        """Return how recipients are added to those of the root.

        One of the keys that an ambiguous id fits takes the place of that id, wherever in the
        vault it stands. Raises UsageError or BackendError for one that cannot be encrypted to.
        """
        given = set(self._backend.resolve(names))
        before = pin_of(self._backend)
        root = self._root(before)
        wanted = {}
        for file in self._backend.governing():
            new = set(file.recipients)
            for each in file.unresolved:
                meant = given.intersection(self._backend.candidates(each))
                if meant:
                    new = (new - {each}) | meant
            if file.path == root:
                new |= given
            if new != set(file.recipients):
                wanted[file.path] = tuple(sorted(new))
        return self._change(before, root, wanted)

    def removing(self, names: Sequence[str]) -> Change:
        """Return how recipients are removed, wherever in the vault they stand.

        A folder below the root that would be left with nobody stays as it is. Raises UsageError
        for one that stands nowhere, unless its removal was not finished, and where nobody would
        be left at the root.
        """
        before = pin_of(self._backend)
        root = self._root(before)
        known = {each for _, recipients in before.recipients for each in recipients}
        noted = {each for gone in self._vault.trust.unfinished.values() for each in gone}
        given = {each for name in names for each in self._meant(name, known | noted)}
        wanted, kept = {}, []
        for place, recipients in before.recipients:
            left = tuple(one for one in recipients if one not in given)
            if not left and place == root:
                raise _last_recipient(place)
            if not left:
                kept.append(place)
            elif left != recipients:
                wanted[place] = left
        absent = given - known
        if not absent <= noted and not self._may_be_resumed():
            name = min(absent - noted)
            raise UsageError(
                f"{printable(name)} is no recipient of this vault",
                hint="filevault recipients list shows who is; where a removal was interrupted, "
                "nothing of it is left to do",
            )
        if kept and not wanted and not absent:
            raise _last_recipient(kept[0])
        return self._change(before, root, wanted)._replace(kept=tuple(kept))

    def unfinished(self, change: Change) -> dict[str, tuple[str, ...]]:
        """Return the places whose items are to be encrypted anew, with who is taken out of each.

        Those of a change, and those that an earlier one has left.
        """
        before, after = dict(change.before.recipients), dict(change.after.recipients)
        noted = self._vault.trust.unfinished
        found = {place: gone for place, gone in noted.items() if place in after}
        for place, wanted in change.wanted:
            former = before.get(place) or before.get(change.former, ())
            gone = {*found.get(place, ()), *former}.difference(wanted)
            found[place] = tuple(sorted(gone))
        return found

    def provable(self, change: Change) -> tuple[str, ...]:
        """Return the places whose items are encrypted anew if they differ beyond doubt.

        The root's; every one where nothing can be remembered, and the items alone tell.
        """
        if self._vault.state is None:
            return tuple(place for place, _ in change.after.recipients)
        place = change.after.root_place(self._prefix)
        return () if place is None else (place,)

    def shut_out(self, change: Change) -> str | None:
        """Return a place whose items a key that is here opens, and none after a change.

        Raises LockedError if a passphrase would be needed to tell, and is not to be had.
        """
        before = dict(change.before.recipients)
        for place, wanted in change.wanted:
            former = before.get(place) or before.get(change.former, ())
            if self._backend.opens(wanted) is False and self._backend.opens(former) is not False:
                return place
        return None

    def _may_be_resumed(self) -> bool:
        """Tell whether a removal may have been left unfinished where nothing is remembered."""
        if self._vault.state is not None:
            return False
        places = [file.path for file in self._backend.governing()]
        return any(True for _ in Reencryption(self._vault, (), places).due())

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
        self._check_usable(places)
        for recipients in places.values():
            self._backend.try_set(recipients)
        after = before
        for place, recipients in places.items():
            after = after.replacing(place, recipients, former if place == self._own else "")
        return Change(tuple(sorted(places.items())), former, before, after)

    def _check_usable(self, wanted: Mapping[str, Sequence[str]]) -> None:
        stay = {each for recipients in wanted.values() for each in recipients}
        for file in self._backend.governing():
            for name in file.unresolved:
                if name not in stay:
                    continue
                hint = "make the key known here, or filevault recipients remove it first"
                keys = self._backend.candidates(name)
                if keys:
                    hint = (
                        "it fits several keys; filevault recipients add with one of these puts it "
                        f"in the place of the id: {' or '.join(keys)}"
                    )
                raise BackendError(
                    f"{printable(name)} of {printable(file.path)!r} cannot be encrypted to, so "
                    "nothing could be encrypted anew",
                    hint=hint,
                )


def _last_recipient(place: str) -> UsageError:
    return UsageError(
        f"the last recipient of {printable(place)!r} cannot be removed: nobody could open what it "
        "governs",
        hint="another one must be added first",
    )


def check_sets(vault: Vault) -> None:
    """Try the recipients of each file of a vault together, before they are trusted.

    No program is started for that. Raises BackendError if nothing could be encrypted to them.
    """
    backend = vault.recipients_backend
    for file in backend.governing():
        try:
            backend.try_set(file.recipients, programs=False)
        except BackendError as error:
            place = printable(file.path)
            raise BackendError(
                f"the recipients of {place!r} do not go together: {error.message}",
                hint=f"take the recipients of one kind out of {place!r}, and commit that",
            ) from error
