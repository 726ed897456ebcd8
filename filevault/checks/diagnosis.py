"""What the checks of `doctor` look at, and what each returns: facts and findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import ConfigError, FilevaultError
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from filevault.checks.finding import Finding
    from filevault.config.aws_config import AwsConfig
    from filevault.config.settings import Settings
    from filevault.git.program import Git
    from filevault.keycache.cache import KeyCache
    from filevault.vault.choose import VaultChoice
    from filevault.vault.vault import Vault


class Fact(Record):
    """Something that is as it is, for one line; `decides` if it is why the vault is this one."""

    name: str
    value: str
    decides: bool = False


class Diagnosis(Record):
    """What one check found out; `findings` are made while they are read: there may be very many."""

    facts: tuple[Fact, ...] = ()
    findings: Iterable[Finding] = ()


class MachineState(Record):
    """Access to what the checks look at; nothing of it remembers, changes or asks.

    `clock` returns Unix seconds. `choice` returns the chosen vault, `open_vault` opens it without
    a pin and with nothing to write, `names` returns the names of its keys; all raise as their
    commands do. `git` knows the trusted repositories of a vault; it must not be run.
    `terminal` is whether a person could be asked. `online` is whether AWS may be asked.
    """

    settings: Settings
    clock: Callable[[], float]
    choice: Callable[[], VaultChoice]
    open_vault: Callable[[], AbstractContextManager[Vault]]
    names: Callable[[], frozenset[str]]
    git: Callable[[Vault], Git]
    aws_config: Callable[[], AwsConfig]
    key_cache: Callable[[], KeyCache]
    terminal: bool
    online: bool

    def get(self, name: str) -> str | None:
        """Return an environment variable, None if it is unset or empty."""
        return self.settings.environ.get(name) or None

    def vault_if_chosen(self) -> VaultChoice | None:
        """Return the chosen vault if it exists; another check reports why there is none."""
        try:
            choice = self.choice()
        except FilevaultError:
            return None
        return choice if choice.exists else None

    def config_if_read(self) -> AwsConfig | None:
        """Return the AWS config, None if it cannot be read, which another check reports."""
        try:
            return self.aws_config()
        except FilevaultError:
            return None

    def stored_names(self) -> frozenset[str]:
        """Return the names of the stored keys, none if the vault cannot be read."""
        if self.vault_if_chosen() is None:
            return frozenset()
        try:
            return self.names()
        except FilevaultError:
            return frozenset()

    def home(self) -> str | None:
        """Return the home directory, None if it is unknown."""
        try:
            return self.settings.home
        except ConfigError:
            return None
