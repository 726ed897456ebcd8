"""Choose which folder is the vault: from options, variables, config.toml and defaults.

These name the folder; its marker determines the backend. A store of another tool is never chosen
only because it exists.
"""

from __future__ import annotations

import contextlib
import os

from filevault import errors
from filevault.backends import BACKENDS, DEFAULT
from filevault.backends.definition import RECIPIENTS, SEALED
from filevault.errors import FilevaultError, StorageError, UsageError
from filevault.system.digest import sha256_hex
from filevault.system.files import Folder
from filevault.system.printable import printable
from filevault.system.record import Record
from filevault.vault.defaults import (
    default_store,
    fallback_backend,
    option_store,
    tool_stores,
)
from filevault.vault.defaults import prefix as named_prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from filevault.backends.definition import Backend
    from filevault.config.settings import Settings

_DEFAULT_PREFIX = "aws"
_NOTHING = "default"  # the origin of a choice that nothing named


class VaultChoice(Record):
    """The chosen vault, whether it exists or not.

    `store` is the folder that other tools know, `prefix` the path below it that leads to the
    items. `exists` is True if its marker exists, `origin` is the option, variable or file that
    chose it; `named` is True if that named the folder, `explicit` if it named folder or
    backend; `passage` whether the store is passage's own. `adoptable` are the stores of other
    tools that `init` could use, each with its backend, if there is no vault and nothing named one.
    """

    store: str
    prefix: tuple[str, ...]
    backend: Backend
    origin: str
    explicit: bool
    exists: bool
    passage: bool = False
    named: bool = False
    adoptable: tuple[tuple[str, str], ...] = ()

    @property
    def root(self) -> str:
        """The folder of the items."""
        return "/".join((self.store, *self.prefix))

    @property
    def real_root(self) -> str:
        """The root with links resolved: it identifies the vault on this machine."""
        return os.path.realpath(self.root)

    @property
    def state_id(self) -> str:
        """The name of the vault's state directory (`docs/format.md` §1)."""
        return sha256_hex(os.fsencode(self.real_root))[:32]


class _Request(Record):
    """The store and the backend that settings ask for; other fields as in `VaultChoice`."""

    store: str
    backend: Backend | None  # None: that of its marker
    origin: str
    explicit: bool = False
    named: bool = False


def choose(settings: Settings) -> VaultChoice:
    """Return the vault that options, variables, config.toml and defaults point to.

    Raises:
        VaultChoiceError: for two markers, or the marker of another backend than requested.
        UsageError, ConfigError: for invalid settings, or options that contradict each other.
    """
    choice = _choose(settings)
    settings.inputs.real_path(choice.root)  # which names the state directory
    if choice.backend.family == SEALED and settings.options.prefix:
        raise UsageError(
            f"--prefix is for pass and passage stores, and {printable(choice.root)!r} is the "
            f"folder of {choice.backend.title}",
            hint="leave --prefix out, or name the store with --vault or --pass-dir",
        )
    if choice.origin == _NOTHING and not choice.exists:
        return choice._replace(adoptable=tuple(_adoptable(settings)))
    return choice


