"""Import before a fork what filevault imports late, so that children start faster."""

from __future__ import annotations

import codecs
import functools
import importlib
import pkgutil

import filevault
from filevault.backends.sealing import xaes

# What the program's modules import in functions, or the standard library for them.
_LATE = (
    "argon2.low_level",
    "cryptography.hazmat.primitives.ciphers.aead",
    "cryptography.hazmat.primitives.kdf.hkdf",
    "json",
    "xml.parsers.expat",
)


@functools.cache
def import_everything() -> None:
    """Import every module of the program, and what they come to need."""
    for module in pkgutil.walk_packages(filevault.__path__, "filevault."):
        if module.name != "filevault.__main__":
            importlib.import_module(module.name)
    for name in _LATE:
        importlib.import_module(name)
    for codec in ("ascii", "idna", "latin-1"):
        codecs.lookup(codec)
    # The first use of OpenSSL reads its configuration.
    xaes.encrypt(bytes(xaes.KEY_SIZE), bytes(xaes.NONCE_SIZE), b"", b"")
