"""The endpoint of the signed query protocol: authenticates, then hands to STS or IAM."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Protocol
from urllib.parse import parse_qsl

from tests.fakes import sigv4
from tests.fakes.clock import Clock
from tests.fakes.directory import Directory
from tests.fakes.identities import Caller, IamKey, Session, caller_of
from tests.fakes.parameters import Parameters
from tests.fakes.refusal import Refusal, invalid_token
from tests.fakes.wire import (
    HttpAnswer,
    HttpRequest,
    Intent,
    Result,
    error_document,
    new_request_id,
    result_document,
)

Action = Callable[[Caller, Parameters], Result]


class Service(Protocol):
    """One service of the query protocol."""

    @property
    def name(self) -> str:
        """Return the name in the credential scope."""
        ...

    @property
    def version(self) -> str:
        """Return the API version that requests must name."""
        ...

    @property
    def regions(self) -> re.Pattern[str]:
        """Match the regions that a signature may be scoped to."""
        ...

    @property
    def actions(self) -> Mapping[str, Action]:
        """Return what the service can do."""
        ...

    @property
    def unsigned(self) -> Mapping[str, Callable[[Parameters], Result]]:
        """Return what it does for requests without a signature."""
        ...


class QueryApi:
    """STS and IAM share an address; the credential scope tells which one is meant.

    `check_skew` compares the signature's timestamp with the clock: True, False, or None for
    "as long as the clock shows real time", since clients sign with theirs.
    """

    def __init__(self, directory: Directory, clock: Clock, services: tuple[Service, ...]) -> None:
        self._directory = directory
        self._clock = clock
        self._services = {service.name: service for service in services}
        self.check_skew: bool | None = None

    def identify(self, request: HttpRequest) -> Intent:
        """Read action, parameters and signer, all of it unverified."""
        query = request.target.partition("?")[2]
        text = query if request.method == "GET" else request.body.decode("utf-8", "replace")
        values = dict(parse_qsl(text, keep_blank_values=True))
        action = values.pop("Action", "")
        try:
            claimed = sigv4.parse_authorization(request)
        except Refusal:
            return Intent(action, parameters=values)
        return Intent(action, claimed.service, claimed.region, claimed.access_key_id, values)

    def perform(self, request: HttpRequest, intent: Intent) -> HttpAnswer:
        """Authenticate the request and let the service act."""
        unsigned = self._unsigned(request, intent)
        if unsigned is not None:
            return unsigned
        authorization = sigv4.parse_authorization(request)
        service = self._services.get(authorization.service)
        if service is None:
            raise sigv4.mismatch("Credential should be scoped to correct service: 'sts'. ")
        sigv4.check_scope(authorization, service.regions)
        if not self._clock.moved if self.check_skew is None else self.check_skew:
            sigv4.check_skew(authorization, self._clock())
        caller = self._authenticate(request, authorization)
        values = dict(intent.parameters)
        version = values.pop("Version", "")
        act = service.actions.get(intent.action)
        if act is None or version != service.version:
            raise Refusal(
                "InvalidAction",
                f"Could not find operation {intent.action} for version {version}",
                400,
            )
        result = act(caller, Parameters(values))
        request_id = new_request_id()
        document = result_document(intent.action, self._namespace(intent), result, request_id)
        return HttpAnswer(200, document, request_id=request_id, access_key_id=_key_in(result))

    def _unsigned(self, request: HttpRequest, intent: Intent) -> HttpAnswer | None:
        """Let STS act on a call that needs no signature, None for other calls."""
        service = self._services["sts"]
        act = service.unsigned.get(intent.action)
        if act is None:
            return None
        if request.header("Authorization") or request.header("X-Amz-Security-Token"):
            raise LookupError(f"{intent.action} is signed")
        values = dict(intent.parameters)
        if values.pop("Version", "") != service.version:
            raise Refusal("InvalidAction", f"Could not find operation {intent.action}", 400)
        result = act(Parameters(values))
        document = result_document(intent.action, self._namespace(intent), result, "unsigned")
        return HttpAnswer(200, document, request_id="unsigned", access_key_id=_key_in(result))

    def refuse(self, intent: Intent, refusal: Refusal) -> HttpAnswer:
        """Write a refusal as the service that was addressed does."""
        request_id = new_request_id()
        document = error_document(self._namespace(intent), refusal, request_id)
        return HttpAnswer(refusal.status, document, request_id=request_id)

    def _namespace(self, intent: Intent) -> str:
        service = self._services.get(intent.service) or next(iter(self._services.values()))
        return f"https://{service.name}.amazonaws.com/doc/{service.version}/"

    def _authenticate(self, request: HttpRequest, authorization: sigv4.Authorization) -> Caller:
        token = request.header("X-Amz-Security-Token")
        holder = self._holder(authorization.access_key_id, token)
        if isinstance(holder, Session) and self._clock() >= holder.expiration:
            raise Refusal(
                "ExpiredToken", "The security token included in the request is expired", 403
            )
        sigv4.verify(request, authorization, holder.secret_access_key)
        if isinstance(holder, IamKey):
            holder.last_used = (self._clock(), authorization.service, authorization.region)
        elif authorization.service == "iam" and holder.kind != "role" and not _may_call_iam(holder):
            raise invalid_token()
        return caller_of(holder)

    def _holder(self, access_key_id: str, token: str) -> IamKey | Session:
        session = self._directory.sessions.get(access_key_id)
        if session is not None and token == session.session_token:
            return session
        key = self._directory.keys.get(access_key_id)
        if key is None or token or key.status != "Active" or self._clock() < key.known_from:
            raise invalid_token()
        if key.unknown_attempts > 0:
            key.unknown_attempts -= 1
            raise invalid_token()
        return key


def _may_call_iam(session: Session) -> bool:
    """Sessions of GetSessionToken call IAM only with MFA, those of GetFederationToken never."""
    return session.kind == "session-token" and session.mfa


def _key_in(result: Result) -> str | None:
    if isinstance(result, Mapping):
        for name in ("Credentials", "AccessKey"):
            inner = result.get(name)
            if isinstance(inner, Mapping):
                return str(inner["AccessKeyId"])
    return None
