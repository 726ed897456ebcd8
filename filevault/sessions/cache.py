"""The session cache: temporary credentials, each in a sealed file of its own.

It is in the state directory, never in the vault, and has the same form for every backend
(`docs/format.md` §7). A file that cannot be read is a miss, never an error: a session can always
be obtained again.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress

from filevault import errors
from filevault.errors import (
    FilevaultError,
    IntegrityError,
    NewerFormatError,
    StorageError,
    UsageError,
)
from filevault.sessions import session_file
from filevault.sessions.session_file import SessionFile
from filevault.system.printable import printable
from filevault.vault.names import encode_session_owner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from filevault.credentials import Credentials
    from filevault.sessions.lock_wait import LockWait
    from filevault.sessions.minimum_life import MinimumLife
    from filevault.sessions.session_file import SessionName
    from filevault.sessions.session_index import ListedSession
    from filevault.system.files import Folder

_LOCKS = "locks"


class SessionCache:
    """Temporary credentials in `sessions/` below a vault's state directory.

    Args:
        state: the state directory, open and writable.
        state_id: its name, 32 hex digits.
        session_key: returns the 32 bytes that seal sessions; called only when there is a file to
            open or to write; may raise LockedError.
        clock: Unix seconds.
        warn: prints a warning; called once if sessions cannot be kept.

    `usable_until` is the time, in Unix seconds, until which the session that `find` returned last
    is returned again; None before.
    """

    __slots__ = (
        *("_clock", "_session_key", "_state", "_state_id", "_warn", "_warned"),
        "usable_until",
    )

    def __init__(
        self,
        state: Folder,
        state_id: str,
        session_key: Callable[[], bytes],
        clock: Callable[[], float],
        warn: Callable[[str], None],
    ) -> None:
        self._state = state
        self._state_id = state_id
        self._session_key = session_key
        self._clock = clock
        self._warn = warn
        self._warned = False
        self.usable_until: int | None = None

    def find(self, name: SessionName, minimum: MinimumLife) -> Credentials | None:
        """Return the kept session with most life left if that is enough, else None.

        Damaged and foreign files are ignored. Raises what `session_key` raises, except
        StorageError, which is a miss with a warning.
        """
        folder = self._folder(name.owner)
        if folder is None:
            return None
        with folder:
            now = self._clock()
            owner = encode_session_owner(name.owner)
            for entry, expiration in _files(folder, name):
                if expiration - now < minimum.least:
                    break  # the others live even shorter
                found = self._open(folder, owner, entry)
                if found is not None and minimum.met(found.expiration - now, found.whole_life):
                    self.usable_until = found.expiration - minimum.needed(found.whole_life)
                    return found.credentials
        return None

    def expiration(self, name: SessionName) -> int | None:
        """Return the expiry in the name of a kept session's file, in Unix seconds."""
        folder = self._folder(name.owner)
        if folder is None:
            return None
        with folder:
            return next((expiration for _, expiration in _files(folder, name)), None)

    def lives(self, name: SessionName) -> list[int]:
        """Return for how many seconds the sessions of an owner and operation were issued.

        The longest life comes first, each once. Only headers are read; nothing is verified.
        """
        folder = self._folder(name.owner)
        if folder is None:
            return []
        found = set()
        with folder, suppress(StorageError):
            for entry in folder.entries():
                if entry.name.startswith(f"{name.operation}-"):
                    with suppress(FileNotFoundError, IntegrityError, NewerFormatError):
                        data = folder.read(entry.name, session_file.MAX_FILE)
                        found.add(session_file.life_of(entry.name, data))
        return sorted((each for each in found if each is not None), reverse=True)

    @contextmanager
    def lock(self, name: SessionName, wait: LockWait) -> Iterator[bool]:
        """Let one process at a time obtain a session; the others wait, then find it.

        Yields whether another process was waited for. Goes on without a lock where none can be
        made. Raises what `wait` raises.
        """
        from filevault.system.locks import key_lock

        pause, waited = wait.begin(), False

        def taken() -> None:
            nonlocal waited
            waited = True
            pause()

        with ExitStack() as stack:
            try:
                locks = stack.enter_context(self._state.make_child(_LOCKS))
                stack.enter_context(key_lock(locks, f"{name.operation}-{name.hash}", taken))
            except StorageError as error:
                self._complain(error)
            yield waited

    def store(self, name: SessionName, credentials: Credentials) -> None:
        """Keep a session and delete those that it replaces; a failure only warns.

        Credentials without an expiry are not kept.
        """
        if credentials.expiration is None or credentials.session_token is None:
            return
        try:
            self._write(name, credentials, credentials.expiration)
        except errors.InterruptedByUserError:
            raise
        except FilevaultError as error:
            self._complain(error)

    def forget(self, name: SessionName, refused: Credentials) -> None:
        """Delete a kept session that AWS refused; if another run replaced it, the new one stays.

        A file that cannot be deleted stays too, with a warning.
        """
        folder = self._folder(name.owner)
        if folder is None:
            return
        self._warn(
            f"AWS refused the kept session of profile {printable(name.owner)!r}; "
            "it is obtained again"
        )
        with folder:
            owner = encode_session_owner(name.owner)
            for entry, _ in _files(folder, name):
                found = self._open(folder, owner, entry)
                if found is not None and found.credentials == refused:
                    try:
                        folder.remove(entry)
                    except FileNotFoundError:
                        pass
                    except StorageError as error:
                        self._complain(error)

    def clear(self, owner: str | None = None) -> int:
        """Delete every session, or those of one profile; return the number of files deleted.

        Raises StorageError if one cannot be deleted.
        """
        only = None
        if owner is not None:
            try:
                only = encode_session_owner(owner)
            except UsageError:
                return 0  # no session can be kept under such a name
        return self._delete(lambda _folder, _entry: True, only)

    def has(self, owner: str) -> bool:
        """Return whether anything is kept for a profile, whatever it is worth."""
        folder = self._folder(owner)
        if folder is None:
            return False
        with folder:
            return bool(folder.entries())

    def drop_source(self, *sources: str) -> int:
        """Delete every session that was made from one of `sources`, as `drop_sources`."""
        return self.drop_sources(frozenset(sources).__contains__)

    def drop_sources(self, chosen: Callable[[str], bool]) -> int:
        """Delete every session whose credential source is chosen, of every owner.

        Headers are read, nothing is decrypted; a file without a readable header is deleted too.
        Returns the number of files deleted; raises StorageError.
        """

        def comes_from_it(folder: Folder, entry: str) -> bool:
            try:
                source = session_file.source_of(folder.read(entry, session_file.MAX_FILE))
                return source is not None and chosen(source)
            except (IntegrityError, NewerFormatError):
                return True
            except FileNotFoundError:
                return False

        return self._delete(comes_from_it, None)

    def listing(self) -> list[ListedSession]:
        """Return every session, expired ones too, by the files' names; opens no file.

        That is its owner, its operation and its expiry in Unix seconds, not authenticated. Raises
        StorageError.
        """
        from filevault.sessions.session_index import SessionIndex

        try:
            top = self._state.child(session_file.FOLDER)
        except FileNotFoundError:
            return []
        with top:
            return SessionIndex(self._state).listing(top)

    def check_files(self, key: bytes) -> Iterator[tuple[str, FilevaultError | None]]:
        """Open each session with the session key; yield its path, and the error if it fails."""
        for part, folder in self._folders(None):
            for entry in folder.entries():
                if session_file.parse_name(entry.name) is None:
                    continue
                failed: FilevaultError | None = None
                try:
                    data = folder.read(entry.name, session_file.MAX_FILE)
                    session_file.unseal(key, SessionFile(self._state_id, part, entry.name), data)
                except FileNotFoundError:
                    continue  # another process deleted it
                except FilevaultError as error:
                    failed = error
                yield f"{part}/{entry.name}", failed

    def _folder(self, owner: str) -> Folder | None:
        try:
            with self._state.child(session_file.FOLDER) as sessions:
                return sessions.child(encode_session_owner(owner))
        except (FileNotFoundError, StorageError, UsageError):
            return None

    def _folders(self, only: str | None) -> Iterator[tuple[str, Folder]]:
        """Open the folders of all owners or of one, one after the other, with their names."""
        try:
            sessions = self._state.child(session_file.FOLDER)
        except FileNotFoundError:
            return
        with sessions:
            for name in sessions.listing()[1]:
                if name == (only or name):
                    try:
                        folder = sessions.child(name)
                    except FileNotFoundError:
                        continue
                    with folder:
                        yield name, folder

    def _delete(self, chosen: Callable[[Folder, str], bool], only: str | None) -> int:
        gone = 0
        emptied = []
        for part, folder in self._folders(only):
            for entry in folder.entries():
                if (
                    entry.name.endswith(session_file.SUFFIX)
                    and entry.is_file(follow_symlinks=False)
                    and chosen(folder, entry.name)
                ):
                    with suppress(FileNotFoundError):
                        folder.remove(entry.name)
                        gone += 1
            folder.sweep()
            emptied.append(part)
        if gone:
            with self._state.child(session_file.FOLDER) as sessions:
                for part in emptied:
                    sessions.remove_folder(part)
        return gone

    def _open(self, folder: Folder, owner: str, entry: str) -> session_file.KeptSession | None:
        """Return a file's content, None if it cannot be used."""
        try:
            data = folder.read(entry, session_file.MAX_FILE)
        except (FileNotFoundError, StorageError):
            return None
        try:
            key = self._session_key()
        except StorageError as error:
            self._complain(error)
            return None
        try:
            return session_file.unseal(key, SessionFile(self._state_id, owner, entry), data)
        except (IntegrityError, NewerFormatError):
            return None

    def _write(self, name: SessionName, credentials: Credentials, expiration: int) -> None:
        owner = encode_session_owner(name.owner)
        now = self._clock()
        entry = session_file.file_name(name, expiration)
        key = self._session_key()
        file = SessionFile(self._state_id, owner, entry)
        data = session_file.seal(key, file, name.source, now, credentials)
        with self._state.make_child(session_file.FOLDER) as top, top.make_child(owner) as folder:
            folder.write(entry, data)
            for other in folder.entries():
                named = session_file.parse_name(other.name)
                if named is None or other.name == entry:
                    continue
                if other.name.startswith(name.prefix) or named.expiration <= now:
                    with suppress(FileNotFoundError):
                        folder.remove(other.name)

    def _complain(self, error: FilevaultError) -> None:
        if not self._warned:
            self._warned = True
            self._warn(f"sessions are not kept: {error.message}")


def _files(folder: Folder, name: SessionName) -> list[tuple[str, int]]:
    """Return the files of a session with their expiry, the one with most life left first."""
    found = []
    try:
        for entry in folder.entries():
            if entry.name.startswith(name.prefix):
                named = session_file.parse_name(entry.name)
                if named is not None:
                    found.append((entry.name, named.expiration))
    except StorageError:
        return []
    found.sort(key=lambda item: item[1], reverse=True)
    return found
