"""C library functions that Python does not offer.

`ctypes` would cost each start 2 ms; this uses the module that ctypes itself is made of.
"""

from __future__ import annotations

import _ctypes
import contextlib
import os
from itertools import repeat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from mmap import mmap
    from typing import Any

_ARGUMENTS = 7
_PR_SET_NAME = 15  # linux/prctl.h


class _Long(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "l"


class _Pointer(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "P"


class _Char(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "c"


class _Function(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = _Long


class _Direct(_ctypes.CFuncPtr):
    # errno is not kept, and other threads do not run meanwhile: that takes as long as all else.
    # Without `_restype_` the result is an int, for which no type is looked up.
    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_PYTHONAPI


def function(name: str) -> Callable[..., int]:
    """Return a function of the C library that takes up to seven words and returns a long.

    Its arguments are integers and bytes, which are passed as their address; it raises OSError
    instead of returning -1. Raises OSError if there is no such function.
    """
    made: Any = _Function(_address(name))
    made.argtypes = (_Pointer,) * _ARGUMENTS

    def call(*arguments: int | bytes | object) -> int:
        result: int = made(*arguments, *(0,) * (_ARGUMENTS - len(arguments)))
        if result == -1:
            code = _ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return result

    return call


def direct(name: str) -> Callable[..., int]:
    """Return a function of the C library that returns an int: -1 after an error, nothing is raised.

    Its arguments are integers of 32 bits, bytes, and what `writable` and `parts_of` return: nothing
    converts them, which takes half the time. Other threads wait. For what is called thousands of
    times. Raises OSError if there is no such function.
    """
    call: Callable[..., int] = _Direct(_address(name))
    return call


def _address(name: str) -> int:
    # ctypes.CDLL finds functions with these two, which typeshed lacks.
    private: Any = _ctypes
    found: int = private.dlsym(private.dlopen(None, 0), name)
    return found


def set_name(name: str) -> None:
    """Set the name of this process, by which killall(1) finds it; a script has its file's."""
    with contextlib.suppress(OSError):
        function("prctl")(_PR_SET_NAME, name.encode("ascii") + b"\0")


def writable(buffer: bytearray | mmap, offset: int = 0) -> object:
    """Return an argument that passes the address of a buffer, or of an offset in it.

    Its attribute `raw` is a copy of the bytes there.
    """
    size = len(buffer) - offset
    array: Any = type("_Buffer", (_ctypes.Array,), {"_type_": _Char, "_length_": size})
    return array.from_buffer(buffer, offset)


def parts_of(buffer: object, offsets: Iterable[int]) -> list[object]:
    """Return arguments that pass the addresses of offsets in what `writable` returned."""
    private: Any = _ctypes
    return list(map(private.byref, repeat(buffer), offsets))
