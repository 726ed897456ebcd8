"""The same cause is told whichever gpg reports it: status lines as gpg 2.2.40 and 2.4.7 write them.

The lines were recorded with each version: Debian 12 has the first, Debian 13 the second.
"""

from __future__ import annotations

import pytest

from filevault.backends.gpg import status as gpg_status
from filevault.backends.gpg.status import Reply
from filevault.errors import FilevaultError, LockedError, NotARecipientError, NoTerminalError

ID = "490807CAB48BD8D6"
BEGIN = f"ENC_TO {ID} 1 0"
END = ("BEGIN_DECRYPTION", "DECRYPTION_FAILED", "END_DECRYPTION")
EXIT = "FAILURE gpg-exit 33554433"
NO_KEY = f"NO_SECKEY {ID}"


def reply(
    *status: str, words: tuple[str, ...] = ("gpg: decryption failed: No secret key",)
) -> Reply:
    lines = [*(f"[GNUPG:] {line}" for line in status), *words]
    return Reply(2, b"", "\n".join(lines).encode())


# Cause, what gpg 2.2 writes, what gpg 2.4 writes, the error, a part of its message.
CAUSES: list[tuple[str, list[str], list[str], type[FilevaultError], str]] = [
    (
        "no secret key",
        [BEGIN, NO_KEY, *END],
        [BEGIN, NO_KEY, "ERROR pkdecrypt_failed 33554449", *END, EXIT],
        NotARecipientError,
        f"no secret key is here that opens item 'x': it is encrypted to {ID}",
    ),
    (
        "no pinentry",
        [BEGIN, "ERROR pkdecrypt_failed 67108949", *END],
        [BEGIN, NO_KEY, "ERROR pkdecrypt_failed 67108949", *END, EXIT],
        NoTerminalError,
        "has no way to ask for it",
    ),
    (
        "no terminal",
        [BEGIN, "PINENTRY_LAUNCHED 3", "ERROR pkdecrypt_failed 83918950", *END],
        [BEGIN, "PINENTRY_LAUNCHED 3", NO_KEY, "ERROR pkdecrypt_failed 83918950", *END, EXIT],
        NoTerminalError,
        "has no way to ask for it",
    ),
    (
        "cancelled",
        [BEGIN, "PINENTRY_LAUNCHED 3", "ERROR pkdecrypt_failed 83886179", *END],
        [BEGIN, "PINENTRY_LAUNCHED 3", NO_KEY, "ERROR pkdecrypt_failed 83886179", *END, EXIT],
        LockedError,
        "was cancelled",
    ),
]


@pytest.mark.parametrize("version", ["2.2", "2.4"])
@pytest.mark.parametrize("cause", CAUSES, ids=[cause[0] for cause in CAUSES])
def test_a_cause_has_one_message_in_every_version(
    cause: tuple[str, list[str], list[str], type[FilevaultError], str], version: str
) -> None:
    _name, old, new, kind, message = cause
    with pytest.raises(kind) as caught:
        gpg_status.plaintext(reply(*(old if version == "2.2" else new)), "item 'x'")
    assert type(caught.value) is kind
    assert message in caught.value.message


@pytest.mark.parametrize(
    "status",
    [[BEGIN, NO_KEY, *END], [BEGIN, NO_KEY, "ERROR pkdecrypt_failed 33554449", *END, EXIT]],
    ids=["2.2", "2.4"],
)
def test_a_reply_without_a_key_makes_filevault_ask_the_agent(status: list[str]) -> None:
    """An agent that cannot start leaves the same status lines as a key that is not here."""
    assert gpg_status.no_secret_key(reply(*status))


@pytest.mark.parametrize(
    "words",
    [
        "gpg: failed to start agent '/usr/bin/gpg-agent': General error",
        "gpg: failed to start gpg-agent '/usr/bin/gpg-agent': General error",
        "gpg: no gpg-agent running in this session",
    ],
)
def test_why_the_agent_does_not_start_is_told_in_gpgs_words(words: str) -> None:
    said = reply(words=("gpg: error running it", words, "gpg: error reading key: No agent running"))
    assert said.agent_complaint() == words.removeprefix("gpg: ")
