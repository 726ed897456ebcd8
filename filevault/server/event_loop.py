"""EventLoop: waits for descriptors and times, and calls what watches them."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_WAIT = 60.0
"""Seconds between two looks at the wall clock, which poll(2) does not follow."""
_EVENTS_AT_ONCE = 128


class EventLoop:
    """One thread that serves many descriptors; a context manager."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watchers: dict[int, Callable[[int], None]] = {}
        self._timers: list[Callable[[], float]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._epoll.close()

    def watch(self, fd: int, watcher: Callable[[int], None], events: int = select.EPOLLIN) -> None:
        """Call `watcher` with the events of a descriptor, as epoll(7) reports them."""
        self._watchers[fd] = watcher
        self._epoll.register(fd, events)

    def change(self, fd: int, events: int) -> None:
        """Wait for other events of a descriptor."""
        self._epoll.modify(fd, events)

    def unwatch(self, fd: int) -> None:
        """Forget a descriptor, before it is closed."""
        del self._watchers[fd]
        self._epoll.unregister(fd)

    def add_timer(self, timer: Callable[[], float]) -> None:
        """Call `timer` after each turn; it returns the seconds until it must be called again."""
        self._timers.append(timer)

    def turn(self) -> None:
        """Call what is due, wait for events, and call their watchers."""
        wait = min((LONGEST_WAIT, *(timer() for timer in self._timers)))
        watchers = self._watchers
        ready = self._epoll.poll(max(0.0, wait), _EVENTS_AT_ONCE)
        for fd, events, watcher in [(fd, events, watchers.get(fd)) for fd, events in ready]:
            # An earlier watcher of this turn may have closed it, and opened another of its number.
            if watcher is not None and watchers.get(fd) is watcher:
                watcher(events)
