"""Which AWS account the key of an item belongs to, and whether that is the one that was known.

Anybody who can write a shared store can put in a key of an account of their own. A key id made
since 2019 tells its account. An older one tells none: it is compared as a whole, and its account
is what AWS told while that id was trusted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filevault.credentials import account_of
from filevault.errors import (
    AwsError,
    ConfigError,
    FilevaultError,
    NetworkError,
    PinError,
    ProviderError,
)
from filevault.system.printable import printable, shell_word

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.credentials import AccessKey
    from filevault.vault.seen import Seen

    Identify = Callable[[AccessKey], str]
    """Ask AWS for the account of a key; raises ProviderError, NetworkError, ConfigError."""

_ACCOUNT = r"[0-9]{12}\Z"


def checked_account(
    name: str, known: Seen | None, key: AccessKey, digest: str, identify: Identify | None
) -> str | None:
    """Return the account to remember with a key, None where it is not known.

    Args:
        name: the item.
        known: what was last seen of it, None if nothing.
        key: the key that is in it now.
        digest: of the files that it lies in.
        identify: asks AWS; None in a run that makes no calls.

    Raises:
        PinError: for another account, and for another key if nothing tells its account.
    """
    told = account_of(key.access_key_id)
    if known is None or is_same(known, key.access_key_id, digest):
        return told or (known.account if known is not None else None)
    if known.account is None:
        raise _unknown(name, key, "the account of the key before is not known")
    if told is None:
        told = _asked(name, key, identify)
    if told != known.account:
        raise PinError(
            f"the key of {printable(name)!r} belongs to another AWS account than before: "
            f"{printable(told, 40)} instead of {printable(known.account, 40)}",
            hint=_hint(name),
        )
    return told


def is_same(known: Seen, key_id: str, digest: str) -> bool:
    """Tell whether a key is the one that was seen; without its id the whole file must be."""
    return known.sha256 == digest if known.key_id is None else known.key_id == key_id


def is_account(text: str) -> bool:
    """Tell whether a text is an AWS account's number."""
    return re.match(_ACCOUNT, text) is not None


def _asked(name: str, key: AccessKey, identify: Identify | None) -> str:
    if identify is None:
        raise _unknown(name, key, "this run does not ask AWS")
    try:
        return identify(key)
    except (ProviderError, NetworkError, ConfigError) as error:
        reason = "AWS does not know it" if isinstance(error, AwsError) else "AWS did not tell it"
        raise _unknown(name, key, f"{reason}: {error.message}") from error


def _unknown(name: str, key: AccessKey, reason: str) -> FilevaultError:
    tells = (
        "its id does not tell its AWS account, and " if not account_of(key.access_key_id) else ""
    )
    return PinError(
        f"the key of {printable(name)!r} is another one than before, "
        f"{printable(key.access_key_id, 40)}: {tells}{reason}",
        hint=_hint(name),
    )


def _hint(name: str) -> str:
    return f"if that is meant, filevault recipients accept {shell_word(name)}"
