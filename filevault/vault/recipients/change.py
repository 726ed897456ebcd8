"""Plan a change of the recipients of a `pass` or `age` vault.

`filevault.vault.recipients.files` writes the files of a change, and
`filevault.vault.recipients.reencrypt` re-encrypts the items.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import BackendError, UsageError
from filevault.system.printable import printable
from filevault.system.record import Record
from filevault.vault.pin import Pin, pin_of
from filevault.vault.recipients.reencrypt import Reencryption

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from filevault.vault.vault import Vault


class RecipientsChange(Record):
    """The files to write and the vault's pin before and after.

    `recipients` are pairs of the path of a file to write and its recipients. `replaced` is the
    path that governed the root until now if a new file will, else empty. `unchanged` are paths
    that stay as they are, because no recipient would be left.
    """

    recipients: tuple[tuple[str, tuple[str, ...]], ...]
    replaced: str
    before: Pin
    after: Pin
    unchanged: tuple[str, ...] = ()


class ChangePlanner:
    """Plans changes of the recipients of an open vault, whose lock the caller holds.

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

    def plan_adding(self, names: Sequence[str]) -> RecipientsChange:
        """Return the change that adds recipients to those of the root.

        A key that matches an ambiguous id replaces that id in every file of the vault. Raises
        UsageError or BackendError for a recipient that cannot be encrypted to.
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

    def plan_removing(self, names: Sequence[str]) -> RecipientsChange:
        """Return the change that removes recipients from every file of the vault.

        A folder below the root that would have no recipient left stays as it is. Raises
        UsageError for a name that is not a recipient, unless its removal is pending, and if no
        recipient would be left at the root.
        """
        before = pin_of(self._backend)
        root = self._root(before)
        known = {each for _, recipients in before.recipients for each in recipients}
        pending = self._vault.trust.pending_reencryption
        removed = {each for gone in pending.values() for each in gone}
        given = {each for name in names for each in self._meant(name, known | removed)}
        wanted, unchanged = {}, []
        for path, recipients in before.recipients:
            left = tuple(one for one in recipients if one not in given)
            if not left and path == root:
                raise _last_recipient(path)
            if not left:
                unchanged.append(path)
            elif left != recipients:
                wanted[path] = left
        absent = given - known
        if not absent <= removed and not self._may_be_resumed():
            name = min(absent - removed)
            raise UsageError(
                f"{printable(name)} is not a recipient of this vault",
                hint="filevault recipients list shows who is; where a removal was interrupted, "
                "nothing of it is left to do",
            )
        if unchanged and not wanted and not absent:
            raise _last_recipient(unchanged[0])
        return self._change(before, root, wanted)._replace(unchanged=tuple(unchanged))

    def reencryption(self, change: RecipientsChange) -> dict[str, tuple[str, ...]]:
        """Return the paths whose items are to be re-encrypted, with the recipients removed.

        Those of a change, and those that an earlier one has left.
        """
        before, after = dict(change.before.recipients), dict(change.after.recipients)
        pending = self._vault.trust.pending_reencryption
        found = {path: gone for path, gone in pending.items() if path in after}
        for path, recipients in change.recipients:
            former = before.get(path) or before.get(change.replaced, ())
            gone = {*found.get(path, ()), *former}.difference(recipients)
            found[path] = tuple(sorted(gone))
        return found

    def only_certain(self, change: RecipientsChange) -> tuple[str, ...]:
        """Return the paths whose items are re-encrypted only if they certainly differ.

        The root's path; without a state directory, where nothing is recorded, all paths.
        """
        if self._vault.state is None:
            return tuple(path for path, _ in change.after.recipients)
        path = change.after.root_path(self._prefix)
        return () if path is None else (path,)

    def locked_out(self, change: RecipientsChange) -> str | None:
        """Return a path whose items can be decrypted here now, but not after a change.

        Raises LockedError if a passphrase is needed to decide that and cannot be had.
        """
        before = dict(change.before.recipients)
        for path, recipients in change.recipients:
            former = before.get(path) or before.get(change.replaced, ())
            opens = self._backend.opens
            if opens(recipients) is False and opens(former) is not False:
                return path
        return None

    def _may_be_resumed(self) -> bool:
        """Return whether a removal may be pending although nothing can be recorded."""
        if self._vault.state is not None:
            return False
        paths = [file.path for file in self._backend.governing()]
        return any(True for _ in Reencryption(self._vault, (), paths).outdated())

    def _meant(self, name: str, known: set[str]) -> Sequence[str]:
        if name in known:
            return [name]
        return self._backend.resolve([name], usable=False)

    def _root(self, pin: Pin) -> str:
        path = pin.root_path(self._prefix)
        if path is None or path.startswith("env:"):
            name = "nothing" if path is None else path[4:]
            raise UsageError(
                f"{name} decides who the recipients are", hint="unset it, or change it there"
            )
        return path

    def _change(
        self, before: Pin, root: str, wanted: Mapping[str, tuple[str, ...]]
    ) -> RecipientsChange:
        replaced = ""
        by_path = dict(wanted)
        # A file above the root also governs other tools' entries: the root gets a file of its own.
        if root in by_path and root != self._own:
            replaced = root
            by_path[self._own] = by_path.pop(root)
        self._check_usable(by_path)
        for recipients in by_path.values():
            self._backend.try_set(recipients)
        after = before
        for path, recipients in by_path.items():
            after = after.with_recipients(path, recipients, replaced if path == self._own else "")
        return RecipientsChange(tuple(sorted(by_path.items())), replaced, before, after)

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
                        "it fits several keys; filevault recipients add with one of these replaces "
                        f"the id: {' or '.join(keys)}"
                    )
                raise BackendError(
                    f"{printable(name)} of {printable(file.path)!r} cannot be encrypted to, so "
                    "nothing could be re-encrypted",
                    hint=hint,
                )


def _last_recipient(path: str) -> UsageError:
    return UsageError(
        f"the last recipient of {printable(path)!r} cannot be removed: no key could open the "
        "items that it governs",
        hint="add another one first: filevault recipients add",
    )


def check_recipient_sets(vault: Vault) -> None:
    """Check before they are trusted that the recipients of each file can be used together.

    No program is started. Raises BackendError if nothing could be encrypted to them.
    """
    backend = vault.recipients_backend
    for file in backend.governing():
        try:
            backend.try_set(file.recipients, programs=False)
        except BackendError as error:
            path = printable(file.path)
            raise BackendError(
                f"the recipients of {path!r} cannot be used together: {error.message}",
                hint=f"take the recipients of one type out of {path!r}, and commit that",
            ) from error
