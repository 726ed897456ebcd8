"""Misspelt commands and options, AWS Vault's own ones, and a forgotten `--`."""

from __future__ import annotations

from pathlib import Path

import pytest

from filevault.cli import aws_vault
from filevault.cli.command import ALIASES, COMMANDS, parser_of
from tests.samples import KEY_ID, SECRET
from tests.worlds.in_process import InProcess, InProcessResult
from tests.worlds.machine import PASSPHRASE

HINT = "filevault: hint: "


@pytest.fixture
def inside(tmp_path: Path) -> InProcess:
    return InProcess({"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"})


def refused(ended: InProcessResult, status: int = 2) -> tuple[str, str]:
    """Return error and hint of a run that printed these two lines and nothing else."""
    assert (ended.status, ended.out) == (status, ""), ended
    error, hint = ended.err.splitlines()
    assert error.startswith("filevault: error: ")
    assert hint.startswith(HINT)
    return error.partition("error: ")[2], hint.removeprefix(HINT)


def mistyped(word: str) -> list[str]:
    """A word with two letters exchanged, one lost, one doubled."""
    middle = len(word) // 2 + 1
    exchanged = word[: middle - 1] + word[middle] + word[middle - 1] + word[middle + 1 :]
    return [exchanged, word[:middle] + word[middle + 1 :], word[:middle] + word[middle - 1 :]]


@pytest.mark.parametrize("command", [name for name in COMMANDS if len(name) > 3])
def test_a_misspelt_command_is_guessed(inside: InProcess, command: str) -> None:
    for word in mistyped(command):
        if word in COMMANDS or word in ALIASES:
            continue
        error, hint = refused(inside.run(word))
        assert error == f"there is no command {word!r}"
        assert hint == f"did you mean {command}? filevault --help lists them"


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "git"])
def test_a_misspelt_option_is_guessed(inside: InProcess, command: str) -> None:
    parser = parser_of(command)
    for option in parser.options():
        if len(option) < 6:
            continue
        for word in mistyped(option):
            if word in parser.options():
                continue
            ended = inside.run(command, word)
            error, hint = refused(ended, 125 if command == "exec" else 2)
            assert error == f"there is no option {word!r}"
            assert hint.startswith("did you mean --")
            assert hint.endswith(f"? filevault {command} --help lists the options")


def test_what_is_like_nothing_is_not_guessed(inside: InProcess) -> None:
    assert refused(inside.run("zzz")) == (
        "there is no command 'zzz'",
        "filevault --help lists them",
    )
    error, hint = refused(inside.run("list", "--zzz=secret-value"))
    assert (error, hint) == (
        "there is no option '--zzz'",
        "filevault list --help lists the options",
    )


@pytest.mark.parametrize(
    ("option", "instead"),
    [
        ("--keychain", "--backend file, pass or age"),
        ("--secret-service-collection", "--backend file, pass or age"),
        ("--biometrics", "--backend file, pass or age"),
        ("--no-biometrics", "--backend file, pass or age"),
        ("--op-timeout", "--backend file, pass or age"),
        ("--op-vault-id", "--backend file, pass or age"),
        ("--op-item-title-prefix", "--backend file, pass or age"),
        ("--proton-pass-share-id", "--backend file, pass or age"),
        ("--file-dir", "--vault DIR names the folder"),
        ("--pass-cmd", "runs gpg and age itself"),
        ("--assume-role-ttl", "AWS_ASSUME_ROLE_TTL"),
        ("--session-ttl", "AWS_SESSION_TOKEN_TTL"),
        ("--parallel-safe", "leave it out"),
    ],
)
@pytest.mark.parametrize("command", ["list", "exec"])
def test_aws_vaults_own_options_say_what_to_use(
    inside: InProcess, option: str, instead: str, command: str
) -> None:
    """Before the command its value must not be taken for the command, whatever it is."""
    status = 125 if command == "exec" else 2
    for argv in (
        (option, command), (option, "x", command), (f"{option}=x", command), (command, option),
        (command, option, "x"),
    ):  # fmt: skip
        error, hint = refused(inside.run(*argv), status)
        assert error == f"{option} is an option of AWS Vault only"
        assert instead in hint


