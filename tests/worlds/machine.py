"""A home and an environment in which filevault runs as a process, with a terminal on demand."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import select
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.launch import prefork

ROOT = Path(__file__).resolve().parents[2]
LAUNCHER = str(ROOT / "tests/launch/launcher.py")
PROGRAM = (sys.executable, LAUNCHER)
PASSPHRASE = "correct horse battery staple"
TIMEOUT = 60.0
_LONGEST_AFTER = 0.2  # seconds after its end, for what other processes write to its terminal
# A launcher's first words that put the terminal of `Machine.on_terminal` on stderr, too.
_FIND = "n for n in map(int, os.listdir('/proc/self/fd')) if n > 2 and os.isatty(n)"
ON_STDERR = (
    sys.executable,
    "-c",
    f"import os, sys; os.dup2(next({_FIND}), 2); os.execvp(sys.argv[1], sys.argv[1:])",
)


class ProcessResult(NamedTuple):
    """How a process ended; `tty` is all that the terminal showed, `echo` how it was left."""

    status: int
    out: str
    err: str
    tty: str = ""
    echo: bool = True

    @property
    def everything(self) -> str:
        """All text, for searching it for what must not be there."""
        return self.out + self.err + self.tty


class TypedAnswer(NamedTuple):
    """What to type once the terminal shows `question`."""

    question: str
    text: str


class Machine:
    """One user's home with vault, state and AWS config.

    `launcher` is the argv prefix that starts filevault; by default the real program with a cheap
    KDF and a clock that `advance` moves, in a copy of a process that has its imports unless
    `fresh` asks for a new interpreter. `places` says where it holds keys, by default nowhere,
    and `root` in which folder its agents find `/run` and `/tmp`; an agent needs one. With `lane`
    the hot lane is tried, and `names` is what the names of its keys in the kernel keyring begin
    with.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        self.clock_file = home / ".clock"
        self.clock_file.write_text("0", encoding="ascii")
        self.kdf = "cheap"
        self.places = ""
        self.root = ""
        self.lane = False
        self.names = ""
        self.launcher: Sequence[str] = PROGRAM
        self.fresh = False
        self.env: dict[str, str] = {
            "HOME": str(home),
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '/usr/bin:/bin')}",
            "LANG": "C.UTF-8",
            "SHELL": "/bin/sh",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @property
    def vault(self) -> Path:
        """The default vault."""
        return self.home / ".local/share/filevault"

    @property
    def state(self) -> Path:
        """The folder of state directories."""
        return self.home / ".local/state/filevault"

    @property
    def config(self) -> Path:
        """The AWS config."""
        return self.home / ".aws/config"

    def write_config(self, text: str) -> None:
        """Write the AWS config."""
        self.config.parent.mkdir(exist_ok=True)
        self.config.write_text(text, encoding="utf-8")

    def advance(self, seconds: float) -> None:
        """Move this machine's clock."""
        now = float(self.clock_file.read_text(encoding="ascii"))
        self._set_clock(str(now + seconds))

    def freeze(self, at: float) -> None:
        """Stop this machine's clock at a time, in Unix seconds."""
        self._set_clock(f"@{at}")

    def _set_clock(self, text: str) -> None:
        """Replace the file at once: a process that is running reads it at any time."""
        new = self.home / ".clock.new"
        new.write_text(text, encoding="ascii")
        new.replace(self.clock_file)

    def environment(self, env: Mapping[str, str | None] | None = None) -> dict[str, str]:
        """Return the environment of a process; None takes a variable away."""
        assert self.root or "agent" not in self.places, "an agent would listen in the real /tmp"
        orders = {"clock": str(self.clock_file), "kdf": self.kdf, "places": self.places}
        orders["root"] = self.root
        if self.lane:
            orders["lane"] = "1"
        if self.names:
            orders["names"] = self.names
        merged: dict[str, str | None] = {**self.env, "LAUNCH": json.dumps(orders), **(env or {})}
        return {name: value for name, value in merged.items() if value is not None}

    def run(
        self,
        *argv: str,
        env: Mapping[str, str | None] | None = None,
        stdin: str | bytes | None = None,
        pass_fds: Sequence[int] = (),
        cwd: Path | None = None,
        timeout: float = TIMEOUT,
    ) -> ProcessResult:
        """Run filevault without a terminal."""
        data = stdin.encode() if isinstance(stdin, str) else stdin
        with self._start(
            argv,
            env,
            stdin=subprocess.DEVNULL if data is None else subprocess.PIPE,
            pass_fds=pass_fds,
            cwd=cwd or self.home,
        ) as process:
            try:
                out, err = process.communicate(data, timeout=timeout)
            except BaseException:
                process.kill()
                raise
        return ProcessResult(process.returncode, _text(out), _text(err))

    def popen(
        self, *argv: str, env: Mapping[str, str | None] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start filevault without a terminal and do not wait."""
        return self._start(argv, env, stdin=subprocess.DEVNULL, cwd=self.home)

    def on_open_terminal(
        self, terminal: int, *argv: str, env: Mapping[str, str | None] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start filevault with a terminal of the caller's that controls it; do not wait."""
        options = {"stdin": subprocess.DEVNULL, "pass_fds": (terminal,), "cwd": self.home}
        return self._start(argv, env, terminal=terminal, **options)

    def _start(
        self,
        argv: Sequence[str],
        env: Mapping[str, str | None] | None,
        *,
        terminal: int | None = None,
        **options: Any,
    ) -> subprocess.Popen[bytes]:
        """Start filevault in a session of its own, with a terminal that controls it or none."""
        environment = self.environment(env)
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment}
        if self.launcher == PROGRAM and not self.fresh and prefork.suits(argv, environment):
            return prefork.Prefork(argv, terminal=terminal, **options)
        if terminal is None:
            return subprocess.Popen([*self.launcher, *argv], start_new_session=True, **options)

        def take_terminal() -> None:
            os.setsid()
            fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

        return subprocess.Popen(
            [*self.launcher, *argv],
            preexec_fn=take_terminal,  # noqa: PLW1509 - two calls that take no lock
            **options,
        )

    def ok(self, *argv: str, **options: object) -> ProcessResult:
        """Run filevault and require success."""
        result = self.run(*argv, **options)  # type: ignore[arg-type]
        assert result.status == 0, (argv, result)
        return result

    def on_terminal(
        self,
        *argv: str,
        answers: Sequence[TypedAnswer] = (),
        env: Mapping[str, str | None] | None = None,
        stdin: bytes | None = None,
        timeout: float = TIMEOUT / 3,
    ) -> ProcessResult:
        """Run filevault with a controlling terminal; stdin, stdout and stderr are pipes.

        Each answer is typed when its question appears; a question that never comes fails.
        """
        master, slave = pty.openpty()
        with self._start(
            argv,
            env,
            terminal=slave,
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            pass_fds=(slave,),
            cwd=self.home,
        ) as process:
            os.close(slave)
            screen = _Screen(master, list(answers))
            watcher = threading.Thread(target=screen.watch, daemon=True)
            watcher.start()
            try:
                out, err = process.communicate(stdin, timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                out, err = process.communicate()
                raise AssertionError(f"it hangs; the terminal shows {screen.text!r}") from None
            finally:
                screen.stop.set()
                watcher.join(5)
                echo = bool(termios.tcgetattr(master)[3] & termios.ECHO)
                os.close(master)
        assert not screen.answers, f"never asked {screen.answers}: {screen.text!r} {err!r}"
        return ProcessResult(process.returncode, _text(out), _text(err), screen.text, echo)

    def with_vault(self) -> Machine:
        """Make a vault with PASSPHRASE, which FILEVAULT_PASSPHRASE holds from now on."""
        self.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
        self.ok("init")
        return self

    def add(self, profile: str, key_id: str, secret: str, *options: str) -> Machine:
        """Store a key from stdin."""
        self.ok("add", profile, "--stdin", *options, stdin=f"{key_id}\n{secret}\n")
        return self


class _Screen:
    """Watches the master side, types answers."""

    def __init__(self, master: int, answers: list[TypedAnswer]) -> None:
        self.master = master
        self.answers = answers
        self.text = ""
        self.stop = threading.Event()

    def watch(self) -> None:
        """Watch until told to stop; a terminal that is gone ends it, too."""
        with contextlib.suppress(OSError, ValueError):
            self._watch()

    def _watch(self) -> None:
        poller = select.poll()  # select(2) takes no descriptor above 1023
        poller.register(self.master, select.POLLIN)
        seen = 0
        end: float | None = None
        while end is None or time.monotonic() < end:
            # Looked at before the terminal is: what was written before the end is there then.
            if end is None and self.stop.is_set():
                end = time.monotonic() + _LONGEST_AFTER
            if poller.poll(20 if end is None else 50):
                try:
                    part = os.read(self.master, 4096)
                except OSError:  # no program has it open
                    if end is not None:
                        return
                    self.stop.wait(0.02)  # this one can open it again
                    continue
                self.text += part.decode("utf-8", "replace")
            elif end is not None:
                return  # what the program left behind has it open, and is silent
            if self.answers and self.answers[0].question in self.text[seen:]:
                seen = len(self.text)
                answer = self.answers.pop(0)
                # The program switches echo off before it asks, so the answer may go at once.
                os.write(self.master, answer.text.encode() + b"\n")


def _text(data: bytes | None) -> str:
    return (data or b"").decode("utf-8", "surrogateescape")
