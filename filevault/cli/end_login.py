"""End console logins: at AWS where it allows that, and here by deleting the record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.cli.obtain import source_dependencies
from filevault.config.overrides import read_overrides
from filevault.config.profile import resolve
from filevault.errors import BusyError, ConfigError, FilevaultError, InterruptedByUserError
from filevault.sessions.token_store import DELETE_TIMEOUT
from filevault.sources.login_record import record_name
from filevault.sources.login_session import LoginSession
from filevault.sources.token_records import LOGIN
from filevault.system.printable import printable

if TYPE_CHECKING:
    from filevault.cli.context import Context
    from filevault.cli.open_vault import OpenVault
    from filevault.vault.choose import VaultChoice

_REFERENCE = f"{LOGIN}:"


def end_logins(
    profile: str | None, opened: OpenVault, choice: VaultChoice, context: Context
) -> int:
    """End the login of a profile, or all; return how many records were deleted.

    The record is deleted even if AWS cannot be asked or refuses; then a warning says what that
    means. Raises StorageError.
    """
    if opened.vault.state is None:
        return 0
    timeout = DELETE_TIMEOUT
    tokens = opened.tokens()
    kept = [each.source.removeprefix(_REFERENCE) for each in tokens.listing() if each.kind == LOGIN]
    named = None if profile is None else _source(profile, context)
    ended = 0
    for user in kept:
        if profile is not None and (named is None or named.login_session != user):
            continue
        source = named or _configured(user, context)
        brief = opened.tokens(timeout)
        dependencies = source_dependencies(context, lambda: opened.vault, opened, choice)
        try:
            source.provider(dependencies._replace(tokens=lambda: brief)).end()  # noqa: B023
        except InterruptedByUserError:
            raise
        except FilevaultError as error:
            if isinstance(error, BusyError):
                timeout = 0.0  # the bound is for all together
            context.reporter.warn(
                f"AWS was not made to end the login session of {printable(user)}: "
                f"{error.message}; its refresh token is deleted here, and credentials that were "
                "issued live for 15 minutes at most"
            )
        ended += tokens.discard(record_name(user), timeout)
    return ended


def _source(profile: str, context: Context) -> LoginSession | None:
    """Return the login session of a profile, None if it has none."""
    overrides = read_overrides(context.settings, None)
    try:
        found = resolve(context.aws_config, profile, overrides=overrides, has_item=lambda _: False)
        return LoginSession.of(found) if found.login_session else None
    except ConfigError:
        return None


def _configured(user: str, context: Context) -> LoginSession:
    """Return the login session of the first profile that has this user."""
    for name in context.aws_config.profile_names():
        section = context.aws_config.profile(name)
        if section is not None and section.values.get("login_session") == user:
            found = _source(name, context)
            if found is not None:
                return found
    given = read_overrides(context.settings, None)
    url = given.endpoint_urls.get("signin") or given.endpoint_urls.get("")
    return LoginSession(user, user, None if given.ignore_configured_endpoints else url)
