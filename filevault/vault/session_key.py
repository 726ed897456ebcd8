"""The session key: one small item in the state directory, wrapped by the vault's backend.

It opens temporary credentials only; whoever holds it cannot read a long-term key
(`docs/format.md` §7).
"""

from __future__ import annotations

import binascii
import contextlib
import os
from typing import TYPE_CHECKING

from filevault.backends import ItemHeader
from filevault.backends.keys import new_session_key
from filevault.errors import IntegrityError, LockedError, NewerFormatError
from filevault.times import format_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.backends import Backend
    from filevault.files import Folder

_KIND = "session-key"
_WORD = "filevault-session-key-1"
_LIMIT = 1 << 20
_LOCK = ".lock"


def load_session_key(
    state: Folder, state_id: str, backend: Backend, clock: Callable[[], float]
) -> bytes:
    """Return the 32 bytes of the session key, making a new one where there is none.

    One that the vault as it is now cannot open is renamed aside and replaced: sessions are
    temporary. Being locked out never replaces it.

    Raises:
        LockedError: if the vault cannot be opened.
        NewerFormatError: if a newer filevault wrote it.
        StorageError: if a new one cannot be stored.
    """
    name = _KIND + backend.suffix
    key = read_session_key(state, state_id, backend)
    if key is not None:
        return key
    from filevault.locks import locked

    with locked(state, _LOCK):
        key = read_session_key(state, state_id, backend)  # another process may have made it
        if key is not None:
            return key
        key = new_session_key()
        now = clock()
        header = ItemHeader(_KIND, state_id, int(now), format_time(now))
        sealed = backend.encrypt(header, _line(state_id, key))
        with contextlib.suppress(OSError):
            os.rename(name, f"{name}.{int(now)}.old", src_dir_fd=state.fd, dst_dir_fd=state.fd)
        state.write(name, sealed)
    return key


def reseal_session_key(
    state: Folder,
    state_id: str,
    backend: Backend,
    key: bytes | None,
    clock: Callable[[], float],
) -> None:
    """Write the session key anew; one that cannot be opened here is left as it is.

    Args as `load_session_key`; `key` is what the caller has of it already.
    """
    from filevault.locks import locked

    name = _KIND + backend.suffix
    with locked(state, _LOCK):
        try:
            key = key or read_session_key(state, state_id, backend)
        except LockedError:
            return
        if key is not None and state.is_file(name):
            now = clock()
            header = ItemHeader(_KIND, state_id, int(now), format_time(now))
            state.write(name, backend.encrypt(header, _line(state_id, key)))


def read_session_key(state: Folder, state_id: str, backend: Backend) -> bytes | None:
    """Return the session key, None where there is none that this backend opens.

    Raises LockedError, NewerFormatError, StorageError.
    """
    name = _KIND + backend.suffix
    try:
        data = state.read(name, _LIMIT)
    except FileNotFoundError:
        return None
    try:
        return _parse(backend.decrypt(_KIND, state_id, data), state_id)
    except NewerFormatError:
        raise
    except IntegrityError:
        return None


def _line(state_id: str, key: bytes) -> bytes:
    return f"{_WORD} {state_id} ".encode() + binascii.b2a_base64(key)


def _parse(text: bytes, state_id: str) -> bytes | None:
    words = text.removesuffix(b"\n").split(b" ")
    if len(words) != 3 or words[0] != _WORD.encode() or words[1] != state_id.encode():
        return None
    try:
        key = binascii.a2b_base64(words[2], strict_mode=True)
    except ValueError:
        return None
    return key if len(key) == 32 and _line(state_id, key) == text else None
