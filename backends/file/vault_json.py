"""`.filevault/vault.json`, the marker of a `file` vault (`docs/format.md` §5)."""

from __future__ import annotations

from filevault import errors
from filevault.backends.file import FILE as BACKEND
from filevault.backends.sealing import format_header
from filevault.errors import DamagedError
from filevault.system import strict_json
from filevault.system.merge_conflicts import refuse_conflict
from filevault.system.printable import printable
from filevault.system.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from filevault.system.files import Folder

FOLDER, FILE = BACKEND.marker.split("/")
_FIELDS: dict[str, type] = {"format": str, "vault": str, "master": str, "commit": str}


class Marker(Record):
    """The vault's id, the key id of its items and the commitment to its master key, as hex."""

    vault: str
    master_id: str
    commitment: str


def read(root: Folder) -> Marker:
    """Return a vault's marker.

    Raises:
        NoVaultError: if there is none.
        NewerFormatError: if a newer filevault made it.
        DamagedError: if filevault did not write it.
        StorageError: if it cannot be read, or is a link.
    """
    try:
        with root.child(FOLDER) as folder:
            data = folder.read(FILE, format_header.MAX_HEADER)
            path = folder.join(FILE)
    except FileNotFoundError as error:
        raise errors.NoVaultError(
            f"there is no vault at {printable(root.path)!r}", hint="filevault init makes one"
        ) from error
    what = f"{printable(path)!r}"
    refuse_conflict(data, what, path)
    return parse(data, what)


def parse(data: bytes, what: str) -> Marker:
    """Return the marker in a file's bytes; raises DamagedError or NewerFormatError."""
    if len(data) > format_header.MAX_HEADER:
        format_header.refuse_newer(data, what)
        raise DamagedError(f"{what} is damaged: it is longer than {format_header.MAX_HEADER} bytes")
    values = format_header.parse(data, _FIELDS, what)
    return Marker(
        format_header.check_hex(values, "vault", 32, what),
        format_header.check_hex(values, "master", 16, what),
        format_header.check_hex(values, "commit", 64, what),
    )


def build(marker: Marker) -> bytes:
    """Return the bytes of vault.json."""
    values = {
        "format": format_header.FORMAT,
        "vault": marker.vault,
        "master": marker.master_id,
        "commit": marker.commitment,
    }
    return strict_json.dumps(values) + b"\n"


def write(folder: Folder, marker: Marker) -> None:
    """Write the marker into an open `.filevault`, which makes the folder a vault."""
    folder.write(FILE, build(marker), keep=FILE)
