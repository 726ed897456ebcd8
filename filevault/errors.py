"""Errors of filevault, each class with its exit status.

FilevaultError                  1   anything not listed below
├─ DeclinedError                0   the user answered no, and nothing was changed
├─ UsageError                   2   options that do not go together
├─ ConfigError                  3   the AWS config, config.toml, the choice of the vault
│  ├─ ConfigSyntaxError         3   a file that cannot be parsed, with its line
│  ├─ ProfileNotFoundError      3   neither a config section nor an item
│  ├─ NoSourceError             3   a role without source_profile or stored key
│  ├─ ProfileLoopError          3   source_profile or include_profile in a circle
│  ├─ VaultChoiceError          3   two markers, a marker of another backend, no marker
│  └─ NewerFormatError          3   written by a newer filevault
├─ NotFoundError                4   something that must exist does not
│  ├─ NoVaultError              4   the vault does not exist
│  ├─ ItemNotFoundError         4   no stored key of that name
│  └─ NoCredentialsError        4   a profile without key or source
├─ BusyError                    5   another process is doing the same
├─ LockedError                  5   no available secret opens the vault
│  ├─ WrongPassphraseError      5   a passphrase or key that opens no slot
│  ├─ NotARecipientError        5   encrypted to other keys than the available ones
│  └─ NoTerminalError           5   no terminal and no source
├─ IntegrityError               6   stored bytes cannot be trusted
│  ├─ DamagedError              6   the bytes are not those that were written
│  │  └─ NoKeyError             6   intact, and without an AWS key
│  ├─ UnsupportedItemError      6   intact, and in a form that is not supported
│  ├─ TamperedError             6   intact, but moved, renamed or exchanged
│  └─ RollbackError             6   older than the last version seen (under --strict)
├─ BackendError                 7   the vault's storage, or a program it needs, failed
│  ├─ StorageError              7   the file system refused
│  │  ├─ NoLocksError           7   the file system has no such lock
│  │  └─ UnsyncedError          7   written, but a power failure may undo it
│  ├─ ProgramError              7   a program is missing, failed or was too slow
│  └─ ExhaustedError            7   no more memory, open files or processes
├─ ProviderError                8   AWS, or a source of credentials, refused
│  ├─ AwsError                  8   AWS refused, with operation and code
│  │  ├─ ClockError             8   the clock of this machine is wrong
│  │  ├─ WrongRegionError       8   signed for a region that is not the endpoint's
│  │  ├─ WrongCodeError         8   AWS refused the token code
│  │  └─ TooLongError           8   AWS allows no session of that duration
│  └─ MfaError                  8   no token code, or one that cannot be right
├─ NetworkError                 9   AWS could not be reached
│  └─ NotAwsError               9   something else answered instead of AWS
├─ PinError                    10   the vault's identity differs from the pinned one
│  └─ UnknownRepositoryError   10   a git repository that was not accepted on this machine
├─ NotCommittedError           11   saved, but not committed to git
│  └─ NotPushedError           11   committed, but not pushed
├─ PartlyDoneError             12   some of several things are done
├─ NotExecutableError         126   exec: the command cannot be run
├─ CommandNotFoundError       127   exec: there is no such command
└─ InterruptedByUserError     130   Ctrl-C
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from filevault.rare_errors import *  # noqa: F403


def __getattr__(name: str) -> object:
    """Return an error that a run without failures never names; see `filevault.rare_errors`."""
    if name.startswith("__"):  # Python asks each module for `__path__`
        raise AttributeError(name)
    from filevault import rare_errors

    return getattr(rare_errors, name)


class FilevaultError(Exception):
    """Base of all errors that filevault raises on purpose.

    The message is one lower-case sentence without a full stop and never contains a secret. The
    hint says what to do next; its default is `default_hint`.
    """

    exit_status = 1
    default_hint: str | None = None

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint or self.default_hint

    def add_context(self, more: str = "", *, hint: str | None = None) -> Self:
        """Return a copy of this error that says more; errors are never changed in place.

        Args:
            more: added to the message, after a semicolon.
            hint: replaces the hint.
        """
        message = f"{self.message}; {more}" if more else self.message
        composed = type(self).__new__(type(self), message)
        composed.__dict__.update(self.__dict__, message=message, hint=hint or self.hint)
        return composed


class UsageError(FilevaultError):
    """Options or arguments that do not make sense together."""

    exit_status = 2


class ConfigError(FilevaultError):
    """Something in a configuration is wrong."""

    exit_status = 3


class NewerFormatError(ConfigError):
    """The file was written by a newer filevault."""


class LockedError(FilevaultError):
    """The vault cannot be opened with the available secrets."""

    exit_status = 5


class IntegrityError(FilevaultError):
    """Stored bytes cannot be trusted."""

    exit_status = 6


class DamagedError(IntegrityError):
    """The bytes are not those that were written."""

    default_hint: str | None = "restore it from a copy or from the history of the repository"


class TamperedError(IntegrityError):
    """The bytes are intact, but are not those of this item of this vault."""


class BackendError(FilevaultError):
    """The vault's storage, or a program it needs, failed."""

    exit_status = 7


class StorageError(BackendError):
    """The file system refused: full, read-only, no permission, a forbidden link."""
