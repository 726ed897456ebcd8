"""The one door to botocore: clients with explicit credentials, and nothing else of its chain.

botocore keeps what it is good at: regions, retries, proxies, CA bundles, all from its usual
variables and the profile's section. It is told who signs and where to, so it never looks for
credentials in a file, the environment or an instance.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Self

from filevault import __version__
from filevault.aws.endpoint import check_url
from filevault.errors import ConfigError
from filevault.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filevault.aws.endpoint import Endpoint
    from filevault.credentials import Credentials

_CONNECT_TIMEOUT = 10.0
_READ_TIMEOUT = 30.0
_HASTY_CONNECT_TIMEOUT = 5.0
_HASTY_READ_TIMEOUT = 15.0
_POST_DEADLINE = 30.0
_LONGEST_BODY = 64 << 10
_CHUNK = 4096
# botocore's endpoint rules of IAM, `signingRegion` of each partition.
_IAM_REGIONS = {
    "aws": "us-east-1",
    "aws-cn": "cn-north-1",
    "aws-eusc": "eusc-de-east-1",
    "aws-iso": "us-iso-east-1",
    "aws-iso-b": "us-isob-east-1",
    "aws-iso-e": "eu-isoe-west-1",
    "aws-iso-f": "us-isof-south-1",
    "aws-us-gov": "us-gov-west-1",
}


class Clients:
    """Makes botocore clients.

    Args:
        profile: whose section of the AWS config may hold botocore's own settings, such as
            `ca_bundle` or `retry_mode`; a name without a section is as good as none.
        allow_http: let tokens travel over plain http beyond the loopback interface.
        connect_timeout: seconds for each attempt to connect.
        read_timeout: seconds of silence after which an attempt is given up.
        persistent: repeat a call, as often as botocore's settings say, that was not answered.
    """

    __slots__ = (
        "_allow_http",
        "_connect_timeout",
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
    ) -> None:
        self._profile = profile
        self._allow_http = allow_http
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._persistent = persistent
        self._session: Any = None

    @classmethod
    def hasty(cls, *, profile: str | None, allow_http: bool) -> Self:
        """Return one whose calls end soon, answered or not; see `__init__`."""
        return cls(
            profile=profile,
            allow_http=allow_http,
            connect_timeout=_HASTY_CONNECT_TIMEOUT,
            read_timeout=_HASTY_READ_TIMEOUT,
            persistent=False,
        )

    def open(
        self, service: str, endpoint: Endpoint, credentials: Credentials, *, once: bool
    ) -> Any:  # noqa: ANN401
        """Return a botocore client; nothing is sent.

        `once` is for requests that must not be made twice, such as those that carry a token
        code: they are repeated only where AWS cannot have taken them.

        Raises ConfigError for an address that would be unsafe; botocore's own errors pass, to be
        translated with the call's.
        """
        import botocore.config

        if endpoint.url is not None:
            check_url(endpoint.url, allow_http=self._allow_http)
        # The stubs lag behind botocore's options.
        new_config: Any = botocore.config.Config
        if self._session is None:
            self._session = self._new_session()
        self._session.set_config_variable("sts_regional_endpoints", endpoint.sts_regional_endpoints)
        client = self._session.create_client(
            service,
            region_name=self._region(service, endpoint),
            endpoint_url=endpoint.url,
            aws_access_key_id=credentials.access_key_id,
            aws_secret_access_key=credentials.secret_access_key,
            aws_session_token=credentials.session_token,
            config=new_config(
                connect_timeout=self._connect_timeout,
                read_timeout=self._read_timeout,
                user_agent_extra=f"filevault/{__version__}",
                # The plan has taken them into account already, and a session's name with it.
                ignore_configured_endpoint_urls=True,
                use_fips_endpoint=endpoint.use_fips,
                use_dualstack_endpoint=endpoint.use_dualstack,
            ),
        )
        if not self._persistent:
            client.meta.events.register_first(f"needs-retry.{service}", _give_up_unless_throttled)
        elif once:
            client.meta.events.register_first(f"needs-retry.{service}", _give_up_unless_untouched)
        return client

    def post(
        self, url: str, form: Mapping[str, str], *, setting: str, deadline: float = _POST_DEADLINE
    ) -> tuple[int, bytes]:
        """POST a form with botocore's proxies and CA bundle; return status and body.

        Once, and no redirection is followed. Of a body that is too long or no answer of status
        200, nothing is returned; `deadline` is in seconds and for the whole, so that an answer
        that drips in ends too. `setting` says where the address comes from. Raises ConfigError
        for an address that would be unsafe; botocore's own errors pass, to be translated with
        the call's.
        """
        import threading
        from urllib.parse import urlencode

        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import ReadTimeoutError
        from botocore.httpsession import URLLib3Session
        from botocore.utils import get_environ_proxies

        check_url(url, allow_http=self._allow_http, setting=setting)
        if self._session is None:
            self._session = self._new_session()
        # The stubs know less than botocore takes.
        new_http: Any = URLLib3Session
        http = new_http(
            verify=self._session.get_config_variable("ca_bundle") or True,
            proxies=get_environ_proxies(url),
            timeout=(self._connect_timeout, self._read_timeout),
        )
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded",
            "User-Agent": f"filevault/{__version__}",
        }
        body = urlencode(form).encode("ascii")
        request = AWSRequest("POST", url, headers, body, stream_output=True)
        found: list[tuple[int, bytes] | Exception] = []

        def exchange() -> None:
            try:
                found.append(_read(http.send(request.prepare()), url))
            except Exception as error:  # noqa: BLE001 - it is raised again
                found.append(error)

        # Time limits of sockets begin anew with each byte.
        thread = threading.Thread(target=exchange, daemon=True)
        thread.start()
        thread.join(deadline)
        if not found:
            raise ReadTimeoutError(endpoint_url=url)
        http.close()
        if isinstance(found[0], Exception):
            raise found[0]
        return found[0]

    def _region(self, service: str, endpoint: Endpoint) -> str:
        """Return the region to sign for: IAM has one for all, which a URL of its own hides."""
        if service != "iam" or endpoint.url is None:
            return endpoint.region
        from botocore.exceptions import UnknownRegionError

        try:
            partition = self._session.get_partition_for_region(endpoint.region)
        except UnknownRegionError:
            return endpoint.region
        return _IAM_REGIONS.get(partition, endpoint.region)

    def _new_session(self) -> Any:  # noqa: ANN401
        import botocore.session

        session = botocore.session.Session(
            session_vars={
                # Neither AWS_PROFILE, which need not exist, nor the credentials file.
                "profile": (None, None, None, None),
                "credentials_file": (None, None, "/dev/null", None),
                "retry_mode": ("retry_mode", "AWS_RETRY_MODE", "standard", None),
            }
        )
        if self._profile is not None and self._profile in session.full_config["profiles"]:
            session.set_config_variable("profile", self._profile)
        _check_ca_bundle(session.get_config_variable("ca_bundle"))
        return session


def _check_ca_bundle(path: str | None) -> None:
    """Raise ConfigError for a bundle that cannot be read: botocore would blame the network."""
    if path and not (os.path.isfile(path) and os.access(path, os.R_OK)):
        state = "cannot be read as a file" if os.path.exists(path) else "is not there"
        raise ConfigError(
            f"the CA bundle {printable(path)!r} {state}",
            hint="AWS_CA_BUNDLE names it, or ca_bundle in the AWS config",
        )


def _read(answer: Any, url: str) -> tuple[int, bytes]:  # noqa: ANN401
    """Return status and body of an answer whose body was not read yet."""
    from botocore.exceptions import ConnectionClosedError, ReadTimeoutError
    from urllib3 import exceptions

    if answer.status_code != 200:
        return answer.status_code, b""
    body = b""
    try:
        for chunk in answer.raw.stream(_CHUNK):
            body += chunk
            if len(body) > _LONGEST_BODY:
                return answer.status_code, b""
    except exceptions.ReadTimeoutError as error:
        raise ReadTimeoutError(endpoint_url=url) from error
    except (exceptions.HTTPError, OSError) as error:
        raise ConnectionClosedError(endpoint_url=url) from error
    return answer.status_code, body


# The first are STS's own, the others what gateways before AWS's services answer.
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
    """Leave a retry to botocore where the request had no effect, else raise what came instead.

    AWS takes each token code once: a request that may have arrived would be refused the second
    time, and the person would be told that the code is wrong. CreateAccessKey would make a second
    key, and the first one's secret would be lost.
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
    """Leave a retry to botocore where AWS answered at once that it is asked too often."""
    from botocore import exceptions

    if caught_exception is not None:
        raise caught_exception
    answer, parsed = response
    if answer.status_code >= 300 and parsed.get("Error", {}).get("Code") not in _THROTTLING:
        raise exceptions.ClientError(parsed, operation.name)
