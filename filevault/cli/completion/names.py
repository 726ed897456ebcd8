"""Names that complete a word: profiles, stored keys, keyslots, recipients.

Everything is read as it lies in files. Nothing is unlocked, pinned or remembered, and no question
is asked.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from filevault.backends import BACKENDS
from filevault.backends.definition import RECIPIENTS
from filevault.cli.completion import grammar
from filevault.config.aws_config import AwsConfig
from filevault.errors import FilevaultError
from filevault.system.files import Folder
from filevault.vault.choose import choose

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.config.settings import Settings
    from filevault.vault.choose import VaultChoice

_RECIPIENTS_LIMIT = 256 << 10  # bytes of a recipients file


def names(kind: str, settings: Settings) -> list[str]:
    """Return the names of one kind; what cannot be read has none. Raises FilevaultError."""
    if kind == grammar.BACKEND:
        return list(BACKENDS)
    if kind == grammar.PROFILE:
        return profile_names(settings)
    if kind == grammar.SESSION:
        config = _config(settings)
        return [*config.sso_session_names(), *config.profile_names()]
    read: dict[str, Callable[[VaultChoice], list[str]]] = {
        grammar.STORED: stored_names,
        grammar.KEYSLOT: _keyslots,
        grammar.RECIPIENT: _recipients,
    }
    return read[kind](choose(settings)) if kind in read else []


def profile_names(settings: Settings) -> list[str]:
    """Return the profiles of the AWS config, then the stored keys without a section there."""
    found: dict[str, None] = {}
    with contextlib.suppress(FilevaultError):
        found.update(dict.fromkeys(_config(settings).profile_names()))
    with contextlib.suppress(FilevaultError, FileNotFoundError):
        found.update(dict.fromkeys(stored_names(choose(settings))))
    return list(found)


def stored_names(choice: VaultChoice) -> list[str]:
    """Return the names of the items of a vault. Raises FileNotFoundError, StorageError."""
    from filevault.vault.item_store import ItemStore
    from filevault.vault.lookup import ItemLookup

    backend = choice.backend
    shared = backend.family == RECIPIENTS
    with Folder.open(choice.store) as store:
        items = ItemStore(store, backend.suffix, choice.prefix, literal=shared)
        return ItemLookup(items, shared=shared).keys(items.names())


def _config(settings: Settings) -> AwsConfig:
    return AwsConfig.load(settings.aws_config_path, settings.trusted_configs, settings.inputs)


def _keyslots(choice: VaultChoice) -> list[str]:
    if not choice.backend.has_keyslots:
        return []
    from filevault.backends.file import keyslots

    with Folder.open(choice.store) as store:
        return [slot.id for slot in keyslots.listing(store)]


def _recipients(choice: VaultChoice) -> list[str]:
    """Return the recipients of the items at the top, as the file that governs them has them."""
    if choice.backend.family != RECIPIENTS:
        return []
    with contextlib.ExitStack() as opened:
        folders = [opened.enter_context(Folder.open(choice.store))]
        with contextlib.suppress(FileNotFoundError):
            for part in choice.prefix:
                folders.append(opened.enter_context(folders[-1].child(part)))
        for folder in reversed(folders):
            with contextlib.suppress(FileNotFoundError):
                data = folder.read(choice.backend.marker, _RECIPIENTS_LIMIT)
                lines = data.decode("utf-8", "replace").splitlines()
                return [text for line in lines if (text := line.partition("#")[0].strip())]
    return []
