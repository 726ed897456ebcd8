"""Completion in real shells on a terminal, with names that a shell would evaluate."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shlex
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from filevault.cli.completion.scripts import SHELLS, script
from tests.conditions.tools import tool

# By the letter that is typed before Tab.
NAMES = {
    "a": "a$(touch pwned)",
    "b": "b`touch pwned`",
    "c": "c two words",
    "d": "d'apostrophe",
    "e": 'e"quote"',
    "f": "f;touch pwned",
    "g": "g&|<>*?[x]{y,z}",
    "h": "h\\n$HOME",
    "i": "i!x",
    "j": "j#~=^",
    "k": "kürzel",
    "l": "l:m:n",
    "m": "m%s%n",
    "n": "n(touch pwned)",
}
LEFT_OUT = ("-dash", "o\x1b[31mred", "p\u202eover")
TIMEOUT = 30.0
# What ends the line that is typed: Ctrl-G writes it into the pipe and empties it.
SETUP = {
    "bash": """
PS1='> '; HISTFILE=; bind 'set bell-style none' 'set enable-bracketed-paste off'
bind -x '"\\C-g": printf "%s\\n" "$READLINE_LINE" >"$OUT"; READLINE_LINE=; READLINE_POINT=0'
""",
    "zsh": """
PS1='> '; fpath=(./share/zsh/site-functions $fpath)
autoload -Uz compinit; compinit -D -u; unsetopt beep
dump() { print -r -- "$BUFFER" >"$OUT"; BUFFER= }; zle -N dump; bindkey '^G' dump
""",
    "fish": """
