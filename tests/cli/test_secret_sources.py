"""Where a passphrase or a key may come from, which of two wins, and which files are refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conditions.mounts import mounting
from tests.conditions.other_user import needs_root
from tests.conditions.work_limits import within
from tests.samples import EXAMPLE_KEY
from tests.worlds.machine import PASSPHRASE, Machine, ProcessResult

CONTAINER = (
    "mount -t tmpfs tmpfs /run && mkdir /run/secrets && "
    'printf %s "$2" > /run/secrets/$1 && chmod 0444 /run/secrets/$1 && shift 2'
)
EXPORT = ("export", "jon", "--no-session")


class TwoSecrets:
    """A vault that a passphrase and a key file open; nothing of either is in the environment."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.key_file = machine.home / "key"
        env = {"FILEVAULT_PASSPHRASE": PASSPHRASE}
        machine.ok("init", "--new-key-file", str(self.key_file), env=env)
        machine.ok("add", "jon", "--stdin", "--no-config", stdin="\n".join(EXAMPLE_KEY), env=env)
        self.passphrase_file = self.private("passphrase", PASSPHRASE + "\n")

    def private(self, name: str, text: str, mode: int = 0o600) -> Path:
        path = self.machine.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def run(self, *options: str, **env: str) -> ProcessResult:
        return self.machine.run(*EXPORT, *options, env=dict(env))

    def opened(self, *options: str, **env: str) -> bool:
        result = self.run(*options, **env)
        assert PASSPHRASE not in result.everything
        assert (result.status == 0) == (EXAMPLE_KEY[1] in result.out), result
        return result.status == 0


@pytest.fixture
def sources(machine: Machine) -> TwoSecrets:
    return TwoSecrets(machine)


@pytest.fixture
def descriptor(sources: TwoSecrets) -> Iterator[int]:
    fd = os.open(sources.passphrase_file, os.O_RDONLY)
    yield fd
    os.close(fd)


def test_files_by_option_and_by_variable(sources: TwoSecrets) -> None:
    passphrase, key = str(sources.passphrase_file), str(sources.key_file)
    assert sources.opened("--passphrase-file", passphrase)
    assert sources.opened("--key-file", key)
    assert sources.opened(FILEVAULT_PASSPHRASE_FILE=passphrase)
    assert sources.opened(FILEVAULT_KEY_FILE=key)
    assert sources.opened(FILEVAULT_KEY_FILE="~/key")


def test_values_and_commands(sources: TwoSecrets) -> None:
    assert sources.opened(FILEVAULT_PASSPHRASE=PASSPHRASE)
    assert sources.opened(FILEVAULT_KEY=sources.key_file.read_text())
    assert sources.opened(FILEVAULT_PASSPHRASE_COMMAND=f"cat '{sources.passphrase_file}'")
    assert sources.opened(FILEVAULT_KEY_COMMAND=f"cat {sources.key_file}")
    assert not sources.opened(FILEVAULT_PASSPHRASE_COMMAND=f"cat {sources.passphrase_file} | cat")


def test_descriptors(sources: TwoSecrets, descriptor: int) -> None:
    for argv, env in (
        (("--passphrase-fd", str(descriptor)), {}),
        ((), {"FILEVAULT_PASSPHRASE_FD": str(descriptor)}),
    ):
        os.lseek(descriptor, 0, os.SEEK_SET)
        result = sources.machine.run(*EXPORT, *argv, env=env, pass_fds=(descriptor,))
        assert EXAMPLE_KEY[1] in result.out
    with sources.key_file.open() as key:
        result = sources.machine.run(
            *EXPORT, env={"FILEVAULT_KEY_FD": str(key.fileno())}, pass_fds=(key.fileno(),)
        )
        assert EXAMPLE_KEY[1] in result.out
    assert EXAMPLE_KEY[1] in sources.machine.run(
        *EXPORT, "--passphrase-fd", "0", stdin=PASSPHRASE + "\r\n"
    ).out  # fmt: skip


def test_exactly_one_final_line_end_is_cut_from_a_file(sources: TwoSecrets) -> None:
    assert sources.opened("--passphrase-file", str(sources.private("bare", PASSPHRASE)))
    assert sources.opened("--passphrase-file", str(sources.private("crlf", PASSPHRASE + "\r\n")))
    two = sources.run("--passphrase-file", str(sources.private("two", PASSPHRASE + "\n\n")))
    assert two.status == 5


