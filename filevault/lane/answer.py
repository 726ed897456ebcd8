"""The answer file: the half of a cached answer on disk (docs/format.md §10).

It is bound to the other half, which lies beside the session key, by a tag and a pad that are used
once. The tag is over the pad as well: who can write the other half alone could change the answer
bit by bit. Where a key file opens the vault there is no other half, and the answer is sealed under
that file: see `filevault.lane.sealed`.
"""

import posix

from filevault.lane.digest import equal, hash_of, hash_of_list, hmac, xor
from filevault.lane.question import MissError

FOLDER = "answers"
MAGIC = b"filevault-answer-1"
MAX_FILE = 64 << 10
SLOTS = 8
"""How many answers are cached for one user."""
QUOTA = 8000
"""Bytes that they take together in the kernel keyring, with the names of their keys."""
OVERHEAD = 160
"""Bytes that one takes besides its own, at most: name, header, mark and MAC key."""
MAX_ANSWER = QUOTA // 4 - OVERHEAD
"""Bytes of an answer."""
KINDS = (b"environment", b"text")
"""What an answer is: changes of a command's environment, or what is printed."""
SEALED = b"key-file"
STORES = (b"kernel", b"agent", SEALED)
"""What opens an answer: the other half in a key store, or the key file."""
SEALED_ANSWERS = 32
"""How many sealed answers are cached for one user: they take no room in a key store."""
MAX_SEALED = 16 << 10
"""Bytes of a sealed answer."""
SEALED_OVERHEAD = 32 + 12 + 16
"""Bytes that a sealed answer takes besides: salt, nonce, tag."""
ORIGINS = (b"file", b"variable")
"""Where the key is: in the file of that path, or in the variable of that name."""
SET_NAMES = (
    b"AWS_VAULT",
    b"AWS_ACCESS_KEY_ID",
    b"AWS_SECRET_ACCESS_KEY",
    b"AWS_SESSION_TOKEN",
    b"AWS_CREDENTIAL_EXPIRATION",
    b"AWS_SESSION_EXPIRATION",
    b"AWS_REGION",
    b"AWS_DEFAULT_REGION",
    b"AWS_ACCOUNT_ID",
    b"AWS_ENDPOINT_URL",
    b"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    b"AWS_USE_FIPS_ENDPOINT",
    b"AWS_USE_DUALSTACK_ENDPOINT",
    b"AWS_STS_REGIONAL_ENDPOINTS",
    b"AWS_ACCOUNT_ID_ENDPOINT_MODE",
    b"AWS_CA_BUNDLE",
    b"FILEVAULT_SET",
)
SET_FAMILY = b"AWS_ENDPOINT_URL_"
"""What an answer may set in an environment: these, and all that begin so."""
REMOVED_FAMILIES = (b"AWS_", b"FILEVAULT_")
"""What an answer may remove begins so."""

_MAX_DRIFT = 2000  # milliseconds that the two clocks may have moved against each other
_TAG = 32
_KIND, _REGULAR = 0o170000, 0o100000  # stat(2)


class Half:
    """What an answer file says; `masked` is the answer with the pad over it, or sealed.

    `store` and `slot` say where the other half is, `state` is the state id of the vault. Until
    `wall_deadline` (Unix seconds) and `boot_deadline` (milliseconds since the start of the machine)
    it may be served; `drift` is Unix time less that time, in milliseconds. `origin` says where the
    key of a sealed answer is: one of `ORIGINS`, and a path or name. `head` are the bytes before it.
    """

    __slots__ = (
        *("boot_deadline", "drift", "head", "kind", "lines", "masked", "names", "origin"),
        *("signed", "slot", "state", "store", "tag", "values", "wall_deadline"),
    )

    def __init__(self, data: bytes, question: bytes) -> None:
        head, end, rest = data.partition(b"\n\n")
        lines = head.split(b"\n")
        if not end or len(lines) < 5 or lines[0] != MAGIC:
            raise MissError("the answer file is not understood")
        if lines[1] != question.hex().encode():
            raise MissError("the answer file is for another question")
        self.store, slot, self.state, self.kind, length = lines[2].split(b" ")
        self.slot = int(slot)
        times = [int(each) for each in lines[3].split(b" ")]
        self.wall_deadline, self.boot_deadline, self.drift = times
        self.values, *self.names = lines[4].split(b" ")
        self.lines = lines[5:]
        self.head = data[: len(head) + len(end)]
        self.origin = (b"", b"")
        if self.store == SEALED:
            origin, _, where = self.lines.pop(0).partition(b" ")
            self.origin = (origin, where)
            self.masked, self.tag, self.signed = rest, b"", b""
            fits = len(rest) == int(length) + SEALED_OVERHEAD and origin in ORIGINS
            most, slots = MAX_SEALED, 1
        else:
            self.masked, self.tag = rest[:-_TAG], rest[-_TAG:]
            self.signed = data[:-_TAG]
            fits = len(self.masked) == int(length) and len(self.tag) == _TAG
            most, slots = MAX_ANSWER, SLOTS
        if (
            not fits
            or not 0 < int(length) <= most
            or not 0 <= self.slot < slots
            or self.kind not in KINDS
            or self.store not in STORES
        ):
            raise MissError("the answer file is not understood")

    def check_time(self, wall: float, boot: float) -> None:
        """Raise MissError past a deadline, or if one clock was set."""
        if wall > self.wall_deadline or boot * 1000 >= self.boot_deadline:
            raise MissError("its time is over")
        if abs((wall - boot) * 1000 - self.drift) > _MAX_DRIFT:
            raise MissError("the clock was set")

    def check_variables(self, environ: dict[bytes, bytes]) -> None:
        """Raise MissError if a further variable that the run looked up has changed."""
        if variables_digest(self.names, environ) != self.values:
            raise MissError("a variable has changed")

    def check_witnesses(self) -> None:
        """Raise MissError if anything that the run read has changed. Raises OSError."""
        for line in self.lines:
            if not _holds(line):
                path = line[line.find(b"/") :].decode("utf-8", "surrogateescape")
                raise MissError(f"it has changed: {path}")

    def open(self, key: bytes) -> bytes:
        """Return the answer. Raises MissError if the other half does not belong to this one."""
        if len(key) != _TAG + len(self.masked):
            raise MissError("the other half is not there")
        pad = key[_TAG:]
        if not equal(hmac(key[:_TAG], self.signed + pad), self.tag):
            raise MissError("the other half belongs to another answer")
        return xor(self.masked, pad)


