"""The git repositories of a vault's store: remember which are trusted, and run git on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from filevault.backends.gpg.options import VARIABLE_TTY, name_terminal
from filevault.errors import (
    DeclinedError,
    FilevaultError,
    StorageError,
    UnknownRepositoryError,
)
from filevault.git import commit
from filevault.git.adoption import find_all
from filevault.git.fingerprint import FOLDER_PART
from filevault.git.program import Git
from filevault.git.trusted_repositories import TrustedRepositories
from filevault.system.files import Folder
from filevault.system.printable import printable
from filevault.unlock.prompt import confirm

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from filevault.cli.context import Context
    from filevault.git.repository import Repository
    from filevault.vault.choose import VaultChoice
    from filevault.vault.trust import Trust
    from filevault.vault.vault import Vault

_SECTION = "repositories"


class TrustMemory:
    """Store the trusted repositories in `trust.json`: by path, the digest of each part."""

    def __init__(self, trust: Trust, *, writable: bool) -> None:
        self._trust = trust
        self._writable = writable

    @property
    def is_older(self) -> bool:
        """Whether a filevault that remembered no repositories pinned the vault here."""
        known = self._trust.pin is not None
        return known and self._writable and self._trust.section(_SECTION) is None

    def check(self) -> None:
        """Raise StorageError if nothing can be remembered."""
        if not self._writable:
            raise StorageError(
                "which git repository is used could not be remembered: the state directory cannot "
                "be written",
                hint="FILEVAULT_GIT=adopt uses the one that is there",
            )

    def digests(self, path: str) -> Mapping[str, str] | None:
        """Return the digests of a repository's parts, None if it is not trusted."""
        entry: Any = (self._trust.section(_SECTION) or {}).get(path)
        return entry if entry and isinstance(entry, dict) else None

    def remember(self, repositories: Mapping[str, Mapping[str, str]]) -> None:
        """Add trusted repositories. Without any, only note that no question is left to ask."""
        self.check()
        self._trust.update_section(_SECTION, repositories)


def git_of(
    choice: VaultChoice,
    context: Context,
    trust: Trust,
    *,
    writable: bool,
    answers: list[bool] | None = None,
) -> Git:
    """Return a Git that runs git on a vault's store.

    Args:
        choice: the vault.
        context: the run's dependencies.
        trust: the trust of the vault on this machine.
        writable: whether it can be written.
        answers: gets the answers of a person who is asked about a repository.
    """
    environment = context.settings.program_environment()
    if context.prompter.present:
        name_terminal(environment)
    else:
        # gpg, which may sign the commit, must not prompt on a terminal without a user.
        environment.pop(VARIABLE_TTY, None)

    def ask(repository: Repository, lines: Sequence[str]) -> bool:
        context.prompter.say(
            f"This machine used the vault before it remembered which git repository is used. "
            f"There is one at {printable(repository.path)}:"
        )
        for line in lines:
            context.prompter.say(f"  {line}")
        used = confirm(context.prompter, "Use it from now on?")
        if answers is not None:
            answers.append(used)
        return used

    return Git(
        environment,
        choice.backend,
        choice.prefix,
        trusted=TrustedRepositories(
            TrustMemory(trust, writable=writable),
            everything=context.settings.adopts_repositories,
            ask=ask if context.prompter.present else None,
        ),
        sleep=context.runtime.sleep,
        warn=context.reporter.warn,
    )


def trust_present_repositories(choice: VaultChoice, context: Context, trust: Trust) -> None:
    """Trust the repositories in the store as the vault is first pinned, and name them.

    Call it before the pin is written: a run that is killed in between then does both again. If
    it fails, the reason is printed and the repositories are not used.
    """
    if trust.state is None:
        return  # nothing can be remembered
    git = git_of(choice, context, trust, writable=True)
    try:
        trust.update_section(_SECTION, {})
        with Folder.open(choice.store) as store:
            found = find_all(store, git)
        for each in found:
            path = printable(each.repository.path)
            context.reporter.notice(f"the git repository at {path} is used from now on")
            for line in each.lines:
                if not line.startswith(f"{FOLDER_PART} = "):
                    context.reporter.say(f"git repository at {path}, trusted from now on: {line}")
        if found:
            shown = {each.repository.relative_path: each.parts for each in found}
            git.trusted.add_shown(shown)
    except (FilevaultError, FileNotFoundError) as error:
        context.reporter.notice(f"no git repository is used: {error}")


def require_commits(
    choice: VaultChoice, context: Context, vault: Vault, paths: Iterable[str]
) -> list[Repository]:
    """Return the repositories of files that are about to change; fail early.

    Raises:
        UnknownRepositoryError: if one of them is not trusted on this machine.
        DeclinedError: if a person was asked about one and answered no.
        BackendError: if a commit could get lost.
    """
    answers: list[bool] = []
    git = git_of(choice, context, vault.trust, writable=vault.state is not None, answers=answers)
    try:
        return commit.require_commits(vault.folder, paths, git)
    except UnknownRepositoryError as error:
        if False in answers:
            raise DeclinedError("nothing was changed") from error
        raise
