"""The kernel keyring as a key store, by raw system calls.

Keys are in the user keyring, which all processes of a user can reach. A process with a session
keyring of its own, as ssh, sudo and cron create it, does not possess them (keyrings(7),
"Possession"), and a new key can be read by possessors only. So a key is created in the process
keyring, which is always possessed, gets its permissions and its timeout there, and is linked
into the user keyring last.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from typing import TYPE_CHECKING

from filevault.errors import BackendError
from filevault.keycache.cached_key import ANSWER_TYPES, KEY_TYPES, SESSION, CachedKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from filevault.keycache.cached_key import KeyType

_NAMES = "filevault:"
_FORMAT = b"filevault-cache-1"
_BUFFER = 4096
_MOST_KEYS = 1 << 20  # bytes of key ids in a keyring

# add_key and keyctl in the kernel's syscall tables, by machine, for programs of 64 and 32 bits: a
# 32-bit Python runs on 64-bit kernels, too, with the numbers of the machine that it was made for.
_GENERIC, _I386, _ARM = (217, 219), (286, 288), (309, 311)
_NUMBERS_64 = {
    "x86_64": (248, 250),
    "aarch64": _GENERIC,
    "riscv64": _GENERIC,
    "loongarch64": _GENERIC,
    "ppc64": (269, 271),
    "ppc64le": (269, 271),
    "s390x": (278, 280),
}
_NUMBERS_32 = {
    "x86_64": _I386,
    "i386": _I386,
    "i486": _I386,
    "i586": _I386,
    "i686": _I386,
    "aarch64": _ARM,
    "armv6l": _ARM,
    "armv7l": _ARM,
    "armv8l": _ARM,
}
# A key that has gone; no key, or no keyrings at all (EPERM: a sandbox).
_GONE = (errno.ENOKEY, errno.EKEYEXPIRED, errno.EKEYREVOKED)
_NO_KEY = (*_GONE, errno.ENOSYS, errno.EPERM)
# linux/keyctl.h
_PROCESS_KEYRING = -2
_USER_KEYRING = -4
_UPDATE, _SETPERM, _DESCRIBE, _LINK, _UNLINK, _SEARCH, _READ = 2, 5, 6, 8, 9, 10, 11
_SET_TIMEOUT, _INVALIDATE = 15, 21
_PAUSES = (0.0, 0.005, 0.02)  # seconds between attempts to cache a key where there is no room
# The possessor has all rights; the same user may view, read and search; others have none.
_PERMISSIONS = 0x3F0B0000
# An answer may be overwritten as well, by a process that does not possess it: it gives way at once.
_ANSWER_PERMISSIONS = 0x3F0F0000


class KernelKeyring:
    """The user keyring; see `filevault.keycache.key_store.KeyStore`."""

    name = "kernel keyring"

    def __init__(self) -> None:
        self._function: Callable[..., int] | None = None

    def get(self, state_id: str, key_type: KeyType) -> CachedKey | None:
        """Return a key, None if there is none or the kernel refuses."""
        try:
            payload = self._read(self._find(state_id, key_type))
        except OSError:
            return None
        return _parse(payload)

    def status(self, state_id: str, key_type: KeyType) -> tuple[str, int] | None:
        """Return mark and deadline of a key, None as `get`."""
        cached = self.get(state_id, key_type)
        return None if cached is None else (cached.mark, cached.deadline)

    def put(self, state_id: str, key_type: KeyType, cached: CachedKey, seconds: int) -> bool:
        """Cache a key; return whether the kernel took it.

        Cached answers make room for any other key.
        """
        if key_type in ANSWER_TYPES:
            self.forget_answers((key_type,))
        for pause in () if key_type in ANSWER_TYPES else _PAUSES:
            try:
                return self._put(state_id, key_type, cached, seconds)
            except OSError as error:
                if error.errno != errno.EDQUOT:
                    return False
            self.forget_answers()
            time.sleep(pause)  # the kernel gives room back a moment later
        try:
            return self._put(state_id, key_type, cached, seconds)
        except OSError:
            return False

    def _put(self, state_id: str, key_type: KeyType, cached: CachedKey, seconds: int) -> bool:
        """Cache a key and return True. Raises OSError."""
        key = self._call(
            0,
            b"user",
            _name(state_id, key_type),
            _payload(cached),
            _size(cached),
            _PROCESS_KEYRING,
        )
        try:
            self._keyctl(_SET_TIMEOUT, key, min(seconds, 0xFFFFFFFF))
            is_answer = key_type in ANSWER_TYPES
            self._keyctl(_SETPERM, key, _ANSWER_PERMISSIONS if is_answer else _PERMISSIONS)
            # This displaces a key of the same name.
            self._keyctl(_LINK, key, _USER_KEYRING)
        finally:
            with contextlib.suppress(OSError):
                self._keyctl(_UNLINK, key, _PROCESS_KEYRING)
        return True

    def forget_answers(self, key_types: Sequence[KeyType] = ANSWER_TYPES) -> None:
        """Forget the cached answers of all vaults, as far as the kernel permits."""
        for key_type in key_types:
            with contextlib.suppress(OSError):
                key = self._find("", key_type)
                with contextlib.suppress(OSError):
                    self._keyctl(_UPDATE, key, b"-", 1)  # an invalid key keeps its room for a while
                self._keyctl(_INVALIDATE, key)

    def forget(self, state_id: str | None, key_type: KeyType | None = None) -> int:
        """Forget the keys of a vault, or one type of them; all with None. Return how many.

        Without a type the cached answers of all vaults go, too; they are not counted. Raises
        BackendError, after trying all, for a key that cannot be deleted.
        """
        from filevault.keycache.key_store import merge_errors

        if key_type in ANSWER_TYPES:
            self.forget_answers((key_type,))
            return 0
        if key_type is None:
            self.forget_answers()
        count = 0
        failed: list[BackendError] = []
        key_types = KEY_TYPES if key_type is None else (key_type,)
        for key in self._all(failed) if state_id is None else self._of(state_id, key_types, failed):
            try:
                self._keyctl(_INVALIDATE, key)
            except OSError as error:
                if error.errno not in _GONE:
                    hint = f"keyctl unlink {key} @u, or wait until its time is over"
                    failed.append(_failure(error, "forget a key", hint))
            else:
                count += 1
        if failed:
            raise merge_errors(failed)
        return count

    def forget_older(self, state_id: str, key_type: KeyType, *, took_last: bool) -> int:
        """Forget a type of key if another store took the last: there is only one of it here."""
        return 0 if took_last else self.forget(state_id, key_type)

    def last_error(self) -> None:
        """Return None: if the kernel refuses, the agent is used."""

    def _of(
        self, state_id: str, key_types: Sequence[KeyType], failed: list[BackendError]
    ) -> Iterator[int]:
        for key_type in key_types:
            try:
                key = self._find(state_id, key_type)
            except OSError as error:
                if error.errno not in _NO_KEY:
                    failed.append(_failure(error, "find a key"))
            else:
                yield key

    def _all(self, failed: list[BackendError]) -> Iterator[int]:
        try:
            ids = self._read(_USER_KEYRING)
        except OSError as error:
            if error.errno not in _NO_KEY:
                failed.append(_failure(error, "list its keys"))
            return
        for at in range(0, len(ids), 4):
            key = int.from_bytes(ids[at : at + 4], sys.byteorder, signed=True)
            # A key that cannot be described is not one of filevault's: the user may view those.
            with contextlib.suppress(OSError):
                # keyctl(2): type, user, group, permissions and description, with semicolons
                words = self._read(key, _DESCRIBE).rstrip(b"\0").split(b";", 4)
                if len(words) < 5 or words[0] != b"user":
                    continue
                answers = [_name("", each) for each in ANSWER_TYPES]
                if words[4].startswith(_NAMES.encode()) and words[4] not in answers:
                    yield key

    def _find(self, state_id: str, key_type: KeyType) -> int:
        return self._keyctl(_SEARCH, _USER_KEYRING, b"user", _name(state_id, key_type))

    def _read(self, key: int, operation: int = _READ) -> bytes:
        from filevault.system.libc import writable

        size = _BUFFER
        while True:
            buffer = bytearray(size)
            length = self._keyctl(operation, key, writable(buffer), size)
            if length <= size:
                data = bytes(buffer[:length])
                buffer[:] = bytes(size)
                return data
            if length > _MOST_KEYS:
                raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
            size = length

    def _keyctl(self, *arguments: int | bytes | object) -> int:
        return self._call(1, *arguments)

    def _call(self, which: int, *arguments: int | bytes | object) -> int:
        number = _numbers()[which]
        if self._function is None:
            try:
                from filevault.system.libc import function
            except ImportError:  # a Python that was built without libffi
                raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from None
            self._function = function("syscall")
        return self._function(number, *arguments)


def _numbers() -> tuple[int, int]:
    """Return the numbers of add_key and keyctl. Raises OSError on an unknown machine."""
    known = _NUMBERS_64 if sys.maxsize > 1 << 32 else _NUMBERS_32
    numbers = known.get(os.uname().machine)
    if numbers is None or sys.platform != "linux":
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    return numbers


def _failure(error: OSError, what: str, hint: str | None = None) -> BackendError:
    reason = (error.strerror or "unknown reason").lower()
    return BackendError(f"the kernel keyring does not {what}: {reason}", hint=hint)


def _name(state_id: str, key_type: KeyType) -> bytes:
    """Return the description of a key; the answers of all vaults share theirs."""
    if key_type in ANSWER_TYPES:
        return f"{_NAMES}{key_type}".encode()
    return (_NAMES + state_id + ("" if key_type == SESSION else f":{key_type}")).encode()


def _payload(cached: CachedKey) -> bytes:
    return b"%b %d %b\n%b" % (_FORMAT, cached.deadline, cached.mark.encode(), cached.key)


def _size(cached: CachedKey) -> int:
    return len(_payload(cached))


def _parse(payload: bytes) -> CachedKey | None:
    head, _, key = payload.partition(b"\n")
    words = head.split(b" ")
    if len(words) != 3 or words[0] != _FORMAT or not words[1].isdigit() or len(words[1]) > 15:
        return None
    try:
        return CachedKey(key, words[2].decode("ascii"), int(words[1])) if key else None
    except UnicodeDecodeError:
        return None
