"""What came of rotations, as text for a person and as plain data for a program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.system.printable import printable
from filevault.system.times import format_time

if TYPE_CHECKING:
    from filevault.errors import FilevaultError
    from filevault.rotation.outcome import Outcome


def as_json(outcome: Outcome) -> dict[str, object]:
    """Return an outcome as plain data; there is no secret in it."""
    data = outcome._asdict()
    error: FilevaultError | None = data.pop("error")
    for moment in ("created", "until"):
        if data[moment] is not None:
            data[moment] = format_time(data[moment])
    data["items"] = list(outcome.items)
    data["error"] = None if error is None else error.message
    data["hint"] = None if error is None else error.hint
    return data


def json_text(outcome: Outcome) -> str:
    """Return an outcome as `json.dumps` with an indentation of 2 writes it.

    That one leaves garbage for each value, which adds up over many.
    """
    from json import dumps

    members = []
    for name, value in as_json(outcome).items():
        text = dumps(value)
        if isinstance(value, list) and value:
            text = "[\n    " + ",\n    ".join(map(dumps, value)) + "\n  ]"
        members.append(f"  {dumps(name)}: {text}")
    return "{\n" + ",\n".join(members) + "\n}"


def line(outcome: Outcome) -> str:
    """Return one line for a person."""
    old, new = outcome.old_key, outcome.new_key
    kept = "" if outcome.old_state in ("deleted", None) else f", which is {outcome.old_state}"
    if outcome.until is not None:
        kept += f"; the first run after {format_time(outcome.until)} deletes it"
    texts = {
        "rotated": f"{new} takes the place of {old}{kept}",
        "finished": f"an earlier rotation is finished: {new} takes the place of {old}{kept}",
        "young": f"{new or old} is not old enough",
        "waiting": f"{new} has taken the place of {old}{kept}; --grace 0 ends its time",
        "planned": f"{old} would be replaced",
        "unfinished": f"the rotation of {old} that was begun would be finished"
        if new
        else f"an earlier run was cut off: AWS would be asked what it left, and {old} replaced",
        "same": f"has the key of {printable(outcome.same_as or '')}, which is dealt with already",
        "partly": f"{new} takes the place of {old}{kept}",
        "failed": "failed",
    }
    if outcome.orphan is not None and outcome.result not in ("partly", "failed"):
        texts[outcome.result] += f"; {printable(outcome.orphan)} would be deleted first"
    items = ", ".join(printable(each) for each in outcome.items)
    return f"{printable(outcome.profile)}: {texts[outcome.result]}{f' (in {items})' * bool(items)}"
