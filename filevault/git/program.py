"""Run git with fixed flags and a clean environment; retry while another git holds its lock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import NotCommittedError
from filevault.git.environment import for_git
from filevault.system import programs
from filevault.system.config_files import refuse_choice_of_others
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from filevault.backends.definition import Backend
    from filevault.git.trusted_repositories import TrustedRepositories

# Before the verb, always.
_FLAGS = ("-c", "safe.bareRepository=explicit", "-c", "core.fsmonitor=false")
_QUIET = ("-c", "advice.addIgnoredFile=false")  # filevault gives its own hint
_TIMEOUT = 120.0  # seconds; the user's hooks may be slow
_ATTEMPTS = 6
_UMASK = 0o077  # for the files that git writes
_FIRST_PAUSE = 0.1
FINISH = "`filevault git status` shows what is left to commit"


def refuse_others(environment: Mapping[str, str]) -> None:
    """Raise ProgramError if another user could name programs in git's user-wide configuration.

    `environment` is that of git.
    """
    get = environment.get
    home = get("HOME", "")
    named = get("GIT_CONFIG_GLOBAL")
    paths = [named] if named is not None else [f"{home}/.gitconfig"]
    if named is None:
        paths.append(f"{get('XDG_CONFIG_HOME') or f'{home}/.config'}/git/config")
    for path in paths:
        found = f"{home}{path[1:]}" if path.startswith("~/") else path
        refuse_choice_of_others(found, "git", environment)


class Git:
    """Runs git for one store.

    Args:
        environment: for git and its hooks, without secrets; variables that redirect git are
            dropped.
        backend: of the vault.
        prefix: folders between the store's top and the items.
        trusted: the repositories that may be used.
        sleep: takes seconds.
        warn: called with the reason why a repository is not used.
    """

    __slots__ = ("_environment", "_sleep", "backend", "home", "prefix", "trusted", "warn")

    def __init__(
        self,
        environment: Mapping[str, str],
        backend: Backend,
        prefix: Sequence[str] = (),
        *,
        trusted: TrustedRepositories,
        sleep: Callable[[float], None],
        warn: Callable[[str], None],
    ) -> None:
        kept = for_git(environment)
        self._environment = kept
        self.trusted = trusted
        self._sleep = sleep
        self.home = kept.get("HOME", "")
        self.backend = backend
        self.prefix = tuple(prefix)
        self.warn = warn

    def run(self, folder: str, arguments: Sequence[str]) -> programs.Result:
        """Run git unattended and return its result; retry while another git holds a lock.

        Raises ProgramError if it is missing or takes more than 120 seconds, and if its user-wide
        configuration is another user's.
        """
        refuse_others(self._environment)
        # Messages are parsed only to detect a lock and to quote the reason: in English.
        environment = {**self._environment, "LC_ALL": "C.UTF-8"}
        environment.pop("LANGUAGE", None)
        pause = _FIRST_PAUSE
        for attempt in range(_ATTEMPTS):
            if attempt:
                self._sleep(pause)
                pause *= 2
            result = programs.run(
                ["git", "-C", folder, *_FLAGS, *_QUIET, *arguments],
                environment,
                origin="git",
                timeout=_TIMEOUT,
                folder=folder,
                umask=_UMASK,
            )
            if result.status == 0 or not _is_locked(result):
                break
        return result

    def attach(self, folder: str, arguments: Sequence[str]) -> int:
        """Run git at the user's terminal and return its exit status. Raises ProgramError."""
        refuse_others(self._environment)
        return programs.attach(
            ["git", "-C", folder, *_FLAGS, *arguments],
            self._environment,
            origin="git",
            folder=folder,
            umask=_UMASK,
        )


def _is_locked(result: programs.Result) -> bool:
    return any(
        ".lock': File exists" in line or "cannot lock ref 'HEAD'" in line
        for line in result.complaints
    )


def not_committed(result: programs.Result) -> NotCommittedError:
    """Return the error for a git that failed after the files were written."""
    said = _said(result)
    if any("tell me who you are" in line or "empty ident" in line for line in said):
        hint = (
            "filevault git config user.name 'YOUR NAME' and filevault git config user.email "
            f"YOU@EXAMPLE set it; {FINISH}"
        )
    elif any("failed to sign the data" in line for line in said):
        hint = f"the repository signs its commits: see that the key is at hand, unlocked; {FINISH}"
    elif _is_locked(result):
        hint = f"if no other git is at work, delete the lock file that it names; {FINISH}"
    else:
        hint = FINISH
    return NotCommittedError(f"saved, but not committed; git: {reason_of(result)}", hint=hint)


def reason_of(result: programs.Result) -> str:
    """Return why git failed, in its own words if it printed any."""
    said = _said(result)
    reasons = [line for line in said if line.startswith(("fatal:", "error:"))]
    return (
        printable("; ".join(reasons[:1] or said[-3:]), 300)
        or f"exit status {result.status} without a message: a hook may have refused"
    )


def _said(result: programs.Result) -> list[str]:
    return [line for line in result.complaints if line and not line.startswith("hint:")]
