"""The repositories that this machine trusts: until a clone is adopted, none of its hooks runs.

Anyone who can write the vault's folder can put a `.git` there, and its hooks and configuration
name programs. So a repository is used only if it was adopted, and only while nothing that git
would run because of it has changed (`docs/format.md` §9).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

from filevault.errors import StorageError, UnknownRepositoryError
from filevault.git.dangerous_settings import is_address, is_harmless_without
from filevault.git.fingerprint import FOLDER_PART
from filevault.git.folder import RefusedError
from filevault.system.digest import sha256_hex
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from filevault.git.fingerprint import Part
    from filevault.git.repository import Repository

ADOPT = "filevault git adopt shows what it would run, and uses it from then on"
ACCEPT = "filevault git adopt shows all that changed, and accepts it"
_SHOWN = 2000  # characters of one value
_NAMED = 4  # parts in a message


class RepositoryMemory(Protocol):
    """Protocol of the memory of trusted repositories; `path` is relative to the store."""

    @property
    def is_older(self) -> bool:
        """Whether the vault was used here before repositories were remembered at all."""
        ...

    def check(self) -> None:
        """Raise StorageError if nothing can be remembered."""
        ...

    def digests(self, path: str) -> Mapping[str, str] | None:
        """Return the digests by part of a trusted repository; None or none if it is not."""
        ...

    def remember(self, repositories: Mapping[str, Mapping[str, str]]) -> None:
        """Remember digests by path and part. Raises StorageError if that is not possible."""
        ...


class TrustedRepositories:
    """The repositories that may be used.

    Args:
        memory: what this machine remembers.
        everything: trust every repository as it is, as `FILEVAULT_GIT=adopt` says.
        ask: called with a repository and what it could run; returns whether to trust it. None if
            there is no terminal to ask on.
    """

    def __init__(
        self,
        memory: RepositoryMemory,
        *,
        everything: bool = False,
        ask: Callable[[Repository, Sequence[str]], bool] | None = None,
    ) -> None:
        self._memory = memory
        self._everything = everything
        self._ask = ask

    def require(self, repository: Repository) -> None:
        """Return if a repository is trusted.

        One that was used before repositories were remembered is asked about, once.

        Raises:
            UnknownRepositoryError: if it is not; the message says why.
        """
        if self._everything:
            return
        try:
            parts = repository.fingerprint()
        except RefusedError as refusal:
            raise self._unknown(repository, str(refusal)) from refusal
        digests = self._memory.digests(repository.relative_path) or None
        if _is_as_trusted(parts, digests):
            return
        if digests is None and self._memory.is_older and self._ask is not None:
            trusted = self._ask(repository, changes(parts, None))
            self._memory.remember({repository.relative_path: _digests(parts)} if trusted else {})
            if trusted:
                return
        if digests is None:
            raise self._unknown(repository, "this machine was not told to use it")
        # Without the values, which may have a secret: `git adopt` shows them to a person.
        names = [line.partition(" = ")[0] for line in changes(parts, digests)]
        more = f"; {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        local = any(is_address(name.split(" (")[0]) for name in names)
        raise self._unknown(
            repository,
            "what git would run because of it has changed: " + "; ".join(names[:_NAMED]) + more,
            f"a push to a local path runs the hooks there; {ACCEPT}" if local else ACCEPT,
        )

    def _unknown(
        self, repository: Repository, reason: str, hint: str | None = ADOPT
    ) -> UnknownRepositoryError:
        try:
            self._memory.check()
        except StorageError as error:
            hint = error.hint  # `git adopt` would be of no use
        path = printable(repository.path)
        return UnknownRepositoryError(
            f"the git repository at {path!r} is not used: {reason}", hint=hint
        )

    def contains(self, repository: Repository) -> bool:
        """Return whether a repository is trusted as it is now; never ask."""
        try:
            digests = self._memory.digests(repository.relative_path)
            return _is_as_trusted(repository.fingerprint(), digests)
        except RefusedError:
            return False

    def changes(self, repository: Repository, parts: Mapping[str, Part]) -> list[str]:
        """Return a line for each part of a repository that is not trusted as it is."""
        return changes(parts, self._memory.digests(repository.relative_path))

    def require_memory(self) -> None:
        """Fail early: raise StorageError if a repository could not be remembered, but must be."""
        if not self._everything:
            self._memory.check()

    def expect(self, own: str | None) -> None:
        """Trust the repository that is about to be created at the store's top, if it is plain.

        If the run is killed before `add`, the next run trusts it all the same. `own` is its git
        folder, None to take the trust back. Raises StorageError.
        """
        digests = {} if own is None else {FOLDER_PART: sha256_hex(os.fsencode(own))}
        if not self._everything:
            self._memory.remember({".": digests})

    def add(self, repositories: Sequence[Repository]) -> None:
        """Trust repositories as they are now. Raises UnknownRepositoryError, StorageError."""
        try:
            parts = {each.relative_path: each.fingerprint() for each in repositories}
        except RefusedError as refusal:
            raise self._unknown(repositories[0], str(refusal)) from refusal
        self.add_shown(parts)

    def add_shown(self, parts: Mapping[str, Mapping[str, Part]]) -> None:
        """Trust repositories as they were when a person saw `parts`, by path.

        One that was changed since then is not trusted. Raises StorageError.
        """
        try:
            self._memory.remember({path: _digests(each) for path, each in parts.items()})
        except StorageError:
            if not self._everything:
                raise


def _digests(parts: Mapping[str, Part]) -> dict[str, str]:
    return {name: part.digest for name, part in parts.items()}


def _is_as_trusted(parts: Mapping[str, Part], digests: Mapping[str, str] | None) -> bool:
    """Return whether a repository is remembered, and nothing of it that matters has changed."""
    return bool(digests) and not changes(parts, digests)


def changes(parts: Mapping[str, Part], digests: Mapping[str, str] | None) -> list[str]:
    """Return a line for each part that is new, changed or gone.

    A setting that is gone and whose absence does no harm is left out, as one that an earlier
    version counted.
    """
    lines = []
    for name, part in sorted(parts.items()):
        shown = printable(part.shown, _SHOWN)
        if digests is None or name not in digests:
            lines.append(f"{name} = {shown}")
        elif digests[name] != part.digest:
            lines.append(f"{name} (changed) = {shown}")
    gone = sorted((digests or {}).keys() - parts)
    return lines + [f"{printable(name)} (gone)" for name in gone if not is_harmless_without(name)]
