from __future__ import annotations

import os

import pytest

from filevault.system.secret_buffer import SecretBuffer, overwrite


def pipe(*parts: bytes) -> int:
    reading, writing = os.pipe()
    for part in parts:
        os.write(writing, part)
    os.close(writing)
    return reading


def test_what_is_read_in_parts_comes_out_whole_and_is_gone_from_the_room() -> None:
    fd, room = pipe(b"first ", b"and last"), SecretBuffer(100)
    while room.read(fd):
        pass
    os.close(fd)
    assert (len(room), room.overfull) == (14, False)
    assert room.take() == b"first and last"
    assert not any(room._memory)
    assert len(room) == 0


@pytest.mark.parametrize(("size", "overfull"), [(9, False), (10, False), (11, True), (12, True)])
def test_more_than_the_limit_is_noticed(size: int, *, overfull: bool) -> None:
    fd, room = pipe(b"x" * size), SecretBuffer(10)
    while room.read(fd):
        pass
    os.close(fd)
    assert room.overfull == overfull


def test_what_can_be_changed_is_overwritten() -> None:
    secret = bytearray(b"secret")
    overwrite(secret)
    assert secret == bytes(6)
    overwrite(b"secret")  # nothing can be done
