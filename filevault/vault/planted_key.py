"""Refuse a stored key that another user may have planted in a shared store.

A stored key takes precedence over every other source of a profile, so an attacker who can write the
store could move a profile to a key of another account.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import PinError
from filevault.system.printable import printable, shell_word

if TYPE_CHECKING:
    from filevault.config.profile import Profile
    from filevault.vault.vault import Vault


def refuse_planted_key(vault: Vault | None, profile: Profile) -> None:
    """Raise PinError if a key new to this machine would replace a profile's other source.

    The key is the one at the end of the profile's chain. `vault` is None if there is none.
    """
    profile = profile.chain[0]
    if vault is None or vault.is_sealed or profile.source != "stored" or not profile.shadowed:
        return
    if not vault.has_seen(profile.name):
        raise PinError(
            f"a key for {printable(profile.name)!r} has appeared in the store, and the AWS config "
            "has another source for that profile",
            hint="if the key is intended, run filevault recipients accept "
            f"{shell_word(profile.name)}",
        )
