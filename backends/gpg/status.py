"""gpg's reply to an operation: its status lines, and the errors for them.

gpg's last line, "No secret key", is the same for a wrong passphrase, a missing terminal and an
agent that cannot start; the error codes beside it differ (GnuPG doc/DETAILS, libgpg-error).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filevault.errors import (
    DamagedError,
    FilevaultError,
    LockedError,
    NotARecipientError,
    NoTerminalError,
    ProgramError,
    TamperedError,
    WrongPassphraseError,
)
from filevault.system.printable import printable
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

NO_TERMINAL_HINT = (
    "give the passphrase with --passphrase-file, --passphrase-fd or FILEVAULT_PASSPHRASE_FILE, "
    "unlock the key in gpg-agent first, or run it on a terminal with GPG_TTY=$(tty)"
)

BAD_PASSPHRASE = 11
NO_SECRET_KEY = 17
NO_AGENT = 77
NO_PINENTRY = 85
NO_PASSPHRASE = 177
_NOT_SUPPORTED = 60
_TIMEOUT = 62
_CANCELLED = frozenset({99, 198})
_NO_TERMINAL = frozenset({32870, 32774, 32769})  # ENOTTY, ENXIO, EPERM with the system error bit
_CARD = frozenset(range(108, 115))
_PREFIX = b"[GNUPG:] "


class Reply(Record):
    """A gpg run's exit status, output (which may be a secret) and stderr."""

    _secret = ("output", "stderr")

    status: int
    output: bytes
    stderr: bytes
    excessive: str = ""
    """The reason why gpg was killed, if it was."""

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield each status line as keyword and rest.

        Only LF ends a line: gpg escapes it in names, but not the other characters that Python
        takes for a line end, with which a user id could fake a status.
        """
        for line in self.stderr.split(b"\n"):
            if line.startswith(_PREFIX):
                keyword, _blank, rest = line[len(_PREFIX) :].decode("latin-1").partition(" ")
                yield keyword, rest

    def count(self, keyword: str) -> int:
        """Return the number of times a status was reported."""
        return sum(1 for found, _rest in self.lines() if found == keyword)

    def codes(self, *operations: str) -> set[int]:
        """Return the error codes of some operations, of all if none is named.

        Only the low 16 bits: the others name the component (libgpg-error).
        """
        found = set()
        for keyword, rest in self.lines():
            match = re.match(r"(\S+) (\d+)", rest)
            # gpg 2.4 ends every failed run with "FAILURE gpg-exit", which gives no reason.
            if keyword not in ("ERROR", "FAILURE") or not match or match[1] == "gpg-exit":
                continue
            if not operations or match[1] in operations:
                found.add(int(match[2]) & 0xFFFF)
        return found

    def complaint(self) -> str:
        """Return gpg's last line of text for users, printable."""
        lines = self._prose()
        return printable(lines[-1], 200) if lines else ""

    def agent_complaint(self) -> str:
        """Return gpg's text on why it has no agent, printable.

        No status line has the reason. gpg 2.2 writes "agent", gpg 2.4 "gpg-agent".
        """
        for line in self._prose():
            if re.search(r"\b(failed to start|no) (gpg-)?agent\b", line):
                return printable(line.removeprefix("gpg: "), 200)
        return self.complaint()

    def _prose(self) -> list[str]:
        lines = [line for line in self.stderr.split(b"\n") if line and not line.startswith(_PREFIX)]
        return [line.decode("utf-8", "replace") for line in lines]


def wants_passphrase(reply: Reply) -> bool:
    """Return whether only a passphrase was missing, for which gpg was not allowed to ask."""
    return reply.status != 0 and NO_PINENTRY in reply.codes()


def rejects_passphrase(reply: Reply) -> bool:
    """Return whether the passphrase that was given is wrong."""
    return reply.status != 0 and BAD_PASSPHRASE in reply.codes()


def no_secret_key(reply: Reply) -> bool:
    """Return whether gpg tried no secret key, or does not report why none could be used.

    gpg 2.2 then reports NO_SECKEY only, gpg 2.4 an error code as well; both do the same if the
    agent cannot be reached.
    """
    tried = reply.count("DECRYPTION_KEY") or reply.count("DECRYPTION_INFO")
    silent = not reply.codes() - {NO_AGENT, NO_SECRET_KEY}
    return bool(reply.count("ENC_TO")) and not tried and silent


