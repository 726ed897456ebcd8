"""The session key: one small item in the state directory, encrypted by the vault's backend.

It opens temporary credentials only, never a long-term key (`docs/format.md` §7).
"""

from __future__ import annotations

import binascii
import contextlib
import os

from filevault import errors
from filevault.backends.item_header import ItemHeader
from filevault.backends.sealing.key_schedule import new_session_key
from filevault.errors import (
    BackendError,
    IntegrityError,
    LockedError,
    NewerFormatError,
    StorageError,
)
from filevault.system.digest import sha256_hex
from filevault.system.times import format_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.backends.protocols import OpenBackend
    from filevault.system.files import Folder
    from filevault.vault.session_key_cache import SessionKeyCache

_KIND = "session-key"
_WORD = "filevault-session-key-1"
_LIMIT = 1 << 20
_LOCK = ".lock"


class SessionKeyFile:
    """The file with the session key of one vault.

    Args:
        state: the state directory.
        state_id: 32 hex digits that name it.
        backend: of the vault.
        clock: Unix seconds.
        cache: may have the key; called when the key is decrypted or written.
    """

    def __init__(
        self,
        state: Folder,
        state_id: str,
        backend: OpenBackend,
        clock: Callable[[], float],
        cache: SessionKeyCache | None = None,
    ) -> None:
        self._state = state
        self._state_id = state_id
        self._backend = backend
        self._clock = clock
        self._cache = cache
        self._name = _KIND + backend.suffix

    def load(self, *, replace: bool = False) -> bytes:
        """Return the 32 bytes of the session key; create one if there is none.

        A cached key is used first, without asking for a passphrase. A key that this vault cannot
        decrypt is renamed and replaced, which loses only sessions. While the vault is locked,
        nothing is replaced.

        Args:
            replace: an item was decrypted in this run, so a session key encrypted to others only
                is of no use and is replaced.

        Raises:
            LockedError: if the vault cannot be opened.
            NewerFormatError: if a newer filevault wrote it.
            StorageError: if there is none, and a new one cannot be created or stored.
        """
        key = self._read(replace=replace)
        if key is not None:
            return key
        from filevault.system.locks import locked

        state, name = self._state, self._name
        with locked(state, _LOCK):
            # Another process may have created it.
            key = self._read(replace=replace)
            if key is not None:
                return key
            key = new_session_key()
            now = int(self._clock())
            try:
                sealed = self._sealed(key, now)
            except (BackendError, errors.NotARecipientError, errors.NoVaultError) as error:
                raise StorageError(
                    f"the session key cannot be encrypted: {error.message}", hint=error.hint
                ) from error
            with contextlib.suppress(OSError):
                os.rename(name, f"{name}.{now}.old", src_dir_fd=state.fd, dst_dir_fd=state.fd)
            state.write(name, sealed)
            if self._cache is not None:
                self._cache.on_unwrapped(sha256_hex(sealed), key)
        return key

    def read(self) -> bytes | None:
        """Return the session key, None if there is none that the backend can decrypt.

        Raises LockedError, NewerFormatError, StorageError.
        """
        return self._read()

    def reseal(self, key: bytes | None = None) -> None:
        """Encrypt the session key again, with another key or to other recipients.

        `key` is the session key, if the caller has it. A file that cannot be decrypted here is left
        as it is; if the key cannot be encrypted, the file is deleted. Raises StorageError.
        """
        from filevault.system.locks import locked

        state, name = self._state, self._name
        with locked(state, _LOCK):
            try:
                key = key or self._read()
            except (LockedError, StorageError):
                return
            if key is not None and state.is_file(name):
                mark = session_key_mark(state, self._backend.suffix)
                try:
                    sealed = self._sealed(key, int(self._clock()))
                except (BackendError, LockedError):
                    state.remove(name)
                else:
                    state.write(name, sealed)
                    if self._cache is not None and mark is not None:
                        self._cache.on_rewrapped(mark, sha256_hex(sealed))

    def _sealed(self, key: bytes, now: int) -> bytes:
        header = ItemHeader(_KIND, self._state_id, now, format_time(now))
        return self._backend.encrypt(header, _line(self._state_id, key))

    def _read(self, *, replace: bool = False) -> bytes | None:
        try:
            data = self._state.read(self._name, _LIMIT)
        except FileNotFoundError:
            return None
        mark = sha256_hex(data)
        key = None if self._cache is None else self._cache.session_key(mark)
        if key is not None:
            return key
        try:
            key = _parse(self._backend.decrypt(_KIND, self._state_id, data), self._state_id)
        except NewerFormatError:
            raise
        except IntegrityError:
            return None
        except errors.NotARecipientError as error:
            if replace:
                return None
            raise StorageError(error.message, hint=error.hint) from error
        if key is not None and self._cache is not None:
            self._cache.on_unwrapped(mark, key)
        return key


def session_key_mark(state: Folder, suffix: str) -> str | None:
    """Return the digest of the session key's file, None without one. Raises StorageError."""
    try:
        return sha256_hex(state.read(_KIND + suffix, _LIMIT))
    except FileNotFoundError:
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
