"""Signals at a hidden prompt: the terminal is given back as it was, whoever ends or stops us."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator

import pytest

from tests.samples import EXAMPLE_ID
from tests.worlds.machine import PASSPHRASE, ROOT, TIMEOUT, Machine

QUESTION = "Passphrase for"
# What a shell does: a job in a process group of its own, in the foreground.
SHELL = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
job = os.fork()
if not job:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execvp(sys.argv[1], sys.argv[1:])
while True:
    _, status = os.waitpid(job, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        break
    os.tcsetpgrp(0, os.getpgrp())
    print("the job stopped", flush=True)
    input()
    os.tcsetpgrp(0, job)
    os.kill(job, signal.SIGCONT)
print("ended", os.waitstatus_to_exitcode(status), flush=True)
"""


class Shell:
    """A terminal with a shell whose one job is filevault."""

    def __init__(self, machine: Machine, *argv: str) -> None:
        self.master, slave = pty.openpty()
        self.text = ""
        environment = machine.environment({"FILEVAULT_PASSPHRASE": None})
        self.process = subprocess.Popen(
            [sys.executable, "-c", SHELL, *machine.launcher, *argv],
            env=environment,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=machine.home,
        )
        os.close(slave)

    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self.master)[3] & termios.ECHO)

    @property
    def job(self) -> int:
        group = os.tcgetpgrp(self.master)
        assert group > 1  # anything less would be a signal to many
        return group

    def expect(self, text: str) -> str:
        """Read until the terminal shows a text; return what it showed before."""
        end = time.monotonic() + TIMEOUT / 3
        while text not in self.text:
            assert time.monotonic() < end, f"{text!r} does not come: {self.text!r}"
            poller = select.poll()  # select(2) takes no descriptor above 1023
            poller.register(self.master, select.POLLIN)
            if poller.poll(100):
                with contextlib.suppress(OSError):
                    self.text += os.read(self.master, 4096).decode()
        before, _, self.text = self.text.partition(text)
        return before

    def close(self) -> None:
        """End the shell, and with its terminal the job."""
        self.process.kill()
        self.process.wait()
        os.close(self.master)

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())


@pytest.fixture
def shell(machine: Machine) -> Iterator[Shell]:
    machine.with_vault().add("jon", EXAMPLE_ID, "x" * 40, "--no-config")
    shell = Shell(machine, "export", "jon", "-n")
    yield shell
    shell.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_that_ends_us_gives_the_echo_back_first(
    shell: Shell, number: signal.Signals
) -> None:
    shell.expect(QUESTION)
    assert not shell.echoes()
    os.kill(shell.job, number)
    shell.expect(f"ended {-number}")
    assert shell.echoes()


def test_stopped_at_the_prompt_the_echo_is_back_and_continued_it_is_off_again(
    shell: Shell,
) -> None:
    for _ in range(2):
        shell.expect(QUESTION)
        assert not shell.echoes()
        shell.type("\x1a")
        shell.expect("the job stopped")
        assert shell.echoes()
        shell.type("\n")  # the shell reads it
    shell.expect(QUESTION)
    assert not shell.echoes()
    shell.type(f"{PASSPHRASE}\n")
    shown = shell.expect("ended 0")
    assert f"AWS_ACCESS_KEY_ID={EXAMPLE_ID}" in shown
    assert PASSPHRASE not in shown
    assert shell.echoes()


RACE = """
import os, signal, sys, threading, time
from filevault.unlock import prompt
number = int(sys.argv[1])
signal.pthread_sigmask(signal.SIG_BLOCK, [number])
def elsewhere():
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    time.sleep(0.1)
    os.kill(os.getpid(), number)
    time.sleep(60)
write = prompt._write
def asked(fd, text):
    write(fd, text)
    if text == "Question: ":
        threading.Thread(target=elsewhere, daemon=True).start()
prompt._write = asked
getattr(prompt.Terminal(), sys.argv[2])("Question: ")
"""


@pytest.mark.parametrize("how", ["hidden", "line"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_that_does_not_wake_the_read_is_not_lost(
    machine: Machine, number: signal.Signals, how: str
) -> None:
    """As one that comes right before read(2) blocks: here another thread takes it."""
    machine.launcher = (sys.executable, "-c", RACE)
    machine.env["PYTHONPATH"] = str(ROOT)
    done = machine.on_terminal(str(int(number)), how)
    assert done.status == -number, done
    assert done.echo


def test_a_hangup_that_is_ignored_stays_ignored(machine: Machine) -> None:
    machine.with_vault().add("jon", EXAMPLE_ID, "x" * 40, "--no-config")
    machine.launcher = ("sh", "-c", "trap '' HUP; exec \"$@\"", "sh", *machine.launcher)
    shell = Shell(machine, "export", "jon", "-n")
    try:
        shell.expect(QUESTION)
        os.kill(shell.job, signal.SIGHUP)
        assert not shell.echoes()
        shell.type(f"{PASSPHRASE}\n")
        shell.expect("ended 0")
    finally:
        shell.close()
