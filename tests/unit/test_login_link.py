"""The link of a console login, its hosts, and the code that a person pastes."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from filevault.aws.login_link import (
    CROSS_DEVICE,
    SAME_DEVICE,
    AuthorizationRequest,
    base_url,
    confirmation_url,
    parse_pasted,
    revoke_url,
    token_url,
)
from filevault.aws.pkce import challenge, new_verifier
from filevault.errors import UsageError
from filevault.partitions import PARTITIONS

STATE = "0b1f7c52-6b8e-4c2f-9a53-6d8d0f0f8a11"
OTHER = "1b1f7c52-6b8e-4c2f-9a53-6d8d0f0f8a11"
CODE = "eyJ-._~abc+/=&x" * 20


def packed(code: str = CODE, state: str = STATE) -> str:
    from urllib.parse import urlencode

    return base64.b64encode(urlencode({"state": state, "code": code}).encode()).decode()


def test_the_link_has_the_parameters_in_their_order_and_no_secret() -> None:
    verifier = new_verifier()
    request = AuthorizationRequest(
        "https://eu-west-1.signin.aws.amazon.com",
        SAME_DEVICE,
        "http://127.0.0.1:4711/oauth/callback",
        STATE,
        verifier,
    )
    link = request.link
    assert link == (
        "https://eu-west-1.signin.aws.amazon.com/v1/authorize?response_type=code"
        "&client_id=arn%3Aaws%3Asignin%3A%3A%3Adevtools%2Fsame-device"
        f"&state={STATE}&code_challenge_method=SHA-256&scope=openid"
        "&redirect_uri=http%3A%2F%2F127.0.0.1%3A4711%2Foauth%2Fcallback"
        f"&code_challenge={challenge(verifier)}"
    )
    assert dict(parse_qsl(urlsplit(link).query))["client_id"] == SAME_DEVICE
    assert verifier not in link
    assert verifier not in repr(request)
    assert CROSS_DEVICE == "arn:aws:signin:::devtools/cross-device"


def test_hosts_are_those_of_botocore_in_every_partition() -> None:
    import botocore.session

    session = botocore.session.Session()
    for partition in PARTITIONS:
        region = partition.home
        client: Any = session.create_client(
            "signin", region_name=region, aws_access_key_id="x", aws_secret_access_key="x"
        )
        urls = [
            client._ruleset_resolver.construct_endpoint(
                client.meta.service_model.operation_model(operation), {}, {}
            ).url
            for operation in ("CreateOAuth2Token", "RevokeOAuth2TokenWithIAM")
        ]
        revocation = revoke_url(region, None).partition("/v1/revoke?")[0]
        assert [base_url(region, None), revocation] == urls, partition.name


def test_a_configured_address_goes_before_the_region() -> None:
    base = base_url("eu-west-1", "http://127.0.0.1:1/signin/x/")
    assert base == "http://127.0.0.1:1/signin/x"
    assert token_url(base) == "http://127.0.0.1:1/signin/x/v1/token"
    assert confirmation_url(base) == "http://127.0.0.1:1/signin/x/v1/sessions/confirmation"


def test_a_token_is_revoked_by_a_signed_request() -> None:
    assert revoke_url("eu-west-1", None) == (
        "https://eu-west-1.oauth.signin.aws/v1/revoke?x-amz-client-auth-method=iam"
    )
    assert revoke_url("eu-west-1", "http://127.0.0.1:1").startswith("http://127.0.0.1:1/v1/rev")


def wrapped(text: str) -> str:
    return "\r\n".join(text[start : start + 40] for start in range(0, len(text), 40))


@pytest.mark.parametrize(
    "text",
    [
        packed(),
        packed() + "\n",
        f"  {packed()}\t\r\n\r\n",
        wrapped(packed()),
        " ".join(packed()),
        packed().rstrip("="),
        packed() + "==",
        base64.urlsafe_b64encode(base64.b64decode(packed())).decode(),
    ],
)
def test_a_pasted_code_is_read_however_it_was_copied(text: str) -> None:
    assert parse_pasted(text, STATE) == CODE


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "hello",
        "ü",
        "=" * 8,
        "A" * 100_000,
        CODE,
        base64.b64encode(b"state=").decode(),
        base64.b64encode(b"code=abc").decode(),
        base64.b64encode(f"state={STATE}".encode()).decode(),
        base64.b64encode(f"state={STATE}&code=".encode()).decode(),
        base64.b64encode(f"state={STATE}&code=a&code=b".encode()).decode(),
        base64.b64encode(f"state={STATE}&code=\xff".encode("latin-1")).decode(),
        packed("c" * 513),
        packed()[:20],
    ],
)
def test_what_is_no_code_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(UsageError, match="not a code of AWS's sign-in page"):
        parse_pasted(text, STATE)


@pytest.mark.parametrize(
    "state", [OTHER, STATE[:-1], STATE + "0", "7c9e6679-7425-40de-944b-e07fc1f90ae7", "x"]
)
def test_the_code_of_another_sign_in_is_refused(state: str) -> None:
    with pytest.raises(UsageError, match="another sign-in"):
        parse_pasted(packed(state=state), STATE)
