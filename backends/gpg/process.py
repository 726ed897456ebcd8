"""Run gpg: find the program, pass options, enforce time limits.

Messages are processed with python-gnupg, which uses pipes and no files; added to it are a time
limit, and a parser of the status lines that no user id can deceive. Listings need neither and use
`filevault.system.programs`.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from filevault.backends.gpg import options
from filevault.backends.gpg.limits import Stderr, Watch
from filevault.backends.gpg.openpgp import MAX_FILE, MAX_TEXT
from filevault.backends.gpg.status import Reply
from filevault.errors import LockedError, ProgramError, StorageError
from filevault.system import programs
from filevault.system.config_files import is_trusted, refuse_choice_of_others
from filevault.system.printable import printable
from filevault.system.search_path import find_program

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


_SETTINGS = ".conf"
"""What is in the name of each file in gpg's home that names programs, as `gpg.conf-2.4`."""
_OUT_OF_TIME = 24  # SIGXCPU, wherever there are processor limits for other processes


def refuse_others(home: str, environment: Mapping[str, str]) -> None:
    """Raise ProgramError if another user could name the programs that gpg with this home starts.

    Where the home is trusted, so are the files in it.
    """
    refuse_choice_of_others(home, "gpg", environment)
    if is_trusted(home, environment):
        return
    with contextlib.suppress(OSError), os.scandir(home) as entries:
        for entry in entries:
            if _SETTINGS in entry.name:
                refuse_choice_of_others(entry.path, "gpg", environment)


