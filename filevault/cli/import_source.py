"""The source of an import: files in the clear, AWS Vault's file store, or another vault."""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING

from filevault.cli.context import Context
from filevault.cli.open_vault import choose_vault, open_vault
from filevault.cli.questions import require_terminal
from filevault.cli.second_vault import SOURCE_VARIABLE, unlock
from filevault.errors import (
    IntegrityError,
    LockedError,
    NoKeyError,
    NotFoundError,
    StorageError,
    UsageError,
    WrongPassphraseError,
)
from filevault.exchange import aws_files, aws_vault_files
from filevault.exchange.aws_vault_files import AwsVaultFolder
from filevault.exchange.aws_vault_item import name_inside, read_item
from filevault.exchange.clear_copies import MAX_FILE, ClearFile, decode, take_out
from filevault.exchange.formats import FILE_FORMATS, FOLDER_FORMATS, recognised
from filevault.exchange.found_keys import Contents, FoundKey, LeftOut
from filevault.system.config_files import check_source_owner
from filevault.system.files import Folder, read_all, storage_error
from filevault.system.printable import printable
from filevault.unlock.unlocker import TRIES
from filevault.vault.item import parse

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection

    from filevault.exchange.aws_vault_files import StoreFile
    from filevault.exchange.formats import FolderFormat
    from filevault.vault.choose import VaultChoice
    from filevault.vault.vault import Vault

STDIN = "-"


class ImportSource:
    """A source that was read: its keys, and how to take them out of it.

    `title` names it in messages. `files` are those in the clear. `store` is the folder of an
    AWS Vault store, `store_files` the file of each key's place in it.
    """

    def __init__(
        self,
        title: str,
        contents: Contents,
        *,
        files: Collection[ClearFile] = (),
        store: str = "",
        store_files: dict[str, StoreFile] | None = None,
    ) -> None:
        self.title = title
        self.contents = contents
        self.files = files
        self._store = store
        self._store_files = store_files or {}

    @property
    def can_remove(self) -> bool:
        """Whether keys can be taken out of the source."""
        return bool(self.files or self._store_files)

    @property
    def paths(self) -> list[str]:
        """The files in the clear."""
        return [file.path for file in self.files]

    def remove(self, found: Collection[FoundKey], context: Context) -> list[FoundKey]:
        """Take keys out of the source; return those that stay.

        Such stand beside what would be lost with them, or were changed since they were read.
        Raises what `take_out` raises, and StorageError.
        """
        entries = {each.entry for each in found}
        for file in self.files:
            if any(each.entry in entries for each in _read(file).keys):
                take_out(_to_edit(file, context), entries, context.edit_rules)
        if self._store_files:
            with Folder.open(self._store) as folder:
                return [
                    each
                    for each in found
                    if not aws_vault_files.remove(folder, self._store_files[each.place])
                ]
        left = [
            key.entry
            for file in self.files
            if os.path.exists(file.path)
            for key in _read(file).keys
        ]
        return [each for each in found if each.entry in left]


def read_source(args: argparse.Namespace, context: Context) -> ImportSource:
    """Read the source that the options name; may ask for its passphrase.

    Raises UsageError for a source that is not recognised, NotFoundError for one that does not
    exist, and what its format raises.
    """
    folder_format = FOLDER_FORMATS.get(args.source_format or "")
    if args.source is None and folder_format is None:
        return _aws_files(args, context)
    path = args.source
    if path is not None and path != STDIN:
        path = context.settings.expand(path)
    if folder_format is None and path != STDIN and os.path.isdir(path):
        folder_format = _folder_format(args, path)
    if folder_format is None:
        return _one_file(args, path)
    if path == STDIN:
        raise UsageError(
            f"--from {folder_format.name} needs a folder, not stdin",
            hint="name the folder in place of -",
        )
    if folder_format.name == aws_vault_files.NAME:
        return _aws_vault(path or context.settings.aws_vault_files, context)
    return _vault(folder_format, path, args, context)


