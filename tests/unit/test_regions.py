"""Partitions and regions, compared with botocore's own table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import botocore
import pytest

from filevault.cli.completion.regions import REGIONS
from filevault.errors import ConfigError
from filevault.partitions import check_region, is_region, partition_named, partition_of

DATA = Path(botocore.__file__).parent / "data" / "partitions.json"
PARTITIONS: list[dict[str, Any]] = json.loads(DATA.read_text())["partitions"]


@pytest.mark.parametrize("partition", PARTITIONS, ids=[each["id"] for each in PARTITIONS])
def test_every_region_of_botocore_is_in_its_partition(partition: dict[str, Any]) -> None:
    name = partition["id"]
    for region in partition["regions"]:
        assert is_region(region)
        assert partition_of(region).name == name
        assert partition_of(f"fips-{region}").name == partition_of(f"{region}-fips").name == name
    found = partition_of(f"{name}-global")
    assert (found.name, found.home) == (name, partition["outputs"]["implicitGlobalRegion"])
    assert partition_named(name) == found


def test_every_region_of_botocore_completes_a_word() -> None:
    regions = {each for partition in PARTITIONS for each in partition["regions"]}
    assert sorted(REGIONS) == sorted(each for each in regions if not each.endswith("-global"))


def test_an_unknown_partition_is_none_and_an_unknown_region_is_in_aws() -> None:
    assert partition_named("aws-moon") is None
    assert partition_of("moon-1").name == "aws"


@pytest.mark.parametrize("text", ["", "A", "eu west", "eu-west-1 # x", "-a", "a-", "1", "ж", "a\n"])
def test_what_is_no_region_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^AWS_REGION is not the name of a region"):
        check_region(text, "AWS_REGION")
