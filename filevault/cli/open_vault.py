"""Choose vaults, and open them: any number of them in one run."""

from __future__ import annotations

import contextlib

from filevault import errors
from filevault.backends import backend_names
from filevault.backends.definition import SEALED, VaultParts
from filevault.errors import FilevaultError, LockedError, StorageError, UsageError
from filevault.keycache.cached_key import IDENTITIES_MARK
from filevault.keycache.vault_keys import VaultKeys
from filevault.system.files import Folder
from filevault.system.printable import printable
from filevault.vault.choose import choose, must_exist
from filevault.vault.names import encode_name
from filevault.vault.pin import Pin, pin_of
from filevault.vault.pin_policy import PinPolicy
from filevault.vault.state_directory import TOKEN_FOLDERS, open_state_directory
from filevault.vault.trust import Trust
from filevault.vault.vault import Vault

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType
    from typing import Self

    from filevault.backends.definition import SecretRequest
    from filevault.backends.protocols import OpenBackend, RecipientsBackend, SealedBackend
    from filevault.cli.context import Context
    from filevault.git.program import Git
    from filevault.git.repository import Repository
    from filevault.sessions import SessionCache
    from filevault.sessions.lock_wait import LockWait
    from filevault.sessions.token_store import TokenStore
    from filevault.unlock.identities import NamedIdentities
    from filevault.unlock.prompt import Prompter
    from filevault.unlock.secret_sources import KeyOrigin
    from filevault.unlock.unlocker import Unlocker
    from filevault.vault.choose import VaultChoice


def choose_vault(context: Context) -> VaultChoice:
    """Return the vault that the settings choose; it need not exist.

    Raises what `filevault.vault.choose.choose` raises.
    """
    settings = context.settings
    ignored = settings.aws_vault_backend[1]
    if ignored is not None:
        value = printable(ignored, 40)
        context.reporter.warn(f"AWS_VAULT_BACKEND={value} is ignored; {backend_names()}")
    choice = choose(settings)
    context.reporter.debug(f"vault {printable(choice.root)} ({printable(choice.origin)})")
    if not choice.exists:
        _name_ignored_variables(context)
    return choice


def _name_ignored_variables(context: Context) -> None:
    """Name the variables of AWS Vault that are ignored; called where there is no vault yet."""
    from filevault.cli import aws_vault

    for name in sorted(context.settings.environ):
        instead = aws_vault.variable(name)
        if instead is not None:
            context.reporter.notice(f"{printable(name)} is not read: {instead}")


def existing_vault(context: Context) -> VaultChoice:
    """Return the vault that the settings choose. Raises what `must_exist` raises."""
    choice = choose_vault(context)
    must_exist(choice, context.settings.state_home)
    return choice


def require_named_vault(choice: VaultChoice, context: Context) -> None:
    """Raise if an option, a variable or config.toml names a vault that does not exist.

    A misspelt path must be reported as such, not as a missing profile or key. Raises what
    `filevault.vault.choose.must_exist` raises.
    """
    if choice.explicit and not choice.exists:
        must_exist(choice, context.settings.state_home)


def warn_of_other_stores(choice: VaultChoice, context: Context) -> None:
    """Warn before a write if another tool's variable names another store than the chosen one."""
    from filevault.vault.defaults import other_stores

    for name, path in other_stores(context.settings, choice.store, choice.prefix, choice.backend):
        origin = "" if choice.origin == name else f", by {printable(choice.origin)}"
        context.reporter.warn(
            f"{name} names {printable(path)!r}, but this is written to "
            f"{printable(choice.root)!r}{origin}"
        )


class SecretUse:
    """What a run used to open a vault: `unlockers`, and the questions to a person besides."""

    __slots__ = ("questions", "unlockers")

    def __init__(self) -> None:
        self.unlockers: list[Unlocker] = []
        self.questions = 0

    def asked(self) -> bool:
        """Return whether a person was asked."""
        return self.questions > 0 or any(each.asked() for each in self.unlockers)

    def ask(self) -> None:
        """Note a question to a person."""
        self.questions += 1

    def key_origin(self) -> KeyOrigin | None:
        """Return where a later run can read the key that was used, None if nowhere."""
        found = [each.key_origin for each in self.unlockers if each.key_origin is not None]
        return found[0] if len(found) == 1 and not self.asked() else None


