"""Push the commits that a rotation has made, and hint at what other clones have to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import DeclinedError, NotPushedError, UnknownRepositoryError, UsageError
from filevault.git.commit import repositories_of
from filevault.git.trusted_repositories import ADOPT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filevault.cli.open_vault import OpenVault
    from filevault.cli.reporter import Reporter
    from filevault.git.repository import Repository
    from filevault.vault.vault import Vault


class Publisher:
    """Check before a rotation that it can be committed and pushed, and push its commits.

    Args:
        opened: the vault.
        reporter: prints the hint.
        pushing: whether commits are pushed.
    """

    def __init__(self, opened: OpenVault, reporter: Reporter, *, pushing: bool) -> None:
        self._opened = opened
        self._reporter = reporter
        self._pushing = pushing
        self._checked: set[str] = set()
        self._with_remote = False

    def prepare(self, names: Sequence[str]) -> None:
        """Check the repositories of items, before a key is created.

        Raises:
            UnknownRepositoryError, BackendError: if a commit would fail.
            UsageError: if commits are to be pushed, and there is no repository.
            NotPushedError: if git could not push now.
        """
        vault = self._opened.vault
        try:
            repositories = self._opened.require_commits([vault.path(name) for name in names])
        except DeclinedError as declined:  # other keys may be rotated already
            raise UnknownRepositoryError(
                "the git repository of this key is not used, as you answered", hint=ADOPT
            ) from declined
        if self._pushing and not repositories:
            raise UsageError(
                "--push needs a git repository, and the vault has none of its own",
                hint="filevault git init makes one",
            )
        for repository in repositories:
            if repository.path not in self._checked:
                self._check(repository)

    def _check(self, repository: Repository) -> None:
        self._with_remote |= repository.has_remote()
        if self._pushing:
            try:
                repository.push(only_try=True)
            except NotPushedError as error:
                raise NotPushedError(
                    f"nothing was changed, because {error.message}", hint=error.hint
                ) from error
        self._checked.add(repository.path)

    def push(self, vault: Vault, names: Sequence[str]) -> None:
        """Push the commits of items. Raises NotPushedError."""
        runner = self._opened.git()
        for repository in repositories_of(vault.folder, map(vault.path, names), runner):
            runner.trusted.require(repository)
            try:
                repository.push()
            except NotPushedError as error:
                raise NotPushedError(
                    f"committed, but not pushed: {error.message}", hint=error.hint
                ) from error

    def hint_at_clones(self) -> None:
        """Hint at what the other clones of the vault need after a rotation."""
        if self._with_remote:
            first = "" if self._pushing else "filevault git push here, then "
            self._reporter.hint(
                "other clones of the vault use the old key until they have the new one: "
                f"{first}filevault git pull there"
            )
