"""One HTTP exchange within limits: total time, bytes of the answer, levels of its XML.

Socket time-outs begin again with each byte, and botocore reads answers of any length. So a thread
reads and counts; it is abandoned when the time is up.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from filevault.credentials import KEY_ID
from filevault.system.exhaustion import exhausted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_BODY = 256 << 10
"""Limit of the bytes of an answer; those of STS and IAM have a few KiB."""

_CHUNK = 16 << 10
_MAX_DEPTH = 32  # those of STS and IAM have five levels
_MAX_IDS = 4


class InvalidAnswerError(Exception):
    """An answer is longer or more deeply nested than AWS's are, or declares a document type."""


class Received:
    """The body of an answer as far as it has arrived.

    It may contain secrets: only `access_key_ids` may be shown.
    """

    __slots__ = ("body",)

    def __init__(self) -> None:
        self.body = bytearray()

    def __repr__(self) -> str:
        return f"Received({len(self.body)} bytes)"

    def access_key_ids(self) -> tuple[str, ...]:
        """Return the access key ids in the body, at most four."""
        pattern = rf"<AccessKeyId>\s*({KEY_ID})\s*<".encode()
        found = dict.fromkeys(re.findall(pattern, bytes(self.body)))
        return tuple(each.decode("ascii") for each in found)[:_MAX_IDS]


class _Whole:
    """A body in memory, with the interface that botocore expects."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, *_: object, **__: object) -> Iterator[bytes]:
        yield self._body


def exchange(
    http: Any,  # noqa: ANN401
    request: Any,  # noqa: ANN401
    received: Received,
    *,
    seconds: float,
    max_body: int = MAX_BODY,
    wanted: Callable[[int], bool] = lambda _status: True,
) -> Any:  # noqa: ANN401
    """Send a prepared request and return botocore's response with the body in memory.

    Args:
        http: botocore's HTTP session.
        request: the request.
        received: gets the body as it arrives.
        seconds: limit for connection, request and answer together.
        max_body: limit of the body's bytes.
        wanted: returns for a status whether the body is read; otherwise it is empty.

    Raises InvalidAnswerError for a longer body, and botocore's network errors.
    """
    import signal
    import threading

    from botocore.exceptions import ReadTimeoutError

    request.stream_output = True  # else the session reads the body, whatever its length
    received.body.clear()
    found: list[Any] = []

    def carry() -> None:
        # Signals are the main thread's, which may have blocked them.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            found.append(_answer(http, request, received, max_body, wanted))
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            found.append(error)

    thread = threading.Thread(target=carry, name="exchange", daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        reason = exhausted(error)
        if reason is None:
            raise
        raise reason from error
    thread.join(max(0.0, seconds))
    if not found:
        raise ReadTimeoutError(endpoint_url=request.url)
    if isinstance(found[0], BaseException):
        raise found[0]
    return found[0]


def _answer(
    http: Any,  # noqa: ANN401
    request: Any,  # noqa: ANN401
    received: Received,
    max_body: int,
    wanted: Callable[[int], bool],
) -> Any:  # noqa: ANN401
    from botocore.awsrequest import AWSResponse
    from botocore.exceptions import ConnectionClosedError, ReadTimeoutError
    from urllib3 import exceptions

    answer = http.send(request)
    body = received.body
    if wanted(answer.status_code):
        # read1 returns what has arrived. Neither uses urllib3's reader of chunks, which reads
        # lines of any length into memory.
        read = getattr(answer.raw, "read1", answer.raw.read)
        try:
            while chunk := read(_CHUNK, decode_content=False):
                body += chunk
                if len(body) > max_body:
                    answer.raw.close()
                    raise InvalidAnswerError("too long")
        except exceptions.ReadTimeoutError as error:
            raise ReadTimeoutError(endpoint_url=request.url) from error
        except (exceptions.HTTPError, OSError) as error:
            raise ConnectionClosedError(endpoint_url=request.url) from error
    return AWSResponse(request.url, answer.status_code, answer.headers, _Whole(bytes(body)))


def check_levels(body: bytes) -> None:
    """Raise InvalidAnswerError for XML that is deeply nested or declares a document type.

    botocore's parser recurses once for each level. Other texts are left to botocore.
    """
    from xml.parsers import expat

    depth = 0

    def begin(_name: str, _attributes: object) -> None:
        nonlocal depth
        depth += 1
        if depth > _MAX_DEPTH:
            raise InvalidAnswerError("too many levels")

    def end(_name: str) -> None:
        nonlocal depth
        depth -= 1

    def refuse(*_: object) -> None:
        raise InvalidAnswerError("a document type")

    # Like botocore, ignore the encoding that the text declares.
    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler = begin
    parser.EndElementHandler = end
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(body, True)
    except expat.ExpatError:
        return
