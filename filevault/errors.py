"""Every error that filevault raises on purpose, with its exit status.

FilevaultError                  1   anything of ours not listed below
├─ UsageError                   2   options that do not go together
├─ ConfigError                  3   the AWS config, config.toml, which vault
│  ├─ ConfigSyntaxError         3   a file that cannot be parsed, with its line
│  ├─ ProfileNotFoundError      3   neither a config section nor an item
│  ├─ NoSourceError             3   a role without source_profile or stored key
│  ├─ ProfileLoopError          3   source_profile or include_profile in a circle
│  ├─ VaultChoiceError          3   two markers, a marker of another backend, no marker
│  └─ NewerFormatError          3   made by a newer filevault
├─ NotFoundError                4
│  ├─ NoVaultError              4   no vault here yet
│  ├─ ItemNotFoundError         4   no stored key of that name
│  └─ NoCredentialsError        4   a profile without key or source
├─ LockedError                  5
│  ├─ WrongPassphraseError      5   a passphrase or key that opens no slot
│  ├─ NotARecipientError        5   encrypted to others than the keys that are here
│  └─ NobodyToAskError          5   no terminal and no source
├─ IntegrityError               6
│  ├─ DamagedError              6   bytes that are not what was written
│  │  └─ NoKeyError             6   whole, and without an AWS key
│  ├─ UnsupportedItemError      6   whole, and of a form that is not read here
│  ├─ TamperedError             6   whole, but not where or what it should be
│  └─ RollbackError             6   older than what this machine saw (under --strict)
├─ BackendError                 7
│  ├─ StorageError              7   the file system refused
│  │  ├─ NoLocksError           7   the file system has no such lock
│  │  └─ UnsyncedError          7   in place, but a power cut may undo it
│  └─ ProgramError              7   a program missing, failing or too slow
├─ ProviderError                8
│  ├─ AwsError                  8   AWS refused, with operation and code
│  │  ├─ ClockError             8   the clock of this machine is wrong
│  │  ├─ WrongRegionError       8   signed for a region that is not the endpoint's
│  │  ├─ WrongCodeError         8   AWS refused the token code
│  │  └─ TooLongError           8   AWS lets no session live that long
│  └─ MfaError                  8   no token code, or one that cannot be right
├─ NetworkError                 9   AWS could not be reached
│  └─ NotAwsError               9   something else answered in its place
├─ PinError                    10   vault identity is not the one pinned here
│  └─ UnknownRepositoryError   10   a git repository that this machine was not told to use
├─ NotCommittedError           11   saved, but git has no commit of it
│  └─ NotPushedError           11   committed, but not pushed
├─ PartlyDoneError             12   some of several things are done
├─ NotExecutableError         126   exec: the command cannot be run
├─ CommandNotFoundError       127   exec: there is no such command
└─ InterruptedByUserError     130   Ctrl-C
"""

from __future__ import annotations


class FilevaultError(Exception):
    """A failure that a person can understand.

    The message is one lower-case sentence without a full stop and never holds a secret; the
    hint says what to do next, `remedy` where none is given.
    """

    exit_status = 1
    remedy: str | None = None

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint or self.remedy


class UsageError(FilevaultError):
    """Options or arguments that do not make sense together."""

    exit_status = 2


class ConfigError(FilevaultError):
    """Something in a configuration is wrong."""

    exit_status = 3


class ConfigSyntaxError(ConfigError):
    """A configuration file cannot be parsed; the message names file and line."""


class ProfileNotFoundError(ConfigError):
    """The profile has neither a section in the AWS config nor an item in the vault."""


class NoSourceError(ConfigError):
    """The profile has a role, and nothing to assume it with."""


class ProfileLoopError(ConfigError):
    """Profiles refer to each other in a circle."""


class VaultChoiceError(ConfigError):
    """It is not clear which vault is meant, or the place is none."""


class NewerFormatError(ConfigError):
    """The file was made by a newer filevault."""


class NotFoundError(FilevaultError):
    """Something that must exist does not."""

    exit_status = 4


class NoVaultError(NotFoundError):
    """There is no vault yet."""


class ItemNotFoundError(NotFoundError):
    """The vault holds no item of that name."""


class NoCredentialsError(NotFoundError):
    """The profile has neither a stored key nor a source of credentials."""


class LockedError(FilevaultError):
    """The vault cannot be opened with what is at hand."""

    exit_status = 5


class WrongPassphraseError(LockedError):
    """A passphrase or key was given, and it opens no slot."""


class NotARecipientError(LockedError):
    """Nothing that is here opens it, and no passphrase would change that."""


class NobodyToAskError(LockedError):
    """A question would have to be asked, and there is no terminal."""


class IntegrityError(FilevaultError):
    """Stored bytes cannot be trusted."""

    exit_status = 6


class DamagedError(IntegrityError):
    """The bytes are not what was once written."""

    remedy: str | None = "restore it from a copy or from the history of the repository"


class NoKeyError(DamagedError):
    """The text says nothing of an AWS key; in a shared store it may be another tool's."""

    remedy = None  # nothing is broken


class UnsupportedItemError(IntegrityError):
    """The bytes are whole, and of a form that is not read here."""


class TamperedError(IntegrityError):
    """The bytes are whole, but do not belong where they are."""


class RollbackError(IntegrityError):
    """The item is older than the one this machine saw last (refused under `--strict`)."""


class BackendError(FilevaultError):
    """The vault's storage, or a program it needs, failed."""

    exit_status = 7


class StorageError(BackendError):
    """The file system refused: full, read-only, no permission, a link where none may be."""


class NoLocksError(StorageError):
    """The file system cannot lock this; another place may have to serve."""


class UnsyncedError(StorageError):
    """The change is in place, but the file system would not promise that it lasts."""


class ProgramError(BackendError):
    """A helper program is missing, failed or took too long."""


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
    """AWS lets no session live as long as was asked for."""


class MfaError(ProviderError):
    """There is no token code, or it has not the form of one."""


class NetworkError(FilevaultError):
    """AWS could not be reached; `key_ids` are those that an unusable answer names."""

    exit_status = 9
    key_ids: tuple[str, ...] = ()


class NotAwsError(NetworkError):
    """Something else answered in AWS's place, or its certificate is not accepted."""


class PinError(FilevaultError):
    """The vault is not the one that this machine, or `--pin`, knows."""

    exit_status = 10


class UnknownRepositoryError(PinError):
    """The git repository is not one that this machine was told to use, or it has changed."""


class NotCommittedError(FilevaultError):
    """The change is on disk, but git did not commit it."""

    exit_status = 11


class NotPushedError(NotCommittedError):
    """The change is committed, but the other repository did not get it."""


class PartlyDoneError(FilevaultError):
    """Some of several things are done; giving the command again does the rest."""

    exit_status = 12


class NotExecutableError(FilevaultError):
    """The command that `exec` was given is there, but cannot be run."""

    exit_status = 126


class CommandNotFoundError(FilevaultError):
    """The command that `exec` was given is not there."""

    exit_status = 127


class InterruptedByUserError(FilevaultError):
    """The person pressed Ctrl-C."""

    exit_status = 130
