"""Cached answers: record what a clean run gave, so that the hot lane can give it again.

docs/explanation/hot-lane.md says what is cached where, and docs/format.md §10 in which form.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, Self

from filevault.errors import FilevaultError
from filevault.keycache.cached_key import ANSWER_TYPES, SESSION, CachedKey
from filevault.lane import answer, serve
from filevault.lane.question import FAMILIES, NAMES, SECRETS, MissError
from filevault.system.printable import printable
from filevault.system.record import Record
from filevault.system.temporary_files import is_temporary_name, temporary_name
from filevault.unlock.secret_sources import KeyOrigin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from filevault.cli.context import Context
    from filevault.cli.obtain import Served
    from filevault.keycache.cache import FoundKey
    from filevault.keycache.key_store import KeyStore
    from filevault.lane.question import Question

_STORES = {"kernel keyring": answer.STORES[0], "agent": answer.STORES[1]}
_MAC_KEY = 32  # bytes
_KEY_SOURCES = ("FILEVAULT_", "CREDENTIALS_DIRECTORY", "HOME")
"""What the variables begin with that decide where the key file is."""
_OLD = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def cache_environment(context: Context, served: Served | None, child: Mapping[str, str]) -> None:
    """Cache the changes that `exec` made to the environment, if the run was clean."""
    before = {} if context.attempt is None else context.attempt.environ
    after = {os.fsencode(name): os.fsencode(value) for name, value in child.items()}
    _cache(context, served, answer.KINDS[0], _changes(before, after))


def cache_text(context: Context, served: Served | None, text: str) -> None:
    """Cache what `export` printed, if the run was clean."""
    plain = text.encode("ascii", "replace")
    same = context.reporter.encoded(text) == plain
    _cache(context, served, answer.KINDS[1], plain if same else None)


def forget_answers(context: Context) -> None:
    """Forget every cached answer of this user, as far as possible: either half is enough."""
    context.key_cache.forget_answers()
    with (
        contextlib.suppress(FilevaultError, MissError, OSError),
        _Folder(context.settings.state_home, make=False) as folder,
    ):
        folder.delete(folder.files())


def _changes(before: Mapping[bytes, bytes], after: Mapping[bytes, bytes]) -> bytes | None:
    """Return the changes that lead from one environment to the other, None if none do.

    Their order counts: what is not where it was is removed, and set again at the end.
    """
    at = {name: number for number, name in enumerate(before)}
    kept: set[bytes] = set()
    latest = -1
    for name in after:
        if at.get(name, -1) <= latest:
            break
        latest = at[name]
        kept.add(name)
    removed = [name for name in before if name not in kept]
    words = [
        b"%b=%b" % (name, value)
        for name, value in after.items()
        if name not in kept or before[name] != value
    ]
    content = b"\0".join([*removed, *words])
    with contextlib.suppress(MissError):
        if list(serve.changed(dict(before), content).items()) == list(after.items()):
            return content
    return None


def _cache(context: Context, served: Served | None, kind: bytes, content: bytes | None) -> None:
    """Cache an answer; with `--debug` say why the lane did not serve it, and why not."""
    attempt, debug = context.attempt, context.reporter.debug
    if attempt is None:
        return
    debug(f"hot lane: {printable(attempt.reason)}")
    if attempt.question is None:
        return
    doubt = _doubt(context, content, served)
    if served is None:
        doubt = "its session was not cached, or neither a key store nor a key file opened it"
    elif doubt is None and content is not None and not attempt.question.debug:
        doubt = _store(context, attempt.question, served, kind, content)
    if doubt is not None:
        debug(f"hot lane: such a run is not cached: {doubt}")


def _doubt(context: Context, content: bytes | None, served: Served | None) -> str | None:
    """Return why an answer is not cached, None if it may be."""
    sealed = served is not None and isinstance(served.key, KeyOrigin)
    most = answer.MAX_SEALED if sealed else answer.MAX_ANSWER
    if content is None or not 0 < len(content) <= most:
        return "it is too long, or not what can be repeated"
    if not context.reporter.silent and not context.settings.debug:
        return "it had a message"
    if not context.settings.uses_lane:
        return "config.toml turns it off"
    return None


def _store(
    context: Context, question: Question, served: Served, kind: bytes, content: bytes
) -> str | None:
    """Write both halves; return why not, None once they are written."""
    from filevault.system.file_systems import has_exact_times

    inputs = context.settings.inputs
    devices = dict(inputs.devices)
    exact = inputs.doubt is None and all(map(has_exact_times, devices.values()))
    witnesses = inputs.witnesses() if exact else None
    more = [path for device, path in inputs.devices.items() if device not in devices]
    if inputs.doubt is not None:
        return inputs.doubt
    if witnesses is None or not all(map(has_exact_times, more)):
        return "a file system may not show every change"
    names = sorted(os.fsencode(name) for name in inputs.variables)
    names = [name for name in names if not name.startswith((*FAMILIES, *SECRETS))]
    names = [name for name in names if name not in NAMES]
    if any(not name.replace(b"_", b"x").isalnum() for name in names):
        return "a variable has a strange name"
    environ = {} if context.attempt is None else context.attempt.environ
    draft = _Draft(
        question.digest,
        served.state_id,
        served.until,
        kind,
        content,
        names,
        answer.variables_digest(names, environ),
        [_line(each.kind, each.path, each.numbers) for each in witnesses],
    )
    with (
        contextlib.suppress(FilevaultError, MissError, OSError, KeyError),
        _Folder(context.settings.state_home) as folder,
    ):
        if isinstance(served.key, KeyOrigin):
            return _seal(context, folder, draft, served.key, question.key_file)
        return _split(context, folder, draft, served.key)
    return "no key store takes it, or it cannot be written"


class _Draft(Record):
    """An answer that is about to be written; `until` is when its session ends, in Unix seconds."""

    _secret = ("content",)

    question: bytes
    state_id: str
    until: int
    kind: bytes
    content: bytes
    names: list[bytes]
    values: bytes
    lines: list[bytes]

    def head(self, where: tuple[bytes, int], deadline: int, drift: int, *first: bytes) -> bytes:
        """Return the head of its file, with lines before the witnesses.

        `where` are store and slot, `deadline` and `drift` as in `answer.Half`.
        """
        return answer.head(
            self.question,
            (*where, self.state_id.encode()),
            (self.kind, len(self.content)),
            (self.until, deadline, drift),
            self.names,
            self.values,
            [*first, *self.lines],
        )

    def unchanged(self, data: bytes) -> bool:
        """Return whether all that the answer depends on is as it was; `data` is its file.

        Commands that end answers delete them last: if what they change is as it was, they will
        find this one.
        """
        with contextlib.suppress(MissError, OSError):
            answer.Half(data, self.question).check_witnesses()
            return True
        return False


def _split(context: Context, folder: _Folder, draft: _Draft, found: FoundKey) -> str | None:
    """Write an answer in two halves, one beside the session key; return why not, else None."""
    cached, key_store = found.cached, found.store
    size = len(draft.content)
    slot = _make_slot(folder, key_store, draft.state_id, draft.question, size)
    key = os.urandom(_MAC_KEY + size)
    session_key = answer.unlocking_id(cached.mark.encode(), cached.deadline, cached.key)
    head = draft.head((_STORES[key_store.name], slot), cached.deadline, _drift(context))
    data = answer.mask(head, draft.content, key)
    if len(data) > answer.MAX_FILE:
        return "it depends on too much"
    other = CachedKey(key, session_key.decode(), cached.deadline)
    seconds = int(found.seconds)
    if seconds < 1:  # 0 means without end in the kernel
        return "the vault is locked soon"
    if not key_store.put(draft.state_id, ANSWER_TYPES[slot], other, seconds):
        return "no key store takes it"
    folder.write(draft.question, data)
    if draft.unchanged(data) and key_store.get(draft.state_id, SESSION) == cached:
        return None
    key_store.forget(draft.state_id, ANSWER_TYPES[slot])
    folder.delete(each for each in folder.files() if each.slot == slot and not each.sealed)
    return "it was overtaken by a change"


def _seal(
    context: Context, folder: _Folder, draft: _Draft, origin: KeyOrigin, key_file: bytes
) -> str | None:
    """Write an answer that the key file opens; return why not, None once it is written."""
    from filevault.lane import sealed

    left = draft.until - context.runtime.clock()
    deadline = int((context.runtime.boottime() + left) * 1000)
    kind, where = answer.ORIGINS[0], origin.path
    if origin.variable:
        kind, where = answer.ORIGINS[1], origin.variable
    source = (kind, os.fsencode(where))
    environ = {
        os.fsencode(name): os.fsencode(value)
        for name, value in context.settings.whole_environment().items()
        if name.startswith(_KEY_SOURCES)
    }
    secret = sealed.key_text(source, key_file, environ)
    head = draft.head((answer.SEALED, 0), deadline, _drift(context), b"%b %b" % source)
    data = sealed.seal(head, draft.state_id.encode(), draft.content, secret)
    if len(data) > answer.MAX_FILE:
        return "it depends on too much"
    sealed_files = [each for each in folder.files() if each.sealed]
    others = [each for each in sealed_files if each.name != _name(draft.question)]
    folder.delete(others[: max(0, len(others) + 1 - answer.SEALED_ANSWERS)])
    folder.write(draft.question, data)
    if draft.unchanged(data):
        return None
    folder.delete(each for each in folder.files() if each.name == _name(draft.question))
    return "it was overtaken by a change"


def _drift(context: Context) -> int:
    return int((context.runtime.clock() - context.runtime.boottime()) * 1000)


def _make_slot(
    folder: _Folder, key_store: KeyStore, state_id: str, question: bytes, size: int
) -> int:
    """Return a free slot for an answer of `size` bytes, which may be that of the oldest."""
    files = [each for each in folder.files() if not each.sealed]
    times = {each.slot: each.written for each in files}
    own = {each.slot for each in files if each.name == _name(question)}
    sizes = {}
    for slot, key_type in enumerate(ANSWER_TYPES):
        cached = key_store.get(state_id, key_type)
        if cached is not None:
            sizes[slot] = len(cached.key) - _MAC_KEY + answer.OVERHEAD
    # A key without its file, which another state home may have, is the oldest.
    for slot in sorted(sizes, key=lambda slot: (slot not in own, times.get(slot, 0))):
        full = len(sizes) == answer.SLOTS
        full = full or sum(sizes.values()) + size + answer.OVERHEAD > answer.QUOTA
        if slot in own or full:
            key_store.forget(state_id, ANSWER_TYPES[slot])
            del sizes[slot]
            folder.delete(each for each in files if each.slot == slot)
    chosen = next(slot for slot in range(answer.SLOTS) if slot not in sizes)
    folder.delete(each for each in files if each.slot == chosen)
    return chosen


def _line(kind: str, path: str, numbers: tuple[int, ...]) -> bytes:
    return b" ".join([kind.encode(), *(b"%d" % each for each in numbers), os.fsencode(path)])


class _AnswerFile(Record):
    """When an answer file was written, in nanoseconds; its slot, its name, and of which kind."""

    written: int
    slot: int
    name: str
    sealed: bool


class _Folder:
    """The folder of the answer files: private, of this user, and no link.

    What has another name than an answer file, or a temporary one, stays as it is: root may be in
    the folders of a user, who can put anything there.
    """

    def __init__(self, state_home: str, *, make: bool = True) -> None:
        path = f"{state_home}/{answer.FOLDER}"
        if make:
            with contextlib.suppress(FileExistsError):
                os.mkdir(path, 0o700)
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        info = os.fstat(self._fd)
        if info.st_uid != os.geteuid() or stat.S_IMODE(info.st_mode) & 0o077:
            os.close(self._fd)
            raise MissError("the folder of the answers is not private")
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def delete(self, files: Iterable[_AnswerFile]) -> None:
        """Delete answer files."""
        for each in files:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(each.name, dir_fd=self._fd)

    def files(self) -> list[_AnswerFile]:
        """Return the answer files, the oldest first; one that a crash cut off is deleted."""
        found = []
        for name in os.listdir(self._fd):
            if not (is_temporary_name(name) or _is_name(name)):
                continue
            try:
                fd = os.open(name, _OLD, dir_fd=self._fd)
            except OSError:  # deleted meanwhile, or a link
                continue
            try:
                info = os.fstat(fd)
                head = os.read(fd, 256).split(b"\n") if stat.S_ISREG(info.st_mode) else []
            finally:
                os.close(fd)
            if head[:1] == [answer.MAGIC]:
                with contextlib.suppress(ValueError, IndexError):
                    store, slot, *_ = head[2].split(b" ")
                    sealed = store == answer.SEALED
                    found.append(_AnswerFile(info.st_mtime_ns, int(slot), name, sealed))
                    continue
            if head and is_temporary_name(name):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=self._fd)
        return sorted(found, key=lambda each: (each.written, each.slot, each.name))

    def write(self, question: bytes, data: bytes) -> None:
        """Write an answer file, all of it or nothing; it need not survive a power failure."""
        temporary = temporary_name()
        fd = os.open(temporary, _NEW, 0o600, dir_fd=self._fd)
        try:
            if os.write(fd, data) < len(data):
                raise OSError("the disk is full")
            os.rename(temporary, _name(question), src_dir_fd=self._fd, dst_dir_fd=self._fd)
        except OSError:
            os.unlink(temporary, dir_fd=self._fd)
            raise
        finally:
            os.close(fd)


def _name(question: bytes) -> str:
    return question.hex()[:32]


def _is_name(name: str) -> bool:
    return len(name) == 32 and set(name) <= set("0123456789abcdef")
