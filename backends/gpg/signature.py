"""Signatures of `.gpg-id` files: `PASSWORD_STORE_SIGNING_KEY`.

The bytes that are used are verified, not the file a second time. Only a good signature by one of
the named keys is accepted: not a missing one, and none by an expired or revoked key.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filevault.backends.gpg import openpgp
from filevault.errors import BackendError, DamagedError, TamperedError
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from filevault.backends.gpg.process import Gpg
    from filevault.backends.gpg.status import Reply

VARIABLE = "PASSWORD_STORE_SIGNING_KEY"
_FINGERPRINT = r"[0-9A-F]{40}(?:[0-9A-F]{24})?"
_VERDICTS = {
    "BADSIG": "it is bad",
    "EXPSIG": "it has expired",
    "EXPKEYSIG": "its key has expired",
    "REVKEYSIG": "its key is revoked",
    "ERRSIG": "its key is not here",
}


def signing_keys(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the fingerprints whose signature is required; empty if none is.

    Raises BackendError for anything but full fingerprints: a typo must not disable the check.
    """
    text = environment.get(VARIABLE, "")
    keys = tuple(word.upper() for word in text.split())
    for key in keys:
        if not re.fullmatch(_FINGERPRINT, key):
            raise BackendError(
                f"{VARIABLE} has {printable(key, 100)!r}, which is not a full fingerprint",
                hint="gpg --list-keys --with-subkey-fingerprints shows them",
            )
    if text and not keys:
        raise BackendError(f"{VARIABLE} is set and names no key")
    return keys


def check_signature(
    gpg: Gpg, data: bytes, signature: bytes | None, keys: Sequence[str], path: str
) -> None:
    """Verify a recipients file; `keys` are fingerprints of signing keys or of primary keys.

    Raises:
        TamperedError: if it has no good signature by any of them.
        ProgramError: if gpg cannot be run.
    """
    shown = printable(path)
    hint = f"see who changed it; while {VARIABLE} is set, only a file with a good signature is used"
    if signature is None:
        raise TamperedError(f"{shown!r} is not signed: there is no {shown}.sig", hint=hint)
    try:
        signature = openpgp.signature(signature, f"{shown}.sig")
    except DamagedError as error:
        raise TamperedError(error.message, hint=hint) from error
    reply = gpg.verify(data, signature)
    if not _good(reply, keys):
        raise TamperedError(f"the signature of {shown!r} is not valid: {_reason(reply)}", hint=hint)


def _good(reply: Reply, keys: Sequence[str]) -> bool:
    """Return whether one of the signatures is good and fits a key, and none is bad."""
    if reply.count("BADSIG"):
        return False
    verdict = ""
    for keyword, rest in reply.lines():
        if keyword == "NEWSIG":
            verdict = ""
        elif keyword == "GOODSIG" or keyword in _VERDICTS:
            verdict = keyword
        elif keyword == "VALIDSIG" and verdict == "GOODSIG":
            words = rest.split(" ")
            if words[0] in keys or (len(words) > 9 and words[9] in keys):
                return True
    return False


def _reason(reply: Reply) -> str:
    for keyword, _rest in reply.lines():
        if keyword in _VERDICTS:
            return _VERDICTS[keyword]
    if reply.count("VALIDSIG"):
        return f"it is by a key that {VARIABLE} does not name"
    return reply.complaint() or "gpg finds none"
