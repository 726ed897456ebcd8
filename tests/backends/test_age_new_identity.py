"""New identity files, opened by the age program and by us."""

from __future__ import annotations

import re
import resource
from typing import TYPE_CHECKING

import pytest

from filevault.backends.age import age_file
from filevault.backends.age.new_identity import MIN_WORK_FACTOR, new_identity
from filevault.backends.item_header import ItemHeader
from filevault.errors import BackendError, LockedError
from tests.worlds.age_store import PLENTY, age, age_at_terminal, make_store, open_store
from tests.worlds.file_vault import TIME, GivenSecrets

if TYPE_CHECKING:
    from pathlib import Path

HEADER = ItemHeader("credentials", "x", 1, "2026-11-23T21:45:13Z")
PASSPHRASE = "käse und wein".encode()


def make(passphrase: bytes | None, available: int = PLENTY) -> tuple[bytes, str]:
    return new_identity(
        passphrase, environment={}, clock=lambda: TIME, available_memory=lambda: available
    )


def test_plain_identity_has_the_form_of_age_keygen(tmp_path: Path) -> None:
    data, recipient = make(None)
    assert re.fullmatch(
        rf"# created: 2026-11-23T21:45:13Z\n# public key: {recipient}\n"
        r"AGE-SECRET-KEY-1[0-9A-Z]{58}\n",
        data.decode(),
    )
    path = tmp_path / "identity"
    path.write_bytes(data)
    assert age("-d", "-i", str(path), given=age("-r", recipient, given=b"s")) == b"s"
    assert make(None)[1] != recipient


def test_protected_identity_is_opened_by_the_age_program_and_by_us(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    data, recipient = make(PASSPHRASE)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 128 << 10
    assert b"AGE-SECRET-KEY" not in data
    file = age_file.parse_protected(data, "it", lambda: PLENTY)
    factor = age_file.work_factor(file.stanzas[0], "it")
    assert MIN_WORK_FACTOR <= factor <= age_file.MAX_WORK_FACTOR

    backend = open_store(
        make_store(tmp_path / "store", recipient), data, source=GivenSecrets(PASSPHRASE)
    )
    item = backend.encrypt(HEADER, b"secret")
    assert backend.decrypt("credentials", "x", item) == b"secret"

    for name, content in (("identity", data), ("item", item)):
        (tmp_path / name).write_bytes(content)
    out = tmp_path / "out"
    age_at_terminal(
        PASSPHRASE, "-d", "-i", str(tmp_path / "identity"), "-o", str(out), str(tmp_path / "item")
    )
    assert out.read_bytes() == b"secret"


def test_too_little_memory_is_an_error_and_not_the_end_of_the_process() -> None:
    with pytest.raises(BackendError, match="50 MiB of memory, which is too little") as caught:
        make(PASSPHRASE, available=100 << 10)
    assert "--no-passphrase" in str(caught.value.hint)


def test_cost_beyond_the_bound_is_never_accepted() -> None:
    # Little enough that the library's choice, which aims at a second of work, often fails.
    try:
        data, _ = make(PASSPHRASE, available=256 << 10)
    except BackendError as error:
        reason = error.message
    else:
        age_file.parse_protected(data, "it", lambda: 256 << 10)
        return
    assert "128 MiB of memory allow" in reason


@pytest.mark.parametrize("passphrase", [b"", b"a\0b", b"\xff"])
def test_passphrase_that_is_none_is_refused(passphrase: bytes) -> None:
    with pytest.raises(LockedError, match="the new passphrase"):
        make(passphrase)
