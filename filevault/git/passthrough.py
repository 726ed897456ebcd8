"""Run the user's own git command in the vault's repository: `filevault git ARGS`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from filevault.errors import NotFoundError, UsageError
from filevault.git.adoption import all_below
from filevault.git.commit import commit_if_empty
from filevault.git.folder import real_path
from filevault.git.repository import Repository
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filevault.git.program import Git
    from filevault.system.files import Folder

# The git commands that change the fingerprint of a repository.
_CHANGING = frozenset({"config", "init", "lfs", "remote", "submodule"})
_PUSHING = frozenset({"push", "send-pack"})


def passthrough(store: Folder, arguments: Sequence[str], git: Git) -> int:
    """Run a git command at the user's terminal and return its exit status.

    `init` creates a repository at the store's top and commits the store's contents; one that has
    commits already is left as it is. The created repository is trusted from then on. So is a
    trusted repository whose configuration this command changed.

    Raises:
        NotFoundError: if there is no repository, or `init` created one that is not used.
        UnknownRepositoryError: if it, or one below it, is not trusted on this machine.
        UsageError: for a push to a word that names a repository in a folder of this one.
        NotCommittedError: if the contents cannot be committed after `init`.
        ProgramError, StorageError: if git cannot be run.
    """
    if arguments and arguments[0] == "init":
        return _init(store, arguments, git)
    repository = Repository.find(store, git.prefix, git)
    if repository is None:
        raise NotFoundError(
            f"the store {printable(store.path)!r} has no git repository of its own",
            hint="filevault git init",
        )
    if not _PUSHING.isdisjoint(arguments):
        _refuse_folders(repository.path, arguments)
    before = [each for each in all_below(store, repository, git) if git.trusted.contains(each)]
    status = repository.run_attached(arguments)
    verb = arguments[0] if arguments else ""
    if before and verb in _CHANGING:
        if verb == "submodule":  # the user may have added some
            before = all_below(store, repository, git, required=False)
        changed = [each for each in before if not git.trusted.contains(each)]
        if changed:
            git.trusted.add(changed)
    return status


def _refuse_folders(path: str, arguments: Sequence[str]) -> None:
    """Raise UsageError if a word names a repository in a folder, which a push would run hooks of.

    git takes a word for a path if there is no remote of that name (git-push(1)), and others may
    put a folder into the store. A path in another form is meant as one.
    """
    for word in arguments:
        name = word.partition("=")[2] if word.startswith("--") else word
        if name in ("", ".", "..") or "/" in name:
            continue
        for folder in (f"{path}/{name}", f"{path}/{name}.git"):
            if os.path.lexists(f"{folder}/HEAD") or os.path.lexists(f"{folder}/.git"):
                raise UsageError(
                    f"{printable(name, 80)!r} is a repository in a folder of the store, and a push "
                    "would run its hooks",
                    hint="if it is to be a remote, add that with filevault git remote add; if the "
                    f"folder is meant, write ./{printable(name, 80)}",
                )


def _init(store: Folder, arguments: Sequence[str], git: Git) -> int:
    for parts in dict.fromkeys(((), git.prefix)):
        before = Repository.find(store, parts, git)
        if before is not None:
            all_below(store, before, git)
    git.trusted.require_memory()
    new = Repository.find(store, (), git) is None
    if new:
        git.trusted.expect(f"{real_path(store)}/.git")
    status = git.attach(real_path(store), arguments)
    if new and Repository.find(store, (), git) is None:
        git.trusted.expect(None)
    if status == 0 and "--help" not in arguments:
        top = Repository.find(store, (), git)
        made = top or Repository.find(store, git.prefix, git)
        if made is None:
            raise NotFoundError(
                f"git made a repository, but none in which the items of {printable(store.path)!r} "
                "would be committed",
                hint="filevault git init without a folder and without --separate-git-dir, once "
                "what it made is out of the way",
            )
        git.trusted.add([made])
        commit_if_empty(made)
    return status
