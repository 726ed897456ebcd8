"""Whether the kernel allows its keyring here, and launchers that join or forbid one."""

from __future__ import annotations

import secrets
import sys

import pytest

from filevault.keycache.cache import KeyCache
from filevault.keycache.cached_key import SESSION
from filevault.keycache.kernel import KernelKeyring
from filevault.system.times import boottime

JOIN_SESSION_KEYRING = 1  # linux/keyctl.h


def _refused() -> bool:
    keys = KeyCache([KernelKeyring()], boottime)
    state = secrets.token_hex(16)
    try:
        return keys.put(state, SESSION, b"probe", "00", 5) is None
    finally:
        keys.forget(state)


needs_kernel_keyring = pytest.mark.skipif(
    _refused(), reason="the kernel keyring is refused here, as in a container's default sandbox"
)


def new_session_keyring() -> tuple[str, ...]:
    """Return the argv prefix that joins a new session keyring first, as `keyctl session` does.

    Where the kernel refuses its keyring there is none to join, and the command runs as it is.
    """
    script = (
        "import contextlib, os, sys\n"
        "from filevault.keycache.kernel import _numbers\n"
        "from filevault.system.libc import function\n"
        "with contextlib.suppress(OSError):\n"
        f"    function('syscall')(_numbers()[1], {JOIN_SESSION_KEYRING}, 0)\n"
        "os.execvp(sys.argv[1], sys.argv[1:])\n"
    )
    return (sys.executable, "-c", script)


def without_keyring() -> tuple[str, ...]:
    """Return the argv prefix under which the kernel refuses keys, as in a container's sandbox."""
    script = (
        "import ctypes, os, struct, sys\n"
        "from filevault.keycache.kernel import _numbers\n"
        "load, equal, end = 0x20, 0x15, 0x06  # linux/bpf_common.h\n"
        "refused, allowed = 0x00050001, 0x7FFF0000  # linux/seccomp.h: EPERM, or go on\n"
        "add_key, keyctl = _numbers()\n"
        "program = [(load, 0, 0, 0), (equal, 1, 0, add_key), (equal, 0, 1, keyctl),\n"
        "           (end, 0, 0, refused), (end, 0, 0, allowed)]\n"
        "code = b''.join(struct.pack('HBBI', *line) for line in program)\n"
        "text = ctypes.create_string_buffer(code)\n"
        "head = struct.pack('HxxxxxxP', len(program), ctypes.addressof(text))\n"
        "prctl = ctypes.CDLL(None).prctl\n"
        "zero = ctypes.c_ulong(0)\n"
        "assert prctl(38, ctypes.c_ulong(1), zero, zero, zero) == 0  # PR_SET_NO_NEW_PRIVS\n"
        "assert prctl(22, ctypes.c_ulong(2), head, zero, zero) == 0  # PR_SET_SECCOMP, filter\n"
        "os.execvp(sys.argv[1], sys.argv[1:])\n"
    )
    return (sys.executable, "-c", script)
