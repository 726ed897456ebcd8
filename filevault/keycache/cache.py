"""The key cache: the kernel keyring first, the user's agents second.

A store that fails counts as empty when a key is looked for; only forgetting requires an answer
from each.
"""

from __future__ import annotations

import contextlib

from filevault.keycache.cached_key import ANSWER_TYPES, KEY_TYPES, MAX_KEY_SIZE, CachedKey
from filevault.system.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from filevault.errors import FilevaultError
    from filevault.keycache.cached_key import KeyType
    from filevault.keycache.key_store import KeyStore

JOB_VARIABLE = "FILEVAULT_AGENT_DIR"
"""The environment variable with the folder of a job's own agent."""


class CacheEntry(Record):
    """A cached key without the key: type, mark, name of its store, seconds until its deadline."""

    key_type: KeyType
    mark: str
    store: str
    seconds: float


class FoundKey(Record):
    """A key with the store that has it, and the seconds until its deadline."""

    cached: CachedKey
    store: KeyStore
    seconds: float


class PutResult(Record):
    """The result of caching a key.

    `store` is the name of the store that took it; `error` is set if another store may still have
    an older one.
    """

    store: str
    error: FilevaultError | None = None


class KeyCache:
    """The stores for keys, in the order in which they are asked.

    Args:
        stores: where keys are cached; iterated lazily, as far as needed.
        boottime: as `filevault.system.times.boottime`.
        forget_only: further stores, in which keys are only forgotten.
    """

    def __init__(
        self,
        stores: Iterable[KeyStore],
        boottime: Callable[[], float],
        forget_only: Iterable[KeyStore] = (),
    ) -> None:
        self._stores = stores
        self._boottime = boottime
        self._forget_only = forget_only

    def followed_by(self, store: KeyStore) -> KeyCache:
        """Return the same cache with one more store, which is asked last."""
        return KeyCache(_Followed(self._stores, store), self._boottime, self._forget_only)

    def get(self, state_id: str, key_type: KeyType, mark: str) -> bytes | None:
        """Return a vault's key if it is cached with that mark and has not expired."""
        found = self.find(state_id, key_type, mark)
        return None if found is None else found.cached.key

    def find(self, state_id: str, key_type: KeyType, mark: str) -> FoundKey | None:
        """Return the same with its deadline and its store."""
        for store in self._stores:
            cached = store.get(state_id, key_type)
            if cached is not None and cached.mark == mark and self._left(cached.deadline) > 0:
                return FoundKey(cached, store, self._left(cached.deadline))
        return None

    def put(
        self, state_id: str, key_type: KeyType, key: bytes, mark: str, seconds: int
    ) -> str | None:
        """Cache a key for some seconds, replacing an older one.

        Returns the name of the store that took it, None if none did or the key is too long.
        """
        if not 0 < len(key) <= MAX_KEY_SIZE or seconds <= 0:
            return None
        cached = CachedKey(key, mark, int((self._boottime() + seconds) * 1000))
        for store in self._stores:
            if store.put(state_id, key_type, cached, seconds):
                return store.name
        return None

    def replace(
        self, state_id: str, key_type: KeyType, key: bytes, mark: str, seconds: int
    ) -> PutResult | None:
        """Cache a key as `put`, and forget older ones in all other stores."""
        name = self.put(state_id, key_type, key, mark, seconds)
        if name is None:
            return None
        from filevault.errors import BackendError

        try:
            _sum(
                self._stores,
                lambda each: each.forget_older(state_id, key_type, took_last=each.name == name),
            )
        except BackendError as error:
            return PutResult(name, error)
        return PutResult(name)

    def move(self, state_id: str, key_type: KeyType, mark: str, new: str) -> None:
        """Give a cached key another mark; its deadline stays."""
        for store in self._stores:
            cached = store.get(state_id, key_type)
            if cached is not None and cached.mark == mark:
                left = int(self._left(cached.deadline))
                if left > 0:
                    store.put(state_id, key_type, cached._replace(mark=new), left)

    def forget(self, state_id: str | None = None) -> int:
        """Forget the keys of a vault, or all; return how many there were.

        Raises BackendError, after every store was asked, if one may not have forgotten.
        """
        stores = (*self._forget_only, *self._stores)
        return _sum(stores, lambda store: store.forget(state_id))

    def forget_key(self, state_id: str, key_type: KeyType) -> int:
        """Forget one type of key in the stores that `get` asks; return how many there were.

        Raises BackendError as `forget`.
        """
        return _sum(self._stores, lambda store: store.forget(state_id, key_type))

    def forget_answers(self) -> None:
        """Forget the cached answers of all vaults, as far as the stores answer."""
        from filevault.errors import BackendError

        for store in self._stores:
            with contextlib.suppress(
                BackendError
            ):  # a store that does not answer is not waited for
                for key_type in ANSWER_TYPES:
                    store.forget(None, key_type)

    def last_error(self) -> FilevaultError | None:
        """Return why a store did not answer in this run, None if all that exist did."""
        for store in self._stores:
            error = store.last_error()
            if error is not None:
                return error
        return None

    def entries(self, state_id: str) -> list[CacheEntry]:
        """Return what is cached for a vault."""
        found = []
        for key_type in KEY_TYPES:
            for store in self._stores:
                status = store.status(state_id, key_type)
                if status is not None and self._left(status[1]) > 0:
                    left = self._left(status[1])
                    found.append(CacheEntry(key_type, status[0], store.name, left))
        return found

    def _left(self, deadline: int) -> float:
        return deadline / 1000 - self._boottime()


