"""Sample keys, ids and names that tests write into vaults and configs."""

from __future__ import annotations

KEY_ID = "AKIAQNZGKIQY56JQ7WML"  # says which account it is of: 029608264753
OTHER_ACCOUNT = "AKIAZZZZZZQY56JQ7WML"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
LINES = f"{KEY_ID}\n{SECRET}\n"
