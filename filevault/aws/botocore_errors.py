"""Translation of botocore's exceptions into filevault's errors, with a sentence and a hint each."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from filevault.aws.endpoint import redact_url, without_urls
from filevault.aws.errors import error_class, explain
from filevault.aws.exchange import InvalidAnswerError
from filevault.errors import AwsError, ConfigError, FilevaultError, NetworkError, NotAwsError
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botocore.exceptions import BotoCoreError

    from filevault.aws.attempt import Attempt

# More than AWS ever sends. Matching some patterns takes time quadratic in a text's length.
_MATCH_LIMIT = 2000
_MAYBE_USED = "the token code may be used up: wait for the next one"


@contextmanager
def translated(attempt: Attempt) -> Iterator[None]:
    """Translate what botocore raises in the block into AwsError, NetworkError or ConfigError."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except ClientError as error:
        raise _refusal(error.response, attempt) from error
    except (ResponseParserError, InvalidAnswerError) as error:
        raise not_from_aws(attempt.operation, attempt.subject) from error
    except BotoCoreError as error:
        raise _failure(error, attempt) from error
    except ValueError as error:  # an endpoint URL that botocore cannot use
        raise _unusable(error, attempt) from error


def not_from_aws(operation: str, subject: str, why: str = "") -> NotAwsError:
    """Return the error for an answer that AWS cannot have sent; `why` is part of the message."""
    return NotAwsError(
        f"the answer to {operation} for {subject} is not one of AWS's{': ' if why else ''}{why}",
        hint="a proxy or a captive portal may have answered; check endpoint_url",
    )


def no_credentials(operation: str, subject: str) -> AwsError:
    """Return the error for an answer that contains no usable credentials."""
    return AwsError(
        f"the answer to {operation} for {subject} contains no usable credentials",
        operation=operation,
    )


def _refusal(response: Any, attempt: Attempt) -> FilevaultError:  # noqa: ANN401
    error = response.get("Error", {})
    code = printable(attempt.redacted(str(error.get("Code", ""))), 80)
    # Redacted before the cut, which could leave a part of a secret.
    text = attempt.redacted(str(error.get("Message", "")))[:_MATCH_LIMIT]
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    why, hint = explain(code, text, attempt, status)
    if attempt.once and isinstance(status, int) and status >= 500:
        hint = _MAYBE_USED
    said = f"{code}: {attempt.shown(text)}" if text else code
    reason = f"{why} ({said})" if why else said
    return error_class(code, text)(
        f"AWS refused {attempt.operation} for {attempt.subject}: {reason}",
        operation=attempt.operation,
        code=code,
        hint=hint,
    )


def _unusable(error: Exception, attempt: Attempt) -> ConfigError:
    return ConfigError(
        f"{attempt.operation} for {attempt.subject} cannot be called: "
        f"{attempt.shown(without_urls(str(error)[:_MATCH_LIMIT]))}"
    )


def _failure(error: BotoCoreError, attempt: Attempt) -> FilevaultError:
    from botocore import exceptions

    if not isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError):
        return _unusable(error, attempt)
    if isinstance(error.kwargs.get("error"), ValueError):
        # Raised for a header or URL, which its text contains, perhaps with escapes.
        return ConfigError(
            f"{attempt.operation} for {attempt.subject} cannot be sent: its URL or one of its "
            "headers contains a forbidden character"
        )
    address = error.kwargs.get("endpoint_url")
    url = redact_url(str(address)) if address else "AWS"
    hint = "check the network, the region, and HTTPS_PROXY and NO_PROXY"
    lost = False
    error_type = NetworkError
    if isinstance(error, exceptions.SSLError):
        error_type = NotAwsError
        why = f"the TLS certificate of {url} was not accepted"
        hint = "where a proxy inspects TLS, name its certificates in AWS_CA_BUNDLE"
    elif isinstance(error, exceptions.ProxyConnectionError):
        why = "the proxy cannot be reached"
        hint = "check HTTPS_PROXY and NO_PROXY"
    elif isinstance(error, exceptions.ConnectTimeoutError):
        why = f"{url} did not answer in time"
    elif isinstance(error, exceptions.EndpointConnectionError):
        why = f"cannot connect to {url}"
    else:
        lost = attempt.once
        why = _silence(error, url) or attempt.shown(without_urls(str(error)[:_MATCH_LIMIT]))
    if lost:
        hint = f"{_MAYBE_USED}, and {hint}"
    return error_type(f"{attempt.operation} for {attempt.subject} failed: {why}", hint=hint)


def _silence(error: BotoCoreError, url: str) -> str | None:
    """Return how an answer was lost, None if only botocore's message says it."""
    from botocore import exceptions

    if isinstance(error, exceptions.ReadTimeoutError):
        return f"{url} did not answer in time"
    if isinstance(error, exceptions.ConnectionClosedError):
        return f"{url} closed the connection without an answer"
    return None
