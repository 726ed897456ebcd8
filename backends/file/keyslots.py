"""Keyslots: files that have the master key, wrapped under one passphrase or one key file.

Each is a file of its own, named after its content, so that two machines can each add one and a
synced vault still merges (`docs/format.md` §5).
"""

from __future__ import annotations

import binascii
import contextlib
import os
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from filevault.backends import kdf
from filevault.backends.file import vault_json
from filevault.backends.sealing import format_header, key_schedule, xaes
from filevault.errors import DamagedError, FilevaultError, LockedError, StorageError, UsageError
from filevault.system import strict_json
from filevault.system.digest import sha256_hex
from filevault.system.printable import printable
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from filevault.backends.kdf import KdfParameters
    from filevault.system.files import Folder
    from filevault.system.secret_buffer import SecretBytes

SUFFIX = ".slot"
FOLDER = "slots"
MAX_FILE = 8192
PASSPHRASE = "argon2id"  # noqa: S105 - a type of slot
KEYFILE = "keyfile"
TYPES = {"passphrase": PASSPHRASE, "keyfile": KEYFILE}
"""The type of the keyslots that a secret is tried on, by the secret's kind."""

MAX_LABEL = 200
_KEYFILE_PREFIX = b"filevault-key-1:"
_WHITE_SPACE = b" \t\n\r\v\f"
_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_", b"+/")
_ID_DIGITS = 16
_CHECK_SIZE = 16
_WRAPPED_SIZE = xaes.NONCE_SIZE + key_schedule.KEY_SIZE + xaes.TAG_SIZE
_COMMON: dict[str, type] = {
    "format": str,
    "vault": str,
    "master": str,
    "type": str,
    "label": str,
    "created": str,
    "salt": str,
    "check": str,
}
_COSTS: dict[str, type] = {"memory_kib": int, "iterations": int, "lanes": int}


class Slot(Record):
    """A parsed keyslot file; nothing of it is authenticated before it is unwrapped.

    `master_id` is the key id of the master key that it has.
    """

    id: str
    vault: str
    master_id: str
    type: str
    label: str
    created: str
    parameters: KdfParameters | None  # of a passphrase slot only
    salt: bytes
    check: bytes
    line: bytes
    wrapped: bytes

    @property
    def cost(self) -> int:
        """The cost of trying it, as `KdfParameters.cost`; 0 for a key file's keyslot."""
        return self.parameters.cost if self.parameters else 0


def described(slot: str) -> str:
    """Return the name of a keyslot for messages."""
    return f"keyslot {printable(slot, 40)!r}"


def check_label(label: str) -> None:
    """Raise UsageError for a label that is too long or has invisible characters."""
    if len(label) > MAX_LABEL or not label.isprintable():
        raise UsageError(
            f"a label has up to {MAX_LABEL} characters, all of them visible",
            hint="give a shorter one, of plain characters",
        )


def file_name(data: bytes) -> str:
    """Return the name that a slot file of this content must have."""
    return sha256_hex(data)[:_ID_DIGITS] + SUFFIX


def parse(data: bytes, name: str, what: str) -> Slot:
    """Parse a keyslot file. Its costs are checked later, by `kdf.check_bounds`.

    Raises:
        NewerFormatError: for a format above 1.
        DamagedError: if filevault did not write it, and if the name does not match the content.
    """
    if len(data) > MAX_FILE:
        format_header.refuse_newer(data[: format_header.MAX_HEADER], what)
        raise DamagedError(f"{what} is damaged: it is longer than {MAX_FILE} bytes")
    line, wrapped = format_header.split(data, what)
    # As in an envelope: a key in raw JSON cannot occur inside a string.
    costly = b'"memory_kib":' in line
    values = format_header.parse(line, {**_COMMON, **_COSTS} if costly else _COMMON, what)
    if name != file_name(data):
        raise DamagedError(
            f"{what} is damaged: its name does not belong to its content",
        )
    vault = format_header.check_hex(values, "vault", 32, what)
    master = format_header.check_hex(values, "master", 16, what)
    created = format_header.check_time(values, "created", what)
    if values["type"] != (PASSPHRASE if costly else KEYFILE):
        raise DamagedError(f"{what} is damaged: it is of no known type")
    parameters = kdf.KdfParameters(*(int(values[cost]) for cost in _COSTS)) if costly else None
    salt = format_header.check_base64(values, "salt", what)
    if not kdf.MIN_SALT <= len(salt) <= kdf.MAX_SALT:
        raise DamagedError(f"{what} is damaged: its salt has {len(salt)} bytes")
    check = bytes.fromhex(format_header.check_hex(values, "check", 2 * _CHECK_SIZE, what))
    if len(wrapped) != _WRAPPED_SIZE:
        raise DamagedError(f"{what} is damaged: it has been cut short, or something was added")
    return Slot(
        name.removesuffix(SUFFIX),
        vault,
        master,
        str(values["type"]),
        str(values["label"]),
        created,
        parameters,
        salt,
        check,
        line,
        wrapped,
    )


