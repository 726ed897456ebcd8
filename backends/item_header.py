"""The header that is authenticated along with an item (`docs/format.md` §4)."""

from __future__ import annotations

from filevault.system.record import Record


class ItemHeader(Record):
    """The values that are authenticated along with an item (`docs/format.md` §4).

    `generation` and `created` are as in the format; `created_from` is set for `credentials`
    only, `source` for `session` and the SSO kinds only.
    """

    kind: str
    name: str
    generation: int
    created: str
    created_from: str | None = None
    source: str | None = None
