"""NamedIdentities: read age identities from options, variables, the system or a default file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from filevault.errors import LockedError
from filevault.system.printable import printable
from filevault.unlock import secret_sources

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.backends.values import IdentityText
    from filevault.config.settings import Settings


class NamedIdentities:
    """Source of age identities: named by options and variables, provided, or in the default file.

    Args:
        settings: name the sources.
        passage: whether the store is passage's own, whose identities are then the default.
        cached: returns the identities in the key cache, None if there are none.
        tell: shows a person that a command is waited for, if that takes long.

    `origin` names the source in messages: a path, or the name of a provider. The class is a
    `NamedIdentitySource` of the backends.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        passage: bool,
        cached: Callable[[], bytes | None] = lambda: None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self._settings = settings
        self._cached = cached
        self._tell = tell
        self._default = settings.passage_identities if passage else settings.default_identities
        self.origin = self._default

    def named(self) -> bool:
        """Return whether an option, a variable or the system names a source that exists."""
        settings = self._settings
        return (
            bool(self._explicit())
            or secret_sources.is_provided(settings, "identity")
            or (
                settings.get("PASSAGE_IDENTITIES_FILE") is not None
                and os.path.exists(self._default)
            )
        )

    def files(self) -> list[str]:
        """Return the paths that identities are read from, none if they come from elsewhere."""
        named = self._explicit()
        if named:
            return [self._path(source) for source in named if source.transport == "file"]
        return [] if secret_sources.is_provided(self._settings, "identity") else [self._default]

    def _explicit(self) -> list[secret_sources.NamedSource]:
        """Return the named sources: each `--identity`, else the one variable."""
        options = secret_sources.identity_files(self._settings)
        if options:
            return options
        source = secret_sources.named_source(self._settings, "identity")
        return [source] if source is not None else []

    def _path(self, source: secret_sources.NamedSource) -> str:
        return self._settings.expand(source.content)

    def texts(self) -> list[IdentityText]:
        """Return the texts of the cached identities and of the source with highest precedence.

        Raises LockedError if there is no source, or it cannot be read.
        """
        from filevault.backends.values import IdentityText

        cached = self._cached()
        if cached is None:
            return self._named()
        unlocked = [IdentityText(cached, "the key cache", cached=True)]
        try:
            return unlocked + self._named()
        except LockedError:
            return unlocked

    def _named(self) -> list[IdentityText]:
        from filevault.backends.values import IdentityText

        settings = self._settings
        named = self._explicit()
        if not named:
            found = secret_sources.provided_secret(settings, "identity")
            if found is not None:
                self.origin = found.origin
                return [IdentityText(found.value, found.origin)]
            named = [secret_sources.NamedSource("identity", "file", self._default, self._default)]
            if not os.path.exists(self._default):
                raise LockedError(
                    f"there is no age identity at {printable(self._default)!r}",
                    hint="give one with --identity F, FILEVAULT_AGE_IDENTITY, its _FILE, _FD or "
                    "_COMMAND forms, or PASSAGE_IDENTITIES_FILE",
                )
        by_origin = {
            self._path(source) if source.transport == "file" else source.origin: source
            for source in named
        }
        self.origin = " or ".join(by_origin)
        several = len(by_origin) > 1
        texts = []
        for path, source in by_origin.items():
            secret = secret_sources.read_source(source, settings, self._tell)
            texts.append(IdentityText(secret.value, path if several else secret.origin))
        return texts
