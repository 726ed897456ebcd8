"""Everything a command needs, built when it is first asked for; a Runtime is what tests vary."""

from __future__ import annotations

import contextlib
import functools
import sys
import time
from typing import TYPE_CHECKING

from filevault.backends.kdf import STANDARD, KdfPolicy
from filevault.backends.protocols import Family
from filevault.cli.wiring import choose_vault, open_chosen, tell_other_stores
from filevault.errors import (
    FilevaultError,
    LockedError,
    StorageError,
    TamperedError,
    UsageError,
)
from filevault.keycache.cache import KeyCache, open_cache
from filevault.keycache.vault_keys import VaultKeys
from filevault.system.files import Folder
from filevault.system.printable import printable
from filevault.system.record import Record
from filevault.system.times import boottime
from filevault.vault.choose import VaultChoice, must_exist
from filevault.vault.pin import Pin, pin_of
from filevault.vault.pin_policy import check_pin, check_recipients
from filevault.vault.state_directory import open_state_directory
from filevault.vault.trust import Trust
from filevault.vault.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from filevault.backends.protocols import OpenBackend, RecipientsBackend, SealedBackend
    from filevault.cli.reporter import Reporter
    from filevault.config.aws_config import AwsConfig
    from filevault.config.settings import Settings
    from filevault.git.program import Git
    from filevault.sessions import SessionCache
    from filevault.unlock.prompt import Prompter


class Runtime(Record):
    """What the outside world provides.

    `clock` gives Unix seconds, `boottime` those since the machine was started, `sleep` takes
    seconds, `kdf` says what a passphrase may cost, `places` where keys are held, `root` where
    the `/run` and `/tmp` of their agents are, `program` how this program is started once more.
    """

    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    boottime: Callable[[], float] = boottime
    kdf: KdfPolicy = STANDARD
    places: tuple[str, ...] = ("kernel", "agent")
    root: str = ""
    program: tuple[str, ...] = (sys.executable, "-P", "-m", "filevault")


