"""Commands that change what is stored, with what there must be before and after each."""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from filevault.backends.file import FILE, keyslots
from filevault.backends.values import Secret
from filevault.cli.context import Context
from filevault.credentials import AccessKey, Credentials
from filevault.sessions import SessionName
from filevault.sessions.lock_wait import LockWait
from filevault.sessions.minimum_life import MinimumLife
from filevault.system.files import Folder
from filevault.vault.choose import has_marker
from filevault.vault.item import parse
from filevault.vault.item_store import ItemStore
from filevault.vault.trust import Trust
from tests.faults.harness import CountedCall, HarnessCommand, RunOutcome, Snapshot, survey, vault_of
from tests.samples import ONE_ID, TWO_ID
from tests.worlds.file_vault import KnownPassphrase, opened
from tests.worlds.machine import PASSPHRASE, Machine

ONE = AccessKey(ONE_ID, "one0" * 10)
TWO = AccessKey(TWO_ID, "two0" * 10)
NEW = AccessKey("AKIANEWNEWNEWNEWNEW3", "new0" * 10)
TOKEN = "session/token/" * 9
NOW = 2_000_000_000
EXPIRATION = NOW + 3600
SESSION = Credentials("ASIASESSION000000001", "ses0" * 10, TOKEN, EXPIRATION)
SECRETS = (
    *(key.secret_access_key for key in (ONE, TWO, NEW, SESSION)),
    TOKEN,
    PASSPHRASE,
)
CONFIG = "[default]\n# kept\nregion = eu-west-1\n"
TEMPORARY = re.compile(r"\.fv-[0-9a-f]{16}\.tmp")
_OWN_NAME = SessionName("one", "get-session-token", "1f" * 16, "item:one")
_OTHER_NAME = SessionName("team/two", "get-session-token", "2f" * 16, "item:team/two")
_ELSEWHERE_NAME = SessionName("web", "assume-role", "3f" * 16, "web:web")  # from no stored key

Items = Mapping[str, AccessKey]


class Scenario(NamedTuple):
    """A command, and the call from which on its effect is there.

    `again` is the same command for a second try, which ends with one of `again_ends`;
    `existing` is what makes the home that it starts from, `mend` what a person is told to run
    before the second try.
    """

    command: HarnessCommand
    decisive: tuple[str, str]
    before: Items | None
    after: Items
    existing: tuple[HarnessCommand, ...] = ()
    config: bool = False
    again: HarnessCommand | None = None
    mend: HarnessCommand | None = None
    again_ends: tuple[int, ...] = (0,)

    def decides(self, call: CountedCall) -> bool:
        """Tell whether this is the decisive call."""
        name, path = self.decisive
        return call.name == name and re.fullmatch(path, call.target or call.path) is not None


def adding(name: str, key: AccessKey, *options: str) -> HarnessCommand:
    """Return the command that stores a key from stdin."""
    text = f"{key.access_key_id}\n{key.secret_access_key}\n"
    return HarnessCommand(("add", name, "--stdin", *options), text.encode())


def _keep_session(context: Context) -> int:
    """Obtain a session as the providers do: look, lock, look again, keep."""
    with vault_of(context) as vault:
        sessions = vault.sessions()
        assert sessions is not None
        with sessions.lock(_OWN_NAME, LockWait(context.reporter.warn, lambda: True, time.sleep)):
            found = sessions.find(_OWN_NAME, MinimumLife())
            if found is None:
                sessions.store(_OWN_NAME, SESSION)
            else:
                assert found == SESSION, "another session is there than was kept"
        return 0


def _keep_other(context: Context) -> int:
    with vault_of(context) as vault:
        sessions = vault.sessions()
        assert sessions is not None
        sessions.store(_OTHER_NAME, SESSION)
        return 0


def _keep_elsewhere(context: Context) -> int:
    with vault_of(context) as vault:
        sessions = vault.sessions()
        assert sessions is not None
        sessions.store(_ELSEWHERE_NAME, SESSION)
        return 0


def _renew_session(context: Context) -> int:
    """Replace the kept session by one that lives longer."""
    with vault_of(context) as vault:
        sessions = vault.sessions()
        assert sessions is not None
        sessions.store(_OWN_NAME, SESSION._replace(expiration=EXPIRATION + 60))
        return 0


def _show_sessions(context: Context) -> int:
    with vault_of(context) as vault:
        sessions = vault.sessions()
        assert sessions is not None
        for name in (_OWN_NAME, _OTHER_NAME, _ELSEWHERE_NAME):
            found = sessions.find(name, MinimumLife())
            if found is None:
                kept = "none"
            else:
                assert found._replace(expiration=0) == SESSION._replace(expiration=0)
                kept = "whole"
            print(name.owner, kept)
        return 0


