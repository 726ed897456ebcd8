"""The key cache: what opens a vault's sessions, held in memory for a time and never on a disk.

The Linux kernel's keyring is the first place, an agent of ours the second, where the kernel
refuses. A place that fails is as good as an empty one for whoever looks for a key; only
`lock` insists on an answer.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from filevault.errors import FilevaultError
    from filevault.keycache.key_store import KeyStore

SESSION = "session"
"""The session key: opens cached sessions, never a long-term key."""
VAULT = "vault"
"""What opens the vault itself: held only if asked for."""
KINDS = (SESSION, VAULT)
SOCKET = "agent.sock"
JOB = "FILEVAULT_AGENT_DIR"
"""The variable that leads a job to the agent of its own."""
IDENTITIES = "a6e1"
"""The mark of age identities: they belong to a person, and open whatever they open."""
LIMIT = 2048
"""The longest key in bytes: in base64 it still fits into the agent's line."""


class Held(Record):
    """A key in the cache.

    `mark` says what the key belongs to, in hex digits: a key with another mark than the one
    asked for is none. `deadline` is in milliseconds of CLOCK_BOOTTIME, which nobody can set back
    and which goes on while the machine sleeps.
    """

    _secret = ("key",)

    key: bytes
    mark: str
    deadline: int


class Status(Record):
    """One key that is held: its kind, what it belongs to, where, and for how many seconds more."""

    kind: str
    mark: str
    place: str
    seconds: float


class Taken(Record):
    """Which place took a key, and why a former one may be held in another still, if it may."""

    place: str
    former: FilevaultError | None = None


class KeyCache:
    """The places, in the order in which they are asked.

    Args:
        places: where keys can be held; taken one by one, as far as they are needed.
        boottime: as `filevault.system.times.boottime`.
        others: further places, where keys are only forgotten.
    """

    def __init__(
        self,
        places: Iterable[KeyStore],
        boottime: Callable[[], float],
        others: Iterable[KeyStore] = (),
    ) -> None:
        self._places = places
        self._boottime = boottime
        self._others = others

    def get(self, state_id: str, kind: str, mark: str) -> bytes | None:
        """Return a vault's key of a kind if it is held for that mark and still valid."""
        for place in self._places:
            held = place.get(state_id, kind)
            if held is not None and held.mark == mark and self._left(held.deadline) > 0:
                return held.key
        return None

    def put(self, state_id: str, kind: str, key: bytes, mark: str, seconds: int) -> str | None:
        """Hold a key for some seconds from now on, replacing one that is held.

        Returns the name of the place that took it, None if none did or the key is too long.
        """
        if not 0 < len(key) <= LIMIT or seconds <= 0:
            return None
        held = Held(key, mark, int((self._boottime() + seconds) * 1000))
        for place in self._places:
            if place.put(state_id, kind, held, seconds):
                return place.name
        return None

    def replace(
        self, state_id: str, kind: str, key: bytes, mark: str, seconds: int
    ) -> Taken | None:
        """Hold a key as `put`, and let no other place keep an older one, which may live longer."""
        name = self.put(state_id, kind, key, mark, seconds)
        if name is None:
            return None
        from filevault.errors import BackendError

        try:
            _each(self._places, lambda each: each.keep_last(state_id, kind, took=each.name == name))
        except BackendError as error:
            return Taken(name, error)
        return Taken(name)

    def move(self, state_id: str, kind: str, mark: str, new: str) -> None:
        """Let a key that is held for a mark belong to another one, until the same time."""
        for place in self._places:
            held = place.get(state_id, kind)
            if held is not None and held.mark == mark:
                left = int(self._left(held.deadline))
                if left > 0:
                    place.put(state_id, kind, held._replace(mark=new), left)

    def lock(self, state_id: str | None = None) -> int:
        """Forget the keys of a vault, or all; return how many there were.

        Raises BackendError, after every place was asked, for one that may not have forgotten.
        """
        return _lock((*self._others, *self._places), state_id)

    def forget(self, state_id: str, kind: str) -> int:
        """Forget one kind of key, where it would be found; return how many there were.

        Raises BackendError as `lock`.
        """
        return _lock(self._places, state_id, kind)

    def last_error(self) -> FilevaultError | None:
        """Return why a place did not answer in this run, None if all did that are there."""
        for place in self._places:
            trouble = place.last_error()
            if trouble is not None:
                return trouble
        return None

    def status(self, state_id: str) -> list[Status]:
        """Return what is held for a vault."""
        found = []
        for kind in KINDS:
            for place in self._places:
                status = place.status(state_id, kind)
                if status is not None and self._left(status[1]) > 0:
                    found.append(Status(kind, status[0], place.name, self._left(status[1])))
        return found

    def _left(self, deadline: int) -> float:
        return deadline / 1000 - self._boottime()


