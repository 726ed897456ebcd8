"""TokenFiles: a file for each token of a server, as long as it serves."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from typing import TYPE_CHECKING

from filevault.errors import BusyError, StorageError, UsageError
from filevault.system.files import Folder, storage_error
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filevault.config.settings import Settings

_LONGEST = 4096  # bytes of a file that is read
_LONGEST_NAME = 255  # bytes; NAME_MAX of limits.h
_REPLACEABLE = rb"[A-Za-z0-9_-]{43}|"
"""A token that an earlier server has left, or nothing."""
_OPEN = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class TokenFiles:
    """Writes and deletes the files; SDKs find them by AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE.

    As long as they are used they have a flock, so that no other server replaces them.

    Args:
        paths: of the files, absolute.
        home: the home directory, which is never created.
    """

    def __init__(self, paths: Sequence[str], home: str | None) -> None:
        self.paths = paths
        self._home = home
        self._written: list[tuple[str, bytes]] = []
        self._flocks: list[int] = []

    def check(self) -> None:
        """Make the folders, before any question.

        Raises StorageError, also for a file that is there and has something else than a token,
        and BusyError for that of a server that is running.
        """
        for path in self.paths:
            folder, name = os.path.split(path)
            with Folder.make(folder, self._home) as opened:
                if not os.access(folder, os.W_OK | os.X_OK):
                    raise StorageError(f"cannot write a token to {printable(folder)!r}")
                opened.refuse_other(name)
                with contextlib.suppress(FileNotFoundError):
                    if re.fullmatch(_REPLACEABLE, opened.read(name, _LONGEST)) is None:
                        raise StorageError(
                            f"{printable(path)!r} is not the file of a token, and is not "
                            "overwritten",
                            hint="give another path, or delete the file",
                        )
                    os.close(_own_flock(opened, name))

    def write(self, tokens: Sequence[str]) -> None:
        """Write a token to each file: mode 0600, and without a line end, which SDKs refuse.

        Raises StorageError, and BusyError for the token of a server that has started since
        `check`: a person may have signed in for this one meanwhile.
        """
        for path, token in zip(self.paths, tokens, strict=True):
            folder, name = os.path.split(path)
            with Folder.open(folder) as opened, contextlib.ExitStack() as until_replaced:
                with contextlib.suppress(FileNotFoundError):
                    until_replaced.callback(os.close, _own_flock(opened, name))
                opened.write(name, token.encode("ascii"), sweep=False)
                with contextlib.suppress(FileNotFoundError):
                    fd = _flock(opened, name)
                    if fd is not None:
                        self._flocks.append(fd)
            self._written.append((path, token.encode("ascii")))

    def remove(self) -> None:
        """Delete the files that have not been replaced since."""
        for path, token in self._written:
            with contextlib.suppress(OSError, StorageError):
                folder, name = os.path.split(path)
                with Folder.open(folder) as opened:
                    if opened.read(name, _LONGEST) == token:
                        opened.remove(name)
        for fd in self._flocks:
            os.close(fd)
        self._flocks.clear()


def _own_flock(folder: Folder, name: str) -> int:
    """Lock a file as `_flock`. Raises BusyError for that of a server that is running."""
    fd = _flock(folder, name)
    if fd is None:
        raise BusyError(
            f"{printable(folder.join(name))!r} is the token of a server that is running",
            hint="name another file with --token-file, or end that server",
        )
    return fd


def _flock(folder: Folder, name: str) -> int | None:
    """Lock a file with flock(2), and return its descriptor; None if another process has it.

    A file system without such locks is no obstacle. Raises FileNotFoundError and StorageError.
    """
    try:
        fd = os.open(name, _OPEN, dir_fd=folder.fd)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise storage_error(error, "open", folder.join(name)) from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except OSError:
        pass
    return fd


def token_paths(given: Sequence[str], names: Sequence[str], settings: Settings) -> list[str]:
    """Return the paths of the token files of profiles.

    Those that are given, else `PROFILE.token` in the service's own folder or the user's. Raises
    UsageError if there are not as many as profiles, or no folder.
    """
    if given:
        if len(given) != len(names):
            raise UsageError(
                f"there are {len(names)} profiles and {len(given)} token files",
                hint="give --token-file once for each profile, in the same order",
            )
        found = [os.path.abspath(settings.expand(path)) for path in given]
        if len(set(found)) != len(found):
            raise UsageError(
                "two profiles have the same token file", hint="give each profile a file of its own"
            )
        return found
    from urllib.parse import quote

    folder = settings.get("RUNTIME_DIRECTORY")
    if folder is None:
        runtime = settings.get("XDG_RUNTIME_DIR")
        folder = None if runtime is None else f"{runtime}/filevault"
    if folder is None or not folder.startswith("/"):
        raise UsageError(
            "there is no folder for the token: XDG_RUNTIME_DIR is not set",
            hint="name the file with --token-file",
        )
    files = [f"{quote(name, safe='')}.token" for name in names]
    for name, file in zip(names, files, strict=True):
        if len(file) > _LONGEST_NAME:
            raise UsageError(
                f"profile {printable(name, 80)!r}: no file can have the name of its token, which "
                f"has {len(file)} bytes",
                hint="name the file with --token-file",
            )
    # systemd separates several folders by colons.
    return [f"{folder.partition(':')[0]}/{file}" for file in files]