class OpenVault:
    """An open vault, with its cached keys, its sessions and its git repositories.

    Use it as a context manager. At its end the session key is cached if `caches_session_key` and
    a person was asked for the secret that opened the vault; then the folders are closed.
    """

    def __init__(
        self,
        choice: VaultChoice,
        vault: Vault,
        keys: VaultKeys,
        context: Context,
        folders: contextlib.ExitStack,
        use: SecretUse,
        *,
        caches_session_key: bool,
    ) -> None:
        self.choice = choice
        self.vault = vault
        self.keys = keys
        self._context = context
        self._folders = folders
        self._use = use
        self._caches_session_key = caches_session_key

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cache_session_key()
        self._folders.close()

    def key_origin(self) -> KeyOrigin | None:
        """Return where a later run finds the key file that gave this run the session key.

        None if the session key was cached, or not needed, or came in another way.
        """
        return None if self.keys.unwrapped is None else self._use.key_origin()

    def pin(self) -> Pin:
        """Return the vault's present identity. Raises what `pin_of` raises."""
        return pin_of(self.vault.backend)

    def sessions(self) -> SessionCache | None:
        """Return the session cache, None if the state directory cannot be written."""
        return self._sessions(self.vault.session_key)

    def sessions_unasked(self) -> SessionCache | None:
        """Return the same without a prompt; None also if the vault cannot be opened without one."""
        try:
            # The pin was checked when this vault was opened.
            with open_vault(self.choice, self._context, checks_pin=False, asks=False) as opened:
                key = opened.vault.session_key()
        except errors.NoTerminalError as error:
            self._context.reporter.debug(f"no session is kept or looked for: {error.message}")
            return None
        except errors.InterruptedByUserError:
            raise
        except FilevaultError as error:
            self._context.reporter.notice(f"no session is kept or looked for: {error.message}")
            return None
        return self._sessions(lambda: key)

    def _sessions(self, session_key: Callable[[], bytes]) -> SessionCache | None:
        from filevault.sessions import SessionCache

        vault, context = self.vault, self._context
        if vault.state is None:
            return None
        return SessionCache(
            vault.state,
            vault.state_id,
            session_key,
            context.runtime.clock,
            context.reporter.notice,
        )

    def may_have_tokens(self) -> bool:
        """Return whether there may be token records: their folders are there."""
        state = self.vault.state
        return state is not None and any(map(state.has, TOKEN_FOLDERS))

    def tokens(self, timeout: float | None = None) -> TokenStore:
        """Return the token records. Raises StorageError if they cannot be written.

        `timeout` is how long another process is waited for, in seconds; None for long enough.
        """
        vault = self.vault
        return token_store(
            vault.require_state(), self.choice, vault.session_key, self._context, timeout
        )

    def sessions_to_delete(self) -> SessionCache | None:
        """Return the cache that the function of this name opens; it is closed with the vault."""
        return self._folders.enter_context(sessions_to_delete(self.choice, self._context))

    def git(self) -> Git:
        """Return a Git that runs git on the vault's store."""
        return _git(self.choice, self._context, self.vault)

    def commit(self, paths: Sequence[str], subject: str) -> None:
        """Commit paths below the store, as each write of the vault does.

        Raises NotCommittedError.
        """
        from filevault.git.commit import commit_files

        commit_files(self.vault.folder, paths, subject, self.git())

    def require_commits(self, paths: Iterable[str]) -> list[Repository]:
        """Return the repositories of files that are about to change; fail early.

        Raises what `filevault.cli.repositories.require_commits` raises.
        """
        from filevault.cli.repositories import require_commits

        return require_commits(self.choice, self._context, self.vault, paths)

    def remember_slot(self) -> None:
        """Remember which keyslot opened the vault: it is tried first the next time."""
        backend = self.vault.backend
        if backend.family == SEALED and backend.opened_slot is not None:
            with contextlib.suppress(FilevaultError):
                self.vault.trust.set_last_slot(backend.opened_slot)

    def forget_keys(self) -> None:
        """Forget the cached keys, and cache none at the end. Raises BackendError."""
        self._caches_session_key = False
        self._context.key_cache.forget(self.choice.state_id)

    def cache_session_key(self) -> None:
        """Cache the session key if a person was asked for the secret that opened the vault."""
        if self._caches_session_key and self.vault.is_open:
            with contextlib.suppress(FilevaultError):
                self.keys.cache_if_asked(self.vault.session_key)


