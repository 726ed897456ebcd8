from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from filevault.backends.definition import SecretRequest
from filevault.config.settings import GlobalOptions, Settings
from filevault.errors import LockedError, NoTerminalError, UsageError, WrongPassphraseError
from filevault.system import programs, secret_files
from filevault.unlock import secret_sources
from filevault.unlock.new_passphrase import has_new_passphrase, new_passphrase
from filevault.unlock.prompt import NoTerminal
from filevault.unlock.secret_sources import close_descriptors
from filevault.unlock.unlocker import Unlocker

REQUEST = SecretRequest(("passphrase", "keyfile"), "keyslot of this vault", lambda: "/vault")


class AnswersInTurn:
    """Answers hidden questions in turn."""

    present = True

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.said: list[str] = []
        self.asked: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def line(self, question: str) -> str:
        raise AssertionError(question)

    def hidden(self, question: str) -> bytes:
        self.asked.append(question)
        return self.answers.pop(0).encode("utf-8", "surrogateescape")


def settings(variables: dict[str, str] | None = None, **options: Any) -> Settings:
    environ = {"HOME": "/nonexistent", "PATH": os.environ["PATH"], **(variables or {})}
    return Settings.capture(GlobalOptions(**options), environ)


def given(variables: dict[str, str] | None = None, **options: Any) -> bytes:
    return Unlocker(settings(variables, **options), NoTerminal, REQUEST).secret().value


def private(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    path.chmod(0o600)
    return str(path)


def pipe(data: bytes) -> int:
    reading, writing = os.pipe()
    os.write(writing, data)
    os.close(writing)
    return reading


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"secret", b"secret"),
        (b"secret\n", b"secret"),
        (b"secret\r\n", b"secret"),
        (b"secret\n\n", b"secret\n"),
        (b"secret\r\n\n", b"secret\r\n"),
        (b"secret \t\n", b"secret \t"),
        (b"\nsecret\n", b"\nsecret"),
        (b"secret\r", b"secret\r"),
    ],
)
def test_exactly_one_final_line_end_goes(data: bytes, value: bytes, tmp_path: Path) -> None:
    path = private(tmp_path / "p", data)
    assert given(passphrase_file=path) == value
    assert given({"FILEVAULT_PASSPHRASE_FILE": path}) == value
    assert given(passphrase_fd=pipe(data)) == value
    assert given({"FILEVAULT_PASSPHRASE_COMMAND": f"cat {path}"}) == value


def test_a_variable_is_taken_as_it_is() -> None:
    assert given({"FILEVAULT_PASSPHRASE": " x\n"}) == b" x\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"a\x00b", "NUL byte"),
        (b"sesame\xff", "not UTF-8"),
    ],
)
def test_what_no_passphrase_can_be_is_refused_unshown(
    data: bytes, message: str, tmp_path: Path
) -> None:
    path = private(tmp_path / "p", data)
    with pytest.raises(LockedError, match=message) as caught:
        given(passphrase_file=path)
    assert "sesame" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_more_than_any_secret_has_is_refused(tmp_path: Path) -> None:
    path = private(tmp_path / "p", b"x" * 70000)
    with pytest.raises(LockedError, match="longer than"):
        given(passphrase_file=path)
    with open(path, "rb") as file, pytest.raises(LockedError, match="more than"):
        given(passphrase_fd=os.dup(file.fileno()))


@pytest.mark.parametrize("kind", ["_FILE", "_FD", "_COMMAND"])
def test_what_is_read_can_be_overwritten(kind: str, tmp_path: Path) -> None:
    path = private(tmp_path / "pass", b"secret\n")
    content = {"_FILE": path, "_FD": str(pipe(b"secret\n")), "_COMMAND": f"cat {path}"}[kind]
    found = settings({f"FILEVAULT_PASSPHRASE{kind}": content})
    secret = Unlocker(found, NoTerminal, REQUEST).secret()
    assert secret.content == b"secret"
    assert isinstance(secret.content, bytearray)


def test_of_a_new_passphrase_the_answers_are_overwritten() -> None:
    answers = [bytearray(word) for word in (b"one", b"two", b"same", b"same")]
    left = list(answers)

    class Typist(AnswersInTurn):
        def hidden(self, question: str) -> bytearray:  # type: ignore[override]
            self.asked.append(question)
            return left.pop(0)

    assert new_passphrase(settings(), Typist(), ordinary=True) == b"same"
    assert [any(answer) for answer in answers] == [False] * 4


def test_an_option_beats_a_variable(tmp_path: Path) -> None:
    path = private(tmp_path / "p", b"option")
    assert given({"FILEVAULT_PASSPHRASE": "variable"}, passphrase_file=path) == b"option"
    assert given({"FILEVAULT_KEY": "variable"}, passphrase_file=path) == b"option"


