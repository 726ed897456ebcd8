"""The age test vectors of the C2SP CCTV kit, through the backend (npm package cctv-age)."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import resource
import shutil
import subprocess
import tarfile
import zlib
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import pytest

from filevault.backends.age import identity_text
from filevault.backends.age.identity_text import LockedFile
from filevault.backends.values import IdentityText
from filevault.errors import DamagedError, FilevaultError, LockedError
from tests.conditions.tools import tool
from tests.conditions.work_limits import at_most
from tests.worlds.age_store import PLENTY, make_store, open_store, pair

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = "cctv-age@0.2.0"
COUNT = 143

# What does not do as the kit expects, and why. Nothing is accepted that the kit rejects.
POST_QUANTUM = "pyrage reads no post-quantum identities, so these files open for nobody"
TOO_LONG = "no item is longer than a mebibyte"
DEVIATIONS = {
    "armor_hybrid": POST_QUANTUM,
    "hybrid": POST_QUANTUM,
    "hybrid_and_x25519": POST_QUANTUM,
    "hybrid_grease": POST_QUANTUM,
    "hybrid_multiple_recipients": POST_QUANTUM,
    "stream_257_chunks": TOO_LONG,
    "stream_257_chunks_full": TOO_LONG,
    "stream_258_chunks": TOO_LONG,
}


class CctvVector(NamedTuple):
    """One file of the kit, with what its head says of it."""

    name: str
    expect: str
    payload: str
    identities: list[str]
    passphrases: list[str]
    data: bytes


def _vector(name: str, encoded: str) -> CctvVector:
    head, _, data = base64.b64decode(encoded).partition(b"\n\n")
    fields = defaultdict(list)
    for line in head.decode().splitlines():
        key, _, value = line.partition(": ")
        fields[key].append(value)
    if fields["compressed"]:
        assert fields["compressed"] == ["zlib"]
        data = zlib.decompress(data)
    return CctvVector(
        name,
        fields["expect"][0],
        "".join(fields["payload"]),
        fields["identity"],
        fields["passphrase"],
        data,
    )


@pytest.fixture(scope="session")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, CctvVector]:
    npm = tool("npm")
    folder = tmp_path_factory.mktemp("cctv-age")
    done = subprocess.run(
        [npm, "pack", "--silent", f"--cache={folder}/cache", PACKAGE],
        cwd=folder,
        env=os.environ | {"HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    if done.returncode != 0:
        reason = f"npm cannot fetch {PACKAGE}: {done.stderr.strip()[-200:]}"
        if "npm" in os.environ.get("REQUIRE_TOOLS", "").split():
            pytest.fail(reason)
        pytest.skip(reason)
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        member = archive.extractfile("package/index.js")
        assert member is not None
        text = member.read().decode()
    shutil.rmtree(folder / "cache", ignore_errors=True)
    found = re.findall(
        r'^// \.\./testdata/(\S+)\nvar \w+ = __toBinary\("([^"]*)"\)', text, re.MULTILINE
    )
    return {name: _vector(name, encoded) for name, encoded in found}


def _open(vector: CctvVector, store: Path) -> bytes:
    """Open a vector as the program would: an item, or a protected identity file."""
    if not vector.passphrases:
        backend = open_store(store, *(vector.identities or [pair()[0]]))
        return backend.decrypt("credentials", "vector", vector.data)
    parsed = identity_text.parse(IdentityText(vector.data, "vector"), lambda: PLENTY)
    if parsed.problems:
        raise parsed.problems[0]
    (locked,) = parsed.locked
    assert isinstance(locked, LockedFile)
    plaintext = locked.decrypt(vector.passphrases[0].encode())
    if plaintext is None:
        raise LockedError("wrong passphrase")
    return plaintext


def _outcome(vector: CctvVector, store: Path) -> str:
    try:
        plaintext = _open(vector, store)
    except FilevaultError as error:
        return type(error).__name__
    if hashlib.sha256(plaintext).hexdigest() != vector.payload:
        return "another payload"
    return "success"


def test_the_whole_kit_was_fetched(vectors: dict[str, CctvVector]) -> None:
    assert len(vectors) == COUNT
    assert vectors.keys() >= DEVIATIONS.keys()


def test_vectors_are_accepted_and_rejected_as_the_kit_says(
    vectors: dict[str, CctvVector], tmp_path: Path
) -> None:
    store = make_store(tmp_path / "store", pair()[1])
    wrong = {}
    for name, vector in vectors.items():
        outcome = _outcome(vector, store)
        if (outcome == "success") != (vector.expect == "success"):
            wrong[name] = outcome
    assert wrong.keys() == DEVIATIONS.keys()
    assert {wrong[name] for name, why in DEVIATIONS.items() if why == TOO_LONG} == {"DamagedError"}
    assert {wrong[name] for name, why in DEVIATIONS.items() if why == POST_QUANTUM} == {
        "LockedError"
    }


def test_failures_are_told_apart(vectors: dict[str, CctvVector], tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", pair()[1])
    allowed = {
        "no match": {"LockedError", "NotARecipientError"},
        "HMAC failure": {"DamagedError"},
        "header failure": {"DamagedError"},
        "payload failure": {"DamagedError"},
        "armor failure": {"DamagedError"},
    }
    # The bound on the work factor is not damage; and without the key of a post-quantum stanza
    # its inside is not looked at.
    otherwise = {
        "scrypt_work_factor_23": {"LockedError"},
        "scrypt_work_factor_overflow": {"LockedError"},
    }
    wrong = {}
    for name, vector in vectors.items():
        if vector.expect == "success" or name.startswith("hybrid_"):
            continue
        outcome = _outcome(vector, store)
        if outcome not in otherwise.get(name, allowed[vector.expect]):
            wrong[name] = (vector.expect, outcome)
    assert not wrong


def test_work_factor_23_is_refused_at_once_and_without_memory(
    vectors: dict[str, CctvVector], tmp_path: Path
) -> None:
    vector = vectors["scrypt_work_factor_23"]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with (
        at_most(0.5),
        pytest.raises(LockedError, match=r"work factor of 2\^23, allowed is up to 2\^20"),
    ):
        _open(vector, tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


def test_long_streams_open_up_to_the_bound_for_items(
    vectors: dict[str, CctvVector], tmp_path: Path
) -> None:
    longest = max(
        (vector for vector in vectors.values() if vector.expect == "success"),
        key=lambda vector: len(vector.data) if len(vector.data) <= 1 << 20 else 0,
    )
    assert len(longest.data) > 128 << 10
    assert _outcome(longest, make_store(tmp_path / "store", pair()[1])) == "success"
    with pytest.raises(DamagedError, match="longer than"):
        _open(vectors["stream_257_chunks"], tmp_path)