def test_no_option_of_ours_is_called_aws_vaults() -> None:
    """A later option of one of these names must be taken out of the table."""
    ours = {option for command in COMMANDS for option in parser_of(command).options()}
    assert [option for option in sorted(ours) if aws_vault.option(option)] == []
    assert [command for command in COMMANDS if aws_vault.command(command)] == []


@pytest.mark.parametrize(
    ("line", "status", "error", "hint"),
    [
        ("-d 1h exec work", 125, "-d is not a global option", "after its name"),
        ("--format json export work", 2, "--format is not a global option", "after its name"),
        ("--vualt x list", 2, "no option '--vualt'", "did you mean --vault? filevault --help"),
        ("--vualt x exec work", 125, "no option '--vualt'", "did you mean --vault?"),
        ("server work", 2, "server is a command of AWS Vault", "neither needs a proxy"),
        ("list --no-debug", 2, "no option '--no-debug'", "leave --debug out"),
        ("help lsit", 2, "no command 'lsit'", "did you mean list?"),
        ("help list status", 2, "unexpected argument: status", "filevault help --help"),
        ("--keychain", 2, "--keychain is an option of AWS Vault", "--backend"),
        ("--vualt", 2, "no option '--vualt'", "did you mean --vault?"),
        ("status work", 2, "unexpected argument: work", "filevault status --help"),
        ("show work", 2, "no command 'show'", "did you mean export? filevault --help"),
        ("get work", 2, "no command 'get'", "did you mean export? filevault --help"),
        ("assume work", 2, "no command 'assume'", "did you mean exec? filevault --help"),
        ("migrate-backend", 2, "no command 'migrate-backend'", "did you mean migrate?"),
        ("logout work", 2, "no command 'logout'", "did you mean sso logout?"),
        ("exec --stdout work", 125, "no option '--stdout'", "AWS_VAULT_DEVICE_CODE=1"),
        ("export --stdout work", 2, "no option '--stdout'", "AWS_VAULT_DEVICE_CODE=1"),
    ],
)
def test_other_words_that_are_not_known(
    inside: InProcess, line: str, status: int, error: str, hint: str
) -> None:
    shown = refused(inside.run(*line.split()), status)
    assert error in shown[0]
    assert hint in shown[1]


@pytest.mark.parametrize(
    ("line", "profile", "written"),
    [
        ("exec sh -l", False, "exec PROFILE -- sh -l"),
        ("exec sh -l", True, "exec PROFILE -- sh -l"),
        ("exec work -l sh", False, "exec PROFILE -- work -l sh"),
        ("exec sh s3 ls", False, "exec PROFILE -- sh s3 ls"),
        ("exec sh s3 ls", True, "exec -- sh s3 ls"),
        ("exec -n sh s3 ls", True, "exec -- sh s3 ls"),
        ("exec sh --region x s3 ls", True, "exec -- sh --region x s3 ls"),
        ("exec sh", True, "exec -- sh"),
        ("exec --slot sh sh x", True, "exec -- sh x"),
        ("exec sh --version", True, "exec PROFILE -- sh --version"),
        ("exec sh it's", True, "exec -- sh 'it'\\''s'"),
    ],
)
def test_a_forgotten_pair_of_dashes_is_told(
    tmp_path: Path, line: str, profile: bool, written: str
) -> None:
    env = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    ended = InProcess(env | ({"AWS_PROFILE": "work"} if profile else {})).run(*line.split())
    _error, hint = refused(ended, 125)
    assert f"filevault {written}" in hint


