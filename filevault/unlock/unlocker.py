"""Where a passphrase or a key comes from.

An option beats a variable; two sources at the same level are an error, because guessing which
one is meant would sooner or later open the wrong thing. Then what systemd or the container
runtime provides, a key before a passphrase; then the terminal, three tries; else an error that
names the ways.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from filevault.backends.protocols import Secret
from filevault.errors import LockedError, NobodyToAskError, WrongPassphraseError
from filevault.system.printable import printable
from filevault.system.secret_buffer import overwrite
from filevault.unlock import secret_sources
from filevault.unlock.secret_sources import check_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.backends.protocols import IdentityText
    from filevault.config.settings import Settings
    from filevault.system.secret_buffer import SecretBytes
    from filevault.unlock.prompt import Prompter

_WAYS = {
    ("passphrase", "keyfile"): (
        "give --passphrase-file, --passphrase-fd or --key-file, set FILEVAULT_PASSPHRASE, "
        "FILEVAULT_KEY or their _FILE, _FD, _COMMAND forms, or run it on a terminal"
    ),
    ("passphrase",): (
        "give --passphrase-file or --passphrase-fd, set FILEVAULT_PASSPHRASE or its _FILE, _FD, "
        "_COMMAND forms, or run it on a terminal"
    ),
    ("keyfile",): "give --key-file, or set FILEVAULT_KEY or its _FILE, _FD, _COMMAND forms",
}
_TRIES = 3


class Unlocker:
    """The one source of what opens a vault; see `filevault.backends.SecretSource`.

    Args:
        settings: which sources are named.
        prompter: whom to ask.
        place: tells what the question and the hints name, once it is known.
        opens: the kinds of secret that are of any use: passphrase, or passphrase and keyfile.
        lock: what a secret is tried on, for messages.
        sessions: tells whether what opens the sessions is held, so that only the rest is locked.
        useful: tells which of `opens` can open the vault as it is; called before a question.
    """

    def __init__(
        self,
        settings: Settings,
        prompter: Prompter,
        place: Callable[[], str],
        opens: tuple[str, ...] = ("passphrase", "keyfile"),
        lock: str = "keyslot of this vault",
        sessions: Callable[[], bool] = lambda: False,
        useful: Callable[[], tuple[str, ...]] | None = None,
    ) -> None:
        self._opens = opens
        self._useful = useful
        self._lock = lock
        self._sessions = sessions
        self._settings = settings
        self._prompter = prompter
        self._place = place
        self._tries = 0

    def asked(self) -> bool:
        """Tell whether a person was asked."""
        return self._tries > 0

    def named(self) -> bool:
        """Tell whether a person or the system has named a source, not counting the terminal."""
        return secret_sources.explicit(
            self._settings, *self._opens
        ) is not None or secret_sources.is_provided(self._settings, *self._opens)

    def secret(self) -> Secret:
        """Return a passphrase or key from the first source that is there.

        Raises:
            UsageError: two sources of the same rank.
            NobodyToAskError: no source, and no terminal.
            LockedError: a source that cannot be read, or gives nothing usable; no key file is
                given, and nothing else opens the vault.
        """
        source = secret_sources.explicit(self._settings, *self._opens)
        if source is not None:
            return secret_sources.read(source, self._settings)
        # A key goes before a passphrase: it costs nothing to try.
        provided = secret_sources.provided(self._settings, *reversed(self._opens))
        if provided is not None:
            return provided
        useful = self._opens if self._useful is None else self._useful()
        if useful == ("keyfile",):
            raise LockedError(
                "the vault is opened by a key file, and none is given", hint=_WAYS[useful]
            )
        if not self._prompter.present:
            raise self._nobody(useful)
        self._tries += 1
        answer = self._prompter.hidden(f"Passphrase for {printable(self._place())}: ")
        if not answer:
            raise LockedError("no passphrase was given")
        return Secret("passphrase", check_text(answer, "the passphrase"), "terminal")

    def _nobody(self, useful: tuple[str, ...]) -> NobodyToAskError:
        what, more = "the vault is locked", ""
        if self._sessions():
            what = "sessions are unlocked, the long-term keys are locked"
            more = "filevault unlock --vault-key holds what opens them, too; or "
        return NobodyToAskError(
            f"{what}, there is no terminal to ask for the passphrase, and no other source is given",
            hint=more + _WAYS[useful],
        )

    def on_rejected(self, secret: Secret) -> None:
        """Allow three tries on a terminal; anywhere else the first is the last."""
        if secret.origin == "terminal" and self._tries < _TRIES:
            self._prompter.say("That passphrase opens nothing here. Try again.")
            return
        if secret.origin == "terminal":
            raise WrongPassphraseError(f"wrong passphrase, {_TRIES} times")
        what = "passphrase" if secret.kind == "passphrase" else "key"
        raise WrongPassphraseError(
            f"the {what} from {printable(secret.origin)} opens no {self._lock}",
            hint=f"check that it is the {what} for {printable(self._place())}",
        )


def new_passphrase(
    settings: Settings, prompter: Prompter, *, ordinary: bool, instead: str = "--generate"
) -> bytes:
    """Return a new passphrase: from its own variables, the ordinary source, or asked twice.

    `ordinary` lets `--passphrase-*` and `FILEVAULT_PASSPHRASE*` serve, as `init` wants; `instead`
    names the command's options with which none has to be given.
    """
    source = secret_sources.new_passphrase(settings)
    if source is None and ordinary:
        source = secret_sources.explicit(settings, "passphrase")
    if source is not None:
        return _kept(secret_sources.read(source, settings).content)
    provided = secret_sources.provided(settings, "passphrase") if ordinary else None
    if provided is not None:
        return _kept(provided.content)
    if not prompter.present:
        raise NobodyToAskError(
            "there is no terminal to ask for a new passphrase, and no source of one is given",
            hint="set FILEVAULT_NEW_PASSPHRASE or its _FILE, _FD, _COMMAND forms, or give "
            f"{'--passphrase-file, ' if ordinary else ''}{instead}",
        )
    for _ in range(_TRIES):
        first = prompter.hidden("New passphrase: ")
        if not first:
            raise LockedError("no passphrase was given")
        second = prompter.hidden("The same again: ")
        same = first == second
        overwrite(second)
        passphrase = _kept(first)
        if same:
            return check_text(passphrase, "the passphrase")
        prompter.say("The two are not the same. Try again.")
    raise LockedError("the two passphrases differed three times")


def _kept(secret: SecretBytes) -> bytes:
    """Return a copy for the rest of this run, and overwrite the original."""
    kept = bytes(secret)
    overwrite(secret)
    return kept


def has_new_passphrase(settings: Settings, *, ordinary: bool) -> bool:
    """Tell whether a new passphrase could be had without asking anybody."""
    return secret_sources.new_passphrase(settings) is not None or (
        ordinary and secret_sources.explicit(settings, "passphrase") is not None
    )


class LaterPrompter:
    """Whom to ask, found when something is to be asked; see `filevault.unlock.prompt.Prompter`."""

    def __init__(self, prompter: Callable[[], Prompter]) -> None:
        self._ask = prompter

    @property
    def present(self) -> bool:
        """Whether there is a person at all."""
        return self._ask().present

    def say(self, text: str) -> None:
        """Show one line."""
        self._ask().say(text)

    def line(self, question: str) -> str:
        """Ask with echo."""
        return self._ask().line(question)

    def hidden(self, question: str) -> SecretBytes:
        """Ask without echo."""
        return self._ask().hidden(question)


class Identities:
    """Where age identities come from; see `filevault.backends.IdentitySource`.

    Args:
        settings: which sources are named.
        passage: whether the store is passage's own, whose identities are read where nothing else
            is named.
        held: gives those that are unlocked for a time.

    `place` is what messages call those that are read: a path, or what gives them.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        passage: bool,
        held: Callable[[], bytes | None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._held = held
        self._default = settings.passage_identities if passage else settings.default_identities
        self.place = self._default

    def named(self) -> bool:
        """Tell whether a person or the system has named a source that is there."""
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
        """Return the paths that identities are read from, none if something else gives them."""
        named = self._explicit()
        if named:
            return [self._path(source) for source in named if source.kind == "file"]
        return [] if secret_sources.is_provided(self._settings, "identity") else [self._default]

    def _explicit(self) -> list[secret_sources.Source]:
        """Return the sources that are named: each `--identity`, else the one variable."""
        options = secret_sources.identity_files(self._settings)
        if options:
            return options
        source = secret_sources.explicit(self._settings, "identity")
        return [source] if source is not None else []

    def _path(self, source: secret_sources.Source) -> str:
        return self._settings.expand(source.content)

    def texts(self) -> list[IdentityText]:
        """Return the texts of the identities that are held, and from the first source there is.

        Raises LockedError if there is none, or it cannot be read.
        """
        from filevault.backends.protocols import IdentityText

        held = self._held()
        if held is None:
            return self._named()
        unlocked = [IdentityText(held, "the key cache", held=True)]
        try:
            return unlocked + self._named()
        except LockedError:
            return unlocked

    def _named(self) -> list[IdentityText]:
        from filevault.backends.protocols import IdentityText

        settings = self._settings
        named = self._explicit()
        if not named:
            found = secret_sources.provided(settings, "identity")
            if found is not None:
                self.place = found.origin
                return [IdentityText(found.value, found.origin)]
            named = [secret_sources.Source("identity", "file", self._default, self._default)]
            if not os.path.exists(self._default):
                raise LockedError(
                    f"there is no age identity at {printable(self._default)!r}",
                    hint="give one with --identity F, FILEVAULT_AGE_IDENTITY, its _FILE, _FD or "
                    "_COMMAND forms, or PASSAGE_IDENTITIES_FILE",
                )
        by_place = {
            self._path(source) if source.kind == "file" else source.origin: source
            for source in named
        }
        self.place = " or ".join(by_place)
        several = len(by_place) > 1
        texts = []
        for place, source in by_place.items():
            secret = secret_sources.read(source, settings)
            texts.append(IdentityText(secret.value, place if several else secret.origin))
        return texts
