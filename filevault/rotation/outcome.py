"""What a rotation is asked for, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from filevault.system.record import Record

if TYPE_CHECKING:
    from filevault.errors import FilevaultError


class RotationOptions(Record):
    """What the command line asks for; `grace` and `older_than` are in seconds.

    `grace` is None where nothing is said of it, and 0 where a time of grace is to end. `keep_old`
    and `grace` are for the key that this run replaces: others have a promise of their own.
    `delete_orphan` is the id of a key of the user that is not in the vault.
    """

    keep_old: bool = False
    grace: int | None = None
    older_than: int | None = None
    delete_orphan: str | None = None


class Progress(Protocol):
    """Somebody who may be watching."""

    def step(self, text: str) -> None:
        """Hear what is done now."""
        ...

    def waiting(self, what: str, left: float) -> None:
        """Hear that `what` is waited for, for so many seconds more at most."""
        ...


class Outcome(Record):
    """What came of the rotation of one key.

    `result` is `rotated`, `finished` (what an earlier run left), `young` (not old enough),
    `waiting` (the old key's time of grace runs until `until`), `planned` and `unfinished` (of a
    dry run; without a `new_key` only AWS knows what there is to finish), `same` (the key of the
    profile `same_as`), `partly` (the new key is in place, the old one not gone) or `failed`.
    `items` hold the key; `old_key` and `new_key` are ids, `orphan` that of a key in the way, or
    of one that a dry run would see deleted. `old_state` is `active`, `inactive` or `deleted`.
    Times are in Unix seconds.
    """

    profile: str
    result: str
    item: str | None = None
    items: tuple[str, ...] = ()
    user: str | None = None
    old_key: str | None = None
    new_key: str | None = None
    old_state: str | None = None
    created: int | None = None
    until: int | None = None
    orphan: str | None = None
    same_as: str | None = None
    error: FilevaultError | None = None

    @property
    def done(self) -> bool:
        """Whether this run changed something, and all that it had to."""
        return self.result in ("rotated", "finished")
