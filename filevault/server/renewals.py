"""Renewals: keep served credentials fresh, one renewal of each at a time, and never wait."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from filevault.server.renewing_process import RELOADED, Order
from filevault.server.served_credentials import ServedCredentials
from filevault.system.times import format_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.server.event_loop import EventLoop
    from filevault.server.renewing_process import Outcome, RenewingProcess

_NEVER = 3600.0  # seconds
GONE = "the process that renews credentials has ended"


class Renewals:
    """The credentials of a server, by number, and the process that obtains them.

    Args:
        process: obtains them.
        clock: Unix seconds.
        warn: prints a warning.
    """

    def __init__(
        self,
        process: RenewingProcess,
        clock: Callable[[], float],
        warn: Callable[[str], None],
    ) -> None:
        self._process = process
        self._clock = clock
        self._warn = warn
        self._served: list[ServedCredentials] = []
        self._orders: list[Order] = []
        self._is_gone = False
        self.on_change: list[Callable[[ServedCredentials], None]] = []
        """Called when credentials were obtained, or could not be."""

    def add(
        self, served: ServedCredentials, profile: int, role: str | None = None
    ) -> ServedCredentials:
        """Keep credentials fresh from now on; `profile` and `role` as in `Order`."""
        self._orders.append(Order(len(self._served), profile, role))
        self._served.append(served)
        return served

    def replace(
        self, former: ServedCredentials, served: ServedCredentials, profile: int, role: str
    ) -> None:
        """Keep other credentials fresh in place of some that are not being renewed."""
        number = self._served.index(former)
        self._served[number] = served
        self._orders[number] = Order(number, profile, role)

    def first(self, served: ServedCredentials) -> Outcome | None:
        """Obtain credentials, if need be with the help of a person, and wait for them.

        Call this before `run_in`. Returns None if the process is gone.
        """
        number = self._served.index(served)
        served.begin(self._clock())
        with contextlib.suppress(OSError):  # then nothing is received either
            self._process.order(self._orders[number]._replace(attended=True))
        outcome = self._process.receive()
        if outcome is not None:
            self._take(outcome)
        return outcome

    def run_in(self, loop: EventLoop) -> None:
        """Renew when it is time, from now on; no person is asked any more."""
        with contextlib.suppress(OSError):
            self._process.detach()
        loop.watch(self._process.fileno(), lambda _events: self._receive(loop))
        loop.add_timer(self._renew)

    def reload(self) -> None:
        """Plan again, and renew everything by the new plans."""
        with contextlib.suppress(OSError):  # it is gone, which `_receive` notices
            self._process.reload()

    @property
    def is_gone(self) -> bool:
        """Whether the process that renews has ended."""
        return self._is_gone

    def is_healthy(self) -> bool:
        """Return whether there are good credentials wherever they are renewed ahead."""
        now = self._clock()
        return all(each.on_demand or each.is_good(now) for each in self._served)

    def ask(self, served: ServedCredentials) -> bool:
        """Note that a client asks for credentials; return whether they are good."""
        now = self._clock()
        served.ask()
        due = served.next_renewal()
        if due is not None and due <= now:
            self._begin(served, now)
        return served.is_good(now)

    def _renew(self) -> float:
        """Begin the renewals that are due; return the seconds until the next one."""
        now = self._clock()
        wait = _NEVER
        for served in self._served:
            due = served.next_renewal()
            if due is not None and due <= now:
                self._begin(served, now)
                due = served.next_renewal()
            if due is not None:
                wait = min(wait, due - now)
        return wait

    def _begin(self, served: ServedCredentials, now: float) -> None:
        if self._is_gone:
            served.fail(GONE, now)
            return
        number = self._served.index(served)
        order = self._orders[number]._replace(min_ttl=served.begin(now))
        try:
            self._process.order(order)
        except OSError:  # too many orders at once, or the process is gone
            served.fail("too many renewals at once", now)

    def _receive(self, loop: EventLoop) -> None:
        outcome = self._process.receive()
        if outcome is not None:
            self._take(outcome)
            return
        loop.unwatch(self._process.fileno())
        self._is_gone = True
        self._warn(f"{GONE}: what is served now is not renewed any more")
        for served in self._served:
            served.fail(GONE, self._clock())
            self._changed(served)

    def _reloaded(self, failure: str | None) -> None:
        if failure is not None:
            self._warn(f"the configuration is not used: {failure}")
            return
        for served in self._served:
            served.renew_now()

    def _take(self, outcome: Outcome) -> None:
        if outcome.served == RELOADED:
            self._reloaded(outcome.failure)
            return
        served = self._served[outcome.served]
        now = self._clock()
        if outcome.credentials is not None:
            had_failed = served.failure is not None and served.credentials is not None
            served.succeed(outcome.credentials, outcome.account_id, now)
            served.region = outcome.region
            if had_failed:
                self._warn(f"the credentials of {served.name} are renewed again")
        else:
            was_good = served.is_good(now)
            failure = outcome.failure or "no credentials were obtained"
            if served.fail(failure, now) and served.credentials is not None:
                self._report(served, failure, outcome.hint, was_good=was_good)
        self._changed(served)

    def _report(
        self, served: ServedCredentials, failure: str, hint: str | None, *, was_good: bool
    ) -> None:
        until = f"those served now end at {format_time(served.expiry)}"
        state = until if was_good else "none are served any more"
        advice = f" ({hint})" if hint else ""
        self._warn(f"the credentials of {served.name} are not renewed; {state}: {failure}{advice}")

    def _changed(self, served: ServedCredentials) -> None:
        for callback in self.on_change:
            callback(served)
