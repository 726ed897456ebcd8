"""Add profiles to the AWS config for stored keys, or print the lines to add."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault import errors
from filevault.config.aws_config_edit import append_profile, append_profiles, profile_section
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filevault.cli.context import Context


def append_all_or_say(context: Context, profiles: Mapping[str, Mapping[str, str]]) -> None:
    """Append sections in one step, or each by itself if there is one that cannot be appended."""
    reporter, path = context.reporter, context.settings.aws_config_path
    if len(profiles) > 1:
        try:
            append_profiles(path, profiles, context.edit_rules)
        except (errors.StorageError, errors.ConfigError):
            pass  # the messages of the single ones say which it is
        else:
            for name in profiles:
                reporter.say(f"added profile {printable(name)} to {printable(path)}")
            return
    for name, values in profiles.items():
        append_or_say(context, name, values)


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
