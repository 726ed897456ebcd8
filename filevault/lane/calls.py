"""System calls that Python lacks: reading the kernel keyring, and hardening this process."""

import _ctypes
import posix
import sys

_ARGUMENTS = 6  # with the last one of KEYCTL_SEARCH, which must be 0
_LARGEST = 4096
_ENOSYS = 38
_NUMBERS = {
    "x86_64": 250,
    "aarch64": 219,
    "riscv64": 219,
    "loongarch64": 219,
    "ppc64": 271,
    "ppc64le": 271,
    "s390x": 280,
}
"""keyctl in the kernel's tables of system calls, by machine; programs of 64 bits only."""
_USER_KEYRING = -4  # linux/keyctl.h
_SEARCH, _READ = 10, 11
_PR_SET_DUMPABLE = 4  # linux/prctl.h
_RLIMIT_CORE = 4  # asm-generic/resource.h
_LIMIT = 16  # bytes of struct rlimit


class _Long(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "l"


class _Pointer(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "P"


class _Char(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "c"


class _Buffer(_ctypes.Array):  # type: ignore[type-arg]
    _type_ = _Char
    _length_ = _LARGEST


class _Function(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = _Long


class Calls:
    """The functions of the C library, looked up once. Raises OSError on an unknown machine."""

    __slots__ = ("_keyctl", "_library", "_limits")

    def __init__(self) -> None:
        number = _NUMBERS.get(posix.uname().machine) if sys.maxsize > 1 << 32 else None
        if number is None:
            raise OSError(_ENOSYS, "unknown machine")
        self._keyctl = number
        self._library = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]
        self._limits: bytes | None = None

    def _call(self, name: str, *arguments: object) -> int:
        made = _Function(_ctypes.dlsym(self._library, name))
        made.argtypes = (_Pointer,) * _ARGUMENTS
        result: int = made(*arguments, *(0,) * (_ARGUMENTS - len(arguments)))
        if result == -1:
            raise OSError(_ctypes.get_errno(), name)
        return result

    def key(self, name: bytes) -> bytes:
        """Return what a key of the user keyring contains. Raises OSError."""
        found = self._call("syscall", self._keyctl, _SEARCH, _USER_KEYRING, b"user", name)
        data = bytearray(_LARGEST)
        buffer = _Buffer.from_buffer(data)
        size = self._call("syscall", self._keyctl, _READ, found, buffer, _LARGEST)
        if size > _LARGEST:
            raise OSError(_ENOSYS, "the key is too long")
        return bytes(data[:size])

    def harden(self) -> None:
        """Let this process leave no core file and be traced by no other. Raises OSError.

        As `filevault.system.hardening`. No file is written on a hit, so the umask stays.
        """
        before = bytearray(_LARGEST)
        buffer = _Buffer.from_buffer(before)
        self._call("prlimit", 0, _RLIMIT_CORE, 0, buffer)
        limits = bytes(before[:_LIMIT])
        self._call("prctl", _PR_SET_DUMPABLE, 0)
        self._call("prlimit", 0, _RLIMIT_CORE, bytes(_LIMIT // 2) + limits[_LIMIT // 2 :])
        self._limits = limits

    def restore(self) -> None:
        """Give this process back its limit of core files; execve(2) does the rest."""
        if self._limits is not None:
            self._call("prlimit", 0, _RLIMIT_CORE, self._limits)
            self._limits = None
