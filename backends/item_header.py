"""The header that is authenticated along with an item (`docs/format.md` §4)."""

from __future__ import annotations

from filevault.system.record import Record


class ItemHeader(Record):
    """The values that are authenticated along with an item (`docs/format.md` §4).

    `generation` and `created` are as in the format; `created_from` is set for `credentials`
    only, `source` for the kinds of session files only, `expires` and `renewable` for token
    records only.
    """

    kind: str
    name: str
    generation: int
    created: str
    created_from: str | None = None
    source: str | None = None
    expires: str | None = None
    renewable: bool = False
