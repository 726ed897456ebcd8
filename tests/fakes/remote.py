"""The client of the control channel, for a fake that runs as a process of its own.

Needs the standard library only and can be run as a file:
`python tests/fakes/remote.py URL totp '{"serial": "arn:aws:iam::123456789012:mfa/jonsmith"}'`
prints a token code, which makes it a ready `mfa_process`.
"""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from typing import Any

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class RemoteFake:
    """Control a fake by its URL."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, verb: str, /, **order: Any) -> Any:
        """Send one order; raises ValueError with the reason if it makes no sense."""
        request = urllib.request.Request(
            f"{self.url}/_control/{verb}", data=json.dumps(order).encode(), method="POST"
        )
        try:
            with _OPENER.open(request, timeout=30) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                raise ValueError(error.read().decode()) from None

    def calls(self) -> list[dict[str, Any]]:
        """Return the calls made so far, with the fields of `Call`."""
        found: list[dict[str, Any]] = self.ask("calls")
        return found

    def actions(self) -> list[str]:
        """Return the names of the calls made so far."""
        return [str(call["action"]) for call in self.calls()]

    def reset_calls(self) -> None:
        """Forget the calls made so far."""
        self.ask("reset_calls")

    def advance(self, seconds: float) -> float:
        """Move the fake's clock and return what it shows."""
        return float(self.ask("clock", advance=seconds))

    def totp(self, serial: str, *, ahead: int = 0) -> str:
        """Return the code of an MFA device, valid at the fake's clock."""
        return str(self.ask("totp", serial=serial, ahead=ahead))

    def arm(self, fault: dict[str, Any], **when: Any) -> None:
        """Arm a fault; it has the fields of `Fault`, and `action`, `nth` and `times` say when."""
        self.ask("arm", fault=fault, **when)


def main(arguments: list[str]) -> int:
    """Send one order and print the answer: text as it is, all else as JSON."""
    url, verb, *rest = arguments
    answer = RemoteFake(url).ask(verb, **json.loads(rest[0] if rest else "{}"))
    print(answer if isinstance(answer, str) else json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
