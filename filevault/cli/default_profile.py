"""Warning that SDKs use the `[default]` section of the AWS config instead of an endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.config.credential_source import SETTINGS
from filevault.errors import FilevaultError
from filevault.system.printable import printable

if TYPE_CHECKING:
    from filevault.cli.context import Context

_SOURCES = (*(name for names in SETTINGS.values() for name in names), "role_arn")


def warn_of_default_profile(context: Context) -> None:
    """Warn if `[default]` names credentials: every SDK prefers them to an endpoint."""
    try:
        section = context.aws_config.profile("default")
    except FilevaultError:
        return  # the profile was resolved without it
    if section is None:
        return
    found = [name for name in _SOURCES if section.values.get(name)]
    if found:
        line = section.lines[found[0]]
        context.reporter.warn(
            f"[default] in {printable(section.path)!r} has {found[0]} (line {line}), and SDKs "
            "prefer that to the server's credentials: move it to another profile"
        )
