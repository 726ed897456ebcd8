"""ServedCredentials: credentials that clients get, and when they are renewed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.system.record import Record

if TYPE_CHECKING:
    from filevault.credentials import Credentials

ADVISORY = 15 * 60
"""The seconds before the expiry in which SDKs begin to ask again."""
_MANDATORY = 10 * 60
_LEAST = 10  # seconds of life with which credentials are still served
_LEAST_PAUSE = 60.0  # seconds from one renewal to the next
_FIRST_PAUSE = {False: 60.0, True: 5.0}
_LONGEST_PAUSE = {False: 300.0, True: 60.0}


class Windows(Record):
    """The seconds before the expiry in which credentials are renewed.

    SDKs have the same two windows. In the `advisory` one a renewal begins, in the `mandatory` one
    it is urgent. Short sessions are not renewed all the time: the windows are at most a half and
    a third of a session's life.
    """

    advisory: float
    mandatory: float


def windows_of(life: float, longest: float = ADVISORY, least: float = 0.0) -> Windows:
    """Return the windows of a session that lives for some seconds.

    `longest` is the advisory window where the life is long enough for it, `least` what it is even
    for a short life, up to three quarters of that.
    """
    advisory = max(min(longest, life / 2), min(least, life * 3 / 4))
    return Windows(advisory, min(_MANDATORY, life / 3, advisory))


class ServedCredentials:
    """The credentials of one path, or none yet.

    Args:
        name: of the profile or role, for messages.
        life: the seconds that a new session is planned to live.
        on_demand: obtain them only when a client asks, and renew them only if a client has asked
            since they were obtained. Otherwise they are always renewed ahead.
        longest: the longest advisory window in seconds.
        least: the seconds of life that clients rely on.
    """

    def __init__(
        self,
        name: str,
        life: int,
        *,
        on_demand: bool = False,
        longest: float = ADVISORY,
        least: float = 0.0,
    ) -> None:
        self.name = name
        self.on_demand = on_demand
        self.credentials: Credentials | None = None
        self.account_id: str | None = None
        self.region: str | None = None
        """The region of the plan by which they were obtained."""
        self.failure: str | None = None
        """Why the last attempt failed, None if it did not."""
        self.is_renewing = False
        self.obtained = 0.0
        """When they were obtained, in Unix seconds."""
        self._life = life
        self._longest = longest
        self._least = least
        self._expiry = 0.0
        self._windows = windows_of(life, longest, least)
        self._asked = not on_demand
        self._failures = 0
        self._not_before = 0.0
        self._is_outdated = False

    def is_good(self, now: float) -> bool:
        """Return whether there are credentials that have not expired."""
        return now < self._expiry - _LEAST

    def ask(self) -> None:
        """Note that a client asked."""
        self._asked = True

    def next_renewal(self) -> float | None:
        """Return when to begin the next renewal, in Unix seconds; None if no time is set."""
        if self.is_renewing or not (self._asked or not self.on_demand):
            return None
        if self._is_outdated:
            return 0.0
        return max(self._expiry - self._windows.advisory, self._not_before)

    def renew_now(self) -> None:
        """Renew at once: the plan has changed. What is only served on demand is dropped."""
        self._is_outdated = True
        self._life = 0  # planned for sessions of the former plan
        if self.on_demand:
            self.credentials = None
            self._expiry = 0.0

    def begin(self, now: float) -> int | None:
        """Note that a renewal begins; return the seconds that its credentials must live at least.

        None if those of the cache are good enough by its own rule. Later the cache has the
        session that is served now, which must not be found again.
        """
        self.is_renewing = True
        outdated, self._is_outdated = self._is_outdated, False
        if self.credentials is None or outdated:
            return int(self._least) or None
        return int(max(self._windows.advisory, self._expiry - now)) + 1

    def succeed(self, credentials: Credentials, account_id: str | None, now: float) -> None:
        """Take new credentials."""
        self.credentials = credentials
        self.account_id = account_id
        self.obtained = now
        self.is_renewing = False
        self.failure = None
        self._failures = 0
        self._expiry = float(credentials.expiration or 0)
        # With a clock that is wrong, new credentials can be in their window at once.
        self._not_before = now + min(_LEAST_PAUSE, (self._expiry - now) / 2)
        self._windows = windows_of(max(self._life, self._expiry - now), self._longest, self._least)
        self._asked = not self.on_demand

    def fail(self, failure: str, now: float) -> bool:
        """Note that a renewal failed; return whether the reason is a new one."""
        is_new = failure != self.failure
        urgent = now >= self._expiry - self._windows.mandatory
        pause = min(_LONGEST_PAUSE[urgent], _FIRST_PAUSE[urgent] * 2 ** min(self._failures, 10))
        self.failure = failure
        self.is_renewing = False
        self._failures += 1
        self._not_before = now + pause
        if not urgent:  # the next attempt is at the latest when it becomes urgent
            self._not_before = min(self._not_before, self._expiry - self._windows.mandatory)
        if self.on_demand and not self.is_good(now):
            self._asked = False
        return is_new

    @property
    def expiry(self) -> float:
        """When they expire, in Unix seconds; 0 without credentials."""
        return self._expiry
