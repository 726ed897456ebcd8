"""Which vault is meant, and where its local state lies.

The vault's own marker says what it is; options and variables say where it is. A store is never
chosen because it happens to exist.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from filevault.backends import BACKENDS, DEFAULT
from filevault.backends.protocols import Family
from filevault.errors import (
    FilevaultError,
    NoVaultError,
    PinError,
    StorageError,
    UsageError,
    VaultChoiceError,
)
from filevault.system.digest import sha256_hex
from filevault.system.files import Folder
from filevault.system.printable import printable, shell_word
from filevault.system.record import Record
from filevault.vault.defaults import (
    default_store,
    fallback_backend,
    option_store,
    tool_stores,
)
from filevault.vault.defaults import prefix as named_prefix
from filevault.vault.store import Store
from filevault.vault.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from filevault.backends.definition import Backend
    from filevault.config.settings import Settings

_DEFAULT_PREFIX = "aws"


class VaultChoice(Record):
    """The vault that is meant.

    `store` is the folder that the tools of the kind know, `prefix` the path below it that is
    ours. `exists` says that its marker is there, `origin` what chose it; `named` that this named
    the folder, `explicit` that it named folder or kind; `passage` that the store is passage's own.
    """

    store: str
    prefix: tuple[str, ...]
    backend: Backend
    origin: str
    explicit: bool
    exists: bool
    passage: bool = False
    named: bool = False

    @property
    def root(self) -> str:
        """The folder that the items lie in."""
        return "/".join((self.store, *self.prefix))

    @property
    def real_root(self) -> str:
        """The root with links resolved: what identifies the vault on this machine."""
        return os.path.realpath(self.root)

    @property
    def state_id(self) -> str:
        """The name of the vault's state directory (`docs/format.md` §1)."""
        return sha256_hex(os.fsencode(self.real_root))[:32]


class _Named(Record):
    """A store and the backend that settings ask for; see `VaultChoice` for the rest."""

    store: str
    backend: Backend | None  # None: its marker tells
    origin: str
    explicit: bool = False
    named: bool = False


def choose(settings: Settings) -> VaultChoice:
    """Return the vault that options, variables, config.toml and defaults point to.

    Raises:
        VaultChoiceError: for two markers, or a marker of another kind than the one asked for.
        UsageError, ConfigError: for settings that mean nothing, or options that contradict.
    """
    choice = _choose(settings)
    if choice.backend.family is Family.SEALED and settings.options.prefix:
        raise UsageError(
            f"--prefix is for pass and passage stores, and {printable(choice.root)!r} is the "
            f"folder of {choice.backend.title}",
            hint="leave --prefix out, or name the store with --vault or --pass-dir",
        )
    return choice


def _choose(settings: Settings) -> VaultChoice:
    wanted = _wanted(settings)
    wanted = wanted._replace(store=os.path.abspath(wanted.store))
    backend = wanted.backend
    found = {each.name: _complete(settings, wanted, each) for each in BACKENDS.values()}
    there = [choice for choice in found.values() if choice.exists]
    shown = printable(wanted.store)
    if len(there) > 1 and (backend is None or there[0].root == there[1].root):
        kinds = " and ".join(choice.backend.name for choice in there)
        raise VaultChoiceError(
            f"{shown!r} has the markers of two kinds of store: {kinds}",
            hint="keep each store in a folder of its own",
        )
    if backend is None:
        return there[0] if there else found[DEFAULT.name]
    if there and not found[backend.name].exists:
        asked = settings.backend
        raise VaultChoiceError(
            f"{shown!r} is a vault of the kind {there[0].backend.name}, and "
            f"{printable(asked.origin if asked else wanted.origin)} asks for {backend.name}",
            hint="leave --backend out, or choose another folder with --vault",
        )
    return found[backend.name]


