"""Commands of the harness that store, refresh and show one token record."""

from __future__ import annotations

import sys

from filevault.cli.context import Context
from filevault.sources.token_records import LOGIN, TokenName, TokenRecord
from tests.faults.harness import HarnessCommand, vault_of

NAME = TokenName(LOGIN, ("arn:aws:iam::123456789012:user/jon",), "login:jon")
OLD = TokenRecord({"refreshToken": "old0" * 10}, 2_000_000_000, renewable=True)
NEW = OLD._replace(values={"refreshToken": "new0" * 10})


def _store(context: Context) -> int:
    with vault_of(context) as vault:
        vault.tokens().replace(NAME, OLD)
    return 0


def _refresh(context: Context) -> int:
    """Refresh as a source does; the request to AWS is the line on stdout."""
    with vault_of(context) as vault:
        tokens = vault.tokens()
        with tokens.lock(NAME, "refreshing"):
            assert tokens.read(NAME) in (OLD, NEW)
            tokens.prepare(NAME)
            _print(context, "asked")
            tokens.replace(NAME, NEW)
            _print(context, "used")
    return 0


def _print(context: Context, word: str) -> None:
    context.reporter.result(word)
    sys.stdout.flush()  # a kill comes before the end of the process


def _show(context: Context) -> int:
    with vault_of(context) as vault:
        found = vault.tokens().read(NAME)
        states = {"old": OLD, "new": NEW, "none": None}
        context.reporter.result(next(word for word, state in states.items() if state == found))
    return 0


STORE = HarnessCommand(("zz-store",), action=_store)
REFRESH = HarnessCommand(("zz-refresh",), action=_refresh)
SHOW = HarnessCommand(("zz-show",), action=_show)
