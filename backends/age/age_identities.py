"""The user's age identities: loaded once, and unlocked with passphrases only when needed.

Ready keys are tried first, then plugins, and then those that need a passphrase: ssh keys that the
file names, and protected identity files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from filevault.backends import kdf
from filevault.backends.age import identity_text, plugins
from filevault.backends.age.identity_text import LockedSshKey
from filevault.backends.age.library import NO_MATCH, library, said
from filevault.errors import (
    DamagedError,
    FilevaultError,
    LockedError,
    NotARecipientError,
    WrongPassphraseError,
)
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from filevault.backends.age.age_file import AgeFile
    from filevault.backends.age.identity_text import (
        AgeKey,
        Locked,
        ParsedIdentities,
        PluginIdentity,
    )
    from filevault.backends.age.plugins import Plugins
    from filevault.backends.protocols import IdentitySource, SecretSource

# age reads it as a comment; after it comes the digest of a protected file whose identities are all
# listed.
_OPENED = b"# of "
_PASSPHRASE = "passphrase"  # noqa: S105 - a type of secret
_POST_QUANTUM = "mlkem768x25519"
# The library raises a plugin's errors in the same class; these texts, about header and content,
# are its own.
_DAMAGE = (
    "Header",
    "Last STREAM chunk",
    "age file is truncated",
    "decryption error",
    "failed to fill whole buffer",
    "last chunk",
)


class AgeIdentities:
    """All identities of one source.

    Args:
        source: read once.
        passphrase: the source of passphrases, for protected files and ssh keys.
        plugins: runs plugins.
        available: returns the KiB of memory that this process may count on.
    """

    __slots__ = (
        "_available",
        "_keys",
        "_loaded",
        "_locked",
        "_opened",
        "_origins",
        "_passphrase",
        "_plugin_identities",
        "_plugins",
        "_problems",
        "_source",
    )

    def __init__(
        self,
        source: IdentitySource,
        passphrase: SecretSource,
        plugins: Plugins,
        available: Callable[[], int] = kdf.available_memory,
    ) -> None:
        self._source = source
        self._passphrase = passphrase
        self._plugins = plugins
        self._available = available
        self._loaded = False
        self._keys: list[AgeKey] = []
        self._plugin_identities: list[PluginIdentity] = []
        self._locked: list[Locked] = []
        self._opened: set[str] = set()
        self._problems: list[FilevaultError] = []
        self._origins: list[str] = []

    def load(self) -> None:
        """Read the identities, once, without asking for a passphrase.

        Raises LockedError if there is none, ProgramError if pyrage is not installed.
        """
        if self._loaded:
            return
        for text in self._source.texts():
            self._origins.append(text.origin)
            if text.cached:
                notes = [line for line in text.data.split(b"\n") if line.startswith(_OPENED)]
                self._opened |= {note[len(_OPENED) :].decode("ascii", "replace") for note in notes}
            self._add(identity_text.parse(text, self._available))
        # The identities of those files are included already: do not ask for their passphrases.
        self._locked = [item for item in self._locked if _digest(item) not in self._opened]
        self._loaded = True

    def unlock(self) -> None:
        """Make at least one identity ready for use, asking for a passphrase if necessary.

        Raises LockedError if there is none; also raises what the source of passphrases raises.
        """
        self.load()
        if not self._keys and not self._plugin_identities and self._locked:
            self._open(list(self._locked))
        if not self._keys and not self._plugin_identities:
            raise self._hopeless("there is no usable age identity")

    def unlock_files(self) -> None:
        """Decrypt every protected identity file, so that all recipients are known."""
        self.load()
        while files := [item for item in self._locked if not _shows_public(item)]:
            self._open(files)

    def lines(self) -> bytes | None:
        """Return the ready identities in lines, as in a file; None if there is none.

        ssh keys and plugins' identities are left out. The digests of protected files whose
        identities are all included follow as comments.
        """
        native = library().x25519.Identity
        found = [key.identity for key in self._keys if isinstance(key.identity, native)]
        if not found:
            return None
        notes = b"".join(_OPENED + digest.encode() + b"\n" for digest in sorted(self._opened))
        return "".join(f"{identity}\n" for identity in found).encode() + notes

    @property
    def recipients(self) -> frozenset[str]:
        """The recipients of the identities, as far as they are known."""
        shown = (item.public for item in self._locked if isinstance(item, LockedSshKey))
        return frozenset(key.recipient for key in self._keys) | frozenset(
            public.line for public in shown if public is not None
        )

    @property
    def hides_recipients(self) -> bool:
        """Whether protected files may have further identities."""
        return any(not _shows_public(item) for item in self._locked)

    @property
    def plugin_names(self) -> tuple[str, ...]:
        """The plugins of which there are identities; their recipients are unknown."""
        return tuple(sorted({key.plugin for key in self._plugin_identities}))

    def decrypt(self, file: AgeFile, what: str) -> bytes:
        """Return a file's plaintext.

        Raises:
            LockedError: if no identity can decrypt it.
            DamagedError: if one can, and header or content was changed.

        Also raises what the source of passphrases raises.
        """
        self.load()
        keys: Sequence[AgeKey] = list(self._keys)
        plugin_identities: Sequence[PluginIdentity] = list(self._plugin_identities)
        refusals: list[FilevaultError] = []
        while True:
            plaintext = _decrypt(file, [key.identity for key in keys], what)
            if plaintext is None:
                plaintext = self._run_plugins(plugin_identities, file, what, refusals)
            if plaintext is not None:
                return plaintext
            fitting = [item for item in self._locked if item.may_open(file.stanzas)]
            if not fitting:
                raise self._no_match(file, what, refusals)
            known, known_plugins = len(self._keys), len(self._plugin_identities)
            self._open(fitting)
            keys, plugin_identities = self._keys[known:], self._plugin_identities[known_plugins:]

    def _add(self, opened: ParsedIdentities) -> None:
        self._keys += opened.keys
        self._plugin_identities += opened.plugins
        self._locked += opened.locked
        self._problems += opened.problems

    def _note(self, item: Locked, found: ParsedIdentities) -> None:
        """Remember the digest of a file if `lines` includes all of its identities."""
        digest = _digest(item)
        if digest is not None and not (found.plugins or found.locked or found.problems):
            self._opened.add(digest)

    def _open(self, items: Sequence[Locked]) -> None:
        """Ask until a passphrase unlocks one of these, or the source gives up.

        One that no passphrase can unlock is noted as a problem and left out. Ends, too, when none
        is left.
        """
        left = list(items)
        while left:
            secret = self._passphrase.secret()
            if secret.kind != _PASSPHRASE:
                raise LockedError(
                    f"{_listed(item.origin for item in left)} is opened with a passphrase, and "
                    f"{printable(secret.origin)} gives a key",
                )
            opened = False
            for item in list(left):
                try:
                    found = item.open(secret.value)
                except FilevaultError as error:
                    self._problems.append(error)
                    left.remove(item)
                    self._locked.remove(item)
                    continue
                if found is not None:
                    self._locked.remove(item)
                    self._add(found)
                    self._note(item, found)
                    opened = True
            if opened:
                return
            if left:
                self._reject(secret, left)

    def _reject(self, secret: Any, items: Sequence[Locked]) -> None:  # noqa: ANN401
        try:
            self._passphrase.on_rejected(secret)
        except WrongPassphraseError as error:
            raise WrongPassphraseError(
                f"{error.message} (asked for {_listed(item.origin for item in items)})",
                hint=error.hint,
            ) from error

    def _run_plugins(
        self,
        keys: Sequence[PluginIdentity],
        file: AgeFile,
        what: str,
        refusals: list[FilevaultError],
    ) -> bytes | None:
        """Try plugins one by one, so that one failure does not affect the others."""
        age = library()
        for key in keys:
            problem = self._plugins.missing(key.plugin)
            if problem is not None:
                refusals.append(problem)
                continue
            identity, dialogue = self._plugins.identity(key.identity)
            try:
                return bytes(age.decrypt(file.data, [identity]))
            except age.DecryptError as error:
                reason = said(error)
                if reason.startswith(_DAMAGE):
                    raise _damaged(what, reason) from error
                refusal = plugins.refusal(key.plugin, dialogue, reason, key.origin)
                if reason != NO_MATCH or dialogue.declined:
                    refusals.append(refusal)
        return None

    def _no_match(
        self, file: AgeFile, what: str, refusals: Sequence[FilevaultError]
    ) -> LockedError:
        """Return the error for a file that no identity can decrypt."""
        if any(stanza.type == _POST_QUANTUM for stanza in file.stanzas) and not refusals:
            return LockedError(
                f"{what} is encrypted to post-quantum recipients, which pyrage, the age library "
                f"that filevault uses, cannot open; tried were {_listed(self._origins)}",
                hint="encrypt it to a recipient that begins with age1 and is of age 1.2 or before",
            )
        return self._hopeless(f"no identity here opens {what}", refusals)

    def _hopeless(self, message: str, refusals: Sequence[FilevaultError] = ()) -> LockedError:
        problems = [*refusals, *self._problems]
        tried = f"; tried were those from {_listed(self._origins)}" if self._origins else ""
        more = f"; besides, {problems[0].message}" if problems else ""
        hint = (
            problems[0].hint
            if problems
            else "it may be encrypted to other members of a team only: one of them must run "
            "filevault recipients add with your recipient"
        )
        error_type = LockedError if problems else NotARecipientError
        return error_type(f"{message}{tried}{more}", hint=hint)


def _digest(item: Locked) -> str | None:
    return None if isinstance(item, LockedSshKey) else item.digest


def _shows_public(item: Locked) -> bool:
    return isinstance(item, LockedSshKey) and item.public is not None


def _listed(origins: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(printable(origin, 200) for origin in origins))


def _damaged(what: str, reason: str) -> DamagedError:
    reason = reason[:1].lower() + reason[1:]
    return DamagedError(
        f"{what} is damaged: {reason}",
        hint="restore the file from a copy or from the history of the repository",
    )


def _decrypt(file: AgeFile, keys: Sequence[Any], what: str) -> bytes | None:
    """Return the plaintext, None if no key is one of the file's; raises DamagedError."""
    if not keys:
        return None
    age = library()
    try:
        return bytes(age.decrypt(file.data, list(keys)))
    except age.DecryptError as error:
        reason = said(error)
        if reason == NO_MATCH:
            return None
        raise _damaged(what, reason) from error