class NewKeyslot(Record):
    """A keyslot that is to be written.

    `secret` is a passphrase as `kdf.passphrase_bytes` returns it, or the 32 bytes of a key file.
    `parameters` are those of a passphrase's keyslot; None makes one of the type `keyfile`. `label`
    is for people, and published with the vault. `created` is the time now, as text.
    """

    _secret = ("secret",)

    secret: bytes
    parameters: KdfParameters | None
    label: str
    created: str


def build(
    master: bytes,
    vault: str,
    new: NewKeyslot,
    random: Callable[[int], bytes] = os.urandom,
) -> bytes:
    """Return the bytes of a new keyslot file.

    Args:
        master: the master key to wrap.
        vault: the vault's id.
        new: what the keyslot has.
        random: returns random bytes, for salt and nonce.
    """
    salt = random(kdf.MIN_SALT)
    parameters = new.parameters
    kek = _kek(new.secret, salt, vault, parameters)
    values: dict[str, object] = {
        "format": format_header.FORMAT,
        "vault": vault,
        "master": key_schedule.item_key_id(master, vault),
        "type": PASSPHRASE if parameters else KEYFILE,
        "label": new.label,
        "created": new.created,
        **(parameters._asdict() if parameters else {}),
        "salt": binascii.b2a_base64(salt, newline=False).decode("ascii"),
        "check": _check(kek, vault, salt).finalize()[:_CHECK_SIZE].hex(),
    }
    line = strict_json.dumps(values) + b"\n"
    nonce = random(xaes.NONCE_SIZE)
    data = line + nonce + xaes.encrypt(kek[: xaes.KEY_SIZE], nonce, master, line)
    parse(data, file_name(data), "the new keyslot")  # never write what could not be read
    return data


def write(
    folder: Folder,
    master: bytes,
    vault: str,
    new: NewKeyslot,
    *,
    replaces: str | None = None,
    random: Callable[[int], bytes] = os.urandom,
) -> str:
    """Write a new keyslot as `build` makes it, read it back, unwrap it, and return its id.

    `replaces` is the id of the keyslot whose group, ACL and mode it gets.

    Raises StorageError if it cannot be written, or cannot be unwrapped when it is read back; then
    it is deleted.
    """
    data = build(master, vault, new, random)
    name = file_name(data)
    what = described(name.removesuffix(SUFFIX))
    try:
        keep = None if replaces is None else replaces + SUFFIX
        folder.write(name, data, keep=keep)
        try:
            slot = parse(folder.read(name, MAX_FILE), name, what)
            opened = unwrap(slot, new.secret, what)
        except (FileNotFoundError, DamagedError) as error:
            raise StorageError(f"{what} cannot be read back after it was written") from error
        if opened != master:
            raise StorageError(f"{what} does not open after it was written")
    except BaseException:
        # Its secret may never be shown, so it must not unlock the vault.
        with contextlib.suppress(FileNotFoundError, StorageError):
            folder.remove(name)
        raise
    return slot.id


def _kek(secret: SecretBytes, salt: bytes, vault: str, parameters: KdfParameters | None) -> bytes:
    if parameters is None:
        return key_schedule.keyfile_kek(bytes(secret), salt, vault)
    return kdf.derive(secret, salt, parameters)


def _check(kek: bytes, vault: str, salt: bytes) -> HMAC:
    code = HMAC(kek[xaes.KEY_SIZE :], SHA256())
    code.update(b"filevault/1 check" + bytes.fromhex(vault) + salt)
    return code


