"""Which vault is meant, and where its local state lies.

The vault's own marker says what it is; options and variables say where it is. A store is never
chosen because it happens to exist.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from filevault.backends import SUFFIXES
from filevault.backends.file import vault_json
from filevault.errors import StorageError, UsageError, VaultChoiceError
from filevault.system.digest import sha256_hex
from filevault.system.files import Folder
from filevault.system.printable import printable
from filevault.system.record import Record
from filevault.vault.defaults import (
    default_store,
    fallback_kind,
    option_store,
    passage_stores,
)
from filevault.vault.defaults import prefix as named_prefix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filevault.config.settings import Settings

_MARKERS = {"pass": ".gpg-id", "age": ".age-recipients"}
_DEFAULT_PREFIX = "aws"


class VaultChoice(Record):
    """The vault that is meant.

    `store` is the folder that the tools of the kind know, `prefix` the path below it that is
    ours. `exists` says that its marker is there, `origin` what chose it; `named` that this named
    the folder, `explicit` that it named folder or kind; `passage` that the store is passage's own.
    """

    store: str
    prefix: tuple[str, ...]
    backend: str
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
    """A store and the kind of vault that settings ask for; see `VaultChoice` for the rest."""

    store: str
    kind: str | None  # None: its marker tells
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
    if choice.backend == "file" and settings.options.prefix:
        raise UsageError(
            f"--prefix is for pass and passage stores, and {printable(choice.root)!r} is the "
            "folder of a file vault",
            hint="leave --prefix out, or name the store with --vault or --pass-dir",
        )
    return choice


def _choose(settings: Settings) -> VaultChoice:
    wanted = _wanted(settings)
    wanted = wanted._replace(store=os.path.abspath(wanted.store))
    backend = wanted.kind
    found = {kind: _complete(settings, wanted, kind) for kind in SUFFIXES}
    there = [choice for choice in found.values() if choice.exists]
    shown = printable(wanted.store)
    if len(there) > 1 and (backend is None or there[0].root == there[1].root):
        kinds = " and ".join(choice.backend for choice in there)
        raise VaultChoiceError(
            f"{shown!r} has the markers of two kinds of store: {kinds}",
            hint="keep each store in a folder of its own",
        )
    if backend is None:
        return there[0] if there else found["file"]
    if there and not found[backend].exists:
        asked = settings.backend
        raise VaultChoiceError(
            f"{shown!r} is a vault of the kind {there[0].backend}, and "
            f"{printable(asked.origin if asked else wanted.origin)} asks for {backend}",
            hint="leave --backend out, or choose another folder with --vault",
        )
    return found[backend]


def _complete(settings: Settings, wanted: _Named, backend: str) -> VaultChoice:
    """Return what a store would be as a vault of a kind, and whether it is one."""
    real = os.path.realpath(wanted.store)
    passage = backend == "age" and (
        (wanted.origin == "--pass-dir" and wanted.kind == "age")
        or real in map(os.path.realpath, passage_stores(settings))
    )
    prefix = ""
    if backend != "file":
        chosen = named_prefix(settings, wanted.store, backend)
        usual = _DEFAULT_PREFIX if backend == "pass" or passage else ""
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
        if choice.backend == "file":
            return vault_json.exists(store)
        if has_recipients(store, choice.prefix, _MARKERS[choice.backend]):
            return True
    if not choice.passage:
        return False
    # passage itself works without a recipients file: from its identities or its variables.
    if settings.get("PASSAGE_RECIPIENTS") or settings.get("PASSAGE_RECIPIENTS_FILE"):
        return True
    if settings.home_if_known is None and settings.get("PASSAGE_IDENTITIES_FILE") is None:
        return False
    return os.path.exists(settings.passage_identities)


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
    kind = asked.value if asked is not None else None
    option = option_store(settings)
    if option is not None and option[1] == "--pass-dir":
        return _pass_dir(settings, option[0], kind)
    if option is not None:
        return _Named(option[0], kind, option[1], explicit=True, named=True)
    variable = settings.vault
    if variable is not None:
        return _Named(variable.value, kind, variable.origin, explicit=True, named=True)
    config = settings.config
    noted = None
    if config.vault:
        noted = _Named(
            settings.expand(config.vault), config.backend, config.path, explicit=True, named=True
        )
    if asked is not None:
        if noted is not None and asked.value == (config.backend or _kind_there(settings, noted)):
            return noted._replace(kind=kind)
        return _usual(settings, asked.value, asked.origin, explicit=True)
    if noted is not None:
        return noted
    if config.backend:
        return _usual(settings, config.backend, config.path)
    if any(choice.exists for choice in at_default(settings)):
        return _Named(settings.default_vault, None, "default")
    old = settings.aws_vault_backend[0]
    if old is not None:
        return _usual(settings, old.value, old.origin)
    return _Named(settings.default_vault, "file", "default")


def _pass_dir(settings: Settings, store: str, kind: str | None) -> _Named:
    """Return what `--pass-dir` names: a pass or a passage store, as asked or as its marker says."""
    named = _Named(store, kind, "--pass-dir", explicit=True, named=True)
    if kind is not None:
        return named
    place = named._replace(store=os.path.abspath(store))
    there = [kind for kind in _MARKERS if _complete(settings, place, kind).exists]
    if len(there) > 1:
        return named  # which is then refused
    return named._replace(kind=there[0] if there else fallback_kind(settings))


def _usual(settings: Settings, kind: str, origin: str, *, explicit: bool = False) -> _Named:
    """Return the usual store of a kind."""
    store, variable = default_store(settings, kind)
    named = variable is not None
    return _Named(store, kind, variable or origin, explicit=explicit or named, named=named)


def _kind_there(settings: Settings, noted: _Named) -> str:
    """Return the kind of the vault that config.toml names without it; file if there is none."""
    place = noted._replace(store=os.path.abspath(noted.store))
    there = [kind for kind in SUFFIXES if _complete(settings, place, kind).exists]
    return there[0] if there else "file"


def at_default(settings: Settings) -> list[VaultChoice]:
    """Return what is, or would be, where a vault is looked for if nothing names one."""
    place = _Named(os.path.abspath(settings.default_vault), None, "default")
    return [_complete(settings, place, kind) for kind in ("file", "age")]


def marker_name(backend: str) -> str:
    """Return the path below the store of what marks a vault of a kind."""
    return _MARKERS.get(backend, ".filevault/vault.json")


def must_exist(choice: VaultChoice, state_home: str) -> None:
    """Raise unless the vault exists. Raises as `filevault.vault.lost_vault.raise_missing`."""
    if not choice.exists:
        from filevault.vault.lost_vault import raise_missing

        raise_missing(choice, state_home)
