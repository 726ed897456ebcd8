"""Change which vault config.toml names; every other line stays."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

from filevault.errors import ConfigError
from filevault.system.config_files import edit_config
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filevault.system.config_files import EditRules

VAULT_KEYS = ("backend", "vault", "prefix")


def name_vault(path: str, values: Mapping[str, str], rules: EditRules) -> None:
    """Replace the keys that name the vault, atomically; those that are not given are removed.

    Raises ConfigError if the result does not read back as meant, StorageError.
    """
    edit_config(path, lambda old: _edited(old, values, path), rules)


def _edited(old: bytes, values: Mapping[str, str], path: str) -> bytes:
    wrong = ConfigError(f"{printable(path)!r} cannot be edited so that it names the new vault")
    # Values that TOML would have to escape are not written into a user's configuration.
    if not all(value.isprintable() and "'" not in value for value in values.values()):
        raise wrong
    added = [f"{key} = '{value}'\n" for key, value in values.items()]
    try:
        before = tomllib.loads(old.decode("utf-8"))
        lines = old.decode("utf-8").splitlines(keepends=True)
        table = next((i for i, line in enumerate(lines) if re.match(r"\s*\[", line)), len(lines))
        names = "|".join(VAULT_KEYS)
        top = [line for line in lines[:table] if not re.match(rf"\s*(?:{names})\s*=", line)]
        if top and not top[-1].endswith("\n"):
            top[-1] += "\n"
        new = "".join([*top, *added, *lines[table:]])
        after = tomllib.loads(new)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise wrong from error
    others = {key: value for key, value in before.items() if key not in VAULT_KEYS}
    if after != {**others, **values}:
        raise wrong
    return new.encode("utf-8")
