"""While each command runs, and after it, no secret is in an argv, an environment or a temp file."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents import short_folder
from tests.cli.scene import Scene
from tests.machine import PASSPHRASE

NEW = "an altogether different passphrase"
RUNS: dict[str, list[tuple[str, ...]]] = {
    "list": [("list",), ("list", "--json")],
    "exec": [("exec", "jonsmith", "--explain"), ("exec", "admin", "--explain")],
    "export": [("export", "admin"), ("export", "jonsmith", "-n", "--format", "json")],
    "login": [("login", "admin", "--stdout"), ("login", "jonsmith", "--stdout")],
    "rotate": [("rotate", "jonsmith", "--dry-run"), ("rotate", "jonsmith")],
    "unlock": [("unlock", "--ttl", "1m"), ("status",), ("export", "admin"), ("lock",)],
    "slot": [("slot", "add", "--label", "two"), ("slot", "list")],
    "passphrase": [("passphrase",)],
    "rekey": [("rekey", "--drop-slots")],
    "recipients": [("recipients", "list"), ("recipients", "accept")],
    "git": [("git", "init", "--quiet"), ("git", "status")],
    "clear": [("clear",)],
    "remove": [("remove", "--force", "jonsmith")],
}


class Scanner:
    """Looks at all processes of a machine, and its temporary folder, as often as it can.

    The passphrases come from files, so that not even filevault's own environment holds one.
    """

    def __init__(self, scene: Scene, temporary: Path) -> None:
        self._scene = scene
        self._home = f"HOME={scene.machine.home}".encode()
        self.temporary = temporary
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.seen: set[bytes] = set()
        self.found: set[str] = set()

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Look a last time and end."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.is_set():
            needles = [s.encode() for s in {*self._scene.secrets(), PASSPHRASE, NEW}]
            for pid in filter(str.isdigit, os.listdir("/proc")):
                self._look(Path("/proc") / pid, needles)
            for path in self.temporary.rglob("*"):
                self._compare(f"{path}", _bytes(path), needles)

    def is_ours(self, process: Path) -> bool:
        """Tell whether a process is of this machine."""
        return self._home in _bytes(process / "environ").split(b"\0")

    def _look(self, process: Path, needles: list[bytes]) -> None:
        if not self.is_ours(process):
            return
        environment = _bytes(process / "environ")
        argv = _bytes(process / "cmdline")
        self.seen.add(argv)
        self._compare(f"argv {argv!r}", argv, needles)
        self._compare(f"environment of {argv!r}", environment, needles)

    def _compare(self, what: str, data: bytes, needles: list[bytes]) -> None:
        if any(needle in data for needle in needles):
            self.found.add(what)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.fixture
def temporary() -> Iterator[Path]:
    with short_folder() as folder:
        yield folder


@pytest.fixture
def scanner(scene: Scene, temporary: Path) -> Iterator[Scanner]:
    scene.configure().store()
    secret = scene.machine.home / "secret"
    secret.mkdir()
    for name, text in (("old", PASSPHRASE), ("new", NEW)):
        (secret / name).write_text(text)
        (secret / name).chmod(0o600)
    machine = scene.machine
    machine.places = "agent"  # the kernel's keyring belongs to the whole user
    machine.env.pop("FILEVAULT_PASSPHRASE")
    machine.env |= {
        "TMPDIR": str(temporary),
        "XDG_RUNTIME_DIR": str(temporary),
        "FILEVAULT_PASSPHRASE_FILE": str(secret / "old"),
        "FILEVAULT_NEW_PASSPHRASE_FILE": str(secret / "new"),
        "AWS_ENDPOINT_URL_SIGNIN": scene.aws.url,
        "AWS_ENDPOINT_URL_IAM": scene.aws.url,
        "FILEVAULT_DEBUG": "1",
    }
    scanner = Scanner(scene, temporary)
    scanner.start()
    yield scanner
    scanner.stop()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if scanner.is_ours(Path("/proc") / pid):
            os.kill(int(pid), signal.SIGKILL)  # an agent goes on by itself


@pytest.mark.parametrize("command", RUNS)
def test_nothing_shows_during_a_command_or_after_it(
    scene: Scene, scanner: Scanner, command: str
) -> None:
    machine = scene.machine
    (machine.home / ".gitconfig").write_text("[user]\n\tname = Jon\n\temail = jon@example.com\n")
    for argv in RUNS[command]:
        machine.ok(*argv)
    assert any(command.encode() in argv for argv in scanner.seen), scanner.seen
    assert scanner.found == set()


def test_the_scanner_finds_what_it_looks_for(scene: Scene, scanner: Scanner) -> None:
    machine = scene.machine
    secret = scene.user.secret_access_key
    machine.ok("exec", "jonsmith", "-n", "--", "sleep", "0.2")
    assert any(what.startswith("environment of") for what in scanner.found)  # as was asked for
    scanner.found.clear()
    machine.ok("exec", "jonsmith", "-n", "--", "sh", "-c", f"sleep 0.2; : {secret}")
    assert any(what.startswith("argv") for what in scanner.found)
