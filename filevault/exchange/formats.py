"""The table of formats: those of one file, and those of a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.exchange import (
    assignments,
    aws_files,
    aws_vault_files,
    console_csv,
    key_json,
)
from filevault.system.record import Record

if TYPE_CHECKING:
    from filevault.exchange.found_keys import FileFormat

# In the order in which they are recognised: a header `[x]` is looked for last.
FILE_FORMATS: dict[str, FileFormat] = {
    each.name: each
    for each in (key_json.FORMAT, console_csv.FORMAT, assignments.FORMAT, aws_files.FORMAT)
}


class FolderFormat(Record):
    """A format of a folder. `backend` is the alias of the backend that reads it, if one does."""

    name: str
    title: str
    backend: str | None = None


FOLDER_FORMATS = {
    each.name: each
    for each in (
        FolderFormat(aws_vault_files.NAME, "AWS Vault's file store"),
        FolderFormat("aws-vault-pass", "AWS Vault's pass store", "pass"),
        FolderFormat("aws-vault-passage", "AWS Vault's passage store", "passage"),
        FolderFormat("filevault", "another vault"),
    )
}
NAMES = (*FILE_FORMATS, *FOLDER_FORMATS)


def recognised(text: str) -> FileFormat | None:
    """Return the format of a text, None for an unknown one."""
    return next((each for each in FILE_FORMATS.values() if each.recognise(text)), None)
