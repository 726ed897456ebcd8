"""`pass` and `age` stores: whatever fails or is killed, what was stored is there."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from filevault.credentials import AccessKey
from filevault.files import Folder
from filevault.trust import Trust
from filevault.vault.items import parse
from tests.conftest import tool
from tests.faults.harness import Command, NeverReached, Snapshot, run_with_fault, survey
from tests.faults.scenarios import NEW, NOW, ONE, SECRETS, TEMPORARY, TWO, adding, check_quiet
from tests.machine import Machine
from tests.stores import GpgHome

BOTH = {"one": ONE, "team/two": TWO}
MODES = ("ENOSPC", "EIO", "EROFS", "EINTR")
COMMANDS = {
    "add": (adding("deep/new", NEW, "--no-config", "--force"), {**BOTH, "deep/new": NEW}),
    "replace": (adding("one", NEW, "--no-config", "--force"), {**BOTH, "one": NEW}),
    "remove": (Command(("remove", "-f", "team/two")), {"one": ONE}),
}


@pytest.fixture(scope="module")
def gpg() -> Iterator[GpgHome]:
    tool("gpg")
    home = GpgHome()
    home.make_key("jon@example.com")
    yield home
    home.close()


class Store:
    """A machine with a shared store that holds two keys."""

    def __init__(self, kind: str, machine: Machine, gpg: GpgHome) -> None:
        self.kind, self.machine, self.gpg = kind, machine, gpg
        machine.env["FILEVAULT_BACKEND"] = kind
        machine.freeze(NOW)
        self.identities = machine.home / ".config/filevault/identities"
        if kind == "pass":
            machine.env |= gpg.env()
            self.root = machine.home / ".password-store/aws"
            words: tuple[str, ...] = ("--recipient", "jon@example.com")
        else:
            self.root = machine.vault
            words = ("--no-passphrase",)
        for command in (
            Command(("init", *words)),
            adding("one", ONE, "--no-config"),
            adding("team/two", TWO, "--no-config"),
        ):
            made = survey(command, machine)
            assert made.status == 0, made
        self.start = Snapshot.take(machine.home)

    def holds(self, path: str) -> bool:
        """Tell whether a path below the home is that of an item."""
        return (self.machine.home / path).is_relative_to(self.root) and path.endswith(
            (".gpg", ".age")
        )

    def read(self) -> dict[str, AccessKey]:
        """Open every item with gpg or age."""
        suffix = ".gpg" if self.kind == "pass" else ".age"
        return {
            str(path.relative_to(self.root))[: -len(suffix)]: self._open(path)
            for path in sorted(self.root.rglob(f"*{suffix}"))
        }

    def _open(self, path: Path) -> AccessKey:
        argv = [tool("age"), "-d", "-i", str(self.identities), str(path)]
        if self.kind == "pass":
            argv = [tool("gpg"), "--batch", "--quiet", "--homedir", self.gpg.path, "-d", str(path)]
        done = subprocess.run(argv, capture_output=True, check=True)
        return parse(done.stdout, path.name).key

    def check_whole(self, *, leftovers: bool) -> None:
        """Require that nothing is torn, foreign or open to others."""
        for name, (mode, data) in Snapshot.take(self.machine.home).entries.items():
            if data is None:
                continue
            if TEMPORARY.fullmatch(name.rpartition("/")[2]):
                assert leftovers, f"{name} is left"
            if name.startswith((".local", ".password-store")):
                assert mode == 0o600, (name, oct(mode))
            if name.endswith("trust.json"):
                with Folder.open(str((self.machine.home / name).parent)) as state:
                    Trust(state)
            for secret in SECRETS:
                assert secret.encode() not in data, f"{name} holds a secret"


@pytest.fixture(params=["pass", "age"])
def store(request: pytest.FixtureRequest, quick_machine: Machine, gpg: GpgHome) -> Store:
    if request.param == "age":
        tool("age")
    return Store(request.param, quick_machine, gpg)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_kill_at_any_call_loses_nothing(store: Store, name: str) -> None:
    command, after = COMMANDS[name]
    whole = survey(command, store.machine)
    assert (whole.status, store.read()) == (0, after), whole
    decisive = "unlink" if name == "remove" else "rename"
    for number, call in enumerate(whole.calls):
        if call.name not in ("open", "write", "rename", "unlink", "mkdir", "rmdir"):
            continue
        store.start.restore()
        killed = run_with_fault(command, store.machine, at=number, mode="kill", when="after")
        assert killed.status == -9, (call, killed)
        check_quiet(killed)
        done = [each for each in killed.calls[: number + 1] if each.name == decisive]
        changed = any(store.holds(each.target or each.path) for each in done)
        assert store.read() == (after if changed else BOTH), call
        store.check_whole(leftovers=True)
        again = survey(command, store.machine)
        assert again.status == (4 if changed and name == "remove" else 0), (call, again)
        assert store.read() == after, call


@pytest.mark.parametrize("name", COMMANDS)
def test_a_call_that_fails_costs_nothing(store: Store, name: str) -> None:
    command, after = COMMANDS[name]
    calls = survey(command, store.machine).calls
    for number, call in enumerate(calls):
        for mode in MODES if call.name in ("open", "write", "rename", "unlink") else ():
            store.start.restore()
            failed = run_with_fault(command, store.machine, at=number, mode=mode)
            check_quiet(failed)
            assert (failed.status, len(failed.errors)) in ((0, 0), (7, 1)), (call, mode, failed)
            items = store.read()
            assert items in (BOTH, after), (call, mode)
            if failed.status == 0:
                assert items == after, (call, mode)
            store.check_whole(leftovers=False)


def test_a_kill_while_an_age_vault_is_made_leaves_none_or_one_that_opens(
    quick_machine: Machine,
) -> None:
    tool("age")
    machine = quick_machine
    machine.env["FILEVAULT_BACKEND"] = "age"
    machine.freeze(NOW)
    start = Snapshot.take(machine.home)
    init = Command(("init", "--no-passphrase"))
    calls = survey(init, machine).calls
    identities = machine.home / ".config/filevault/identities"
    add = adding("one", ONE, "--no-config")
    for number in range(len(calls)):
        start.restore()
        try:
            run_with_fault(init, machine, at=number, mode="kill", when="after")
        except NeverReached:
            continue
        if (machine.vault / ".age-recipients").exists():
            again = survey(init, machine)
            assert again.status == 0, (calls[number], again)
        else:
            identities.unlink(missing_ok=True)  # what the hint says: it opens nothing yet
            again = survey(init, machine)
            assert again.status == 0, (calls[number], again)
        assert survey(add, machine).status == 0
        argv = [tool("age"), "-d", "-i", str(identities), str(machine.vault / "one.age")]
        done = subprocess.run(argv, capture_output=True, check=True)
        assert parse(done.stdout, "one").key == ONE


def test_faults_reach_the_shared_stores(store: Store) -> None:
    """The campaign above is empty if the harness misses the store's files."""
    calls = survey(COMMANDS["replace"][0], store.machine).calls
    targets = [call.target for call in calls if call.name == "rename"]
    assert any(map(store.holds, targets))