def _adoptable(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield backend and store of each tool whose usual store exists and can be used."""
    for backend in BACKENDS.values():
        if backend.tool is None:
            continue
        with contextlib.suppress(FilevaultError):  # it is not asked for
            store = settings.inputs.absolute(default_store(settings, backend)[0])
            if store == settings.inputs.absolute(settings.default_vault):
                continue
            if _complete(settings, _Request(store, backend, _NOTHING), backend).exists:
                yield backend.name, store


def _choose(settings: Settings) -> VaultChoice:
    request = _requested(settings)
    request = request._replace(store=settings.inputs.absolute(request.store))
    backend = request.backend
    found = {each.name: _complete(settings, request, each) for each in BACKENDS.values()}
    there = [choice for choice in found.values() if choice.exists]
    shown = printable(request.store)
    if len(there) > 1 and (backend is None or there[0].root == there[1].root):
        names = " and ".join(choice.backend.name for choice in there)
        raise errors.VaultChoiceError(
            f"{shown!r} has the markers of two backends: {names}",
            hint="keep each store in a folder of its own",
        )
    if backend is None:
        return there[0] if there else found[DEFAULT.name]
    if there and not found[backend.name].exists:
        asked = settings.backend
        raise errors.VaultChoiceError(
            f"{shown!r} is a {there[0].backend.name} vault, and "
            f"{printable(asked.origin if asked else request.origin)} asks for {backend.name}",
            hint="leave --backend out, or choose another folder with --vault",
        )
    return found[backend.name]


def _complete(settings: Settings, request: _Request, backend: Backend) -> VaultChoice:
    """Return the choice of a store as a vault of a backend, with whether it exists."""
    tool = backend.tool
    passage = (
        tool is not None
        and not tool.exclusive
        and (
            (request.origin == "--pass-dir" and request.backend is backend)
            or settings.inputs.real_path(request.store)
            in map(settings.inputs.real_path, tool_stores(settings, backend))
        )
    )
    prefix = ""
    if backend.family == RECIPIENTS:
        chosen = named_prefix(settings, request.store, backend)
        default = _DEFAULT_PREFIX if passage or (tool is not None and tool.exclusive) else ""
        prefix = default if chosen is None else chosen
    choice = VaultChoice(
        request.store,
        _parts(prefix),
        backend,
        request.origin,
        request.explicit,
        exists=False,
        passage=passage,
        named=request.named,
    )
    return choice._replace(exists=_is_vault(settings, choice))


def _parts(prefix: str) -> tuple[str, ...]:
    parts = tuple(part for part in prefix.split("/") if part)
    if any(part in (".", "..") or "\x00" in part for part in parts):
        raise UsageError(
            f"{printable(prefix)!r} is no prefix: it leads out of the store",
            hint="give a folder inside the store, or '' for its top",
        )
    if any(part.startswith(".") for part in parts):
        raise UsageError(
            f"{printable(prefix)!r} is no prefix: nothing below a hidden folder is an item",
            hint="give a folder inside the store, or '' for its top",
        )
    return parts


def _is_vault(settings: Settings, choice: VaultChoice) -> bool:
    try:
        store = Folder.open(choice.store, inputs=settings.inputs)
    except FileNotFoundError:
        return False
    except StorageError as error:
        hint = "set FILEVAULT_DIR, or HOME to a folder of your own"
        if choice.explicit:
            hint = f"the folder is set by {printable(choice.origin)}"
        raise error.add_context(hint=hint) from error
    with store:
        if choice.backend.family == SEALED:
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
    return settings.inputs.exists(settings.passage_identities)


def has_marker(root: Folder, backend: Backend) -> bool:
    """Return whether a folder has the marker of a sealed vault, valid or not.

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
    """Return whether a recipients file is at the prefix or above it, inside the store."""
    with contextlib.ExitStack() as stack:
        folder = store
        if _has_file(folder, name):
            return True
        for part in prefix:
            try:
                folder = stack.enter_context(folder.child(part))
            except (FileNotFoundError, StorageError):
                return False
            if _has_file(folder, name):
                return True
    return False


def _has_file(folder: Folder, name: str) -> bool:
    """Return whether a folder has a file. A link counts: reading it is an error that names it."""
    try:
        folder.refuse_link(name)
    except StorageError:
        return True
    return folder.is_file(name)


def _requested(settings: Settings) -> _Request:
    """Return the requested store and backend: the first of the documented order."""
    asked = settings.backend
    backend = BACKENDS[asked.value] if asked is not None else None
    option = option_store(settings)
    if option is not None and option[1] == "--pass-dir":
        return _pass_dir(settings, option[0], backend)
    if option is not None:
        return _Request(option[0], backend, option[1], explicit=True, named=True)
    variable = settings.vault
    if variable is not None:
        return _Request(variable.value, backend, variable.origin, explicit=True, named=True)
    config = settings.config
    config_backend = BACKENDS[config.backend] if config.backend is not None else None
    configured = None
    if config.vault:
        configured = _Request(
            settings.expand(config.vault), config_backend, config.path, explicit=True, named=True
        )
    if asked is not None and backend is not None:
        if configured is not None and backend is (
            config_backend or _backend_there(settings, configured)
        ):
            return configured._replace(backend=backend)
        return _default(settings, backend, asked.origin, explicit=True)
    if configured is not None:
        return configured
    if config_backend is not None:
        return _default(settings, config_backend, config.path)
    if any(choice.exists for choice in at_default(settings)):
        return _Request(settings.default_vault, None, _NOTHING)
    old = settings.aws_vault_backend[0]
    if old is not None:
        return _default(settings, BACKENDS[old.value], old.origin)
    return _Request(settings.default_vault, DEFAULT, _NOTHING)


def _pass_dir(settings: Settings, store: str, backend: Backend | None) -> _Request:
    """Return the store of `--pass-dir`, with the requested backend or that of its marker."""
    named = _Request(store, backend, "--pass-dir", explicit=True, named=True)
    if backend is not None:
        return named
    request = named._replace(store=settings.inputs.absolute(store))
    with_tool = [each for each in BACKENDS.values() if each.tool is not None]
    there = [each for each in with_tool if _complete(settings, request, each).exists]
    if len(there) > 1:
        return named  # refused later, for its two markers
    return named._replace(backend=there[0] if there else fallback_backend(settings))


def _default(
    settings: Settings, backend: Backend, origin: str, *, explicit: bool = False
) -> _Request:
    """Return the default store of a backend."""
    store, variable = default_store(settings, backend)
    named = variable is not None
    return _Request(store, backend, variable or origin, explicit=explicit or named, named=named)


def _backend_there(settings: Settings, configured: _Request) -> Backend:
    """Return the backend of the vault that config.toml names without one, else the default."""
    request = configured._replace(store=settings.inputs.absolute(configured.store))
    every = BACKENDS.values()
    return next((each for each in every if _complete(settings, request, each).exists), DEFAULT)


def at_default(settings: Settings) -> list[VaultChoice]:
    """Return the choices for the default folder, which is used if nothing names one."""
    store = settings.inputs.absolute(settings.default_vault)
    request = _Request(store, None, _NOTHING)
    return [
        _complete(settings, request, each)
        for each in BACKENDS.values()
        if each.tool is None or not each.tool.exclusive
    ]


def must_exist(choice: VaultChoice, state_home: str) -> None:
    """Raise unless the vault exists. Raises as `filevault.vault.lost_vault.raise_missing`."""
    if not choice.exists:
        from filevault.vault.lost_vault import raise_missing

        raise_missing(choice, state_home)
