"""Masks for the log of a CI job: `--mask` has GitHub Actions hide issued credentials in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.cli import streams
from filevault.errors import StorageError

if TYPE_CHECKING:
    from filevault.cli.context import Context
    from filevault.credentials import Credentials


def mask(credentials: Credentials, context: Context) -> None:
    """Print a workflow command for each value of credentials (GitHub: "Workflow commands").

    They go to stderr, which the runner reads as well: stdout belongs to the result. The runner
    shows none of them. Anywhere else the lines would be what they are to prevent, so nothing is
    printed. Raises StorageError if stderr does not lead to the runner.
    """
    if context.settings.get("GITHUB_ACTIONS") != "true":
        context.reporter.notice("--mask does nothing outside of GitHub Actions")
        return
    if not streams.messages_are_read():
        raise StorageError(
            "--mask cannot reach the runner: stderr is closed, or leads to a file",
            hint="the runner reads the masks from stderr: leave its redirection (2>) out",
        )
    values = (credentials.access_key_id, credentials.secret_access_key, credentials.session_token)
    for value in values:
        if value:
            context.reporter.workflow_command(f"::add-mask::{value.replace('%', '%25')}")
