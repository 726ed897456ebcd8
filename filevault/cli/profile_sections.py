"""Add a profile to the AWS config for a stored key, or print the lines to add."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault import errors
from filevault.config.aws_config_edit import append_profile, profile_section
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filevault.cli.context import Context


def append_or_say(context: Context, name: str, values: Mapping[str, str]) -> None:
    """Append a section; if the config cannot be changed, print the lines to add."""
    path = context.settings.aws_config_path
    try:
        append_profile(path, name, values, context.edit_rules)
    except (errors.StorageError, errors.ConfigError) as error:
        context.reporter.warn(f"the AWS config was not changed: {error.message}")
        context.reporter.say(f"add these lines to {printable(path)} yourself:")
        for line in profile_section(name, values).splitlines():
            context.reporter.say(f"    {line}")
    else:
        context.reporter.say(f"added profile {printable(name)} to {printable(path)}")
