"""A machine whose session keys stay in one key cache, kernel keyring or agent, for a day."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from filevault.keycache.cache import KeyCache
from filevault.keycache.cached_key import SESSION, VAULT
from filevault.keycache.client import AgentClient
from filevault.keycache.kernel import KernelKeyring
from filevault.keycache.protocol import peer
from filevault.system.times import boottime
from tests.conditions.kernel_keyring import new_session_keyring
from tests.fakes import FakeAws
from tests.worlds.agent import short_folder
from tests.worlds.machine import PASSPHRASE, Machine, ProcessResult, TypedAnswer

QUESTION = "Passphrase for"
CODE = "MFA code of"
PASSPHRASE_TYPED = TypedAnswer(QUESTION, PASSPHRASE)
NAMES = {"kernel": "kernel keyring", "agent": "agent"}
CRON: Mapping[str, str | None] = {
    "LANG": None,
    "PATH": "/usr/bin:/bin",
    "AWS_EC2_METADATA_DISABLED": None,
    "XDG_RUNTIME_DIR": None,
    "TMPDIR": None,
}


class KeyCacheMachine:
    """A machine on which only a terminal unlocks the vault, and whose key cache is `place`.

    `root` is a folder with a short path, in which its agents find `/run` and `/tmp`: those of
    the user who runs the tests are not touched. The clocks of machine and AWS go together.
    """

    def __init__(self, machine: Machine, aws: FakeAws, place: str, root: Path) -> None:
        self.machine = machine
        self.aws = aws
        self.place = NAMES[place]
        runtime = root / f"run/user/{os.geteuid()}"
        runtime.mkdir(parents=True)
        (root / "tmp").mkdir()
        self.sockets = [str(runtime / "filevault")]
        self.passphrases = 0
        self.codes = 0
        machine.places = place
        machine.root = str(root)
        machine.env["XDG_RUNTIME_DIR"] = str(runtime)
        machine.env["TMPDIR"] = str(root / "tmp")

    def prepare(self, *argv: str, **options: object) -> ProcessResult:
        """Run something with the passphrase at hand, which therefore holds no key."""
        return self.machine.ok(*argv, env={"FILEVAULT_PASSPHRASE": PASSPHRASE}, **options)

    def wait(self, seconds: float) -> None:
        """Let time go by, here and at AWS."""
        self.machine.advance(seconds)
        self.aws.clock.advance(seconds)

    def type(self, *argv: str, answers: Sequence[TypedAnswer] = ()) -> ProcessResult:
        """Run filevault at a new terminal; these questions and no others must come."""
        result = self.machine.on_terminal(*argv, answers=answers)
        self.passphrases += result.tty.count(QUESTION)
        self.codes += result.tty.count(CODE)
        assert result.tty.count(QUESTION) + result.tty.count(CODE) == len(answers)
        return result

    def typed(self, *argv: str, answers: Sequence[TypedAnswer] = ()) -> ProcessResult:
        """The same, and require success."""
        result = self.type(*argv, answers=answers)
        assert result.status == 0, (argv, result)
        return result

    def unlock(self, *options: str) -> ProcessResult:
        """Unlock at a terminal."""
        return self.typed("unlock", *options, answers=[PASSPHRASE_TYPED])

    def quietly(self, *argv: str, way: str = "setsid") -> ProcessResult:
        """Run filevault where nobody can be asked: the run of a job, or of another login."""
        if way == "cron":
            return self.machine.run(*argv, env=CRON)
        launcher = self.machine.launcher
        if way == "new session keyring":
            self.machine.launcher = (*new_session_keyring(), *launcher)
        try:
            return self.machine.run(*argv)
        finally:
            self.machine.launcher = launcher

    @property
    def states(self) -> list[str]:
        """The state ids of the vaults that were used here."""
        return [path.name for path in self.machine.state.glob("*") if len(path.name) == 32]

    @property
    def cache(self) -> KeyCache:
        """What is held, as a program of the same user finds it."""
        place = KernelKeyring() if self.place == NAMES["kernel"] else AgentClient(self.sockets)
        now = float(self.machine.clock_file.read_text())
        return KeyCache([place], lambda: boottime() + now)

    def held(self) -> list[str]:
        """Return which kinds of keys lie there, whether they fit or not."""
        return [status.key_type for state in self.states for status in self.cache.entries(state)]

    def found(self) -> list[bytes]:
        """Return the keys themselves."""
        place = KernelKeyring() if self.place == NAMES["kernel"] else AgentClient(self.sockets)
        found = [place.get(state, kind) for state in self.states for kind in (SESSION, VAULT)]
        return [held.key for held in found if held is not None]

    def agents(self) -> list[int]:
        """Return the process ids of the agents that listen for this machine."""
        return agents_in(self.sockets)

    def leave(self) -> None:
        """Forget every key and end every agent."""
        for state in self.states:
            KernelKeyring().forget(state)
        end_agents(self.sockets)


def agents_in(folders: Sequence[str]) -> list[int]:
    """Return the process ids of the agents that listen in folders."""
    found = []
    for folder in folders:
        with socket.socket(socket.AF_UNIX) as connection, contextlib.suppress(OSError):
            connection.connect(f"{folder}/agent.sock")
            found.append(peer(connection)[0])
    return found


def end_agents(folders: Sequence[str]) -> None:
    """End the agents that listen in folders."""
    for pid in agents_in(folders):
        with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
            os.kill(pid, signal.SIGTERM)


@contextlib.contextmanager
def key_cache_machine(machine: Machine, aws: FakeAws, place: str) -> Iterator[KeyCacheMachine]:
    """Make one; at the end, also of a test that fails, leave no key and no agent."""
    with short_folder() as root:
        desk = KeyCacheMachine(machine, aws, place, root)
        try:
            yield desk
        finally:
            desk.leave()
