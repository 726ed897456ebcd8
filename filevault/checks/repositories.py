"""The git repositories of the store: whether a write would use each, read without git."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.checks.diagnosis import Diagnosis, Fact
from filevault.checks.finding import WARNING, Finding, error_finding
from filevault.errors import UnknownRepositoryError
from filevault.git.adoption import find_all
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filevault.checks.diagnosis import MachineState
    from filevault.git.repository import Repository


def check(machine: MachineState) -> Diagnosis:
    """Return the repositories, and for each that is not used the error of the next write."""
    choice = machine.vault_if_chosen()
    if choice is None:
        return Diagnosis()
    facts, findings = [], []
    with machine.open_vault() as vault:
        git = machine.git(vault)
        for found in find_all(vault.folder, git):
            repository = found.repository
            state = "used"
            if vault.trust.pin is None:
                state = "used from the first command on"
            else:
                try:
                    git.trusted.require(repository)
                except UnknownRepositoryError as error:
                    state = "not used"
                    findings.append(_finding(repository, error, choice.prefix))
            facts.append(Fact("repository", f"{repository.path} ({state})"))
    return Diagnosis(tuple(facts), tuple(findings))


def _finding(
    repository: Repository, error: UnknownRepositoryError, prefix: Sequence[str]
) -> Finding:
    """Return the finding for a repository; one beside the items hinders no write, only git."""
    found = error_finding("the git repository", "repository", error)
    top, items = _parts(repository), list(prefix)
    shared = min(len(top), len(items))
    if top[:shared] == items[:shared]:
        return found
    path = printable(repository.relative_path)
    return found._replace(subject=f"the git repository {path}", severity=WARNING, status=0)


def _parts(repository: Repository) -> list[str]:
    return [] if repository.relative_path == "." else repository.relative_path.split("/")