def test_a_profile_in_the_place_of_a_command_is_told_how_to_use_it(tmp_path: Path) -> None:
    """Neither a config that cannot be read nor a missing vault hides the error."""
    inside = InProcess({"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"})
    (tmp_path / ".aws").mkdir()
    config = tmp_path / ".aws/config"
    config.write_text('[profile prod]\nregion = eu-west-1\n[profile "a b"]\n[profile lsit]\n')
    assert refused(inside.run("prod", "ls")) == (
        "there is no command 'prod'",
        "for the profile of that name: filevault exec prod; filevault --help lists them",
    )
    assert "filevault exec 'a b'; " in refused(inside.run("a b"))[1]
    assert "filevault exec lsit; " in refused(inside.run("lsit"))[1]
    config.write_text("nonsense")
    assert refused(inside.run("prod"))[1] == "filevault --help lists them"
    elsewhere = inside.run("--vault", str(tmp_path / "none"), "prod")
    assert refused(elsewhere)[1] == "filevault --help lists them"


def test_what_other_tools_call_a_command_is_no_command_here() -> None:
    from filevault.cli.unknown import _ELSEWHERE

    assert not _ELSEWHERE.keys() & {*COMMANDS, *ALIASES}
    assert {each.split()[0] for each in _ELSEWHERE.values()} <= COMMANDS.keys()


def test_with_dashes_nothing_is_told_of_them(inside: InProcess) -> None:
    for line in ("exec sh -- -l", "exec sh -l -- true", "exec work"):
        assert " -- " not in inside.run(*line.split()).err


def test_an_agents_command_without_dashes_is_told_how_to_write_it(inside: InProcess) -> None:
    assert refused(inside.run("agent", "make", "x"))[1].startswith("filevault agent -- make x")
    assert "filevault agent -- make -j4" in refused(inside.run("agent", "make", "-j4"))[1]


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("exec --bogus", 125), ("--bogus exec", 125), ("exec -t", 125), ("exec", 125),
        ("exec --duration x w", 125), ("exec --passphrase-fd x w", 125), ("exec --vault= w", 125),
        ("exec --prompt x w -- true", 125), ("--backend x exec w -- true", 125),
        ("--vault a exec --vault b w", 125),
        ("exec -j --bogus", 2), ("exec -nj --bogus", 2), ("exec --json -d x w", 2),
        ("exec -j w -- true", 2), ("exec --bogus w tool -j", 125), ("exec -t -j --bogus", 125),
        ("export --bogus", 2), ("--bogus export exec", 2),
    ],
)  # fmt: skip
def test_usage_errors_of_exec_are_125_unless_it_prints_json(
    inside: InProcess, line: str, status: int
) -> None:
    assert inside.run(*line.split()).status == status


def test_help_and_version_are_commands_too(inside: InProcess) -> None:
    assert inside.run("help").out == inside.run("--help").out
    assert inside.run("-v").out == inside.run("version").out == inside.run("--version").out
    for command in [*COMMANDS, *ALIASES]:
        shown = inside.run("help", command)
        assert (shown.status, shown.err) == (0, "")
        assert shown.out == inside.run(command, "--help").out


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("remove jonsmiht --force", 4),
        ("rename jonsmiht other", 4),
        ("copy jonsmiht other", 4),
        ("verify jonsmiht", 4),
        ("recipients accept jonsmiht", 4),
        ("rotate jonsmiht", 3),
        ("export jonsmiht", 3),
        ("exec jonsmiht -- true", 125),
        ("login jonsmiht", 3),
    ],
)
def test_a_misspelt_key_is_guessed(stocked: InProcess, line: str, status: int) -> None:
    error, hint = refused(stocked.run(*line.split()), status)
    assert "'jonsmiht'" in error
    assert hint.startswith("did you mean 'jonsmith'?")


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> InProcess:
    """A vault with a key for `jonsmith`, and an AWS config without it."""
    home = tmp_path_factory.mktemp("home")
    inside = InProcess({"HOME": str(home), "FILEVAULT_PASSPHRASE": PASSPHRASE})
    assert inside.run("init").status == 0
    given = f"{KEY_ID}\n{SECRET}\n".encode()
    assert inside.run("add", "jonsmith", "--stdin", "--no-config", stdin=given).status == 0
    return inside
