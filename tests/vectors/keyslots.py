"""The vectors of keyslots."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from filevault.backends import kdf
from filevault.backends.file import keyslots
from filevault.backends.sealing import key_schedule, xaes
from tests.vectors.material import (
    CHEAPEST,
    COMMIT,
    KEYFILE,
    MASTER,
    MASTER_ID,
    OTHER_MASTER,
    OTHER_VAULT,
    PASSPHRASE,
    VAULT,
    WHEN,
    Stream,
    Writer,
    compact,
    edited,
)

if TYPE_CHECKING:
    from pathlib import Path

    from filevault.backends.kdf import KdfParameters


def write_keyslots(folder: Path) -> None:
    """Write the vectors of keyslots; each is the only slot of a vault."""
    head = {"vault": VAULT, "master-id": MASTER_ID, "commit": COMMIT}
    put = Writer(folder, "slot", head)

    def build(
        secret: bytes, costs: KdfParameters | None, master: bytes = MASTER, vault: str = VAULT
    ) -> bytes:
        return keyslots.build(
            master, vault, keyslots.NewKeyslot(secret, costs, "", WHEN), Stream("slot")
        )

    def slot(
        vector: str, expect: str, about: str, data: bytes, /, file: str = "", **more: str
    ) -> None:
        if not {"passphrase", "keyfile"} & set(more):
            more["passphrase"] = PASSPHRASE
        for secret in {"passphrase", "keyfile"} & set(more):
            more[secret] = json.dumps(more[secret])
        put(f"slot-{vector}", expect, about, data, file=file or keyslots.file_name(data), **more)

    good = build(PASSPHRASE.encode(), CHEAPEST)
    line, body = good[: good.index(b"\n") + 1], good[good.index(b"\n") + 1 :]
    key = build(keyslots.keyfile_bytes(KEYFILE.encode(), "it"), None)
    key_line, key_body = key[: key.index(b"\n") + 1], key[key.index(b"\n") + 1 :]
    master = {"master": MASTER.hex()}

    slot("passphrase", "ok", "the cheapest costs that are allowed", good, **master)
    slot("keyfile", "ok", "a key file's slot", key, keyfile=KEYFILE, **master)
    slot(
        "keyfile-white-space",
        "ok",
        "white space around a key does not count",
        key,
        keyfile=f"\t {KEYFILE}\r\n\n",
        **master,
    )
    composed = build("caf\u00e9 au lait".encode(), CHEAPEST)
    slot(
        "decomposed",
        "ok",
        "a passphrase typed as e and an accent is the one with \u00e9",
        composed,
        passphrase="cafe\u0301 au lait",
        **master,
    )
    slot(
        "wrong-passphrase",
        "wrong passphrase",
        "another passphrase",
        good,
        passphrase="correct horse battery stapler",
    )
    slot(
        "wrong-keyfile",
        "wrong passphrase",
        "another key",
        key,
        keyfile="filevault-key-1:" + "A" * 43,
    )
    slot(
        "final-newline",
        "wrong passphrase",
        "nothing is stripped from a passphrase here",
        good,
        passphrase=PASSPHRASE + "\n",
    )
    slot("passphrase-for-keyfile", "locked", "a passphrase is never tried on a key's slot", key)
    slot("keyfile-for-passphrase", "locked", "nor a key on a passphrase's", good, keyfile=KEYFILE)
    for name, text in {
        "short": KEYFILE[:-1],
        "long": KEYFILE + "A",
        "padded": KEYFILE + "=",
        "standard-alphabet": "filevault-key-1:" + "+/" + "A" * 41,
        "inner-space": KEYFILE[:30] + " " + KEYFILE[31:],
        "spare-bits": "filevault-key-1:" + "A" * 42 + "B",
        "without-prefix": KEYFILE.partition(":")[2],
        "other-version": KEYFILE.replace("-1:", "-2:"),
    }.items():
        slot(f"keyfile-{name}", "locked", "a key's text has one form", key, keyfile=text)

    slot(
        "renamed",
        "damaged",
        "the name is the hash of the content",
        good,
        file="0123456789abcdef.slot",
    )
    slot(
        "cost-edited",
        "damaged",
        "so an edit needs a new name",
        edited(line, memory_kib=19457) + body,
        file=keyslots.file_name(good),
    )
    slot(
        "salt-edited",
        "wrong passphrase",
        "another salt is another key",
        edited(line, salt="A" * 22 + "==") + body,
    )
    slot(
        "label-edited",
        "damaged",
        "with the name put right, the header is authenticated",
        edited(line, label="mine") + body,
    )
    slot(
        "wrapped-bit",
        "damaged",
        "a bit of the wrapped key is flipped",
        good[:-1] + bytes([good[-1] ^ 1]),
    )
    slot(
        "keyfile-wrapped-bit",
        "damaged",
        "a bit of the wrapped key is flipped",
        key[:-1] + bytes([key[-1] ^ 1]),
        keyfile=KEYFILE,
    )
    slot("cut", "damaged", "one byte missing", good[:-1])
    slot("longer", "damaged", "one byte more", good + b"\x00")
    slot("huge", "damaged", "more than 8192 bytes", good + bytes(8192))
    for name, about, changes in (
        ("unknown-field", "unknown fields are refused", {"hint": "x"}),
        ("missing-check", "missing ones too", {"check": None}),
        ("unknown-type", "a type that is none", {"type": "tpm2"}),
        ("keyfile-with-costs", "a key's slot has no costs", {"type": "keyfile"}),
        ("salt-short", "a salt of 15 bytes", {"salt": "A" * 20}),
        ("salt-long", "a salt of 65 bytes", {"salt": "A" * 87 + "="}),
        ("salt-not-base64", "a salt that is no base64", {"salt": "A" * 21 + "!=="}),
        ("salt-unpadded", "a salt without padding", {"salt": "A" * 22}),
        ("salt-spare-bits", "a salt with spare bits", {"salt": "A" * 21 + "B=="}),
        ("check-short", "a check value of 15 bytes", {"check": "00" * 15}),
        ("text-cost", "a cost that is text", {"memory_kib": "19456"}),
        ("bad-time", "a time that is none", {"created": "yesterday"}),
    ):
        slot(name, "damaged", about, edited(line, **changes) + body)
    for name, about, costs in (
        ("no-iterations", "no iteration", {"iterations": 0}),
        ("iterations", "17 iterations", {"iterations": 17}),
        ("no-lanes", "no lane", {"lanes": 0}),
        ("lanes", "17 lanes", {"lanes": 17}),
        ("bomb-memory", "2 TiB", {"memory_kib": 1 << 31}),
        ("bomb-cost", "1 GiB times 5", {"memory_kib": 1 << 20, "iterations": 5}),
        (
            "bomb-greatest",
            "2^53-1 of everything",
            {"memory_kib": 2**53 - 1, "iterations": 2**53 - 1, "lanes": 2**53 - 1},
        ),
    ):
        slot(name, "tampered", about, edited(line, **costs) + body)
    slot("weak", "locked", "below the floor", edited(line, memory_kib=19455) + body)
    slot(
        "foreign",
        "tampered",
        "another vault's slot for the same key id",
        edited(line, vault=OTHER_VAULT) + body,
    )
    slot(
        "stale",
        "tampered",
        "the only slot is another master key's",
        build(PASSPHRASE.encode(), CHEAPEST, OTHER_MASTER),
    )
    liar = build(PASSPHRASE.encode(), CHEAPEST, OTHER_MASTER)
    liar_line = edited(liar[: liar.index(b"\n") + 1], master=MASTER_ID)
    nonce = Stream("liar")(24)
    kek = _kek_of(liar_line)
    slot(
        "other-master",
        "tampered",
        "it opens, to a key that vault.json does not commit to",
        liar_line + nonce + xaes.encrypt(kek[:32], nonce, OTHER_MASTER, liar_line),
    )
    slot(
        "other-commit",
        "tampered",
        "vault.json commits to another key",
        good,
        commit=key_schedule.commitment(OTHER_MASTER, VAULT),
    )
    slot("newer", "newer", "the next format", edited(line, format="filevault/2") + body)
    slot(
        "newer-type",
        "newer",
        "the next format, of another type",
        compact({"format": "filevault/2", "type": "tpm2", "pcrs": [0, 7]}),
    )
    slot(
        "keyfile-salt-short",
        "damaged",
        "a salt of 15 bytes",
        edited(key_line, salt="A" * 20) + key_body,
        keyfile=KEYFILE,
    )


def _kek_of(line: bytes) -> bytes:
    return kdf.derive(PASSPHRASE.encode(), base64.b64decode(json.loads(line)["salt"]), CHEAPEST)
