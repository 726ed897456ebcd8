"""A `file` vault opened in this process, with secret sources and edited keyslots."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from filevault.backends.definition import VaultParts
from filevault.backends.file import keyslots, vault_json
from filevault.backends.file.backend import FileBackend
from filevault.backends.file.new_vault import create
from filevault.backends.kdf import KdfParameters, KdfPolicy
from filevault.backends.values import Secret
from filevault.errors import LockedError, WrongPassphraseError
from filevault.system.files import Folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from filevault.backends.file.vault_json import Marker
    from filevault.backends.protocols import SecretSource
    from filevault.backends.values import IdentityText

CHEAP = KdfPolicy(default=KdfParameters(64, 1, 1), min_memory_kib=8)
PASSPHRASE = b"correct horse battery staple"
TIME = 1795470313.0
WHEN = "2026-11-23T21:45:13Z"
PLENTY = 1 << 40


class OwnedFolder(Folder):
    """A folder that is closed when nothing refers to it any more."""

    __slots__ = ()

    def __del__(self) -> None:
        self.close()


class GivenSecrets:
    """A secret source that returns given secrets in turn; rejecting the last one is final."""

    def __init__(self, *secrets: bytes | Secret) -> None:
        self.secrets = [
            Secret("passphrase", secret, "the test") if isinstance(secret, bytes) else secret
            for secret in secrets
        ]
        self.asked = 0
        self.refused = 0

    def secret(self) -> Secret:
        self.asked += 1
        return self.secrets[self.asked - 1]

    def on_rejected(self, secret: Secret) -> None:
        self.refused += 1
        if self.asked == len(self.secrets):
            raise WrongPassphraseError(f"the {secret.kind} from {secret.origin} is wrong")


class KnownPassphrase:
    """A secret source with one passphrase; the test fails if it is rejected."""

    def __init__(self, text: str = PASSPHRASE.decode()) -> None:
        self._text = text

    def secret(self) -> Secret:
        return Secret("passphrase", self._text.encode(), "the test")

    def on_rejected(self, secret: Secret) -> None:  # noqa: ARG002 - the protocol's
        raise AssertionError("the passphrase opens nothing")


class SameAnswer:
    """A terminal at which every question gets the same answer."""

    present = True

    def __init__(self, answer: str) -> None:
        self.answer = answer
        self.heard: list[str] = []

    def say(self, text: str) -> None:
        self.heard.append(text)

    def line(self, question: str) -> str:
        self.heard.append(question)
        return self.answer

    def hidden(self, question: str) -> bytes:
        self.heard.append(question)
        return self.answer.encode()


class NoIdentities:
    """A source of age identities that has none."""

    origin = "nowhere"

    def texts(self) -> list[IdentityText]:
        raise LockedError("there is no identity")


def keyfile(text: bytes) -> Secret:
    return Secret("keyfile", text, "the test")


def make(
    path: Path,
    passphrase: bytes | None = PASSPHRASE,
    keyfile_text: bytes | None = None,
    parameters: KdfParameters | None = None,
    label: str = "",
) -> FileBackend:
    with Folder.make(str(path)) as root:
        return create(
            root,
            passphrase=passphrase,
            keyfile_text=keyfile_text,
            policy=CHEAP,
            parameters=parameters,
            label=label,
            clock=lambda: TIME,
        )


def parts(store: Folder, source: SecretSource, **more: Any) -> VaultParts:
    """Return what an opener is given: `more` are the fields that matter to a test."""
    given = VaultParts(
        store=store,
        root=store.path,
        prefix=(),
        other_tools=False,
        environment=dict,
        folders_of=lambda name: name.split("/")[:-1],
        secrets=lambda _request: source,
        named_secrets=lambda _request: source,
        identities=NoIdentities,
        cached_key=lambda _mark: None,
        pinned_recipients=tuple,
        person=None,
        warn=lambda _text: None,
        on_asked=lambda: None,
        kdf_policy=lambda: CHEAP,
    )
    return given._replace(**more)


def opened(root: Folder, source: SecretSource, **more: Any) -> FileBackend:
    """Open a vault in a folder that is open; `more` as in `parts`."""
    return FileBackend.open(parts(root, source, **more), available_memory=lambda: PLENTY)


def reopen(
    path: Path,
    source: GivenSecrets,
    policy: KdfPolicy = CHEAP,
    last_slot: str | None = None,
    only_slot: str | None = None,
    available: Callable[[], int] = lambda: PLENTY,
) -> FileBackend:
    """Open a vault; its root is closed when nothing refers to the vault any more."""
    given = parts(
        OwnedFolder.open(str(path)),
        source,
        kdf_policy=lambda: policy,
        last_slot=last_slot,
        only_slot=only_slot,
    )
    return FileBackend.open(given, available_memory=available)


def slot_folder(path: Path) -> Path:
    return path / vault_json.FOLDER / keyslots.FOLDER


def slot_files(path: Path) -> list[Path]:
    return sorted(slot_folder(path).glob("*.slot"))


def add_slot(
    path: Path,
    vault: Marker,
    master: bytes,
    secret: bytes,
    parameters: KdfParameters | None = CHEAP.default,
) -> Path:
    """Put one more slot into a vault and return its file."""
    data = keyslots.build(master, vault.vault, keyslots.NewKeyslot(secret, parameters, "", WHEN))
    return put_slot(path, data)


def put_slot(path: Path, data: bytes) -> Path:
    """Put the bytes of a slot file into a vault under the name that they must have."""
    folder = slot_folder(path)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / keyslots.file_name(data)
    file.write_bytes(data)
    return file


def edit_line(data: bytes, **changes: object) -> bytes:
    """Return a file with fields of its header line set anew; the body stays."""
    line, _, body = data.partition(b"\n")
    values: dict[str, Any] = json.loads(line)
    values.update(changes)
    return json.dumps(values, separators=(",", ":")).encode() + b"\n" + body
