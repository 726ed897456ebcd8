"""The content of an item of AWS Vault, whatever store it is in: its name and its key."""

from __future__ import annotations

import json

from filevault.errors import DamagedError, IntegrityError, UsageError
from filevault.exchange.found_keys import FoundKey, LeftOut
from filevault.system.strict_json import is_too_deep
from filevault.vault.foreign_formats import is_aws_vault_session, read_foreign
from filevault.vault.item import check_access_key

SESSION = "a session of AWS Vault, which is no key"


def name_inside(text: bytes) -> str | None:
    """Return the name that an item of AWS Vault contains, None for any other text."""
    if not text.lstrip().startswith(b"{"):
        return None
    try:
        whole = text.decode("utf-8")
        value = None if is_too_deep(whole) else json.loads(whole)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not isinstance(value.get("Data"), str):
        return None
    name = value.get("Key")
    return name if isinstance(name, str) else None


def read_item(text: bytes, stored_name: str, place: str) -> FoundKey | LeftOut:
    """Return the key of an item, or the reason why it is left out.

    `stored_name` is the name by which the store has it, which AWS Vault does not authenticate; the
    one inside counts.
    """
    what = f"item {stored_name!r} of AWS Vault"
    name = name_inside(text)
    if name is None:
        return LeftOut(stored_name, place, "it is no item of AWS Vault", failed=True)
    if is_aws_vault_session(name):
        return LeftOut(name, place, SESSION)
    try:
        found = read_foreign(text, what)
        if found is None:
            raise DamagedError("it has no access key")
        if found.temporary:
            return LeftOut(name, place, "temporary credentials, which expire by themselves")
        check_access_key(found.key)
    except (IntegrityError, UsageError) as error:
        return LeftOut(name, place, error.message, failed=True)
    note = "" if name == stored_name else f"its file is named {stored_name!r}"
    return FoundKey(name, found.key, place, found.mfa_serial, note=note)
