"""What a repository could make git run, as digests: hooks, configuration, and where they lie.

Nothing is run to find out, so this is safe for a repository that somebody planted.
"""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING

from filevault.digest import sha256_hex
from filevault.git.config import WHOLE, counted, hook_folders, included
from filevault.git.folder import RefusedError
from filevault.printable import printable
from filevault.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterator

_FILES_LIMIT = 2000
_BYTES_LIMIT = 32 << 20
_INCLUDE_DEPTH = 10  # as git's own
_SAMPLE = ".sample"  # git's templates put these beside the hooks and never run them
# Remotes as old versions of git keep them: each file may name a path to push to.
_REMOTE_FOLDERS = ("remotes", "branches")
_TODO = "rebase-merge/git-rebase-todo"
FOLDER_PART = "git folder"
"""The part that every repository has; a plain one has no other."""
_WORDS = re.compile(r"[^\s\"'=;|&()<>!`$,:]+")


class Part(Value):
    """Something that counts: the digest of its content, and its content as shown to a person."""

    digest: str
    shown: str


def fingerprint(own: str, common: str, top: str, home: str) -> dict[str, Part]:
    """Return everything of a repository that can name a program or lead to one, by name.

    Args:
        own: its git folder.
        common: the git folder that it shares with other work trees, mostly `own`.
        top: its work tree.
        home: what `~/` stands for.

    Raises:
        RefusedError: if that is more than 2000 files or 32 MiB, or cannot be read.
    """
    try:
        return _Survey(own, common, top, home).take()
    except OSError as error:
        path, reason = printable(str(error.filename)), (error.strerror or "unknown reason").lower()
        raise RefusedError(f"{path!r} cannot be read: {reason}") from error


class _Survey:
    def __init__(self, own: str, common: str, top: str, home: str) -> None:
        self._own = own
        self._common = common
        self._top = top
        self._home = home
        self._parts: dict[str, Part] = {}
        self._files = 0
        self._bytes = 0
        self._seen: set[str] = set()
        self._hook_folders: list[str] = []

    def take(self) -> dict[str, Part]:
        self._put(FOLDER_PART, os.fsencode(self._own), self._own)
        if self._common != self._own:
            self._put("commondir", os.fsencode(self._common), self._common)
        self._git_folder(self._common, "")
        if self._common != self._own:
            self._config(f"{self._own}/config.worktree", "config.worktree: ", 0)
        for folder in dict.fromkeys(self._hook_folders):
            self._hooks(folder, f"hook {folder}/")
        self._exec_lines()
        # `git submodule` and `git worktree` go into these.
        for kind in ("modules", "worktrees"):
            for folder in _git_folders_below(f"{self._common}/{kind}"):
                self._git_folder(folder, f"{os.path.relpath(folder, self._common)}: ")
        return self._parts

    def _git_folder(self, folder: str, prefix: str) -> None:
        self._config(f"{folder}/config", prefix, 0)
        self._config(f"{folder}/config.worktree", f"{prefix}config.worktree: ", 0)
        self._hooks(f"{folder}/hooks", f"{prefix}hook ")
        for name in _REMOTE_FOLDERS:
            self._hooks(f"{folder}/{name}", f"{prefix}{name}/")
        commondir = self._read(f"{folder}/commondir")
        if commondir is not None and folder != self._own:
            self._put(f"{prefix}commondir", commondir, commondir.decode("utf-8", "replace"))

    def _put(self, name: str, data: bytes, shown: str) -> None:
        self._parts[printable(name)] = Part(sha256_hex(data), shown)

    def _read(self, path: str) -> bytes | None:
        """Return the bytes of a regular file, None if there is none; links are followed."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        with open(fd, "rb", closefd=True) as file:
            info = os.fstat(fd)
            if not stat.S_ISREG(info.st_mode):
                return None
            self._files += 1
            data = file.read(_BYTES_LIMIT - self._bytes + 1)
        self._bytes += len(data)
        if self._bytes > _BYTES_LIMIT or self._files > _FILES_LIMIT:
            raise RefusedError("its hooks and configuration are too large to be remembered")
        return data

    def _config(self, path: str, prefix: str, depth: int) -> None:
        """Take in a configuration file and what it includes."""
        data = self._read(path)
        if data is None or path in self._seen:
            return
        self._seen.add(path)
        for key, value in counted(data).items():
            if key == WHOLE:
                self._put(f"{prefix}the whole configuration", data, f"{path}, all of it")
                self._named_files(value)
                continue
            self._put(f"{prefix}{key}", os.fsencode(value), value)
            self._named_files(value)
        for folder in hook_folders(data):
            self._hook_folders.append(os.path.join(self._top, self._expanded(folder)))
        if depth < _INCLUDE_DEPTH:
            for target in included(data):
                further = os.path.join(os.path.dirname(path), self._expanded(target))
                self._config(further, f"{further}: ", depth + 1)

    def _expanded(self, path: str) -> str:
        return self._home + path[1:] if path.startswith("~/") else os.path.expanduser(path)

    def _named_files(self, value: str) -> None:
        """Take in the files of the work tree and the git folder that a value names.

        Whoever can write there can change such a program without changing the setting.
        """
        for word in _WORDS.findall(value):
            if "/" not in word:
                continue  # looked for on PATH
            path = os.path.realpath(os.path.join(self._top, self._expanded(word)))
            if path.startswith((f"{self._top}/", f"{self._common}/")) and os.path.isfile(path):
                data = self._read(path)
                if data is not None:
                    self._put(f"file {path}", data, _summary(data))

    def _hooks(self, folder: str, prefix: str) -> None:
        """Take in the files of a folder; of one that holds the work tree only those at its top."""
        real = os.path.realpath(folder)
        flat = f"{self._top}/".startswith(f"{real}/")
        for path in _files_below(real, flat=flat):
            name = os.path.relpath(path, real)
            if name.endswith(_SAMPLE) or (flat and "." in name):
                continue
            data = self._read(path)
            if data is None:
                link = os.readlink(path) if os.path.islink(path) else "no regular file"
                self._put(f"{prefix}{name}", b"link " + os.fsencode(link), link)
                continue
            runs = os.access(path, os.X_OK)
            mark = b"executable\n" if runs else b"\n"
            shown = _summary(data) if runs else f"{_summary(data)}, not executable"
            self._put(f"{prefix}{name}", mark + data, shown)

    def _exec_lines(self) -> None:
        """Take in the commands that a rebase in progress would run."""
        data = self._read(f"{self._own}/{_TODO}")
        lines = [
            line.strip()
            for line in (data or b"").split(b"\n")
            if re.match(rb"[ \t]*(x|exec)[ \t]", line)
        ]
        if lines:
            text = b"\n".join(lines)
            self._put("commands of the rebase", text, text.decode("utf-8", "replace"))


def _files_below(folder: str, *, flat: bool) -> Iterator[str]:
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(each for each in folders if each != ".git" and not flat)
        for name in sorted(files):
            yield f"{here}/{name}"
        for name in folders:
            if os.path.islink(f"{here}/{name}"):
                yield f"{here}/{name}"


def _git_folders_below(folder: str) -> Iterator[str]:
    """Yield the git folders below one that holds such; a submodule's may have further ones."""
    for here, folders, files in os.walk(folder):
        folders.sort()
        if "HEAD" in files:
            folders[:] = [name for name in folders if name == "modules"]
            yield here


def _summary(data: bytes) -> str:
    return f"{len(data)} bytes, SHA-256 {sha256_hex(data)[:16]}..."