class Context:
    """One run of one command."""

    def __init__(self, settings: Settings, runtime: Runtime, reporter: Reporter) -> None:
        self.settings = settings
        self.runtime = runtime
        self.reporter = reporter
        self._prompter: Prompter | None = None
        self._config: AwsConfig | None = None
        self._choice: VaultChoice | None = None
        self._vault: Vault | None = None
        self._made: SealedBackend | None = None
        self._opened: OpenBackend | None = None
        self._asked: Callable[[], bool] = lambda: False
        self._key_cache: KeyCache | None = None
        self._keys: VaultKeys | None = None
        self._fresh = False
        self._memory: tuple[Trust, bool] | None = None
        self._folders: list[Folder] = []

    def close(self) -> None:
        """Give back the folders that were opened; nothing of the vault can be used after that."""
        while self._folders:
            self._folders.pop().close()

    def _keep(self, folder: Folder) -> Folder:
        self._folders.append(folder)
        return folder

    @property
    def prompter(self) -> Prompter:
        """Who can be asked."""
        if self._prompter is None:
            from filevault.unlock.prompt import terminal

            self._prompter = terminal()
        return self._prompter

    @property
    def aws_config(self) -> AwsConfig:
        """The AWS config file."""
        if self._config is None:
            from filevault.config.aws_config import AwsConfig

            trusted = self.settings.trusted_configs
            self._config = AwsConfig.load(self.settings.aws_config_path, trusted)
        return self._config

    @property
    def choice(self) -> VaultChoice:
        """Which vault is meant, whether it exists or not."""
        if self._choice is None:
            self._choice = choose_vault(self)
        return self._choice

    @property
    def vault(self) -> Vault:
        """The vault, its identity checked; nothing is unlocked.

        Raises NoVaultError, PinError, VaultChoiceError, IntegrityError, StorageError.
        """
        if self._vault is None:
            self._vault = self._open(pinning=True)
        return self._vault

    def open_unpinned(self) -> Vault:
        """Open the vault without comparing its identity: for showing and accepting it."""
        return self._open(pinning=False)

    def has_item(self, name: str) -> bool:
        """Tell whether a key is stored for a profile; no vault means no."""
        from filevault.errors import NoVaultError, UsageError

        try:
            vault = self.vault
        except NoVaultError:
            return False
        try:
            return vault.has(name)
        except UsageError:
            return False  # no item can have such a name

    def reconsider(self) -> None:
        """Look anew which vault there is, after one was made or changed."""
        self._choice = None
        self._vault = None
        self._memory = None
        self._opened = None

    def adopt(self, backend: SealedBackend) -> None:
        """Use the vault that was just made, whose backend is unlocked already."""
        self._choice = None
        self._vault = None
        self._memory = None
        self._made = self._opened = backend

    def _open(self, *, pinning: bool) -> Vault:
        choice = self.choice
        must_exist(choice, self.settings.state_home)
        store = self._keep(Folder.open(choice.store, self.reporter.warn))
        self._memory = None
        trust, writable = self.memory
        state = trust.state
        backend = self._backend(choice, store, trust)
        if backend.family is Family.SEALED:
            guard = backend.confirm
        else:
            guard = functools.partial(self._guard, backend, trust, writable=writable)
        vault = Vault(
            store,
            backend,
            prefix=choice.prefix,
            state=state if writable else None,
            state_id=choice.state_id,
            trust=trust,
            strict=self.settings.strict,
            clock=self.runtime.clock,
            warn=self.reporter.warn,
            notice=self.reporter.notice,
            guard=guard,
            commit=lambda paths, subject: self._commit(store, paths, subject),
            session_keys=self.keys,
        )
        self._opened = backend
        if pinning:
            self._check_identity(choice, trust)
        return vault

    @property
    def key_cache(self) -> KeyCache:
        """Where keys are held."""
        if self._key_cache is None:
            runtime = self.runtime
            self._key_cache = open_cache(
                runtime.places, self.settings.get, runtime.boottime, runtime.root
            )
        return self._key_cache

    @property
    def keys(self) -> VaultKeys:
        """What is held for the vault."""
        if self._keys is None:
            self._keys = VaultKeys(
                self.key_cache,
                self.choice.state_id,
                seconds=lambda: self.settings.config.cache_ttl,
                asked=lambda: self._asked(),  # noqa: PLW0108 - as it is then
                fresh=self._fresh,
            )
        return self._keys

    def use_fresh_keys(self) -> None:
        """Open the vault in this run, whatever is held for it; call it before anything else."""
        self._fresh = True

    def pin(self) -> Pin:
        """Return the identity that the vault has now. Raises what reading it raises."""
        backend = self._opened
        if backend is None:
            backend = self._opened = self.vault.backend
        return pin_of(backend)

    def _check_identity(self, choice: VaultChoice, trust: Trust) -> None:
        given, strict = self.settings.pin, self.settings.strict
        # What a reader of a shared store compares does not need its recipients resolved.
        sealed = choice.backend.family is Family.SEALED
        seen = self.pin() if sealed else Pin(choice.backend.name)
        if not check_pin(trust, seen, given=given, strict=strict):
            return
        try:
            self._remember_identity(trust)
        except FilevaultError as error:
            # Reading needs neither; before anything is written both are tried again.
            self.reporter.notice(f"the vault's identity is not remembered: {error.message}")

    def _remember_identity(self, trust: Trust) -> None:
        """Take the identity that the vault has for the right one, and say so."""
        from filevault.cli.repositories import remember_present

        pin = self.pin()
        remember_present(self, trust)
        trust.set_pin(pin)
        for place, recipients in pin.recipients:
            names = ", ".join(printable(each) for each in recipients)
            self.reporter.say(f"recipients of {printable(place)}, trusted from now on: {names}")
        self.reporter.notice(
            f"the vault at {printable(self.choice.root)} is known here from now on"
        )

    def _guard(self, backend: RecipientsBackend, trust: Trust, *, writable: bool) -> None:
        """Let nothing be encrypted to recipients that this machine does not know."""
        tell_other_stores(self)
        given = self.settings.pin
        if given is None and not writable:
            raise StorageError(
                "a shared vault is only written where its recipients can be remembered, and the "
                "state directory cannot be written",
                hint="give the pin that filevault recipients list shows: FILEVAULT_PIN",
            )
        # Under the lock, what was read before may be out of date.
        backend.forget()
        trust.reload()
        try:
            check_recipients(trust, self.pin(), given=given)
        except TamperedError as error:
            if not trust.pending_files:
                raise
            raise TamperedError(
                error.message,
                hint="a change of the recipients was cut off here: give the same recipients add or "
                "remove again; if that does not help, see who changed it",
            ) from error
        if trust.pin is None and given is None:
            self._remember_identity(trust)

    def pinned(self, trust: Trust) -> tuple[str, ...]:
        """Return the root's recipients that are pinned, none where nothing is."""
        pin = trust.pin
        given = self.settings.pin
        if given is not None:
            actual = self.pin()
            pin = actual if actual.digest == given else None
        place = pin.root_path(self.choice.prefix) if pin is not None else None
        return dict(pin.recipients)[place] if pin is not None and place is not None else ()

    def _commit(self, store: Folder, paths: Sequence[str], subject: str) -> None:
        """Commit what was written, where the store has a repository of its own."""
        from filevault.git.commit import commit_files

        commit_files(store, paths, subject, self.git())

    def git(self) -> Git:
        """Return how git is run on the vault's store."""
        from filevault.cli.repositories import git_of

        return git_of(self)

    @property
    def memory(self) -> tuple[Trust, bool]:
        """What this machine remembers of the vault, and whether more can be remembered."""
        if self._memory is None:
            choice = self.choice
            state, writable = open_state_directory(self.settings, choice, self.reporter.notice)
            self._folders += [state] if state is not None else []
            self._memory = Trust(state), writable
        return self._memory

    def commit(self, paths: Sequence[str], subject: str) -> None:
        """Commit paths below the store, as each write of the vault does."""
        self._commit(self.vault.folder, paths, subject)

    def shared_backend(self, store: Folder) -> RecipientsBackend:
        """Return the backend of a `pass` or `age` store that is about to be made."""
        backend = self._backend(self.choice, store, Trust(None))
        if backend.family is Family.SEALED:
            raise UsageError(f"{self.choice.backend.title} has no recipients")
        return backend

    def _backend(self, choice: VaultChoice, store: Folder, trust: Trust) -> OpenBackend:
        if self._made is not None:
            return self._made
        backend, self._asked = open_chosen(self, choice, store, trust)
        return backend

    @property
    def kdf_policy(self) -> KdfPolicy:
        """What a passphrase may cost, with `--allow-weak-kdf` applied."""
        policy = self.runtime.kdf
        return policy.without_floor() if self.settings.options.allow_weak_kdf else policy

    def sessions(self) -> SessionCache | None:
        """Return the session cache of the vault, None where nothing can be kept."""
        from filevault.sessions import SessionCache

        vault = self.vault
        if vault.state is None:
            return None
        return SessionCache(
            vault.state, vault.state_id, vault.session_key, self.runtime.clock, self.reporter.notice
        )

    def kept_sessions(self) -> SessionCache | None:
        """Return the session cache for deleting, None if there is none that can be reached."""
        from filevault.sessions import SessionCache

        path = f"{self.settings.state_home}/{self.choice.state_id}"
        try:
            state = self._keep(Folder.open(path))
        except (FileNotFoundError, StorageError) as error:
            if isinstance(error, StorageError):
                self.reporter.warn(f"{error.message}: sessions that are kept there stay")
            return None
        return SessionCache(
            state, self.choice.state_id, _no_key, self.runtime.clock, self.reporter.notice
        )

    def remember_slot(self) -> None:
        """Note which keyslot opened the vault, to try it first next time."""
        if self._vault is not None:
            backend = self._vault.backend
            if backend.family is Family.SEALED and backend.opened_slot is not None:
                with contextlib.suppress(FilevaultError):
                    self._vault.trust.set_last_slot(backend.opened_slot)

    def hold_session_key(self) -> None:
        """Hold the session key if a person was asked for what opened the vault in this run."""
        if self._vault is not None and self._vault.is_open:
            with contextlib.suppress(FilevaultError):
                self.keys.cache_if_asked(self._vault.session_key)


def _no_key() -> bytes:
    raise LockedError("sessions are deleted here, not opened")
