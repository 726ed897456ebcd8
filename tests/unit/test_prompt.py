from __future__ import annotations

import pytest

from filevault.errors import NoTerminalError
from filevault.unlock.prompt import NoTerminal, confirm


class OneAnswer:
    """Answers every question alike."""

    present = True

    def __init__(self, answer: str) -> None:
        self.answer = answer
        self.asked: list[str] = []

    def say(self, text: str) -> None:
        raise AssertionError(text)

    def line(self, question: str) -> str:
        self.asked.append(question)
        return self.answer

    def hidden(self, question: str) -> bytes:
        raise AssertionError(question)


@pytest.mark.parametrize("answer", ["y", "Y", "yes", "YES"])
def test_yes_is_yes(answer: str) -> None:
    person = OneAnswer(answer)
    assert confirm(person, "Delete it?")
    assert person.asked == ["Delete it? (y|N) "]


@pytest.mark.parametrize("answer", ["", "n", "no", "ye", "yess", "j", "1", "true", "\x1b"])
def test_anything_else_is_no(answer: str) -> None:
    assert not confirm(OneAnswer(answer), "Delete it?")


def test_nobody_answers_nothing() -> None:
    nobody = NoTerminal()
    assert not nobody.present
    nobody.say("into the void")
    with pytest.raises(NoTerminalError, match="'Name'"):
        nobody.line("Name: ")
    with pytest.raises(NoTerminalError, match="'Passphrase'"):
        nobody.hidden("Passphrase: ")
