"""`filevault clear`: delete cached sessions and tokens, and end console logins."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from filevault.cli.open_vault import (
    choose_vault,
    open_vault_if_any,
    require_named_vault,
    sessions_to_delete,
)
from filevault.cli.profiles import StoredNames
from filevault.errors import ProfileNotFoundError
from filevault.system.printable import printable

if TYPE_CHECKING:
    import argparse

    from filevault.cli.context import Context
    from filevault.cli.parser import Parser
    from filevault.vault.choose import VaultChoice

DESCRIPTION = """Delete cached sessions, all of them or those of profiles.

Console logins of signin are ended at AWS too, where it allows that. Tokens of Identity Center are
deleted here; filevault sso logout ends the session at AWS. The long-term keys stay; the next exec
obtains a new session. A profile that has neither a section in the AWS config nor a
stored key nor a session is an error, status 3."""

# The folders of token records in the state directory.
_LOGINS = "login"
_SSO = "sso"


def configure(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument("profiles", nargs="*", metavar="PROFILE", help="only those of these")


def needs_stdout(_args: argparse.Namespace) -> bool:
    """Return False: the output is only a confirmation."""
    return False


def run(args: argparse.Namespace, context: Context) -> int:
    """Delete the sessions and print how many."""
    choice = choose_vault(context)
    names = list(dict.fromkeys(args.profiles))
    with sessions_to_delete(choice, context) as sessions:
        if sessions is None:
            require_named_vault(choice, context)
        for name in names:  # before anything is deleted
            if sessions is None or not sessions.has(name):
                _check_known(name, choice, context)
        count = 0
        if sessions is not None:
            count = sum(map(sessions.clear, names)) if names else sessions.clear()
    for each in names or [None]:
        count += _end_logins(each, choice, context)
        count += _forget_sso(each, choice, context)
    context.reporter.result(f"Cleared {count} session{'' if count == 1 else 's'}.")
    return 0


def _end_logins(profile: str | None, choice: VaultChoice, context: Context) -> int:
    """End the console logins of a profile, or all; return how many there were."""
    if not _has(_LOGINS, choice, context):
        return 0
    from filevault.cli.end_login import end_logins

    with open_vault_if_any(choice, context) as opened:
        return 0 if opened is None else end_logins(profile, opened, choice, context)


def _forget_sso(profile: str | None, choice: VaultChoice, context: Context) -> int:
    """Delete the tokens of a profile's Identity Center session, or all; return how many."""
    if not _has(_SSO, choice, context):
        return 0
    from filevault.cli.sso_sessions import SsoSessions

    with open_vault_if_any(choice, context) as opened:
        if opened is None:
            return 0
        if profile is None:
            return opened.tokens().clear_sso()
        name = SsoSessions(context, choice, opened).token_of(profile)
        return 0 if name is None else int(opened.tokens().discard(name))


def _has(folder: str, choice: VaultChoice, context: Context) -> bool:
    return os.path.isdir(f"{context.settings.state_home}/{choice.state_id}/{folder}")


def _check_known(name: str, choice: VaultChoice, context: Context) -> None:
    """Raise ProfileNotFoundError for a name without section, key and session: a typing error."""
    from filevault.cli.unknown import similar

    configured = context.aws_config.profile_names()
    if name in configured:
        return
    with open_vault_if_any(choice, context) as opened:
        if opened is not None and StoredNames(opened.vault).has(name):
            return
        stored = opened.vault.names() if opened is not None else []
    guess = similar(name, [*configured, *stored])
    shown = printable(name)
    raise ProfileNotFoundError(
        f"there is no profile {shown!r}: it has no section in the AWS config, no stored key and "
        "no session; nothing was cleared",
        hint=f"did you mean {printable(guess)}?"
        if guess is not None
        else "filevault list shows the profiles",
    )
