"""Session tags and session policies of a request to STS."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from tests.fakes.parameters import TAG_KEY, TAG_VALUE, Parameters
from tests.fakes.refusal import Refusal, invalid_value

PACKED_POLICY_BYTES = 2048
"""Room for policies and tags; AWS's own packing is not published, this is its historic limit."""


class Restrictions(NamedTuple):
    """What a request adds to the session it asks for, checked; percent is AWS's packed size."""

    tags: dict[str, str]
    transitive_tag_keys: tuple[str, ...]
    policy: str | None
    policy_arns: tuple[str, ...]
    packed_percent: int | None


def read_restrictions(parameters: Parameters) -> Restrictions:
    """Read tags and policies, and refuse what AWS refuses whoever asks."""
    tags: dict[str, str] = {}
    spelling: dict[str, str] = {}
    twice = False
    for member in parameters.members("Tags", "Key", "Value", most=50):
        key = parameters.required(f"{member}.Key", least=1, most=128, pattern=TAG_KEY)
        value = parameters.required(f"{member}.Value", most=256, pattern=TAG_VALUE)
        twice = twice or key.casefold() in spelling
        spelling[key.casefold()] = key
        tags[key] = value
    transitive = tuple(
        parameters.required(member, least=1, most=128, pattern=TAG_KEY)
        for member in parameters.members("TransitiveTagKeys", most=50)
    )
    arns = tuple(
        parameters.required(f"{member}.arn", least=20, most=2048)
        for member in parameters.members("PolicyArns", "arn", most=10)
    )
    policy = parameters.text("Policy", least=1)
    parameters.check()
    if twice:
        raise invalid_value(
            "Duplicate tag keys found. Please note that Tag keys are case insensitive."
        )
    if not spelling.keys() >= {key.casefold() for key in transitive}:
        raise invalid_value(
            "The specified transitive tag key must be included in the requested tags."
        )
    transitive = tuple(spelling[key.casefold()] for key in transitive)
    return Restrictions(tags, transitive, policy, arns, _packed_percent(policy, arns, tags))


def _packed_percent(
    policy: str | None, arns: tuple[str, ...], tags: Mapping[str, str]
) -> int | None:
    if policy is None and not arns and not tags:
        return None
    compact = ""
    if policy is not None:
        try:
            document = json.loads(policy)
        except ValueError:
            document = None
        if not isinstance(document, dict) or "Statement" not in document:
            raise Refusal("MalformedPolicyDocument", "Syntax errors in policy.", 400)
        compact = json.dumps(document, separators=(",", ":"))
    size = len((compact + "".join(arns) + "".join(k + v for k, v in tags.items())).encode())
    percent = max(1, -(-size * 100 // PACKED_POLICY_BYTES))
    if percent > 100:
        raise Refusal(
            "PackedPolicyTooLarge",
            f"Packed policy consumes {percent}% of allotted space, please use smaller policy.",
            400,
        )
    return percent
