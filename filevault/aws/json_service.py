"""Calls without a signature to a service of AWS that takes and returns JSON.

Identity Center is called so: its calls carry a token instead. botocore's HTTP session brings
proxies and CA bundles; its clients would double the time of a cold run.
"""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

from filevault import __version__
from filevault.aws.endpoint import check_url
from filevault.errors import NetworkError, NotAwsError
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from filevault.aws.attempt import Attempt

_CONNECT_TIMEOUT = 10.0
_READ_TIMEOUT = 30.0
_DEADLINE = 60.0
_PAUSES = (0.5, 1.0)  # seconds, after a failure of the network or of AWS itself
_THROTTLED_PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)  # seconds, after 429
_TOO_MANY = 429
_CODE = re.compile(r"[A-Za-z0-9_]{1,80}")


class JsonRequest(Record):
    """One request; with a `body` it is sent as JSON."""

    _secret = ("body", "headers")

    method: str
    path: str
    query: Mapping[str, str] = {}
    body: Mapping[str, object] | None = None
    headers: Mapping[str, str] = {}


class JsonAnswer(Record):
    """An answer: `status` is that of HTTP, `values` the JSON object, empty if there is none.

    `error` is AWS's name of the error, "" for a success or where there is none. It has only
    letters, digits and underscores.
    """

    _secret = ("values",)

    status: int
    error: str
    values: Mapping[str, Any]

    def text(self, key: str) -> str | None:
        """Return a value that is a text and not empty, else None."""
        found = self.values.get(key)
        return found if isinstance(found, str) and found else None

    def number(self, key: str) -> int | None:
        """Return a value that is a whole number and not negative, else None."""
        found = self.values.get(key)
        if not isinstance(found, int) or isinstance(found, bool):
            return None
        return found if 0 <= found < 2**53 else None


class JsonService:
    """A service at one URL.

    Args:
        url: of the service, without a path.
        allow_http: permit plain http beyond the loopback interface.
        ca_bundle: the path of certificates that are accepted, None for botocore's.
        sleep: takes seconds, between repetitions.
        say: prints that AWS asks for a pause.
        deadline: seconds for each request with its answer.
    """

    def __init__(
        self,
        url: str,
        *,
        allow_http: bool,
        ca_bundle: str | None,
        sleep: Callable[[float], None] = time.sleep,
        say: Callable[[str], None] = lambda _text: None,
        deadline: float = _DEADLINE,
    ) -> None:
        self._url = url.rstrip("/")
        self._allow_http = allow_http
        self._ca_bundle = ca_bundle
        self._sleep = sleep
        self._say = say
        self._deadline = deadline

    def call(self, request: JsonRequest, attempt: Attempt, *, repeat: bool = False) -> JsonAnswer:
        """Make a request and return the answer, whatever its status is below 500.

        With `repeat`, for calls that change nothing, failures of the network and of AWS are
        retried, and so is an answer that limits requests. Redirections are not followed.

        Raises ConfigError for an unsafe URL, NetworkError for a failure of the network or of AWS,
        NotAwsError for what AWS cannot have sent.
        """
        check_url(self._url, allow_http=self._allow_http)
        pauses, throttled = list(_PAUSES), list(_THROTTLED_PAUSES)
        if not repeat:
            pauses, throttled = [], []
        while True:
            try:
                answer = self._once(request, attempt)
            except NotAwsError:
                raise
            except NetworkError:
                if not pauses:
                    raise
                self._sleep(pauses.pop(0))
                continue
            if answer.status != _TOO_MANY or not throttled:
                return answer
            pause = throttled.pop(0)
            self._say(f"AWS limits the requests: {attempt.operation} again in {pause:.0f} s")
            self._sleep(pause)

    def location(
        self, method: str, url: str, attempt: Attempt, seconds: float
    ) -> tuple[int, str | None]:
        """Make a request without a body to any URL; return its status and `Location`.

        The body of the answer is not read. Raises as `call`.
        """
        from filevault.aws.botocore_errors import translated

        check_url(url.partition("#")[0], allow_http=self._allow_http, setting="sso_start_url")
        with translated(attempt):
            status, headers, _ = self._exchange(
                JsonRequest(method, ""), url, seconds=seconds, reads=False
            )
        return status, headers.get("location")

    def _once(self, request: JsonRequest, attempt: Attempt) -> JsonAnswer:
        from filevault.aws.botocore_errors import not_from_aws, translated

        with translated(attempt):
            status, headers, body = self._exchange(request, self._url + request.path)
        if status >= 500:
            raise NetworkError(
                f"{attempt.operation} for {attempt.subject} failed: AWS answered {status}",
                hint="wait a little and run the command again",
            )
        if 300 <= status < 400:
            raise not_from_aws(attempt.operation, attempt.subject, f"it is a redirection, {status}")
        values = _object(body)
        if values is None and status < 300 and body:
            raise not_from_aws(attempt.operation, attempt.subject)
        values = values or {}
        return JsonAnswer(status, "" if status < 300 else _code(headers, values), values)

    def _exchange(
        self, request: JsonRequest, url: str, *, seconds: float | None = None, reads: bool = True
    ) -> tuple[int, Mapping[str, str], bytes]:
        from urllib.parse import quote, urlencode

        from botocore.awsrequest import AWSRequest
        from botocore.httpsession import URLLib3Session

        from filevault.aws.clients import check_ca_bundle
        from filevault.aws.exchange import Received, exchange
        from filevault.aws.proxy import proxies_for

        if request.query:
            url = f"{url}?{urlencode(request.query, quote_via=quote)}"
        proxies = proxies_for(url)
        check_ca_bundle(self._ca_bundle)
        headers = {"User-Agent": f"filevault/{__version__}", **request.headers}
        body = b""
        if request.body is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(request.body).encode("ascii")
        # The stubs lack some of the parameters.
        new_http: Any = URLLib3Session
        http = new_http(
            verify=self._ca_bundle or True,
            proxies=proxies,
            timeout=(_CONNECT_TIMEOUT, _READ_TIMEOUT),
        )
        try:
            prepared = AWSRequest(request.method, url, headers, body).prepare()
            answer = exchange(
                http,
                prepared,
                Received(),
                seconds=self._deadline if seconds is None else seconds,
                wanted=lambda _status: reads,
            )
        finally:
            http.close()
        return answer.status_code, answer.headers, answer.content


def _object(body: bytes) -> dict[str, Any] | None:
    """Return the JSON object of a body, None for anything else, and for one with lone surrogates.

    Text with those can be put neither into a request nor into a file.
    """
    from filevault.system.strict_json import is_too_deep

    try:
        text = body.decode("utf-8")
        found = None if is_too_deep(text) else json.loads(text)
        json.dumps(found, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _code(headers: Mapping[str, str], values: Mapping[str, Any]) -> str:
    """Return the name of an error: of the body, else of the header, without what follows it."""
    for found in (values.get("error"), headers.get("x-amzn-errortype"), values.get("__type")):
        if isinstance(found, str):
            match = _CODE.match(found.rpartition("#")[2])
            if match is not None:
                return match[0]
    return ""
