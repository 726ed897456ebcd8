"""A fourth backend, in one module: plain files under a key that lies beside them in the clear."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from typing import TYPE_CHECKING, Any, Literal

from filevault.backends.definition import SEALED, Backend, VaultParts
from filevault.backends.item_header import ItemHeader
from filevault.errors import DamagedError, StorageError, TamperedError

if TYPE_CHECKING:
    from filevault.system.files import Folder

_NONCE = _MAC = 32


class ToyBackend:
    """A toy vault: its marker has the key of its items."""

    name = "toy"
    suffix = ".toy"
    family: Literal["sealed"] = SEALED
    head_size = 1024
    opened_slot = None

    def __init__(self, root: Folder) -> None:
        self._root = root
        self._key = root.read(TOY.marker, 64)

    @property
    def vault_id(self) -> str:
        return hashlib.sha256(b"id" + self._key).hexdigest()[:32]

    @property
    def commitment(self) -> str:
        return hashlib.sha256(b"commitment" + self._key).hexdigest()

    def unlock(self) -> None:
        pass

    def vault_key(self) -> bytes:
        return self._key

    def confirm(self) -> None:
        if self._root.read(TOY.marker, 64) != self._key:
            raise StorageError("the toy has another key")

    def encrypt(self, header: ItemHeader, plaintext: bytes) -> bytes:
        line = json.dumps(header._asdict()).encode() + b"\n"
        nonce = os.urandom(_NONCE)
        data = line + nonce + self._mixed(nonce, plaintext)
        return data + hmac.digest(self._key, data, "sha256")

    def decrypt(self, kind: str, name: str, data: bytes) -> bytes:
        if not hmac.compare_digest(hmac.digest(self._key, data[:-_MAC], "sha256"), data[-_MAC:]):
            raise DamagedError(f"item {name!r} is damaged")
        header, line = self.peek(data), data.index(b"\n") + 1
        if (header.kind, header.name) != (kind, name):
            raise TamperedError(f"item {name!r} is another one")
        body = data[line:-_MAC]
        return self._mixed(body[:_NONCE], body[_NONCE:])

    def peek(self, data: bytes, what: str = "the item") -> ItemHeader:
        try:
            fields: dict[str, Any] = json.loads(data.partition(b"\n")[0])
            return ItemHeader(**fields)
        except (ValueError, TypeError) as error:
            raise DamagedError(f"{what} is damaged") from error

    def created(self, head: bytes) -> tuple[str, str | None]:
        header = self.peek(head)
        return header.created, header.created_from

    def _mixed(self, nonce: bytes, text: bytes) -> bytes:
        stream = hashlib.shake_256(self._key + nonce).digest(len(text))
        return bytes(one ^ other for one, other in zip(text, stream, strict=True))


def _open(parts: VaultParts) -> ToyBackend:
    return ToyBackend(parts.store)


def create(root: Folder, **_options: object) -> ToyBackend:
    root.write(TOY.marker, os.urandom(32))
    return ToyBackend(root)


TOY = Backend(
    name="toy",
    suffix=".toy",
    marker="toy-key",
    family=SEALED,
    opener=_open,
    creator=create,
    keys_hint="its key lies beside the items",
)
