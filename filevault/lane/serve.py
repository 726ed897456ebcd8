"""Serve a cached answer, or step aside: nothing is printed, raised or changed on a miss."""

import _signal  # type: ignore[import-not-found]
import posix
import sys
import time

from filevault.lane import answer
from filevault.lane.question import SECRETS, MissError, Question, ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from filevault.lane.calls import Calls

_NAMES = b"filevault:"
"""What the names of filevault's keys in the kernel keyring begin with."""
_DEFAULT_PATH = b"/usr/local/bin:/usr/bin:/bin"
_KIND, _REGULAR = 0o170000, 0o100000  # stat(2)
_RESTORED = (_signal.SIGPIPE, _signal.SIGXFSZ)  # Python ignores these two


class Attempt:
    """What the lane found out about a run that it does not serve.

    `reason` is why not; with `question` None the run is not in the lane at all. `environ` is the
    environment at the start. `failure` is the error that cut off the output of a hit, if one did.
    """

    __slots__ = ("environ", "failure", "question", "reason")

    def __init__(self, environ: dict[bytes, bytes]) -> None:
        self.environ = environ
        self.question: Question | None = None
        self.reason = ""
        self.failure: OSError | None = None


class _Keys:
    """Where the key of an answer is looked for: `stores`, and the key file that `environ` names."""

    __slots__ = ("environ", "root", "stores")

    def __init__(self, environ: dict[bytes, bytes], stores: tuple[str, ...], root: bytes) -> None:
        self.environ = environ
        self.stores = stores
        self.root = root


def _boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def attempt(
    words: list[str],
    environ: dict[bytes, bytes],
    *,
    clock: "Callable[[], float]" = time.time,
    boottime: "Callable[[], float]" = _boottime,
    stores: tuple[str, ...] = ("kernel", "agent"),
    root: str = "",
) -> Attempt:
    """Serve a command line: become its command, or print and exit. Return only on a miss.

    Args:
        words: the command line without the program.
        environ: the environment of this process.
        clock: Unix seconds.
        boottime: seconds since the machine was started.
        stores: the key stores that are asked.
        root: the parent of the agents' `/run` and `/tmp`, empty for `/`.
    """
    # Of a secret only the name matters here; the fewer copies, the better.
    names = [name for name in environ if name.startswith(SECRETS)]
    tried = Attempt({**environ, **dict.fromkeys(names, b"")})
    try:
        tried.question = ask(words, tried.environ)
        _serve(tried, tried.question, clock, boottime, _Keys(environ, stores, root.encode()))
    except MissError as miss:
        tried.reason = str(miss)
    except Exception as error:  # noqa: BLE001 - any doubt is a miss
        tried.reason = f"unexpected {type(error).__name__}"
    return tried


def state_home(environ: dict[bytes, bytes]) -> bytes:
    """Return the folder of all state directories, as `Settings.state_home` does."""
    given = environ.get(b"XDG_STATE_HOME", b"")
    if not given.startswith(b"/"):
        home = environ.get(b"HOME", b"")
        if not home.startswith(b"/"):
            raise MissError("HOME is not set")
        given = home.rstrip(b"/") + b"/.local/state"
    return given + b"/filevault"


def answer_path(environ: dict[bytes, bytes], question: Question) -> bytes:
    """Return the path of the answer file of a question."""
    name = question.digest.hex()[:32].encode()
    return b"%b/%b/%b" % (state_home(environ), answer.FOLDER.encode(), name)


def _serve(
    tried: Attempt,
    question: Question,
    clock: "Callable[[], float]",
    boottime: "Callable[[], float]",
    keys: _Keys,
) -> None:
    """Serve the answer. Raises MissError and others on a miss."""
    for number in (0, 1, 2):
        posix.fstat(number)  # a closed one is the normal path's affair
    half = answer.Half(answer.read(answer_path(tried.environ, question)), question.digest)
    half.check_time(clock(), boottime())
    half.check_variables(tried.environ)
    half.check_witnesses()
    if half.store != answer.SEALED and half.store.decode() not in keys.stores:
        raise MissError("its key store is not asked")
    from filevault.lane.calls import Calls

    calls = Calls()
    calls.harden()
    try:
        if half.store == answer.SEALED:
            from filevault.lane.sealed import unseal

            content = unseal(half, question.key_file, keys.environ)
        else:
            content = _unmasked(half, calls, tried.environ, keys.root, boottime)
        if question.debug:
            raise MissError("it would have been served, without --debug")
        if question.command is None:
            if half.kind != answer.KINDS[1]:
                raise MissError("the answer file is not understood")
            _print(content, tried)
        else:
            if half.kind != answer.KINDS[0]:
                raise MissError("the answer file is not understood")
            _become(question.command, content, tried.environ, calls)
    finally:
        calls.restore()


