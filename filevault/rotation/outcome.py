"""RotationOptions, Outcome and the Progress protocol: input, result and progress of a rotation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from filevault.system.record import Record

if TYPE_CHECKING:
    from filevault.errors import FilevaultError


class RotationOptions(Record):
    """Options of the command line; `grace` and `older_than` are in seconds.

    `keep_old` and `grace` apply to the key that this run replaces; an old key that still exists
    keeps the promise that was stored for it. `grace` is None if the option is not given; 0 ends
    a time of grace. `delete_orphan` is the id of a key of the user that is not in the vault.
    """

    keep_old: bool = False
    grace: int | None = None
    older_than: int | None = None
    delete_orphan: str | None = None


class Progress(Protocol):
    """Protocol: show the progress of a rotation."""

    def step(self, text: str) -> None:
        """Show which step begins."""
        ...

    def waiting(self, event: str, left: float) -> None:
        """Show which event is waited for, and for how many seconds at most."""
        ...


class Outcome(Record):
    """Outcome of the rotation of one key.

    `result` is one of:

    - `rotated`: the key was replaced;
    - `finished`: an earlier rotation was finished, and no further key was created;
    - `young`: the key is not old enough;
    - `waiting`: the old key is inactive until `until`;
    - `planned`, `unfinished`: of a dry run: the key would be replaced; an earlier rotation would
      be finished (without a `new_key` only AWS knows whether one was created);
    - `same`: another profile of the run, `same_as`, has the same key;
    - `partly`: the new key is current, the old one still exists;
    - `failed`: the old key is current.

    `items` contain the key. `old_key` and `new_key` are ids; `orphan` is the id of a key whose
    secret is lost, or of the one that a dry run would delete. `old_state` is `active`, `inactive`
    or `deleted`. Times are in Unix seconds.
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
        """Whether the run changed something, and everything that it had to."""
        return self.result in ("rotated", "finished")

    @property
    def unfinished(self) -> bool:
        """Whether the old key is still in use, or still exists, because of a failure."""
        return self.result in ("failed", "partly")

    @property
    def changed_key(self) -> bool:
        """Whether the items have a new key, whatever became of the old one."""
        return self.done or self.result == "partly"
