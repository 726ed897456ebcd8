"""Argon2id and the bounds on what it may cost, checked before anything is derived.

The costs are read from files that anyone who can write the synced vault can change: without
bounds a keyslot could demand terabytes or years (`docs/format.md` §5).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from filevault.errors import BackendError, LockedError, TamperedError
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from filevault.system.secret_buffer import SecretBytes

    _Bytes = TypeVar("_Bytes", bound=bytes | bytearray)

KEK_SIZE = 64
MIN_SALT = 16
MAX_SALT = 64
MAX_ITERATIONS = 16
MAX_LANES = 16
MAX_MEMORY_KIB = 1 << 20
MAX_SLOT_COST = 1 << 22
MAX_UNLOCK_COST = 1 << 23
_ALWAYS_ALLOWED_KIB = 65536
_ARGON2_VERSION = 0x13
_UNLIMITED = 1 << 62


class KdfParameters(Record):
    """Costs of Argon2id: memory in KiB, passes over it, lanes computed in parallel."""

    memory_kib: int
    iterations: int
    lanes: int

    @property
    def cost(self) -> int:
        """KiB written: the measure by which keyslots are ordered and bounded."""
        return self.memory_kib * self.iterations


DEFAULT = KdfParameters(65536, 3, 4)
"""RFC 9106 §4, second recommended option, for machines where memory is short."""


class KdfPolicy(Record):
    """The costs of new keyslots, and the least memory that a keyslot may demand, in KiB."""

    default: KdfParameters = DEFAULT
    # The smallest memory among the settings that OWASP's Password Storage Cheat Sheet names
    # first for Argon2id.
    min_memory_kib: int = 19456

    def without_floor(self) -> KdfPolicy:
        """Return the policy of `--allow-weak-kdf`: any memory that Argon2 itself accepts."""
        return self._replace(min_memory_kib=8)


STANDARD = KdfPolicy()


def available_memory(system: str = "/") -> int:
    """Return the KiB of memory that this process may count on.

    That is the least of the kernel's MemAvailable and of the limits of the process's control
    group and its ancestors, versions 2 and 1. If none of these can be read, the physical memory;
    0 if even that is unknown.

    Args:
        system: the root of the file system to read from; tests give another.
    """
    limits = [_mem_available(system), *_group_limits(system)]
    known = [limit for limit in limits if 0 <= limit < _UNLIMITED]
    if known:
        return min(known) // 1024
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1024
    except (OSError, ValueError):
        return 0


def _text(path: str) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(fd, 1 << 16).decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        os.close(fd)


def _mem_available(system: str) -> int:
    for line in _text(f"{system}/proc/meminfo").splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "MemAvailable:" and words[1].isdecimal():
            return int(words[1]) * 1024
    return _UNLIMITED


def _group_limits(system: str) -> list[int]:
    """Return the limits, in bytes, of this process's groups up to the root of the hierarchy.

    In a container the path may name a group that is not mounted: files that do not exist are
    skipped, and the root, which is the container's own group, counts.
    """
    limits = []
    for line in _text(f"{system}/proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            mount, file = f"{system}/sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            mount, file = f"{system}/sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        parts = [part for part in path.split("/") if part]
        if ".." in parts:
            parts = []
        for depth in range(len(parts), -1, -1):
            text = _text("/".join([mount, *parts[:depth], file])).strip()
            if text.isdecimal():
                limits.append(int(text))
    return limits


def check_bounds(
    parameters: KdfParameters,
    policy: KdfPolicy,
    available: Callable[[], int],
    what: str,
) -> None:
    """Refuse parameters before anything is derived.

    Args:
        parameters: those of a keyslot, or of options for a new one.
        policy: the least memory that is allowed.
        available: returns the KiB of available memory; called only for more than 64 MiB.
        what: the keyslot's name in messages, already printable.

    Raises:
        TamperedError: beyond what filevault ever writes.
        LockedError: too weak for the policy, or more memory than this machine can spare.
    """
    memory, iterations, lanes = parameters.memory_kib, parameters.iterations, parameters.lanes
    if not 1 <= iterations <= MAX_ITERATIONS:
        raise TamperedError(f"{what} asks for {iterations} iterations, allowed are 1 to 16")
    if not 1 <= lanes <= MAX_LANES:
        raise TamperedError(f"{what} asks for {lanes} lanes, allowed are 1 to 16")
    if memory > MAX_MEMORY_KIB:
        raise TamperedError(
            f"{what} asks for {memory} KiB of memory, at most {MAX_MEMORY_KIB} are allowed"
        )
    if parameters.cost > MAX_SLOT_COST:
        raise TamperedError(
            f"{what} asks for {memory} KiB of memory times {iterations} iterations, "
            f"at most {MAX_SLOT_COST} are allowed"
        )
    if memory < 8 * lanes:  # RFC 9106 §3.1
        raise TamperedError(f"{what} asks for {memory} KiB of memory, too little for {lanes} lanes")
    if memory < policy.min_memory_kib:
        raise LockedError(
            f"{what} is too weak: a guess costs only {memory} KiB of memory; "
            f"at least {policy.min_memory_kib} are required",
            hint="--allow-weak-kdf allows it",
        )
    if memory > _ALWAYS_ALLOWED_KIB:
        spare = max(_ALWAYS_ALLOWED_KIB, available() // 2)
        if memory > spare:
            raise LockedError(
                f"{what} asks for {memory} KiB of memory, and this machine can spare {spare}",
                hint="use a key file or a cheaper slot here, or allow the process more memory",
            )


def passphrase_bytes(value: _Bytes, what: str) -> _Bytes | bytes:
    """Return a passphrase in the form that keys are derived from: UTF-8, normalised to NFC.

    The same word typed on two systems can be two sequences of bytes; NFC makes them one. Plain
    ASCII is returned as it is, without a copy. Raises LockedError, which calls it `what`, for an
    invalid passphrase.
    """
    if not value:
        raise LockedError(f"{what} is empty")
    if b"\x00" in value:
        raise LockedError(f"{what} contains a zero byte")
    if value.isascii():
        return value
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        # The exception's own text would show the passphrase.
        raise LockedError(f"{what} is not UTF-8") from None
    import unicodedata

    return unicodedata.normalize("NFC", text).encode("utf-8")


def derive(passphrase: SecretBytes, salt: bytes, parameters: KdfParameters) -> bytes:
    """Return the 64 bytes of Argon2id, version 1.3, without secret and associated data.

    Raises BackendError if there is not enough memory.
    """
    # argon2-cffi calls the same function, but leaves a copy of the passphrase in memory.
    from _argon2_cffi_bindings import ffi, lib

    derived = ffi.new("uint8_t[]", KEK_SIZE)
    problem = lib.argon2_hash(
        parameters.iterations,
        parameters.memory_kib,
        parameters.lanes,
        ffi.from_buffer(passphrase),
        len(passphrase),
        ffi.from_buffer(salt),
        len(salt),
        derived,
        KEK_SIZE,
        ffi.NULL,  # the encoded hash is not wanted
        0,
        lib.Argon2_id,
        _ARGON2_VERSION,
    )
    if problem != lib.ARGON2_OK:
        raise BackendError(
            f"there is not enough memory to derive a key: {parameters.memory_kib} KiB are needed",
            hint="use a key file here, or allow the process more memory",
        )
    return bytes(ffi.buffer(derived, KEK_SIZE))
