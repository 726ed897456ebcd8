"""Whether this machine lets its tests use the kernel's keyring."""

from __future__ import annotations

import secrets
import sys

import pytest

from filevault.keycache import SESSION, KeyCache
from filevault.keycache.kernel import KernelKeyring
from filevault.times import boottime

JOIN_SESSION_KEYRING = 1  # linux/keyctl.h


def _refused() -> bool:
    keys = KeyCache([KernelKeyring()], boottime)
    state = secrets.token_hex(16)
    try:
        return keys.put(state, SESSION, b"probe", "00", 5) is None
    finally:
        keys.lock(state)


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
        "from filevault.libc import function\n"
        "with contextlib.suppress(OSError):\n"
        f"    function('syscall')(_numbers()[1], {JOIN_SESSION_KEYRING}, 0)\n"
        "os.execvp(sys.argv[1], sys.argv[1:])\n"
    )
    return (sys.executable, "-c", script)
