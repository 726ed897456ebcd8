"""Which vault is meant, and where its local state lies.

The vault's own marker says what it is; options and variables say where it is. A store is never
chosen because it happens to exist.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from filevault.backends import SUFFIXES, marker
from filevault.digest import sha256_hex
from filevault.errors import NoVaultError, PinError, VaultChoiceError
from filevault.files import Folder
from filevault.printable import printable
from filevault.trust import Trust
from filevault.values import Value
from filevault.vault.store import Store

if TYPE_CHECKING:
    from filevault.settings import Settings

# The markers of stores that other tools share; a root with two markers is no clear choice.
_FOREIGN_MARKERS = {".gpg-id": "pass", ".age-recipients": "age"}


class VaultChoice(Value):
    """The vault that is meant. `exists` says that its marker is there; `origin` who chose it."""

    root: str
    backend: str
    origin: str
    explicit: bool
    exists: bool

    @property
    def real_root(self) -> str:
        """The root with links resolved: what identifies the vault on this machine."""
        return os.path.realpath(self.root)

    @property
    def state_id(self) -> str:
        """The name of the vault's state directory (`docs/format.md` §1)."""
        return sha256_hex(os.fsencode(self.real_root))[:32]


def choose(settings: Settings) -> VaultChoice:
    """Return the vault that options, variables, config.toml and defaults point to.

    Raises:
        VaultChoiceError: for two markers, or a folder that is clearly something else.
        UsageError, ConfigError: for settings that mean nothing.
    """
    root, origin, explicit = _root(settings)
    root = os.path.abspath(root)
    markers = _markers(root)
    shown = printable(root)
    if len(markers) > 1:
        raise VaultChoiceError(
            f"{shown!r} has the markers of two kinds of store: {' and '.join(sorted(markers))}",
            hint="keep each store in a folder of its own",
        )
    if markers and "file" not in markers:
        raise VaultChoiceError(
            f"{shown!r} is a {markers[0]} store, which this version does not read",
            hint="choose another folder with --vault",
        )
    return VaultChoice(root, "file", origin, explicit, exists=bool(markers))


def _root(settings: Settings) -> tuple[str, str, bool]:
    chosen = settings.vault
    if chosen is not None:
        return chosen.value, chosen.origin, chosen.explicit
    config = settings.config
    backend = settings.backend
    if backend is not None:
        if config.vault and (config.backend or "file") == backend.value:
            return settings.expand(config.vault), config.path, True
        return settings.default_vault, backend.origin, True
    if config.vault:
        return settings.expand(config.vault), config.path, False
    return settings.default_vault, "default", False


def _markers(root: str) -> list[str]:
    try:
        with Folder.open(root) as folder:
            found = [name for file, name in _FOREIGN_MARKERS.items() if folder.is_file(file)]
            return (["file"] if marker.exists(folder) else []) + found
    except FileNotFoundError:
        return []


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
        raise PinError(
            f"the vault at {shown!r} has lost its marker .filevault/vault.json",
            hint="restore .filevault from a copy or from the repository's history; for a new "
            "vault, move everything away and run filevault init",
        )
    if choice.explicit and os.path.isdir(choice.root) and os.listdir(choice.root):
        raise VaultChoiceError(
            f"{shown!r}, chosen by {printable(choice.origin)}, is not a vault",
            hint="check the path, or make a vault there: filevault init",
        )
    raise NoVaultError(f"there is no vault at {shown!r} yet", hint="filevault init")


def lost(choice: VaultChoice, state_home: str) -> bool:
    """Tell whether items are there without a marker, or a pin of a vault that is gone."""
    return has_items(choice) or pinned(choice, state_home)


def has_items(choice: VaultChoice) -> bool:
    """Tell whether item files lie at the root."""
    try:
        with Folder.open(choice.root) as folder:
            return bool(Store(folder, SUFFIXES[choice.backend]).names())
    except FileNotFoundError:
        return False


def pinned(choice: VaultChoice, state_home: str) -> bool:
    """Tell whether this machine remembers a vault at the root."""
    try:
        with Folder.open(f"{state_home}/{choice.state_id}") as state:
            return Trust(state).pin is not None
    except FileNotFoundError:
        return False
