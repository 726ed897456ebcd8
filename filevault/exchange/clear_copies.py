"""Take keys out of the files where they are in the clear, and look for copies that stay."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from filevault.errors import ConfigError
from filevault.exchange.found_keys import FileFormat
from filevault.system.config_files import edit_config
from filevault.system.files import read_all
from filevault.system.printable import printable
from filevault.system.record import Record
from filevault.system.temporary_files import is_temporary_name

if TYPE_CHECKING:
    from collections.abc import Collection

    from filevault.credentials import AccessKey
    from filevault.exchange.found_keys import Entry
    from filevault.system.config_files import EditRules

MAX_FILE = 4 << 20
_MAX_NEIGHBOURS = 1000
# Where the AWS CLI and awsume keep sessions, sign-ins and answers of AWS in the clear.
_CACHES = (
    ".aws/cli/cache",
    ".aws/cli/history",
    ".aws/sso/cache",
    ".aws/login/cache",
    ".awsume/cache",
)


class ClearFile(Record):
    """A file with keys in the clear; `origin` says where from for messages."""

    path: str
    file_format: FileFormat


def decode(data: bytes, path: str) -> str:
    """Return the text of a file, without the byte order mark that the console writes.

    Raises ConfigError for a file that is too long, empty or not UTF-8.
    """
    shown = printable(path)
    if len(data) > MAX_FILE:
        raise ConfigError(f"{shown!r} is longer than {MAX_FILE} bytes")
    try:
        return data.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError:
        wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
        raise ConfigError(
            f"{shown!r} is {'UTF-16' if wide else 'not UTF-8'}", hint="save it as UTF-8"
        ) from None


def take_out(file: ClearFile, entries: Collection[Entry], rules: EditRules) -> None:
    """Take entries out of a file: every other byte stays; a file without more is deleted.

    It is replaced atomically and no backup is kept; of a link the target is changed. Raises
    ConfigError, UsageError, StorageError; the file is then as it was.
    """

    def edit(data: bytes) -> bytes | None:
        text = decode(data, file.path)
        mark = data[: len(data) - len(text.encode("utf-8"))]
        after = file.file_format.without(text, file.path, entries)
        return mark + after.encode("utf-8") if after else None

    path = os.path.abspath(file.path)
    target = os.path.realpath(path)
    # Others may be able to write the file: its owner has asked for the removal of the keys.
    edit_config(path, edit, rules._replace(trusted=[path]), MAX_FILE)
    if os.path.islink(path) and not os.path.exists(path):
        with contextlib.suppress(OSError):
            os.unlink(path)
    _delete_leftovers(target, [key for _, key in entries])


def _delete_leftovers(path: str, keys: Collection[AccessKey]) -> None:
    """Delete temporary files of an edit that was killed, if they have a secret of these keys."""
    for copy in other_copies(path, keys):
        if is_temporary_name(os.path.basename(copy)):
            with contextlib.suppress(OSError):
                os.unlink(copy)


def other_copies(path: str, keys: Collection[AccessKey]) -> list[str]:
    """Return the files in the folder of a file that still contain the secret of a key.

    Such are backups of editors. Links and large files are not read.
    """
    secrets = [key.secret_access_key.encode() for key in keys]
    found = []
    folder = os.path.dirname(os.path.realpath(path))
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(folder))[:_MAX_NEIGHBOURS]:
            data = _small_file(os.path.join(folder, name))
            if any(secret in data for secret in secrets):
                found.append(os.path.join(folder, name))
    return found


def _small_file(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode) or info.st_size > MAX_FILE:
            return b""
        return read_all(fd, MAX_FILE)
    except OSError:
        return b""
    finally:
        os.close(fd)


def clear_caches(home: str | None) -> list[str]:
    """Return the folders of other programs that have files with sessions in the clear."""
    found = []
    for path in _CACHES if home is not None else ():
        with contextlib.suppress(OSError):
            if os.listdir(f"{home}/{path}"):
                found.append(f"{home}/{path}")
    return found


def repository_of(path: str) -> str | None:
    """Return the folder of the git repository that a file lies in, None if there is none."""
    folder = os.path.dirname(os.path.realpath(path))
    while folder != "/":
        if os.path.lexists(f"{folder}/.git"):
            return folder
        folder = os.path.dirname(folder)
    return None
