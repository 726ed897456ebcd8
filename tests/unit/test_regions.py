"""Partitions and regions, compared with botocore's own table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import botocore
import pytest

from filevault.errors import ConfigError
from filevault.partitions import check_region, home_region, is_region, partition_of

DATA = Path(botocore.__file__).parent / "data" / "partitions.json"
PARTITIONS: list[dict[str, Any]] = json.loads(DATA.read_text())["partitions"]


@pytest.mark.parametrize("partition", PARTITIONS, ids=[each["id"] for each in PARTITIONS])
def test_every_region_of_botocore_is_in_its_partition(partition: dict[str, Any]) -> None:
    name = partition["id"]
    for region in partition["regions"]:
        assert is_region(region)
        assert partition_of(region) == name
        assert partition_of(f"fips-{region}") == partition_of(f"{region}-fips") == name
    assert partition_of(f"{name}-global") == name
    assert home_region(name) == partition["outputs"]["implicitGlobalRegion"]


def test_an_unknown_partition_has_no_home() -> None:
    assert home_region("aws-moon") is None
    assert partition_of("moon-1") == "aws"


@pytest.mark.parametrize("text", ["", "A", "eu west", "eu-west-1 # x", "-a", "a-", "1", "ж", "a\n"])
def test_what_is_no_region_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^AWS_REGION is not the name of a region"):
        check_region(text, "AWS_REGION")
