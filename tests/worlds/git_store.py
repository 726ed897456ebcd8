"""A store with a git repository, and the real git to examine it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from filevault.backends import BACKENDS
from filevault.git.adoption import find_all
from filevault.git.commit import commit_files
from filevault.git.program import Git
from filevault.git.repository import Repository
from filevault.git.trusted_repositories import TrustedRepositories
from filevault.system.files import Folder
from tests.conditions.tools import tool


class RememberedRepositories:
    """The trusted repositories of a machine, in memory."""

    is_older = False

    def __init__(self) -> None:
        self.places: dict[str, Mapping[str, str]] = {}

    def check(self) -> None:
        """Everything can be remembered."""

    def digests(self, place: str) -> Mapping[str, str] | None:
        return self.places.get(place)

    def remember(self, repositories: Mapping[str, Mapping[str, str]]) -> None:
        self.places.update(repositories)


class GitStore:
    """A store at `path`, in the home of a user whom git knows."""

    def __init__(self, path: Path, suffix: str = ".fv", prefix: tuple[str, ...] = ()) -> None:
        self.path = path
        self.suffix = suffix
        self.prefix = prefix
        self.home = path.parent / "git-home"
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / ".gitconfig").write_text(
            "[user]\nname = Jon\nemail = jon@example.com\n[init]\ndefaultBranch = main\n"
            '[protocol "file"]\nallow = always\n'
        )
        self.environment = {"HOME": str(self.home), "PATH": os.environ["PATH"]}
        self.pauses: list[float] = []
        self.notes: list[str] = []
        self.memory = RememberedRepositories()
        self.everything = True
        path.mkdir(parents=True, exist_ok=True)

    def git(self, *arguments: str, at: Path | None = None, check: bool = True) -> str:
        done = subprocess.run(
            [tool("git"), *arguments],
            cwd=at or self.path,
            env=self.environment,
            capture_output=True,
            text=True,
            errors="surrogateescape",
        )
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout

    def init(self, below: str = "") -> None:
        (self.path / below).mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", at=self.path / below)

    def runner(self, **more: str) -> Git:
        return Git(
            {**self.environment, **more},
            next(each for each in BACKENDS.values() if each.suffix == self.suffix),
            self.prefix,
            trusted=TrustedRepositories(self.memory, everything=self.everything),
            sleep=self.pauses.append,
            warn=self.notes.append,
        )

    def write(self, name: str, data: bytes) -> str:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        return name

    def commit(self, *names: str, subject: str = "a change", **more: str) -> None:
        with Folder.open(str(self.path)) as store:
            commit_files(store, names, subject, self.runner(**more))

    def save(self, name: str, data: bytes) -> None:
        """Write a file and commit it as a vault does."""
        self.commit(self.write(name, data), subject=f"save {name}")

    def adopt(self) -> None:
        """Use the store's repositories as they are from now on, and no others."""
        self.everything = False
        with Folder.open(str(self.path)) as store:
            runner = self.runner()
            found = find_all(store, runner)
            runner.trusted.add_shown({each.repository.relative_path: each.parts for each in found})

    def find(self, *parts: str) -> str | None:
        with Folder.open(str(self.path)) as store:
            found = Repository.find(store, parts, self.runner())
        return None if found is None else found.path

    def history(self, at: Path | None = None) -> list[str]:
        """Subjects, newest first; empty without any commit."""
        return self.git("log", "--format=%s", at=at, check=False).splitlines()

    def head(self, name: str, at: Path | None = None) -> bytes:
        """The bytes of a file in the last commit."""
        done = subprocess.run(
            ["git", "cat-file", "blob", f"HEAD:{name}"],
            cwd=at or self.path,
            env=self.environment,
            capture_output=True,
            check=True,
        )
        return done.stdout

    def status(self) -> str:
        return self.git("status", "--porcelain", "--untracked-files=all")
