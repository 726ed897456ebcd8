"""`filevault init` for `pass` and `age`: adopt the store that is there, or make one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from filevault.cli.init import NewVault
from filevault.cli.newsecret import check_strength, generate_passphrase, show_generated
from filevault.errors import LockedError, UsageError
from filevault.files import Folder
from filevault.git import subjects
from filevault.locks import writers_lock
from filevault.printable import printable
from filevault.unlock import new_passphrase

if TYPE_CHECKING:
    import argparse

    from filevault.cli.context import Context

_FILE_ONLY = ("new_key_file", "kdf_memory", "kdf_iterations", "kdf_lanes")


def adopt_or_make(args: argparse.Namespace, context: Context) -> NewVault:
    """Adopt a store that has recipients, else make one, and pin who they are.

    Raises:
        UsageError: for recipients given for a store that has its own, none given for a new
            `pass` store, or options of a `file` vault.
        StorageError, LockedError, ProgramError: as the parts that are needed.
    """
    for name in _FILE_ONLY:
        if getattr(args, name):
            raise UsageError(f"--{name.replace('_', '-')} is for a file vault")
    choice = context.choice
    identity = None
    if choice.exists:
        if args.recipient:
            raise UsageError(
                f"{printable(choice.store)!r} has recipients of its own",
                hint="filevault recipients add changes them",
            )
    elif choice.backend == "pass":
        if not args.recipient:
            raise UsageError(
                "a pass vault is encrypted to gpg keys, and none is given",
                hint="filevault init --backend pass --recipient YOU@EXAMPLE",
            )
        _write_recipients(context, args.recipient)
    else:
        recipients = args.recipient
        if not recipients:
            recipient, identity = _new_identity(args, context)
            recipients = [recipient]
        _write_recipients(context, recipients)
    context.reconsider()
    vault = context.open_unpinned()
    pin = context.pin()
    if vault.trust.pin is not None and vault.trust.pin != pin:
        # Adopting is no way around the pin.
        _ = context.vault
        vault.check_recipients()
    vault.trust.set_pin(pin)
    for place, names in pin.recipients:
        for name in names:
            print(f"recipient: {printable(name)} ({printable(place)})")
    return NewVault(choice.root, pin.digest, identity=identity)


def _write_recipients(context: Context, names: list[str]) -> None:
    choice = context.choice
    with Folder.make(choice.store) as store, writers_lock(store, None):
        backend = context.shared_backend(store)
        files = backend.recipients_files(backend.resolve(names))
        for name, data in files.items():
            store.write(name, data)
    context.reconsider()
    subject = subjects.recipients_set(subjects.KINDS[choice.backend], names, "")
    context.commit_in(choice.store, list(files), subject)


def _new_identity(args: argparse.Namespace, context: Context) -> tuple[str, str]:
    """Make an identity outside the vault; return its recipient and its path."""
    from filevault.backends.newidentity import new_identity

    settings = context.settings
    path = settings.passage_identities if context.choice.passage else settings.default_identities
    if os.path.lexists(path):
        raise UsageError(
            f"{printable(path)!r} holds an identity already",
            hint="give its recipient with --recipient; age-keygen -y shows it",
        )
    generated = generate_passphrase() if args.generate else None
    passphrase = generated.encode() if generated else None
    if passphrase is None and not args.no_passphrase:
        passphrase = new_passphrase(settings, context.prompter, ordinary=True)
        check_strength(passphrase, allow_weak=args.allow_weak)
    text, recipient = new_identity(
        passphrase, environment=settings.program_environment(), clock=context.runtime.clock
    )
    if generated is not None:
        show_generated(generated, context)
    with Folder.make(os.path.dirname(path)) as folder:
        try:
            folder.create(os.path.basename(path), text)
        except FileExistsError as error:
            raise LockedError(f"{printable(path)!r} was made by somebody else meanwhile") from error
    return recipient, path
