"""Make a new age identity in the form of age-keygen, optionally protected by a passphrase.

pyrage chooses the scrypt cost itself, from a short measurement that varies by a factor of four, and
aborts the process if memory is short. It therefore runs in a separate process with bounded memory,
and its result is accepted only if its cost is within the bounds of protected identity files.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from filevault.backends import kdf
from filevault.backends.age import age_file
from filevault.backends.age.library import library
from filevault.errors import BackendError, LockedError
from filevault.system import programs
from filevault.system.times import format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MIN_WORK_FACTOR = 16
# The age program's own cost is tried first: the file may be opened on a smaller machine. An
# attempt at a higher cost than its bound fails at once.
_BOUNDS = (18,) * 10 + (19,) * 6 + (20,) * 6
_TIMEOUT = 300.0
_WORKING_MEMORY_KIB = 64 << 10
# A core dump would have the passphrase in it. Exceeding the limit ends only this process.
_PROGRAM = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from pyrage import passphrase
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limit = used + int(sys.argv[2]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
word, _, text = sys.stdin.buffer.read().partition(b"\\0")
sys.stdout.buffer.write(passphrase.encrypt(text, word.decode("utf-8"), armored=True))
"""


def check_library() -> None:
    """Raise ProgramError if pyrage is not installed."""
    library()


def new_identity(
    passphrase: bytes | None,
    *,
    environment: Mapping[str, str],
    clock: Callable[[], float],
    available_memory: Callable[[], int] = kdf.available_memory,
) -> tuple[bytes, str]:
    """Return the bytes of a new identity file, and its recipient.

    Args:
        passphrase: protects the file, readable for any age program; None leaves it plain.
        environment: of the separate process, without secrets.
        clock: returns Unix seconds, for the comment in the file.
        available_memory: returns the KiB that this process may count on.

    Raises:
        ProgramError: if pyrage is not installed.
        LockedError: for an invalid passphrase.
        BackendError: if no attempt has an acceptable cost: for lack of memory, or on a machine
            too fast or too slow for pyrage's choice.
    """
    identity = library().x25519.Identity.generate()
    recipient = str(identity.to_public())
    lines = (f"# created: {format_time(clock())}", f"# public key: {recipient}", str(identity))
    text = "".join(f"{line}\n" for line in lines).encode("ascii")
    if passphrase is None:
        return text, recipient
    _check(passphrase)
    return _protect(text, passphrase, environment, available_memory), recipient


def _check(passphrase: bytes) -> None:
    if not passphrase:
        raise LockedError("the new passphrase is empty")
    if b"\x00" in passphrase:
        raise LockedError("the new passphrase contains a zero byte")
    try:
        passphrase.decode("utf-8")
    except UnicodeDecodeError:
        raise LockedError("the new passphrase is not UTF-8") from None


def _protect(
    text: bytes,
    passphrase: bytes,
    environment: Mapping[str, str],
    available: Callable[[], int],
) -> bytes:
    what = "the new identity file"
    spare = age_file.spare_memory(available)
    if spare < 1 << MIN_WORK_FACTOR:
        raise _impossible(
            f"this machine can spare {spare >> 10} MiB of memory, which is too little"
        )
    package = os.path.dirname(os.path.dirname(str(library().__file__)))
    for bound in _BOUNDS:
        limit = min(1 << bound, spare) + _WORKING_MEMORY_KIB
        done = programs.run(
            [sys.executable, "-I", "-c", _PROGRAM, package, str(limit)],
            environment,
            origin="the process that protects the new identity",
            timeout=_TIMEOUT,
            stdin=passphrase + b"\x00" + text,
        )
        if done.status != 0:
            continue  # its cost exceeds the limit; the next measurement may differ
        try:
            file = age_file.parse_protected(done.output, what, available)
        except LockedError:
            continue
        if age_file.work_factor(file.stanzas[0], what) >= MIN_WORK_FACTOR:
            return done.output
    raise _impossible(
        f"pyrage chose no cost between 2^{MIN_WORK_FACTOR} and 2^{age_file.MAX_WORK_FACTOR} that "
        f"{spare >> 10} MiB of memory allow"
    )


def _impossible(reason: str) -> BackendError:
    return BackendError(
        f"the new identity cannot be protected with a passphrase here: {reason}",
        hint="--no-passphrase leaves it plain; or make it elsewhere with age-keygen | age -p",
    )
