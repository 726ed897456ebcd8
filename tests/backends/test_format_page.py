"""docs/format.md is held to what it says: its program runs, its vectors and examples hold."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from filevault.backends import kdf
from filevault.backends.file import keyslots, vault_json
from filevault.backends.sealing import envelope, key_schedule, xaes
from filevault.system.digest import sha256_hex
from filevault.vault.names import decode_path, encode_name
from tests.vectors import generate
from tests.vectors.material import ITEMS, PASSPHRASE

VAULT = Path(generate.__file__).parent / "vault-v1" / "store"
PAGE = (Path(__file__).parents[2] / "docs" / "format.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def page_program(tmp_path: Path) -> Path:
    (text,) = blocks("python")
    file = tmp_path / "reader.py"
    file.write_text(text)
    return file


def run(
    program: Path, vault: Path, name: str, passphrase: str = PASSPHRASE
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-I", str(program), str(vault), name],
        env={"FILEVAULT_PASSPHRASE": passphrase, "HOME": "/nonexistent"},
        cwd=program.parent,
        capture_output=True,
        timeout=60,
    )


@pytest.mark.parametrize("name", sorted(ITEMS))
def test_program_of_the_page_opens_the_version_1_vault(page_program: Path, name: str) -> None:
    done = run(page_program, VAULT, name)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == ITEMS[name][1].encode()


def test_program_of_the_page_needs_nothing_of_filevault(page_program: Path) -> None:
    text = page_program.read_text()
    imported = set(re.findall(r"^(?:import|from) (\w+)", text, re.MULTILINE))
    assert imported == {"base64", "argon2", "cryptography"}
    assert "filevault" not in re.findall(r"import (.*)", text)
    assert len([line for line in text.splitlines() if line]) <= 45


def test_program_of_the_page_refuses_a_wrong_passphrase_and_a_renamed_item(
    page_program: Path, tmp_path: Path
) -> None:
    done = run(page_program, VAULT, "jonsmith", PASSPHRASE + "r")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"opens no slot" in done.stderr
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / ".filevault").symlink_to(VAULT / ".filevault")
    (copy / "other.fv").write_bytes((VAULT / "jonsmith.fv").read_bytes())
    done = run(page_program, copy, "other")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"renamed" in done.stderr


def test_vectors_of_the_page_hold() -> None:
    lines = [line for block in blocks("vectors") for line in block.splitlines() if line]
    said = {line[:17].strip(): line[17:] for line in lines}
    vault, master = said["vault id"], bytes.fromhex(said["master key"])
    written = vault_json.parse((VAULT / ".filevault/vault.json").read_bytes(), "vault.json")
    assert written == vault_json.Marker(vault, said["key id"], said["commitment"])
    assert key_schedule.item_key(master, vault).hex() == said["item key"]
    assert key_schedule.item_key_id(master, vault) == said["key id"]
    assert key_schedule.commitment(master, vault) == said["commitment"]
    pinned = f"filevault-pin-1\nfile\n{vault}\n{said['commitment']}\n"
    assert sha256_hex(pinned.encode()) == said["pin"]
    key = keyslots.keyfile_bytes(said["keyfile text"].encode(), "it")
    assert key.hex() == said["keyfile bytes"]
    for kind in ("argon2id", "keyfile"):
        file = VAULT / ".filevault/slots" / f"{said[f'{kind} slot']}.slot"
        slot = keyslots.parse(file.read_bytes(), file.name, "it")
        assert (slot.type, slot.salt.hex(), slot.check.hex()) == (
            kind,
            said[f"{kind} salt"],
            said[f"{kind} check"],
        )
        if slot.parameters is None:
            kek = key_schedule.keyfile_kek(key, slot.salt, vault)
        else:
            kek = kdf.derive(PASSPHRASE.encode(), slot.salt, slot.parameters)
        assert kek.hex() == said[f"{kind} KEK"]
        nonce, sealed = slot.wrapped[:24], slot.wrapped[24:]
        assert xaes.decrypt(kek[:32], nonce, sealed, slot.line) == master
    session_key = bytes.fromhex(said["session key"])
    assert key_schedule.session_key_id(session_key, said["state id"]) == said["session key id"]


def test_example_of_an_item_is_the_one_in_the_version_1_vault() -> None:
    assert ITEMS["jonsmith"][1] in blocks("")
    header = envelope.parse((VAULT / "jonsmith.fv").read_bytes(), "it").line.decode()
    shown = next(block for block in blocks("") if '"kind"' in block)
    assert list(json.loads(shown.splitlines()[0].rstrip("␊"))) == list(json.loads(header))


def test_example_of_a_slot_has_the_fields_that_are_written() -> None:
    shown = next(block for block in blocks("") if '"memory_kib"' in block)
    lines = [file.read_bytes().partition(b"\n")[0] for file in VAULT.rglob("*.slot")]
    written = next(line for line in lines if b"memory_kib" in line)
    example = json.loads(shown.splitlines()[0].rstrip("␊"))
    assert list(example) == list(json.loads(written))
    for cost in ("memory_kib", "iterations", "lanes"):
        assert example[cost] == getattr(kdf.DEFAULT, cost)


def test_examples_of_names_are_encoded_so() -> None:
    rows = re.findall(r"^\| `(\S+)` \| `(\S+\.fv)` \|$", PAGE, re.MULTILINE)
    assert len(rows) == 4
    for name, path in rows:
        assert encode_name(name, ".fv") == path
        assert decode_path(path, ".fv") == name


def test_page_and_code_agree_on_the_bounds() -> None:
    assert f"`memory_kib` ≥ {kdf.STANDARD.min_memory_kib}" in PAGE
    assert kdf.MAX_MEMORY_KIB == 2**20
    assert kdf.MAX_SLOT_COST == 2**22
    assert kdf.MAX_UNLOCK_COST == 2**23
    assert f"in all at most {keyslots.MAX_FILE}" in PAGE
    assert envelope.MAX_FILE == 2**20


def test_sections_that_the_code_cites_exist() -> None:
    cited = set()
    root = Path(__file__).parents[2]
    for folder in ("filevault", "backends"):
        for directory, _, names in os.walk(root / folder):
            for name in names:
                if name.endswith(".py"):
                    text = (Path(directory) / name).read_text(encoding="utf-8")
                    cited |= set(re.findall(r"docs/format\.md` §(\d+)", text))
    assert cited
    for section in cited:
        assert f"\n## {section}. " in PAGE
