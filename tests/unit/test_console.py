"""The console's addresses: every partition, against what is expected and against botocore."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import botocore.session
import pytest
from botocore.endpoint_provider import EndpointProvider

from filevault.aws.console import console_of
from filevault.errors import ConfigError, UsageError
from filevault.partitions import PARTITIONS, Partition

TOKEN = "a/token+with=everything&in it"

PLACES = [
    ("eu-west-1", "eu-west-1.signin.aws.amazon.com", "eu-west-1.console.aws.amazon.com"),
    ("us-east-1", "us-east-1.signin.aws.amazon.com", "us-east-1.console.aws.amazon.com"),
    ("il-central-1", "il-central-1.signin.aws.amazon.com", "il-central-1.console.aws.amazon.com"),
    ("cn-north-1", "cn-north-1.signin.amazonaws.cn", "cn-north-1.console.amazonaws.cn"),
    (
        "us-gov-east-1",
        "us-gov-east-1.signin.amazonaws-us-gov.com",
        "us-gov-east-1.console.amazonaws-us-gov.com",
    ),
    (
        "eusc-de-east-1",
        "eusc-de-east-1.signin.amazonaws-eusc.eu",
        "eusc-de-east-1.console.amazonaws-eusc.eu",
    ),
    (
        "us-iso-west-1",
        "us-iso-west-1.signin.c2shome.ic.gov",
        "us-iso-west-1.console.c2shome.ic.gov",
    ),
    (
        "us-isob-east-1",
        "us-isob-east-1.signin.sc2shome.sgov.gov",
        "us-isob-east-1.console.sc2shome.sgov.gov",
    ),
    (
        "eu-isoe-west-1",
        "eu-isoe-west-1.signin.csphome.adc-e.uk",
        "eu-isoe-west-1.console.csphome.adc-e.uk",
    ),
    (
        "us-isof-south-1",
        "us-isof-south-1.signin.csphome.hci.ic.gov",
        "us-isof-south-1.console.csphome.hci.ic.gov",
    ),
]


@pytest.mark.parametrize(("region", "signin", "console"), PLACES)
def test_each_partition_has_its_hosts(region: str, signin: str, console: str) -> None:
    found = console_of(region, None, None)
    assert found.federation_url == f"https://{signin}/federation"
    home = f"https://{console}/console/home?region={region}"
    assert found.destination(None) == home
    link = urlsplit(found.link(TOKEN, home))
    assert (link.scheme, link.netloc, link.path) == ("https", signin, "/federation")
    assert parse_qs(link.query, strict_parsing=True) == {
        "Action": ["login"],
        "Issuer": ["filevault"],
        "Destination": [home],
        "SigninToken": [TOKEN],
    }
    out = urlsplit(found.after_logout(link.geturl()))
    assert (out.netloc, out.path) == (signin, "/oauth")
    assert parse_qs(out.query, strict_parsing=True) == {
        "Action": ["logout"],
        "redirect_uri": [link.geturl()],
    }


def test_every_partition_is_in_the_table_above() -> None:
    assert len({console_of(region, None, None).domain for region, _, _ in PLACES}) == len(
        PARTITIONS
    )


def test_sign_in_hosts_are_those_of_botocores_rules_in_every_region_that_it_knows() -> None:
    session = botocore.session.Session()
    loader = session.get_component("data_loader")
    rules = EndpointProvider(
        loader.load_service_model("signin", "endpoint-rule-set-1"), loader.load_data("partitions")
    )
    asked = 0
    for partition in session.get_available_partitions():
        for region in session.get_available_regions("ec2", partition_name=partition):
            found = rules.resolve_endpoint(Region=region, UseFIPS=False, UseDualStack=False)
            assert console_of(region, None, None).signin == found.url
            asked += 1
    assert asked > 30
    assert {each.name for each in PARTITIONS} == set(session.get_available_partitions())


@pytest.mark.parametrize("partition", PARTITIONS, ids=lambda each: each.name)
def test_without_region_the_role_tells_the_partition(partition: Partition) -> None:
    name, home = partition.name, partition.home
    signin, domain = partition.signin_domain, partition.console_domain
    for region, arn in (
        (None, f"arn:{name}:sts::123456789012:assumed-role/admin/me"),
        (f"{name}-global", None),
    ):
        found = console_of(region, arn, None)
        assert found.federation_url == f"https://{home}.{signin}/federation"
        assert found.destination(None) == f"https://{domain}/"
        assert found.destination("/s3/buckets") == f"https://{domain}/s3/buckets"


@pytest.mark.parametrize("arn", [None, "", "arn", "arn:aws-elsewhere:iam::1:user/x"])
def test_without_either_it_is_the_commercial_partition(arn: str | None) -> None:
    assert console_of(None, arn, None).domain == "console.aws.amazon.com"


def test_the_region_beats_the_role() -> None:
    found = console_of("cn-north-1", "arn:aws:sts::123456789012:assumed-role/admin/me", None)
    assert found.domain == "console.amazonaws.cn"


def test_another_sign_in_service_takes_the_place_of_the_partitions() -> None:
    found = console_of("eu-west-1", None, "http://127.0.0.1:8080/")
    assert found.federation_url == "http://127.0.0.1:8080/federation"
    assert found.destination("x") == "https://eu-west-1.console.aws.amazon.com/x?region=eu-west-1"


@pytest.mark.parametrize(
    "region",
    ["", "eu-west-1.evil.example/", "eu west", "EU-WEST-1", "-x", "x-", "é", "a" * 64, "x\n", "@"],
)
def test_what_is_no_region_never_becomes_part_of_an_address(region: str) -> None:
    with pytest.raises(ConfigError, match="there is no region"):
        console_of(region, None, None)


HOST = "https://eu-west-1.console.aws.amazon.com"


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("s3/buckets", f"{HOST}/s3/buckets?region=eu-west-1"),
        ("/s3/buckets", f"{HOST}/s3/buckets?region=eu-west-1"),
        ("", f"{HOST}/?region=eu-west-1"),
        ("s3/b?prefix=a/b", f"{HOST}/s3/b?prefix=a/b&region=eu-west-1"),
        ("s3/b?region=us-east-2", f"{HOST}/s3/b?region=us-east-2"),
        ("ec2/home#Instances:", f"{HOST}/ec2/home?region=eu-west-1#Instances:"),
        ("ec2/home?x=1#a?b=c", f"{HOST}/ec2/home?x=1&region=eu-west-1#a?b=c"),
        ("//evil.example/", f"{HOST}/evil.example/?region=eu-west-1"),
        ("@evil.example", f"{HOST}/@evil.example?region=eu-west-1"),
        ("s3/größe", f"{HOST}/s3/größe?region=eu-west-1"),
    ],
)
def test_a_path_stays_on_the_console_and_gets_the_region(path: str, wanted: str) -> None:
    console = console_of("eu-west-1", None, None)
    assert console.destination(path) == wanted
    query = urlsplit(console.link("t", wanted)).query
    assert parse_qs(query)["Destination"] == [wanted]


@pytest.mark.parametrize(
    "path", ["https://evil.example/", "javascript:x", "a\nb", "a\x1bb", "\udcff"]
)
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match="is not a path of the console"):
        console_of("eu-west-1", None, None).destination(path)