@pytest.mark.parametrize(
    "variables",
    [
        {"FILEVAULT_PASSPHRASE": "a", "FILEVAULT_PASSPHRASE_FILE": "b"},
        {"FILEVAULT_PASSPHRASE_FD": "3", "FILEVAULT_PASSPHRASE_COMMAND": "b"},
        {"FILEVAULT_PASSPHRASE": "a", "FILEVAULT_KEY": "b"},
        {"FILEVAULT_KEY_FILE": "a", "FILEVAULT_KEY_COMMAND": "b"},
    ],
)
def test_two_variables_that_name_a_secret_are_a_usage_error(variables: dict[str, str]) -> None:
    with pytest.raises(UsageError) as caught:
        given(variables)
    for name in variables:
        assert name in caught.value.message


def test_two_options_that_name_a_secret_are_a_usage_error() -> None:
    with pytest.raises(UsageError, match="two options"):
        given(passphrase_file="/a", key_file="/b")
    with pytest.raises(UsageError, match="two options"):
        given(passphrase_file="/a", passphrase_fd=3)


@pytest.mark.parametrize("number", ["x", "-1", "3.0", " 3", "٣", "9" * 10])
def test_a_descriptor_variable_that_is_no_number_is_a_usage_error(number: str) -> None:
    with pytest.raises(UsageError, match="FILEVAULT_PASSPHRASE_FD is not the number"):
        given({"FILEVAULT_PASSPHRASE_FD": number})


@pytest.mark.parametrize("number", [1, 2])
def test_a_descriptor_for_results_is_no_source(number: int) -> None:
    with pytest.raises(UsageError, match=f"--passphrase-fd is {number}"):
        given(passphrase_fd=number)
    close_descriptors(settings({"FILEVAULT_KEY_FD": str(number)}))
    os.fstat(number)
    assert os.readlink(f"/proc/self/fd/{number}") != os.devnull


def test_a_pipe_that_nobody_writes_to_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secret_files, "_WRITER_TIMEOUT", 0.2)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(LockedError, match=r"nothing came out of for 0\.2 seconds"):
        given(passphrase_file=str(tmp_path / "pipe"))


def test_a_pipe_that_is_not_closed_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secret_files, "_PIPE_TIMEOUT", 0.2)
    os.mkfifo(tmp_path / "pipe")
    both = os.open(tmp_path / "pipe", os.O_RDWR)
    try:
        os.write(both, b"half")
        with pytest.raises(LockedError, match="did not end") as caught:
            given(passphrase_file=str(tmp_path / "pipe"))
        assert "half" not in caught.value.message
    finally:
        os.close(both)


def test_a_descriptor_that_is_not_closed_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_sources, "_DESCRIPTOR_TIMEOUT", 0.2)
    reading, writing = os.pipe()
    try:
        os.write(writing, b"half")
        with pytest.raises(LockedError, match="did not end") as caught:
            given(passphrase_fd=reading)
        assert "half" not in caught.value.message
    finally:
        os.close(writing)


@pytest.mark.parametrize(
    "script",
    [
        'sleep 0.3; printf late >"$0"',
        'exec >"$0"; sleep 0.5; printf la; sleep 0.2; printf te',
    ],
)
def test_the_writer_of_a_pipe_may_take_its_time(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secret_files, "_WRITER_TIMEOUT", 0.4 if "exec" in script else 5.0)
    path = str(tmp_path / "pipe")
    os.mkfifo(path)
    with subprocess.Popen(["/bin/sh", "-c", script, path]):
        assert given(passphrase_file=path) == b"late"


def test_a_path_that_only_begins_like_a_provided_one_is_judged_as_ours(tmp_path: Path) -> None:
    provided = tmp_path / "credentials"
    provided.mkdir()
    private(tmp_path / "open", b"hunter2")
    (tmp_path / "open").chmod(0o644)
    private(provided / "given", b"hunter2")
    (provided / "given").chmod(0o444)
    variables = {"CREDENTIALS_DIRECTORY": str(provided)}
    assert given(variables, passphrase_file=f"{provided}/given") == b"hunter2"
    with pytest.raises(LockedError, match="readable for others"):
        given(variables, passphrase_file=f"{provided}/../open")


def test_a_descriptor_that_is_not_open_is_no_source() -> None:
    with pytest.raises(LockedError, match="cannot read descriptor 999"):
        given(passphrase_fd=999)


def test_a_command_that_fails_is_named_with_its_complaint() -> None:
    with pytest.raises(LockedError) as caught:
        given({"FILEVAULT_PASSPHRASE_COMMAND": "/bin/sh -c 'echo no card >&2; exit 4'"})
    assert "FILEVAULT_PASSPHRASE_COMMAND failed with status 4" in caught.value.message


def test_a_command_sees_no_source_of_secrets() -> None:
    variables = {
        "FILEVAULT_PASSPHRASE_COMMAND": "/usr/bin/env",
        "FILEVAULT_NEW_PASSPHRASE": "new",
        "AWS_VAULT_FILE_PASSPHRASE": "old",
        "AWS_SECRET_ACCESS_KEY": "aws",
    }
    seen = given(variables).decode()
    assert not any(name in seen for name in variables)