def _complete(settings: Settings, wanted: _Named, backend: Backend) -> VaultChoice:
    """Return what a store would be as a vault of a kind, and whether it is one."""
    tool = backend.tool
    passage = (
        tool is not None
        and not tool.exclusive
        and (
            (wanted.origin == "--pass-dir" and wanted.backend is backend)
            or os.path.realpath(wanted.store)
            in map(os.path.realpath, tool_stores(settings, backend))
        )
    )
    prefix = ""
    if backend.family is Family.RECIPIENTS:
        chosen = named_prefix(settings, wanted.store, backend)
        usual = _DEFAULT_PREFIX if passage or (tool is not None and tool.exclusive) else ""
        prefix = usual if chosen is None else chosen
    choice = VaultChoice(
        wanted.store,
        _parts(prefix),
        backend,
        wanted.origin,
        wanted.explicit,
        exists=False,
        passage=passage,
        named=wanted.named,
    )
    return choice._replace(exists=_is_vault(settings, choice))


def _parts(prefix: str) -> tuple[str, ...]:
    parts = tuple(part for part in prefix.split("/") if part)
    if any(part in (".", "..") or "\x00" in part for part in parts):
        raise UsageError(f"{printable(prefix)!r} is no prefix: it leads out of the store")
    if any(part.startswith(".") for part in parts):
        raise UsageError(
            f"{printable(prefix)!r} is no prefix: nothing below a hidden folder is an item"
        )
    return parts


def _is_vault(settings: Settings, choice: VaultChoice) -> bool:
    try:
        store = Folder.open(choice.store)
    except FileNotFoundError:
        return False
    except StorageError as error:
        error.hint = (
            f"the place comes from {printable(choice.origin)}"
            if choice.explicit
            else "set FILEVAULT_DIR, or HOME to a folder of your own"
        )
        raise
    with store:
        if choice.backend.family is Family.SEALED:
            return has_marker(store, choice.backend)
        if has_recipients(store, choice.prefix, choice.backend.marker):
            return True
    if not choice.passage:
        return False
    # passage itself works without a recipients file: from its identities or its variables.
    if settings.get("PASSAGE_RECIPIENTS") or settings.get("PASSAGE_RECIPIENTS_FILE"):
        return True
    if settings.home_if_known is None and settings.get("PASSAGE_IDENTITIES_FILE") is None:
        return False
    return os.path.exists(settings.passage_identities)


def has_marker(root: Folder, backend: Backend) -> bool:
    """Tell whether a folder has the marker of a sealed vault, in whatever state it is.

    Raises StorageError for a marker that is a link.
    """
    *folders, name = backend.marker.split("/")
    with contextlib.ExitStack() as stack:
        folder = root
        for part in folders:
            try:
                folder = stack.enter_context(folder.child(part))
            except FileNotFoundError:
                return False
        folder.refuse_link(name)
        return folder.is_file(name)


def has_recipients(store: Folder, prefix: Sequence[str], name: str) -> bool:
    """Tell whether a recipients file lies at the prefix or above it, inside the store."""
    with contextlib.ExitStack() as stack:
        folder = store
        if _holds(folder, name):
            return True
        for part in prefix:
            try:
                folder = stack.enter_context(folder.child(part))
            except (FileNotFoundError, StorageError):
                return False
            if _holds(folder, name):
                return True
    return False


def _holds(folder: Folder, name: str) -> bool:
    """Tell whether a file is there. A link counts: whoever reads it refuses it by its name."""
    try:
        folder.refuse_link(name)
    except StorageError:
        return True
    return folder.is_file(name)


