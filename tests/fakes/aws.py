"""The strict fake of AWS: one loopback server, its state, its record and its faults.

Every endpoint is a module of its own behind `wire.Endpoint`; this module only carries requests
to them, one at a time, records what happened and lets faults strike.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Self

from tests.fakes.calls import RecordedCall
from tests.fakes.clock import Clock
from tests.fakes.control import Control
from tests.fakes.directory import Directory
from tests.fakes.faults import Fault, Faults
from tests.fakes.iam import Iam
from tests.fakes.identities import Role, Session
from tests.fakes.identity_center import PATHS, IdentityCenter
from tests.fakes.login import LoginService
from tests.fakes.queryapi import QueryApi
from tests.fakes.refusal import Refusal
from tests.fakes.server import FakeServer
from tests.fakes.signin import Signin
from tests.fakes.sts import Sts, WebTrust
from tests.fakes.wire import HttpAnswer, HttpEndpoint, HttpRequest, Intent

if TYPE_CHECKING:
    from tests.fakes.identity_provider import IdentityProvider


class FakeAws:
    """A fake of AWS, in a thread of this process between `start` and `close`, or as a context.

    Users and roles are made with `add_user`, `add_role` and their kin of `Directory`.
    """

    def __init__(self, port: int = 0) -> None:
        self.clock = Clock()
        self.directory = Directory(self.clock)
        self.faults = Faults()
        self.sts = Sts(self.directory, self.clock)
        self.iam = Iam(self.directory, self.clock)
        self.query_api = QueryApi(self.directory, self.clock, (self.sts, self.iam))
        self.signin = Signin(self.directory, self.clock)
        self.login = LoginService(self.directory, self.clock)
        self.sso = IdentityCenter(self.directory, self.clock)
        self.endpoints: dict[str, HttpEndpoint] = {
            "/": self.query_api,
            "/federation": self.signin,
            **dict.fromkeys(PATHS, self.sso),
        }
        """By path."""
        self.add_user = self.directory.add_user
        self.add_role = self.directory.add_role
        self.add_access_key = self.directory.add_access_key
        self.add_mfa_device = self.directory.add_mfa_device
        self.watch: Callable[[str], None] = lambda _action: None
        """Called with each action before it is served."""
        self._calls: list[RecordedCall] = []
        self._in_flight: list[str] = []
        self._state_lock = threading.RLock()
        self._book_lock = threading.Lock()
        self._control = Control(self)
        self._server = FakeServer(self._respond, port=port, clock=self.clock)
        self.defects = self._server.defects
        """Exceptions that should not have happened: bugs of the fake."""
        self.sso.region_url = self.url

    @property
    def url(self) -> str:
        """Return the endpoint URL for every service."""
        return self._server.url

    @property
    def calls(self) -> list[RecordedCall]:
        """Return the calls made so far, in the order in which they took effect."""
        with self._book_lock:
            return list(self._calls)

    @property
    def in_flight(self) -> list[str]:
        """Return the actions that are being served now."""
        with self._book_lock:
            return list(self._in_flight)

    def actions(self) -> list[str]:
        """Return the names of the calls made so far."""
        return [call.action for call in self.calls]

    def reset_calls(self) -> None:
        """Forget the calls made so far."""
        with self._book_lock:
            self._calls.clear()

    def add_identity_provider(
        self, issuer: str, audiences: tuple[str, ...] = ("sts.amazonaws.com",)
    ) -> IdentityProvider:
        """Make an identity provider, in IAM and in the world."""
        from tests.fakes.identity_provider import IdentityProvider

        provider = IdentityProvider(issuer, self.clock, audiences, self.directory.secrets)
        self.sts.identity_providers[issuer] = provider
        return provider

    def trust_web_identity(
        self, role: Role, provider: IdentityProvider, subject: str, audience: str | None = None
    ) -> None:
        """Let a role trust the tokens of a provider for subjects of a pattern."""
        trust = WebTrust(provider.issuer, audience or provider.audiences[0], subject)
        self.sts.web_trusts[role.arn] = trust

    def session(self, access_key_id: str) -> Session:
        """Return the session that was given out with an access key id."""
        return self.directory.sessions[access_key_id]

    def arm(self, fault: Fault, *, action: str | None = None, nth: int = 1, times: int = 1) -> None:
        """Let a fault strike the n-th call from now (of an action), and so many in a row."""
        self.faults.arm(fault, action=action, nth=nth, times=times)

    def delay_new_keys(self, *, seconds: float = 0.0, attempts: int = 0) -> None:
        """Keep access keys made from now on unknown for a time, and for a number of uses."""
        self.directory.propagation_seconds = seconds
        self.directory.propagation_attempts = attempts

    def issued_secrets(self) -> frozenset[str]:
        """Return every secret key, session token and MFA seed ever given out."""
        with self._state_lock:
            return frozenset(self.directory.secrets)

    def start(self) -> Self:
        """Serve from a thread of its own."""
        self._server.start()
        return self

    def close(self) -> None:
        """Stop serving and end every connection and stall."""
        self.faults.clear()
        self._server.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _respond(self, request: HttpRequest) -> HttpAnswer | None:
        if request.path.startswith("/_control/"):
            with self._state_lock:
                return self._control.respond(request)
        endpoint = self.endpoints.get(request.path)
        if endpoint is None and ("/v1/" in request.path or request.path.startswith("/signin/")):
            endpoint = self.login
        if endpoint is None:
            return HttpAnswer(404, b"not found\n", "text/plain")
        intent = endpoint.identify(request)
        with self._book_lock:
            self._in_flight.append(intent.action)
        self.watch(intent.action)
        try:
            return self._serve(endpoint, request, intent)
        finally:
            with self._book_lock:
                self._in_flight.remove(intent.action)

    def _serve(
        self, endpoint: HttpEndpoint, request: HttpRequest, intent: Intent
    ) -> HttpAnswer | None:
        fault = self.faults.take(intent.action)
        if fault is not None and fault.when == "before":
            if fault.kind != "stall":
                answer, outcome = self._strike(endpoint, intent, fault)
                self._record(request, intent, outcome, None)
                return answer
            self.faults.wait(fault.seconds)
        with self._state_lock:
            answer, outcome = self._perform(endpoint, request, intent)
            returned = answer.access_key_id if answer is not None else None
            if fault is not None and answer is not None and fault.change is not None:
                answer = answer._replace(body=fault.change(answer.body), status=fault.status)
            elif fault is not None and answer is not None and fault.wire is not None:
                answer = answer._replace(raw=fault.wire(answer.body))
            elif fault is not None and fault.when == "after" and fault.kind != "stall":
                answer, outcome = self._strike(endpoint, intent, fault)
            self._record(request, intent, outcome, returned)
        if fault is not None and fault.when == "after" and fault.kind == "stall":
            self.faults.wait(fault.seconds)
        return answer

    def _perform(
        self, endpoint: HttpEndpoint, request: HttpRequest, intent: Intent
    ) -> tuple[HttpAnswer | None, str]:
        try:
            return endpoint.perform(request, intent), "ok"
        except Refusal as refusal:
            return endpoint.refuse(intent, refusal), refusal.code
        except Exception as defect:  # noqa: BLE001  whatever it is, a test must learn of it
            self.defects.append(defect)
            failure = Refusal("InternalFailure", f"defect of the fake: {defect!r}", 500)
            return endpoint.refuse(intent, failure), failure.code

    def _strike(
        self, endpoint: HttpEndpoint, intent: Intent, fault: Fault
    ) -> tuple[HttpAnswer | None, str]:
        if fault.kind == "drop":
            return None, "dropped"
        return endpoint.refuse(intent, Refusal(fault.code, fault.message, fault.status)), fault.code

    def _record(
        self, request: HttpRequest, intent: Intent, outcome: str, returned: str | None
    ) -> None:
        call = RecordedCall(
            intent.action,
            MappingProxyType(dict(intent.parameters)),
            intent.access_key_id,
            intent.region,
            intent.service,
            request.header("Host"),
            self.clock(),
            outcome,
            returned,
        )
        with self._book_lock:
            self._calls.append(call)
