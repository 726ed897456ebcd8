from __future__ import annotations

import re

from filevault import errors, rare_errors
from filevault.errors import FilevaultError

_LINE = re.compile(
    r"^(?P<depth>[│ ]*(?:[├└]─ )?)(?P<name>[A-Za-z]+Error)\s+(?P<status>\d+)(?:\s|$)"
)
# The contract of the command line, from which scripts tell failures apart.
STATUSES = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 126, 127, 130}


def classes() -> dict[str, type[FilevaultError]]:
    return {
        name: value
        for name, value in {**vars(errors), **vars(rare_errors)}.items()
        if isinstance(value, type) and issubclass(value, FilevaultError)
    }


def documented() -> dict[str, tuple[str | None, int]]:
    """Return name to (parent, status) as the module's docstring draws them."""
    found: dict[str, tuple[str | None, int]] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        level = len(match["depth"]) // 3
        path = [*path[:level], match["name"]]
        found[match["name"]] = (path[-2] if level else None, int(match["status"]))
    return found


def test_the_drawn_tree_is_the_tree_of_classes() -> None:
    actual = {
        name: (None if cls is FilevaultError else cls.__mro__[1].__name__, cls.exit_status)
        for name, cls in classes().items()
    }
    assert documented() == actual


def test_statuses_are_those_of_the_contract() -> None:
    assert {cls.exit_status for cls in classes().values()} == STATUSES


def test_a_subclass_never_has_its_parents_meaning_with_another_status() -> None:
    for cls in classes().values():
        for parent in cls.__mro__[1:-3]:
            if parent is not FilevaultError and issubclass(parent, FilevaultError):
                assert cls.exit_status == parent.exit_status


def test_every_class_says_what_it_means() -> None:
    assert all(cls.__doc__ for cls in classes().values())


def test_an_error_carries_message_and_hint() -> None:
    error = errors.LockedError("it is locked", hint="unlock it")
    assert (str(error), error.message, error.hint) == ("it is locked", "it is locked", "unlock it")
    assert errors.LockedError("it is locked").hint is None


def test_what_is_damaged_says_where_to_get_it_from() -> None:
    assert errors.DamagedError("it is torn").hint == errors.DamagedError.default_hint
    assert errors.DamagedError("it is torn", hint="mend it").hint == "mend it"
    assert errors.NoKeyError("it has no key").hint is None


def test_an_aws_error_names_operation_and_code() -> None:
    error = errors.AwsError("refused", operation="AssumeRole", code="AccessDenied", hint="ask")
    assert (error.operation, error.code, error.hint) == ("AssumeRole", "AccessDenied", "ask")


def test_more_context_makes_another_error_of_the_same_class_with_all_it_carries() -> None:
    class Refusal(errors.AwsError):
        def __init__(self, message: str, key: str) -> None:
            super().__init__(message, operation="CreateUser", code="Denied", hint="ask")
            self.key = key

    first = Refusal("refused", "AKIA")
    second = first.add_context("the key stays")
    third = second.add_context(hint="ask again")
    assert type(second) is type(third) is Refusal
    assert (str(second), second.message, second.hint) == (*["refused; the key stays"] * 2, "ask")
    assert (str(third), third.hint) == ("refused; the key stays", "ask again")
    assert (third.operation, third.code, third.key) == ("CreateUser", "Denied", "AKIA")
    assert (str(first), first.message, first.hint) == ("refused", "refused", "ask")
