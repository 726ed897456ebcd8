"""The list of profiles on a terminal, where exec and login got none."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from filevault.cli.picker import Picker, cut, display_width, matching, pick_by_number
from filevault.system.raw_terminal import RawTerminal
from tests.conditions.tools import tool
from tests.fakes import FakeAws
from tests.worlds.hot_lane import HotLane
from tests.worlds.machine import PROGRAM, TIMEOUT, Machine

NAMES = ["dev", "staging", "prod-admin", "prod-read", "evil\x1b]0;x\x07"]
LEAVE = "\x1b[?1049l"
EXPLAIN = ("exec", "--explain")


class Terminal:
    """filevault on a terminal as stdin and stderr; stdout is a pipe."""

    def __init__(self, machine: Machine, *argv: str, term: str = "xterm", **env: str) -> None:
        self.master, slave = pty.openpty()
        self.resize(60, 12)
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        self.screen = ""

        def take_terminal() -> None:
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            [*PROGRAM, *argv],
            preexec_fn=take_terminal,  # noqa: PLW1509 - two calls that take no lock
            stdin=slave,
            stdout=subprocess.PIPE,
            stderr=slave,
            env=machine.environment({"TERM": term, **env}),
            cwd=machine.home,
        )

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def until(self, text: str) -> str:
        """Read until the screen shows a text; return and forget all up to it."""
        end = time.monotonic() + TIMEOUT
        poller = select.poll()
        poller.register(self.master, select.POLLIN)
        while text not in self.screen:
            if poller.poll(500):
                self.screen += os.read(self.master, 65536).decode("utf-8", "replace")
            assert time.monotonic() < end, self.screen
        read, found, self.screen = self.screen.partition(text)
        return read + found

    def end(self) -> tuple[int, str]:
        """Return status and stdout; the terminal must be as it was."""
        assert self.process.stdout is not None
        out = self.process.stdout.read().decode()
        status = self.process.wait(TIMEOUT)
        assert termios.tcgetattr(self.slave) == self.before
        return status, out

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        os.close(self.master)
        os.close(self.slave)


Start = Callable[..., Terminal]


@pytest.fixture
def many(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path / "home")
    sections = [f'[profile "{name}"]\ncredential_process = /bin/echo\n' for name in NAMES]
    sections += [f"[profile more{n}]\ncredential_process = /bin/echo\n" for n in range(3000)]
    machine.write_config("".join(sections))
    return machine


@pytest.fixture
def start(many: Machine) -> Iterator[Start]:
    started: list[Terminal] = []

    def begin(*argv: str, **env: str) -> Terminal:
        started.append(Terminal(many, *argv, **env))
        return started[-1]

    yield begin
    for each in started:
        each.close()


def test_a_person_filters_moves_and_takes_a_profile(start: Start) -> None:
    at = start(*EXPLAIN)
    first = at.until("3005 of 3005")
    assert "> dev" in first
    assert "\x1b[7m" in first
    assert "evil\\x1b]0;x\\x07" in first
    assert "\x1b]0" not in first
    at.press("\x1b[F")
    assert "> more2999" in at.until("of 3005")
    at.press("PROD")
    at.until("PROD\x1b[K")
    assert "> prod-admin" in at.until("2 of 3005")
    at.press("\x1b[B")
    assert "> prod-read" in at.until("2 of 3005")
    at.press("x\x7f")
    at.until("0 of 3005")
    at.until("2 of 3005")
    at.resize(24, 5)
    small = at.until("2 of 3005")
    assert small.count("\x1b[K") == 3
    drawn = small.partition("\x1b[1;1H")[2]
    assert all(len(line) < 24 + 20 for line in drawn.split("\x1b[K"))
    at.press("\x1bOB\r")
    status, out = at.end()
    assert status == 0
    assert "prod-read" in out
    assert "\x1b" not in out


@pytest.mark.parametrize("way", ["Esc", "Ctrl-C", "Ctrl-D", "SIGTERM", "SIGHUP"])
def test_whatever_ends_it_the_terminal_is_as_it_was(start: Start, way: str) -> None:
    argv = ("login", "--explain") if way == "Esc" else EXPLAIN
    at = start(*argv, NO_COLOR="1")
    assert "\x1b[7m" not in at.until("of 3005")
    if way.startswith("SIG"):
        at.process.send_signal(signal.Signals[way])
        assert at.end() == (-signal.Signals[way], "")
    else:
        at.press({"Esc": "\x1b", "Ctrl-C": "\x03", "Ctrl-D": "\x04"}[way])
        assert at.end() == (130, "")
        assert "filevault: interrupted" in at.until("interrupted")
        return
    at.until(LEAVE)


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_terminal_that_can_do_no_more_shows_a_numbered_list(start: Start, term: str) -> None:
    at = start(*EXPLAIN, term=term)
    shown = at.until("part of a name: ")
    assert "   1  dev\r\n" in shown
    assert "and 2965 more" in shown
    assert "\x1b" not in shown
    at.press("nothing\n")
    at.until("part of a name: ")
    at.press("prod\n")
    assert "   2  prod-read\r\n" in at.until("part of a name: ")
    at.press("2\n")
    status, out = at.end()
    assert status == 0
    assert "prod-read" in out


def test_without_a_person_it_is_an_error_at_once(many: Machine, start: Start) -> None:
    assert many.run("exec", "--", "true").status == 125
    assert many.run("login", "--explain").status == 2
    piped = many.on_terminal("exec", "--", "true")  # stdin is no terminal
    assert (piped.status, piped.out, piped.tty) == (125, "", "")
    at = start("export")
    assert at.end() == (2, "")
    assert "no profile is given" in at.until("hint")


def test_tmux_stops_continues_and_shows_it(many: Machine, tmp_path: Path) -> None:
    """A real shell with job control: Ctrl-Z gives the terminal back, fg the list."""
    tmux = [tool("tmux"), "-S", str(tmp_path / "tmux"), "-f", "/dev/null"]
    environment = many.environment({"TERM": "xterm", "PS1": "ready> ", "HISTFILE": ""})

    def call(*argv: str) -> str:
        done = subprocess.run([*tmux, *argv], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done
        return done.stdout

    def until(text: str) -> str:
        end = time.monotonic() + TIMEOUT
        while text not in (shown := call("capture-pane", "-p", "-t", "0")):
            assert time.monotonic() < end, shown
            time.sleep(0.02)
        return shown

    command = ["bash", "--norc", "--noprofile", "-i"]
    call("new-session", "-d", "-x", "70", "-y", "14", *command)
    try:
        until("ready>")
        call("send-keys", " ".join([*PROGRAM, *EXPLAIN]), "Enter")
        shown = until("3005 of 3005").splitlines()
        assert shown[0] == "profile:"
        assert shown[1:3] == ["> dev", "  staging"]
        call("send-keys", "C-z")
        until("Stopped")
        call("send-keys", "stty -a | grep -c -e ' -echo ' -e ' -icanon '", "Enter")
        until("\n0\n")
        call("send-keys", "fg", "Enter")
        until("3005 of 3005")
        call("resize-window", "-x", "40", "-y", "8")
        call("send-keys", "Down", "Down")
        assert len([line for line in until("> prod-admin").splitlines() if line]) == 8
        call("send-keys", "Enter")
        assert "profile:" not in until("ready>")
    finally:
        call("kill-server")


# The parts


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("", NAMES),
        ("prod", ["prod-admin", "prod-read"]),
        ("READ prod", ["prod-read"]),
        ("ad", ["prod-admin", "prod-read"]),
        ("a", ["staging", "prod-admin", "prod-read"]),
        ("zz", []),
    ],
)
def test_what_matches(typed: str, expected: list[str]) -> None:
    assert matching(NAMES, typed) == expected


def test_names_that_begin_with_it_come_first() -> None:
    assert matching(["old-dev", "dev"], "dev") == ["dev", "old-dev"]


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (20, 4), (80, 24), (500, 200)])
def test_every_line_fits_whatever_the_names_and_the_window(size: tuple[int, int]) -> None:
    columns, lines = size
    picker = Picker(["x" * 300, "漢字" * 60, "e\u0301" * 90, "\x1b[2J"], color=False)
    picker.typed = "漢" * 60
    shown, cursor = picker.draw(columns, lines)
    assert len(shown) <= lines
    assert all(display_width(line) <= max(1, columns - 1) for line in shown)
    assert cursor < max(2, columns)
    assert cut("漢字", 3) == "漢"


def keys(data: bytes) -> list[str]:
    """Return the names or the texts of the keys in what a terminal sends."""
    reading, writing = os.pipe()
    os.write(writing, data + b"|")
    raw, found = RawTerminal(reading, lambda _fd: True), []
    while (key := raw.key()) is not None and key.text != "|":
        found.append(key.name or key.text)
    os.close(reading)
    os.close(writing)
    return found


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\x1b[A\x1bOB\x10\x0e", ["up", "down", "up", "down"]),
        (b"\x1b[5~\x1b[6~\x1b[1~\x1bOF", ["page up", "page down", "home", "end"]),
        (b"\x1b[1;5C\x1b[200~\x1b[<0;1;1Mx", ["x"]),
        ("ü漢".encode(), ["ü", "漢"]),
        (b"\x7f\x15\r", ["backspace", "clear", "enter"]),
        (b"\x00\x01\xffa", ["a"]),
        (b"\x1bx", ["cancel", "x"]),
    ],
)
def test_keys_are_told_apart(data: bytes, expected: list[str]) -> None:
    assert [each for each in keys(data) if each != "\ufffd"] == expected


class Answers:
    """A prompter that gives answers in turn."""

    present = True

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)

    def say(self, text: str) -> None:
        assert "\x1b" not in text

    def line(self, question: str) -> str:
        assert question
        return self.answers.pop(0)

    def hidden(self, question: str) -> bytes:
        raise AssertionError(question)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["2"], "staging"),
        (["dev"], "dev"),
        (["read"], "prod-read"),
        (["prod", "1"], "prod-admin"),
        (["99", "²", "5"], NAMES[4]),
    ],
)
def test_answers_to_the_numbered_list(answers: list[str], expected: str) -> None:
    assert pick_by_number(NAMES, Answers(*answers)) == expected


def test_no_answer_to_the_numbered_list_leaves() -> None:
    with pytest.raises(KeyboardInterrupt):
        pick_by_number(NAMES, Answers(""))


def test_the_next_run_does_not_take_the_profile_that_was_picked(
    tmp_path_factory: pytest.TempPathFactory, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hot lane answers a command line as before, and this one had another answer each time."""
    lane = HotLane(tmp_path_factory.mktemp("p") / "home", aws, monkeypatch, "agent")
    try:
        at = Terminal(lane.machine, "exec", "--", "true")
        try:
            at.until("profile:")
            at.press("admin\r")
            assert at.end() == (0, "")
        finally:
            at.close()
        assert lane.answers == []
        assert lane.machine.run("exec", "--", "true").status == 125
        lane.machine.ok("exec", "admin", "--", "true")
        assert len(lane.answers) == 1
    finally:
        lane.close()
