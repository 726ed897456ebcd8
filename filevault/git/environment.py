"""The environment for git, without variables that point it to another repository or program.

The names are those of `git(1)`, "Environment variables", `git rev-parse --local-env-vars`, and of
git's own scripts.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

DROPPED = frozenset(
    {
        # Another repository, index, work tree or history.
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_DIR",
        "GIT_GRAFT_FILE",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_INDEX_VERSION",
        "GIT_INTERNAL_SUPER_PREFIX",
        "GIT_NAMESPACE",
        "GIT_NO_REPLACE_OBJECTS",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_QUARANTINE_PATH",
        "GIT_REFERENCE_BACKEND",
        "GIT_REPLACE_REF_BASE",
        "GIT_SHALLOW_FILE",
        "GIT_WORK_TREE",
        # Other settings or attributes.
        "GIT_ATTR_SOURCE",
        "GIT_CONFIG",
        "GIT_CONFIG_COUNT",
        "GIT_CONFIG_PARAMETERS",
        # Programs, and the folder of hooks for new repositories.
        "GIT_EDITOR",
        "GIT_EXEC_PATH",
        "GIT_EXTERNAL_DIFF",
        "GIT_PAGER",
        "GIT_SEQUENCE_EDITOR",
        "GIT_TEMPLATE_DIR",
        # Another meaning of the paths that git is given.
        "GIT_GLOB_PATHSPECS",
        "GIT_ICASE_PATHSPECS",
        "GIT_LITERAL_PATHSPECS",
        "GIT_NOGLOB_PATHSPECS",
    }
)
"""The variables dropped from git's environment, besides those with `DROPPED_PREFIXES`."""
DROPPED_PREFIXES = ("GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_")
FILES = frozenset({"GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"})
"""The variables dropped if they name a file by a relative path."""
COMMANDS = frozenset(
    {"GIT_ASKPASS", "GIT_PROXY_COMMAND", "GIT_SSH", "GIT_SSH_COMMAND", "SSH_ASKPASS"}
)
"""The variables dropped if they name a program by a relative path."""


def for_git(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that git and its hooks get.

    git runs inside the store, so relative paths would lead there: relative entries of PATH are
    dropped, and so are variables that name a file or program by a relative path.
    """
    kept = {name: value for name, value in environment.items() if _is_kept(name, value)}
    if "PATH" in kept:
        entries = kept["PATH"].split(os.pathsep)
        kept["PATH"] = os.pathsep.join(entry for entry in entries if entry.startswith("/"))
    return kept


def _is_kept(name: str, value: str) -> bool:
    if name in DROPPED or name.startswith(DROPPED_PREFIXES):
        return False
    if name in FILES:
        return value == "" or value.startswith(("/", "~/"))
    if name in COMMANDS:
        program = value.split(maxsplit=1)[0] if value.strip() else ""
        return "/" not in program or program.startswith(("/", "~/"))
    return True
