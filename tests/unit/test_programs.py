from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from filevault.errors import NoTerminalError, ProgramError
from filevault.system import programs
from filevault.system.search_path import find_program

PATH = {"PATH": "/usr/bin:/bin"}


def sh(script: str, **options: object) -> programs.Result:
    settings: dict[str, object] = {"origin": "the helper", "timeout": 20.0, **options}
    return programs.run(["/bin/sh", "-c", script], PATH, **settings)  # type: ignore[arg-type]


def test_output_status_and_complaints_come_back() -> None:
    result = sh("echo out; echo first >&2; echo 'last\x1b[31m' >&2; exit 3")
    assert result == programs.Result(3, b"out\n", "last\\x1b[31m", ("first", "last\\x1b[31m"))
    assert sh("true") == programs.Result(0, b"", "", ())


def test_of_many_complaints_the_last_are_kept() -> None:
    assert sh("seq 1000 >&2").complaints == tuple(str(number) for number in range(981, 1001))


def test_output_is_not_shown() -> None:
    assert "hunter2" not in repr(sh("echo hunter2"))


def test_the_environment_is_the_given_one_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAK", "1")
    assert sorted(sh("env").output.split()) == [
        b"PATH=/usr/bin:/bin",
        f"PWD={os.getcwd()}".encode(),
    ]


def test_no_descriptor_is_inherited(tmp_path: Path) -> None:
    with (tmp_path / "open").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        assert sh("ls /proc/$$/fd").output.split() == [b"0", b"1", b"2"]


@pytest.mark.parametrize(
    "held", ["", ">&2", "2>/dev/null", ">/dev/null", ">/dev/null 2>&1 <&3"], ids=str
)
def test_a_child_that_keeps_the_pipes_open_is_not_waited_for(held: str) -> None:
    script = f"exec 3<&0; echo out; echo said >&2; sleep 15 {held} & exit 3"
    for stdin in (None, b"x" * 200_000):  # more than a pipe takes
        result = sh(script, timeout=10.0, stdin=stdin)
        assert result == programs.Result(3, b"out\n", "said", ("said",))


def test_all_that_a_program_printed_before_its_end_is_read() -> None:
    script = "sleep 15 & head -c 900000 /dev/zero"
    assert len(sh(script, timeout=10.0).output) == 900_000


def test_the_start_of_a_program_that_fails_waits_for_no_child_of_it() -> None:
    script = "echo broken >&2; sleep 15 >/dev/null & exec >&-; exit 1"
    with pytest.raises(ProgramError, match="ended at once: broken"):
        programs.start(["/bin/sh", "-c", script], PATH, origin="the helper", timeout=10.0)


def test_a_program_that_hangs_is_killed() -> None:
    with pytest.raises(ProgramError, match=r"the helper did not end within 0\.2 seconds"):
        programs.run(["/bin/sleep", "60"], PATH, origin="the helper", timeout=0.2)


def test_a_program_that_takes_too_long_may_clean_up_behind_itself(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    script = f"trap 'rm {lock}; exit' TERM; touch {lock}; while :; do sleep 0.05; done"
    with pytest.raises(ProgramError, match="was killed"):
        sh(script, timeout=0.3)
    assert not lock.exists()


def test_folder_and_umask_are_the_programs_own(tmp_path: Path) -> None:
    before = os.getcwd()
    sh("umask; pwd; touch made", folder=str(tmp_path), umask=0o077)
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o600
    assert os.getcwd() == before


def test_a_program_that_never_stops_talking_is_refused() -> None:
    with pytest.raises(ProgramError, match="more than 1048576 bytes"):
        sh("head -c 1048577 /dev/zero")


def test_a_program_without_end_is_stopped_at_the_limit_and_not_gathered() -> None:
    with pytest.raises(ProgramError, match="more than 1048576 bytes"):
        programs.run(["yes"], PATH, origin="the helper", timeout=600)


def test_complaints_without_end_leave_only_the_last() -> None:
    result = sh("head -c 5000000 /dev/zero | tr '\\0' x >&2; echo >&2; echo last >&2; echo out")
    assert (result.output, result.complaint) == (b"out\n", "last")


def test_a_program_reads_what_it_is_given_while_it_prints() -> None:
    data = os.urandom(1 << 19)
    assert sh("tee /dev/stderr", stdin=data).output == data
    assert sh("cat", stdin=b"").output == b""
    assert sh("exec <&-; echo out", stdin=data).output == b"out\n"


def test_a_program_that_closes_its_output_may_not_stay_either() -> None:
    with pytest.raises(ProgramError, match=r"did not end within 0\.3 seconds"):
        sh("exec >&- 2>&-; sleep 60", timeout=0.3)


@pytest.mark.parametrize("name", ["no-such-program", "/no/such/program", "./here", "sub/here"])
def test_a_missing_program_is_named(name: str) -> None:
    with pytest.raises(ProgramError, match="there is no program") as caught:
        programs.run([name], PATH, origin="the helper", timeout=1)
    assert name in caught.value.message


def test_what_cannot_start_says_why(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    with pytest.raises(ProgramError, match="the helper cannot be started: no such file"):
        programs.run([str(broken)], PATH, origin="the helper", timeout=1)


def test_the_working_directory_is_never_searched(in_folder: Path) -> None:
    planted = in_folder / "planted"
    planted.write_text("#!/bin/sh\n")
    planted.chmod(0o755)
    assert find_program("planted", f":.:{in_folder.name}") is None
    assert find_program("planted", str(in_folder)) == str(planted)
    planted.chmod(0o644)
    assert find_program("planted", str(in_folder)) is None
    assert find_program("planted", None) is None


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("pass show aws", ["pass", "show", "aws"]),
        ("a 'b c' \"d e\" f\\ g", ["a", "b c", "d e", "f g"]),
        ("echo $HOME; rm *", ["echo", "$HOME;", "rm", "*"]),
    ],
)
def test_a_command_is_split_and_nothing_of_it_expanded(command: str, words: list[str]) -> None:
    assert programs.split(command, "X") == words


