"""The token records on disk: each in a sealed file of the state directory (`docs/format.md` §7).

The present record is replaced atomically and durably, so that a kill or a power failure at any
instant leaves the old tokens or the new ones.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress

from filevault import errors
from filevault.errors import FilevaultError, IntegrityError, NewerFormatError, StorageError
from filevault.sessions import token_file
from filevault.system.printable import printable
from filevault.vault.state_directory import SSO_FOLDER, TOKEN_FOLDERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from filevault.sessions.lock_wait import LockWait
    from filevault.sources.token_records import ListedToken, TokenName, TokenRecord
    from filevault.system.files import Folder

_LOCKS = "locks"
DELETE_TIMEOUT = 5.0
"""Seconds that a deletion waits for a refresh; one of AWS takes less."""


_BUSY = (
    "another filevault is using a sign-in that is deleted here, and may store it again: run this "
    "again when that has ended"
)


class TokenStore:
    """Token records below a vault's state directory; implements `TokenRecords`.

    Args:
        state: the state directory, open and writable.
        state_id: its name, 32 hex digits.
        session_key: returns the 32 bytes that seal records; may raise LockedError, StorageError.
        clock: Unix seconds.
        wait: returns for an action how to wait for another process.
        warn: prints a warning.
        timeout: seconds to wait for another process in `lock`; None for as long as `wait` says.
    """

    __slots__ = ("_clock", "_session_key", "_state", "_state_id", "_timeout", "_wait", "_warn")

    def __init__(
        self,
        state: Folder,
        state_id: str,
        session_key: Callable[[], bytes],
        *,
        clock: Callable[[], float],
        wait: Callable[[str], LockWait],
        warn: Callable[[str], None],
        timeout: float | None = None,
    ) -> None:
        self._state = state
        self._state_id = state_id
        self._session_key = session_key
        self._clock = clock
        self._wait = wait
        self._warn = warn
        self._timeout = timeout

    def read(self, name: TokenName) -> TokenRecord | None:
        """Return a record, None if there is none.

        One that cannot be trusted counts as absent, with a warning: a sign-in replaces it. Raises
        what `session_key` raises, and StorageError.
        """
        path = token_file.path_of(name)
        try:
            with self._state.child(path.folder) as folder:
                data = folder.read(path.entry, token_file.MAX_FILE)
        except FileNotFoundError:
            return None
        try:
            return token_file.unseal(self._session_key(), self._state_id, name, data)
        except (IntegrityError, NewerFormatError) as error:
            self._warn(f"the kept sign-in of {printable(name.source)} is not used: {error.message}")
            return None

    def prepare(self, name: TokenName) -> None:
        """Write a record's present bytes once more: raise StorageError if that is not possible."""
        path = token_file.path_of(name)
        self._session_key()
        with self._state.make_child(path.folder) as folder, suppress(FileNotFoundError):
            folder.write(path.entry, folder.read(path.entry, token_file.MAX_FILE))

    def replace(self, name: TokenName, record: TokenRecord) -> None:
        """Store a record; the file and its folder are synced on return.

        Raises what `session_key` raises, BackendError for a record that is too long, StorageError.
        """
        path = token_file.path_of(name)
        key = self._session_key()
        data = token_file.seal(key, self._state_id, name, record, self._clock())
        with self._state.make_child(path.folder) as folder:
            folder.write(path.entry, data)

    def delete(self, name: TokenName) -> bool:
        """Delete a record; return whether there was one. Raises StorageError."""
        path = token_file.path_of(name)
        try:
            with self._state.child(path.folder) as folder:
                folder.remove(path.entry)
        except FileNotFoundError:
            return False
        return True

    @contextmanager
    def lock(self, name: TokenName, action: str) -> Iterator[None]:
        """Take the record's flock; it is free again when the process ends.

        Raises StorageError if it cannot be taken, and what the wait raises.
        """
        from filevault.system.locks import key_lock

        pause = self._wait(action).begin(self._timeout)
        with (
            self._state.make_child(_LOCKS) as locks,
            key_lock(locks, _lock_name(token_file.path_of(name)), pause),
        ):
            yield

    def discard(self, name: TokenName, within: float = DELETE_TIMEOUT) -> bool:
        """Delete a record after a refresh that is under way; return whether there was one.

        So a refresh under way does not store it again. One that lasts longer than `within`
        seconds, such as a sign-in by a person, is not waited for: a warning says so. Raises
        StorageError.
        """
        with ExitStack() as held:
            taken = self._lock_briefly(held, token_file.path_of(name), within)
            gone = self.delete(name)
        if not taken:
            self._warn(_BUSY)
        return gone

    def _lock_briefly(self, held: ExitStack, path: token_file.TokenPath, within: float) -> bool:
        """Take a record's flock into `held`; return False if others keep it."""
        from filevault.system.locks import key_lock

        pause = self._wait("using a kept sign-in").begin(within)
        try:
            locks = held.enter_context(self._state.make_child(_LOCKS))
            held.enter_context(key_lock(locks, _lock_name(path), pause))
        except errors.BusyError:
            return False
        except StorageError:
            pass  # a full disk must not prevent a deletion
        return True

    def listing(self) -> list[ListedToken]:
        """Return what the headers of all records say; nothing is decrypted."""
        found = []
        for part, folder in self._folders():
            for entry in folder.entries():
                with suppress(FileNotFoundError, StorageError, IntegrityError, NewerFormatError):
                    data = folder.read(entry.name, token_file.MAX_FILE)
                    each = token_file.listed(part, entry.name, data)
                    if each is not None:
                        found.append(each)
        return found

    def has_files(self) -> bool:
        """Return whether there is any record; nothing is read."""
        return any(folder.entries() for _part, folder in self._folders())

    def check_files(self, key: bytes) -> Iterator[tuple[str, FilevaultError | None]]:
        """Open each record with the session key; yield its path, and the error if it fails."""
        for part, folder in self._folders():
            for entry in folder.entries():
                if not entry.name.endswith(token_file.SUFFIX):
                    continue
                path = token_file.TokenPath(part, entry.name)
                failed: FilevaultError | None = None
                try:
                    data = folder.read(entry.name, token_file.MAX_FILE)
                    token_file.check(key, self._state_id, path, data)
                except FileNotFoundError:
                    continue  # another process deleted it
                except FilevaultError as error:
                    failed = error
                yield path.header_name, failed

    def clear_sso(self) -> int:
        """Delete every record of Identity Center; return how many sign-ins these were.

        Registrations of clients are deleted too, and not counted. A refresh under way is waited
        for as in `discard`. Raises StorageError.
        """
        gone = 0
        timeout = DELETE_TIMEOUT
        for part, folder in self._folders():
            if part != SSO_FOLDER:
                continue
            for entry in folder.entries():
                if entry.name.endswith(token_file.SUFFIX) and entry.is_file(follow_symlinks=False):
                    with suppress(FileNotFoundError), ExitStack() as held:
                        path = token_file.TokenPath(part, entry.name)
                        if not self._lock_briefly(held, path, timeout):
                            timeout = 0.0  # the bound is for all together
                        folder.remove(entry.name)
                        gone += not entry.name.endswith(f"-client{token_file.SUFFIX}")
            folder.sweep()
        if not timeout:
            self._warn(_BUSY)
        return gone

    def _folders(self) -> Iterator[tuple[str, Folder]]:
        for part in TOKEN_FOLDERS:
            with suppress(FileNotFoundError), self._state.child(part) as folder:
                yield part, folder


def _lock_name(path: token_file.TokenPath) -> str:
    return f"{path.folder}-{path.entry.removesuffix(token_file.SUFFIX)}"
