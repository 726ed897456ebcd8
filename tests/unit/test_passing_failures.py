"""Which failures of a call may be over a little later, and which only somebody can end."""

from __future__ import annotations

import pytest
from botocore import exceptions
from botocore.parsers import ResponseParserError

from filevault.aws.attempt import Attempt
from filevault.aws.botocore_errors import translated
from filevault.aws.errors import is_passing, may_have_taken_effect
from filevault.errors import ClockError, FilevaultError, NotAwsError
from filevault.rotation.retry import is_unknown_key, may_pass

URL = "https://iam.amazonaws.com"
SKEWED = (
    "Signature expired: 20261124T000000Z is now earlier than 20261124T001000Z "
    "(20261124T001500Z - 5 min.)"
)


def failure(raised: Exception) -> FilevaultError:
    with (
        pytest.raises(FilevaultError) as caught,
        translated(Attempt("ListAccessKeys", "profile 'jon'", ("secret",), None)),
    ):
        raise raised
    return caught.value


def refusal(code: str, text: str) -> FilevaultError:
    return failure(
        exceptions.ClientError({"Error": {"Code": code, "Message": text}}, "ListAccessKeys")
    )


@pytest.mark.parametrize(
    "raised",
    [
        exceptions.SSLError(endpoint_url=URL, error=OSError("certificate verify failed")),
        ResponseParserError("not XML"),
    ],
)
def test_a_portal_or_a_certificate_does_not_pass(raised: Exception) -> None:
    """Whether the call arrived all the same is not known."""
    error = failure(raised)
    assert isinstance(error, NotAwsError)
    assert (is_passing(error), may_pass(error), may_have_taken_effect(error)) == (
        False,
        False,
        True,
    )


@pytest.mark.parametrize(
    "raised",
    [
        exceptions.ReadTimeoutError(endpoint_url=URL),
        exceptions.ConnectTimeoutError(endpoint_url=URL),
        exceptions.EndpointConnectionError(endpoint_url=URL),
        exceptions.ConnectionClosedError(endpoint_url=URL),
    ],
)
def test_a_network_that_is_silent_may_pass(raised: Exception) -> None:
    assert is_passing(failure(raised))


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("SignatureDoesNotMatch", SKEWED),
        ("SignatureDoesNotMatch", "Signature not yet current: 1 is still later than 2"),
        ("RequestTimeTooSkewed", "The difference is too large."),
        ("RequestExpired", "Request has expired."),
    ],
)
def test_a_wrong_clock_does_not_make_a_key_unknown_and_does_not_pass(code: str, text: str) -> None:
    error = refusal(code, text)
    assert isinstance(error, ClockError)
    assert (is_unknown_key(error), may_pass(error)) == (False, False)


def test_a_wrong_secret_does() -> None:
    assert is_unknown_key(refusal("SignatureDoesNotMatch", "The request signature is another one"))


def test_a_wrong_region_is_told_as_one_and_is_no_unknown_key() -> None:
    text = "Credential should be scoped to a valid region, not 'mars-1'. "
    error = refusal("SignatureDoesNotMatch", text)
    assert "a region that the endpoint does not serve" in error.message
    assert "does not belong" not in error.message
    assert "correct the region" in (error.hint or "")
    assert not is_unknown_key(error)
