"""Errors that a run without failures never names: making a class takes 0.1 million instructions.

`filevault.errors` has them all, with the tree of them.
"""

from __future__ import annotations

from filevault.errors import (
    BackendError,
    ConfigError,
    DamagedError,
    FilevaultError,
    IntegrityError,
    LockedError,
    StorageError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self


class DeclinedError(FilevaultError):
    """The user answered no to a question, so nothing was changed."""

    exit_status = 0


class ConfigSyntaxError(ConfigError):
    """A configuration file cannot be parsed; the message names file and line."""


class ProfileNotFoundError(ConfigError):
    """The profile has neither a section in the AWS config nor an item in the vault."""


class NoSourceError(ConfigError):
    """The profile has a role, and nothing to assume it with."""


class ProfileLoopError(ConfigError):
    """Profiles refer to each other in a circle."""


class VaultChoiceError(ConfigError):
    """The choice of the vault is ambiguous, or the folder is no vault."""


class NotFoundError(FilevaultError):
    """Something that must exist does not."""

    exit_status = 4


class NoVaultError(NotFoundError):
    """The vault does not exist."""


class ItemNotFoundError(NotFoundError):
    """The vault has no item of that name."""


class NoCredentialsError(NotFoundError):
    """The profile has neither a stored key nor a source of credentials."""


class BusyError(FilevaultError):
    """Another process is doing what was asked for, and it must not be done twice at a time."""

    exit_status = 5


class WrongPassphraseError(LockedError):
    """The given passphrase or key opens no slot."""


class NotARecipientError(LockedError):
    """No available key opens it, whatever the passphrase."""


class NoTerminalError(LockedError):
    """A question must be asked, and there is no terminal."""


class NoKeyError(DamagedError):
    """The text contains no AWS key; in a shared store it may belong to another tool."""

    default_hint = None  # nothing is broken


class UnsupportedItemError(IntegrityError):
    """The bytes are intact, and in a form that is not supported."""


class RollbackError(IntegrityError):
    """The item is older than the version that this machine saw last (under `--strict`)."""


class NoLocksError(StorageError):
    """The file system cannot lock this file or folder."""


class UnsyncedError(StorageError):
    """The change is written, but fsync failed: a power failure may undo it."""


class ProgramError(BackendError):
    """A helper program is missing, failed or took too long."""


class ExhaustedError(BackendError):
    """The system has no more memory, open files or processes for this process."""


class ProviderError(FilevaultError):
    """AWS, or a source of credentials, refused."""

    exit_status = 8


class AwsError(ProviderError):
    """AWS answered with an error; `operation` and `code` are AWS's own names."""

    def __init__(
        self, message: str, *, operation: str = "", code: str = "", hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.operation = operation
        self.code = code


class ClockError(AwsError):
    """AWS refused the signature for its time: the clock of this machine is wrong."""


class WrongRegionError(AwsError):
    """AWS refused the signature for its region: region or endpoint is wrong."""


class WrongCodeError(AwsError):
    """AWS refused the token code: it is mistyped, too old, or was used before."""


class TooLongError(AwsError):
    """AWS allows no session of the requested duration."""


class MfaError(ProviderError):
    """There is no token code, or its form is wrong."""


class NetworkError(FilevaultError):
    """AWS could not be reached; `key_ids` are those in an answer that cannot be used."""

    exit_status = 9
    key_ids: tuple[str, ...] = ()

    def with_key_ids(self, key_ids: tuple[str, ...]) -> Self:
        """Return a copy with the access key ids of an answer that cannot be used."""
        composed = self.add_context()
        composed.key_ids = key_ids
        return composed


class NotAwsError(NetworkError):
    """Something else answered instead of AWS, or its certificate is not accepted."""


class PinError(FilevaultError):
    """The vault's identity differs from the one pinned on this machine or by `--pin`."""

    exit_status = 10


class UnknownRepositoryError(PinError):
    """The git repository was not accepted on this machine, or has changed since."""


class NotCommittedError(FilevaultError):
    """The change is on disk, but git did not commit it."""

    exit_status = 11


class NotPushedError(NotCommittedError):
    """The change is committed, but could not be pushed."""


class PartlyDoneError(FilevaultError):
    """Some of several things are done; running the command again does the rest."""

    exit_status = 12


class NotExecutableError(FilevaultError):
    """The command given to `exec` exists, but cannot be run."""

    exit_status = 126


class CommandNotFoundError(FilevaultError):
    """The command given to `exec` does not exist."""

    exit_status = 127


class InterruptedByUserError(FilevaultError):
    """The user pressed Ctrl-C."""

    exit_status = 130
