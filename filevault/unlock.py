"""Where a passphrase or a key comes from.

An option beats a variable; two sources at the same level are an error, because guessing which
one is meant would sooner or later open the wrong thing. Then what systemd or the container
runtime provides, a key before a passphrase; then the terminal, three tries; else an error that
names the ways.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from filevault.backends import Secret
from filevault.errors import (
    FilevaultError,
    LockedError,
    NobodyToAskError,
    UsageError,
    WrongPassphraseError,
)
from filevault.printable import printable
from filevault.userfiles import read_secret
from filevault.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from filevault.prompt import Prompter
    from filevault.settings import Settings

WAYS = (
    "give --passphrase-file, --passphrase-fd or --key-file, set FILEVAULT_PASSPHRASE, "
    "FILEVAULT_KEY or their _FILE, _FD, _COMMAND forms, or run it on a terminal"
)
_LIMIT = 64 << 10
_TRIES = 3
_COMMAND_TIMEOUT = 120.0


class _Source(Value):
    opens: str  # "passphrase" or "keyfile"
    kind: str  # "value", "fd", "file", "command" or "credential"
    content: str
    origin: str

    def __repr__(self) -> str:
        return f"_Source({self.origin!r}, ...)"


class Unlocker:
    """The one source of what opens a vault; see `filevault.backends.SecretSource`."""

    def __init__(
        self, settings: Settings, prompter: Callable[[], Prompter], vault_path: str
    ) -> None:
        self._settings = settings
        self._ask = prompter
        self._path = vault_path
        self._tries = 0

    def secret(self) -> Secret:
        """Return a passphrase or key from the first source that is there.

        Raises:
            UsageError: two sources of the same rank.
            NobodyToAskError: no source, and no terminal.
            LockedError: a source that cannot be read, or gives nothing usable.
        """
        source = _only_one(_from_options(self._settings), "options")
        if source is None:
            source = _only_one(
                _from_variables(self._settings, "FILEVAULT_PASSPHRASE", "passphrase")
                + _from_variables(self._settings, "FILEVAULT_KEY", "keyfile"),
                "variables",
            )
        if source is not None:
            return _read(source, self._settings)
        provided = _from_system(self._settings)
        if provided is not None:
            return provided
        prompter = self._ask()
        if not prompter.present:
            raise NobodyToAskError(
                "the vault is locked, there is no terminal to ask for the passphrase, and no "
                "other source is given",
                hint=WAYS,
            )
        self._tries += 1
        answer = prompter.hidden(f"Passphrase for {printable(self._path)}: ")
        if not answer:
            raise LockedError("no passphrase was given")
        return Secret("passphrase", _check_text(answer, "the passphrase"), "terminal")

    def rejected(self, secret: Secret) -> None:
        """Allow three tries on a terminal; anywhere else the first is the last."""
        if secret.origin == "terminal" and self._tries < _TRIES:
            self._ask().say("That passphrase opens nothing here. Try again.")
            return
        if secret.origin == "terminal":
            raise WrongPassphraseError(f"wrong passphrase, {_TRIES} times")
        what = "passphrase" if secret.kind == "passphrase" else "key"
        raise WrongPassphraseError(
            f"the {what} from {printable(secret.origin)} opens no keyslot of this vault",
            hint=f"check that it is the {what} of the vault at {printable(self._path)}",
        )


def new_passphrase(settings: Settings, prompter: Prompter, *, ordinary: bool) -> bytes:
    """Return a new passphrase: from its own variables, the ordinary source, or asked twice.

    `ordinary` lets `--passphrase-*` and `FILEVAULT_PASSPHRASE*` serve, as `init` wants.
    """
    source = _only_one(
        _from_variables(settings, "FILEVAULT_NEW_PASSPHRASE", "passphrase"), "variables"
    )
    if source is None and ordinary:
        options = [s for s in _from_options(settings) if s.opens == "passphrase"]
        source = _only_one(options, "options") or _only_one(
            _from_variables(settings, "FILEVAULT_PASSPHRASE", "passphrase"), "variables"
        )
    if source is not None:
        return _read(source, settings).value
    if ordinary:
        for path in settings.system_credentials("filevault-passphrase"):
            provided = _read_provided(path, settings, "passphrase")
            if provided is not None:
                return provided.value
    if not prompter.present:
        raise NobodyToAskError(
            "there is no terminal to ask for a new passphrase, and no source of one is given",
            hint="set FILEVAULT_NEW_PASSPHRASE_FILE or FILEVAULT_NEW_PASSPHRASE, or give "
            "--passphrase-file, --generate, or --new-key-file with --no-passphrase",
        )
    for _ in range(_TRIES):
        first = prompter.hidden("New passphrase: ")
        if not first:
            raise LockedError("no passphrase was given")
        if prompter.hidden("The same again: ") == first:
            return _check_text(first, "the passphrase")
        prompter.say("The two are not the same. Try again.")
    raise LockedError("the two passphrases differed three times")


def has_new_passphrase(settings: Settings, *, ordinary: bool) -> bool:
    """Tell whether a new passphrase could be had without asking anybody."""
    sources = _from_variables(settings, "FILEVAULT_NEW_PASSPHRASE", "passphrase")
    if ordinary:
        sources += [s for s in _from_options(settings) if s.opens == "passphrase"]
        sources += _from_variables(settings, "FILEVAULT_PASSPHRASE", "passphrase")
    return bool(sources)


def close_descriptors(settings: Settings) -> None:
    """Close every descriptor that was named as a secret's source, read or not.

    A child must not find a passphrase waiting in a pipe.
    """
    numbers = [s for s in _from_options(settings) if s.kind == "fd"]
    for prefix in ("FILEVAULT_PASSPHRASE", "FILEVAULT_NEW_PASSPHRASE", "FILEVAULT_KEY"):
        numbers += [s for s in _from_variables(settings, prefix, "") if s.kind == "fd"]
    for source in numbers:
        with contextlib.suppress(FilevaultError, OSError):
            _close(_descriptor(source))


def _from_options(settings: Settings) -> list[_Source]:
    options = settings.options
    found = []
    if options.passphrase_fd is not None:
        number = str(options.passphrase_fd)
        found.append(_Source("passphrase", "fd", number, "--passphrase-fd"))
    if options.passphrase_file is not None:
        found.append(_Source("passphrase", "file", options.passphrase_file, "--passphrase-file"))
    if options.key_file is not None:
        found.append(_Source("keyfile", "file", options.key_file, "--key-file"))
    return found


def _from_variables(settings: Settings, prefix: str, secret: str) -> list[_Source]:
    return [
        _Source(secret, variable.kind, variable.content, variable.name)
        for variable in settings.secret_variables(prefix)
    ]


def _only_one(sources: Sequence[_Source], level: str) -> _Source | None:
    if len(sources) > 1:
        names = " and ".join(printable(source.origin) for source in sources[:3])
        raise UsageError(
            f"two {level} name a secret, {names}: only one can be meant",
            hint="give one of them only",
        )
    return sources[0] if sources else None


def _read(source: _Source, settings: Settings) -> Secret:
    if source.kind == "value":
        data = os.fsencode(source.content)
    elif source.kind == "fd":
        data = _one_line_end_less(_read_descriptor(source))
    elif source.kind == "file":
        path = settings.expand(source.content)
        try:
            data = _one_line_end_less(
                read_secret(path, settings.home, provided=_is_provided(path, settings))
            )
        except FileNotFoundError as error:
            raise LockedError(
                f"there is no file {printable(path)!r} to read the {_word(source)} from"
            ) from error
    else:
        data = _one_line_end_less(_run(source, settings))
    what = f"the {_word(source)} from {printable(source.origin)}"
    if not data:
        raise LockedError(f"{what} is empty")
    return Secret(source.opens, _check_text(data, what), source.origin)


def _word(source: _Source) -> str:
    return "key" if source.opens == "keyfile" else "passphrase"


def _from_system(settings: Settings) -> Secret | None:
    """What `$CREDENTIALS_DIRECTORY` or `/run/secrets` holds; a key before a passphrase."""
    for name, kind in (("filevault-key", "keyfile"), ("filevault-passphrase", "passphrase")):
        for path in settings.system_credentials(name):
            secret = _read_provided(path, settings, kind)
            if secret is not None:
                return secret
    return None


def _read_provided(path: str, settings: Settings, kind: str) -> Secret | None:
    try:
        data = _one_line_end_less(read_secret(path, settings.home, provided=True))
    except FileNotFoundError:
        return None
    if not data:
        raise LockedError(f"the credential {printable(path)!r} is empty")
    return Secret(kind, _check_text(data, printable(path)), path)


def _is_provided(path: str, settings: Settings) -> bool:
    directory = settings.get("CREDENTIALS_DIRECTORY")
    folders = ["/run/secrets"]
    if directory and directory.startswith("/"):
        folders.append(directory)
    real = os.path.realpath(path)
    return any(real.startswith(os.path.realpath(folder) + "/") for folder in folders)


def _descriptor(source: _Source) -> int:
    if not source.content.isascii() or not source.content.isdigit() or len(source.content) > 9:
        raise UsageError(f"{source.origin} is not the number of a descriptor")
    number = int(source.content)
    if number in (1, 2):
        raise UsageError(
            f"{source.origin} is {number}, which is where results and messages go",
            hint="use 0 or a number from 3 on",
        )
    return number


def _read_descriptor(source: _Source) -> bytes:
    fd = _descriptor(source)
    data = b""
    try:
        while len(data) <= _LIMIT:
            part = os.read(fd, _LIMIT)
            if not part:
                break
            data += part
        _close(fd)
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise LockedError(f"cannot read descriptor {fd} of {source.origin}: {reason}") from error
    if len(data) > _LIMIT:
        raise LockedError(f"{source.origin} gives more than {_LIMIT} bytes")
    return data


def _close(fd: int) -> None:
    """Close a descriptor; a standard one becomes /dev/null: nothing else may take its place."""
    if fd <= 2:
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        os.dup2(null, fd)
        os.close(null)
    else:
        os.close(fd)


def _run(source: _Source, settings: Settings) -> bytes:
    from filevault import programs

    result = programs.run(
        programs.split(source.content, source.origin),
        settings.program_environment(),
        origin=source.origin,
        timeout=_COMMAND_TIMEOUT,
        terminal=True,
    )
    if result.status != 0:
        reason = f": {result.complaint}" if result.complaint else ""
        raise LockedError(f"{source.origin} failed with status {result.status}{reason}")
    return result.output


def _one_line_end_less(data: bytes) -> bytes:
    """Remove exactly one final LF or CRLF, which editors and `echo` leave."""
    if data.endswith(b"\r\n"):
        return data[:-2]
    return data[:-1] if data.endswith(b"\n") else data


def _check_text(data: bytes, what: str) -> bytes:
    if b"\x00" in data:
        raise LockedError(f"{what} holds a NUL byte")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        # Without the cause: it would carry the bytes.
        raise LockedError(f"{what} is not UTF-8") from None
    return data