def _sum(stores: Iterable[KeyStore], action: Callable[[KeyStore], int]) -> int:
    """Return the sum of an action's results; raise BackendError after it ran on every store."""
    from filevault.errors import BackendError
    from filevault.keycache.key_store import merge_errors

    count = 0
    failed = []
    for store in stores:
        try:
            count += action(store)
        except BackendError as error:
            failed.append(error)
    if failed:
        raise merge_errors(failed)
    return count


class _Followed:
    """Stores, and one more after them."""

    def __init__(self, stores: Iterable[KeyStore], last: KeyStore) -> None:
        self._stores = stores
        self._last = last

    def __iter__(self) -> Iterator[KeyStore]:
        yield from self._stores
        yield self._last


class _LazyStores:
    """The kernel keyring and the agents, each imported when it is first iterated over.

    `folders` returns the folders of the agents.
    """

    def __init__(self, names: Sequence[str], folders: Callable[[], Sequence[str]]) -> None:
        self._names = names
        self._folders = folders
        self._kernel: KeyStore | None = None
        self._agents: KeyStore | None = None

    def __iter__(self) -> Iterator[KeyStore]:
        if "kernel" in self._names:
            if self._kernel is None:
                from filevault.keycache.kernel import KernelKeyring

                self._kernel = KernelKeyring()
            yield self._kernel
        if "agent" in self._names:
            if self._agents is None:  # checked each time: an agent may be started later
                self._agents = self._find_agents()
            if self._agents is not None:
                yield self._agents

    def _find_agents(self) -> KeyStore | None:
        from filevault.keycache.agent_folders import may_have_agent

        folders = self._folders()
        if not any(map(may_have_agent, folders)):
            return None
        from filevault.keycache.client import AgentClient

        return AgentClient(folders)


def job_agent_folder(get: Callable[[str], str | None]) -> str | None:
    """Return the folder of this job's agent, None without one.

    `get` returns an environment variable, or None.
    """
    value = get(JOB_VARIABLE)
    return value if value and value.startswith("/") else None


def open_cache(
    names: Sequence[str],
    get: Callable[[str], str | None],
    clock: Callable[[], float],
    root: str = "",
) -> KeyCache:
    """Return the cache of this user; a job with an agent of its own uses that agent only.

    Keys are forgotten in every store, in a job as well.

    Args:
        names: of the stores, `kernel` and `agent`.
        get: returns an environment variable, or None.
        clock: as `filevault.system.times.boottime`.
        root: the parent of `/run` and `/tmp`, empty for `/`.
    """

    def usual() -> Sequence[str]:
        from filevault.keycache.agent_folders import user_agent_folders

        return user_agent_folders(get, root)

    job = job_agent_folder(get)
    if job is None:
        return KeyCache(_LazyStores(names, usual), clock)
    others = _LazyStores(
        [*(name for name in names if name == "kernel"), "agent"],
        lambda: [folder for folder in usual() if folder != job],
    )
    return KeyCache(_LazyStores(("agent",), lambda: [job]), clock, others)
