"""`filevault recipients`: what can open the vault, and accepting one that changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.backends import marker, slots
from filevault.errors import FilevaultError, ItemNotFoundError, StorageError, UsageError
from filevault.printable import printable
from filevault.trust import Pin

if TYPE_CHECKING:
    import argparse

    from filevault.cli.context import Context
    from filevault.vault import Vault

DESCRIPTION = """Show what can open the vault, or accept a vault that changed.

list      the vault's identity, its pin, and its keyslots
accept    take the vault's present identity, and every item as it is now, for good; with PROFILE
          that item only"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("action", choices=("list", "accept"), metavar="list|accept")
    parser.add_argument("profile", nargs="?", metavar="PROFILE", help="accept: this item only")


def run(args: argparse.Namespace, context: Context) -> int:
    """Show or accept."""
    vault = context.open_unpinned()
    identity = marker.read(vault.root)
    pin = Pin(context.choice.backend, identity.vault, identity.commit)
    if args.action == "list":
        if args.profile is not None:
            raise UsageError("recipients list takes no profile")
        return _list(context, vault, identity, pin)
    if vault.state is None:
        raise StorageError(
            "what is accepted could not be remembered: the state directory cannot be written",
            hint=f"give the pin instead: FILEVAULT_PIN={pin.digest}",
        )
    if args.profile is not None:
        return _accept_item(vault, args.profile)
    return _accept_all(vault, pin)


def _list(context: Context, vault: Vault, identity: marker.Marker, pin: Pin) -> int:
    known = vault.trust.pin
    state = "not yet known here"
    if known is not None:
        state = "known here" if known == pin else "NOT the one that is known here"
    print(f"vault: {printable(context.choice.root)}")
    print(f"backend: {pin.backend}")
    print(f"id: {pin.vault}")
    print(f"pin: {pin.digest} ({state})")
    for slot in slots.listing(vault.root):
        what = f"{slot.type}, made {slot.created}"
        if slot.parameters is not None:
            costs = slot.parameters
            what += f", {costs.memory_kib} KiB, {costs.iterations} passes, {costs.lanes} lanes"
        if slot.master != identity.master:
            what += ", of a former master key"
        label = f", {printable(slot.label)!r}" if slot.label else ""
        print(f"slot: {slot.id} ({what}{label})")
    return 0


def _accept_item(vault: Vault, name: str) -> int:
    if not vault.has(name):
        raise ItemNotFoundError(f"the vault holds no key for {printable(name)!r}")
    vault.accept(name)
    print(f"Accepted the key of profile {printable(name)} as it is now.")
    return 0


def _accept_all(vault: Vault, pin: Pin) -> int:
    known = vault.trust.pin
    if known is None:
        print(f"Accepted the vault {pin.vault}.")
    elif known == pin:
        print(f"The vault {pin.vault} is the one that is known here.")
    else:
        print(f"was: {printable(known.vault)} (pin {known.digest})")
        print(f"is:  {pin.vault} (pin {pin.digest})")
        print("Accepted the vault that is there now.")
    vault.trust.set_pin(pin)
    refused: FilevaultError | None = None
    for name in vault.names():
        try:
            if vault.rolled_back(name):
                vault.accept(name)
                print(f"Accepted the key of profile {printable(name)} as it is now.")
        except FilevaultError as error:
            print(f"Not accepted: {error.message}.")
            refused = refused or error
    if refused is not None:
        raise refused
    return 0
