"""Sign-ins: who is signed in where, and until when, as the headers of token records say."""

from __future__ import annotations

import contextlib

from filevault.errors import FilevaultError
from filevault.system.printable import printable
from filevault.system.record import Record
from filevault.system.times import format_duration, format_local, format_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from filevault.cli.open_vault import OpenVault


class SignIn(Record):
    """A sign-in that serves now.

    `reference` is that of the credential source, such as `sso:work`. `until` is in Unix seconds,
    None if it is not known. With `renewable` no person is needed to go on after that.
    """

    reference: str
    until: int | None
    renewable: bool

    def label(self, now: float, *, local: bool = False) -> str:
        """Return the sign-in as a cell of a table, with the time left, or its local end."""
        shown = printable(self.reference)
        if self.renewable:
            return f"{shown}:renewable"
        if self.until is None:
            return shown
        return f"{shown}:{format_local(self.until) if local else format_duration(self.until - now)}"

    def sentence(self, *, local: bool = False) -> str:
        """Return the sign-in as a line."""
        shown = format_local if local else format_time
        until = "" if self.until is None else f" until {shown(self.until)}"
        renewable = ", then renewed without a question" if self.renewable else ""
        return f"signed in: {printable(self.reference)}{until}{renewable}"

    def json(self) -> dict[str, object]:
        """Return the sign-in for JSON."""
        return {
            "session": self.reference,
            "until": None if self.until is None else format_time(self.until),
            "renewable": self.renewable,
        }


def sign_ins(opened: OpenVault | None, now: float) -> list[SignIn]:
    """Return the sign-ins that are kept with a vault, by reference; nothing is decrypted.

    `now` is in Unix seconds. There are none without a vault or a state directory.
    """
    if opened is None or not opened.may_have_tokens():
        return []
    from filevault.sources.token_records import LOGIN, SSO_TOKEN

    found: dict[str, SignIn] = {}
    with contextlib.suppress(FilevaultError):
        for each in opened.tokens().listing():
            if each.kind not in (SSO_TOKEN, LOGIN):
                continue
            ended = each.expires is not None and each.expires <= now
            if each.renewable or not ended:
                found[each.source] = SignIn(each.source, each.expires, each.renewable)
    return [found[reference] for reference in sorted(found)]
