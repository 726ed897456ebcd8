"""Sources of secrets: values, descriptors, files and commands named by options and variables.

Two sources of the same precedence are an error, because a guess could open the wrong vault. Which
kinds of secret are read, and in which order, is decided in `filevault.unlock.unlocker`.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from filevault.backends.values import Secret
from filevault.errors import FilevaultError, LockedError, UsageError
from filevault.system.printable import printable
from filevault.system.record import Record
from filevault.system.secret_buffer import SecretBuffer
from filevault.system.secret_files import read_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    from filevault.config.settings import Settings
    from filevault.system.secret_buffer import SecretBytes

    _Bytes = TypeVar("_Bytes", bound=bytes | bytearray)

_LIMIT = 64 << 10
_COMMAND_TIMEOUT = 120.0
_DESCRIPTOR_TIMEOUT = 120.0  # seconds; as for a command
_PREFIXES = {
    "passphrase": "FILEVAULT_PASSPHRASE",
    "keyfile": "FILEVAULT_KEY",
    "identity": "FILEVAULT_AGE_IDENTITY",
}
_KEYS = ("filevault-key-1:", "age-secret-key-", "age-plugin-", "-----begin")
"""What the text of a key file or of an age identity begins with, in lower case."""
_CREDENTIALS = {
    "keyfile": "filevault-key",
    "passphrase": "filevault-passphrase",
    "identity": "filevault-age-identity",
}


class NamedSource(Record):
    """A source of a secret that an option or a variable names.

    `kind` says which secret it is: passphrase, keyfile or identity. `transport` is value, fd, file
    or command. `origin` is the option or variable.
    """

    _secret = ("content",)

    kind: str
    transport: str
    content: str
    origin: str


class KeyOrigin(Record):
    """Where a later run can read the same key: the file `path`, or else the variable."""

    path: str
    variable: str


def key_origin(source: NamedSource, settings: Settings) -> KeyOrigin | None:
    """Return where a later run can read the key of a source, None if it may not be there again."""
    if source.kind != "keyfile":
        return None
    if source.transport == "value":
        return KeyOrigin("", source.origin)
    return KeyOrigin(settings.expand(source.content), "") if source.transport == "file" else None


def identity_files(settings: Settings) -> list[NamedSource]:
    """Return the sources that `--identity` names, which may be repeated as in age."""
    return [source for source in _options(settings) if source.kind == "identity"]


def named_source(settings: Settings, *kinds: str) -> NamedSource | None:
    """Return the source of these kinds that an option names, else the one of a variable.

    `identity_files` returns the identities that options name. Raises UsageError for two sources
    of the same precedence.
    """
    options = [source for source in _options(settings) if source.kind in kinds]
    variables = [
        source for kind in kinds for source in variables_of(settings, _PREFIXES[kind], kind)
    ]
    return _only_one(options, "options") or _only_one(variables, "variables")


def new_passphrase_source(settings: Settings) -> NamedSource | None:
    """Return the named source of a new passphrase, or None. Raises UsageError for two."""
    return _only_one(variables_of(settings, "FILEVAULT_NEW_PASSPHRASE", "passphrase"), "variables")


def variables_of(settings: Settings, prefix: str, kind: str) -> list[NamedSource]:
    """Return the sources that the variables with a prefix name."""
    return [
        NamedSource(kind, variable.transport, variable.content, variable.name)
        for variable in settings.secret_variables(prefix)
    ]


def _options(settings: Settings) -> list[NamedSource]:
    options = settings.options
    found = []
    if options.passphrase_fd is not None:
        number = str(options.passphrase_fd)
        found.append(NamedSource("passphrase", "fd", number, "--passphrase-fd"))
    for path, kind, origin in (
        (options.passphrase_file, "passphrase", "--passphrase-file"),
        (options.key_file, "keyfile", "--key-file"),
    ):
        if path is not None:
            found.append(NamedSource(kind, "file", path, origin))
    return found + [
        NamedSource("identity", "file", path, "--identity") for path in options.identity
    ]


def _only_one(sources: Sequence[NamedSource], level: str) -> NamedSource | None:
    if len(sources) > 1:
        names = " and ".join(printable(source.origin) for source in sources[:3])
        raise UsageError(
            f"two {level} name a secret, {names}: only one can be meant",
            hint="give one of them only",
        )
    return sources[0] if sources else None


def is_provided(settings: Settings, *kinds: str) -> bool:
    """Return whether the system provides a secret of these kinds, without reading it."""
    paths = (path for kind in kinds for path in settings.system_credentials(_CREDENTIALS[kind]))
    return any(settings.inputs.exists(path) or os.path.lexists(path) for path in paths)


def provided_secret(settings: Settings, *kinds: str) -> Secret | None:
    """Return the secret that systemd or a container runtime provides, in the order of the kinds.

    They are in `$CREDENTIALS_DIRECTORY` or `/run/secrets`. Raises LockedError for a credential
    that is refused or empty.
    """
    for kind in kinds:
        for path in settings.system_credentials(_CREDENTIALS[kind]):
            try:
                home = settings.home_if_known
                data = read_secret(path, home, provided=_always, inputs=settings.inputs)
            except FileNotFoundError:
                continue
            data = _as_given(kind, data, printable(path))
            if not data:
                raise LockedError(f"the credential {printable(path)!r} is empty")
            return Secret(kind, data, path)
    return None


def close_descriptors(settings: Settings) -> None:
    """Close every descriptor that is named as a source of a secret, whether it was read or not.

    A command must not inherit a pipe that contains a passphrase.
    """
    named = _options(settings)
    for prefix in ("FILEVAULT_NEW_PASSPHRASE", *_PREFIXES.values()):
        named += variables_of(settings, prefix, "")
    for source in named:
        if source.transport == "fd":
            with contextlib.suppress(FilevaultError, OSError):
                _close(_descriptor(source))


def read_source(
    source: NamedSource, settings: Settings, tell: Callable[[str], None] | None = None
) -> Secret:
    """Return the secret from a source.

    A final line end is removed, except from a variable's value and from identities. `tell` shows a
    person that a command is waited for, if that takes long.

    Raises LockedError if the source cannot be read or its content is unusable, UsageError for a
    wrong descriptor number, ProgramError for a command that cannot be run.
    """
    what = f"the {_word(source)} from {printable(source.origin)}"
    data: SecretBytes
    if source.transport == "value":
        data = check_text(os.fsencode(source.content), what)
    elif source.transport == "fd":
        data = _as_given(source.kind, _read_descriptor(source), what)
    elif source.transport == "file":
        path = settings.expand(source.content)
        mistaken = not_a_path(source, settings)
        if mistaken is not None:
            raise mistaken
        try:
            home = settings.home_if_known
            content = read_secret(
                path, home, provided=lambda: _is_provided(path, settings), inputs=settings.inputs
            )
        except FileNotFoundError as error:
            raise LockedError(
                f"there is no file {printable(path)!r} to read the {_word(source)} from",
                hint=f"{printable(source.origin)} names it",
            ) from error
        data = _as_given(source.kind, content, what)
    else:
        data = _as_given(source.kind, _run(source, settings, tell), what)
    if not data:
        hint = None
        if source.transport == "value":  # as GitHub Actions does, e.g. for a fork
            hint = (
                "CI systems give the empty value for a secret that is not there or that the job "
                "may not have; if none is meant, unset the variable"
            )
        raise LockedError(f"{what} is empty", hint=hint)
    return Secret(source.kind, data, source.origin)


def not_a_path(source: NamedSource, settings: Settings) -> LockedError | None:
    """Return the error for a file whose path may be the secret itself, None if it is a path.

    Where a secret is given in place of its path, a message that shows it would put it into a log.
    """
    given = source.content
    if source.kind == "passphrase":
        is_path = given.startswith(("/", "~", "."))
    else:
        is_path = not given.lower().startswith(_KEYS)
    if is_path or os.path.lexists(settings.expand(given)):
        return None
    word, instead = _word(source), source.origin.removesuffix("_FILE")
    if instead == source.origin:
        instead = _PREFIXES[source.kind]
    return LockedError(
        f"{printable(source.origin)} names no file to read the {word} from",
        hint=f"what it names is not shown, because it may be the {word} itself, which belongs in "
        f"{instead}; a path can begin with ./",
    )


def _word(source: NamedSource) -> str:
    return "key" if source.kind == "keyfile" else source.kind


def _always() -> bool:
    return True


def _is_provided(path: str, settings: Settings) -> bool:
    directory = settings.get("CREDENTIALS_DIRECTORY")
    folders = ["/run/secrets"]
    if directory and directory.startswith("/"):
        folders.append(directory)
    real_path = settings.inputs.real_path  # where they lead now counts in a later run as well
    real = real_path(path)
    return any(real.startswith(real_path(folder) + "/") for folder in folders)


def _descriptor(source: NamedSource) -> int:
    if not source.content.isascii() or not source.content.isdigit() or len(source.content) > 9:
        raise UsageError(
            f"{source.origin} is not the number of a descriptor",
            hint="give the number of an open descriptor: 0, or one from 3 on",
        )
    number = int(source.content)
    if number in (1, 2):
        raise UsageError(
            f"{source.origin} is {number}, which is where results and messages go",
            hint="use 0 or a number from 3 on",
        )
    return number


def _read_descriptor(source: NamedSource) -> bytearray:
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
                    hint="the program that writes the secret, and each of its children, must close "
                    "the descriptor",
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
    """Close a descriptor; replace a standard one by /dev/null, so that its number stays in use."""
    if fd <= 2:
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        os.dup2(null, fd)
        os.close(null)
    else:
        os.close(fd)


def _run(source: NamedSource, settings: Settings, tell: Callable[[str], None] | None) -> bytearray:
    from filevault.system import programs

    output = bytearray()
    result = programs.run(
        programs.split(source.content, source.origin),
        settings.program_environment(),
        origin=source.origin,
        timeout=_COMMAND_TIMEOUT,
        terminal=True,
        into=output,
        tell=tell,
    )
    if result.status != 0:
        reason = f": {result.complaint}" if result.complaint else ""
        raise LockedError(f"{source.origin} failed with status {result.status}{reason}")
    return output


def _as_given(kind: str, data: bytearray, what: str) -> bytearray:
    """Return the secret that was read: text without its final line end, identities unchanged."""
    if kind == "identity":
        return data
    _remove_line_end(data)
    return check_text(data, what)


def _remove_line_end(data: bytearray) -> None:
    """Remove one final LF or CRLF, which editors and `echo` add."""
    if data.endswith(b"\n"):
        del data[-2 if data.endswith(b"\r\n") else -1 :]


def check_text(data: _Bytes, what: str) -> _Bytes:
    """Return a secret unchanged. Raises LockedError for a NUL byte or invalid UTF-8."""
    if b"\x00" in data:
        raise LockedError(f"{what} contains a NUL byte")
    if not data.isascii():  # ASCII is checked without a copy
        try:
            data.decode("utf-8")
        except UnicodeDecodeError:
            # `from None`, because the cause would contain the secret.
            raise LockedError(f"{what} is not UTF-8") from None
    return data
