"""Record, the base class of immutable values with named fields; `repr` hides secret fields.

`typing.NamedTuple` compiles code for each class: 60 to 120 µs, times the forty classes that a
cached `exec` defines. A Record costs 5 µs to define, and type checkers see it as the frozen
dataclass it resembles (PEP 681). `_fields`, `_asdict` and `_replace` are NamedTuple's names.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, Self, dataclass_transform
else:

    def dataclass_transform(**_promises: object) -> object:
        """Stand in for the decorator of `typing`, which only type checkers read."""
        return lambda decorated: decorated


@dataclass_transform(frozen_default=True)
class Record:
    """An immutable value: annotated class attributes are its fields, assigned ones the defaults.

    `_secret` names the fields that `repr` shows as `...`.
    """

    _secret: ClassVar[tuple[str, ...]] = ()
    _fields: ClassVar[tuple[str, ...]] = ()
    _names: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls) -> None:
        cls._fields = tuple(cls.__annotations__)
        cls._names = frozenset(cls._fields)

    def __init__(self, *args: Any, **named: Any) -> None:  # noqa: ANN401
        fields = self._fields
        if not named and len(args) == len(fields):  # the most common call
            own = self.__dict__  # an update with pairs makes a list of each
            for field, value in zip(fields, args):  # noqa: B905 - equally long
                own[field] = value
            return
        if not args and named.keys() == self._names:  # common for large records
            self.__dict__.update(named)
            return
        values = dict(zip(fields, args, strict=False))
        if len(args) > len(fields) or not values.keys().isdisjoint(named):
            raise TypeError(f"{type(self).__name__} got too many values")
        values.update(named)
        for field in fields:
            if field not in values:
                try:
                    values[field] = getattr(type(self), field)
                except AttributeError:
                    raise TypeError(f"{type(self).__name__} needs {field}") from None
        if len(values) > len(fields):
            raise TypeError(f"{type(self).__name__} has only the fields {', '.join(fields)}")
        self.__dict__.update(values)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((type(self), *(self.__dict__[field] for field in self._fields)))

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{field}={'...' if field in self._secret else repr(self.__dict__[field])}"
            for field in self._fields
        )
        return f"{type(self).__name__}({shown})"

    def _asdict(self) -> dict[str, Any]:
        """Return the fields with their values, in order."""
        return {field: self.__dict__[field] for field in self._fields}

    def _replace(self, **changes: Any) -> Self:  # noqa: ANN401
        """Return a copy with some fields changed."""
        return type(self)(**{**self.__dict__, **changes})
