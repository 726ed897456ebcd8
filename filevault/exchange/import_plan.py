"""What an import will do with each key that was found: decided before anything is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import FilevaultError, PinError, UsageError
from filevault.exchange.found_keys import Contents, FoundKey
from filevault.system.printable import printable
from filevault.system.record import Record
from filevault.vault.item import is_in_rotation, parse
from filevault.vault.names import encode_name

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from filevault.vault.vault import Vault

IMPORT, REPLACE, PRESENT, SAME, SKIP = "import", "replace", "present", "same", "skip"
_SUFFIX = ".suffix"  # for a check of the name alone; as long as the longest one


class PlannedKey(Record):
    """A key with the name that it gets, and what is done with it.

    `action` is one of `import`, `replace` (the item of that name has another key), `present`
    (it has this key already), `same` (the key of that name stands above) and `skip`, with the
    `reason`. `digest` is that of the item which
    is replaced.
    """

    found: FoundKey
    name: str
    action: str
    reason: str = ""
    digest: str | None = None

    @property
    def is_written(self) -> bool:
        """Whether an item will be written."""
        return self.action in (IMPORT, REPLACE)


class ImportWishes(Record):
    """What the user wants: other names by the names found, and whether to replace keys."""

    names: Mapping[str, str]
    only: Collection[str] = ()
    force: bool = False


def plan_import(
    contents: Contents,
    vault: Vault | None,
    wishes: ImportWishes,
    hidden_by: Callable[[str], str | None],
) -> list[PlannedKey]:
    """Return what to do with each key, in the order of the source.

    Args:
        contents: of the source.
        vault: the vault; None if there is none yet.
        wishes: of the user.
        hidden_by: returns the source profile that a key of this profile would hide, or None.

    Raises UsageError for a wish about a key that was not found. May ask for what unlocks the
    vault.
    """
    _check_wishes(contents, wishes)
    planned: list[PlannedKey] = []
    taken: dict[str, PlannedKey] = {}
    for found in contents.keys:
        if wishes.only and found.name not in wishes.only:
            continue
        name = wishes.names.get(found.name, found.name)
        first = taken.get(name)
        if first is not None and first.found.key == found.key:
            action = SKIP if first.action == SKIP else SAME
            planned.append(first._replace(found=found, action=action))
            continue
        row = _planned(found, name, vault, wishes, hidden_by)
        if first is not None and row.action != SKIP:
            row = row._replace(action=SKIP, reason="another key of that name stands above")
        planned.append(row)
        taken.setdefault(name, row)
    return planned


def _check_wishes(contents: Contents, wishes: ImportWishes) -> None:
    known = {found.name for found in contents.keys}
    for wanted, option in ((wishes.names, "--rename"), (wishes.only, "--only")):
        for name in wanted:
            if name not in known:
                raise UsageError(
                    f"{option} names {printable(name)!r}, and the source has no key of that name",
                    hint="filevault import --dry-run shows the names of the keys",
                )


def _planned(
    found: FoundKey,
    name: str,
    vault: Vault | None,
    wishes: ImportWishes,
    hidden_by: Callable[[str], str | None],
) -> PlannedKey:
    row = PlannedKey(found, name, IMPORT)
    if not name:
        return row._replace(action=SKIP, reason="no name is known for it: give --name PROFILE")
    try:
        encode_name(name, _SUFFIX)
    except UsageError as error:
        return row._replace(action=SKIP, reason=error.message)
    if name.startswith("mfa/"):
        reason = "names that begin with mfa/ are reserved for TOTP seeds"
        return row._replace(action=SKIP, reason=reason)
    if found.text is not None and is_in_rotation(found.text):
        return row._replace(action=SKIP, reason="its rotation there is not finished")
    source = hidden_by(name)
    if source is not None:
        reason = f"the profile takes its credentials from source_profile {printable(source)}"
        return row._replace(action=SKIP, reason=reason)
    if vault is None or not vault.has(name):
        return row
    return _compared(row, vault, wishes)


def _compared(row: PlannedKey, vault: Vault, wishes: ImportWishes) -> PlannedKey:
    """Return what to do where the vault has an item of the name."""
    name = row.name
    reason = "the vault has another key of that name: --force replaces it, --rename keeps both"
    try:
        digest, text = vault.open_item(name)
        item = parse(text, f"item {printable(name)!r}")
        if item.key == row.found.key:
            vault.check_item(name, item, digest)
            return row._replace(action=PRESENT, reason="the vault has this key already")
    except PinError as error:
        reason = error.message  # a key of the source is as good as one that is typed
    except FilevaultError as error:
        if vault.is_open:
            return row._replace(action=SKIP, reason=error.message)
        raise
    if not wishes.force:
        return row._replace(action=SKIP, reason=reason)
    return row._replace(action=REPLACE, digest=digest)
