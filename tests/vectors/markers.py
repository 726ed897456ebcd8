"""The vectors of vault.json."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.backends.file import vault_json
from tests.vectors.material import (
    COMMIT,
    MASTER_ID,
    VAULT,
    Writer,
    compact,
    edited,
)

if TYPE_CHECKING:
    from pathlib import Path


def markers(folder: Path) -> None:
    """Write the vectors of vault.json."""
    put = Writer(folder, "vault.json", {})
    good = vault_json.build(vault_json.Marker(VAULT, MASTER_ID, COMMIT))
    ids = {"vault": VAULT, "master_id": MASTER_ID, "commit": COMMIT}
    put("vault", "ok", "as written", good, **ids)
    put("vault-no-newline", "ok", "the final line end may be missing", good.rstrip(), **ids)
    put(
        "vault-other-order",
        "ok",
        "fields stand in any order",
        compact({"commit": COMMIT, "master": MASTER_ID, "vault": VAULT, "format": "filevault/1"}),
        **ids,
    )
    for name, about, data in (
        ("nothing", "an empty file", b""),
        ("no-json", "no JSON", b"filevault/1\n"),
        ("list", "no object", b'["filevault/1"]\n'),
        ("two", "two objects", good + good),
        ("not-utf8", "not UTF-8", good.replace(b"filevault", b"filevault\xff")),
        ("duplicate", "the same key twice", good.replace(b'{"format"', b'{"vault":"","format"')),
        ("unknown-field", "unknown fields are refused", edited(good, name="home")),
        ("missing-field", "missing ones too", edited(good, commit=None)),
        ("short-commit", "a commitment of 31 bytes", edited(good, commit=COMMIT[:-2])),
        ("upper-case", "ids are lower-case", edited(good, master=MASTER_ID.upper())),
        ("number", "ids are text", edited(good, master=7)),
        ("format-0", "there was no format 0", edited(good, format="filevault/0")),
        ("format-number", "the format is text", edited(good, format=1)),
        ("long", "more than 4096 bytes", good + b" " * 4096),
        ("deep", "thousands of levels", b"[" * 4000),
    ):
        put(f"vault-{name}", "damaged", about, data)
    put("vault-newer", "newer", "the next format", edited(good, format="filevault/2"))
    put(
        "vault-newer-unknown",
        "newer",
        "the next format, of another shape",
        compact({"format": "filevault/3", "members": [{"id": 1}]}),
    )
