"""One HTTP exchange within bounds: bytes, time for the whole of it, and levels of its answer.

Time limits of sockets begin again with each byte, and botocore reads an answer whole, however
long it is. So a thread reads, counts, and is left behind when time is up.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONGEST = 256 << 10
"""The most bytes of an answer of STS or IAM; theirs have a few KiB."""

_CHUNK = 16 << 10
_DEEPEST = 32  # theirs have five
_KEY_ID = rb"<AccessKeyId>\s*([A-Za-z0-9_]{16,128})\s*<"
_MOST_IDS = 4


class OddAnswerError(Exception):
    """An answer is longer or more deeply nested than AWS's are, or declares a document type."""


class Received:
    """What has arrived of the body of an answer so far.

    It may hold secrets: `access_key_ids` is all that may be shown of it.
    """

    __slots__ = ("body",)

    def __init__(self) -> None:
        self.body = bytearray()

    def __repr__(self) -> str:
        return f"Received({len(self.body)} bytes)"

    def access_key_ids(self) -> tuple[str, ...]:
        """Return the access key ids that the text names, a few at most."""
        found = dict.fromkeys(re.findall(_KEY_ID, bytes(self.body)))
        return tuple(each.decode("ascii") for each in found)[:_MOST_IDS]


class _Whole:
    """A body that was read already, as botocore asks for it."""

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
    longest: int = LONGEST,
    wanted: Callable[[int], bool] = lambda _status: True,
) -> Any:  # noqa: ANN401
    """Send a prepared request and return botocore's response with the body in memory.

    Args:
        http: botocore's HTTP session.
        request: what it sends.
        received: gets the body as it arrives.
        seconds: for connection, request and answer together.
        longest: the most bytes of a body.
        wanted: tells from the status whether the body is read; else it is empty.

    Raises OddAnswerError for a body that is longer, and botocore's errors of the network.
    """
    import signal
    import threading

    from botocore.exceptions import ReadTimeoutError

    request.stream_output = True  # else the session reads the body, whatever its length
    received.body.clear()
    found: list[Any] = []

    def carry() -> None:
        # Signals go to the main thread, which may have them wait.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            found.append(_answer(http, request, received, longest, wanted))
        except BaseException as error:  # noqa: BLE001 - it is raised in the caller's thread
            found.append(error)

    thread = threading.Thread(target=carry, name="exchange", daemon=True)
    thread.start()
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
    longest: int,
    wanted: Callable[[int], bool],
) -> Any:  # noqa: ANN401
    from botocore.awsrequest import AWSResponse
    from botocore.exceptions import ConnectionClosedError, ReadTimeoutError
    from urllib3 import exceptions

    answer = http.send(request)
    body = received.body
    if wanted(answer.status_code):
        # read1 returns what has arrived. Neither is urllib3's own reader of chunks, which takes
        # lines of any length into memory.
        read = getattr(answer.raw, "read1", answer.raw.read)
        try:
            while chunk := read(_CHUNK, decode_content=False):
                body += chunk
                if len(body) > longest:
                    answer.raw.close()
                    raise OddAnswerError("too long")
        except exceptions.ReadTimeoutError as error:
            raise ReadTimeoutError(endpoint_url=request.url) from error
        except (exceptions.HTTPError, OSError) as error:
            raise ConnectionClosedError(endpoint_url=request.url) from error
    return AWSResponse(request.url, answer.status_code, answer.headers, _Whole(bytes(body)))


def check_levels(body: bytes) -> None:
    """Raise OddAnswerError for XML that is nested deeply or declares entities.

    botocore goes down one call for each level. What is no XML at all is left to it.
    """
    from xml.parsers import expat

    depth = 0

    def begin(_name: str, _attributes: object) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise OddAnswerError("too many levels")

    def end(_name: str) -> None:
        nonlocal depth
        depth -= 1

    def refuse(*_: object) -> None:
        raise OddAnswerError("a document type")

    # As botocore does, whatever encoding the text declares: it would be parsed in another way.
    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler = begin
    parser.EndElementHandler = end
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(body, True)
    except expat.ExpatError:
        return
