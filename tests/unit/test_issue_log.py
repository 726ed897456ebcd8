"""The log of issued credentials: parallel writers, rotation, hostile values, files of others."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
from pathlib import Path

import pytest

from filevault.credentials import Credentials
from filevault.errors import FilevaultError, ProgramError, StorageError
from filevault.issued import issue_log, journal
from tests.samples import EXAMPLE_SESSION_ID, SECRET

TOKEN = "FwoGZXIvYXdzEXAMPLETOKEN"
ARN = "arn:aws:sts::123456789012:assumed-role/admin/jon@laptop"
NOW = 1795900000.7


def line(program: str | None = "/usr/bin/aws", profile: str = "work") -> issue_log.IssuedLine:
    credentials = Credentials(EXAMPLE_SESSION_ID, SECRET, TOKEN, int(NOW) + 3600, arn=ARN)
    return issue_log.issued_line(NOW, profile, "exec", credentials, program)


def test_a_line_has_what_is_documented_and_no_secret(tmp_path: Path) -> None:
    state = tmp_path / "state"
    issue_log.append(line(), str(state), None)
    text = (state / issue_log.FILE).read_text(encoding="ascii")
    assert json.loads(text) == {
        "time": "2026-11-28T21:06:40Z",
        "profile": "work",
        "verb": "exec",
        "command": "aws",
        "session": "jon@laptop",
        "key": "MPLE",
    }
    for secret in (SECRET, TOKEN, EXAMPLE_SESSION_ID):
        assert secret not in text
    assert stat.S_IMODE((state / issue_log.FILE).stat().st_mode) == 0o600
    assert issue_log.read(str(state)) == [line()]


@pytest.mark.parametrize(
    ("arn", "name"),
    [
        (None, None),
        ("arn:aws:iam::123456789012:user/jon", None),
        ("arn:aws:sts::123456789012:federated-user/jon", "jon"),
        ("arn:aws-cn:sts::123456789012:assumed-role/r/s=1", "s=1"),
        ("nothing", None),
    ],
)
def test_the_session_name_comes_from_the_arn(arn: str | None, name: str | None) -> None:
    credentials = Credentials(EXAMPLE_SESSION_ID, SECRET, TOKEN, arn=arn)
    assert issue_log.issued_line(NOW, "x", "export", credentials, None).session == name


def test_control_characters_are_escaped_and_values_cut(tmp_path: Path) -> None:
    hostile = line("/bin/\x1b[31m\n\x7f\u202e", "p\nq\x9b" + "x" * 5000)
    issue_log.append(hostile, str(tmp_path), None)
    data = (tmp_path / issue_log.FILE).read_bytes()
    assert data.count(b"\n") == 1
    assert data[:-1].isascii()
    assert data[:-1].decode().isprintable()
    assert len(data) < 1000
    assert issue_log.read(str(tmp_path)) == [hostile]
    assert b"\n" not in journal._entry(hostile).replace(b"\n", b"", 9)


def _write_in_parallel(folder: Path, writers: int, lines: int) -> None:
    children = []
    for writer in range(writers):
        child = os.fork()
        if child == 0:
            status = 1
            with contextlib.suppress(BaseException):
                for number in range(lines):
                    issue_log.append(line(f"w{writer}-{number}"), str(folder), None)
                status = 0
            os._exit(status)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * writers


def test_parallel_writers_lose_and_tear_no_line(tmp_path: Path) -> None:
    _write_in_parallel(tmp_path, 4, 100)
    found = [each.command for each in issue_log.read(str(tmp_path))]
    assert len((tmp_path / issue_log.FILE).read_bytes().splitlines()) == 400
    for writer in range(4):
        own = [each for each in found if each and each.startswith(f"w{writer}-")]
        assert own == [f"w{writer}-{number}" for number in range(100)]


def test_rotation_under_parallel_writers_keeps_the_newest_and_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issue_log, "MAX_BYTES", 4096)
    _write_in_parallel(tmp_path, 4, 100)
    assert sorted(path.name for path in tmp_path.iterdir()) == [issue_log.FILE, issue_log.OLDER]
    for path in tmp_path.iterdir():
        assert path.stat().st_size <= 4096
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert all(json.loads(each) for each in path.read_bytes().splitlines())
    found = [each.command or "" for each in issue_log.read(str(tmp_path))]
    assert len(found) > 4096 // len(line().json()) - 3
    assert any(each.endswith("-99") for each in found)
    for writer in range(4):
        own = [int(each.partition("-")[2]) for each in found if each.startswith(f"w{writer}-")]
        assert own == sorted(own)


def test_after_a_line_that_was_cut_off_the_next_one_is_whole(tmp_path: Path) -> None:
    (tmp_path / issue_log.FILE).write_bytes(b'{"time": "2026')
    issue_log.append(line(), str(tmp_path), None)
    (tmp_path / issue_log.OLDER).write_bytes(b"[]\n{}\nnull\n" + b"[" * 5000 + b"\n\xff\n")
    assert issue_log.read(str(tmp_path)) == [line()]


def test_a_full_disk_leaves_the_lines_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue_log.append(line(), str(tmp_path), None)
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:7]))
    with pytest.raises(StorageError):
        issue_log.append(line("two"), str(tmp_path), None)
    monkeypatch.undo()
    assert issue_log.read(str(tmp_path)) == [line()]


@pytest.mark.parametrize("what", ["link", "hard link", "folder", "pipe"])
def test_what_is_no_file_of_its_own_is_not_written(tmp_path: Path, what: str) -> None:
    path, other = tmp_path / "state" / issue_log.FILE, tmp_path / "other"
    path.parent.mkdir(mode=0o700)
    other.write_bytes(b"precious\n")
    if what == "link":
        path.symlink_to(other)
    elif what == "hard link":
        os.link(other, path)
    elif what == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    with pytest.raises(FilevaultError):
        issue_log.append(line(), str(path.parent), None)
    assert other.read_bytes() == b"precious\n"


def test_an_open_mode_is_corrected(tmp_path: Path) -> None:
    path = tmp_path / issue_log.FILE
    path.touch(mode=0o644)
    issue_log.append(line(), str(tmp_path), None)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_journal_gets_one_datagram(tmp_path: Path) -> None:
    path = tmp_path / journal.SOCKET.lstrip("/")
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(path))
        journal.send(line(None), str(tmp_path))
        entry = dict(
            each.split("=", 1) for each in receiver.recv(65536).decode().rstrip("\n").split("\n")
        )
    assert entry == {
        "MESSAGE": "exec: credentials of work, key ...MPLE",
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "filevault",
        "FILEVAULT_TIME": "2026-11-28T21:06:40Z",
        "FILEVAULT_PROFILE": "work",
        "FILEVAULT_VERB": "exec",
        "FILEVAULT_SESSION": "jon@laptop",
        "FILEVAULT_KEY": "MPLE",
    }


def test_no_journal_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match="does not take"):
        journal.send(line(), str(tmp_path))