def _wanted(settings: Settings) -> _Named:
    """Return the store and the kind that are asked for: the first of the documented order."""
    asked = settings.backend
    backend = BACKENDS[asked.value] if asked is not None else None
    option = option_store(settings)
    if option is not None and option[1] == "--pass-dir":
        return _pass_dir(settings, option[0], backend)
    if option is not None:
        return _Named(option[0], backend, option[1], explicit=True, named=True)
    variable = settings.vault
    if variable is not None:
        return _Named(variable.value, backend, variable.origin, explicit=True, named=True)
    config = settings.config
    in_config = BACKENDS[config.backend] if config.backend is not None else None
    noted = None
    if config.vault:
        noted = _Named(
            settings.expand(config.vault), in_config, config.path, explicit=True, named=True
        )
    if asked is not None and backend is not None:
        if noted is not None and backend is (in_config or _backend_there(settings, noted)):
            return noted._replace(backend=backend)
        return _usual(settings, backend, asked.origin, explicit=True)
    if noted is not None:
        return noted
    if in_config is not None:
        return _usual(settings, in_config, config.path)
    if any(choice.exists for choice in at_default(settings)):
        return _Named(settings.default_vault, None, "default")
    old = settings.aws_vault_backend[0]
    if old is not None:
        return _usual(settings, BACKENDS[old.value], old.origin)
    return _Named(settings.default_vault, DEFAULT, "default")


def _pass_dir(settings: Settings, store: str, backend: Backend | None) -> _Named:
    """Return what `--pass-dir` names: a pass or a passage store, as asked or as its marker says."""
    named = _Named(store, backend, "--pass-dir", explicit=True, named=True)
    if backend is not None:
        return named
    place = named._replace(store=os.path.abspath(store))
    with_tool = [each for each in BACKENDS.values() if each.tool is not None]
    there = [each for each in with_tool if _complete(settings, place, each).exists]
    if len(there) > 1:
        return named  # which is then refused
    return named._replace(backend=there[0] if there else fallback_backend(settings))


def _usual(settings: Settings, backend: Backend, origin: str, *, explicit: bool = False) -> _Named:
    """Return the usual store of a backend."""
    store, variable = default_store(settings, backend)
    named = variable is not None
    return _Named(store, backend, variable or origin, explicit=explicit or named, named=named)


def _backend_there(settings: Settings, noted: _Named) -> Backend:
    """Return the backend of the vault that config.toml names without it, else the default."""
    place = noted._replace(store=os.path.abspath(noted.store))
    every = BACKENDS.values()
    return next((each for each in every if _complete(settings, place, each).exists), DEFAULT)


def at_default(settings: Settings) -> list[VaultChoice]:
    """Return what is, or would be, where a vault is looked for if nothing names one."""
    place = _Named(os.path.abspath(settings.default_vault), None, "default")
    return [
        _complete(settings, place, each)
        for each in BACKENDS.values()
        if each.tool is None or not each.tool.exclusive
    ]


def must_exist(choice: VaultChoice, state_home: str) -> None:
    """Raise unless the vault is there.

    Raises:
        PinError: if there was one: its marker is gone while items or a pin are left. Creating a
            new vault over that would hide the loss.
        VaultChoiceError: if the folder was named, and holds something else.
        NoVaultError: if there is simply none yet.
    """
    if choice.exists:
        return
    shown = printable(choice.root)
    if lost(choice, state_home):
        sealed = choice.backend.family is Family.SEALED
        if sealed and os.path.exists(f"{choice.root}/{choice.backend.marker}"):
            return  # another process has made it since we looked
        raise PinError(
            f"the vault at {shown!r} has lost its marker {choice.backend.marker}",
            hint="restore it from a copy or from the repository's history; for a new vault, move "
            "everything away and run filevault init",
        )
    if choice.explicit and os.path.isdir(choice.root) and os.listdir(choice.root):
        raise VaultChoiceError(
            f"{shown!r}, chosen by {printable(choice.origin)}, is not a vault",
            hint="check the path, or make a vault there: filevault init",
        )
    raise no_vault(choice)