class Gpg:
    """gpg with one environment; nothing runs before it is needed."""

    def __init__(
        self, environment: Mapping[str, str], *, terminal: bool, ask: bool, timeout: float = 60
    ) -> None:
        """Set how gpg is run.

        Args:
            environment: gpg's whole environment.
            terminal: whether there is a terminal, which GPG_TTY then names.
            ask: whether the agent may ask for a passphrase.
            timeout: seconds after which gpg is killed.
        """
        self.environment = dict(environment)
        self.timeout = timeout
        self._ask = ask
        if terminal:
            options.name_terminal(self.environment)
        self._options: tuple[str, ...] | None = None
        self._gnupg: Any = None
        self._result: Any = None
        self._watch: Any = None
        self._excess = ""
        self._size = self._limit = 0

    @property
    def program(self) -> str:
        """The absolute path of gpg2 if it exists, as for pass, else of gpg. Raises ProgramError."""
        for name in ("gpg2", "gpg"):
            path = find_program(name, self.environment.get("PATH"))
            if path is not None:
                return path
        raise ProgramError(
            "there is no program gpg, which a pass vault needs",
            hint="install it: the package is called gnupg, on Debian also gpg",
        )

    @property
    def home(self) -> str:
        """The folder of keys and of the agent's socket, according to the environment."""
        home = self.environment.get("GNUPGHOME")
        return home or os.path.join(self.environment.get("HOME") or "/", ".gnupg")

    def options(self) -> tuple[str, ...]:
        """Return the user's options, then filevault's, which win if two conflict.

        Raises ProgramError if PASSWORD_STORE_GPG_OPTS cannot be used, or gpg's home is missing or
        another user's.
        """
        if self._options is None:
            users = options.users(self.environment.get(options.VARIABLE, ""))
            if not os.path.isdir(self.home) and options.named_home(users) is None:
                raise ProgramError(
                    f"gpg has no keys: its folder {printable(self.home)!r} does not exist",
                    hint="set GNUPGHOME to where they are, or gpg --import them",
                )
            refuse_others(options.named_home(users) or self.home, self.environment)
            self._options = (*users, *options.ALWAYS)
        return self._options

    def listing(self, *arguments: str) -> Reply:
        """Run a listing; its output has both the listing and the status lines."""
        result = programs.run(
            [
                self.program,
                *self.options(),
                *("--batch", "--no-tty", "--status-fd", "1"),
                *("--with-colons", "--fixed-list-mode"),
                *arguments,
            ],
            self.environment,
            origin="gpg",
            timeout=self.timeout,
        )
        complaints = "\n".join(result.complaints).encode("utf-8")
        return Reply(result.status, result.output, result.output + b"\n" + complaints)

    def encrypt(self, plaintext: bytes, recipients: Sequence[str]) -> Reply:
        """Encrypt to keys named by full fingerprint, whatever their owner trust is."""
        return self._watched(
            lambda gpg: gpg.encrypt(
                plaintext,
                list(recipients),
                always_trust=True,
                armor=False,
                extra_args=list(options.ENCRYPTING),
            )
        )

    def decrypt(self, data: bytes, passphrase: bytes | None = None) -> Reply:
        """Decrypt a message; without a passphrase the agent asks for it."""
        return self._watched(
            lambda gpg: gpg.decrypt(
                data, passphrase=_text(passphrase), extra_args=self._pinentry(passphrase)
            ),
            limit=MAX_TEXT,
        )

    def sign(self, data: bytes, fingerprint: str, passphrase: bytes | None = None) -> Reply:
        """Make a detached signature; without a passphrase the agent asks for it."""
        return self._watched(
            lambda gpg: gpg.sign(
                data,
                detach=True,
                binary=True,
                passphrase=_text(passphrase),
                # Not keyid: that is --default-key, for which gpg substitutes another if missing.
                extra_args=["--local-user", fingerprint, *self._pinentry(passphrase)],
            )
        )

    def verify(self, data: bytes, signature: bytes) -> Reply:
        """Verify a detached signature over bytes in memory.

        gpg needs one of the two in a file: the signature, which is not used afterwards.
        """
        import tempfile

        try:
            with tempfile.NamedTemporaryFile(prefix="filevault-", suffix=".sig") as file:
                file.write(signature)
                file.flush()
                return self._watched(lambda gpg: gpg.verify_data(file.name, data))
        except OSError as error:
            reason = (error.strerror or "unknown reason").lower()
            raise StorageError(f"there is no temporary file to verify with: {reason}") from error

    def _pinentry(self, passphrase: bytes | None) -> list[str]:
        """Return the option that makes a question fail at once if no one could answer it.

        With a passphrase, python-gnupg adds its own. The user's PASSWORD_STORE_GPG_OPTS wins.
        """
        return [] if passphrase is not None or self.may_ask else ["--pinentry-mode=error"]

    @property
    def may_ask(self) -> bool:
        """Whether the agent may ask the user, or the user's own options decide that."""
        return self._ask or any(word.startswith("--pinentry-m") for word in self.options())

    def _watched(self, work: Callable[[Any], object], limit: int = MAX_FILE) -> Reply:
        """Run one of python-gnupg's methods under the limits, and return its result."""
        if self._gnupg is None:
            self._gnupg = self._start()
        self._result = self._watch = None
        self._excess, self._size, self._limit = "", 0, limit
        failure = ""
        try:
            work(self._gnupg)
        except (OSError, ValueError) as error:
            # gpg may refuse a message before it has read all of it: then its reply counts.
            failure = type(error).__name__
        finally:
            if self._watch is not None:
                self._watch.end()
        if self._watch is not None and self._watch.expired:
            raise ProgramError(
                f"gpg did not end within {self.timeout:g} seconds and was killed",
                hint="perhaps it waits for a passphrase or a card; gpgconf --kill gpg-agent ends "
                "an agent that hangs",
            )
        result = self._result
        if result is None or result.returncode is None:
            raise ProgramError(f"gpg cannot be run: {failure or 'it left no result'}")
        if result.returncode == -_OUT_OF_TIME or self._watch.slow:
            self._excess = "it takes too long to decrypt"
        if result.returncode < 0 and not self._excess:
            raise ProgramError(f"gpg was ended by signal {-result.returncode}")
        stderr = result.stderr.encode("latin-1")
        return Reply(result.returncode, result.data, stderr, self._excess)

    def _start(self) -> Any:  # noqa: ANN401 - python-gnupg has no types
        import gnupg

        gnupg.logger.disabled = True  # it would log arguments and replies
        program = self.program
        try:
            gpg = gnupg.GPG(gpgbinary=program, options=list(self.options()), env=self.environment)
        except (OSError, ValueError) as error:
            raise ProgramError(
                f"{printable(program)!r} cannot be used: {printable(error, 200)}"
            ) from error
        # Bytes pass through Latin-1 unchanged, so a passphrase arrives as it was given.
        gpg.encoding = "latin-1"
        gpg.result_map = {**gpg.result_map, **dict.fromkeys(("crypt", "sign", "verify"), self._new)}
        start = gpg._open_subprocess

        def start_watched(arguments: list[str], passphrase: bool = False) -> object:
            process: Any = start(arguments, passphrase)
            self._watch = Watch(process, self.timeout)
            self._watch.limit_processor()
            process.stderr = Stderr(process.stderr, self._watch.limit_content)
            return process

        gpg._open_subprocess = start_watched
        gpg.on_data = self._check_size
        return gpg

    def _new(self, _gpg: object) -> _Result:
        result = _Result()
        self._result = result
        return result

    def _check_size(self, data: bytes) -> bool:
        """Kill gpg once it has written too much: it would decompress to the end."""
        self._size += len(data)
        if self._size > self._limit and not self._excess:
            self._excess = f"decrypted, it is longer than {MAX_TEXT} bytes"
            self._watch.kill()
        return not self._excess


class _Result:
    """The result that python-gnupg fills; status lines are read from stderr instead."""

    def __init__(self) -> None:
        self.data = b""
        self.stderr = ""
        self.returncode: int | None = None

    def handle_status(self, keyword: str, rest: str) -> None:
        """Ignore the line: python-gnupg splits lines where gpg does not."""


def _text(passphrase: bytes | None) -> str | None:
    """Return a passphrase as python-gnupg needs it. Raises LockedError for an unusable one."""
    if passphrase is None:
        return None
    if not passphrase or any(byte in passphrase for byte in b"\r\n\0"):
        raise LockedError(
            "the passphrase is empty or has a line end in it, which gpg cannot be given"
        )
    return passphrase.decode("latin-1")