def test_a_credential_of_the_system_is_used_only_where_nothing_else_is_named(
    tmp_path: Path,
) -> None:
    private(tmp_path / "filevault-passphrase", b"from systemd\n")
    variables = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert given(variables) == b"from systemd"
    assert given({**variables, "FILEVAULT_PASSPHRASE": "named"}) == b"named"
    private(tmp_path / "filevault-key", b"the key\n")
    secret = Unlocker(settings(variables), NoTerminal, REQUEST).secret()
    assert (secret.kind, secret.value) == ("keyfile", b"the key")


def test_without_any_source_the_hint_names_every_way() -> None:
    with pytest.raises(NoTerminalError) as caught:
        given()
    for way in ("--passphrase-file", "--key-file", "FILEVAULT_PASSPHRASE", "terminal"):
        assert way in (caught.value.hint or "")


def test_a_person_has_three_tries() -> None:
    person = AnswersInTurn("one", "two", "three")
    unlocker = Unlocker(settings(), lambda: person, REQUEST._replace(subject=lambda: "/vault\x1b"))
    for _ in range(2):
        unlocker.on_rejected(unlocker.secret())
    last = unlocker.secret()
    with pytest.raises(WrongPassphraseError, match="3 times"):
        unlocker.on_rejected(last)
    assert person.asked == ["Passphrase for /vault\\x1b: "] * 3
    assert len(person.said) == 2


def test_any_other_source_has_one_try() -> None:
    unlocker = Unlocker(settings({"FILEVAULT_PASSPHRASE": "wrong"}), NoTerminal, REQUEST)
    with pytest.raises(WrongPassphraseError, match="passphrase from FILEVAULT_PASSPHRASE"):
        unlocker.on_rejected(unlocker.secret())


def test_no_answer_is_no_passphrase() -> None:
    with pytest.raises(LockedError, match="no passphrase was given"):
        Unlocker(settings(), lambda: AnswersInTurn(""), REQUEST).secret()


def test_a_new_passphrase_is_asked_twice_until_both_agree() -> None:
    person = AnswersInTurn("one", "other", "same", "same")
    assert new_passphrase(settings(), person, ordinary=True) == b"same"
    assert person.said == ["The two are not the same. Try again."]


def test_a_weak_passphrase_is_refused_before_it_is_asked_for_again() -> None:
    def check(given: bytes) -> None:
        raise UsageError(f"{len(given)} characters")

    person = AnswersInTurn("short", "short")
    with pytest.raises(UsageError, match="5 characters"):
        new_passphrase(settings(), person, ordinary=True, check=check)
    assert person.asked == ["New passphrase: "]


def test_a_new_passphrase_that_never_agrees_ends_after_three_times() -> None:
    with pytest.raises(LockedError, match="three times"):
        new_passphrase(settings(), AnswersInTurn(*"abcdef"), ordinary=True)


def test_a_new_passphrase_comes_from_its_own_source_first() -> None:
    both = {"FILEVAULT_PASSPHRASE": "old one", "FILEVAULT_NEW_PASSPHRASE": "new one"}
    assert new_passphrase(settings(both), NoTerminal(), ordinary=True) == b"new one"
    del both["FILEVAULT_NEW_PASSPHRASE"]
    assert new_passphrase(settings(both), NoTerminal(), ordinary=True) == b"old one"
    with pytest.raises(NoTerminalError):
        new_passphrase(settings(both), NoTerminal(), ordinary=False)


def test_whether_a_new_passphrase_can_be_had_is_told_without_reading_it() -> None:
    assert not has_new_passphrase(settings(), ordinary=True)
    named = settings({"FILEVAULT_NEW_PASSPHRASE_FILE": "/missing"})
    assert has_new_passphrase(named, ordinary=False)
    ordinary = settings({"FILEVAULT_PASSPHRASE": "x"})
    assert has_new_passphrase(ordinary, ordinary=True)
    assert not has_new_passphrase(ordinary, ordinary=False)


def test_descriptors_of_secrets_are_closed_whether_read_or_not() -> None:
    one, two, other = pipe(b"a"), pipe(b"b"), pipe(b"c")
    found = settings({"FILEVAULT_KEY_FD": str(one)}, passphrase_fd=two)
    close_descriptors(found)
    close_descriptors(found)
    for fd in (one, two):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
    os.fstat(other)
    os.close(other)


def test_a_source_does_not_show_its_content() -> None:
    secret = Unlocker(settings({"FILEVAULT_PASSPHRASE": "hunter2"}), NoTerminal, REQUEST).secret()
    assert "hunter2" not in repr(secret)


@pytest.mark.parametrize("new", [False, True])
def test_a_person_is_told_that_a_slow_command_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, new: bool
) -> None:
    monkeypatch.setattr(programs, "_SILENCE", 0.05)
    person = AnswersInTurn()
    name = "FILEVAULT_NEW_PASSPHRASE_COMMAND" if new else "FILEVAULT_PASSPHRASE_COMMAND"
    slow = settings({name: "sh -c 'sleep 0.3; echo a long enough passphrase'"})
    if new:
        assert new_passphrase(slow, person, ordinary=True) == b"a long enough passphrase"
    else:
        Unlocker(slow, lambda: person, REQUEST).secret()
    assert person.said == [f"filevault: waiting for {name}, 120 s left; Ctrl-C ends"]
