"""The working directory, if it was deleted or cannot be reached: relative paths lead nowhere."""

from __future__ import annotations

import os

from filevault.errors import StorageError


def directory_error(error: BaseException) -> StorageError | None:
    """Return the error for a relative path without a working directory, None for another error."""
    if not isinstance(error, OSError) or error.filename is not None:
        return None
    try:
        os.getcwd()
    except OSError as gone:
        if gone.errno == error.errno:
            return StorageError(
                "a path is relative, and the working directory was deleted or cannot be reached",
                hint="cd to another folder, or give the whole path",
            )
    return None
