"""Write recipients files as one change: recorded before the first, pinned after the last."""

from __future__ import annotations

import binascii
import contextlib
from typing import TYPE_CHECKING

from filevault.errors import PinError, StorageError
from filevault.system.digest import sha256_hex
from filevault.vault.pin import accept_hint, difference, pin_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from filevault.system.files import Folder
    from filevault.vault.recipients.change import RecipientsChange
    from filevault.vault.vault import Vault

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

    def resume(self) -> None:
        """Write the remaining files of a change that was interrupted between two of its files.

        A signature without its file, for example, is invalid for every other command. Only files
        that this machine recorded are written, and only if the others are unchanged since.
        """
        trust = self._vault.trust
        trust.reload()
        begun, left = False, {}
        for path, recorded in trust.pending_files.items():
            try:
                before, text = recorded
                data = binascii.a2b_base64(text)
            except ValueError:
                return  # not a record of filevault
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

    def write(
        self, change: RecipientsChange, reencryption: Mapping[str, Sequence[str]]
    ) -> list[str]:
        """Write the recipients files and pin them; return their paths in the store.

        Args:
            change: with the recipients of each file.
            reencryption: the paths whose items are to be re-encrypted then, with the recipients
                removed from each.

        Raises:
            LockedError: if a signature is required that cannot be made.
            PinError: if another process changed recipients files at the same time.
            StorageError: if they cannot be written.
        """
        files = {
            f"{_folder(path)}{name}": data
            for path, recipients in change.recipients
            for name, data in self._backend.recipients_files(recipients, self._read(path)).items()
        }
        trust = self._vault.trust
        with self._recording():
            trust.begin_recipients_change(
                change.after,
                reencryption,
                {path: (sha256_hex(self._read(path)), _text(data)) for path, data in files.items()},
            )
        for path, data in files.items():
            self._put(path, data)
        self._backend.forget()
        actual = pin_of(self._backend)
        if actual != change.after:
            changes = "; ".join(difference(change.after, actual)[:4])
            raise PinError(
                f"the recipients were changed by another process at the same time: {changes}",
                hint=accept_hint(),
            )
        with self._recording():
            trust.set_pin(actual)
        return list(files)

    def paths_after(self, change: RecipientsChange) -> list[str]:
        """Return the paths of all recipients files after a change, each with its signature's.

        A signature may not exist. Overrides by variables are left out.
        """
        paths = [path for path, _ in change.after.recipients]
        files = [path for path in paths if path.rpartition("/")[2] == self._file]
        return [path for file in files for path in (file, f"{file}.sig")]

    def finish(self, left: Mapping[str, Sequence[str]]) -> None:
        """Record the end of a change; `left` are the paths with items still to re-encrypt."""
        with self._recording():
            self._vault.trust.end_recipients_change(left)

    @contextlib.contextmanager
    def _recording(self) -> Iterator[None]:
        """Ignore failures to record without a state directory: a given pin is used then."""
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


def _folder(path: str) -> str:
    return path[: path.rfind("/") + 1]


def _text(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode("ascii")
