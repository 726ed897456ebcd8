"""`filevault recipients`: who can open the vault, changing that, and accepting what changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.backends import slots
from filevault.cli.slot import described
from filevault.errors import (
    FilevaultError,
    ItemNotFoundError,
    PartlyDoneError,
    StorageError,
    UsageError,
)
from filevault.printable import printable
from filevault.trust import difference
from filevault.vault.acceptance import accept, needs_acceptance

if TYPE_CHECKING:
    import argparse

    from filevault.cli.context import Context
    from filevault.trust import Pin
    from filevault.vault import Vault

DESCRIPTION = """Show who can open the vault, change that, or accept a vault that changed.

list             the vault's identity, its pin, and its keyslots or recipients
add R...         pass, age: encrypt to these recipients, too
remove R...      pass, age: no longer encrypt to these recipients
accept           take the vault's present identity, and every item as it is now, for good; with
                 PROFILE that item only"""

_ACTIONS = ("list", "add", "remove", "accept")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("action", choices=_ACTIONS, metavar="|".join(_ACTIONS))
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="recipients to add or remove; a profile to accept"
    )


def run(args: argparse.Namespace, context: Context) -> int:
    """Show, change or accept."""
    if args.action in ("add", "remove"):
        if not args.names:
            raise UsageError(
                f"recipients {args.action} needs a recipient", hint="filevault recipients --help"
            )
        if context.choice.backend == "file":
            raise UsageError(
                "a file vault has keyslots instead of recipients",
                hint="filevault recipients list shows them",
            )
        from filevault.cli.reencrypt import change

        return change(args, context)
    vault = context.open_unpinned()
    pin = context.pin()
    if args.action == "list":
        if args.names:
            raise UsageError("recipients list takes no further words")
        return _list(context, vault, pin)
    if vault.state is None:
        raise StorageError(
            "what is accepted could not be remembered: the state directory cannot be written",
            hint=f"give the pin instead: FILEVAULT_PIN={pin.digest}",
        )
    if args.names:
        for name in args.names:
            _accept_item(vault, name)
        return 0
    return _accept_all(context, vault, pin)


def _list(context: Context, vault: Vault, pin: Pin) -> int:
    known = vault.trust.pin
    state = "not yet known here"
    if known is not None:
        state = "known here" if known == pin else "NOT the one that is known here"
        if _rekey_interrupted(vault, pin):
            state = "a rekey was interrupted here: filevault rekey finishes it"
    print(f"vault: {printable(context.choice.root)}")
    print(f"backend: {pin.backend}")
    if pin.vault:
        print(f"id: {pin.vault}")
    print(f"pin: {pin.digest} ({state})")
    if pin.vault:
        _print_slots(context, vault)
    _print_recipients(pin)
    if known == pin and vault.shared and vault.trust.pending is not None:
        context.say("items may still be encrypted to former recipients: repeat the last change")
    return 0


def _rekey_interrupted(vault: Vault, pin: Pin) -> bool:
    """Tell whether a rekey of this machine made the vault what it is, and has more to do."""
    known = vault.trust.pin
    return bool(pin.vault) and known not in (None, pin) and vault.trust.pending == pin.digest


def _print_recipients(pin: Pin) -> None:
    for place, recipients in pin.recipients:
        for recipient in recipients:
            print(f"recipient: {printable(recipient)} ({printable(place)})")


def _print_slots(context: Context, vault: Vault) -> None:
    for slot in slots.listing(vault.folder):
        print(f"slot: {slot.id} ({described(slot, context, vault)})")


def _accept_item(vault: Vault, name: str) -> None:
    if not vault.has(name):
        raise ItemNotFoundError(f"the vault holds no key for {printable(name)!r}")
    _tell_accepted(name, *accept(vault, name))


def _tell_accepted(name: str, before: str | None, now: str | None) -> None:
    account = ""
    if now is not None and now != before:
        known = f", {printable(before)} before" if before is not None else ""
        account = f" (AWS account {printable(now)}{known})"
    print(f"Accepted the key of profile {printable(name)} as it is now{account}.")


def _accept_all(context: Context, vault: Vault, pin: Pin) -> int:
    known = vault.trust.pin
    if _rekey_interrupted(vault, pin):
        # What is pinned still tells which items were in the vault before.
        raise PartlyDoneError(
            "a rekey was interrupted here, so the vault's new key needs no acceptance",
            hint="filevault rekey does the rest of it",
        )
    what = f"the vault {pin.vault}" if pin.vault else f"the {pin.backend} vault"
    if known is None:
        _print_recipients(pin)
        print(f"Accepted {what}.")
    elif known == pin:
        print(f"{what[:1].upper()}{what[1:]} is the one that is known here.")
    elif known.backend == pin.backend and not pin.vault:
        for change in difference(known, pin):
            print(change)
        print("Accepted the recipients as they are now.")
    else:
        print(f"was: {printable(known.vault or known.backend)} (pin {known.digest})")
        print(f"is:  {pin.vault or pin.backend} (pin {pin.digest})")
        _print_recipients(pin)
        print("Accepted the vault that is there now.")
    vault.trust.set_pin(pin)
    if vault.trust.pending not in (None, pin.digest):
        vault.trust.set_pending(None)
    refused: FilevaultError | None = None
    for name in vault.names():
        # An entry of a shared store that no profile and no earlier use speaks of is not ours.
        ours = not vault.shared or vault.seen(name) or context.aws_config.profile(name)
        try:
            if ours and needs_acceptance(vault, name):
                _tell_accepted(name, *accept(vault, name))
        except FilevaultError as error:
            print(f"Not accepted: {error.message}.")
            refused = refused or error
    if refused is not None:
        raise refused
    return 0