def _aws_files(args: argparse.Namespace, context: Context) -> ImportSource:
    """Return the AWS CLI's own files; settings of `credentials` come first, as in botocore."""
    if args.source_format not in (None, "aws"):
        raise UsageError(
            f"--from {args.source_format} needs the path of the file",
            hint="add the path of the file, or - for stdin",
        )
    settings, aws = context.settings, FILE_FORMATS["aws"]
    contents, files = Contents(), []
    paths = (settings.aws_credentials_path, settings.aws_config_path)
    for path in dict.fromkeys(paths):
        if os.path.exists(path) and path != os.devnull:
            file = ClearFile(path, aws)
            contents = contents.joined(_read(file))
            files.append(file)
    if not files:
        raise NotFoundError(
            f"there is neither {printable(paths[0])!r} nor {printable(paths[1])!r}",
            hint="name the file or folder to import from; filevault help import lists the formats",
        )
    used = [file for file in files if any(_is_in(each, file) for each in contents.keys)]
    title = " and ".join(printable(file.path) for file in used or files)
    return ImportSource(title, contents, files=used)


def _to_edit(file: ClearFile, context: Context) -> ClearFile:
    """Return a file to take keys out of: of the AWS config of this run all sections stay."""
    config = os.path.realpath(context.settings.aws_config_path)
    if file.file_format.name != aws_files.FORMAT.name or os.path.realpath(file.path) != config:
        return file
    return file._replace(file_format=aws_files.CONFIG)


def _is_in(found: FoundKey, file: ClearFile) -> bool:
    return found.place.rpartition(":")[0] == file.path


def _read(file: ClearFile) -> Contents:
    return file.file_format.read(decode(_bytes_of(file.path), file.path), file.path)


def _bytes_of(path: str) -> bytes:
    if path == STDIN:
        return sys.stdin.buffer.read(MAX_FILE + 1)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no file {printable(path)!r}") from error
    except OSError as error:
        raise storage_error(error, "read", path) from error
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise UsageError(
                f"{printable(path)!r} is not a regular file",
                hint="name a file or a folder, or - for stdin",
            )
        check_source_owner(info, path)
        return read_all(fd, MAX_FILE)
    except OSError as error:
        raise storage_error(error, "read", path) from error
    finally:
        os.close(fd)


def _one_file(args: argparse.Namespace, path: str) -> ImportSource:
    data = _bytes_of(path)
    shown = "stdin" if path == STDIN else path
    if args.source_format is None and aws_vault_files.is_item(data):
        raise UsageError(
            f"{printable(shown)!r} is one item of AWS Vault's file store",
            hint="name its folder",
        )
    text = decode(data, shown)
    named = FILE_FORMATS.get(args.source_format or "")
    file_format = named or recognised(text)
    if file_format is None:
        raise UsageError(
            f"{printable(shown)!r} is in no format that is known here",
            hint=f"--from names one: {', '.join(FILE_FORMATS)}",
        )
    contents = file_format.read(text, shown)
    files = () if path == STDIN else (ClearFile(path, file_format),)
    title = f"{printable(shown)} ({file_format.title})"
    return ImportSource(title, contents, files=files)


def _folder_format(args: argparse.Namespace, path: str) -> FolderFormat:
    if args.source_format is not None:
        raise UsageError(
            f"--from {args.source_format} needs a file, not a folder",
            hint="name a file in it, or leave --from out",
        )
    with Folder.open(path) as folder:
        is_aws_vault = aws_vault_files.is_store(folder)
    return FOLDER_FORMATS[aws_vault_files.NAME if is_aws_vault else "filevault"]


# AWS Vault's file store


def _aws_vault(path: str, context: Context) -> ImportSource:
    try:
        folder = Folder.open(path)
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no folder {printable(path)!r}") from error
    with folder:
        store = AwsVaultFolder(folder)
        _unlock(store, path, context)
    title = f"{printable(path)} (AWS Vault's file store)"
    return ImportSource(title, store.contents(), store=path, store_files=store.files)


