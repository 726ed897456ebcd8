"""Compare a vault with what this machine pinned: when it is opened, and before it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import FilevaultError, StorageError, TamperedError
from filevault.system.printable import printable
from filevault.vault.trust import check_pin, check_recipients

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from filevault.vault.pin import Pin
    from filevault.vault.trust import Trust


class PinPolicy:
    """The rules of a vault's pin; the first use of a vault pins it.

    Args:
        root: the path of the vault, for messages.
        trust: what this machine remembers of the vault.
        writable: whether more can be remembered.
        given: the digest of `--pin`, which replaces the local pin.
        strict: refuse a vault that was never pinned here.
        identity: returns the vault's present identity; reads its recipients files.
        before_pinning: called before a vault is pinned for the first time.
        say: called with a message for each recipient that is trusted from now on.
        notice: called with messages that matter to a person only.
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
            StorageError: if nothing is pinned, and nothing can be.
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
            if not self._trust.writing:
                raise
            raise TamperedError(
                error.message,
                hint="a change of the recipients was interrupted here: run the same recipients "
                "add or remove again; if that does not help, find out who changed it",
            ) from error
        if self._trust.pin is None and self._given is None:
            self.pin_first_use()

    def pin_first_use(self) -> None:
        """Pin the vault's present identity, and say which recipients are trusted with that."""
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
        path = pin.root_place(prefix) if pin is not None else None
        return dict(pin.recipients)[path] if pin is not None and path is not None else ()
