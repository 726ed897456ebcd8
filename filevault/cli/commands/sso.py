"""`filevault sso`: sign in to IAM Identity Center, show accounts and roles, write profiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.cli.obtain import source_dependencies
from filevault.cli.open_vault import existing_vault, open_vault
from filevault.cli.sso_sessions import SsoSessions, drop_sso_sessions
from filevault.cli.sso_sign_in import SsoSignIn
from filevault.errors import (
    AwsError,
    BusyError,
    DeclinedError,
    FilevaultError,
    NetworkError,
    NoTerminalError,
    PartlyDoneError,
    ProviderError,
    StorageError,
    UsageError,
)
from filevault.sessions.token_store import DELETE_TIMEOUT
from filevault.sources.sso_tokens import SsoTokens, portal_service, with_access
from filevault.system.printable import printable
from filevault.system.times import format_time

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from filevault.aws.sso_portal import SsoAccount
    from filevault.cli.context import Context
    from filevault.cli.open_vault import OpenVault
    from filevault.cli.parser import Parser
    from filevault.cli.sso_profiles import SsoAssignment
    from filevault.config.sso_session import SsoSession
    from filevault.sources.source import SourceDependencies
    from filevault.sources.sso_tokens import SsoAccess

DESCRIPTION = """Sign in to IAM Identity Center, and use what a user may do there.

login        sign in; without a display, or with --device-code, by a code on any device
logout       end the session at AWS; its tokens and sessions here are deleted
list         show the accounts and roles that the signed-in user may use
profiles     write a profile for each of them into the AWS config, after showing the change

