"""Whether this machine lets its tests use the kernel's keyring."""

from __future__ import annotations

import secrets

import pytest

from filevault.keycache import SESSION, KeyCache
from filevault.keycache.kernel import KernelKeyring
from filevault.times import boottime


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
