"""The control channel of the fake: POST /_control/<verb> with JSON, for other processes.

What the verbs do is what the attributes of `FakeAws` of the same names do. `remote.py` is the
client.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tests.fakes.faults import Fault
from tests.fakes.wire import HttpAnswer, HttpRequest

if TYPE_CHECKING:
    from tests.fakes.aws import FakeAws

Verb = Callable[[Mapping[str, Any]], Any]


class Control:
    """Carry out the verbs of the control channel."""

    def __init__(self, fake: FakeAws) -> None:
        self._fake = fake
        self._verbs: dict[str, Verb] = {
            "arm": self._arm,
            "calls": self._calls,
            "clear_faults": self._clear_faults,
            "clock": self._clock,
            "issued_secrets": lambda _: sorted(fake.issued_secrets()),
            "release": self._release,
            "reset_calls": self._reset_calls,
            "seed": lambda document: seed(fake, document),
            "state": lambda _: self._state(),
            "totp": self._totp,
        }

    def respond(self, request: HttpRequest) -> HttpAnswer:
        """Answer one control request; 400 with the reason for one that makes no sense."""
        verb = self._verbs.get(request.path.removeprefix("/_control/"))
        if verb is None:
            return _json(404, {"error": "no such verb"})
        try:
            return _json(200, verb(json.loads(request.body or b"{}")))
        except (LookupError, TypeError, ValueError) as error:
            return _json(400, {"error": f"{type(error).__name__}: {error}"})

    def _arm(self, order: Mapping[str, Any]) -> None:
        self._fake.arm(
            Fault(**order["fault"]),
            action=order.get("action"),
            nth=order.get("nth", 1),
            times=order.get("times", 1),
        )

    def _calls(self, _order: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [
            {**call._asdict(), "parameters": dict(call.parameters)} for call in self._fake.calls
        ]

    def _clear_faults(self, _order: Mapping[str, Any]) -> None:
        self._fake.faults.clear()

    def _release(self, _order: Mapping[str, Any]) -> None:
        self._fake.faults.release()

    def _reset_calls(self, _order: Mapping[str, Any]) -> None:
        self._fake.reset_calls()

    def _clock(self, order: Mapping[str, Any]) -> float:
        clock = self._fake.clock
        if order.get("reset"):
            clock.reset()
        if "set" in order:
            clock.set(order["set"])
        if "advance" in order:
            clock.advance(order["advance"])
        if order.get("freeze"):
            clock.freeze()
        return clock()

    def _state(self) -> dict[str, Any]:
        directory = self._fake.directory
        return {
            "in_flight": self._fake.in_flight,
            "pending_faults": self._fake.faults.pending,
            "keys": {key.access_key_id: key.status for key in directory.keys.values()},
            "sessions": {
                session.access_key_id: {
                    "kind": session.kind,
                    "expiration": session.expiration,
                    "mfa": session.mfa,
                    "role": session.role.arn if session.role is not None else None,
                    "chain_depth": session.chain_depth,
                }
                for session in directory.sessions.values()
            },
        }

    def _totp(self, order: Mapping[str, Any]) -> str:
        for user in self._fake.directory.users.values():
            if order["serial"] in user.devices:
                return user.totp(order["serial"], ahead=order.get("ahead", 0))
        raise LookupError(f"no MFA device {order['serial']}")


def seed(fake: FakeAws, document: Mapping[str, Any]) -> dict[str, list[dict[str, str]]]:
    """Make users and roles from plain data and describe them, credentials included.

    `users` and `roles` hold the arguments of `add_user` and `add_role`; `delay_new_keys` those of
    the method of that name; `clock` is a Unix time to show.
    """
    unknown = document.keys() - {"users", "roles", "delay_new_keys", "clock"}
    if unknown:
        raise ValueError(f"unknown in a seed: {', '.join(sorted(unknown))}")
    if "clock" in document:
        fake.clock.set(document["clock"])
    users = [fake.add_user(**entry) for entry in document.get("users", [])]
    roles = [fake.add_role(**entry) for entry in document.get("roles", [])]
    fake.delay_new_keys(**document.get("delay_new_keys", {}))
    return {
        "users": [
            {
                "name": user.name,
                "arn": user.arn,
                "access_key_id": user.access_key_id,
                "secret_access_key": user.secret_access_key,
                **(
                    {"mfa_serial": user.mfa_serial, "mfa_seed": user.mfa_seed}
                    if user.devices
                    else {}
                ),
            }
            for user in users
        ],
        "roles": [{"name": role.name, "arn": role.arn} for role in roles],
    }


def _json(status: int, value: Any) -> HttpAnswer:
    return HttpAnswer(status, json.dumps(value).encode(), "application/json")
