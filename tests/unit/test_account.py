"""Which account is used: that of exactly these credentials, or none."""

from __future__ import annotations

import pytest

from filevault.config.aws_config import AwsConfig
from filevault.config.overrides import Overrides
from filevault.config.profile import resolve
from filevault.credentials import Credentials
from filevault.errors import ConfigError
from filevault.plan.account import account_of_credentials
from filevault.plan.planner import Plan, PlanOptions, plan
from tests.samples import EXAMPLE_ID

ROLE = "role_arn = arn:aws:iam::123456789012:role/admin\n"
BASE = "aws_account_id = 111122223333\n"
OWN = "aws_account_id = 444455556666\n"
ADDRESS = "endpoint_url = https://minio.example\n"
# An id and its account as they were published with the way to read one from the other.
NEW_ID = "ASIAQNZGKIQY56JQ7WML"
IN_ID = "029608264753"

CASES = [
    # asked for, lines of `base`, lines of the profile, key id, account, warnings
    ("base", "", "", EXAMPLE_ID, None, 0),
    ("base", "", "", NEW_ID, IN_ID, 0),
    ("base", ADDRESS, "", NEW_ID, None, 0),
    ("base", BASE, "", EXAMPLE_ID, "111122223333", 0),
    ("base", BASE + ADDRESS, "", NEW_ID, "111122223333", 0),
    ("base", BASE, "", NEW_ID, IN_ID, 1),
    ("base", f"aws_account_id = {IN_ID}\n", "", NEW_ID, IN_ID, 0),
    ("alias", BASE, "", EXAMPLE_ID, "111122223333", 0),
    ("alias", "", OWN, EXAMPLE_ID, "444455556666", 0),
    ("alias", BASE, OWN, EXAMPLE_ID, "111122223333", 1),
    ("alias", BASE, "include_profile = other\n", EXAMPLE_ID, "111122223333", 1),
    ("alias", "", "include_profile = other\n", EXAMPLE_ID, "888888888888", 0),
    # A key id never tells of a role, whose account may be another.
    ("role", BASE, ROLE, NEW_ID, "123456789012", 0),
    ("role", "", ROLE + OWN, NEW_ID, "123456789012", 1),
    ("role", "", ROLE + "aws_account_id = 123456789012\n", EXAMPLE_ID, "123456789012", 0),
]


def planned(name: str, base: str, lines: str) -> Plan:
    text = (
        "[default]\naws_account_id = 999999999999\n[profile other]\n"
        f"aws_account_id = 888888888888\n[profile base]\n{base}"
    )
    if name != "base":
        text += f"[profile {name}]\nsource_profile = base\n{lines}"
    profile = resolve(
        AwsConfig.parse(text.encode(), "config"),
        name,
        overrides=Overrides(),
        has_item=lambda each: each == "base",
    )
    return plan(profile, PlanOptions())


@pytest.mark.parametrize(("name", "base", "lines", "key_id", "account", "warnings"), CASES)
def test_the_account_is_that_of_the_credentials(
    name: str, base: str, lines: str, key_id: str, account: str | None, warnings: int
) -> None:
    made = planned(name, base, lines)
    found, doubts = account_of_credentials(made, Credentials(key_id, "secret", "token", 1))
    assert found == account
    assert len(made.warnings) + len(doubts) == warnings
    for text in (*made.warnings, *doubts):
        assert f"{account} is used" in text


@pytest.mark.parametrize("value", ["1111-2222-3333", "12345678901", "1234567890123", "\uff11" * 12])
def test_a_malformed_account_is_refused(value: str) -> None:
    with pytest.raises(ConfigError, match="no AWS account id of 12 digits"):
        planned("base", f"aws_account_id = {value}\n", "")
