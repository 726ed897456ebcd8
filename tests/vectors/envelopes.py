"""The vectors of envelopes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.backends.item_header import ItemHeader
from filevault.backends.sealing import envelope, key_schedule, xaes
from tests.vectors.material import (
    ITEM_KEY,
    ITEMS,
    MASTER_ID,
    OTHER_MASTER,
    OTHER_VAULT,
    SESSION_KEY,
    SESSION_NAME,
    STATE,
    TIME,
    VAULT,
    WHEN,
    Stream,
    Writer,
    compact,
    edited,
)

if TYPE_CHECKING:
    from pathlib import Path


def sealed(line: bytes, padded: bytes, key: bytes = ITEM_KEY) -> bytes:
    """Return an envelope of any header and padding, properly encrypted."""
    nonce = Stream("nonce")(24)
    return line + nonce + xaes.encrypt(key, nonce, padded, line)


def pad(text: bytes) -> bytes:
    """Pad as the format says."""
    return text + b"\x80" + bytes(-(len(text) + 1) % 256)


def envelopes(folder: Path) -> None:
    """Write the vectors of envelopes."""
    head = {"key": ITEM_KEY.hex(), "vault": VAULT, "key-id": MASTER_ID}
    put = Writer(folder, "envelope", {**head, "kind": "credentials", "name": "jonsmith"})
    origin, text = ITEMS["jonsmith"]
    plaintext = text.encode()
    header = ItemHeader("credentials", "jonsmith", TIME, WHEN, origin)

    def seal(header: ItemHeader, plaintext: bytes, vault: str = VAULT) -> bytes:
        return envelope.seal(ITEM_KEY, vault, MASTER_ID, header, plaintext, Stream("nonce"))

    good = seal(header, plaintext)
    line, body = good[: good.index(b"\n") + 1], good[good.index(b"\n") + 1 :]
    padded = pad(plaintext)

    def ok(vector: str, about: str, data: bytes, content: bytes, /, **more: str) -> None:
        put(vector, "ok", about, data, plaintext=content.hex(), **more)

    ok("envelope-credentials", "an item as written", good, plaintext)
    ok(
        "envelope-credentials-without-origin",
        "created_from may be absent",
        seal(header._replace(created_from=None), plaintext),
        plaintext,
    )
    ok(
        "envelope-encoded-name",
        "a name with a folder and an encoded colon",
        seal(header._replace(name="work/prod%3Aeu"), b"x"),
        b"x",
        name="work/prod%3Aeu",
    )
    ok(
        "envelope-unicode-name",
        "text beyond ASCII stands in the header as UTF-8",
        seal(header._replace(name="b\u00fcro/\u6771\u4eac"), b"x"),
        b"x",
        name="b\u00fcro/\u6771\u4eac",
    )
    ok(
        "envelope-escaped-header",
        "a header that another writer escaped is verified as stored",
        sealed(line.replace(b'"jonsmith"', b'"jonsm\\u0069th"'), padded),
        plaintext,
    )
    ok("envelope-empty", "an empty plaintext", seal(header, b""), b"")
    for length in (255, 256):
        content = b"z" * length
        ok(
            f"envelope-{length}-bytes",
            f"{length} bytes need {len(pad(content)) // 256} blocks",
            seal(header, content),
            content,
        )
    ok(
        "envelope-ends-in-padding",
        "a plaintext that ends like padding keeps its end",
        seal(header, b"x\x80\x00\x00"),
        b"x\x80\x00\x00",
    )
    ok(
        "envelope-generation-limit",
        "the greatest generation",
        seal(header._replace(generation=2**53 - 1), b"x"),
        b"x",
    )
    ok(
        "envelope-totp",
        "a TOTP item",
        seal(_kind("totp", "mfa/ops"), b"x"),
        b"x",
        kind="totp",
        name="mfa/ops",
    )
    old = "0123456789abcdef"
    ok(
        "envelope-retired",
        "an old master key",
        seal(_kind("retired", old), OTHER_MASTER),
        OTHER_MASTER,
        kind="retired",
        name=old,
    )
    ok(
        "envelope-session-key",
        "a session key",
        seal(_kind("session-key", STATE), b"x"),
        b"x",
        kind="session-key",
        name=STATE,
    )
    session = _kind("session", SESSION_NAME)._replace(source="item:jonsmith")
    session_id = key_schedule.session_key_id(SESSION_KEY, STATE)
    in_session = {
        "key": SESSION_KEY.hex(),
        "vault": STATE,
        "key_id": session_id,
        "kind": "session",
        "name": SESSION_NAME,
    }
    ok(
        "envelope-session",
        "a session, sealed with the session key for the state directory",
        envelope.seal(SESSION_KEY, STATE, session_id, session, b"{}", Stream("session nonce")),
        b"{}",
        **in_session,
    )

    put("envelope-no-header", "damaged", "no line at all", body.replace(b"\n", b"\r"))
    put("envelope-nothing", "damaged", "an empty file", b"")
    put(
        "envelope-other-file",
        "damaged",
        "a file of something else",
        b"-----BEGIN PGP MESSAGE-----\n\nhQEMA\n",
    )
    put("envelope-header-only", "damaged", "cut after the header", line)
    put("envelope-cut", "damaged", "the last byte is missing", good[:-1])
    put("envelope-one-block-gone", "damaged", "cut by a whole block", sealed(line, b""))
    put("envelope-longer", "damaged", "one byte more", good + b"\x00")
    put(
        "envelope-body-bit",
        "damaged",
        "a bit of the ciphertext is flipped",
        good[:-20] + bytes([good[-20] ^ 1]) + good[-19:],
    )
    put(
        "envelope-nonce-bit",
        "damaged",
        "a bit of the nonce is flipped",
        line + bytes([body[0] ^ 1]) + body[1:],
    )
    put(
        "envelope-generation-edited",
        "damaged",
        "the header is authenticated",
        edited(line, generation=TIME + 1) + body,
    )
    put(
        "envelope-respaced",
        "damaged",
        "so is every byte of it",
        line.replace(b'"kind":', b'"kind": ') + body,
    )
    for name, bad in {
        "none": plaintext + bytes(256 - len(plaintext) % 256),
        "zeros": bytes(256),
        "uneven": plaintext + b"\x80",
        "other-mark": pad(plaintext).replace(b"\x80", b"\x81"),
    }.items():
        put(f"envelope-padding-{name}", "damaged", "padding that is not ours", sealed(line, bad))
    for name, about, changes in (
        ("unknown-field", "unknown fields are refused", {"note": "x"}),
        ("missing-field", "missing ones too", {"created": None}),
        ("float", "a generation that is no integer", {"generation": 1.5}),
        ("bool", "true is no integer", {"generation": True}),
        ("negative", "a negative generation", {"generation": -1}),
        ("too-great", "a generation beyond 2^53-1", {"generation": 2**53}),
        ("nested", "an object inside", {"name": {"a": 1}}),
        ("number", "a number where text belongs", {"name": 0}),
        ("upper-case-vault", "ids are lower-case", {"vault": VAULT.upper()}),
        ("short-vault", "ids have one length", {"vault": VAULT[:-1]}),
        ("bad-time", "a day that does not exist", {"created": "2026-02-30T00:00:00Z"}),
        ("other-time", "one form of time", {"created": "2026-11-23 21:45:13"}),
        ("unknown-kind", "a kind that is none", {"kind": "secret"}),
        ("empty-name", "an item has a name", {"name": ""}),
        ("other-origin", "created_from is iam or add", {"created_from": "me"}),
        ("origin-of-totp", "only credentials have an origin", {"kind": "totp"}),
        ("source-of-item", "only session files have a source", {"source": "item:jonsmith"}),
        ("format-0", "there was no format 0", {"format": "filevault/0"}),
        ("format-other", "another program's format", {"format": "age/1"}),
    ):
        put(f"envelope-{name}", "damaged", about, sealed(edited(line, **changes), padded))
    put(
        "envelope-duplicate",
        "damaged",
        "the same key twice",
        sealed(line.replace(b'{"format"', b'{"name":"jonsmith","format"'), padded),
    )
    put(
        "envelope-surrogate",
        "damaged",
        "half a character",
        sealed(line.replace(b'"jonsmith"', b'"\\ud800"'), padded),
    )
    put(
        "envelope-long-header",
        "damaged",
        "a header beyond 4096 bytes",
        sealed(edited(line, name="n" * 4096), padded),
    )
    put(
        "envelope-session-without-source",
        "damaged",
        "a session says what it was made from",
        sealed(edited(line, kind="session", created_from=None), padded),
        kind="session",
    )

    put(
        "envelope-newer",
        "newer",
        "the next format",
        sealed(edited(line, format="filevault/2"), padded),
    )
    put(
        "envelope-newer-unknown",
        "newer",
        "the next format, of another shape",
        compact({"format": "filevault/17", "suite": {"a": [1.5, None]}}) + b"\xff",
    )
    put(
        "envelope-newer-unordered",
        "newer",
        "the format need not stand first",
        compact({"suite": [], "format": "filevault/2"}) + b"\xff",
    )
    put(
        "envelope-newer-long",
        "newer",
        "the next format may have longer headers",
        compact({"format": "filevault/2", "more": "x" * 5000}),
    )

    put("envelope-renamed", "wrong name", "moved to another name", good, name="ops")
    put("envelope-case", "wrong name", "case matters", good, name="Jonsmith")
    put(
        "envelope-other-kind",
        "wrong kind",
        "an item in the place of a TOTP secret",
        good,
        kind="totp",
    )
    put(
        "envelope-foreign",
        "other vault",
        "from another vault with the same key",
        seal(header, plaintext, OTHER_VAULT),
    )
    other_id = key_schedule.item_key_id(OTHER_MASTER, VAULT)
    put(
        "envelope-old-key",
        "other key",
        "sealed under a former master key",
        envelope.seal(
            key_schedule.item_key(OTHER_MASTER, VAULT),
            VAULT,
            other_id,
            header,
            plaintext,
            Stream("nonce"),
        ),
    )
    put(
        "envelope-forged",
        "damaged",
        "right header, sealed with another key",
        sealed(line, padded, key_schedule.item_key(OTHER_MASTER, VAULT)),
    )


def _kind(kind: str, name: str) -> ItemHeader:
    return ItemHeader(kind, name, TIME, WHEN)
