"""Requests, answers, and the XML of AWS's query protocol.

Each endpoint of the fake turns a `Request` into an `Intent` (what is asked, by whom) and an
`Answer`; recording, faults and HTTP are the same for all of them.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from email.message import Message
from typing import NamedTuple, Protocol
from xml.sax.saxutils import escape

from tests.fakes.refusal import Refusal

Result = Mapping[str, "Result"] | Sequence["Result"] | str | int | None


class HttpRequest(NamedTuple):
    """One HTTP request as it came in; the target is the undecoded path with its query."""

    method: str
    target: str
    headers: Message
    body: bytes

    @property
    def path(self) -> str:
        """Return the target without its query."""
        return self.target.partition("?")[0]

    def header(self, name: str) -> str:
        """Return a header's first value, empty where it is absent."""
        return str(self.headers.get(name, ""))


class Intent(NamedTuple):
    """What a request claims to be, before anything of it is verified."""

    action: str
    service: str = ""
    region: str = ""
    access_key_id: str = ""
    parameters: Mapping[str, str] = {}


class HttpAnswer(NamedTuple):
    """One HTTP response, and the id of the access key that it carries, if any.

    `raw`, if there is any, is sent instead: all bytes of the response, piece by piece.
    """

    status: int
    body: bytes
    content_type: str = "text/xml"
    request_id: str = ""
    access_key_id: str | None = None
    raw: Iterable[bytes] | None = None
    headers: Mapping[str, str] = {}


class HttpEndpoint(Protocol):
    """A family of services that share a wire format."""

    def identify(self, request: HttpRequest) -> Intent:
        """Read what is asked; never refuses."""
        ...

    def perform(self, request: HttpRequest, intent: Intent) -> HttpAnswer:
        """Verify and do what is asked; raises `Refusal`."""
        ...

    def refuse(self, intent: Intent, refusal: Refusal) -> HttpAnswer:
        """Write a refusal in the wire format of the family."""
        ...


def result_document(action: str, namespace: str, result: Result, request_id: str) -> bytes:
    """Write a successful answer of the query protocol; actions without result get no element."""
    body = "" if result is None else f"<{action}Result>{_xml(result)}</{action}Result>"
    return (
        f'<{action}Response xmlns="{namespace}">{body}'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
        f"</{action}Response>"
    ).encode()


def error_document(namespace: str, refusal: Refusal, request_id: str) -> bytes:
    """Write an error of the query protocol.

    Control characters that XML forbids are sent raw, as a hostile server would: botocore then
    reports a document that it cannot parse. U+0080 to U+009F and bidi controls are legal XML and
    reach the caller.
    """
    kind = "Sender" if refusal.status < 500 else "Receiver"
    return (
        f'<ErrorResponse xmlns="{namespace}"><Error><Type>{kind}</Type>'
        f"<Code>{escape(refusal.code)}</Code><Message>{escape(refusal.message)}</Message></Error>"
        f"<RequestId>{request_id}</RequestId></ErrorResponse>"
    ).encode()


def new_request_id() -> str:
    """Make a request id."""
    return str(uuid.uuid4())


def _xml(value: Result) -> str:
    if value is None:
        return ""
    if isinstance(value, str | int):
        return escape(str(value))
    if isinstance(value, Mapping):
        return "".join(
            f"<{name}>{_xml(item)}</{name}>" for name, item in value.items() if item is not None
        )
    return "".join(f"<member>{_xml(item)}</member>" for item in value)
