"""What `filevault rekey` tells: who could read what, and what is to be looked after."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.backends.file import keyslots, vault_json
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filevault.cli.context import Context
    from filevault.vault.rekey import Content


def described(content: Content) -> str:
    """Return what is to be said of an item."""
    what = content.key_id or "a TOTP seed"
    return f"{printable(content.name)}  {printable(what)}, made {content.created}"


def report(context: Context, exposed: Sequence[Content], *, whole: bool = True) -> None:
    """Tell that the vault has a new key, and what the former one opened.

    `whole` says that every item is sealed under it.
    """
    every = "every item is" if whole else "every item that could be opened is"
    context.reporter.result(f"The vault has a new key, and {every} sealed under it.")
    if exposed:
        context.reporter.result("Whoever knew the former key could read:")
    for content in exposed:
        context.reporter.result(f"  {described(content)}")
    if exposed:
        context.reporter.say(
            "copies and the history keep what they held: make new keys at AWS for those above, "
            "if somebody must not have them"
        )
    if context.settings.pin is not None:
        context.reporter.say("the pin is another one now: change it wherever FILEVAULT_PIN is set")
    _tell_weak(context)


def _tell_weak(context: Context) -> None:
    """Name the keyslots that got the low costs of those whose place they take."""
    vault = context.vault
    present = vault_json.read(vault.folder).master
    own = [slot for slot in keyslots.listing(vault.folder) if slot.master == present]
    for slot in keyslots.weaker(own, context.kdf_policy.default):
        context.reporter.say(
            f"keyslot {slot.id} is weaker than new ones, as was the one before it: filevault "
            "passphrase makes a new one, if you like for the same passphrase"
        )
