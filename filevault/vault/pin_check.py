"""Compare a vault and its recipients with the pin of this machine (`docs/format.md` §9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import PinError
from filevault.system.printable import printable
from filevault.vault.pin import difference

if TYPE_CHECKING:
    from filevault.vault.pin import Pin
    from filevault.vault.trust import Trust

_ACCEPT = "if that is meant, filevault recipients accept"


def check_pin(trust: Trust, actual: Pin, *, given: str | None, strict: bool) -> bool:
    """Compare a vault with the given pin, else with the local one, before it is read.

    Of a `pass` or `age` vault only the backend is compared: recipients do not matter to a reader,
    and `check_recipients` compares them before a write.

    Args:
        trust: with the local pin.
        actual: the identity that the vault has.
        given: the digest from `--pin` or `FILEVAULT_PIN`.
        strict: require a pin.

    Returns:
        True if nothing is pinned yet, so that the caller should pin the vault.

    Raises:
        PinError: if they differ, or if `strict` and there is no pin at all.
    """
    if given is not None:
        if actual.vault and given != actual.digest:
            raise PinError(
                "this is not the vault that the given pin stands for",
                hint="check that the vault was not replaced; filevault recipients list shows "
                "the pin of the one that is there",
            )
        return False
    local = trust.pin
    if local is None:
        if strict:
            raise PinError(
                "this vault has never been seen here, and --strict trusts nothing unseen",
                hint="give its pin with --pin or FILEVAULT_PIN, or filevault recipients accept",
            )
        return True
    if local.vault != actual.vault or local.backend != actual.backend:
        raise PinError(
            f"the vault was replaced by another one: {_described(local)} is known here, "
            f"{_described(actual)} is there now",
            hint=_ACCEPT,
        )
    # During a rekey by this machine both keys are accepted.
    if local.commit != actual.commit and trust.pending_pin != actual.digest:
        raise PinError(
            "the vault's master key is another one than this machine knows", hint=_ACCEPT
        )
    return False


def _described(pin: Pin) -> str:
    return f"{printable(pin.vault[:8])}..." if pin.vault else f"a {printable(pin.backend)} vault"


def check_recipients(trust: Trust, actual: Pin, *, given: str | None) -> None:
    """Compare the recipients with the given pin, else with the local one, before a write.

    Raises:
        PinError: if they differ; the message says what was added and removed.
    """
    if given is not None:
        if given != actual.digest:
            raise PinError(
                "the recipients are not the ones that the given pin stands for",
                hint="filevault recipients list shows them with their pin",
            )
        return
    local = trust.pin
    # After an interrupted change by this machine both states are accepted.
    if local is not None and actual.digest not in (local.digest, trust.pending_pin):
        changes = "; ".join(difference(local, actual)[:4])
        raise PinError(f"the vault's recipients have changed: {changes}", hint=_ACCEPT)