def test_an_option_beats_a_variable_that_is_wrong(sources: TwoSecrets) -> None:
    assert sources.opened(
        "--passphrase-file", str(sources.passphrase_file), FILEVAULT_PASSPHRASE="wrong"
    )
    assert sources.opened("--key-file", str(sources.key_file), FILEVAULT_PASSPHRASE="wrong")


@pytest.mark.parametrize("command", ["export", "exec"])
def test_two_sources_of_one_rank_are_a_usage_error(sources: TwoSecrets, command: str) -> None:
    status = 2 if command == "export" else 125
    argv = (command, "jon", "-n", *(() if command == "export" else ("--", "true")))
    passphrase, key = str(sources.passphrase_file), str(sources.key_file)
    both = sources.machine.run(
        argv[0], "--passphrase-file", passphrase, "--key-file", key, *argv[1:]
    )
    assert both.status == status
    assert "only one can be meant" in both.err
    env = {"FILEVAULT_PASSPHRASE": PASSPHRASE, "FILEVAULT_KEY_FILE": key}
    both = sources.machine.run(*argv, env=env)
    assert both.status == status
    assert "FILEVAULT_PASSPHRASE and FILEVAULT_KEY_FILE" in both.err


@pytest.mark.timed
def test_without_source_and_terminal_it_ends_at_once_and_says_how(sources: TwoSecrets) -> None:
    with within(2):
        result = sources.run()
    assert (result.status, result.out) == (5, "")
    for way in ("--passphrase-file", "--passphrase-fd", "--key-file", "FILEVAULT_PASSPHRASE",
                "FILEVAULT_KEY", "_FILE", "_FD", "_COMMAND", "terminal"):  # fmt: skip
        assert way in result.err
    with within(2):
        assert sources.machine.run("init", "--vault", "new").status == 5


def test_what_systemd_provides_is_used_a_key_before_a_passphrase(sources: TwoSecrets) -> None:
    provided = sources.private("credentials/filevault-passphrase", PASSPHRASE, 0o440).parent
    assert sources.opened(CREDENTIALS_DIRECTORY=str(provided))
    assert not sources.opened(CREDENTIALS_DIRECTORY="credentials")
    sources.private("credentials/filevault-key", "not a key")
    refused = sources.run(CREDENTIALS_DIRECTORY=str(provided))
    assert refused.status == 5
    assert "not of the form filevault-key-1:" in refused.err
    sources.private("credentials/filevault-key", sources.key_file.read_text(), 0o444)
    assert sources.opened(CREDENTIALS_DIRECTORY=str(provided))


def test_whatever_is_named_beats_what_is_provided(sources: TwoSecrets) -> None:
    provided = sources.private("credentials/filevault-key", "wrong").parent
    assert sources.opened(CREDENTIALS_DIRECTORY=str(provided), FILEVAULT_PASSPHRASE=PASSPHRASE)
    result = sources.run(CREDENTIALS_DIRECTORY=str(provided), FILEVAULT_PASSPHRASE="wrong")
    assert "FILEVAULT_PASSPHRASE" in result.err


def test_what_a_container_provides_is_used(sources: TwoSecrets) -> None:
    machine = sources.machine
    direct = machine.launcher
    for name, text in (
        ("filevault_passphrase", PASSPHRASE),
        ("filevault_key", sources.key_file.read_text()),
    ):
        machine.launcher = direct
        mounting(machine, CONTAINER, name, text)
        assert sources.opened()
    machine.launcher = direct
    assert not sources.opened()


@pytest.mark.parametrize(
    ("mode", "why"), [(0o644, "readable for others"), (0o640, "readable"), (0o622, "writable")]
)
@pytest.mark.parametrize("what", ["passphrase", "key"])
def test_a_secret_that_others_may_read_is_refused_with_the_way_out(
    sources: TwoSecrets, mode: int, why: str, what: str
) -> None:
    path = sources.passphrase_file if what == "passphrase" else sources.key_file
    path.chmod(mode)
    result = sources.run(f"--{what}-file", str(path))
    assert result.status == 5
    assert why in result.err
    assert f"chmod 600 {path}" in result.err