def _lock(places: Iterable[KeyStore], state_id: str | None, kind: str | None = None) -> int:
    return sum(_each(places, lambda place: place.lock(state_id, kind)))


def _each(places: Iterable[KeyStore], action: Callable[[KeyStore], int]) -> list[int]:
    """Return what an action came to in each place; raises BackendError after all of them."""
    from filevault.errors import BackendError
    from filevault.keycache.key_store import merge_errors

    counts = []
    failed = []
    for place in places:
        try:
            counts.append(action(place))
        except BackendError as error:
            failed.append(error)
    if failed:
        raise merge_errors(failed)
    return counts


class VaultKeys:
    """The keys of one vault; see `filevault.vault.session_key_cache.SessionKeyCache`.

    Args:
        cache: where they are held.
        state_id: which vault it is.
        seconds: tells for how long the session key is held after an unlocking; 0 for not at all.
        asked: tells whether a person was asked for what opened the vault. What opens by itself
            does not need to be held.
        fresh: open the vault, whatever is held.
    """

    def __init__(
        self,
        cache: KeyCache,
        state_id: str,
        *,
        seconds: Callable[[], int],
        asked: Callable[[], bool],
        fresh: bool,
    ) -> None:
        self._cache = cache
        self._state_id = state_id
        self._seconds = seconds
        self._asked = asked
        self._fresh = fresh
        self._opened: tuple[str, bytes] | None = None

    def session_key(self, mark: str) -> bytes | None:
        """Return the session key of the file with this digest, if it is held."""
        key = None if self._fresh else self._cache.get(self._state_id, SESSION, mark)
        return key if key is not None and len(key) == 32 else None

    def opened(self, mark: str, key: bytes) -> None:
        """Hold the session key from now on if a person was asked for what opened it."""
        self._opened = (mark, key)
        if not self._fresh and self._asked():
            self._cache.put(self._state_id, SESSION, key, mark, self._seconds())

    def hold_if_asked(self, load: Callable[[], object]) -> None:
        """Hold the session key if a person was asked in this run and it is not held yet.

        `load` opens it, which calls `opened`. Raises what `load` raises.
        """
        if not self._fresh and self._opened is None and self._asked() and self._seconds() > 0:
            load()

    def on_rewrapped(self, mark: str, new: str) -> None:
        """Go on holding the session key whose file has become another one."""
        self._cache.move(self._state_id, SESSION, mark, new)

    def vault_key(self, mark: str) -> bytes | None:
        """Return what opens the vault itself, if it is held."""
        return None if self._fresh else self._cache.get(self._state_id, VAULT, mark)

    def hold_session_key(self, seconds: int) -> Taken | None:
        """Hold the session key that was opened in this run; return where, None if nowhere."""
        if self._opened is None:
            return None
        mark, key = self._opened
        return self._cache.replace(self._state_id, SESSION, key, mark, seconds)

    def forget_vault_key(self) -> bool:
        """Forget what opens the vault itself; tell whether it was held. Raises BackendError."""
        return self._cache.forget(self._state_id, VAULT) > 0

    def hold_vault_key(self, key: bytes, mark: str, seconds: int) -> Taken | None:
        """Hold what opens the vault itself; return where, None if nowhere."""
        return self._cache.replace(self._state_id, VAULT, key, mark, seconds)

    def holds_session_key(self, mark: str | None) -> bool:
        """Tell whether the session key of the file with this digest is held, and is used."""
        held = [] if self._fresh else self._cache.status(self._state_id)
        return any(status.kind == SESSION and status.mark == mark for status in held)