def open_vault(
    choice: VaultChoice,
    context: Context,
    *,
    checks_pin: bool = True,
    uses_cached_keys: bool = True,
    caches_session_key: bool = True,
    backend: SealedBackend | None = None,
    asks: bool = True,
    remembers: bool = True,
    items_later: bool = False,
) -> OpenVault:
    """Open a vault; nothing is decrypted and nothing is asked yet.

    Args:
        choice: the vault.
        context: the run's dependencies.
        checks_pin: compare the vault with its pin, and pin it at its first use. False
            opens a vault that would be refused, so that it can be shown and accepted.
        uses_cached_keys: take keys from the key cache.
        caches_session_key: see `OpenVault`. Never done for a vault whose pin is not checked.
        backend: the open backend of a vault that was just created.
        asks: ask a person where nothing else opens the vault; if False, as without a terminal.
        remembers: make, and write to, the state directory; without it, only read what is there.
        items_later: see `Trust`; for a command that asks nothing about the items of a sealed vault.

    Raises NoVaultError, PinError, VaultChoiceError, IntegrityError, StorageError.
    """
    settings, reporter = context.settings, context.reporter
    must_exist(choice, settings.state_home)
    with contextlib.ExitStack() as opening:
        store = opening.enter_context(Folder.open(choice.store, reporter.warn, settings.inputs))
        use = SecretUse()
        memory = (
            local_memory(choice, context, items_later=items_later)
            if remembers
            else _present_memory(choice, context)
        )
        trust, writable = opening.enter_context(memory)
        keys = VaultKeys(
            context.key_cache,
            choice.state_id,
            seconds=lambda: settings.config.cache_ttl,
            asked=use.asked,
            fresh=not uses_cached_keys,
        )
        opened: OpenBackend
        if backend is not None:
            opened = backend
        else:
            opened = _open_backend(
                choice,
                context,
                store,
                keys,
                use,
                last_slot=trust.last_slot,
                pinned_recipients=lambda: policy.pinned_recipients(choice.prefix),
                asks=asks,
            )
        policy = PinPolicy(
            choice.root,
            trust,
            writable=writable,
            given=settings.pin,
            strict=settings.strict,
            identity=lambda: pin_of(opened),
            before_pinning=lambda: _trust_repositories(choice, context, trust),
            say=reporter.say,
            notice=reporter.notice,
        )

        def commit(paths: Sequence[str], subject: str) -> None:
            result.commit(paths, subject)

        vault = Vault(
            store,
            opened,
            prefix=choice.prefix,
            state=trust.state if writable else None,
            state_id=choice.state_id,
            trust=trust,
            strict=settings.strict,
            clock=context.runtime.clock,
            warn=reporter.warn,
            notice=reporter.notice,
            guard=_write_guard(choice, context, opened, policy),
            commit=commit,
            session_keys=keys,
        )
        if checks_pin:
            # Reading a recipients vault needs no resolved recipients.
            sealed = opened.family == SEALED
            policy.check_opened(pin_of(opened) if sealed else Pin(choice.backend.name))
        result = OpenVault(
            choice,
            vault,
            keys,
            context,
            opening.pop_all(),
            use,
            caches_session_key=caches_session_key and checks_pin,
        )
    return result


def _never() -> bool:
    return False


@contextlib.contextmanager
def open_vault_if_any(choice: VaultChoice, context: Context) -> Iterator[OpenVault | None]:
    """Open the chosen vault for reading profiles; yield None if there is none and none is named.

    Raises what `open_vault` and `require_named_vault` raise.
    """
    require_named_vault(choice, context)
    opened: OpenVault | None
    try:
        opened = open_vault(choice, context)
    except errors.NoVaultError:
        opened = None
    with opened or contextlib.nullcontext():
        yield opened


@contextlib.contextmanager
def local_memory(
    choice: VaultChoice, context: Context, *, items_later: bool = False
) -> Iterator[tuple[Trust, bool]]:
    """Open the trust of a vault on this machine; yield it, and whether it can be written.

    `items_later` as for `Trust`.
    """
    state, writable = open_state_directory(context.settings, choice, context.reporter.notice)
    with state or contextlib.nullcontext():
        yield Trust(state, items_later=items_later), writable


@contextlib.contextmanager
def _present_memory(choice: VaultChoice, context: Context) -> Iterator[tuple[Trust, bool]]:
    """As `local_memory`, but change nothing: a state directory is neither made nor written."""
    state = None
    with contextlib.suppress(FileNotFoundError):
        state = Folder.open(f"{context.settings.state_home}/{choice.state_id}")
    with state or contextlib.nullcontext():
        yield Trust(state, remembers=False), False


@contextlib.contextmanager
def sessions_to_delete(choice: VaultChoice, context: Context) -> Iterator[SessionCache | None]:
    """Open the session cache of a vault that need not exist; nothing in it can be decrypted.

    Yields None if there is none, or if it cannot be reached.
    """
    from filevault.sessions import SessionCache

    state = None
    try:
        state = Folder.open(f"{context.settings.state_home}/{choice.state_id}")
    except FileNotFoundError:
        pass
    except StorageError as error:
        context.reporter.warn(f"{error.message}: sessions that are kept there stay")
    if state is None:
        yield None
        return
    with state:
        yield SessionCache(
            state, choice.state_id, _no_key, context.runtime.clock, context.reporter.notice
        )


