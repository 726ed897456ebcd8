"""One call to AWS through botocore: it returns an answer or raises one of filevault's errors."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from filevault.aws.attempt import Attempt
from filevault.aws.botocore_errors import not_from_aws, translated
from filevault.aws.exchange import Received
from filevault.errors import NetworkError
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filevault.aws.clients import Clients
    from filevault.aws.endpoint import Endpoint
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


class Caller(Record):
    """What makes calls to AWS.

    `clients` connects to `endpoint`. `credentials` sign the calls, None for a call that is not
    signed. `subject` is the profile that the calls are for, in messages.
    """

    clients: Clients
    endpoint: Endpoint
    credentials: Credentials | None
    subject: str


def call(
    caller: Caller,
    service: str,
    operation: str,
    parameters: Mapping[str, object],
    *,
    token_code: str | None = None,
    once: bool = False,
    token: str | None = None,
) -> Any:  # noqa: ANN401
    """Make one call and return botocore's answer, a dictionary.

    Args:
        caller: makes the call.
        service: botocore's name of the service, `sts` or `iam`.
        operation: AWS's name of the call.
        parameters: the call's parameters.
        token_code: the MFA code among the parameters; the call is then made once.
        once: never repeat the call where it may have taken effect, as in `Clients.open`.
        token: the token among the parameters of a call that is not signed.

    Raises AwsError, ConfigError and NetworkError; the latter has the access key ids of an answer
    that cannot be used.
    """
    received = Received()
    secrets: tuple[str | None, ...] = (token,)
    credentials, subject = caller.credentials, caller.subject
    if credentials is not None:
        secrets = (credentials.secret_access_key, credentials.session_token)
    attempt = Attempt(operation, subject, secrets, token_code)
    try:
        with translated(attempt):
            client = caller.clients.open(
                service, caller.endpoint, credentials, once=once or attempt.once, received=received
            )
            try:
                return getattr(client, _method(operation))(**parameters)
            except _PARSERS_RAISE as error:
                if isinstance(error, _botocore_error()):
                    raise
                # botocore's parsers assume that an answer with status 200 fits the model.
                raise not_from_aws(operation, subject) from error
            finally:
                client.close()
    except NetworkError as error:
        raise error.with_key_ids(received.access_key_ids()) from error.__cause__


def _botocore_error() -> type[Exception]:
    from botocore.exceptions import BotoCoreError

    return BotoCoreError


def _method(operation: str) -> str:
    """Return botocore's name of an operation: `GetSessionToken` is `get_session_token`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation).lower()