def no_vault(choice: VaultChoice) -> NoVaultError:
    """Return the error for a vault that is not there; it says what named the place."""
    shown = printable(choice.root)
    kind = "" if choice.backend is DEFAULT else f" --backend {choice.backend.name}"
    if not choice.named:
        return NoVaultError(f"there is no vault at {shown!r} yet", hint=f"filevault init{kind}")
    origin = printable(choice.origin)
    option = f"{origin} {shell_word(choice.store)} " if choice.origin.startswith("--") else ""
    return NoVaultError(
        f"there is no vault at {printable(choice.store)!r}, which {origin} names",
        hint=f"check {origin}, or make a vault there: filevault {option}init{kind}",
    )


def lost(choice: VaultChoice, state_home: str) -> bool:
    """Tell whether items are there without a marker, or a pin of a vault that is gone."""
    return has_items(choice) or pinned(choice, state_home)


def has_items(choice: VaultChoice) -> bool:
    """Tell whether item files lie at the root."""
    try:
        with Folder.open(choice.store) as folder:
            return bool(Store(folder, choice.backend.suffix, choice.prefix).names())
    except FileNotFoundError:
        return False


def hint_at_top(choice: VaultChoice, names: Iterable[str]) -> str | None:
    """Return what to do if our folder is missing and one of the names is at the store's top."""
    if not choice.prefix or os.path.lexists(choice.root):
        return None
    with contextlib.suppress(FilevaultError, FileNotFoundError), Folder.open(choice.store) as top:
        store = Store(top, choice.backend.suffix, literal=True)
        for name in names:
            if store.has(name):
                return f"{printable(name)!r} lies at the top of the store: --prefix '' uses that"
    return None


def pinned(choice: VaultChoice, state_home: str) -> bool:
    """Tell whether this machine remembers a vault at the root.

    A state directory that cannot be reached remembers nothing.
    """
    try:
        state = Folder.open(f"{state_home}/{choice.state_id}")
    except (FileNotFoundError, StorageError):
        return False
    with state:
        return Trust(state).pin is not None


def open_state(
    settings: Settings, choice: VaultChoice, notice: Callable[[str], None]
) -> tuple[Folder | None, bool]:
    """Open a vault's state directory; tell whether it can be written.

    Args:
        settings: which say where state directories lie.
        choice: the vault.
        notice: hears why nothing can be kept.
    """
    home = settings.state_home
    path = f"{home}/{choice.state_id}"
    shown = printable(path)
    try:
        folder = Folder.make(path, settings.home_if_known)
    except (StorageError, FileNotFoundError) as error:
        notice(
            f"no session is kept and nothing is remembered: {error}; HOME or XDG_STATE_HOME "
            "can name a folder for that"
        )
        return None, False
    if not _is_theirs(os.fstat(folder.fd).st_uid, choice):
        folder.close()
        notice(f"no session is kept: {shown} belongs to another user")
        return None, False
    if not os.access(".", os.W_OK | os.X_OK, dir_fd=folder.fd, effective_ids=True):
        notice(f"no session is kept and nothing is remembered: {shown} is read-only")
        return folder, False
    return folder, _is_private(home, notice) and _is_private(path, notice)


def _is_theirs(owner: int, choice: VaultChoice) -> bool:
    """Tell whether the owner of a state directory may say what was seen, and seal sessions.

    Root works for the owner of a vault, who gets what it writes, and for nobody else.
    """
    if owner == os.geteuid():
        return True
    if os.geteuid() != 0:
        return False
    try:
        return os.stat(choice.store).st_uid == owner
    except OSError:
        return True  # there is no vault


def _is_private(path: str, notice: Callable[[str], None]) -> bool:
    """See to it that nobody else can write a state directory; tell whether that is so."""
    try:
        with Folder.open(path) as folder:
            info = os.fstat(folder.fd)
            if not info.st_mode & 0o022:
                return True
            if info.st_uid == os.geteuid():
                os.fchmod(folder.fd, 0o700)
                notice(f"others could write {printable(path)}; its mode is 0700 now")
                return True
    except (OSError, StorageError):
        pass
    notice(f"no session is kept: others can write {printable(path)}")
    return False
