"""Sample keys, ids and names that tests write into vaults and configs, and a sample time."""

from __future__ import annotations

JON = "jon@example.com"
ANN = "ann@example.com"
ZOE = "zoe@team.example"

# Ids that say their account: two of 029608264753, and one of another account.
KEY_ID = "AKIAQNZGKIQY56JQ7WML"
SECOND_ID = "AKIAQNZGKIQY56JQ7WMM"
OTHER_ACCOUNT = "AKIAZZZZZZQY56JQ7WML"

# Ids that do not say it: the key and the session of AWS's documentation, and other keys.
EXAMPLE_ID = "AKIAIOSFODNN7EXAMPLE"
EXAMPLE_SESSION_ID = "ASIAIOSFODNN7EXAMPLE"
OTHER_ID = "AKIAOTHERKEYEXAMPLE0"
ONE_ID = "AKIAONEONEONEONEONE1"
TWO_ID = "AKIATWOTWOTWOTWOTWO2"

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
OTHER_SECRET = "0therJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPL"
PLAIN_SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEYab"  # letters and digits alone, as an id has

EXAMPLE_KEY = (EXAMPLE_ID, SECRET)
ONE_KEY = (ONE_ID, "one0" * 10)
TWO_KEY = (TWO_ID, "two0" * 10)
LINES = f"{KEY_ID}\n{SECRET}\n"
EXAMPLE_LINES = f"{EXAMPLE_ID}\n{SECRET}\n"
EXAMPLE_ITEM = f"{SECRET}\naws_access_key_id: {EXAMPLE_ID}\n".encode()

NOW = 1_700_000_010.0  # where tests stop the clock of the stand-in for AWS