SHOW_SESSIONS = HarnessCommand(("show-sessions",), action=_show_sessions)
KEEP = HarnessCommand(("keep-session",), action=_keep_session)
KEEP_OTHER = HarnessCommand(("keep-other",), action=_keep_other)
KEEP_ELSEWHERE = HarnessCommand(("keep-elsewhere",), action=_keep_elsewhere)
_INIT = HarnessCommand(("init",))
_BOTH = (_INIT, adding("one", ONE, "--no-config"), adding("team/two", TWO, "--no-config"))
_WITH_SESSIONS = (*_BOTH, KEEP, KEEP_OTHER)
_TWO_ITEMS = {"one": ONE, "team/two": TWO}
_VAULT = r"\.local/share/filevault/"

SCENARIOS = {
    "init": Scenario(
        _INIT,
        ("rename", _VAULT + r"\.filevault/vault\.json"),
        None,
        {},
        again_ends=(0, 3),
    ),
    "init-with-key-file": Scenario(
        HarnessCommand(("init", "--new-key-file", "keys/machine.key")),
        ("rename", _VAULT + r"\.filevault/vault\.json"),
        None,
        {},
        again_ends=(0, 3),
        again=HarnessCommand(("init", "--new-key-file", "keys/another.key")),
    ),
    "init-with-only-a-key-file": Scenario(
        HarnessCommand(("init", "--no-passphrase", "--new-key-file", "keys/machine.key")),
        ("rename", _VAULT + r"\.filevault/vault\.json"),
        None,
        {},
        again_ends=(0, 3),
        again=HarnessCommand(("init", "--no-passphrase", "--new-key-file", "keys/another.key")),
    ),
    "add": Scenario(
        adding("deep/new", NEW, "--no-config"),
        ("rename", _VAULT + r"deep/new\.fv"),
        _TWO_ITEMS,
        {**_TWO_ITEMS, "deep/new": NEW},
        _BOTH,
        again=adding("deep/new", NEW, "--no-config", "--force"),
    ),
    "add-with-init": Scenario(
        adding("new", NEW, "--init", "--no-config"),
        ("rename", _VAULT + r"new\.fv"),
        None,
        {"new": NEW},
        again=adding("new", NEW, "--no-config", "--force"),
        mend=_INIT,
    ),
    "add-force": Scenario(
        adding("one", NEW, "--force", "--no-config"),
        ("rename", _VAULT + r"one\.fv"),
        _TWO_ITEMS,
        {**_TWO_ITEMS, "one": NEW},
        _WITH_SESSIONS,
    ),
    "add-to-config": Scenario(
        adding("new", NEW, "--region", "eu-central-1", "--sdk-profile", "new-sdk"),
        ("rename", _VAULT + r"new\.fv"),
        _TWO_ITEMS,
        {**_TWO_ITEMS, "new": NEW},
        _BOTH,
        config=True,
        again=adding("new", NEW, "--force"),
    ),
    "remove": Scenario(
        HarnessCommand(("remove", "-f", "team/two")),
        ("unlink", _VAULT + r"team/two\.fv"),
        _TWO_ITEMS,
        {"one": ONE},
        _WITH_SESSIONS,
        again_ends=(0, 4),
    ),
    "keep-session": Scenario(
        KEEP,
        ("rename", r"\.local/state/filevault/.*\.fvs"),
        _TWO_ITEMS,
        _TWO_ITEMS,
        _BOTH,
    ),
    "renew-session": Scenario(
        HarnessCommand(("renew-session",), action=_renew_session),
        ("rename", r"\.local/state/filevault/.*\.fvs"),
        _TWO_ITEMS,
        _TWO_ITEMS,
        _WITH_SESSIONS,
    ),
    "clear": Scenario(
        HarnessCommand(("clear",)),
        ("unlink", r"\.local/state/filevault/.*\.fvs"),
        _TWO_ITEMS,
        _TWO_ITEMS,
        _WITH_SESSIONS,
    ),
}


