"""EventLoop: the watchers that it calls in a turn in which descriptors are closed and opened."""

from __future__ import annotations

import os
from collections.abc import Callable

from filevault.server.event_loop import EventLoop


def test_an_event_of_a_closed_descriptor_does_not_count_for_the_next_of_its_number() -> None:
    called: list[int] = []
    with EventLoop() as loop:
        pipes = [os.pipe() for _ in range(2)]

        def replacing_the_other(number: int) -> Callable[[int], None]:
            def replace(_events: int) -> None:
                called.append(number)
                other = pipes[1 - number][0]
                loop.unwatch(other)
                fresh, writing = os.pipe()
                pipes.append((fresh, writing))
                os.dup2(fresh, other)  # as if the other were closed, and its number given again
                loop.watch(other, lambda _events: called.append(2))

            return replace

        for number, (reading, writing) in enumerate(pipes):
            os.write(writing, b"x")
            loop.watch(reading, replacing_the_other(number))
        loop.turn()
    for reading, writing in pipes:
        os.close(reading)
        os.close(writing)
    assert len(called) == 1
    assert called[0] in (0, 1)