def token_store(
    state: Folder,
    choice: VaultChoice,
    session_key: Callable[[], bytes],
    context: Context,
    timeout: float | None = None,
) -> TokenStore:
    """Return the token records below a state directory; `session_key` opens them.

    `timeout` is how long another process is waited for, in seconds; None for long enough.
    """
    from filevault.sessions.token_store import TokenStore

    def wait(action: str) -> LockWait:
        from filevault.sessions.lock_wait import LockWait

        return LockWait(
            context.reporter.say,
            lambda: context.prompter.present,
            context.runtime.sleep,
            action=action,
            hint="it may be waiting for a person to sign in: do that, or end it",
        )

    return TokenStore(
        state,
        choice.state_id,
        session_key,
        clock=context.runtime.clock,
        wait=wait,
        warn=context.reporter.warn,
        timeout=timeout,
    )


def _no_key() -> bytes:
    raise LockedError("sessions are deleted here, not opened")


def _write_guard(
    choice: VaultChoice, context: Context, backend: OpenBackend, policy: PinPolicy
) -> Callable[[], None]:
    """Return the check that every write begins with."""
    if backend.family == SEALED:
        return backend.confirm
    forget = backend.forget

    def check() -> None:
        warn_of_other_stores(choice, context)
        policy.check_recipients(forget)

    return check


def _git(choice: VaultChoice, context: Context, vault: Vault) -> Git:
    from filevault.cli.repositories import git_of

    return git_of(choice, context, vault.trust, writable=vault.state is not None)


def _trust_repositories(choice: VaultChoice, context: Context, trust: Trust) -> None:
    from filevault.cli.repositories import trust_present_repositories

    trust_present_repositories(choice, context, trust)


def open_recipients_backend(
    choice: VaultChoice, context: Context, store: Folder
) -> RecipientsBackend:
    """Return the backend of a vault for recipients that is about to be made.

    Raises UsageError for another backend.
    """
    keys = VaultKeys(
        context.key_cache, choice.state_id, seconds=lambda: 0, asked=_never, fresh=False
    )
    backend = _open_backend(
        choice, context, store, keys, SecretUse(), last_slot=None, pinned_recipients=tuple
    )
    if backend.family == SEALED:
        raise UsageError(
            f"{choice.backend.title} has no recipients",
            hint="filevault slot changes what opens it",
        )
    return backend


def _open_backend(
    choice: VaultChoice,
    context: Context,
    store: Folder,
    keys: VaultKeys,
    use: SecretUse,
    *,
    last_slot: str | None,
    pinned_recipients: Callable[[], Sequence[str]],
    asks: bool = True,
) -> OpenBackend:
    """Return a vault's backend; `use` notes what it is opened with.

    Nothing is asked yet. Raises what the backend's opener raises.
    """
    settings, suffix = context.settings, choice.backend.suffix

    def person() -> Prompter:
        if asks:
            return context.prompter
        from filevault.unlock.prompt import NoTerminal

        return NoTerminal()

    def unlocker(request: SecretRequest) -> Unlocker:
        from filevault.unlock.unlocker import Unlocker

        made = Unlocker(
            settings,
            person,
            request,
            lambda: keys.has_session_key(session_key_mark(choice, context)),
            context.given,
        )
        use.unlockers.append(made)
        return made

    def named(request: SecretRequest) -> Unlocker | None:
        made = unlocker(request)
        return made if made.named() else None

    def identities() -> NamedIdentities:
        from filevault.unlock.identities import NamedIdentities

        return NamedIdentities(
            settings,
            passage=choice.passage,
            cached=lambda: keys.vault_key(IDENTITIES_MARK),
            tell=lambda text: person().say(f"filevault: {text}"),
        )

    parts = VaultParts(
        store=store,
        root=choice.root,
        prefix=choice.prefix,
        other_tools=choice.passage,
        environment=settings.program_environment,
        folders_of=lambda name: encode_name(name, suffix).split("/")[:-1],
        secrets=unlocker,
        named_secrets=named,
        identities=identities,
        cached_key=keys.vault_key,
        pinned_recipients=pinned_recipients,
        person=person,
        warn=context.reporter.warn,
        on_asked=use.ask,
        kdf_policy=lambda: context.kdf_policy,
        last_slot=last_slot,
        only_slot=settings.options.slot,
    )
    return choice.backend.opener(parts)


def session_key_mark(choice: VaultChoice, context: Context) -> str | None:
    """Return the mark that a cached session key must have, None if there is no session key."""
    from filevault.vault import session_key

    folder = f"{context.settings.state_home}/{choice.state_id}"
    with contextlib.suppress(FilevaultError, FileNotFoundError), Folder.open(folder) as state:
        return session_key.session_key_mark(state, choice.backend.suffix)
    return None