def unwrap(slot: Slot, secret: SecretBytes, what: str) -> bytes | None:
    """Return the master key, or None if the secret does not fit this keyslot.

    The check value distinguishes a wrong secret from damage, and commits to the key, which GCM
    alone does not. The caller has checked the bounds, and compares the key with vault.json.

    Raises:
        DamagedError: if the secret fits and the wrapped key is damaged.
        BackendError: if there is not enough memory.
    """
    kek = _kek(secret, slot.salt, slot.vault, slot.parameters)
    # All 32 bytes of the HMAC exist only here, half of them in the file: complete the stored
    # half with the computed one, and let the library compare.
    expected = _check(kek, slot.vault, slot.salt)
    rest = expected.copy().finalize()[_CHECK_SIZE:]
    try:
        expected.verify(slot.check + rest)
    except InvalidSignature:
        return None
    nonce, sealed = slot.wrapped[: xaes.NONCE_SIZE], slot.wrapped[xaes.NONCE_SIZE :]
    try:
        return xaes.decrypt(kek[: xaes.KEY_SIZE], nonce, sealed, slot.line)
    except InvalidTag as error:
        raise DamagedError(
            f"{what} is damaged: the passphrase or key is right, its content is not",
        ) from error


def new_keyfile_text(random: Callable[[int], bytes] = os.urandom) -> bytes:
    """Return the text of a new key file, one line."""
    return _KEYFILE_PREFIX + _encoded(random(key_schedule.KEY_SIZE)) + b"\n"


def _encoded(key: bytes) -> bytes:
    """Return unpadded base64url (RFC 4648 §5). The base64 module costs the start 0.5 ms."""
    return binascii.b2a_base64(key, newline=False).rstrip(b"=").translate(_TO_URL)


def keyfile_bytes(text: bytes, what: str) -> bytes:
    """Return the 32 bytes in a key file's text; surrounding white space is ignored.

    Raises LockedError, which calls it `what`, for any other text.
    """
    stripped = text.strip(_WHITE_SPACE)
    encoded = stripped.removeprefix(_KEYFILE_PREFIX)
    if encoded == stripped or len(encoded) != 43:
        raise LockedError(
            f"{what} is not of the form filevault-key-1:... that filevault makes",
            hint="the key is the one line of the file that --new-key-file wrote",
        )
    try:
        key = binascii.a2b_base64(encoded.translate(_FROM_URL) + b"=", strict_mode=True)
    except ValueError:
        key = b""
    if _encoded(key) != encoded:
        # The exception's own text could show a part of the key.
        raise LockedError(f"{what} is damaged: it is not unpadded base64url")
    return key


def files(root: Folder) -> list[tuple[str, bytes]]:
    """Return the names and the bytes of a vault's keyslot files, sorted, damaged ones too."""
    found = []
    try:
        with root.child(vault_json.FOLDER) as inner, inner.child(FOLDER) as folder:
            for entry in folder.entries():
                if entry.name.endswith(SUFFIX) and entry.is_file(follow_symlinks=False):
                    found.append((entry.name, folder.read(entry.name, MAX_FILE)))
    except FileNotFoundError:
        pass
    return found


def listing(root: Folder) -> list[Slot]:
    """Return a vault's keyslots, sorted by id; unreadable ones are left out.

    None is unwrapped, so none is authenticated.
    """
    found = []
    try:
        with root.child(vault_json.FOLDER) as inner, inner.child(FOLDER) as folder:
            for entry in folder.entries():
                if entry.name.endswith(SUFFIX):
                    with contextlib.suppress(FilevaultError, FileNotFoundError):
                        data = folder.read(entry.name, MAX_FILE)
                        found.append(parse(data, entry.name, "a keyslot"))
    except FileNotFoundError:
        return []
    return found


def weaker(found: Iterable[Slot], default: KdfParameters) -> list[Slot]:
    """Return the keyslots that are cheaper to guess than new ones: in memory or in total cost.

    They are kept until their passphrase is changed, even to the same one.
    """
    return [
        slot
        for slot in found
        if slot.parameters is not None
        and (slot.parameters.memory_kib < default.memory_kib or slot.cost < default.cost)
    ]
