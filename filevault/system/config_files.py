"""Configuration files of the user: read and changed only if no other user can write them.

They determine which programs run and which accounts are used. Links are followed, because dotfile
managers use them, and their targets are checked.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from filevault import errors
from filevault.errors import ConfigError, StorageError
from filevault.system.files import Folder, read_all, storage_error
from filevault.system.printable import printable, shell_word
from filevault.system.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from filevault.system.inputs import Inputs

TRUST_VARIABLE = "FILEVAULT_TRUST_WRITERS_OF"
_MAX_LINKS = 40  # as in the kernel


def read_config(
    path: str,
    limit: int = 4 << 20,
    *,
    trusted: Collection[str] = (),
    folder: Folder | None = None,
    inputs: Inputs | None = None,
) -> bytes | None:
    """Return a configuration file's bytes, None if it does not exist.

    It must belong to this user or root, and must not be writable for everyone; a link's target is
    checked.

    Args:
        path: the file.
        limit: bytes that the file may have.
        trusted: absolute paths of files that are not checked, because the user said so.
        folder: the folder of a file that is to be replaced, which must not be a link.
        inputs: notes the file, or that there is none.

    Raises:
        ConfigError: if it is refused, or longer than `limit`.
        StorageError: if it cannot be read.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        if folder is None:
            fd = os.open(path, flags)
        else:
            fd = os.open(os.path.basename(path), flags | os.O_NOFOLLOW, dir_fd=folder.fd)
    except (FileNotFoundError, NotADirectoryError):
        if inputs is not None:
            inputs.absent(path)
        return None
    except OSError as error:
        if inputs is not None:
            inputs.spoil("a configuration file cannot be read")
        raise storage_error(error, "read", path) from error
    try:
        info = os.fstat(fd)
        if stat.S_ISCHR(info.st_mode) and os.path.samestat(info, os.stat(os.devnull)):
            if inputs is not None:
                inputs.seen(path, info)
            return b""
        shown = printable(path)
        if not stat.S_ISREG(info.st_mode):
            raise ConfigError(f"{shown!r} is not a regular file")
        absolute = os.path.abspath if inputs is None else inputs.absolute
        if absolute(path) not in trusted:
            _check_writers(info, path)
        if folder is not None:
            _check_new_owner(info, folder, path)
        data = read_all(fd, limit)
        if len(data) > limit:
            raise ConfigError(f"{shown!r} is longer than {limit} bytes")
        if inputs is not None:
            inputs.read(path, info, os.fstat(fd))
        return data
    except OSError as error:
        raise storage_error(error, "read", path) from error
    finally:
        os.close(fd)


def _check_writers(info: os.stat_result, path: str) -> None:
    """Raise ConfigError if a user other than this one and root may write the file."""
    if info.st_uid in (0, os.geteuid()) and not info.st_mode & stat.S_IWOTH:
        return
    shown, word = printable(path), shell_word(path)
    trust = (
        f"or let those who can write it choose your programs and accounts: {TRUST_VARIABLE}={word}"
    )
    if info.st_uid not in (0, os.geteuid()):
        raise ConfigError(
            f"{shown!r} belongs to user {info.st_uid}, who could choose your programs and accounts",
            hint=f"read it, then take a copy, which is yours: cp {word} {word}.copy && "
            f"mv -f {word}.copy {word}; {trust}",
        )
    raise ConfigError(
        f"{shown!r} is writable for every user",
        hint=f"chmod o-w {word}; {trust}",
    )


def refuse_choice_of_others(path: str, program: str, environment: Mapping[str, str]) -> None:
    """Raise ProgramError if a file that names programs is one that another user may write.

    gpg and git run what their configuration names, whatever its owner is: root, with the `HOME` of
    a user, would run that user's programs. Of a folder only the owner counts. A path that is not
    there, or that is trusted, is fine.
    """
    if is_trusted(path, environment):
        return
    try:
        info = os.stat(path)
    except OSError:
        return
    is_others = info.st_uid not in (0, os.geteuid())
    if not is_others and (stat.S_ISDIR(info.st_mode) or not info.st_mode & stat.S_IWOTH):
        return
    shown, word = printable(path), shell_word(path)
    reason = f"belongs to user {info.st_uid}, who" if is_others else "is writable for all, who"
    raise errors.ProgramError(
        f"{program} is not run: {shown!r} {reason} could choose the programs that it runs",
        hint=(f"run filevault as user {info.st_uid}" if is_others else f"chmod o-w {word}")
        + f"; or let those who can write it choose your programs: {TRUST_VARIABLE}={word}",
    )


def is_trusted(path: str, environment: Mapping[str, str]) -> bool:
    """Return whether `TRUST_VARIABLE` in the environment names a path."""
    home = environment.get("HOME", "")
    named = environment.get(TRUST_VARIABLE, "").split(":")
    trusted = {f"{home}{each[1:]}" if each.startswith("~/") else each for each in named}
    return os.path.abspath(path) in {os.path.abspath(each) for each in trusted if each[:1] == "/"}


def _check_new_owner(info: os.stat_result, folder: Folder, path: str) -> None:
    """Raise ConfigError if a copy made by root would give the file to another user.

    Files that root writes go to the owner of their folder, who may have put another user's file
    there.
    """
    owner = os.fstat(folder.fd).st_uid
    if os.geteuid() == 0 and owner not in (0, info.st_uid):
        raise ConfigError(
            f"{printable(path)!r} belongs to user {info.st_uid}, and would go to user {owner}, who "
            "owns the folder, if it were written now",
            hint=f"if that user may have what is in it: chown {owner} {shell_word(path)}",
        )


