"""The ways to a token code: which one is used, and the programs that print one."""

from __future__ import annotations

from pathlib import Path

import pytest

from filevault.aws.sts import TokenCodeFor
from filevault.config.program_chain import CHAIN
from filevault.config.settings import GlobalOptions, Settings
from filevault.errors import MfaError, NoTerminalError, ProfileLoopError
from filevault.mfa.request import MfaRequest
from filevault.mfa.token_code import token_code
from filevault.system import programs

SERIAL = "arn:aws:iam::123456789012:mfa/jon"


class MutedTerminal:
    """A person who types one code, or no terminal."""

    def __init__(self, *, present: bool = True) -> None:
        self.present = present
        self.questions: list[str] = []
        self.said: list[str] = []

    def line(self, question: str) -> str:
        self.questions.append(question)
        return "333333"

    def say(self, text: str) -> None:
        self.said.append(text)

    def hidden(self, question: str) -> bytes:
        raise AssertionError(question)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Return an environment with a ykman that shows its arguments in a file and prints a code."""
    ykman = tmp_path / "ykman"
    arguments = f'printf "%s\\n" "$@" > {tmp_path}/arguments'
    ykman.write_text(f"#!/bin/sh\n{arguments}\n. {tmp_path}/answer\n")
    ykman.chmod(0o755)
    (tmp_path / "answer").write_text("echo 222222")
    return {"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path)}


def code(
    environ: dict[str, str],
    terminal: MutedTerminal,
    *,
    prompt: str | None = None,
    process: str | None = None,
    option: str | None = None,
) -> str:
    settings = Settings(environ, GlobalOptions(prompt=prompt))
    codes = token_code(option, settings, lambda: terminal)

    def call(found: TokenCodeFor | None) -> str:
        assert found is not None
        assert found.serial == SERIAL
        return found.code

    return codes.present(MfaRequest(SERIAL, process), "jon", call)


def test_the_option_the_process_the_yubikey_the_terminal(environ: dict[str, str]) -> None:
    terminal = MutedTerminal()
    assert code(environ, terminal, prompt="ykman", process="echo 111111", option="000000") == (
        "000000"
    )
    assert code(environ, terminal, prompt="ykman", process="echo 111111") == "111111"
    assert code(environ, terminal, prompt="ykman") == "222222"
    assert terminal.questions == []
    assert code(environ, terminal) == "333333"
    assert terminal.questions == [f"MFA code of {SERIAL} for jon: "]


def test_ykman_is_asked_for_the_account_and_on_the_device_that_are_named(
    environ: dict[str, str], tmp_path: Path
) -> None:
    code(environ, MutedTerminal(), prompt="ykman")
    asked = (tmp_path / "arguments").read_text().splitlines()
    assert asked == ["oath", "accounts", "code", "--single", SERIAL]
    environ |= {"YKMAN_OATH_CREDENTIAL_NAME": "work", "YKMAN_OATH_DEVICE_SERIAL": "42"}
    code(environ, MutedTerminal(), prompt="ykman")
    asked = (tmp_path / "arguments").read_text().splitlines()
    assert asked == ["--device", "42", "oath", "accounts", "code", "--single", "work"]


def test_a_process_does_not_run_itself(environ: dict[str, str]) -> None:
    """It may ask filevault for its own profile by mistake, and each run would start another."""
    process = f'[ ${CHAIN} = outer,jon ] && echo "11111$(echo $AWS_PROFILE | wc -w)"'
    environ |= {CHAIN: "outer", "AWS_PROFILE": "jon"}
    assert code(environ, MutedTerminal(), process=process) == "111111"
    environ[CHAIN] = "jon"
    with pytest.raises(ProfileLoopError, match="mfa_process of profile 'jon' runs itself"):
        code(environ, MutedTerminal(), process=process)


def test_a_program_that_fails_is_named_with_its_complaint(
    environ: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "answer").write_text("echo no key >&2; exit 3")
    with pytest.raises(MfaError, match="ykman failed with status 3: no key"):
        code(environ, MutedTerminal(), prompt="ykman")
    with pytest.raises(MfaError, match="mfa_process failed with status 4"):
        code(environ, MutedTerminal(), process="exit 4")


def test_what_a_program_prints_is_asked_for_once(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "answer").write_text("echo none")
    terminal = MutedTerminal()
    with pytest.raises(MfaError, match="what ykman printed is not a token code of six digits"):
        code(environ, terminal, prompt="ykman")
    with pytest.raises(MfaError, match="what mfa_process of profile 'jon' printed is not"):
        code(environ, terminal, process="echo none")
    assert terminal.said == []


def test_without_a_way_the_reason_is_told(environ: dict[str, str]) -> None:
    with pytest.raises(NoTerminalError, match="there is no terminal"):
        code(environ, MutedTerminal(present=False))
    with pytest.raises(NoTerminalError, match="--prompt none is set"):
        code(environ, MutedTerminal(), prompt="none")


@pytest.mark.parametrize("way", [{"process": "sleep 0.3; echo 111111"}, {"prompt": "ykman"}])
def test_a_person_is_told_that_a_slow_program_is_waited_for(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: dict[str, str]
) -> None:
    monkeypatch.setattr(programs, "_SILENCE", 0.05)
    (tmp_path / "answer").write_text("sleep 0.3; echo 222222")
    terminal = MutedTerminal()
    code(environ, terminal, **way)
    name = next(iter(way.values())) if "prompt" in way else "mfa_process"
    assert terminal.said == [f"filevault: waiting for {name}, 120 s left; Ctrl-C ends"]
