"""What the harness runs in a command's place; a module without pytest, which its server keeps."""

from __future__ import annotations

import os
import time
from pathlib import Path

from filevault.backends.file import keyslots
from filevault.cli.commands import rekey, slot
from filevault.cli.context import Context
from filevault.errors import NotFoundError
from filevault.sessions import SessionName
from filevault.sessions.lock_wait import LockWait
from tests.faults.harness import vault_of
from tests.faults.scenarios import SESSION

LATE = "team/two"  # the item that another machine is taken to have stored


class _Yes:
    """Somebody who says yes; the harness has no terminal."""

    present = True

    def say(self, text: str) -> None:
        """Hear it."""

    def line(self, question: str) -> str:  # noqa: ARG002 - the protocol's
        """Agree."""
        return "y"

    def hidden(self, question: str) -> bytes:
        """Know nothing."""
        raise AssertionError(question)


def remove_other(context: Context) -> int:
    """Remove the keyslot with the label `other`."""
    with vault_of(context) as vault:
        for found in keyslots.listing(vault.vault.folder):
            if found.label == "other":
                return slot._remove(found.id, vault, context)
        raise NotFoundError("it is gone")


def _copy(source: Path, target: Path) -> None:
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.write(fd, source.read_bytes())
    os.close(fd)


def set_aside(context: Context) -> int:
    with vault_of(context) as vault:
        folder = Path(vault.vault.folder.path)
        _copy(folder / f"{LATE}.fv", folder.parent / "late")
        return 0


def put_back(context: Context) -> int:
    with vault_of(context) as vault:
        folder = Path(vault.vault.folder.path)
        _copy(folder.parent / "late", folder / f"{LATE}.fv")
        os.unlink(folder.parent / "late")
        return 0


def finish(context: Context) -> int:
    context._prompter = _Yes()
    arguments = type("Arguments", (), {"finish": True, "drop_slots": False})
    return rekey.run(arguments, context)  # type: ignore[arg-type]


def own_session(context: Context) -> int:
    """Keep a session of a name that no other process has."""
    with vault_of(context) as vault:
        sessions = vault.sessions()
        assert sessions is not None
        name = SessionName("one", "get-session-token", context.settings.environ["OWN"], "item:one")
        with sessions.lock(name, LockWait(context.reporter.warn, lambda: True, time.sleep)):
            sessions.store(name, SESSION)
        return 0