def _check_path_owners(path: str, folder: Folder) -> None:
    """Raise ConfigError if root would follow another user's link out of that user's folders.

    The owner of a link or folder in a path determines where the rest of the path leads.
    """
    if os.geteuid() != 0:
        return
    owner = os.fstat(folder.fd).st_uid
    others = sorted(_path_owners(path) - {0, owner})
    if others:
        raise ConfigError(
            f"{printable(path)!r} leads to {printable(folder.path)!r}, which belongs to user "
            f"{owner}, through a link or folder of user {others[0]}",
            hint=f"run filevault as user {others[0]}, or with a HOME of your own",
        )


def check_source_owner(info: os.stat_result, path: str) -> None:
    """Raise ConfigError if root reads, for a vault, what a path of other users leads to.

    `info` is that of the open file. The owner of a link or folder in the path chose the file, and
    may be able to open the vault: root must not give that user the keys of a third.
    """
    if os.geteuid() != 0:
        return
    users = _path_owners(path) - {0}
    if users and info.st_uid not in users:
        raise ConfigError(
            f"{printable(path)!r} is a file of user {info.st_uid}, to which a link or folder of "
            f"user {min(users)} leads",
            hint="run filevault as the user whose keys they are, or name the file itself",
        )


def _path_owners(path: str) -> set[int]:
    """Return the owners of the folders and links that a path goes through, as far as it exists."""
    found = set()
    at, links = "/", 0
    left = os.path.abspath(path).split("/")[::-1]
    with contextlib.suppress(OSError):
        while left and links < _MAX_LINKS:
            part = left.pop()
            step = os.path.normpath(f"{at}/{part}")
            info = os.lstat(step)
            if stat.S_ISLNK(info.st_mode):
                target = os.readlink(step)
                left += target.split("/")[::-1]
                links += 1
                at = "/" if target.startswith("/") else at
            elif stat.S_ISDIR(info.st_mode):
                at = step
            else:
                break
            found.add(info.st_uid)
    return found


class EditRules(Record):
    """How a run may edit configuration files.

    `home` is the home directory, which is never created; None if unknown. `warn` is called with a
    message if group or ACL of a file cannot be kept. `trusted` are paths, as for `read_config`.
    """

    home: str | None
    warn: Callable[[str], None] | None = None
    trusted: Collection[str] = ()


def edit_config(
    path: str, edit: Callable[[bytes], bytes | None], rules: EditRules, limit: int = 4 << 20
) -> None:
    """Change a configuration file, atomically and under a lock.

    A link stays a link and its target is changed; group, ACL and mode stay. A missing file counts
    as empty and is created with mode 0600, a missing folder with 0700. If the file system cannot
    lock directories, there is no lock. Root follows no user's link out of that user's folders,
    and gives no file to a user who does not own it.

    Args:
        path: the file.
        edit: returns the new bytes for the old ones, None to delete the file.
        rules: those of the run.
        limit: bytes that the file may have.

    Raises:
        ConfigError: as `read_config`, and what `edit` raises.
        StorageError: if it cannot be written or is write-protected by its mode.
    """
    from filevault.system.locks import locked

    target = os.path.realpath(path)
    with (
        Folder.make(os.path.dirname(target), rules.home, rules.warn) as folder,
        contextlib.ExitStack() as stack,
    ):
        with contextlib.suppress(errors.NoLocksError):
            stack.enter_context(locked(folder))
        _check_path_owners(path, folder)
        name = os.path.basename(target)
        try:
            info = os.stat(name, dir_fd=folder.fd, follow_symlinks=False)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise storage_error(error, "write", target) from error
        else:
            if not stat.S_ISREG(info.st_mode):
                raise ConfigError(f"{printable(path)!r} is not a regular file")
            _refuse_protected(info, target)
        # The user trusts a path, and with it the target of a link there.
        trusted = (target,) if os.path.abspath(path) in rules.trusted else ()
        old = read_config(target, limit, trusted=trusted, folder=folder)
        new = edit(old or b"")
        if new is None:
            folder.remove(name)
        elif new != old:
            folder.write(name, new, keep=name)


def check_writable(path: str, home: str | None = None) -> None:
    """Fail early: raise StorageError unless a file could be written at `path`.

    `home` is the home directory, which is never created.
    """
    from filevault.system.new_folders import refuse_home

    target = os.path.realpath(path)
    with contextlib.suppress(OSError):
        _refuse_protected(os.stat(target), target)
    folder = os.path.dirname(target)
    while not os.path.exists(folder):
        refuse_home(folder, home)
        folder = os.path.dirname(folder)
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        code = errno.EROFS if _is_read_only(folder) else errno.EACCES
        raise storage_error(OSError(code, os.strerror(code)), "write", target)


def _refuse_protected(info: os.stat_result, path: str) -> None:
    # Replacing a file needs no permission on the file itself, but its mode shows the intent.
    if stat.S_ISREG(info.st_mode) and not info.st_mode & stat.S_IWUSR:
        shown = printable(path)
        raise StorageError(
            f"{shown!r} is write-protected by its mode", hint=f"chmod u+w {shell_word(path)}"
        )


def _is_read_only(path: str) -> bool:
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False
