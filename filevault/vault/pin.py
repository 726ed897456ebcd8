"""The pin: the identity of a vault as it is stored and compared (`docs/format.md` §9)."""

from __future__ import annotations

from filevault.backends.definition import SEALED
from filevault.system.digest import sha256_hex
from filevault.system.printable import printable, shell_word
from filevault.system.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from filevault.backends.protocols import OpenBackend


def accept_hint(name: str | None = None) -> str:
    """Return the hint to accept a change: of an item, or with None of the vault."""
    if name is None:
        return "if the change is intended, run filevault recipients accept"
    return f"if the change is intended, run filevault recipients accept {shell_word(name)}"


class Pin(Record):
    """The identity of a vault: ids of a `file` vault, recipients of the others.

    `recipients` are pairs of a path and its sorted fingerprints or recipients. A path is that of
    a recipients file relative to the store, or `env:NAME` for a variable that overrides the files.
    """

    backend: str
    vault: str = ""
    commitment: str = ""
    recipients: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def digest(self) -> str:
        """The value of `FILEVAULT_PIN`: SHA-256 over fixed lines, as 64 hex digits."""
        lines = ["filevault-pin-1", self.backend]
        if self.vault:
            lines += [self.vault, self.commitment]
        for path, recipients in sorted(self.recipients, key=_order):
            lines += [f"{path}\t{recipient}" for recipient in sorted(recipients)]
        return sha256_hex("".join(f"{line}\n" for line in lines).encode("utf-8"))

    def root_path(self, prefix: Sequence[str]) -> str | None:
        """Return the path that governs items right below the root; an override takes precedence.

        `prefix` are the folders from the store to the root.
        """
        root = "/".join((*prefix, ""))
        for path, _ in sorted(self.recipients, key=_order, reverse=True):
            folder = path[: path.rfind("/") + 1]
            if path.startswith("env:") or root.startswith(folder):
                return path
        return None

    def with_recipients(self, path: str, recipients: Sequence[str], replaced: str = "") -> Pin:
        """Return the pin with other recipients for a path, and without the path `replaced`."""
        by_path = dict(self.recipients)
        by_path.pop(replaced, None)
        by_path[path] = tuple(sorted(recipients))
        return self._replace(recipients=tuple(sorted(by_path.items())))


def _order(entry: tuple[str, tuple[str, ...]]) -> tuple[bool, bytes]:
    """Return a sort key: files by path, then overrides."""
    return entry[0].startswith("env:"), entry[0].encode("utf-8", "surrogateescape")


def pin_of(backend: OpenBackend) -> Pin:
    """Return the present identity of a vault: its ids, or all recipients that govern it.

    Raises as reading the recipients files does.
    """
    if backend.family == SEALED:
        return Pin(backend.name, backend.vault_id, backend.commitment)
    files = backend.governing()
    return Pin(backend.name, recipients=tuple((each.path, each.recipients) for each in files))


def difference(before: Pin, after: Pin) -> list[str]:
    """Return the changes of recipients between two pins, a phrase for each."""
    old, new = dict(before.recipients), dict(after.recipients)
    changes = []
    for path in sorted(old.keys() | new.keys()):
        shown = printable(path)
        if path not in new:
            changes.append(f"{shown} is gone")
            continue
        if path not in old:
            changes.append(f"{shown} is new")
        added = sorted(set(new[path]) - set(old.get(path, ())))
        removed = sorted(set(old.get(path, ())) - set(new[path]))
        changes += [f"{shown} added {printable(each)}" for each in added]
        changes += [f"{shown} removed {printable(each)}" for each in removed]
    return changes
