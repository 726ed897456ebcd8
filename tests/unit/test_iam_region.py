"""For which region a request to IAM is signed where its address is one of our own."""

from __future__ import annotations

import pytest

from filevault.aws.clients import Clients
from filevault.aws.endpoint import Endpoint
from filevault.credentials import Credentials
from tests.samples import EXAMPLE_ID


@pytest.mark.parametrize(
    "region",
    [
        *("eu-west-1", "us-east-1", "cn-northwest-1", "us-gov-east-1", "us-iso-west-1"),
        *("us-isob-east-1", "eu-isoe-west-1", "us-isof-east-1", "eusc-de-east-1"),
    ],
)
def test_it_is_the_region_that_botocore_takes_for_the_real_address(region: str) -> None:
    credentials = Credentials(EXAMPLE_ID, "secret")
    real = Clients().open("iam", Endpoint(region), credentials, once=False)
    signed_for = []
    real.meta.events.register(
        "before-sign.iam", lambda region_name, **_: signed_for.append(region_name)
    )
    real.meta.events.register("before-send.iam", lambda **_: _Answer())
    real.list_access_keys()
    ours = Clients().open("iam", Endpoint(region, "http://127.0.0.1:1"), credentials, once=False)
    assert signed_for == [ours.meta.region_name]


def test_a_region_that_nobody_knows_is_taken_as_it_is() -> None:
    credentials = Credentials(EXAMPLE_ID, "secret")
    endpoint = Endpoint("xx-nowhere-1", "http://127.0.0.1:1")
    assert (
        Clients().open("iam", endpoint, credentials, once=False).meta.region_name == endpoint.region
    )


class _Answer:
    """What IAM would say; nothing is sent."""

    status_code = 200
    headers: dict[str, str] = {}  # noqa: RUF012
    content = (
        b"<ListAccessKeysResponse><ListAccessKeysResult><AccessKeyMetadata/>"
        b"</ListAccessKeysResult></ListAccessKeysResponse>"
    )
