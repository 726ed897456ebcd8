"""Make a `pass` or `age` vault, or adopt the store that is there."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from filevault.cli.new_secret import (
    check_strength,
    generate_passphrase,
    lies_in,
    show_generated,
)
from filevault.cli.new_vault import (
    NewVault,
    NewVaultOptions,
    exists_already,
    move_memory_aside,
    refuse_lost,
)
from filevault.cli.open_vault import choose_vault, open_recipients_backend, open_vault
from filevault.cli.repositories import trust_present_repositories
from filevault.errors import NotCommittedError, UsageError
from filevault.git import subjects
from filevault.git.commit import commit_files
from filevault.system.config_files import check_writable
from filevault.system.files import Folder
from filevault.system.locks import writers_lock
from filevault.system.printable import printable, shell_word
from filevault.system.record import Record
from filevault.unlock.identities import NamedIdentities
from filevault.unlock.new_passphrase import new_passphrase
from filevault.vault.choose import has_recipients
from filevault.vault.recipients.change import check_recipient_sets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from filevault.backends.protocols import RecipientsBackend
    from filevault.cli.context import Context
    from filevault.cli.open_vault import OpenVault
    from filevault.vault.choose import VaultChoice

_FILE_ONLY = ("new_key_file", "kdf_memory", "kdf_iterations", "kdf_lanes")
_IDENTITY_ONLY = ("generate", "no_passphrase", "allow_weak")


class NewIdentity(Record):
    """A new age identity that is not written yet: its path, its file's text and its recipient."""

    _secret = ("text",)

    path: str
    text: bytes
    recipient: str


def adopt_or_make(options: NewVaultOptions, choice: VaultChoice, context: Context) -> NewVault:
    """Adopt a store that has recipients, else make one, and pin the recipients.

    Raises:
        UsageError: for recipients given for a store that has its own, none given for a new
            `pass` store, or options that do not go with it.
        PinError: if there was a vault, and its items or its pin are still there.
        VaultChoiceError: if another process has made one.
        StorageError, LockedError, ProgramError: as the parts that are needed.
    """
    _check_options(options, choice, context)
    made: NewIdentity | None = None
    written: list[str] = []
    chosen: list[str] = []
    if not choice.exists:
        made, written, chosen = _make(options, choice, context)
        choice = choose_vault(context)
    elif options.generate or options.no_passphrase:
        context.reporter.say("the store has recipients already, so no identity is made")
    _warn_of_identity(choice, context)
    with open_vault(choice, context, checks_pin=False) as opened:
        vault, pin = opened.vault, opened.pin()
        if vault.trust.pin is not None and vault.trust.pin != pin:
            # Adopting must not bypass the pin.
            with open_vault(choice, context) as checked:
                checked.vault.check_recipients()
        check_recipient_sets(vault)
        if vault.trust.pin is None:
            trust_present_repositories(choice, context, vault.trust)
        vault.trust.set_pin(pin)
        uncommitted = _commit(opened, context, written, chosen) if written else None
    identity = made.path if made is not None else None
    return NewVault(
        choice.root,
        pin.digest,
        identity=identity,
        recipients=pin.recipients,
        uncommitted=uncommitted,
    )


def _commit(
    opened: OpenVault, context: Context, written: Sequence[str], names: Sequence[str]
) -> NotCommittedError | None:
    """Commit a new recipients file; return the error if git did not."""
    choice, vault = opened.choice, opened.vault
    subject = subjects.recipients_set(choice.backend.recipient_term, names, "")
    try:
        with writers_lock(
            vault.folder, context.settings.state_home, context.settings.home_if_known
        ):
            commit_files(vault.folder, written, subject, opened.git())
    except NotCommittedError as error:
        return error  # the vault is made: the rest follows
    return None


def _warn_of_identity(choice: VaultChoice, context: Context) -> None:
    """Warn of identities inside the store: they would be synced and committed with it."""
    paths = _identities(choice, context).files() if choice.backend.has_identities else []
    for path in paths:
        if os.path.exists(path) and lies_in(path, choice.store):
            context.reporter.warn(
                f"the identities in {printable(path)!r} lie inside the store, and anyone with a "
                "copy of it has them: move them elsewhere and name them with --identity"
            )


def _check_options(options: NewVaultOptions, choice: VaultChoice, context: Context) -> None:
    for name in _FILE_ONLY:
        if getattr(options, name) is not None:
            raise UsageError(
                f"{_option(name)} is for a file vault", hint="leave it out, or add --backend file"
            )
    given = [_option(name) for name in _IDENTITY_ONLY if getattr(options, name)]
    backend = choice.backend
    if given and not backend.has_identities:
        raise UsageError(
            f"{given[0]} is about a passphrase, and {backend.title} has {backend.keys_name} "
            "instead",
            hint="leave it out",
        )
    if options.generate and options.no_passphrase:
        raise UsageError(
            "--no-passphrase and --generate contradict each other", hint="leave one of them out"
        )
    if choice.exists:
        if options.recipient:
            raise UsageError(
                f"{printable(choice.store)!r} has recipients of its own",
                hint="filevault recipients add changes them",
            )
        return
    if not backend.has_identities and not options.recipient:
        raise UsageError(
            f"{backend.title} is encrypted to {backend.keys_name}, and none is given",
            hint=f"filevault init --backend {backend.name} --recipient YOU@EXAMPLE",
        )
    if given and (options.recipient or _identities(choice, context).named()):
        which = "--recipient" if options.recipient else "an identity"
        raise UsageError(
            f"{given[0]} is for a new identity, and {which} is given instead",
            hint="leave one of them out",
        )


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _identities(choice: VaultChoice, context: Context) -> NamedIdentities:
    return NamedIdentities(context.settings, passage=choice.passage)


