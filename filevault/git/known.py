"""Which repositories this machine was told to use (`docs/format.md` §9).

A `.git` may have been put into the vault's folder by whoever can write there, and its hooks and
configuration name programs. So a repository is used only if it is remembered, and only as long
as nothing that git would run because of it has changed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

from filevault.errors import StorageError, UnknownRepositoryError
from filevault.git.fingerprint import FOLDER_PART
from filevault.git.folder import RefusedError
from filevault.system.digest import sha256_hex
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from filevault.git.fingerprint import Part
    from filevault.git.repository import Repository

ADOPT = "filevault git adopt shows what it would run, and uses it from then on"
_SHOWN = 2000  # characters of one value


class Memory(Protocol):
    """Where it is remembered which repositories are used."""

    @property
    def asks(self) -> bool:
        """Whether the vault was used here before anything of that kind was remembered."""
        ...

    def check(self) -> None:
        """Raise StorageError if nothing can be remembered."""
        ...

    def digests(self, place: str) -> Mapping[str, str] | None:
        """Return the digests by part of the repository at a place; None or none: not used."""
        ...

    def remember(self, repositories: Mapping[str, Mapping[str, str]]) -> None:
        """Remember digests by place and part. Raises StorageError if that is not possible."""
        ...


class Known:
    """Tells the repositories that are used from those that are not.

    Args:
        memory: what this machine remembers.
        everything: take every repository as it is, as `FILEVAULT_GIT=adopt` says.
        ask: called with a repository and what it could run; returns whether to use it. None if
            there is no terminal to ask on.
    """

    def __init__(
        self,
        memory: Memory,
        *,
        everything: bool = False,
        ask: Callable[[Repository, Sequence[str]], bool] | None = None,
    ) -> None:
        self._memory = memory
        self._everything = everything
        self._ask = ask

    def require(self, repository: Repository) -> None:
        """Return if a repository is used.

        One that was used here before there was this memory is asked about, once.

        Raises:
            UnknownRepositoryError: if not; the message says why.
        """
        if self._everything:
            return
        try:
            parts = repository.parts()
        except RefusedError as refusal:
            raise self._unknown(repository, str(refusal)) from refusal
        digests = self._memory.digests(repository.place) or None
        if digests == _digests(parts):
            return
        if digests is None and self._memory.asks and self._ask is not None:
            used = self._ask(repository, changes(parts, None))
            self._memory.remember({repository.place: _digests(parts)} if used else {})
            if used:
                return
        if digests is None:
            raise self._unknown(repository, "this machine was not told to use it")
        changed = "; ".join(line.partition(" = ")[0] for line in changes(parts, digests)[:4])
        raise self._unknown(repository, f"what git would run because of it has changed: {changed}")

    def _unknown(self, repository: Repository, reason: str) -> UnknownRepositoryError:
        hint: str | None = ADOPT
        try:
            self._memory.check()
        except StorageError as error:
            hint = error.hint  # `git adopt` would be of no use
        path = printable(repository.path)
        return UnknownRepositoryError(
            f"the git repository at {path!r} is not used: {reason}", hint=hint
        )

    def is_known(self, repository: Repository) -> bool:
        """Tell whether a repository is used; nothing is asked."""
        try:
            return self._memory.digests(repository.place) == _digests(repository.parts())
        except RefusedError:
            return False

    def changes(self, repository: Repository, parts: Mapping[str, Part]) -> list[str]:
        """Return a line for each part of a repository that is not remembered as it is."""
        return changes(parts, self._memory.digests(repository.place))

    def check_memory(self) -> None:
        """Raise StorageError if a repository could not be remembered, and has to be."""
        if not self._everything:
            self._memory.check()

    def expect(self, own: str | None) -> None:
        """Use the repository that is about to be made at the store's top, if it is a plain one.

        So a run that is killed before `remember` is made up for by the next one. `own` is its git
        folder, None if none was made. Raises StorageError.
        """
        digests = {} if own is None else {FOLDER_PART: sha256_hex(os.fsencode(own))}
        if not self._everything:
            self._memory.remember({".": digests})

    def remember(self, repositories: Sequence[Repository]) -> None:
        """Use these repositories from now on. Raises UnknownRepositoryError, StorageError."""
        try:
            parts = {each.place: each.parts() for each in repositories}
        except RefusedError as refusal:
            raise self._unknown(repositories[0], str(refusal)) from refusal
        self.remember_shown(parts)

    def remember_shown(self, parts: Mapping[str, Mapping[str, Part]]) -> None:
        """Use repositories from now on, by place, as they were when `parts` was taken.

        A person has seen that: what was changed since then is not used. Raises StorageError.
        """
        try:
            self._memory.remember({place: _digests(each) for place, each in parts.items()})
        except StorageError:
            if not self._everything:
                raise


def _digests(parts: Mapping[str, Part]) -> dict[str, str]:
    return {name: part.digest for name, part in parts.items()}


def changes(parts: Mapping[str, Part], digests: Mapping[str, str] | None) -> list[str]:
    """Return a line for each part that is new, other than remembered, or gone."""
    lines = []
    for name, part in sorted(parts.items()):
        shown = printable(part.shown, _SHOWN)
        if digests is None or name not in digests:
            lines.append(f"{name} = {shown}")
        elif digests[name] != part.digest:
            lines.append(f"{name} (changed) = {shown}")
    lines += [f"{printable(name)} (gone)" for name in sorted((digests or {}).keys() - parts)]
    return lines
