"""Writing recipients files: noted first, pinned at last, so that they change as a whole."""

from __future__ import annotations

import binascii
import contextlib
from typing import TYPE_CHECKING

from filevault.errors import PinError, StorageError
from filevault.system.digest import sha256_hex
from filevault.vault.identity import pin_of
from filevault.vault.pin import difference

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from filevault.system.files import Folder
    from filevault.vault import Vault
    from filevault.vault.recipients.change import Change

_LIMIT = 1 << 20


class RecipientsFiles:
    """The recipients files of an open vault, whose lock the caller holds.

    Args:
        vault: the vault.
        file: the name of a recipients file.
    """

    def __init__(self, vault: Vault, file: str) -> None:
        self._vault = vault
        self._backend = vault.recipients_backend
        self._file = file

    def complete(self) -> None:
        """Write what is left to write of a change that was cut off between two of its files.

        A signature without its file, say, which no other command takes for good. Nothing is
        written but what this machine has noted, and only if the other files are still as it left
        them.
        """
        trust = self._vault.trust
        trust.reload()
        begun, left = False, {}
        for path, noted in trust.writing.items():
            try:
                before, text = noted
                data = binascii.a2b_base64(text)
            except ValueError:
                return  # nothing that we have noted
            found = sha256_hex(self._read(path))
            if found == sha256_hex(data):
                begun = True
            elif found == before:
                left[path] = data
            else:
                return
        if begun:
            for path, data in left.items():
                self._put(path, data)

    def write(self, change: Change, unfinished: Mapping[str, Sequence[str]]) -> list[str]:
        """Write the recipients files and pin them; return their paths in the store.

        `unfinished` are the places whose items are encrypted anew after that, with who was taken
        out of each.

        Raises:
            LockedError: if a signature is wanted that cannot be made.
            PinError: if recipients files changed under our hands.
            StorageError: if they cannot be written.
        """
        files = {
            f"{_folder(place)}{name}": data
            for place, wanted in change.wanted
            for name, data in self._backend.recipients_files(wanted, self._read(place)).items()
        }
        trust = self._vault.trust
        with self._noting():
            trust.begin_change(
                change.after,
                unfinished,
                {path: (sha256_hex(self._read(path)), _text(data)) for path, data in files.items()},
            )
        for path, data in files.items():
            self._put(path, data)
        self._backend.forget()
        actual = pin_of(self._backend)
        if actual != change.after:
            changes = "; ".join(difference(change.after, actual)[:4])
            raise PinError(
                f"somebody else changed the recipients meanwhile: {changes}",
                hint="if that is meant, filevault recipients accept",
            )
        with self._noting():
            trust.set_pin(actual)
        return list(files)

    def files(self, change: Change) -> list[str]:
        """Return the paths of all recipients files that there are after a change.

        With those of signatures, there or not; and nothing that lies outside of the store.
        """
        places = [place for place, _ in change.after.recipients]
        files = [place for place in places if place.rpartition("/")[2] == self._file]
        return [path for place in files for path in (place, f"{place}.sig")]

    def finish(self, left: Mapping[str, Sequence[str]]) -> None:
        """Note whose items are left to be encrypted anew, if any; the rest is done."""
        with self._noting():
            self._vault.trust.set_unfinished(left)

    @contextlib.contextmanager
    def _noting(self) -> Iterator[None]:
        """Let a pin that was given stand in where nothing can be remembered."""
        try:
            yield
        except StorageError:
            if self._vault.state is not None:
                raise

    @contextlib.contextmanager
    def _folder(self, parts: Sequence[str], *, create: bool = False) -> Iterator[Folder]:
        with contextlib.ExitStack() as opened:
            folder = self._vault.folder
            for part in parts:
                inner = folder.make_child(part) if create else folder.child(part)
                folder = opened.enter_context(inner)
            yield folder

    def _read(self, path: str) -> bytes:
        *folders, file = path.split("/")
        try:
            with self._folder(folders) as opened:
                opened.refuse_link(file)
                return opened.read(file, _LIMIT)
        except FileNotFoundError:
            return b""

    def _put(self, path: str, data: bytes) -> None:
        *folders, file = path.split("/")
        with self._folder(folders, create=True) as opened:
            opened.write(file, data, keep=file)


def _folder(place: str) -> str:
    return place[: place.rfind("/") + 1]


def _text(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode("ascii")
