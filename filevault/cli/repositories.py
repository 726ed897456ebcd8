"""The git repositories of the vault's store: which this machine uses, and how git is run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from filevault.backends.gpg.options import VARIABLE_TTY, name_terminal
from filevault.errors import (
    DeclinedError,
    FilevaultError,
    StorageError,
    UnknownRepositoryError,
)
from filevault.git.adoption import find_all
from filevault.git.commit import require_commits
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
    from filevault.vault.trust import Trust

_SECTION = "repositories"


class TrustMemory:
    """Keeps in `trust.json` which repositories are used: digests by part, by place."""

    def __init__(self, trust: Trust, *, writable: bool) -> None:
        self._trust = trust
        self._writable = writable

    @property
    def is_older(self) -> bool:
        """Whether a filevault that remembered no repositories has pinned the vault here."""
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
        """Return the digests of a repository by part, None if it is not used."""
        entry: Any = (self._trust.section(_SECTION) or {}).get(path)
        return entry if entry and isinstance(entry, dict) else None

    def remember(self, repositories: Mapping[str, Mapping[str, str]]) -> None:
        """Remember digests by place and part; with none, that nothing is to be asked any more."""
        self.check()
        self._trust.update_section(_SECTION, repositories)


def git_of(context: Context, trust: Trust | None = None, answers: list[bool] | None = None) -> Git:
    """Return how git is run on the vault's store.

    `trust` is what is remembered of the vault, if it is not the one that the context has.
    `answers` gets what a person answers who is asked about a repository.
    """
    environment = context.settings.program_environment()
    if context.prompter.present:
        name_terminal(environment)
    else:
        # gpg, which may sign the commit, would ask at a terminal where nobody looks.
        environment.pop(VARIABLE_TTY, None)
    memory, writable = context.memory if trust is None else (trust, True)

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
        context.choice.backend,
        context.choice.prefix,
        trusted=TrustedRepositories(
            TrustMemory(memory, writable=writable),
            everything=context.settings.adopts_repositories,
            ask=ask if context.prompter.present else None,
        ),
        sleep=context.runtime.sleep,
        warn=context.reporter.warn,
    )


def remember_present(context: Context, trust: Trust) -> None:
    """Use the repositories that lie in the store as the vault is first pinned, and name them.

    Call it before the pin is written: a run that is killed in between then does both again.
    What hinders that is told, and leaves them unused.
    """
    if trust.state is None:
        return  # nothing can be remembered
    git = git_of(context, trust)
    try:
        trust.update_section(_SECTION, {})
        with Folder.open(context.choice.store) as store:
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


def check_commits(context: Context, paths: Iterable[str]) -> list[Repository]:
    """Return the repositories of files that are about to change, before anything does.

    Raises UnknownRepositoryError, DeclinedError if a person was asked and does not want one of
    them used, or BackendError where a commit would not last.
    """
    answers: list[bool] = []
    try:
        return require_commits(context.vault.folder, paths, git_of(context, answers=answers))
    except UnknownRepositoryError as error:
        if False in answers:
            raise DeclinedError("nothing was changed") from error
        raise


def first_use(context: Context) -> None:
    """Pin the vault if this is its first use, with the repositories that are there."""
    if context.memory[0].pin is None and context.settings.pin is None:
        try:
            _ = context.vault
        except FilevaultError as error:
            context.reporter.notice(error.message)
