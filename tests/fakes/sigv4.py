"""Verification of Signature Version 4, recomputed with botocore's own signer.

Wording and statuses follow the errors common to AWS services. Only signatures in the
Authorization header are taken.
"""

from __future__ import annotations

import calendar
import hashlib
import hmac
import re
import time
from typing import NamedTuple

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.fakes.refusal import Refusal
from tests.fakes.wire import HttpRequest

ALGORITHM = "AWS4-HMAC-SHA256"
SKEW_SECONDS = 300
_TIMESTAMP = re.compile(r"\d{8}T\d{6}Z")


class Authorization(NamedTuple):
    """The parts of an Authorization header, and the request's timestamp."""

    access_key_id: str
    date: str
    region: str
    service: str
    terminator: str
    signed_headers: tuple[str, ...]
    signature: str
    timestamp: str


def parse_authorization(request: HttpRequest) -> Authorization:
    """Take the Authorization header apart.

    Raises:
        Refusal: MissingAuthenticationToken without one, IncompleteSignature if it lacks a part.
    """
    header = request.header("Authorization")
    if not header:
        raise Refusal("MissingAuthenticationToken", "Request is missing Authentication Token", 403)
    algorithm, _, rest = header.partition(" ")
    if algorithm != ALGORITHM:
        raise _incomplete(f"Unsupported AWS 'algorithm': '{algorithm}'.")
    parts = {
        name.strip(): value.strip()
        for name, _, value in (part.partition("=") for part in rest.split(","))
    }
    timestamp = request.header("X-Amz-Date")
    lacking = [
        f"Authorization header requires '{name}' parameter."
        for name in ("Credential", "Signature", "SignedHeaders")
        if not parts.get(name)
    ]
    if not _TIMESTAMP.fullmatch(timestamp):
        lacking.append(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
        )
    if lacking:
        raise _incomplete(" ".join(lacking))
    scope = parts["Credential"].split("/")
    if len(scope) != 5:
        raise _incomplete(
            "Credential must have exactly 5 slash-delimited elements, "
            f"e.g. keyid/date/region/service/term, got '{parts['Credential']}'"
        )
    return Authorization(
        scope[0],
        scope[1],
        scope[2],
        scope[3],
        scope[4],
        tuple(parts["SignedHeaders"].split(";")),
        parts["Signature"],
        timestamp,
    )


def check_scope(authorization: Authorization, regions: re.Pattern[str]) -> None:
    """Refuse a credential scope for another date, terminator or region."""
    if authorization.terminator != "aws4_request":
        raise mismatch(
            "Credential should be scoped with a valid terminator: 'aws4_request', "
            f"not '{authorization.terminator}'."
        )
    day = authorization.timestamp[:8]
    if authorization.date != day:
        raise mismatch(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from "
            f"HTTP: '{authorization.date}' != '{day}', from '{authorization.timestamp}'."
        )
    if not regions.fullmatch(authorization.region):
        raise mismatch(
            f"Credential should be scoped to a valid region, not '{authorization.region}'. "
        )


def check_skew(authorization: Authorization, now: float) -> None:
    """Refuse a timestamp more than five minutes away."""
    try:
        signed_at = calendar.timegm(time.strptime(authorization.timestamp, "%Y%m%dT%H%M%SZ"))
    except ValueError:
        raise mismatch(
            "Date must be in ISO-8601 'basic format'. "
            f"Got '{authorization.timestamp}'. See http://en.wikipedia.org/wiki/ISO_8601"
        ) from None
    if signed_at < now - SKEW_SECONDS:
        raise mismatch(
            f"Signature expired: {authorization.timestamp} is now earlier than "
            f"{_basic(now - SKEW_SECONDS)} ({_basic(now)} - 5 min.)"
        )
    if signed_at > now + SKEW_SECONDS:
        raise mismatch(
            f"Signature not yet current: {authorization.timestamp} is still later than "
            f"{_basic(now + SKEW_SECONDS)} ({_basic(now)} + 5 min.)"
        )


def verify(request: HttpRequest, authorization: Authorization, secret_access_key: str) -> None:
    """Refuse a request whose signature is not the one that the key gives, or covers too little."""
    signed = authorization.signed_headers
    present = {name.lower() for name in request.headers}
    for name in ("host", *sorted(name for name in present if name.startswith("x-amz-"))):
        if name not in signed:
            raise mismatch(f"'{name}' must be a 'SignedHeader' in the AWS Authorization.")
    # botocore takes this header's word for the body's hash, so it is compared here.
    claimed = request.header("X-Amz-Content-SHA256")
    if claimed and claimed != hashlib.sha256(request.body).hexdigest():
        raise mismatch(_MISMATCH)
    expected = _signature(request, authorization, secret_access_key)
    if not hmac.compare_digest(expected.encode(), authorization.signature.encode()):
        raise mismatch(_MISMATCH)


def mismatch(message: str) -> Refusal:
    """Refuse a signature."""
    return Refusal("SignatureDoesNotMatch", message, 403)


def _signature(request: HttpRequest, authorization: Authorization, secret_access_key: str) -> str:
    aws_request = AWSRequest(
        method=request.method,
        url=f"http://localhost{request.target}",  # verify() saw to it that Host is signed
        data=request.body,
    )
    for name, value in request.headers.items():
        if name.lower() in authorization.signed_headers:
            aws_request.headers.add_header(name, value)
    aws_request.context["timestamp"] = authorization.timestamp
    signer = SigV4Auth(
        Credentials(authorization.access_key_id, secret_access_key),
        authorization.service,
        authorization.region,
    )
    canonical = signer.canonical_request(aws_request)
    return str(signer.signature(signer.string_to_sign(aws_request, canonical), aws_request))


def _incomplete(message: str) -> Refusal:
    return Refusal("IncompleteSignature", message, 400)


def _basic(at: float) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))


_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your "
    "AWS Secret Access Key and signing method. Consult the service documentation for details."
)
