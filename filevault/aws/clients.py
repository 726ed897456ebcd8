"""Make botocore clients with explicit credentials.

botocore takes regions, retries, proxies and CA bundles from its usual variables and the profile's
section. Credentials and endpoints are given, so it never looks for credentials in files, the
environment or instance metadata.
"""

from __future__ import annotations

import os
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from filevault import __version__
from filevault.aws.endpoint import check_url, stays_here
from filevault.aws.exchange import Received, check_levels, exchange
from filevault.aws.proxy import proxies_for
from filevault.aws.timestamp import read_timestamp
from filevault.errors import ConfigError
from filevault.partitions import partition_named
from filevault.system.printable import printable
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from filevault.aws.endpoint import Endpoint
    from filevault.credentials import Credentials

_CONNECT_TIMEOUT = 10.0
_READ_TIMEOUT = 30.0
_SHORT_CONNECT_TIMEOUT = 5.0
_SHORT_READ_TIMEOUT = 15.0
_DEADLINE = 120.0
_SHORT_DEADLINE = 30.0
_POST_DEADLINE = 30.0
_MAX_BODY = 64 << 10


class HttpAnswer(Record):
    """An answer to a request that is not botocore's; names of `headers` are in lower case."""

    _secret = ("body", "headers")

    status: int
    headers: Mapping[str, str]
    body: bytes


class Signer(Record):
    """What signs a request that is not botocore's (SigV4)."""

    credentials: Credentials
    service: str
    region: str


