"""Compare a vault and its recipients with the pin (`docs/format.md` §9).

The vault is compared when it is opened, its recipients before a write.
"""

from __future__ import annotations

from filevault import errors
from filevault.errors import FilevaultError, StorageError, TamperedError
from filevault.system.printable import printable
from filevault.vault.pin import accept_hint, difference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from filevault.vault.pin import Pin
    from filevault.vault.trust import Trust


class PinPolicy:
    """The rules of a vault's pin; the first use of a vault pins it.

    Args:
        root: the path of the vault, for messages.
        trust: the vault's `trust.json`.
        writable: whether it can be written.
        given: the digest of `--pin`, which replaces the local pin.
        strict: refuse a vault that was never pinned here.
        identity: returns the vault's present identity; reads its recipients files.
        before_pinning: called before a vault is pinned for the first time.
        say: called with a message for each recipient that is trusted from now on.
        notice: called with messages that are shown only to a person at a terminal.
    """

    def __init__(
        self,
        root: str,
        trust: Trust,
        *,
        writable: bool,
        given: str | None,
        strict: bool,
        identity: Callable[[], Pin],
        before_pinning: Callable[[], None],
        say: Callable[[str], None],
        notice: Callable[[str], None],
    ) -> None:
        self._root = root
        self._trust = trust
        self._writable = writable
        self._given = given
        self._strict = strict
        self._identity = identity
        self._before_pinning = before_pinning
        self._say = say
        self._notice = notice

    def check_opened(self, seen: Pin) -> None:
        """Compare a vault that was opened; pin it if this is its first use.

        `seen` is its identity as far as a reader needs it: without recipients. Raises PinError.
        """
        if not check_pin(self._trust, seen, given=self._given, strict=self._strict):
            return
        try:
            self.pin_first_use()
        except FilevaultError as error:
            # Reading needs no pin, and before a write this is tried again.
            self._notice(f"the vault's identity is not remembered: {error.message}")

    def check_recipients(self, forget: Callable[[], None]) -> None:
        """Refuse to encrypt to recipients that differ from the pin; call it under the lock.

        `forget` makes `identity` read the recipients files again.

        Raises:
            PinError: if they differ; the message says what was added and removed.
            TamperedError: if a recipients file is not signed as it must be.
            StorageError: if nothing is pinned and the pin cannot be stored.
        """
        if self._given is None and not self._writable:
            raise StorageError(
                "a shared vault is only written where its recipients can be remembered, and the "
                "state directory cannot be written",
                hint="give the pin that filevault recipients list shows: FILEVAULT_PIN",
            )
        forget()
        self._trust.reload()
        try:
            check_recipients(self._trust, self._identity(), given=self._given)
        except TamperedError as error:
            if not self._trust.pending_files:
                raise
            raise TamperedError(
                error.message,
                hint="a change of the recipients was interrupted here: run the same recipients "
                "add or remove again; if that does not help, find out who changed the recipients "
                "file",
            ) from error
        if self._trust.pin is None and self._given is None:
            self.pin_first_use()

    def pin_first_use(self) -> None:
        """Pin the vault's present identity, and say which recipients are trusted thereby."""
        pin = self._identity()
        self._before_pinning()
        self._trust.set_pin(pin)
        for path, recipients in pin.recipients:
            names = ", ".join(printable(each) for each in recipients)
            self._say(f"recipients of {printable(path)}, trusted from now on: {names}")
        self._notice(f"the vault at {printable(self._root)} is known here from now on")

    def pinned_recipients(self, prefix: Sequence[str]) -> tuple[str, ...]:
        """Return the pinned recipients of the items at the prefix, none if nothing is pinned."""
        pin = self._trust.pin
        if self._given is not None:
            present = self._identity()
            pin = present if present.digest == self._given else None
        path = pin.root_path(prefix) if pin is not None else None
        return dict(pin.recipients)[path] if pin is not None and path is not None else ()


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
            raise errors.PinError(
                "this is not the vault that the given pin stands for",
                hint="check that the vault was not replaced; filevault recipients list shows "
                "the pin of the one that is there",
            )
        return False
    local = trust.pin
    if local is None:
        if strict:
            raise errors.PinError(
                "this vault has never been seen here, and --strict trusts nothing unseen",
                hint="give its pin with --pin or FILEVAULT_PIN, or run filevault recipients accept",
            )
        return True
    if local.vault != actual.vault or local.backend != actual.backend:
        raise errors.PinError(
            f"the vault was replaced by another one: {_described(local)} is known here, "
            f"{_described(actual)} is there now",
            hint=accept_hint(),
        )
    # During a rekey by this machine both keys are accepted.
    if local.commitment != actual.commitment and trust.pending_pin != actual.digest:
        raise errors.PinError(
            "the vault's master key is another one than this machine knows", hint=accept_hint()
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
            raise errors.PinError(
                "the recipients are not the ones that the given pin stands for",
                hint="filevault recipients list shows them with their pin",
            )
        return
    local = trust.pin
    # After an interrupted change by this machine both states are accepted.
    if local is not None and actual.digest not in (local.digest, trust.pending_pin):
        changes = "; ".join(difference(local, actual)[:4])
        raise errors.PinError(f"the vault's recipients have changed: {changes}", hint=accept_hint())
