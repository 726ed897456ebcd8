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
from filevault.errors import StorageError, UsageError, VaultChoiceError
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

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    """Raise unless the vault exists. Raises as `filevault.vault.lost_vault.raise_missing`."""
    if not choice.exists:
        from filevault.vault.lost_vault import raise_missing

        raise_missing(choice, state_home)