def _unlock(store: AwsVaultFolder, path: str, context: Context) -> None:
    """Decrypt the items with the passphrase of the variable, then with those that are typed."""
    given = context.settings.aws_vault_passphrase
    if given is not None and store.locked:
        store.open(os.fsencode(given))
    count = len(store.locked)
    if not count or (given is not None and not context.prompter.present):
        _require_some(store, path)
        return
    require_terminal(
        context.prompter,
        f"{printable(path)!r} needs its passphrase",
        "AWS_VAULT_FILE_PASSPHRASE gives it",
    )
    failures = 0
    while store.locked and failures < TRIES:
        others = " other" if store.files or given is not None else ""
        left = len(store.locked)
        items = f"{left}{others} item{'' if left == 1 else 's'}"
        answer = context.prompter.hidden(f"Passphrase of {items} in {printable(path)}: ")
        if not answer:
            break
        if not store.open(bytes(answer)):
            context.prompter.say("That passphrase opens none of them.")
            failures += 1
    _require_some(store, path)


def _require_some(store: AwsVaultFolder, path: str) -> None:
    if store.locked and not store.files:
        raise WrongPassphraseError(
            f"the passphrase opens no item in {printable(path)!r}",
            hint="AWS_VAULT_FILE_PASSPHRASE gives it; without it filevault asks at a terminal",
        )


# Another vault


def _vault(
    folder_format: FolderFormat, path: str | None, args: argparse.Namespace, context: Context
) -> ImportSource:
    """Open another vault, or a store of AWS Vault that a backend can read, and read every key."""
    settings = context.settings
    prefix = args.source_prefix
    if folder_format.backend is not None and prefix is None:
        prefix = settings.environ.get("AWS_VAULT_PASS_PREFIX", "")
    elif path is None:
        raise UsageError(
            "--from filevault needs the folder of the vault",
            hint="filevault import --from filevault DIR",
        )
    other = Context(
        settings.for_other_vault(
            "SOURCE", vault=path, backend=folder_format.backend, prefix=prefix
        ),
        context.runtime,
        context.reporter,
    )
    other.given = context.given
    choice = choose_vault(other)
    if not choice.exists:
        what = printable(choice.root)
        raise UsageError(
            f"{what!r} is no vault and no folder of a known format",
            hint="--from names the format of a file; a pass or passage store may need "
            "--source-prefix",
        )
    if choice.real_root == choose_vault(context).real_root:
        raise UsageError(
            f"{printable(choice.root)!r} is the vault itself",
            hint="--vault or FILEVAULT_DIR names the vault that gets the keys",
        )
    with open_vault(choice, other, remembers=not args.dry_run) as opened:
        unlock(opened, SOURCE_VARIABLE)
        with opened.vault.memory.batch():
            contents = _items(opened.vault, choice, aws_vault=folder_format.backend is not None)
    return ImportSource(f"{printable(choice.root)} ({choice.backend.title})", contents)


def _items(vault: Vault, choice: VaultChoice, *, aws_vault: bool) -> Contents:
    """Read every key of a vault; with `aws_vault`, only the entries that AWS Vault wrote."""
    keys: list[FoundKey] = []
    left_out: list[LeftOut] = []
    for name in vault.names():
        found = _item(vault, name, f"{choice.root}/{name}", aws_vault=aws_vault)
        if isinstance(found, FoundKey):
            keys.append(found)
        else:
            left_out.append(found)
    return Contents(tuple(keys), tuple(left_out))


def _item(vault: Vault, name: str, place: str, *, aws_vault: bool) -> FoundKey | LeftOut:
    try:
        text = vault.plaintext(name)
        if name_inside(text) is not None:
            found = read_item(text, name, place)
            return found._replace(text=text) if isinstance(found, FoundKey) else found
        if aws_vault:
            return LeftOut(name, place, "AWS Vault did not write it")
        item = parse(text, f"item {printable(name)!r}")
    except NoKeyError as error:
        # In a shared store it may be another tool's.
        return LeftOut(name, place, error.message, failed=vault.is_sealed)
    except LockedError:
        if vault.is_sealed or not vault.is_open:
            raise
        return LeftOut(name, place, "it is encrypted to other keys", failed=True)
    except (IntegrityError, StorageError) as error:
        return LeftOut(name, place, error.message, failed=True)
    return FoundKey(name, item.key, place, item.mfa_serial, text=text, created=None)