@pytest.mark.parametrize("command", ["", "   ", "secret 'unclosed", "secret \\"])
def test_a_command_that_cannot_be_split_is_refused_without_being_shown(command: str) -> None:
    with pytest.raises(ProgramError, match="X ") as caught:
        programs.split(command, "X")
    assert "secret" not in str(caught.value)


ATTACHED = """
import os, sys
from filevault.system import programs
sys.exit(programs.attach(sys.argv[1:], {"PATH": "/usr/bin:/bin"}, origin="the helper", umask=0o27))
"""


def attached(*argv: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", ATTACHED, *argv], input=stdin, capture_output=True, text=True
    )


def test_an_attached_program_has_our_input_and_output() -> None:
    done = attached("sh", "-c", "cat; umask; echo said >&2; exit 7", stdin="typed\n")
    assert (done.stdout, done.stderr, done.returncode) == ("typed\n0027\n", "said\n", 7)


def test_an_attached_program_gets_the_given_environment_and_no_other_descriptor() -> None:
    done = attached("sh", "-c", "env | sed 's/=.*//' | sort; ls /proc/$$/fd")
    assert done.stdout.split() == ["PATH", "PWD", "0", "1", "2"]


def test_the_signal_that_ended_an_attached_program_shows_as_in_a_shell() -> None:
    assert attached("sh", "-c", "kill -TERM $$").returncode == 128 + signal.SIGTERM


def test_ctrl_c_is_the_attached_programs_affair() -> None:
    # Both are of one process group, as on a terminal; only the program knows what it means.
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            ATTACHED,
            "sh",
            "-c",
            "trap 'echo cleaned up; exit 5' INT; kill -INT 0; sleep 0.3; exit 1",
        ],
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    assert (done.stdout, done.returncode) == ("cleaned up\n", 5)


def test_a_missing_program_cannot_be_attached() -> None:
    with pytest.raises(ProgramError, match="there is no program 'no-such-program'"):
        programs.attach(["no-such-program"], PATH, origin="the helper")


def test_a_person_is_told_once_that_a_slow_program_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    sh("sleep 0.02", tell=told.append)
    assert told == []
    monkeypatch.setattr(programs, "_SILENCE", 0.1)
    sh("sleep 0.5", tell=told.append)
    assert told == ["waiting for the helper, 20 s left; Ctrl-C ends"]


def test_a_program_that_reads_a_password_or_keys_is_not_written_into(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(programs, "_SILENCE", 0.05)
    master, terminal = pty.openpty()
    monkeypatch.setattr(programs, "_open_terminal", lambda: os.dup(terminal))
    modes: list[int] = []

    def tell(_text: str) -> None:
        modes.append(termios.tcgetattr(terminal)[3])

    for asks in ("-echo", "-icanon"):
        modes.clear()
        sh(f"stty {asks}; sleep 0.3; stty sane; sleep 0.3", tell=tell, terminal=True)
        assert [mode & termios.ECHO > 0 and mode & termios.ICANON > 0 for mode in modes] == [True]
    # A terminal without echo, as that of some editors, is as it was.
    modes.clear()
    sh("stty -echo", terminal=True)
    sh("sleep 0.3", tell=tell, terminal=True)
    assert len(modes) == 1
    os.close(master)
    os.close(terminal)


def test_a_terminal_that_is_gone_ends_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    def tell(_text: str) -> None:
        raise NoTerminalError("cannot ask anything: there is no terminal any more")

    monkeypatch.setattr(programs, "_SILENCE", 0.05)
    assert sh("sleep 0.3; echo done", tell=tell).output == b"done\n"
