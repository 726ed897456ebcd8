"""The identity of a vault, as it is pinned and compared (`docs/format.md` §9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.system.digest import sha256_hex
from filevault.system.printable import printable
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Sequence


class Pin(Record):
    """The identity of a vault: ids of a `file` vault, recipients of the others.

    `recipients` has, for each recipients file by its path in the store and for each override by
    `env:NAME`, the sorted fingerprints or recipients.
    """

    backend: str
    vault: str = ""
    commit: str = ""
    recipients: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def digest(self) -> str:
        """What `FILEVAULT_PIN` holds: SHA-256 over fixed lines, as 64 hex digits."""
        lines = ["filevault-pin-1", self.backend]
        if self.vault:
            lines += [self.vault, self.commit]
        for place, recipients in sorted(self.recipients, key=_order):
            lines += [f"{place}\t{recipient}" for recipient in sorted(recipients)]
        return sha256_hex("".join(f"{line}\n" for line in lines).encode("utf-8"))

    def root_place(self, prefix: Sequence[str]) -> str | None:
        """Return the place that governs items right below the root: an override goes first."""
        root = "/".join((*prefix, ""))
        for place, _ in sorted(self.recipients, key=_order, reverse=True):
            folder = place[: place.rfind("/") + 1]
            if place.startswith("env:") or root.startswith(folder):
                return place
        return None

    def replacing(self, place: str, recipients: Sequence[str], former: str = "") -> Pin:
        """Return the identity after a place got these recipients, in the stead of `former`."""
        places = dict(self.recipients)
        places.pop(former, None)
        places[place] = tuple(sorted(recipients))
        return self._replace(recipients=tuple(sorted(places.items())))


def _order(entry: tuple[str, tuple[str, ...]]) -> tuple[bool, bytes]:
    """Files by path, then overrides."""
    return entry[0].startswith("env:"), entry[0].encode("utf-8", "surrogateescape")


def difference(before: Pin, after: Pin) -> list[str]:
    """Return what changed from one set of recipients to another, a phrase for each change."""
    old, new = dict(before.recipients), dict(after.recipients)
    changes = []
    for place in sorted(old.keys() | new.keys()):
        shown = printable(place)
        if place not in new:
            changes.append(f"{shown} is gone")
            continue
        if place not in old:
            changes.append(f"{shown} is new")
        added = sorted(set(new[place]) - set(old.get(place, ())))
        removed = sorted(set(old.get(place, ())) - set(new[place]))
        changes += [f"{shown} added {printable(each)}" for each in added]
        changes += [f"{shown} removed {printable(each)}" for each in removed]
    return changes
