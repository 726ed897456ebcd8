"""An HTTP request that is no call to AWS, within limits: to a CI system or a metadata endpoint."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from filevault.aws.attempt import Attempt
from filevault.aws.botocore_errors import translated
from filevault.aws.exchange import InvalidAnswerError, Received, exchange
from filevault.errors import NetworkError, NotAwsError
from filevault.system.json_object import parse_object
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MAX_BODY = 64 << 10
_PAUSE = 0.2  # seconds after the first attempt that failed; then twice as long


class HttpAnswer(Record):
    """An answer; `body` may be a secret. `date` is the header `Date`, None without one."""

    _secret = ("body",)

    status: int
    body: bytes
    date: str | None = None

    def json(self) -> dict[str, Any]:
        """Return the JSON object in the body, an empty one if it contains anything else."""
        return parse_object(self.body) or {}


class HttpRequest(Record):
    """A request; headers and body may contain secrets, the URL contains none."""

    _secret = ("headers", "body")

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""

    def send(
        self,
        *,
        operation: str,
        subject: str,
        seconds: float,
        attempts: int = 1,
        ca_bundle: str | None = None,
        direct: bool = False,
        say: Callable[[str], None] = lambda _: None,
    ) -> HttpAnswer:
        """Send the request and return the answer; redirections are not followed.

        Args:
            operation: what the request is, for messages.
            subject: the profile in messages.
            seconds: limit of one attempt, for connection, request and answer together.
            attempts: how often it is sent while there is no answer, or one of status 500 or more.
            ca_bundle: file of the certificates to trust, None for the usual ones.
            direct: use no proxy.
            say: called with a sentence before the request is sent again.

        Raises NetworkError without an answer, ConfigError for a proxy or certificates that cannot
        be used.
        """
        pause = _PAUSE
        while True:
            attempts -= 1
            try:
                answer = self._sent(operation, subject, seconds, ca_bundle, direct)
                if answer.status < 500 or not attempts:
                    return answer
                failure = f"{operation} for {subject} was answered with status {answer.status}"
            except NetworkError as error:
                if not attempts or isinstance(error, NotAwsError):
                    raise
                failure = error.message
            say(f"{failure}; it is sent again, Ctrl-C ends this")
            time.sleep(pause)
            pause *= 2

    def _sent(
        self, operation: str, subject: str, seconds: float, ca_bundle: str | None, direct: bool
    ) -> HttpAnswer:
        from botocore.awsrequest import AWSRequest
        from botocore.httpsession import URLLib3Session

        from filevault import __version__
        from filevault.aws.clients import check_ca_bundle
        from filevault.aws.proxy import proxies_for

        check_ca_bundle(ca_bundle)
        # The stubs lack some of the parameters.
        new_http: Any = URLLib3Session
        http = new_http(
            verify=ca_bundle or True,
            proxies={} if direct else proxies_for(self.url),
            timeout=(seconds, seconds),
        )
        headers = {"User-Agent": f"filevault/{__version__}", **self.headers}
        request = AWSRequest(self.method, self.url, headers, self.body or None)
        try:
            with translated(Attempt(operation, subject, tuple(self.headers.values()), None)):
                answer = exchange(
                    http, request.prepare(), Received(), seconds=seconds, max_body=_MAX_BODY
                )
        except NotAwsError as error:
            if not isinstance(error.__cause__, InvalidAnswerError):
                raise
            raise NotAwsError(
                f"{operation} for {subject} failed: the answer is longer than {_MAX_BODY} bytes"
            ) from error
        finally:
            http.close()
        return HttpAnswer(answer.status_code, answer.content, answer.headers.get("Date"))
