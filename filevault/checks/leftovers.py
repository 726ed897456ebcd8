"""Credentials in clear text that other tools left behind: in caches, and in downloaded files."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING

from filevault.checks.diagnosis import Diagnosis
from filevault.checks.finding import WARNING, Finding
from filevault.system.printable import printable, shell_word
from filevault.system.times import parse_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filevault.checks.diagnosis import MachineState

# Folders below the home directory, and how their tool clears them.
CACHES = (
    (".aws/cli/cache", "delete its files; the AWS CLI makes them for roles of its own profiles"),
    (".aws/sso/cache", "aws sso logout, or delete its files; filevault sso login encrypts its own"),
    (".aws/login/cache", "aws logout, or delete its files; filevault signin encrypts its own"),
    (".aws/boto/cache", "delete its files"),
    (".awsume/cache", "delete its files"),
)
# Endings of what the console offers for download, and the folders where it arrives.
_DOWNLOADS = ("", "Downloads")
_ENDINGS = ("accesskeys.csv", "rootkey.csv", "credentials.csv")
_MARKS = (
    b"secretaccesskey",
    b"secret_access_key",
    b"sessiontoken",
    b"accesstoken",
    b"refreshtoken",
    b"clientsecret",
)
_MAX_FILES = 500  # of one folder
_MAX_BYTES = 64 << 10  # of one file
_EXPIRIES = ("expiresat", "expiration")


def check(machine: MachineState) -> Diagnosis:
    """Return the folders that have credentials in clear text; no value is kept or shown."""
    home = machine.home()
    if home is None:
        return Diagnosis()
    findings: list[Finding] = []
    for folder, hint in CACHES:
        path = f"{home}/{folder}"
        count, valid = _counted(path, machine.clock())
        if count:
            files = f"{count} file{'' if count == 1 else 's'} with credentials in clear text"
            message = f"{files}, {valid} of them not expired"
            findings.append(Finding(printable(path), "leftover", WARNING, message, hint=hint))
    findings += _downloads(home)
    return Diagnosis(findings=tuple(findings))


def _names(path: str) -> list[str]:
    found = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                found.append(entry.name)
                if len(found) >= _MAX_FILES:
                    break
    except OSError:
        return []
    return sorted(found)


def head(path: str) -> bytes:
    """Return the first bytes of a regular file, b"" for anything else."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, _MAX_BYTES) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    except OSError:
        return b""
    finally:
        os.close(fd)


def _counted(path: str, now: float) -> tuple[int, int]:
    """Return how many files of a folder have credentials, and how many have not expired."""
    count = valid = 0
    for name in _names(path):
        data = head(f"{path}/{name}")
        low = data.lower()
        if any(mark in low for mark in _MARKS):
            count += 1
            valid += not _is_over(data, now)
    return count, valid


def _is_over(data: bytes, now: float) -> bool:
    """Return whether a JSON object names an expiry that is past; unknown counts as not."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return False
    if not isinstance(content, dict):
        return False
    inner = next((each for each in content.values() if isinstance(each, dict)), {})
    for key, value in (*content.items(), *inner.items()):
        if str(key).lower() in _EXPIRIES and isinstance(value, str):
            try:
                return parse_time(value) <= now
            except ValueError:
                return False
    return False


def _downloads(home: str) -> Iterator[Finding]:
    for folder in _DOWNLOADS:
        path = f"{home}/{folder}".rstrip("/")
        for name in _names(path):
            if not name.lower().endswith(_ENDINGS):
                continue
            file = f"{path}/{name}"
            low = head(file).lower()
            if b"secret access key" in low or b"awssecretkey" in low:
                hint = f"filevault import {shell_word(file)} --remove-source, or delete it"
                message = "an access key of the console in clear text"
                yield Finding(printable(file), "leftover", WARNING, message, hint=hint)