SESSION is the name of an sso-session section or of a profile. Without it AWS_PROFILE decides, or
the only session that the AWS config has. Tokens are encrypted, and refreshed as long as AWS
allows it."""

_ACTIONS = ("login", "logout", "list", "profiles")
_WORKERS = 8  # connections for the roles of accounts
_OPTIONS = {
    "device_code": ("login", "list", "profiles"),
    "force": ("login",),
    "json": ("list",),
    "account": ("list", "profiles"),
    "role": ("list", "profiles"),
    "name": ("profiles",),
    "region": ("profiles",),
    "dry_run": ("profiles",),
    "yes": ("profiles",),
}


def configure(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument("action", choices=_ACTIONS, metavar="|".join(_ACTIONS))
    parser.add_argument("session", nargs="?", metavar="SESSION", help="a session or a profile")
    parser.add_argument(
        "--device-code",
        action="store_true",
        help="sign in with a code on another device (AWS_VAULT_DEVICE_CODE)",
    )
    parser.add_argument(
        "--force", action="store_true", help="login: sign in even if a sign-in is still good"
    )
    parser.add_argument("--json", action="store_true", help="list: print an array of objects")
    parser.add_argument(
        "--account", metavar="A", help="list, profiles: only this account, by id or name"
    )
    parser.add_argument("--role", metavar="R", help="list, profiles: only roles of this name")
    parser.add_argument(
        "--name",
        metavar="T",
        help="profiles: template of names (default {account_name}-{role_name})",
    )
    parser.add_argument("--region", metavar="R", help="profiles: the region that they get")
    parser.add_argument(
        "--dry-run", action="store_true", help="profiles: show the change and write nothing"
    )
    parser.add_argument("--yes", action="store_true", help="profiles: write without asking")


def needs_stdout(args: argparse.Namespace) -> bool:
    """Return whether more than a confirmation is printed."""
    return args.action in ("list", "profiles")


def run(args: argparse.Namespace, context: Context) -> int:
    """Do one of the actions."""
    _check_options(args)
    if args.action == "profiles":
        _check_profiles(args)
    choice = existing_vault(context)  # a sign-in needs a vault to be kept in
    with open_vault(choice, context) as opened:
        sessions = SsoSessions(context, choice, opened)
        session = sessions.find(args.session)
        command = _Sso(args, context, opened, session)
        return {
            "login": command.login,
            "logout": command.logout,
            "list": command.show,
            "profiles": command.profiles,
        }[args.action]()


def _check_options(args: argparse.Namespace) -> None:
    for option, actions in _OPTIONS.items():
        if getattr(args, option) and args.action not in actions:
            raise UsageError(
                f"--{option.replace('_', '-')} goes with sso {' and sso '.join(actions)}",
                hint="leave it out",
            )


def _check_profiles(args: argparse.Namespace) -> None:
    from filevault.cli.sso_profiles import TEMPLATE, check_template
    from filevault.partitions import check_region

    args.name = args.name or TEMPLATE
    check_template(args.name)
    if args.region is not None:
        check_region(args.region, "--region")


class _Sso:
    """The actions of the command for one session."""

    def __init__(
        self,
        args: argparse.Namespace,
        context: Context,
        opened: OpenVault,
        session: SsoSession,
    ) -> None:
        self._args = args
        self._context = context
        self._opened = opened
        self._session = session

    def login(self) -> int:
        """Sign in, unless a sign-in is still good or can be refreshed."""
        # This command is for nothing else, so no script waits for its result, and the code is
        # shown on stderr where there is no terminal.
        tokens = self._tokens(attended=True, only_from_terminal=False)
        access = tokens.sign_in() if self._args.force else tokens.access()
        self._context.reporter.result(
            f"Signed in to {self._session.shown}{_until(access, self._context)}."
        )
        return 0

    def logout(self) -> int:
        """End the session at AWS, and delete what is kept of it."""
        # A refresh is waited for as long as by the deletion: a person may be signing in elsewhere.
        brief = self._opened.tokens(DELETE_TIMEOUT)
        run = self._run(attended=False)._replace(tokens=lambda: brief)
        tokens = SsoTokens(self._session, run, "filevault sso logout")
        failure = self._end(tokens)
        dropped = self._drop_sessions()
        gone = tokens.forget()
        dropped += self._drop_sessions()  # what another process obtained meanwhile
        if not gone:
            self._context.reporter.result(f"There was no sign-in to {self._session.shown}.")
            return 0
        sessions = f"{dropped} session{'' if dropped == 1 else 's'}"
        if failure is not None:
            raise PartlyDoneError(
                f"the sign-in to {self._session.shown} and {sessions} are deleted here, but AWS "
                f"could not be told: {failure.message}",
                hint="the session at AWS ends by itself; an administrator can end it in the "
                "IAM Identity Center console",
            )
        self._context.reporter.result(f"Signed out of {self._session.shown}; {sessions} deleted.")
        return 0

    def _drop_sessions(self) -> int:
        return drop_sso_sessions(self._session, self._context, self._opened)

    def _end(self, tokens: SsoTokens) -> FilevaultError | None:
        """End the session at AWS; return why that failed, None if it has ended."""
        from filevault.aws import sso_portal

        try:
            access = tokens.current() or tokens.access()
            service = portal_service(self._session, access.portal_url, self._run(attended=False))
            sso_portal.logout(service, access.token, subject=self._session.shown)
        except (NetworkError, BusyError, StorageError) as error:
            return error  # what is kept here is deleted in any case
        except AwsError as error:
            return None if sso_portal.is_signed_out(error) else error
        except ProviderError:
            return None  # there is no sign-in
        return None

    def show(self) -> int:
        """Print the accounts and roles."""
        from filevault.cli.sso_profiles import profiles_of

        found = self._assignments()
        known = profiles_of(self._context.aws_config, self._session)
        if self._args.json:
            self._context.reporter.json(
                [
                    {
                        "account_id": each.account.id,
                        "account_name": each.account.name,
                        "email": each.account.email,
                        "role_name": each.role,
                        "profiles": known.get((each.account.id, each.role), []),
                    }
                    for each in found
                ]
            )
            return 0
        rows = [("Account", "Name", "Role", "Profile"), ("=======", "====", "====", "=======")]
        for each in found:
            names = known.get((each.account.id, each.role), [])
            rows.append(
                (
                    each.account.id,
                    printable(each.account.name or "-"),
                    printable(each.role),
                    ", ".join(map(printable, names)) or "-",
                )
            )
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        for row in rows:
            cells = [f"{cell:{width}}" for cell, width in zip(row, widths, strict=False)]
            self._context.reporter.result("  ".join([*cells, row[3]]).rstrip())
        return 0

    def profiles(self) -> int:
        """Write profiles for the accounts and roles that have none."""
        import difflib

        from filevault.cli.sso_profiles import new_profiles
        from filevault.config.aws_config_edit import append_profiles, with_profiles
        from filevault.system.config_files import read_config
        from filevault.unlock.prompt import confirm

        context, args = self._context, self._args
        config, path = context.aws_config, context.settings.aws_config_path
        if not args.dry_run and not args.yes and not context.prompter.present:
            raise NoTerminalError(
                "cannot ask whether to write the profiles: there is no terminal",
                hint="--yes writes them, --dry-run only shows them",
            )
        found = new_profiles(
            self._assignments(), self._session, config, template=args.name, region=args.region
        )
        if not found.profiles:
            context.reporter.result(
                f"Nothing to write: {found.present} accounts and roles have profiles."
            )
            return 0
        old = read_config(path, trusted=context.settings.trusted_configs) or b""
        new = with_profiles(old, path, found.profiles)
        shown = printable(path)
        before, after = (
            [printable(line) for line in data.decode("utf-8").splitlines()] for data in (old, new)
        )
        for line in difflib.unified_diff(before, after, shown, shown, lineterm=""):
            context.reporter.result(line)
        count = f"{len(found.profiles)} profile{'' if len(found.profiles) == 1 else 's'}"
        if args.dry_run:
            return 0
        context.reporter.flush()
        if not args.yes and not confirm(context.prompter, f"Write {count} to {shown}?"):
            raise DeclinedError("nothing was written")
        append_profiles(path, found.profiles, context.edit_rules)
        context.reporter.say(f"wrote {count} to {shown}")
        return 0

    def _assignments(self) -> Sequence[SsoAssignment]:
        """Return the accounts and roles, sorted, as far as the options choose them."""
        from filevault.aws import sso_portal
        from filevault.cli.sso_profiles import SsoAssignment

        run, subject = self._run(), self._session.shown
        tokens = self._tokens()

        def ask(access: SsoAccess) -> list[SsoAssignment]:
            portal = portal_service(self._session, access.portal_url, run)
            accounts = [
                account
                for account in sso_portal.list_accounts(portal, access.token, subject=subject)
                if self._args.account in (None, account.id, account.name)
            ]
            self._context.reporter.step(f"asking for the roles of {len(accounts)} accounts")

            def roles(account: SsoAccount) -> list[str]:
                return sso_portal.list_roles(portal, access.token, account.id, subject=subject)

            found = _in_parallel(roles, accounts)
            return [
                SsoAssignment(account, role)
                for account, names in zip(accounts, found, strict=True)
                for role in names
                if self._args.role in (None, role)
            ]

        found = with_access(tokens, ask)
        if not found and (self._args.account or self._args.role):
            self._context.reporter.warn("no account and role that the user may use is of that name")
        return sorted(found, key=lambda each: (each.account.name, each.account.id, each.role))

    def _run(
        self, *, attended: bool | None = None, only_from_terminal: bool = True
    ) -> SourceDependencies:
        run = source_dependencies(
            self._context, lambda: self._opened.vault, self._opened, self._opened.choice
        )
        sign_in = SsoSignIn(
            self._context,
            device_code=self._args.device_code,
            only_from_terminal=only_from_terminal,
        )
        run = run._replace(sso_sign_in=sign_in)
        return run if attended is None else run._replace(attended=lambda: attended)

    def _tokens(
        self, *, attended: bool | None = None, only_from_terminal: bool = True
    ) -> SsoTokens:
        run = self._run(attended=attended, only_from_terminal=only_from_terminal)
        return SsoTokens(self._session, run, f"filevault sso {self._args.action}")


def _until(access: SsoAccess, context: Context) -> str:
    if access.renewable:
        return "; the token is refreshed as long as AWS allows it"
    left = access.expires - context.runtime.clock()
    return f" until {format_time(access.expires)}" if left > 0 else ""


def _in_parallel(
    ask: Callable[[SsoAccount], list[str]], accounts: list[SsoAccount]
) -> list[list[str]]:
    """Return what `ask` returns for each account, in their order; several are asked at a time.

    Raises the first error of any.
    """
    import threading

    left = list(enumerate(accounts))[::-1]
    found: dict[int, list[str]] = {}
    failed: list[BaseException] = []

    def work() -> None:
        while left and not failed:
            try:
                number, account = left.pop()
                found[number] = ask(account)
            except IndexError:
                return
            except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
                failed.append(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(_WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return [found[number] for number in range(len(accounts))]
