from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

import pytest

from filevault.backends.file import retired_keys, vault_json
from filevault.backends.file.unlock import Unlocking
from filevault.backends.kdf import STANDARD
from filevault.backends.sealing import envelope
from filevault.backends.values import Secret
from filevault.errors import (
    DamagedError,
    FilevaultError,
    LockedError,
    NewerFormatError,
    TamperedError,
    WrongPassphraseError,
)
from filevault.system.files import Folder
from tests.vectors import generate
from tests.vectors.material import ITEMS, KEYFILE, PASSPHRASE
from tests.worlds.file_vault import PLENTY, GivenSecrets, put_slot, reopen, slot_folder

VECTORS = Path(generate.__file__).parent
FILES = sorted(os.listdir(VECTORS / "file"))

EXPECTED: dict[str, tuple[type[FilevaultError], str, int]] = {
    "damaged": (DamagedError, "", 6),
    "newer": (NewerFormatError, "newer filevault", 3),
    "wrong name": (TamperedError, "was sealed as", 6),
    "wrong kind": (TamperedError, "of the kind", 6),
    "other vault": (TamperedError, "another vault", 6),
    "other key": (TamperedError, "another key", 6),
    "tampered": (TamperedError, "", 6),
    "wrong passphrase": (WrongPassphraseError, "", 5),
    "locked": (LockedError, "", 5),
}


class Vector(NamedTuple):
    head: dict[str, str]
    body: bytes


def read(name: str) -> Vector:
    text, _, body = (VECTORS / "file" / name).read_bytes().partition(b"\n\n")
    lines = text.decode("utf-8").split("\n")
    return Vector(dict(line.split(": ", 1) for line in lines), body)


def of(family: str) -> list[str]:
    return [name for name in FILES if read(name).head["read"] == family]


def refuse(head: dict[str, str], caught: FilevaultError) -> None:
    kind, words, status = EXPECTED[head["expect"]]
    assert type(caught) is kind, caught.message
    assert words in caught.message
    assert caught.exit_status == status
    assert not caught.message.endswith(".")


@pytest.mark.parametrize("name", of("envelope"))
def test_envelope_is_judged_as_its_vector_says(name: str) -> None:
    head, body = read(name)

    def opened() -> bytes:
        parsed = envelope.parse(body, "the item")
        wanted = (head["vault"], head["key-id"], head["kind"], head["name"])
        envelope.expect(parsed, *wanted, "the item")
        return envelope.unseal(bytes.fromhex(head["key"]), parsed, "the item")

    if head["expect"] == "ok":
        assert opened() == bytes.fromhex(head.get("plaintext", ""))
    else:
        with pytest.raises(FilevaultError) as caught:
            opened()
        refuse(head, caught.value)


@pytest.mark.parametrize("name", of("slot"))
def test_slot_is_judged_as_its_vector_says(name: str, tmp_path: Path) -> None:
    head, body = read(name)
    vault = vault_json.Marker(head["vault"], head["master-id"], head["commit"])
    slot_folder(tmp_path).mkdir(parents=True)
    (slot_folder(tmp_path) / head["file"]).write_bytes(body)
    kind = "keyfile" if "keyfile" in head else "passphrase"
    source = GivenSecrets(Secret(kind, json.loads(head[kind]).encode("utf-8"), "the vector"))
    with Folder.open(str(tmp_path)) as root:
        unlocking = Unlocking(root, vault, STANDARD, None, None, lambda: PLENTY)
        if head["expect"] == "ok":
            assert unlocking.open(source).master == bytes.fromhex(head["master"])
        else:
            with pytest.raises(FilevaultError) as caught:
                unlocking.open(source)
            refuse(head, caught.value)


@pytest.mark.parametrize("name", of("vault.json"))
def test_marker_is_judged_as_its_vector_says(name: str) -> None:
    head, body = read(name)
    if head["expect"] == "ok":
        ids = vault_json.Marker(head["vault"], head["master-id"], head["commit"])
        assert vault_json.parse(body, "vault.json") == ids
    else:
        with pytest.raises(FilevaultError) as caught:
            vault_json.parse(body, "vault.json")
        refuse(head, caught.value)


@pytest.mark.parametrize("name", of("retired"))
def test_retired_key_is_judged_as_its_vector_says(name: str) -> None:
    head, body = read(name)

    def opened() -> bytes:
        master = bytes.fromhex(head["master"])
        return retired_keys.unseal(body, head["file"], head["vault"], head["key-id"], master)

    if head["expect"] == "ok":
        assert opened() == bytes.fromhex(head["plaintext"])
    else:
        with pytest.raises(FilevaultError) as caught:
            opened()
        refuse(head, caught.value)


def test_every_judgement_has_vectors() -> None:
    judgements = {read(name).head["expect"] for name in FILES}
    assert judgements == {"ok", *EXPECTED}


def test_generator_still_makes_the_committed_bytes(tmp_path: Path) -> None:
    generate.main(tmp_path)
    for folder in ("file", "vault-v1"):
        made = {
            file.relative_to(tmp_path): file.read_bytes()
            for file in (tmp_path / folder).rglob("*")
            if file.is_file()
        }
        kept = {
            file.relative_to(VECTORS): file.read_bytes()
            for file in (VECTORS / folder).rglob("*")
            if file.is_file()
        }
        assert made == kept


@pytest.mark.parametrize(
    "secret",
    [
        Secret("passphrase", PASSPHRASE.encode(), "its documentation"),
        Secret("keyfile", (VECTORS / "vault-v1" / "keyfile").read_bytes(), "its file"),
    ],
    ids=["passphrase", "keyfile"],
)
def test_vault_of_version_1_opens(secret: Secret) -> None:
    store = VECTORS / "vault-v1" / "store"
    backend = reopen(store, GivenSecrets(secret), STANDARD)
    for name, (origin, text) in ITEMS.items():
        data = (store / f"{name}.fv").read_bytes()
        assert backend.decrypt("credentials", name, data) == text.encode()
        header = backend.peek(data)
        assert header is not None
        assert header.created_from == origin


def test_secrets_beside_the_version_1_vault_are_the_documented_ones() -> None:
    readme = (VECTORS / "README.md").read_text()
    assert f"`{PASSPHRASE}`" in readme
    assert (VECTORS / "vault-v1" / "passphrase").read_text() == f"{PASSPHRASE}\n"
    assert (VECTORS / "vault-v1" / "keyfile").read_text() == f"{KEYFILE}\n"


def test_slot_put_under_its_own_name_is_the_generators(tmp_path: Path) -> None:
    head, body = read("slot-passphrase")
    assert put_slot(tmp_path, body).name == head["file"]