def head(
    question: bytes,
    where: tuple[bytes, int, bytes],
    answer: tuple[bytes, int],
    times: tuple[int, int, int],
    names: list[bytes],
    values: bytes,
    lines: list[bytes],
) -> bytes:
    """Return the bytes of an answer file up to the answer.

    Args:
        question: the digest.
        where: store, slot and state id.
        answer: its kind, and how many bytes it has.
        times: the two deadlines and the drift, as in `Half`.
        names: of further variables that the run looked up.
        values: their digest.
        lines: the witnesses; before those of a sealed answer, the origin of its key.
    """
    first = [
        MAGIC,
        question.hex().encode(),
        b"%b %d %b %b %d" % (*where, *answer),
        b"%d %d %d" % times,
        b" ".join([values, *names]),
    ]
    return b"\n".join([*first, *lines]) + b"\n\n"


def mask(before: bytes, content: bytes, key: bytes) -> bytes:
    """Return the bytes of an answer file whose other half lies in a key store.

    Args:
        before: its head.
        content: the answer.
        key: the other half: 32 bytes of a MAC key and a pad as long as the answer, used once.
    """
    pad = key[_TAG:]
    signed = before + xor(content, pad)
    return signed + hmac(key[:_TAG], signed + pad)


def read(path: bytes) -> bytes:
    """Return the bytes of an answer file. Raises MissError, OSError."""
    flags = posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_CLOEXEC
    try:
        fd = posix.open(path, flags)
    except FileNotFoundError:
        raise MissError("no answer is cached") from None
    try:
        info = posix.fstat(fd)
        if (
            info.st_mode & _KIND != _REGULAR
            or info.st_mode & 0o077
            or info.st_uid != posix.geteuid()
            or info.st_size > MAX_FILE
        ):
            raise MissError("the answer file is not private")
        return posix.read(fd, MAX_FILE + 1)
    finally:
        posix.close(fd)


def unlocking_id(mark: bytes, deadline: int, key: bytes) -> bytes:
    """Return the id of an unlocking in 64 hex digits: a digest of the session key's entry.

    It cannot be computed without the key, and the next unlocking has another deadline.
    """
    return hash_of(b"filevault-unlocking-1 %d %b\n%b" % (deadline, mark, key)).hex().encode()


def variables_digest(names: list[bytes], environ: dict[bytes, bytes]) -> bytes:
    """Return a digest of variables in 64 hex digits; one that is not set differs from an empty."""
    parts = []
    for name in names:
        value = environ.get(name)
        parts += [name, b"-" if value is None else b"=" + value]
    return hash_of_list(parts).hex().encode()


def _holds(line: bytes) -> bool:
    """Return whether a witness is as it was."""
    kind, rest = line[:2], line[2:]
    if kind == b"A ":
        try:
            posix.lstat(rest)
        except (FileNotFoundError, NotADirectoryError):
            return True
        return False
    if kind == b"W ":
        return posix.access(rest, posix.W_OK | posix.X_OK, effective_ids=True)
    path = rest[rest.find(b"/") :]
    try:
        info = posix.lstat(path)
    except OSError:
        return False
    numbers = (info.st_dev, info.st_ino, info.st_mode, info.st_uid, info.st_gid)
    if kind == b"D ":
        return rest == b"%d %d %d %d %d %b" % (*numbers, path)
    times = (info.st_size, info.st_mtime_ns, info.st_ctime_ns)
    return kind == b"F " and rest == b"%d %d %d %d %d %d %d %d %b" % (*numbers, *times, path)
