"""Names that complete a word: profiles, stored keys, keyslots, recipients, values of the config.

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
_PREFIX_DEPTH = 3
_PREFIX_LIMIT = 1000  # folders
_SETTINGS = (grammar.MFA_SERIAL, grammar.ROLE_ARN, grammar.SSO_ACCOUNT, grammar.SSO_ROLE)


def names(kind: str, settings: Settings) -> list[str]:
    """Return the names of one kind; what cannot be read has none. Raises FilevaultError."""
    if kind in (grammar.BACKEND, grammar.VAULT):
        return list(BACKENDS)
    if kind == grammar.REGION:
        return _regions(settings)
    if kind in _SETTINGS:
        return _config(settings).values_of(kind)
    if kind == grammar.PROFILE:
        return profile_names(settings)
    if kind == grammar.SESSION:
        config = _config(settings)
        return [*config.sso_session_names(), *_with_source(config, ("sso",), first=True)]
    if kind in (grammar.UNUSED, grammar.SIGN_IN):
        return _without_key(kind, settings)
    read: dict[str, Callable[[VaultChoice], list[str]]] = {
        grammar.STORED: stored_names,
        grammar.CLEARABLE: lambda choice: _clearable(choice, settings),
        grammar.KEYSLOT: _keyslots,
        grammar.RECIPIENT: _recipients,
        grammar.PREFIX: _prefixes,
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


def _without_key(kind: str, settings: Settings) -> list[str]:
    """Return the profiles of the config that have no stored key; for `signin`, no source at all."""
    config = _config(settings)
    stored: frozenset[str] = frozenset()
    with contextlib.suppress(FilevaultError, FileNotFoundError):
        stored = frozenset(stored_names(choose(settings)))
    if kind == grammar.SIGN_IN:
        return _with_source(config, ("login-session", "none"), stored)
    return [name for name in config.profile_names() if name not in stored]


def _with_source(
    config: AwsConfig,
    sources: tuple[str, ...],
    stored: frozenset[str] = frozenset(),
    *,
    first: bool = False,
) -> list[str]:
    """Return the profiles without a role that have one of the sources.

    With `first`, also those with a role whose chain begins there.
    """
    from filevault.config.overrides import Overrides
    from filevault.config.profile import resolve

    found = []
    for name in config.profile_names():
        with contextlib.suppress(FilevaultError):  # no command can use it
            chain = resolve(config, name, overrides=Overrides(), has_item=stored.__contains__).chain
            profile = chain[0] if first else chain[-1]
            if profile.source in sources and (first or profile.role_arn is None):
                found.append(name)
    return found


def _clearable(choice: VaultChoice, settings: Settings) -> list[str]:
    """Return the profiles that have a cached session, or the sign-in of which is kept."""
    from filevault.sessions.session_file import FOLDER
    from filevault.vault.names import decode_session_owner

    found: list[str | None] = []
    with Folder.open(f"{settings.state_home}/{choice.state_id}") as state:
        with contextlib.suppress(FileNotFoundError), state.child(FOLDER) as sessions:
            for owner in sessions.listing()[1]:
                with sessions.child(owner) as folder:
                    if folder.entries():
                        found.append(decode_session_owner(owner))
        for kind, source in (("login", "login-session"), ("sso", "sso")):
            with contextlib.suppress(FileNotFoundError), state.child(kind) as folder:
                if folder.entries():
                    found += _with_source(_config(settings), (source,))
    return [name for name in dict.fromkeys(found) if name is not None]


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


def _regions(settings: Settings) -> list[str]:
    """Return the regions that the config names, then the others of AWS."""
    from filevault.cli.completion.regions import REGIONS
    from filevault.partitions import is_region

    found: dict[str, None] = {}
    with contextlib.suppress(FilevaultError):
        config = _config(settings)
        found.update(dict.fromkeys(filter(is_region, config.values_of("region"))))
    found.update(dict.fromkeys(REGIONS))
    return list(found)


def _prefixes(choice: VaultChoice) -> list[str]:
    """Return folders of a shared store in which items may lie."""
    if choice.backend.family != RECIPIENTS:
        return []
    found: list[str] = []

    def walk(folder: Folder, above: str, depth: int) -> None:
        for entry in folder.entries():
            if len(found) >= _PREFIX_LIMIT or entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                found.append(above + entry.name)
                if depth < _PREFIX_DEPTH:
                    # One that cannot be opened is offered without those in it.
                    with (
                        contextlib.suppress(FileNotFoundError, FilevaultError),
                        folder.child(entry.name) as inner,
                    ):
                        walk(inner, f"{above}{entry.name}/", depth + 1)

    with Folder.open(choice.store) as store:
        walk(store, "", 1)
    return found


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
