"""Context: the settings, clock, reporter, terminal, AWS config and key cache of one run."""

from __future__ import annotations

import sys
import time

from filevault.keycache.cache import KeyCache, open_cache
from filevault.system.record import Record
from filevault.system.times import boottime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.backends.kdf import KdfPolicy
    from filevault.cli.obtain import Served
    from filevault.cli.reporter import Reporter
    from filevault.config.aws_config import AwsConfig
    from filevault.config.settings import Settings
    from filevault.credentials import Credentials
    from filevault.keycache.key_store import KeyStore
    from filevault.lane.serve import Attempt
    from filevault.system.config_files import EditRules
    from filevault.unlock.given_passphrases import GivenPassphrases
    from filevault.unlock.prompt import Prompter


class Runtime(Record):
    """Clocks, key stores and paths of this process; tests replace them.

    `clock` returns Unix seconds, `boottime` seconds since the machine was started, `sleep` takes
    seconds. `kdf` has the bounds of a passphrase's cost, None means `kdf.STANDARD`. `key_stores`
    names the stores of the key cache, `root` is the folder of the agents' `/run` and `/tmp` and of
    `/sys`, `program` starts filevault again.
    """

    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    boottime: Callable[[], float] = boottime
    kdf: KdfPolicy | None = None
    key_stores: tuple[str, ...] = ("kernel", "agent")
    root: str = ""
    program: tuple[str, ...] = (sys.executable, "-P", "-m", "filevault")


class Context:
    """The dependencies of one run, each made at its first use; `open_vault` opens vaults.

    `attempt` is what the hot lane found out about this run, None if it was not asked.
    """

    def __init__(
        self,
        settings: Settings,
        runtime: Runtime,
        reporter: Reporter,
        attempt: Attempt | None = None,
    ) -> None:
        self.settings = settings
        self.runtime = runtime
        self.reporter = reporter
        self.attempt = attempt
        self._prompter: Prompter | None = None
        self._config: AwsConfig | None = None
        self._key_cache: KeyCache | None = None
        self._kept: list[object] = []
        self.given: GivenPassphrases | None = None
        """The passphrases of this run, in a command that opens two vaults."""

    def keep(self, value: object) -> None:
        """Keep a large value as long as this run: freeing takes time that the end saves."""
        self._kept.append(value)

    def caches_answer(self, served: Served | None) -> bool:
        """Return whether the answer of this run may be cached, or it is to be said why not."""
        if self.attempt is None:
            return False
        settings = self.settings
        if settings.debug:
            return True
        asked = self.attempt.question is not None
        may = asked and served is not None and settings.inputs.doubt is None
        return may and settings.uses_lane

    def record_issued(
        self, profile: str, verb: str, credentials: Credentials, program: str | None = None
    ) -> None:
        """Record issued credentials in the log, if config.toml turns it on."""
        if self.settings.config.log is not None:
            from filevault.cli.issue_log import record

            record(self, profile, verb, credentials, program)

    @property
    def prompter(self) -> Prompter:
        """The terminal, or an object that refuses every question if there is none."""
        if self._prompter is None:
            from filevault.unlock.prompt import terminal

            self._prompter = terminal()
        return self._prompter

    @property
    def aws_config(self) -> AwsConfig:
        """The AWS config file. Raises ConfigError, StorageError."""
        if self._config is None:
            from filevault.config.aws_config import AwsConfig

            trusted = self.settings.trusted_configs
            self._config = AwsConfig.load(
                self.settings.aws_config_path, trusted, self.settings.inputs
            )
        return self._config

    @property
    def edit_rules(self) -> EditRules:
        """How this run may edit the user's configuration files."""
        from filevault.system.config_files import EditRules

        settings = self.settings
        return EditRules(settings.home_if_known, self.reporter.warn, settings.trusted_configs)

    @property
    def key_cache(self) -> KeyCache:
        """The key cache of this user, for all vaults."""
        if self._key_cache is None:
            runtime = self.runtime
            self._key_cache = open_cache(
                runtime.key_stores, self.settings.get, runtime.boottime, runtime.root
            )
        return self._key_cache

    def add_key_store(self, store: KeyStore) -> None:
        """Ask one more store for cached keys, after all others."""
        self._key_cache = self.key_cache.followed_by(store)

    def unattended(self) -> Context:
        """Return the same without a terminal and without messages, and with a config read again."""
        from filevault.cli.silence import SilentReporter
        from filevault.unlock.prompt import NoTerminal

        found = Context(self.settings.without_terminal(), self.runtime, SilentReporter())
        found._prompter = NoTerminal()
        found._key_cache = self._key_cache
        return found

    @property
    def kdf_policy(self) -> KdfPolicy:
        """The bounds of a passphrase's cost, with `--allow-weak-kdf` applied."""
        from filevault.backends.kdf import STANDARD

        policy = self.runtime.kdf or STANDARD
        return policy.without_floor() if self.settings.options.allow_weak_kdf else policy
