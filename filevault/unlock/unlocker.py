"""Unlocker: read the passphrase or key of a vault; allow three tries at a typed passphrase.

An option has precedence over a variable; two sources of the same precedence are an error, because
a guess could open the wrong vault. Then come credentials of systemd or a container runtime, a key
before a passphrase, then the terminal; else an error lists the possible sources.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault import errors
from filevault.backends.values import Secret
from filevault.errors import LockedError
from filevault.system.printable import printable
from filevault.system.secret_buffer import overwrite
from filevault.unlock import secret_sources
from filevault.unlock.secret_sources import KeyOrigin, check_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from filevault.backends.definition import SecretRequest
    from filevault.config.settings import Settings
    from filevault.unlock.given_passphrases import GivenPassphrases
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
_THIS_RUN = "this run"  # the origin of a passphrase that another question asked for
TRIES = 3
"""How many times the user may type a passphrase."""


class Unlocker:
    """Source of the passphrase or key that opens a vault; a `SecretSource` of the backends.

    Args:
        settings: name the sources.
        prompter: returns what asks the user; called when a question is needed.
        request: which secrets can open the vault, and how messages name it.
        sessions: returns whether the session key is cached, so that only the rest is locked.
        given: the passphrases of this run, which are tried before a person is asked again.

    `key_origin` says where a later run can read the key that was given last, None if nowhere.
    """

    def __init__(
        self,
        settings: Settings,
        prompter: Callable[[], Prompter],
        request: SecretRequest,
        sessions: Callable[[], bool] = lambda: False,
        given: GivenPassphrases | None = None,
    ) -> None:
        self._settings = settings
        self._prompter = prompter
        self._request = request
        self._sessions = sessions
        self._given = given
        self._reused: list[bytearray] = []  # those of `given` that were tried
        self._tries = 0
        self.key_origin: KeyOrigin | None = None

    def _tell(self, text: str) -> None:
        self._prompter().say(f"filevault: {text}")

    def asked(self) -> bool:
        """Return whether the user was asked, now or earlier in this run."""
        return self._tries > 0 or bool(self._reused)

    def named(self) -> bool:
        """Return whether an option, a variable or the system names a source."""
        settings, kinds = self._settings, self._request.kinds
        named = secret_sources.named_source(settings, *kinds)
        return named is not None or secret_sources.is_provided(settings, *kinds)

    def secret(self) -> Secret:
        """Return a passphrase or key from the source with the highest precedence.

        Raises:
            UsageError: if two sources have the same precedence.
            NoTerminalError: if there is neither a source nor a terminal.
            LockedError: if the source cannot be read or its content is unusable, or only a key
                file opens the vault and none is given.
        """
        request, given = self._request, self._given
        made = self._untried(given.made) if given is not None else None
        if made is not None:
            return made
        source = secret_sources.named_source(self._settings, *request.kinds)
        if source is not None:
            self.key_origin = secret_sources.key_origin(source, self._settings)
            read = secret_sources.read_source if given is None else given.read
            return read(source, self._settings, self._tell)
        # A key before a passphrase, because trying it takes no time.
        provided = secret_sources.provided_secret(self._settings, *reversed(request.kinds))
        if provided is not None:
            if provided.kind == "keyfile":
                self.key_origin = KeyOrigin(provided.origin, "")
            return provided
        useful = request.kinds if request.useful is None else request.useful()
        if useful == ("keyfile",):
            raise LockedError(
                "the vault is opened by a key file, and none is given", hint=_WAYS[useful]
            )
        typed = self._untried(given.typed) if given is not None else None
        if typed is not None:
            return typed
        if not self._prompter().present:
            raise self._no_terminal(useful)
        self._tries += 1
        answer = self._prompter().hidden(f"Passphrase for {printable(request.subject())}: ")
        if not answer:
            raise LockedError("no passphrase was given")
        answer = check_text(answer, "the passphrase")
        if given is not None:
            self._reused.append(bytearray(answer))
            given.typed.append(self._reused[-1])
        return Secret("passphrase", answer, "terminal")

    def _untried(self, given: Sequence[bytearray]) -> Secret | None:
        """Return a passphrase of this run that was not tried here yet."""
        if "passphrase" not in self._request.kinds:
            return None
        for each in given:
            if not any(each is tried for tried in self._reused):
                self._reused.append(each)
                return Secret("passphrase", bytearray(each), _THIS_RUN)
        return None

    def _no_terminal(self, useful: tuple[str, ...]) -> errors.NoTerminalError:
        what = "the vault is locked"
        hint = f"{_WAYS[useful]}, or unlock the vault there first: filevault unlock"
        if self._sessions():
            what = "sessions are unlocked, the long-term keys are locked"
            more = "filevault unlock --vault-key also caches the key that opens them; or "
            hint = more + _WAYS[useful]
        return errors.NoTerminalError(
            f"{what}, there is no terminal to ask for the passphrase, and no other source is given",
            hint=hint,
        )

    def on_rejected(self, secret: Secret) -> None:
        """Allow three tries on a terminal, one for any other source; raise WrongPassphraseError."""
        if secret.origin == _THIS_RUN:
            return
        if secret.origin == "terminal" and self._given is not None:
            overwrite(self._given.typed.pop())
        if secret.origin == "terminal" and self._tries < TRIES:
            self._prompter().say("That passphrase opens nothing here. Try again.")
            return
        if secret.origin == "terminal":
            hint = None
            if "keyfile" in self._request.kinds:
                hint = "filevault slot list shows what else opens the vault"
            raise errors.WrongPassphraseError(f"wrong passphrase, {TRIES} times", hint=hint)
        what = "passphrase" if secret.kind == "passphrase" else "key"
        raise errors.WrongPassphraseError(
            f"the {what} from {printable(secret.origin)} opens no {self._request.target}",
            hint=f"check that it is the {what} for {printable(self._request.subject())}",
        )