def _make(
    options: NewVaultOptions, choice: VaultChoice, context: Context
) -> tuple[NewIdentity | None, list[str], list[str]]:
    """Make a store with recipients, and an identity if need be: both or none.

    Returns the identity, the names of the files written, and the recipients as they were given.
    """
    settings = context.settings
    refuse_lost(choice, context)
    file = choice.backend.marker
    check_writable(f"{choice.store}/{file}", settings.home_if_known)
    with _made_store(choice.store, context) as store:
        backend = open_recipients_backend(choice, context, store)
        names, identity = options.recipient, None
        if not names and (
            _identities(choice, context).named() or _has_own(options, choice, context)
        ):
            names = _own_recipients(backend)
        elif not names:
            identity = _new_identity(options, choice, context)
            names = [identity.recipient]
        resolved = backend.resolve(names)
        backend.try_set(resolved)
        with (
            writers_lock(store, settings.state_home, settings.home_if_known),
            contextlib.ExitStack() as undo,
        ):
            if has_recipients(store, choice.prefix, file):
                raise exists_already(choice)  # another init was quicker
            if identity is not None:
                undo.callback(_write_identity(identity, settings.home_if_known))
            try:
                move_memory_aside(choice, context)
                written = _write_recipients(store, backend, resolved)
            except BaseException:
                if store.is_file(file):
                    undo.pop_all()
                raise
            undo.pop_all()
    return identity, written, list(names)


@contextlib.contextmanager
def _made_store(path: str, context: Context) -> Iterator[Folder]:
    """Open a store, making it if need be; remove it again on failure if it is empty."""
    new = not os.path.lexists(path)
    with Folder.make(path, context.settings.home_if_known, context.reporter.warn) as store:
        try:
            yield store
        except BaseException:
            if new:
                with contextlib.suppress(OSError):
                    os.rmdir(path)
            raise


def _write_recipients(store: Folder, backend: RecipientsBackend, names: Sequence[str]) -> list[str]:
    """Write a new recipients file; return the names of what was written, for the commit."""
    files = backend.recipients_files(names)
    for name in files:
        store.refuse_other(name)
    for name, data in files.items():
        store.write(name, data, keep=name)
    return list(files)


def _own_recipients(backend: RecipientsBackend) -> tuple[str, ...]:
    """Return the recipients of the named identities; may ask for a passphrase."""
    own = backend.own_recipients()
    try:
        return backend.resolve(own)
    except UsageError as error:
        raise UsageError(
            f"the recipients of the named identities are not known: {error.message}",
            hint="give their recipients with --recipient",
        ) from error


def _has_own(options: NewVaultOptions, choice: VaultChoice, context: Context) -> bool:
    """Return whether the user's own identity exists and is used; print that then.

    An earlier `init` made it, perhaps one that was killed before it made the vault.
    """
    path = _identities(choice, context).origin
    if options.generate or not os.path.lexists(path):
        return False
    context.reporter.say(f"no identity is made: the one in {printable(path)} is used")
    return True


def _new_identity(options: NewVaultOptions, choice: VaultChoice, context: Context) -> NewIdentity:
    """Make an identity for a file outside the vault; nothing is written yet."""
    from filevault.backends.age.new_identity import check_library, new_identity

    check_library()  # before anything is asked for or shown
    settings = context.settings
    path = _identities(choice, context).origin
    store = choice.store
    if lies_in(path, store):
        raise UsageError(
            f"the new identity would lie at {printable(path)!r}, inside the store "
            f"{printable(store)!r}, which others may see",
            hint="choose another folder for the store with --vault, or make an identity somewhere "
            "else with age-keygen and name it with --identity",
        )
    if os.path.lexists(path):
        raise _has_identity(path)
    check_writable(path, settings.home_if_known)
    generated = generate_passphrase() if options.generate else None
    passphrase = generated.encode() if generated else None
    if generated is not None:
        show_generated(generated, context)
    elif not options.no_passphrase:
        passphrase = new_passphrase(
            settings,
            context.prompter,
            ordinary=True,
            instead="--generate, or --no-passphrase",
            given=context.given,
            check=lambda given: check_strength(given, allow_weak=options.allow_weak),
        )
    if passphrase is not None and context.given is not None:
        context.given.made.append(bytearray(passphrase))
    text, recipient = new_identity(
        passphrase, environment=settings.program_environment(), clock=context.runtime.clock
    )
    return NewIdentity(path, text, recipient)


def _has_identity(path: str) -> UsageError:
    return UsageError(
        f"{printable(path)!r} has an identity already",
        hint=f"to encrypt to it: filevault init --backend age --identity {shell_word(path)}",
    )


def _write_identity(identity: NewIdentity, home: str | None) -> Callable[[], None]:
    """Write an identity's file, never over another; return a function that deletes it."""
    with Folder.make(os.path.dirname(identity.path), home) as folder:
        try:
            folder.create(os.path.basename(identity.path), identity.text)
        except FileExistsError as error:
            raise _has_identity(identity.path) from error

    def delete() -> None:
        with contextlib.suppress(OSError):
            os.unlink(identity.path)

    return delete
