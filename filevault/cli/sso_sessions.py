"""Find the Identity Center session that a word on the command line means."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from filevault.cli.profiles import Profiles
from filevault.config.overrides import read_overrides
from filevault.config.sso_session import SsoSession, sso_session_named, sso_session_of
from filevault.errors import ConfigError, FilevaultError, UsageError
from filevault.sources.sso_tokens import token_name
from filevault.system.printable import printable

if TYPE_CHECKING:
    from filevault.cli.context import Context
    from filevault.cli.open_vault import OpenVault
    from filevault.sources.token_records import TokenName
    from filevault.vault.choose import VaultChoice

_SHOWN = 8
_URLS = ("https://", "http://")
_MISSING = (
    "add a section [sso-session NAME] with sso_start_url and sso_region, as your administrator or "
    "the access portal says"
)


def drop_sso_sessions(session: SsoSession, context: Context, opened: OpenVault) -> int:
    """Delete the cached sessions that the sign-in to a session gave, of every profile.

    Every section with that start URL shares the sign-in, and so do profiles with the URL in their
    own section. A section that the AWS config has no more may have had it. Returns the number of
    files deleted; raises ConfigError, StorageError.
    """
    cache = opened.sessions()
    if cache is None:
        return 0
    config = context.aws_config
    others = set()
    for name in config.sso_session_names():
        section = config.sso_session(name)
        url = None if section is None else section.values.get("sso_start_url")
        if url != session.start_url and name != session.name:
            others.add(name)

    def shares(reference: str) -> bool:
        kind, _, of = reference.partition(":")
        if kind != "sso" or of in others:
            return False
        return of == session.start_url or not of.startswith(_URLS)

    return cache.drop_sources(shares)


class SsoSessions:
    """The Identity Center sessions of the AWS config.

    Args:
        context: the run's dependencies.
        choice: the vault that was looked for.
        opened: the same, open; None if it does not exist.
    """

    def __init__(self, context: Context, choice: VaultChoice, opened: OpenVault | None) -> None:
        self._context = context
        self._overrides = read_overrides(context.settings, None)
        vault = None if opened is None else opened.vault
        self._profiles = Profiles(context, choice, vault, self._overrides)

    def find(self, word: str | None) -> SsoSession:
        """Return the session of that name, or of the profile of that name.

        Without a word it is that of AWS_PROFILE, else the only one that the AWS config has.
        Raises ConfigError, UsageError.
        """
        config = self._context.aws_config
        if word == "":
            raise UsageError(
                "the name of the session is empty",
                hint="is a variable of the script unset? name a session or a profile",
            )
        if word is not None:
            if config.sso_session(word) is not None:
                return self._named(word)
            if config.profile(word) is not None:
                return self._of_profile(word)
            raise self._unknown(word)
        profile = self._context.settings.get("AWS_PROFILE")
        if profile is not None:
            return self._of_profile(profile)
        names = config.sso_session_names()
        if len(names) == 1:
            return self._named(names[0])
        if names:
            raise UsageError(
                "which SSO session is meant? there are "
                + ", ".join(map(printable, names[:_SHOWN]))
                + (" and others" if len(names) > _SHOWN else ""),
                hint="name one, or set AWS_PROFILE to a profile of it",
            )
        return self._only_inline()

    def token_of(self, name: str) -> TokenName | None:
        """Return the name of the token record of a profile, None for one without a sign-in."""
        try:
            profile = self._profiles.resolve(name)
            return token_name(sso_session_of(profile)) if profile.source == "sso" else None
        except FilevaultError:
            return None

    def _named(self, name: str) -> SsoSession:
        """Return the session of a section, with the settings of the first profile that has it."""
        config = self._context.aws_config
        for each in config.profile_names():
            section = config.profile(each)
            if section is not None and section.values.get("sso_session") == name:
                # A profile that is wrong otherwise does not keep its session from being used.
                with contextlib.suppress(FilevaultError):
                    profile = self._profiles.resolve(each)
                    if profile.source == "sso" and profile.sso_session == name:
                        return sso_session_of(profile)
        section = config.sso_session(name)
        values = {} if section is None else dict(section.values)
        return sso_session_named(name, values, self._overrides)

    def _of_profile(self, name: str) -> SsoSession:
        base = self._profiles.resolve(name).chain[0]
        if base.source != "sso":
            raise ConfigError(
                f"profile {printable(name)!r} has no sign-in to Identity Center",
                hint="it needs sso_session, or sso_start_url and sso_region",
            )
        return sso_session_of(base)

    def _only_inline(self) -> SsoSession:
        """Return the only session that profiles have in their own sections."""
        config = self._context.aws_config
        found: dict[tuple[str, str], str] = {}
        for each in config.profile_names():
            section = config.profile(each)
            url = None if section is None else section.values.get("sso_start_url")
            if section is not None and url:
                found.setdefault((url, section.values.get("sso_region", "")), each)
        if len(found) == 1:
            return self._of_profile(next(iter(found.values())))
        if found:
            raise UsageError(
                "which SSO session is meant? profiles have several start URLs",
                hint="name a profile",
            )
        raise ConfigError(
            f"there is no SSO session in {printable(config.path)!r}",
            hint=_MISSING,
        )

    def _unknown(self, word: str) -> ConfigError:
        from filevault.cli.unknown import similar

        config = self._context.aws_config
        sessions = config.sso_session_names()
        guess = similar(word, [*sessions, *config.profile_names()])
        if guess is not None:
            hint = f"did you mean {printable(guess)}?"
        elif sessions:
            hint = f"its SSO sessions are {', '.join(map(printable, sessions[:_SHOWN]))}"
        else:
            hint = _MISSING
        return ConfigError(
            f"there is neither a section [sso-session {printable(word)}] nor a profile "
            f"{printable(word)!r} in {printable(config.path)!r}",
            hint=hint,
        )