class ScenarioStage:
    """A scenario on a machine: where it starts, where it leads, and the judge of the rest."""

    def __init__(self, scenario: Scenario, machine: Machine) -> None:
        self.scenario = scenario
        self.machine = machine
        machine.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
        machine.freeze(NOW)
        if scenario.config:
            machine.write_config(CONFIG)
        for command in scenario.existing:
            made = survey(command, machine)
            assert made.status == 0, (command.argv, made)
        self.start = Snapshot.take(machine.home)
        self.whole = survey(scenario.command, machine)
        assert (self.whole.status, self.whole.errors) == (0, []), self.whole
        assert any(map(scenario.decides, self.whole.calls)), self.whole.calls
        self.end = Snapshot.take(machine.home)
        self.config_versions = self._config_versions()
        self.start.restore()

    def _config_versions(self) -> list[bytes]:
        """The old config with none, some or all of the sections that the command adds."""
        name = ".aws/config"
        old = self.start.entries.get(name, (0, b""))[1] or b""
        new = self.end.entries.get(name, (0, b""))[1] or b""
        assert new.startswith(old)
        parts = [part.strip(b"\n") for part in new[len(old) :].split(b"\n\n")]
        return [
            old + b"".join(b"\n" + part + b"\n" for part in some)
            for count in range(len(parts) + 1)
            for some in itertools.combinations([part for part in parts if part], count)
        ]

    def read(self) -> Items | None:
        """Open the vault and every item in it; None if there is no vault."""
        try:
            root = Folder.open(str(self.machine.vault))
        except FileNotFoundError:
            return None
        with root:
            if not has_marker(root, FILE):
                assert not ItemStore(root, ".fv").names(), "items without a vault"
                return None
            backend = opened(root, self._source())
            backend.unlock()
            store = ItemStore(root, backend.suffix)
            return {
                name: parse(backend.decrypt("credentials", name, store.read(name)), name).key
                for name in store.names()
            }

    def _source(self) -> KnownPassphrase | _KeyFile:
        if "--no-passphrase" in self.scenario.command.argv:
            return _KeyFile(self.machine.home)
        return KnownPassphrase()

    def check_whole(self, found: Snapshot, *, leftovers: bool) -> None:
        """Require that nothing is torn, nothing is foreign, nothing is open to others.

        `leftovers` allows temporary files.
        """
        known = {_pattern(name) for name in self.start.files() | self.end.files()}
        for name, (mode, data) in found.entries.items():
            if name.startswith(".local"):
                assert mode == (0o700 if data is None else 0o600), (name, oct(mode))
            if data is None:
                continue
            if TEMPORARY.fullmatch(name.rpartition("/")[2]):
                assert leftovers, f"{name} is left"
            elif _pattern(name) not in known:
                folder, _, last = name.rpartition("/")
                assert folder.endswith("locks") or last in ("lock", ".lock"), f"{name} is left"
                assert data == b"", f"{name} is a lock with content"
            elif name.endswith(".slot"):
                keyslots.parse(data, name.rpartition("/")[2], name)
            elif name.endswith("trust.json"):
                with Folder.open(str((self.machine.home / name).parent)) as state:
                    Trust(state)
            for secret in SECRETS:
                assert secret.encode() not in data, f"{name} holds a secret"
        config = found.entries.get(".aws/config", (0, b""))[1] or b""
        assert config in self.config_versions, config

    def check_items(self, *, changed: bool | None) -> None:
        """Require the old items or the new ones; where `changed` is None, either."""
        items, scenario = self.read(), self.scenario
        if changed is None:
            between: tuple[Items | None, ...] = ({},) if scenario.before is None else ()
            assert items in (scenario.before, scenario.after, *between), items
        elif changed:
            assert items == scenario.after, items
        elif scenario.before is None:
            assert not items, items  # no vault, or none but an empty one yet
        else:
            assert items == scenario.before, items

    def check_sessions(self) -> None:
        """Require that every session is whole or gone, and a foreign one is where it was."""
        if self.read() is None or "--no-passphrase" in self.scenario.command.argv:
            return
        shown = survey(SHOW_SESSIONS, self.machine)
        assert shown.status == 0, shown
        if self.scenario.existing == _WITH_SESSIONS and self.scenario.command.argv[0] == "add":
            assert "team/two whole" in shown.out, shown

    def check_second_try(self) -> None:
        """Require that the command works now, and leads where it would have led.

        By then what the first one left is old: whatever is written beside it sweeps it away.
        """
        scenario = self.scenario
        leftovers = [path for path in self.machine.home.rglob(".fv-*.tmp") if _age(path)]
        calls: list[CountedCall] = []
        if scenario.mend is not None:
            mended = survey(scenario.mend, self.machine)
            assert mended.status in (0, 3)
            calls += mended.calls
        again = survey(scenario.again or scenario.command, self.machine)
        written = {Path(call.target).parent for call in (*calls, *again.calls) if call.target}
        for path in leftovers:
            if path.parent.relative_to(self.machine.home) in written:
                assert not path.exists(), f"{path} is never swept"
        assert again.status in scenario.again_ends, again
        assert "older than" not in again.err, again
        check_quiet(again)
        self.check_items(changed=True)


class _KeyFile:
    """Knows the key files."""

    def __init__(self, home: Path) -> None:
        self._texts = [path.read_bytes() for path in sorted(home.glob("keys/*.key"))]
        assert all(text.endswith(b"\n") for text in self._texts), "a key file is torn"

    def secret(self) -> Secret:
        """Give the next one."""
        assert self._texts, "no key file opens the vault"
        return Secret("keyfile", self._texts.pop(), "the test")

    def on_rejected(self, secret: Secret) -> None:
        """Go on with the next."""


def _age(path: Path) -> bool:
    """Let a file be two hours old."""
    then = path.stat().st_mtime - 7200
    os.utime(path, (then, then))
    return True


def _pattern(name: str) -> str:
    """Return a path without what chance or the second try chose in it."""
    return re.sub(r"[0-9a-f]{16}\.slot|@\d{8}T\d{6}Z|^keys/\w+", "#", name)


def check_quiet(outcome: RunOutcome) -> None:
    """Require that neither a secret nor the inside of the program shows."""
    for text in (*SECRETS, "Traceback", "unexpected", "past the harness"):
        assert text not in outcome.everything, outcome


def executed(calls: list[CountedCall], at: int, when: str) -> list[CountedCall]:
    """Return the calls that had their effect when number `at` was struck."""
    return calls[: at + 1] if when == "after" else calls[:at]
