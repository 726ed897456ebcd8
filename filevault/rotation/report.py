"""Reports of rotations: outcomes as text and as JSON, and the exit status of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import FilevaultError, NotCommittedError, PartlyDoneError
from filevault.system.indented_json import indented
from filevault.system.printable import printable
from filevault.system.times import format_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filevault.rotation.outcome import Outcome


def json_text(outcome: Outcome, margin: str = "") -> str:
    """Return an outcome as JSON with an indentation of 2, below `margin`."""
    values = outcome._asdict()
    error: FilevaultError | None = values.pop("error")
    for moment in ("created", "until"):
        if values[moment] is not None:
            values[moment] = format_time(values[moment])
    values["error"] = None if error is None else error.message
    values["hint"] = None if error is None else error.hint
    return margin + indented(values, margin)


def line(outcome: Outcome) -> str:
    """Return an outcome as one line of text."""
    text = _text(outcome)
    if outcome.orphan is not None and not outcome.unfinished:
        text += f"; {printable(outcome.orphan)} would be deleted first"
    if outcome.items and outcome.result != "same":  # then the other profile's line names them
        text += f" (in {', '.join(map(printable, outcome.items))})"
    return f"{printable(outcome.profile)}: {text}"


def _text(outcome: Outcome) -> str:
    old, new, result = outcome.old_key, outcome.new_key, outcome.result
    if result == "failed":
        return "failed"
    if result == "planned":
        return f"{old} would be replaced"
    if result == "young":
        return f"{new or old} is not old enough"
    if result == "same":
        return f"has the key of {printable(outcome.same_as or '')}, which is done already"
    if result == "unfinished":
        if new is None:
            return (
                f"an earlier run was cut off: AWS would be asked what it left, and {old} replaced"
            )
        return f"the rotation of {old} that was begun would be finished"
    state = "" if outcome.old_state in ("deleted", None) else f", which is {outcome.old_state}"
    if outcome.until is not None:
        state += f"; the first run after {format_time(outcome.until)} deletes it"
    if result == "waiting":
        return f"{new} has taken the place of {old}{state}; --grace 0 ends its time"
    earlier = "an earlier rotation is finished: " if result == "finished" else ""
    return f"{earlier}{new} takes the place of {old}{state}"


def exit_status(outcomes: Sequence[Outcome]) -> int:
    """Return the exit status of a run over several profiles."""
    errors = [each.error for each in outcomes if each.error is not None]
    if not errors:
        return 0
    first: int = errors[0].exit_status
    failed = [each for each in outcomes if each.error is not None]
    if all(isinstance(each.error, NotCommittedError) and each.done for each in failed):
        return first  # all keys are replaced, and the last change is not committed
    some = any(each.changed_key for each in outcomes)
    return PartlyDoneError.exit_status if some else first


def single_error(outcome: Outcome) -> FilevaultError | None:
    """Return the error that a run over one profile ends with, None if there is none."""
    error = outcome.error
    if error is None or outcome.result != "partly":
        return error
    state = "not gone" if outcome.old_state is None else f"still {outcome.old_state}"
    partly = PartlyDoneError(
        f"the new key {outcome.new_key} is in place, but the old one, {outcome.old_key}, is "
        f"{state}: {error.message}",
        hint=error.hint or "give the command again to finish",
    )
    partly.__cause__ = error
    return partly