class Clients:
    """Makes botocore clients.

    Args:
        profile: its section of the AWS config may contain settings of botocore, such as
            `ca_bundle` or `retry_mode`; the section may be missing.
        allow_http: permit plain http beyond the loopback interface.
        connect_timeout: seconds for each attempt to connect.
        read_timeout: seconds without data after which an attempt fails.
        persistent: repeat a call without an answer as often as botocore's settings say.
        deadline: seconds for a call with all its attempts, without the pauses between them; None
            for the default.
    """

    __slots__ = (
        "_allow_http",
        "_connect_timeout",
        "_deadline",
        "_persistent",
        "_profile",
        "_read_timeout",
        "_session",
    )

    def __init__(
        self,
        *,
        profile: str | None = None,
        allow_http: bool = False,
        connect_timeout: float = _CONNECT_TIMEOUT,
        read_timeout: float = _READ_TIMEOUT,
        persistent: bool = True,
        deadline: float | None = None,
    ) -> None:
        self._profile = profile
        self._allow_http = allow_http
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._persistent = persistent
        self._deadline = _DEADLINE if deadline is None else deadline
        self._session: Any = None

    @classmethod
    def short_timeouts(cls, *, profile: str | None, allow_http: bool) -> Self:
        """Return clients with short time-outs and without repetitions."""
        return cls(
            profile=profile,
            allow_http=allow_http,
            connect_timeout=_SHORT_CONNECT_TIMEOUT,
            read_timeout=_SHORT_READ_TIMEOUT,
            persistent=False,
            deadline=_SHORT_DEADLINE,
        )

    def open(
        self,
        service: str,
        endpoint: Endpoint,
        credentials: Credentials | None,
        *,
        once: bool,
        received: Received | None = None,
    ) -> Any:  # noqa: ANN401
        """Return a botocore client for one call; nothing is sent yet.

        Without `credentials` the call is not signed.

        With `once`, for calls that must not be made twice, such as those with a token code, a
        request is repeated only if AWS cannot have processed it. `received` gets the body of the
        answer as it arrives. Times in answers become Unix seconds, or None
        if they cannot be parsed.

        Raises ConfigError for an unsafe URL, and botocore's own errors.
        """
        import botocore.config
        from botocore import UNSIGNED

        if endpoint.url is not None:
            check_url(endpoint.url, allow_http=self._allow_http)
        # The stubs lack some of the options.
        new_config: Any = botocore.config.Config
        if self._session is None:
            self._session = self._new_session()
        self._session.set_config_variable("sts_regional_endpoints", endpoint.sts_regional_endpoints)
        client = self._session.create_client(
            service,
            region_name=self._region(service, endpoint),
            endpoint_url=endpoint.url,
            aws_access_key_id=credentials and credentials.access_key_id,
            aws_secret_access_key=credentials and credentials.secret_access_key,
            aws_session_token=credentials and credentials.session_token,
            config=new_config(
                connect_timeout=self._connect_timeout,
                read_timeout=self._read_timeout,
                user_agent_extra=f"filevault/{__version__}",
                # Already considered when planning (plan/sts_endpoint.py); a session's hash depends
                # on the result.
                ignore_configured_endpoint_urls=True,
                use_fips_endpoint=endpoint.use_fips,
                use_dualstack_endpoint=endpoint.use_dualstack,
                # botocore would look for credentials where it gets none.
                signature_version=UNSIGNED if credentials is None else None,
                # None: botocore takes them from the environment.
                proxies={} if endpoint.url is not None and stays_here(endpoint.url) else None,
            ),
        )
        self._limit(service, client, Received() if received is None else received)
        if not self._persistent:
            client.meta.events.register_first(f"needs-retry.{service}", _give_up_unless_throttled)
        elif once:
            client.meta.events.register_first(f"needs-retry.{service}", _give_up_unless_untouched)
        return client

    def post(
        self,
        url: str,
        form: Mapping[str, str],
        *,
        setting: str,
        deadline: float | None = None,
    ) -> tuple[int, bytes]:
        """POST a form with botocore's proxies and CA bundle; return status and body.

        The request is made once, and redirections are not followed. The body is empty unless the
        status is 200. `deadline` limits the whole exchange, in seconds. `setting` is the origin of
        the URL, for messages. Raises ConfigError for an unsafe URL, InvalidAnswerError for a long
        body, and botocore's own errors.
        """
        from urllib.parse import urlencode

        headers = {
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        answer = self._send(
            url,
            urlencode(form).encode("ascii"),
            headers,
            setting=setting,
            deadline=deadline,
            wanted=lambda status: status == 200,
        )
        return answer.status, answer.body

    def post_json(
        self,
        url: str,
        body: bytes,
        *,
        setting: str,
        headers: Mapping[str, str] = MappingProxyType({}),
        deadline: float | None = None,
        signer: Signer | None = None,
    ) -> HttpAnswer:
        """POST JSON, unsigned unless `signer` is given; return the answer, whatever its status.

        Otherwise as `post`.
        """
        all_headers = {"Content-Type": "application/json", **headers}
        return self._send(
            url,
            body,
            all_headers,
            setting=setting,
            deadline=deadline,
            wanted=lambda _: True,
            signer=signer,
        )

    def _send(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        setting: str,
        deadline: float | None,
        wanted: Callable[[int], bool],
        signer: Signer | None = None,
    ) -> HttpAnswer:
        """Make one POST with botocore's proxies and CA bundle, and return the answer."""
        from botocore.awsrequest import AWSRequest
        from botocore.httpsession import URLLib3Session

        check_url(url, allow_http=self._allow_http, setting=setting)
        proxies = proxies_for(url)
        if self._session is None:
            self._session = self._new_session()
        # The stubs lack some of the parameters.
        new_http: Any = URLLib3Session
        http = new_http(
            verify=self._session.get_config_variable("ca_bundle") or True,
            proxies=proxies,
            timeout=(self._connect_timeout, self._read_timeout),
        )
        headers = {"User-Agent": f"filevault/{__version__}", **headers}
        request = AWSRequest("POST", url, headers, body)
        if signer is not None:
            _sign(request, signer)
        try:
            answer = exchange(
                http,
                request.prepare(),
                Received(),
                seconds=_POST_DEADLINE if deadline is None else deadline,
                max_body=_MAX_BODY,
                wanted=wanted,
            )
        finally:
            http.close()
        given = {str(name).lower(): str(value) for name, value in answer.headers.items()}
        return HttpAnswer(answer.status_code, given, answer.content)

    def _limit(self, service: str, client: Any, received: Received) -> None:  # noqa: ANN401
        """Limit the answers of a client, and end its call at the deadline."""
        import time

        end = time.monotonic() + self._deadline
        # botocore accepts no HTTP session, and its own one has proxies, CA bundle and time-outs.
        inside = client._endpoint
        inside.http_session = _LimitedSession(inside.http_session, received, end, time.monotonic)
        client.meta.events.register_first(
            f"needs-retry.{service}", _give_up_after(end, time.monotonic)
        )

    def _region(self, service: str, endpoint: Endpoint) -> str:
        """Return the region to sign for; botocore cannot tell it for IAM at an endpoint URL."""
        if service != "iam" or endpoint.url is None:
            return endpoint.region
        from botocore.exceptions import UnknownRegionError

        try:
            name = self._session.get_partition_for_region(endpoint.region)
        except UnknownRegionError:
            return endpoint.region
        partition = partition_named(name)
        return endpoint.region if partition is None else partition.iam

    def _new_session(self) -> Any:  # noqa: ANN401
        import botocore.session

        session = botocore.session.Session(
            session_vars={
                # Ignore AWS_PROFILE, whose profile may be missing, and the credentials file.
                "profile": (None, None, None, None),
                "credentials_file": (None, None, "/dev/null", None),
                "retry_mode": ("retry_mode", "AWS_RETRY_MODE", "standard", None),
            }
        )
        session.get_component("response_parser_factory").set_parser_defaults(
            timestamp_parser=read_timestamp
        )
        if self._profile is not None and self._profile in session.full_config["profiles"]:
            session.set_config_variable("profile", self._profile)
        check_ca_bundle(session.get_config_variable("ca_bundle"))
        return session


def _sign(request: Any, signer: Signer) -> None:  # noqa: ANN401
    from botocore.auth import SigV4Auth
    from botocore.credentials import Credentials as BotocoreCredentials

    given = signer.credentials
    signing = BotocoreCredentials(given.access_key_id, given.secret_access_key, given.session_token)
    SigV4Auth(signing, signer.service, signer.region).add_auth(request)


def check_ca_bundle(path: str | None) -> None:
    """Raise ConfigError for an unreadable bundle, for which botocore would blame the network."""
    if path and not (os.path.isfile(path) and os.access(path, os.R_OK)):
        state = "cannot be read as a file" if os.path.exists(path) else "is not there"
        raise ConfigError(
            f"the CA bundle {printable(path)!r} {state}",
            hint="AWS_CA_BUNDLE names it, or ca_bundle in the AWS config",
        )


class _LimitedSession:
    """Wrapper of botocore's HTTP session that limits answers; `end` is a time of `clock`."""

    def __init__(
        self,
        http: Any,  # noqa: ANN401
        received: Received,
        end: float,
        clock: Callable[[], float],
    ) -> None:
        self._http = http
        self._received = received
        self._end = end
        self._clock = clock

    def send(self, request: Any) -> Any:  # noqa: ANN401
        """Send a prepared request and return the response."""
        proxies_for(request.url)  # botocore has taken them without a check
        seconds = self._end - self._clock()
        answer = exchange(self._http, request, self._received, seconds=seconds)
        check_levels(answer.content)
        return answer

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


# Codes of STS, and of gateways before AWS's services.
_THROTTLING = frozenset(
    {
        "RequestLimitExceeded",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)


def _give_up_unless_untouched(
    response: Any,  # noqa: ANN401
    caught_exception: Exception | None,
    operation: Any,  # noqa: ANN401
    **_: object,
) -> None:
    """Let botocore repeat a request that cannot have taken effect, else raise its error.

    AWS accepts each token code once: a repeated request would be refused with the message that
    the code is wrong. CreateAccessKey would create a second key, and the secret of the first one
    would be lost.
    """
    from botocore import exceptions

    if isinstance(
        caught_exception,
        exceptions.ConnectTimeoutError
        | exceptions.EndpointConnectionError
        | exceptions.ProxyConnectionError,
    ):
        return
    _give_up_unless_throttled(response, caught_exception, operation)


def _give_up_unless_throttled(
    response: Any,  # noqa: ANN401
    caught_exception: Exception | None,
    operation: Any,  # noqa: ANN401
    **_: object,
) -> None:
    """Let botocore repeat a request that AWS throttled, else raise its error."""
    from botocore import exceptions

    if caught_exception is not None:
        raise caught_exception
    answer, parsed = response
    if answer.status_code >= 300 and parsed.get("Error", {}).get("Code") not in _THROTTLING:
        raise exceptions.ClientError(parsed, operation.name)


def _give_up_after(end: float, clock: Callable[[], float]) -> Callable[..., None]:
    """Return a handler that raises the error of an attempt that ended after the deadline."""
    from botocore import exceptions

    def judge(
        response: Any,  # noqa: ANN401
        caught_exception: Exception | None,
        operation: Any,  # noqa: ANN401
        **_: object,
    ) -> None:
        if clock() < end:
            return
        if caught_exception is not None:
            raise caught_exception
        answer, parsed = response
        if answer.status_code >= 300:
            raise exceptions.ClientError(parsed, operation.name)

    return judge