class _Places:
    """The kernel's keyring and the agents, each imported when its turn comes.

    `also` are folders of agents where keys are only forgotten.
    """

    def __init__(
        self, names: Sequence[str], folders: Sequence[str], also: Sequence[str] = ()
    ) -> None:
        self._names = names
        self._folders = folders
        self._also = also
        self._kernel: KeyStore | None = None
        self._agents: KeyStore | None = None

    def __iter__(self) -> Iterator[KeyStore]:
        if "kernel" in self._names:
            if self._kernel is None:
                from filevault.keycache.kernel import KernelKeyring

                self._kernel = KernelKeyring()
            yield self._kernel
        if "agent" in self._names:
            # None may be there now, and one be started later.
            if self._agents is None and any(map(_may_hold, (*self._folders, *self._also))):
                from filevault.keycache.client import AgentClient

                self._agents = AgentClient(self._folders, self._also)
            if self._agents is not None:
                yield self._agents


def _may_hold(folder: str) -> bool:
    """Tell whether a folder has an agent's socket, or cannot be looked into."""
    try:
        os.lstat(f"{folder}/{SOCKET}")
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        pass
    return True


def open_cache(
    names: Sequence[str],
    get: Callable[[str], str | None],
    clock: Callable[[], float],
    root: str = "",
) -> KeyCache:
    """Return the cache of this user; a job's keys are held by the agent of its own alone.

    What is to be forgotten is forgotten everywhere, in a job as well.

    Args:
        names: the places, `kernel` and `agent`.
        get: gives a variable of the environment, or None.
        clock: as `filevault.system.times.boottime`.
        root: where the system's `/run` and `/tmp` are, empty for `/`.
    """
    job, usual = agent_of_job(get), folders_of_user(get, root)
    if job is None:
        return KeyCache(_Places(names, usual), clock)
    kernel = _Places([name for name in names if name == "kernel"], ())
    return KeyCache(_Places(("agent",), [job], usual), clock, kernel)


def agent_of_job(get: Callable[[str], str | None]) -> str | None:
    """Return the folder of the agent of this job, None without one; `get` as in `open_cache`."""
    value = get(JOB)
    return value if value and value.startswith("/") else None


def folders(get: Callable[[str], str | None], root: str = "") -> list[str]:
    """Return the folders in which an agent may listen that holds our keys, likeliest first."""
    job = agent_of_job(get)
    return folders_of_user(get, root) if job is None else [job]


def folders_of_user(get: Callable[[str], str | None], root: str = "") -> list[str]:
    """Return the folders in which an agent of this user may listen, likeliest first.

    A login sets `XDG_RUNTIME_DIR`, which cron does not; it is the same folder for both. After su
    and sudo it may be that of the user before. The last is the same whatever `TMPDIR` says, or
    `lock` would not find what another shell has unlocked.
    """
    uid = os.geteuid()
    runtime = [get("XDG_RUNTIME_DIR") or "", f"{root}/run/user/{uid}"]
    found = [f"{folder}/filevault" for folder in runtime if _may_be_ours(folder, uid)]
    return [*dict.fromkeys(found), f"{root}/tmp/filevault-{uid}"]  # noqa: S108 - both sides check it


def _may_be_ours(runtime: str, uid: int) -> bool:
    """Tell whether a folder for a user's sockets is not known to be another user's."""
    if not runtime.startswith("/"):
        return False
    try:
        return os.stat(runtime).st_uid == uid
    except OSError:
        return True  # whoever uses it finds out why
