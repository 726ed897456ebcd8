"""Make the vectors of the `file` format, always the same bytes.

    python -m tests.vectors.generate [FOLDER]

Each vector is a text head of `key: value` lines, an empty line, and the file's bytes. `expect`
says how a reader must judge it; tests/backends/test_vectors.py is such a reader, and README.md
beside this file explains the keys of the head.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from filevault.backends.file import new_vault
from filevault.backends.item_header import ItemHeader
from filevault.backends.kdf import STANDARD
from filevault.backends.sealing import envelope, key_schedule
from filevault.system.files import Folder
from tests.vectors.envelopes import envelopes
from tests.vectors.keyslots import write_keyslots
from tests.vectors.markers import markers
from tests.vectors.material import (
    ITEMS,
    KEYFILE,
    PASSPHRASE,
    TIME,
    WHEN,
    Stream,
)
from tests.vectors.retiredkeys import retired_keys

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent


def vault_v1(folder: Path) -> None:
    """Write the vault that every version of filevault must open."""
    with Folder.make(str(folder / "store")) as root:
        made = new_vault.create(
            root,
            passphrase=PASSPHRASE.encode(),
            keyfile_text=KEYFILE.encode(),
            policy=STANDARD,
            clock=lambda: TIME,
            random=Stream("vault-v1"),
        )
    again = Stream("vault-v1")
    vault = again(16).hex()
    key = key_schedule.item_key(again(32), vault)
    for name, (origin, text) in ITEMS.items():
        created = "2025-02-28T08:00:00Z" if origin == "iam" else WHEN
        header = ItemHeader("credentials", name, TIME, created, origin)
        data = envelope.seal(
            key, vault, made.master_id, header, text.encode(), Stream(f"vault-v1 {name}")
        )
        path = folder / "store" / f"{name}.fv"
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_bytes(data)
    (folder / "passphrase").write_text(PASSPHRASE + "\n")
    (folder / "keyfile").write_text(KEYFILE + "\n")


FAMILIES: tuple[Callable[[Path], None], ...] = (envelopes, write_keyslots, markers, retired_keys)


def main(target: Path) -> None:
    """Write everything below a folder; what lies there already must be removed before."""
    (target / "file").mkdir(parents=True, exist_ok=True)
    for family in FAMILIES:
        family(target / "file")
    vault_v1(target / "vault-v1")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