def with_code(reply: Reply, code: int) -> Reply:
    """Return a reply with an error code added, which `quiet` in gpg.conf suppressed."""
    return reply._replace(stderr=reply.stderr + b"\n[GNUPG:] ERROR pkdecrypt_failed %d\n" % code)


def plaintext(reply: Reply, what: str) -> bytes:
    """Return the complete, verified plaintext.

    Raises DamagedError, TamperedError, or the error of `refusal`; never returns the partial
    plaintext of a damaged file.
    """
    if reply.excessive:
        raise TamperedError(f"{what} is refused: {reply.excessive}")
    if reply.count("DECRYPTION_OKAY"):
        return _verified(reply, what)
    if reply.count("DECRYPTION_KEY") or reply.count("DECRYPTION_INFO"):
        raise DamagedError(f"{what} is damaged: its content is not what was encrypted")
    if no_secret_key(reply) and NO_AGENT not in reply.codes():
        raise NotARecipientError(
            f"no secret key is here that opens {what}: it is encrypted to {_recipients(reply)}",
            hint="gpg --list-secret-keys shows what is here; a person who can read the item can "
            "add your key to the recipients",
        )
    error = refusal(reply, what)
    if error is not None:
        raise error
    if reply.count("ENC_TO"):
        raise DamagedError(f"{what} is damaged: no key opens it, {_recipients(reply)} included")
    raise DamagedError(f"{what} cannot be read by gpg: {reply.complaint()}")


def _verified(reply: Reply, what: str) -> bytes:
    """Return the plaintext of a message that was decrypted completely."""
    if reply.count("BADMDC") or reply.count("DECRYPTION_FAILED") or not reply.count("GOODMDC"):
        raise DamagedError(f"{what} is damaged: its content is not what was encrypted")
    if (
        reply.count("PLAINTEXT") != 1
        or reply.count("DECRYPTION_OKAY") != 1
        or reply.codes("proc_pkt.plaintext")
    ):
        raise TamperedError(f"{what} is refused: it does not contain exactly one text")
    if reply.status != 0 or not reply.count("ENC_TO"):
        raise DamagedError(f"{what} is refused by gpg: {reply.complaint()}")
    return reply.output


def _recipients(reply: Reply) -> str:
    ids = [rest.split(" ")[0] for keyword, rest in reply.lines() if keyword == "ENC_TO"]
    return printable(", ".join(ids[:5]) + (" and others" if len(ids) > 5 else ""), 200)


def refusal(reply: Reply, what: str) -> FilevaultError | None:
    """Return the error if a secret key could not be used, None for another failure.

    Causes that the user can remove are first: with several keys, each may fail differently.
    """
    codes = reply.codes()
    if BAD_PASSPHRASE in codes:
        return WrongPassphraseError(f"wrong passphrase for the gpg key of {what}")
    if _NOT_SUPPORTED in reply.codes("set_pinentry_mode"):
        return ProgramError(
            "gpg-agent takes no passphrase from filevault: its loopback mode is forbidden",
            hint="remove no-allow-loopback-pinentry from gpg-agent.conf and run "
            "gpgconf --reload gpg-agent, or unlock the key in gpg-agent first",
        )
    if codes & _CANCELLED:
        return LockedError(f"the question for the passphrase of {what} was cancelled")
    if NO_PASSPHRASE in codes:
        return LockedError(f"gpg-agent did not get the passphrase of {what}")
    if _TIMEOUT in codes:
        return LockedError(f"the question for the passphrase of {what} was not answered in time")
    if NO_PINENTRY in codes or codes & _NO_TERMINAL:
        return NoTerminalError(
            f"the gpg key of {what} needs its passphrase, and gpg-agent has no way to ask for it",
            hint=NO_TERMINAL_HINT,
        )
    if codes & _CARD:
        return LockedError(
            f"the card with the gpg key of {what} cannot be used", hint="gpg --card-status"
        )
    if NO_AGENT in codes:
        return ProgramError("gpg cannot start its agent")
    if NO_SECRET_KEY in codes:
        return NotARecipientError(f"the secret key for {what} is not here")
    return None
