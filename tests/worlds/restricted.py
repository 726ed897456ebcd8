"""filevault under restrictions: as another user, read-only, without /dev/tty or keyring.

A run is a forked child that shares the imports of the test process, so that it takes
milliseconds; user, mounts, system calls and terminal are the kernel's own.
"""

from __future__ import annotations

import ctypes
import io
import os
import struct
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from typing import NamedTuple

from filevault.cli import main
from filevault.keycache.kernel import _numbers
from filevault.system.libc import function
from tests.conditions.other_user import become, fork
from tests.launch import launcher

NEW_MOUNTS = 0x00020000  # CLONE_NEWNS, linux/sched.h
READ_ONLY_ROOT = "mount --make-rprivate / && mount -o remount,bind,ro /"
NO_TERMINAL_DEVICE = """
new=$(mktemp -d) && mount -t tmpfs tmpfs "$new" &&
for each in null zero random urandom; do
    touch "$new/$each" && mount --bind "/dev/$each" "$new/$each" || exit 1
done && mount --rbind "$new" /dev
"""


class Conditions(NamedTuple):
    """What a machine forbids; `mounts` is a shell script that root runs in a mount namespace."""

    uid: int = 0
    mounts: str = ""
    without_keys: bool = False


class RestrictedResult(NamedTuple):
    """How a run ended."""

    status: int
    out: str
    err: str


def run(
    argv: tuple[str, ...],
    env: Mapping[str, str],
    conditions: Conditions,
    orders: Mapping[str, str],
    action: Callable[[], int] | None = None,
) -> RestrictedResult:
    """Run filevault, or an action in its place, without a terminal."""
    files = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115 - read below
    child = fork()
    if child == 0:
        _child(argv, env, conditions, orders, action, [file.fileno() for file in files])
    _, ended = os.waitpid(child, 0)
    texts = []
    for file in files:
        file.seek(0)
        texts.append(file.read().decode())
        file.close()
    return RestrictedResult(os.waitstatus_to_exitcode(ended), *texts)


def _child(
    argv: tuple[str, ...],
    env: Mapping[str, str],
    conditions: Conditions,
    orders: Mapping[str, str],
    action: Callable[[], int] | None,
    files: list[int],
) -> None:
    status = 99
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, fd in enumerate(files, 1):
            os.dup2(fd, number)
        sys.stdin = io.TextIOWrapper(io.FileIO(0, "r", closefd=False))
        sys.stdout, sys.stderr = (
            io.TextIOWrapper(io.FileIO(number, "w", closefd=False), encoding="utf-8")
            for number in (1, 2)
        )
        if conditions.mounts:
            function("unshare")(NEW_MOUNTS)
            subprocess.run(["sh", "-ec", conditions.mounts], check=True)
        os.environ.clear()
        os.environ.update(env)
        os.chdir("/")
        if conditions.without_keys:
            _refuse_keys()
        become(conditions.uid)
        status = main(argv, launcher.runtime(dict(orders))) if action is None else action()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - it must not go on as a test run
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _refuse_keys() -> None:
    """Let the kernel refuse its keyring with EPERM, as the sandboxes of containers do."""
    load, equal, end = 0x20, 0x15, 0x06  # linux/bpf_common.h
    refused, allowed = 0x00050001, 0x7FFF0000  # linux/seccomp.h
    add_key, keyctl = _numbers()
    lines = (
        (load, 0, 0, 0),
        (equal, 1, 0, add_key),
        (equal, 0, 1, keyctl),
        (end, 0, 0, refused),
        (end, 0, 0, allowed),
    )
    text = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
    head = struct.pack("HxxxxxxP", len(lines), ctypes.addressof(text))
    zero = ctypes.c_ulong(0)
    prctl = ctypes.CDLL(None).prctl
    assert prctl(38, ctypes.c_ulong(1), zero, zero, zero) == 0  # PR_SET_NO_NEW_PRIVS
    assert prctl(22, ctypes.c_ulong(2), head, zero, zero) == 0  # PR_SET_SECCOMP, filter