function fish_prompt; echo '> '; end; set fish_greeting
bind \\cg 'commandline >$OUT; commandline ""'
""",
}
# Where the wheel puts the scripts.
INSTALLED = {
    "bash": "share/bash-completion/completions/filevault",
    "zsh": "share/zsh/site-functions/_filevault",
    "fish": "share/fish/vendor_completions.d/filevault.fish",
}
START = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "-i", "--private"],
}


class Shell:
    """An interactive shell; `tab` types a line with Tab at its end."""

    def __init__(self, master: int, lines: int) -> None:
        self.master, self._lines, self.screen = master, lines, ""

    def tab(self, line: str) -> str:
        """Return what the line is after Tab."""
        os.write(self.master, f"{line}\t\x07".encode())
        return self.read()

    def run(self, line: str) -> None:
        os.write(self.master, f"{line}; echo done >$OUT\r".encode())
        assert self.read() == "done"

    def read(self) -> str:
        """Return the next line of the pipe; read the screen meanwhile, as a terminal does."""
        poller, end, found = select.poll(), time.monotonic() + TIMEOUT, b""
        poller.register(self.master, select.POLLIN)
        poller.register(self._lines, select.POLLIN)
        while not found.endswith(b"\n"):
            ready = [fd for fd, _ in poller.poll(1000)]
            if self.master in ready:
                self.screen += os.read(self.master, 65536).decode("utf-8", "replace")
            if self._lines in ready:
                found += os.read(self._lines, 4096)
            assert time.monotonic() < end, self.screen
        return found.decode().rstrip("\n")


@contextmanager
def shell(name: str, home: Path, *, installed: bool = False) -> Iterator[Shell]:
    """Start a shell that has its script from its start files, or finds the installed one."""
    program = tool(name)
    (home / ".aws").mkdir()
    sections = [f"[profile {shlex.quote(each)}]\nregion = eu-west-1\n" for each in NAMES.values()]
    sections += [f"[profile {each}]\nregion = eu-west-1\n" for each in LEFT_OUT]
    (home / ".aws/config").write_text("".join(sections), encoding="utf-8")
    place = home / INSTALLED[name]
    place.parent.mkdir(parents=True)
    place.write_text(script(name), encoding="utf-8")
    setup = SETUP[name] + ("" if installed else script(name))
    (home / "setup").write_text(setup, encoding="utf-8")
    (home / "key file.txt").touch()
    (home / "folder").mkdir()
    os.mkfifo(home / "out")
    lines = os.open(home / "out", os.O_RDWR | os.O_NONBLOCK)
    master, slave = pty.openpty()
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
    environment = {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "TERM": "xterm",
        "OUT": str(home / "out"),
        "XDG_DATA_DIRS": f"{home / 'share' if installed else home / 'none'}:/usr/share",
    }

    def take_terminal() -> None:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [program, *START[name][1:]],
        preexec_fn=take_terminal,  # noqa: PLW1509 - two calls that take no lock
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment,
        cwd=home,
    )
    os.close(slave)
    found = Shell(master, lines)
    try:
        found.run("source ./setup")
        yield found
    finally:
        process.kill()
        process.wait()
        os.close(master)
        os.close(lines)


def meaning(name: str, line: str, home: Path) -> list[str]:
    """Return the words of a line, as the shell reads them."""
    show = 'printf "%s\\n" "$@"' if name != "fish" else 'printf "%s\\n" $argv'
    function = (
        f"function filevault {{ {show}; }}\n"
        if name != "fish"
        else (f"function filevault; {show}; end\n")
    )
    done = subprocess.run(
        [name, *(["--no-config"] if name == "fish" else []), "-c", function + line],
        env={"HOME": str(home), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        cwd=home,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize("name", SHELLS)
def test_a_shell_completes_every_word_and_evaluates_no_name(name: str, tmp_path: Path) -> None:
    with shell(name, tmp_path) as typed:
        for letter, profile in NAMES.items():
            line = typed.tab(f"filevault exec {letter}")
            assert meaning(name, line, tmp_path) == ["exec", profile], line
        line = typed.tab("filevault export 'c tw")
        assert meaning(name, line, tmp_path) == ["export", NAMES["c"]], line
        for letter in "ae":
            line = typed.tab(f'filevault export "{letter}')
            assert meaning(name, line, tmp_path) == ["export", NAMES[letter]], line
        for before, after in (
            ("filevault comp", "filevault completion "),
            ("filevault slot li", "filevault slot list "),
            ("filevault help expo", "filevault help export "),
            ("filevault exec --no-se", "filevault exec --no-session "),
            ("filevault --backend pas", "filevault --backend pass "),
            ("filevault export --format=json", "filevault export --format=json "),
            ("filevault list --backend=pas", "filevault list --backend=pass "),
            ("filevault exec --region il-c", "filevault exec --region il-central-1 "),
            ("filevault login --region=il-c", "filevault login --region=il-central-1 "),
            ("filevault migrate --to ag", "filevault migrate --to age "),
            ("filevault migrate --to=ag", "filevault migrate --to=age "),
            ("filevault migrate --to fold", "filevault migrate --to folder/"),
            ("filevault migrate --to=fold", "filevault migrate --to=folder/"),
            ("filevault list --vault=fold", "filevault list --vault=folder/"),
            ("filevault exec l:m", "filevault exec l:m:n "),
            ("filevault exec -t 1 l:m:", "filevault exec -t 1 l:m:n "),
            ("filevault export --format windo", "filevault export --format windows-cmd "),
        ):
            line = typed.tab(before)
            assert line.replace("\\:", ":") == after, before
        for before in ("filevault list --key-file ke", "filevault list --key-file=ke"):
            line = typed.tab(before)
            assert meaning(name, line, tmp_path)[-1].endswith("key file.txt"), line
        for each in ("-", "o", "p"):
            line = typed.tab(f"filevault exec --region x {each}")
            assert not any(word in line for word in ("-dash", "red", "over")), line
        for before in ("filevault exec l:m:n -- mkfif", "filevault exec l:m:n mkfif"):
            assert typed.tab(before) == before + "o "
        line = typed.tab("filevault exec l:m:n -- cat ke")
        assert meaning(name, line, tmp_path)[-1] == "key file.txt", line
        assert typed.tab("filevault nothing x") == "filevault nothing x"
    assert not (tmp_path / "pwned").exists()
    assert "Traceback" not in typed.screen


@pytest.mark.parametrize("name", ["zsh", "fish"])
def test_a_shell_loads_the_script_where_the_wheel_has_it(name: str, tmp_path: Path) -> None:
    """In bash it is the package bash-completion that does so."""
    with shell(name, tmp_path, installed=True) as typed:
        assert typed.tab("filevault exec l:m") in (
            "filevault exec l:m:n ",
            "filevault exec l\\:m\\:n ",
        )
        assert typed.tab("filevault comp") == "filevault completion "