def _unmasked(
    half: answer.Half,
    calls: "Calls",
    environ: dict[bytes, bytes],
    root: bytes,
    boottime: "Callable[[], float]",
) -> bytes:
    """Return the answer, if the unlocking lasts in which it was recorded.

    The session key is read last: whatever was cached before a lock is not served after it.
    """
    slot = b"answer%d" % half.slot
    if half.store == answer.STORES[0]:
        mark, _deadline, key = _parse(_key(calls, slot))
        content = half.open(key)
        session, deadline, secret = _parse(_key(calls, half.state))
    else:
        from filevault.lane.agent import Agent

        agent = Agent(environ, root)
        key, mark, _deadline = agent.key(half.state, slot)
        content = half.open(key)
        secret, session, deadline = agent.key(half.state, b"session")
    if deadline <= boottime() * 1000 or deadline < half.boot_deadline:
        raise MissError("the vault is locked")
    if answer.unlocking_id(session, deadline, secret) != mark:
        raise MissError("the vault was locked meanwhile")
    return content


def _key(calls: "Calls", name: bytes) -> bytes:
    try:
        return calls.key(_NAMES + name)
    except OSError:
        raise MissError("the vault is locked") from None


def _parse(payload: bytes) -> tuple[bytes, int, bytes]:
    """Return mark, deadline and content of a key as `filevault.keycache.kernel` writes it."""
    head, _, key = payload.partition(b"\n")
    word, deadline, mark = head.split(b" ")
    if word != b"filevault-cache-1" or not deadline.isdigit():
        raise MissError("a key is not understood")
    return mark, int(deadline), key


def changed(environ: dict[bytes, bytes], content: bytes) -> dict[bytes, bytes]:
    """Return an environment with the changes of an answer.

    Raises MissError for a name that no answer may have.
    """
    env = dict(environ)
    for word in content.split(b"\0"):
        name, sets, value = word.partition(b"=")
        if not sets:
            if not name.startswith(answer.REMOVED_FAMILIES):
                raise MissError("the answer is not understood")
            env.pop(name, None)
        elif name in answer.SET_NAMES or name.startswith(answer.SET_FAMILY):
            env[name] = value
        else:
            raise MissError("the answer is not understood")
    for name in env:
        if name.startswith(SECRETS):
            raise MissError("the answer is not understood")
    return env


def _become(
    command: list[str], content: bytes, environ: dict[bytes, bytes], calls: "Calls"
) -> "NoReturn":
    """Replace this process by the command; every failure is reported by the normal path."""
    env = changed(environ, content)
    path = _found(command[0].encode(sys.getfilesystemencoding(), "surrogateescape"), environ)
    handlers = [_signal.signal(number, _signal.SIG_DFL) for number in _RESTORED]
    calls.restore()
    try:
        posix.execve(path, command, env)
    finally:
        for number, handler in zip(_RESTORED, handlers, strict=True):
            _signal.signal(number, handler)


def _found(program: bytes, environ: dict[bytes, bytes]) -> bytes:
    """Return the path of a program as `filevault.cli.replace_process.find_command` does."""
    paths = [program]
    if b"/" not in program:
        folders = environ.get(b"PATH", _DEFAULT_PATH).split(b":")
        paths = [_joined(folder or b".", program) for folder in folders]
    for path in paths:
        try:
            mode = posix.stat(path).st_mode
        except (OSError, ValueError):
            continue
        if mode & _KIND == _REGULAR and posix.access(path, posix.X_OK):
            return path
    raise MissError("the command is not found")


def _joined(folder: bytes, program: bytes) -> bytes:
    return folder + program if folder.endswith(b"/") else folder + b"/" + program


def _print(content: bytes, tried: Attempt) -> None:
    """Write the answer to stdout and exit; return if only a part could be written."""
    if not posix.get_blocking(1):
        raise MissError("stdout may not take it at once")
    posix.write(1, b"")  # fails where stdout is closed or read-only
    written = 0
    try:
        while written < len(content):
            written += posix.write(1, content[written:])
    except OSError as error:
        if not written:
            raise
        tried.failure = error
        return
    posix._exit(0)
