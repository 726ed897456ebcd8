"""A mistyped MFA code on a terminal: what is said, how often it is asked, what AWS sees."""

from __future__ import annotations

from tests.fakes import drop
from tests.worlds.aws_machine import SERIAL, AwsMachine
from tests.worlds.machine import TypedAnswer

QUESTION = f"MFA code of {SERIAL} for jonsmith: "
MALFORMED = "That is no code of six digits. Try again."
REFUSED = "AWS refused that code"


def mistyped(code: str) -> str:
    """Return another code of six digits, which is none of the device's."""
    return f"{(int(code) + 1) % 1_000_000:06}"


def test_a_mistyped_code_may_be_corrected(scene: AwsMachine) -> None:
    scene.aws.clock.freeze()
    scene.configure(mfa_process=False).store()
    code = scene.user.totp()
    answers = [
        TypedAnswer(QUESTION, "12345"),
        TypedAnswer(QUESTION, mistyped(code)),
        TypedAnswer(QUESTION, code),
    ]
    result = scene.machine.on_terminal("export", "jonsmith", answers=answers)
    assert result.status == 0
    assert "AWS_SESSION_TOKEN=" in result.out
    assert result.err == ""
    assert result.tty.index(MALFORMED) < result.tty.index(REFUSED)
    assert [call.outcome for call in scene.aws.calls] == ["AccessDenied", "ok"]


def test_three_refused_codes_are_enough(scene: AwsMachine) -> None:
    scene.aws.clock.freeze()
    scene.configure(mfa_process=False).store()
    answers = [TypedAnswer(QUESTION, mistyped(scene.user.totp()))] * 3
    result = scene.machine.on_terminal("export", "admin", answers=answers)
    assert (result.status, result.out) == (8, "")
    assert result.tty.count(REFUSED) == 2
    assert "invalid MFA one time pass code" in result.err
    assert scene.aws.actions() == ["GetSessionToken"] * 3


def test_a_wrong_code_from_the_option_or_the_program_is_not_asked_for_again(
    scene: AwsMachine,
) -> None:
    scene.aws.clock.freeze()
    scene.configure().store()
    wrong = mistyped(scene.user.totp())
    by_option = scene.machine.on_terminal("export", "admin", "--mfa-token", wrong)
    config = scene.machine.config
    config.write_text(config.read_text().replace(scene.mfa_process, f"echo {wrong}"))
    by_program = scene.machine.on_terminal("export", "admin")
    for result in (by_option, by_program):
        assert result.status == 8
        assert "MFA code of" not in result.tty
    assert scene.aws.actions() == ["GetSessionToken"] * 2


def test_another_refusal_is_told_at_once(scene: AwsMachine) -> None:
    scene.configure(mfa_process=False).store()
    scene.user.keys[scene.user.access_key_id].status = "Inactive"
    result = scene.machine.on_terminal(
        "export", "admin", answers=[TypedAnswer(QUESTION, scene.user.totp())]
    )
    assert result.status == 8
    assert result.tty.count(QUESTION) == 1


def test_a_lost_answer_is_no_reason_to_ask_again(scene: AwsMachine) -> None:
    scene.configure(mfa_process=False).store()
    scene.aws.arm(drop("after"))
    result = scene.machine.on_terminal(
        "export", "admin", answers=[TypedAnswer(QUESTION, scene.user.totp())]
    )
    assert result.status == 9
    assert "the token code may be used up: wait for the next one" in result.err
    assert scene.aws.actions() == ["GetSessionToken"]
