"""`filevault signin`: sign in to the AWS console for a profile, and keep the session encrypted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault import errors
from filevault.cli.console_login import LoginTarget, login_target, sign_in
from filevault.cli.open_vault import existing_vault, open_vault
from filevault.cli.questions import confirm_or_decline, require_terminal
from filevault.config.overrides import read_overrides
from filevault.sources.login_record import LoginRecord, record_name, reference_of
from filevault.system.printable import printable

if TYPE_CHECKING:
    import argparse

    from filevault.cli.context import Context
    from filevault.cli.open_vault import OpenVault
    from filevault.cli.parser import Parser
    from filevault.sessions.token_store import TokenStore
    from filevault.sources.token_records import TokenName

DESCRIPTION = """Sign in to the AWS console for a profile, as aws login does.

AWS gives credentials of 15 minutes and a refresh token, for at most 12 hours. All of it is kept in
one encrypted record; exec and export refresh the credentials. The user that has signed in is
written into the AWS config as login_session. Without a browser on this machine, a link is printed
and the code that AWS shows is pasted here."""

_KEY = "login_session"


def configure(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument("profile", metavar="PROFILE", help="need not be in the AWS config yet")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--remote",
        action="store_true",
        help="sign in with a browser elsewhere, and paste the code that it shows",
    )
    how.add_argument(
        "--adopt",
        action="store_true",
        help="take over the session that aws login has left in ~/.aws/login/cache, and delete "
        "the file",
    )
    parser.add_argument("--region", metavar="R", help="where to sign in (AWS_REGION)")


def needs_stdout(_args: argparse.Namespace) -> bool:
    """Return False: the output is only a confirmation."""
    return False


def run(args: argparse.Namespace, context: Context) -> int:
    """Check everything that can fail, then let the person sign in, then store."""
    from filevault.partitions import FALLBACK_REGION
    from filevault.system.config_files import check_writable

    settings = context.settings
    if not args.profile:
        raise errors.UsageError(
            "the profile is empty", hint="is a variable of the script unset? name a profile"
        )
    overrides = read_overrides(settings, args.region)
    with open_vault(existing_vault(context), context) as opened:
        target = login_target(args.profile, context, opened.vault, overrides)
        check_writable(settings.aws_config_path, settings.home_if_known)
        tokens = opened.tokens()
        name = record_name(target.login_session or "?")
        tokens.prepare(name)
        if args.adopt:
            from filevault.cli.adopt_login import adopt

            record = adopt(target, tokens, context, lambda user: _drop_sessions(user, opened))
        else:
            region = target.region or _last_region(tokens, name) or FALLBACK_REGION
            if target.region is None:
                context.reporter.say(f"no region is set: signing in in {region}")
            record = sign_in(target, context, region=region, remote=args.remote)
            _confirm_user(target, record, context)
            store(record, tokens, opened)
        opened.remember_slot()
    arn = record.credentials.arn or ""
    _write_config(target, arn, args.region, context)
    context.reporter.result(f"Signed in for profile {printable(args.profile)} as {printable(arn)}.")
    return 0


def store(record: LoginRecord, tokens: TokenStore, opened: OpenVault) -> None:
    """Store a new login, after the sessions that were made from an earlier one are deleted."""
    arn = record.credentials.arn or ""
    name = record_name(arn)
    with tokens.lock(name, "using this login session"):
        _drop_sessions(arn, opened)
        tokens.replace(name, record.record())


def _drop_sessions(user: str, opened: OpenVault) -> None:
    """Delete the cached sessions that the login of a user gave."""
    sessions = opened.sessions()
    if sessions is not None:
        sessions.drop_source(reference_of(user))


def _last_region(tokens: TokenStore, name: TokenName) -> str | None:
    """Return the region of the sign-in before, None if there was none."""
    found = tokens.read(name)
    return None if found is None else found.values.get("signInRegion")


def _confirm_user(target: LoginTarget, record: LoginRecord, context: Context) -> None:
    """Ask before another user than before gets the profile. Raises DeclinedError."""
    arn = record.credentials.arn or ""
    if target.login_session in (None, arn):
        return
    before = printable(target.login_session, 200)
    shown = printable(arn, 200)
    require_terminal(
        context.prompter,
        f"{target.subject} is of {before}, and {shown} has signed in; nothing was kept",
        "sign in as that user, or for another profile",
    )
    confirm_or_decline(
        context.prompter,
        f"{target.subject} is of {before}. Use it for {shown} from now on?",
        outcome="nothing was kept of this sign-in",
    )


def _write_config(target: LoginTarget, arn: str, region: str | None, context: Context) -> None:
    """Write the user into the AWS config if it is not there."""
    from filevault.config.aws_config_edit import append_profile, profile_section, set_profile_value

    if target.login_session == arn:
        return
    path = context.settings.aws_config_path
    values = {_KEY: arn}
    if region and not target.in_config:
        values["region"] = region
    try:
        if target.in_config:
            set_profile_value(path, target.profile, _KEY, arn, context.edit_rules)
        else:
            append_profile(path, target.profile, values, context.edit_rules)
    except errors.FilevaultError as error:
        raise error.add_context(
            "the login session is kept",
            hint=f"add to {printable(path)}: "
            + profile_section(target.profile, values).strip().replace("\n", "  "),
        ) from error
