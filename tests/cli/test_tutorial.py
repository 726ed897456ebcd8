"""The tutorial and the tour of README, typed line by line: each asks what its page shows."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conditions.kernel_keyring import needs_kernel_keyring
from tests.fakes import FakeAws
from tests.worlds.key_cache import key_cache_machine
from tests.worlds.machine import PASSPHRASE, Machine, TypedAnswer

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
TOUR = README[
    README.index("## A tour of five minutes") : README.index("## Without a long-term key")
]
MORNING = README[README.index("## Once in the morning") : README.index("## For programs that run")]
# What a page shows of each question, in the order in which a block may have them.
QUESTIONS = re.compile(
    r"^(New passphrase|The same again|Passphrase for|Access key id|Secret access key|MFA code of)",
    re.MULTILINE,
)
ACCOUNT = ("111122223333", "123456789012")  # of the pages, of the stand-in


def steps(page: str) -> Iterator[tuple[str, str, list[str]]]:
    """Yield what a page has in order: `ini` and a text, or a command line and its questions."""
    for language, block in re.findall(r"^```(\w+)\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        if language == "ini":
            yield language, block, []
            continue
        for run in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line, _newline, shown = run.partition("\n")
            yield "console", line, QUESTIONS.findall(shown)


@pytest.mark.parametrize("page", ["tutorial", "README"])
@needs_kernel_keyring
def test_each_line_of_the_page_is_typed_and_asks_what_the_page_shows(
    page: str, machine: Machine, aws: FakeAws
) -> None:
    user = aws.add_user("jonsmith", mfa=True)
    aws.add_role("admin", trusts=[user], require_mfa=True)
    machine.env |= {"AWS_ENDPOINT_URL": aws.url, "AWS_ENDPOINT_URL_SIGNIN": aws.url}
    lines = 0
    with key_cache_machine(machine, aws, "kernel") as desk:
        for kind, text, questions in steps(TUTORIAL if page == "tutorial" else TOUR + MORNING):
            text = text.replace(*ACCOUNT)
            if kind == "ini":
                config = machine.config.read_text(encoding="utf-8")
                written, role, added = text.partition("[profile admin]")
                assert written.strip() in config, "what filevault wrote itself"
                machine.write_config(f"{config}\n{role}{added}")
                continue
            words = shlex.split(text.replace("aws sts get-caller-identity", "true"))
            assert words.pop(0) == "filevault"
            typed = {
                "New passphrase": PASSPHRASE,
                "The same again": PASSPHRASE,
                "Passphrase for": PASSPHRASE,
                "Access key id": user.access_key_id,
                "Secret access key": user.secret_access_key,
                "MFA code of": user.totp(),
            }
            answers = [TypedAnswer(each, typed[each]) for each in questions]
            result = machine.on_terminal(*words, answers=answers)
            assert result.status == 0, (text, result)
            assert QUESTIONS.findall(result.tty.replace("\r", "")) == questions, (text, result)
            desk.wait(31)  # a code serves once
            lines += 1
    assert lines >= 9