@needs_root
def test_a_secret_of_another_user_is_refused(sources: TwoSecrets) -> None:
    os.chown(sources.passphrase_file, 65534, 65534)
    result = sources.run("--passphrase-file", str(sources.passphrase_file))
    assert result.status == 5
    assert "belongs to user 65534" in result.err


def test_a_link_to_a_secret_is_judged_by_its_target(sources: TwoSecrets, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(sources.passphrase_file)
    assert sources.opened("--passphrase-file", str(link))
    sources.passphrase_file.chmod(0o644)
    assert sources.run("--passphrase-file", str(link)).status == 5


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("missing", "there is no file '{}' to read the passphrase from"),
        (".", "'{}' is not a regular file"),
        ("empty", "the passphrase from --passphrase-file is empty"),
    ],
)
def test_a_file_that_gives_nothing_is_told(sources: TwoSecrets, name: str, why: str) -> None:
    sources.private("empty", "")
    path = f"{sources.machine.home}/{name}"
    result = sources.run("--passphrase-file", path)
    assert result.status == 5
    assert why.format(path) in result.err


@pytest.mark.parametrize(
    ("variable", "kind"),
    [
        ("FILEVAULT_PASSPHRASE_FILE", "passphrase"),
        ("FILEVAULT_KEY_FILE", "key"),
        ("--passphrase-file", "passphrase"),
        ("--key-file", "key"),
    ],
)
@pytest.mark.parametrize("command", ["export", "doctor"])
def test_a_secret_in_place_of_its_path_is_not_shown(
    sources: TwoSecrets, variable: str, kind: str, command: str
) -> None:
    secret = "correct horse/battery" if kind == "passphrase" else f"filevault-key-1:{'A' * 43}"
    words = ("doctor",) if command == "doctor" else EXPORT
    if variable.startswith("-"):
        result = sources.machine.run(*words, variable, secret)
    else:
        result = sources.machine.run(*words, env={variable: secret})
    told = result.out + result.err
    assert secret not in told
    assert "AAAA" not in told
    assert "horse" not in told
    assert f"{variable} names no file to read the {kind} from" in told
    belongs = "FILEVAULT_KEY" if kind == "key" else "FILEVAULT_PASSPHRASE"
    assert f"belongs in {belongs};" in told
    assert result.status == 5


def test_a_variable_that_a_ci_system_left_empty_is_told(sources: TwoSecrets) -> None:
    for name in ("FILEVAULT_KEY", "FILEVAULT_PASSPHRASE"):
        result = sources.run(**{name: ""})
        assert result.status == 5
        assert f"from {name} is empty" in result.err
        assert "CI systems give the empty value" in result.err
    result = sources.run(FILEVAULT_KEY="ssh-ed25519 AAAA")
    assert result.status == 5
    assert "the one line of the file that --new-key-file wrote" in result.err
    assert "AAAA" not in result.err


def test_a_process_substitution_serves(sources: TwoSecrets) -> None:
    machine = sources.machine
    machine.launcher = (
        "bash", "-c", 'exec "$@" --passphrase-file <(cat "$0")', str(sources.passphrase_file),
        *machine.launcher,
    )  # fmt: skip
    assert EXAMPLE_KEY[1] in machine.run(*EXPORT).out


def test_a_failing_command_is_told_with_its_complaint(sources: TwoSecrets) -> None:
    result = sources.run(FILEVAULT_PASSPHRASE_COMMAND="sh -c 'echo no\x1bcard >&2; exit 3'")
    assert result.status == 5
    assert "FILEVAULT_PASSPHRASE_COMMAND failed with status 3: no\\x1bcard" in result.err
    missing = sources.run(FILEVAULT_PASSPHRASE_COMMAND="no-such-program")
    assert missing.status == 7
    assert "'no-such-program'" in missing.err


def test_a_command_may_talk_on_the_terminal(sources: TwoSecrets) -> None:
    from tests.worlds.machine import TypedAnswer

    script = sources.private("ask", "#!/bin/sh\nprintf 'PIN? ' >&2\nread pin\necho \"$pin\"\n")
    script.chmod(0o700)
    result = sources.machine.on_terminal(
        *EXPORT,
        env={"FILEVAULT_PASSPHRASE_COMMAND": str(script)},
        stdin=b"not this\n",
        answers=[TypedAnswer("PIN? ", PASSPHRASE)],
    )
    assert EXAMPLE_KEY[1] in result.out
    assert result.err == ""
