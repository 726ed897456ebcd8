"""One call through botocore: whatever comes of it is an answer or an error of filevault's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from filevault.aws.errors import not_awss, translated
from filevault.aws.exchange import Received
from filevault.errors import NetworkError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filevault.aws.clients import Clients
    from filevault.aws.endpoint import Endpoint
    from filevault.aws.errors import Attempt
    from filevault.credentials import Credentials

_PARSERS_RAISE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


def call(
    clients: Clients,
    service: str,
    endpoint: Endpoint,
    credentials: Credentials,
    parameters: Mapping[str, object],
    attempt: Attempt,
    *,
    once: bool,
) -> Any:  # noqa: ANN401
    """Make the call that `attempt` names and return botocore's answer, a dictionary.

    `once` is as in `Clients.open`. Raises AwsError, NetworkError and ConfigError; a NetworkError
    names the access key ids of an answer that cannot be used.
    """
    received = Received()
    try:
        with translated(attempt):
            client = clients.open(service, endpoint, credentials, once=once, received=received)
            try:
                return getattr(client, _method(attempt.operation))(**parameters)
            except _PARSERS_RAISE as error:
                if isinstance(error, _botocore_error()):
                    raise
                # botocore's parsers trust an answer of status 200 to be what the model says.
                raise not_awss(attempt.operation, attempt.subject) from error
            finally:
                client.close()
    except NetworkError as error:
        error.key_ids = received.access_key_ids()
        raise


def _botocore_error() -> type[Exception]:
    from botocore.exceptions import BotoCoreError

    return BotoCoreError


def _method(operation: str) -> str:
    """Return what botocore calls an operation: `GetSessionToken` is `get_session_token`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation).lower()
