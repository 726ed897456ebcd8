"""Owner, group, ACL and mode of written files: kept from the old file or taken from the folder.

Everything is set by descriptor, on a temporary file that no other process opens. At no time does
the file grant more than it grants in the end (`docs/format.md` §2).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct

from filevault.system.record import Record

PRIVATE = 0o600
_KEPT = 0o775  # neither setuid, setgid, sticky, nor write permission for others
_ACL = "system.posix_acl_access"
_NO_ACL = (errno.ENODATA, errno.ENOTSUP, errno.ENOSYS)
_OTHER, _WRITE = 0x20, 0x02  # linux/posix_acl.h
_ENTRY = struct.Struct("<HHI")  # tag, permissions, id; linux/posix_acl_xattr.h
_VERSION_SIZE = 4
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Permissions(Record):
    """The permissions of a file; `acl` is its POSIX ACL as the kernel stores it.

    `acl` is b"" if there is none, and None if it could not be read.
    """

    uid: int
    gid: int
    mode: int
    acl: bytes | None

    @property
    def private(self) -> bool:
        """Whether only the owner has access; the group's mode bits are the ACL's mask."""
        return not self.mode & 0o077


def read(name: str, dir_fd: int) -> Permissions | None:
    """Return the permissions of a regular file that is to be replaced, None if there is none."""
    try:
        info = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except OSError:
        return None
    if not stat.S_ISREG(info.st_mode):
        return None
    mode = stat.S_IMODE(info.st_mode) & _KEPT
    return Permissions(info.st_uid, info.st_gid, mode, _read_acl(name, dir_fd))


def _read_acl(name: str, dir_fd: int) -> bytes | None:
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(name, flags, dir_fd=dir_fd)
    except OSError:
        return None
    try:
        return _without_other_write(os.getxattr(fd, _ACL))
    except OSError as error:
        return b"" if error.errno in _NO_ACL else None
    finally:
        os.close(fd)


def _without_other_write(acl: bytes) -> bytes:
    entries = [acl[:_VERSION_SIZE]]
    for tag, granted, who in _ENTRY.iter_unpack(acl[_VERSION_SIZE:]):
        entries.append(_ENTRY.pack(tag, granted & ~_WRITE if tag == _OTHER else granted, who))
    return b"".join(entries)


def keep(fd: int, before: Permissions) -> bool:
    """Set the group, then the ACL, then the mode of a new file to those of the old one.

    Returns False if group or ACL cannot be set and another user loses access: the file then has
    mode 0600. Raises OSError if not even the mode can be set.
    """
    try:
        if os.fstat(fd).st_gid != before.gid:
            os.fchown(fd, -1, before.gid)
            if os.fstat(fd).st_gid != before.gid:  # some file systems ignore it
                raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        if before.acl is None:
            raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))
        if before.acl:
            os.setxattr(fd, _ACL, before.acl)
        else:
            _remove_inherited_acl(fd)
    except OSError:
        os.fchmod(fd, PRIVATE)
        return before.private
    os.fchmod(fd, before.mode)
    return True


def _remove_inherited_acl(fd: int) -> None:
    """Remove the ACL that the folder's default ACL gave a new file, before its mode is set."""
    try:
        os.removexattr(fd, _ACL)
    except OSError as error:
        if error.errno not in _NO_ACL:
            raise


def follow_folder(fd: int, folder_fd: int, before: Permissions | None) -> None:
    """Set the owner of a file that root writes to the owner of its folder, as far as possible.

    In a folder of root, a replaced file keeps its owner. A new file also gets the
    folder's group, as it would in a setgid folder.
    """
    folder = os.fstat(folder_fd)
    root = os.geteuid() == 0
    uid, gid = -1, -1
    if root:
        uid = folder.st_uid or (before.uid if before is not None else 0)
    if before is None and (folder.st_mode & stat.S_ISGID or (root and folder.st_uid)):
        gid = folder.st_gid
    info = os.fstat(fd)
    for user, group in ((-1, gid if gid != info.st_gid else -1), (uid, -1)):
        if group != -1 or user not in (-1, info.st_uid):
            with contextlib.suppress(OSError):
                os.fchown(fd, user, group)


def give_folder(name: str, dir_fd: int) -> None:
    """Give a folder that root has just created the owner and group of its parent, if possible."""
    if os.geteuid() != 0:
        return
    with contextlib.suppress(OSError):
        parent = os.fstat(dir_fd)
        if parent.st_uid == 0:
            return
        fd = os.open(name, _FOLDER, dir_fd=dir_fd)
        try:
            # The parent's owner may have put another folder of root in its place.
            if os.fstat(fd).st_uid == 0 and not os.listdir(fd):
                os.fchown(fd, parent.st_uid, parent.st_gid)
        finally:
            os.close(fd)
