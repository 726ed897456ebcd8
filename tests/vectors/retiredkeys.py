"""The vectors of retired master keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.backends.item_header import ItemHeader
from filevault.backends.sealing import envelope, key_schedule
from tests.vectors.material import (
    MASTER,
    MASTER_ID,
    OTHER_MASTER,
    OTHER_VAULT,
    TIME,
    VAULT,
    WHEN,
    Stream,
    Writer,
    edited,
)

if TYPE_CHECKING:
    from pathlib import Path

OLD_ID = key_schedule.item_key_id(OTHER_MASTER, VAULT)


def retired_keys(folder: Path) -> None:
    """Write the vectors of `.filevault/retired`."""
    head = {"master": MASTER.hex(), "vault": VAULT, "key-id": MASTER_ID, "file": OLD_ID}
    put = Writer(folder, "retired", head)

    def seal(
        plaintext: bytes,
        name: str = OLD_ID,
        kind: str = "retired",
        vault: str = VAULT,
        master: bytes = MASTER,
    ) -> bytes:
        return envelope.seal(
            key_schedule.item_key(master, vault),
            vault,
            key_schedule.item_key_id(master, VAULT),
            ItemHeader(kind, name, TIME, WHEN),
            plaintext,
            Stream("retired nonce"),
        )

    good = seal(OTHER_MASTER)
    line, body = good[: good.index(b"\n") + 1], good[good.index(b"\n") + 1 :]
    put("retired-key", "ok", "an old master key", good, plaintext=OTHER_MASTER.hex())
    third = Stream("a third master")(32)
    put(
        "retired-key-of-a-chain",
        "ok",
        "an older one, sealed under a key that is retired itself",
        seal(third, key_schedule.item_key_id(third, VAULT), master=OTHER_MASTER),
        master=OTHER_MASTER.hex(),
        key_id=OLD_ID,
        file=key_schedule.item_key_id(third, VAULT),
        plaintext=third.hex(),
    )
    put("retired-short", "damaged", "a key has 32 bytes", seal(OTHER_MASTER[:31]))
    put("retired-long", "damaged", "and no more", seal(OTHER_MASTER + b"\x01"))
    put("retired-cut", "damaged", "the last byte is missing", good[:-1])
    put(
        "retired-body-bit",
        "damaged",
        "a bit of the ciphertext is flipped",
        good[:-20] + bytes([good[-20] ^ 1]) + good[-19:],
    )
    put("retired-header", "damaged", "the header is sealed", edited(line, generation=1) + body)
    put("retired-renamed", "wrong name", "under another file name", good, file="0" * 16)
    put("retired-other-kind", "wrong kind", "no retired key", seal(OTHER_MASTER, kind="totp"))
    put(
        "retired-foreign",
        "other vault",
        "from another vault with the same key",
        seal(OTHER_MASTER, vault=OTHER_VAULT),
    )
    put(
        "retired-under-an-old-key",
        "other key",
        "sealed under another key than the one at hand",
        seal(OTHER_MASTER, master=third),
    )
    put("retired-other-key", "tampered", "its key id is not that of its name", seal(third))
    put(
        "retired-newer",
        "newer",
        "the next format",
        edited(line, format="filevault/2") + body,
    )
