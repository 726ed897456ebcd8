"""Reading a secret from where an option, a variable or the system says it is.

Two sources at the same level are an error, because guessing which one is meant would sooner or
later open the wrong thing. Which secret is asked for, and in which order, is decided in
`filevault.unlock.unlocker`.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, TypeVar

from filevault.backends.protocols import Secret
from filevault.errors import FilevaultError, LockedError, UsageError
from filevault.system.printable import printable
from filevault.system.record import Record
from filevault.system.secret_buffer import SecretBuffer
from filevault.system.secret_files import read_secret

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filevault.config.settings import Settings
    from filevault.system.secret_buffer import SecretBytes

_Bytes = TypeVar("_Bytes", bound="bytes | bytearray")
_LIMIT = 64 << 10
_COMMAND_TIMEOUT = 120.0
_DESCRIPTOR_TIMEOUT = 120.0  # seconds; as for a command
_PREFIXES = {
    "passphrase": "FILEVAULT_PASSPHRASE",
    "keyfile": "FILEVAULT_KEY",
    "identity": "FILEVAULT_AGE_IDENTITY",
}
_CREDENTIALS = {
    "keyfile": "filevault-key",
    "passphrase": "filevault-passphrase",
    "identity": "filevault-age-identity",
}


class Source(Record):
    """Where a secret is.

    `opens` is passphrase, keyfile or identity; `kind` is value, fd, file or command; `origin` is
    what messages call it.
    """

    _secret = ("content",)

    opens: str
    kind: str
    content: str
    origin: str


def identity_files(settings: Settings) -> list[Source]:
    """Return the sources that `--identity` names, which may be repeated as in age."""
    return [source for source in _options(settings) if source.opens == "identity"]


def explicit(settings: Settings, *opens: str) -> Source | None:
    """Return the one source of these kinds that was named: an option, else a variable.

    Identities that options name are `identity_files`. Raises UsageError for two of the same rank.
    """
    options = [source for source in _options(settings) if source.opens in opens]
    variables = [
        source for kind in opens for source in variables_of(settings, _PREFIXES[kind], kind)
    ]
    return _only_one(options, "options") or _only_one(variables, "variables")


def new_passphrase(settings: Settings) -> Source | None:
    """Return the source of a new passphrase, None if none is named. Raises UsageError for two."""
    return _only_one(variables_of(settings, "FILEVAULT_NEW_PASSPHRASE", "passphrase"), "variables")


def variables_of(settings: Settings, prefix: str, opens: str) -> list[Source]:
    """Return the sources among the variables of a prefix."""
    return [
        Source(opens, variable.transport, variable.content, variable.name)
        for variable in settings.secret_variables(prefix)
    ]


def _options(settings: Settings) -> list[Source]:
    options = settings.options
    found = []
    if options.passphrase_fd is not None:
        number = str(options.passphrase_fd)
        found.append(Source("passphrase", "fd", number, "--passphrase-fd"))
    for path, opens, origin in (
        (options.passphrase_file, "passphrase", "--passphrase-file"),
        (options.key_file, "keyfile", "--key-file"),
    ):
        if path is not None:
            found.append(Source(opens, "file", path, origin))
    return found + [Source("identity", "file", path, "--identity") for path in options.identity]


def _only_one(sources: Sequence[Source], level: str) -> Source | None:
    if len(sources) > 1:
        names = " and ".join(printable(source.origin) for source in sources[:3])
        raise UsageError(
            f"two {level} name a secret, {names}: only one can be meant",
            hint="give one of them only",
        )
    return sources[0] if sources else None


def is_provided(settings: Settings, *opens: str) -> bool:
    """Tell whether the system provides a secret of these kinds; nothing is read."""
    paths = (path for kind in opens for path in settings.system_credentials(_CREDENTIALS[kind]))
    return any(os.path.lexists(path) for path in paths)


def provided(settings: Settings, *opens: str) -> Secret | None:
    """Return what `$CREDENTIALS_DIRECTORY` or `/run/secrets` holds, in the order of the kinds.

    Raises LockedError for a credential that is refused or empty.
    """
    for kind in opens:
        for path in settings.system_credentials(_CREDENTIALS[kind]):
            try:
                data = read_secret(path, settings.home_if_known, provided=True)
            except FileNotFoundError:
                continue
            data = _as_given(kind, data, printable(path))
            if not data:
                raise LockedError(f"the credential {printable(path)!r} is empty")
            return Secret(kind, data, path)
    return None


def close_descriptors(settings: Settings) -> None:
    """Close every descriptor that was named as a secret's source, read or not.

    A child must not find a passphrase waiting in a pipe.
    """
    named = _options(settings)
    for prefix in ("FILEVAULT_NEW_PASSPHRASE", *_PREFIXES.values()):
        named += variables_of(settings, prefix, "")
    for source in named:
        if source.kind == "fd":
            with contextlib.suppress(FilevaultError, OSError):
                _close(_descriptor(source))


def read(source: Source, settings: Settings) -> Secret:
    """Return the secret of a source: one final line end removed, except from a variable's value.

    Raises LockedError for a source that cannot be read or gives nothing usable, UsageError for
    what is no descriptor, ProgramError for a command that cannot be run.
    """
    what = f"the {_word(source)} from {printable(source.origin)}"
    data: SecretBytes
    if source.kind == "value":
        data = check_text(os.fsencode(source.content), what)
    elif source.kind == "fd":
        data = _as_given(source.opens, _read_descriptor(source), what)
    elif source.kind == "file":
        path = settings.expand(source.content)
        try:
            home = settings.home_if_known
            content = read_secret(path, home, provided=_is_provided(path, settings))
        except FileNotFoundError as error:
            raise LockedError(
                f"there is no file {printable(path)!r} to read the {_word(source)} from",
                hint=f"{printable(source.origin)} names it",
            ) from error
        data = _as_given(source.opens, content, what)
    else:
        data = _as_given(source.opens, _run(source, settings), what)
    if not data:
        raise LockedError(f"{what} is empty")
    return Secret(source.opens, data, source.origin)


def _word(source: Source) -> str:
    return "key" if source.opens == "keyfile" else source.opens


def _is_provided(path: str, settings: Settings) -> bool:
    directory = settings.get("CREDENTIALS_DIRECTORY")
    folders = ["/run/secrets"]
    if directory and directory.startswith("/"):
        folders.append(directory)
    real = os.path.realpath(path)
    return any(real.startswith(os.path.realpath(folder) + "/") for folder in folders)


def _descriptor(source: Source) -> int:
    if not source.content.isascii() or not source.content.isdigit() or len(source.content) > 9:
        raise UsageError(f"{source.origin} is not the number of a descriptor")
    number = int(source.content)
    if number in (1, 2):
        raise UsageError(
            f"{source.origin} is {number}, which is where results and messages go",
            hint="use 0 or a number from 3 on",
        )
    return number


def _read_descriptor(source: Source) -> bytearray:
    import select
    import time

    fd = _descriptor(source)
    data = SecretBuffer(_LIMIT)
    deadline = time.monotonic() + _DESCRIPTOR_TIMEOUT
    poller = select.poll()  # select(2) takes no descriptor above 1023
    poller.register(fd, select.POLLIN)
    try:
        while True:
            if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise LockedError(
                    f"descriptor {fd} of {source.origin} did not end within "
                    f"{_DESCRIPTOR_TIMEOUT:g} seconds",
                    hint="what writes the secret must close it, and leave no child that holds it",
                )
            if not data.read(fd):
                break
        _close(fd)
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise LockedError(f"cannot read descriptor {fd} of {source.origin}: {reason}") from error
    if data.overfull:
        raise LockedError(f"{source.origin} gives more than {_LIMIT} bytes")
    return data.take()


def _close(fd: int) -> None:
    """Close a descriptor; a standard one becomes /dev/null: nothing else may take its place."""
    if fd <= 2:
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        os.dup2(null, fd)
        os.close(null)
    else:
        os.close(fd)


def _run(source: Source, settings: Settings) -> bytearray:
    from filevault.system import programs

    output = bytearray()
    result = programs.run(
        programs.split(source.content, source.origin),
        settings.program_environment(),
        origin=source.origin,
        timeout=_COMMAND_TIMEOUT,
        terminal=True,
        into=output,
    )
    if result.status != 0:
        reason = f": {result.complaint}" if result.complaint else ""
        raise LockedError(f"{source.origin} failed with status {result.status}{reason}")
    return output


def _as_given(opens: str, data: bytearray, what: str) -> bytearray:
    """Return what a person meant by some bytes; a protected identity is an age file, no text."""
    if opens == "identity":
        return data
    _remove_line_end(data)
    return check_text(data, what)


def _remove_line_end(data: bytearray) -> None:
    """Remove exactly one final LF or CRLF, which editors and `echo` leave."""
    if data.endswith(b"\n"):
        del data[-2 if data.endswith(b"\r\n") else -1 :]


def check_text(data: _Bytes, what: str) -> _Bytes:
    """Return a secret that is text; raises LockedError for a NUL byte or bad UTF-8."""
    if b"\x00" in data:
        raise LockedError(f"{what} holds a NUL byte")
    if not data.isascii():  # else no copy is needed to see that it is right
        try:
            data.decode("utf-8")
        except UnicodeDecodeError:
            # Without the cause: it would carry the bytes.
            raise LockedError(f"{what} is not UTF-8") from None
    return data
