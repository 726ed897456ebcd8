"""Values: what NamedTuple and frozen dataclasses give, checked."""

from __future__ import annotations

import pytest

from filevault.system.record import Record


class Point(Record):
    x: int
    y: int = 2


def test_fields_come_by_place_by_name_and_by_default() -> None:
    assert Point(1) == Point(x=1) == Point(1, y=2)
    assert Point(1)._asdict() == {"x": 1, "y": 2}
    assert Point._fields == ("x", "y")
    assert Point(1)._replace(y=3) == Point(1, 3)
    assert repr(Point(1)) == "Point(x=1, y=2)"


def test_secret_fields_are_hidden() -> None:
    class Login(Record):
        _secret = ("password",)

        user: str
        password: str

    assert repr([Login("jon", "hunter2")]) == "[Login(user='jon', password=...)]"
    assert Login._fields == ("user", "password")


def test_values_compare_and_hash_by_content_and_type() -> None:
    class Other(Record):
        x: int
        y: int = 2

    assert Point(1) != Point(2)
    assert Point(1) != Other(1)
    assert Point(1) != (1, 2)
    assert len({Point(1), Point(1), Point(2)}) == 2


def test_a_value_cannot_be_changed() -> None:
    point = Point(1)
    with pytest.raises(AttributeError):
        point.x = 5  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del point.x
    assert point == Point(1)


@pytest.mark.parametrize(
    ("args", "named"), [((), {}), ((1, 2, 3), {}), ((1,), {"x": 1}), ((1,), {"z": 1})]
)
def test_wrong_fields_are_refused(args: tuple[int, ...], named: dict[str, int]) -> None:
    with pytest.raises(TypeError):
        Point(*args, **named)
    with pytest.raises(TypeError):
        Point(1)._replace(z=1)
