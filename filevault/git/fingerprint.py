"""The fingerprint of a repository: digests of hooks, configuration and links git could use.

Nothing is run to compute it, so it is safe for a repository that an attacker planted.
"""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING

from filevault.git.dangerous_settings import WHOLE, counted, hook_folders, included, plain_settings
from filevault.git.folder import RefusedError
from filevault.system.digest import sha256_hex
from filevault.system.printable import printable
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

_FILES_LIMIT = 2000
_BYTES_LIMIT = 32 << 20
_INCLUDE_DEPTH = 10  # as git's own
_SAMPLE = ".sample"  # git's templates put these beside the hooks and never run them
# Remotes in the form of old versions of git: each file may name a path to push to.
_REMOTE_FOLDERS = ("remotes", "branches")
_TODO = "rebase-merge/git-rebase-todo"
# Each may name a merge strategy; if the name has a `/`, git looks for its program in the work tree.
_STRATEGY = "rebase-merge/strategy"
_SEQUENCER = "sequencer/opts"
_STRATEGIES = frozenset({"octopus", "ort", "ours", "recursive", "resolve", "subtree"})
# Subfolders that `_links` skips: their links are added elsewhere.
_SEPARATE = ("hooks", "modules", "worktrees")
FOLDER_PART = "git folder"
"""The part that every repository has; a plain repository has no other."""
_WORDS = re.compile(r"[^\s\"'=;|&()<>!`$,:]+")


class Part(Record):
    """One part of a fingerprint: the digest of its content, and the content to show to a person."""

    digest: str
    shown: str


def fingerprint(own: str, common: str, top: str, home: str) -> dict[str, Part]:
    """Return the parts of a repository that can name a program or lead outside, by name.

    Args:
        own: its git folder.
        common: the git folder that it shares with other work trees, mostly `own`.
        top: its work tree.
        home: the folder for `~/`.

    Raises:
        RefusedError: if there are more than 2000 files or 32 MiB, or one cannot be read.
    """
    try:
        return _Collector(own, common, top, home).collect()
    except OSError as error:
        path, reason = printable(str(error.filename)), (error.strerror or "unknown reason").lower()
        raise RefusedError(f"{path!r} cannot be read: {reason}") from error


class _Collector:
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

    def collect(self) -> dict[str, Part]:
        self._put(FOLDER_PART, os.fsencode(self._own), self._own)
        if self._common != self._own:
            self._put("commondir", os.fsencode(self._common), self._common)
        self._git_folder(self._common, "")
        if self._common != self._own:
            self._config(f"{self._own}/config.worktree", "config.worktree: ", 0)
        for folder in dict.fromkeys(self._hook_folders):
            self._hooks(folder, f"hook {folder}/")
        self._exec_lines()
        self._strategies()
        # `git submodule` and `git worktree` go into these.
        for name in ("modules", "worktrees"):
            self._git_folders_below(f"{self._common}/{name}")
        if not f"{self._own}/".startswith(f"{self._common}/"):
            self._links(self._own, "own folder: ")
        return self._parts

    def _git_folders_below(self, top: str) -> None:
        """Add the git folders below a folder; a submodule's may contain others."""
        for here, folders, files in os.walk(top):
            folders.sort()
            for name in sorted((*folders, *files)):
                self._link(f"{here}/{name}", "")
            if "HEAD" in files:
                folders[:] = [name for name in folders if name == "modules"]
                self._git_folder(here, f"{os.path.relpath(here, self._common)}: ")

    def _git_folder(self, folder: str, prefix: str) -> None:
        self._config(f"{folder}/config", prefix, 0)
        self._config(f"{folder}/config.worktree", f"{prefix}config.worktree: ", 0)
        self._hooks(f"{folder}/hooks", f"{prefix}hook ")
        for name in _REMOTE_FOLDERS:
            self._hooks(f"{folder}/{name}", f"{prefix}{name}/")
        commondir = self._read(f"{folder}/commondir")
        if commondir is not None and folder != self._own:
            self._put(f"{prefix}commondir", commondir, commondir.decode("utf-8", "replace"))
        self._links(folder, prefix)

    def _links(self, top: str, prefix: str) -> None:
        """Add the links in a git folder: git writes through them, wherever they lead.

        Through one, a commit could add a line to any file of the user, or end up in
        another repository. The folders of loose objects are left out: git only reads them.
        """
        for here, folders, files in os.walk(top):
            for name in sorted((*folders, *files)):
                if here != top or name != "hooks":
                    self._link(f"{here}/{name}", prefix)
            if here == top:
                folders[:] = [name for name in folders if name not in _SEPARATE]
            elif here == f"{top}/objects":
                folders[:] = [name for name in folders if name in ("info", "pack")]

    def _link(self, path: str, prefix: str) -> None:
        if os.path.islink(path):
            target = os.readlink(path)
            name = os.path.relpath(path, self._common)
            self._put(f"{prefix}link {name}", os.fsencode(target), target)

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
        """Add a configuration file and the files it includes."""
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
        """Add the files of the work tree and the git folder that a value names.

        Such a program can be changed without changing the setting.
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
        """Add the hooks, or the remotes, in a folder.

        If the folder contains the work tree, its subfolders are left out.
        """
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
        """Add the commands that a rebase in progress would run."""
        data = self._read(f"{self._own}/{_TODO}")
        lines = [
            line.strip()
            for line in (data or b"").split(b"\n")
            if re.match(rb"[ \t]*(x|exec)[ \t]", line)
        ]
        if lines:
            text = b"\n".join(lines)
            self._put("commands of the rebase", text, text.decode("utf-8", "replace"))

    def _strategies(self) -> None:
        """Add the merge strategy of an operation in progress, unless it is built into git."""
        data = self._read(f"{self._own}/{_STRATEGY}")
        if data is not None and data.decode("utf-8", "replace").strip() not in _STRATEGIES:
            self._put("strategy of the rebase", data, data.decode("utf-8", "replace"))
        data = self._read(f"{self._own}/{_SEQUENCER}")
        if data is None:
            return
        settings = plain_settings(data)
        if settings is None or any(
            each.name == "strategy" and each.value not in _STRATEGIES for each in settings
        ):
            self._put("options of the cherry-pick", data, data.decode("utf-8", "replace"))


def _files_below(folder: str, *, flat: bool) -> Iterator[str]:
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(each for each in folders if each != ".git" and not flat)
        for name in sorted(files):
            yield f"{here}/{name}"
        for name in folders:
            if os.path.islink(f"{here}/{name}"):
                yield f"{here}/{name}"


def _summary(data: bytes) -> str:
    return f"{len(data)} bytes, SHA-256 {sha256_hex(data)[:16]}..."
