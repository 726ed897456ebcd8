"""Record issued credentials where config.toml says; a failure is one warning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.config.config_toml import JOURNALD
from filevault.errors import FilevaultError
from filevault.issued import issue_log

if TYPE_CHECKING:
    from filevault.cli.context import Context
    from filevault.credentials import Credentials


def record(
    context: Context, profile: str, verb: str, credentials: Credentials, program: str | None
) -> None:
    """Record that credentials are issued; see `filevault.issued.issue_log.IssuedLine`."""
    settings = context.settings
    line = issue_log.issued_line(context.runtime.clock(), profile, verb, credentials, program)
    try:
        if settings.config.log == JOURNALD:
            from filevault.issued import journal

            journal.send(line, context.runtime.root)
        else:
            issue_log.append(line, settings.state_home, settings.home_if_known)
    except FilevaultError as error:
        context.reporter.warn(f"not logged: {error.message}")
