"""The error for a profile without a credential source that filevault can use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import ConfigError, NoCredentialsError, NoSourceError
from filevault.system.printable import printable, shell_word

if TYPE_CHECKING:
    from filevault.config.profile import Profile
    from filevault.errors import FilevaultError


def missing_source(profile: Profile) -> FilevaultError:
    """Return the error for a profile without a credential source.

    It is a ConfigError for keys in the AWS config, a NoSourceError for a role with nothing to
    assume it with, a NoCredentialsError for a profile that names no source at all.
    """
    shown = printable(profile.name)
    add = f"filevault add {shell_word(profile.name)}"
    if profile.source == "config-keys":
        return ConfigError(
            f"profile {shown!r} has its access key in the AWS config, where filevault does not "
            f"read it: {profile.source_where}",
            hint=f"filevault import --only {shell_word(profile.name)} stores it and offers to take "
            "it out of the file",
        )
    if profile.source_where is not None:
        return NoSourceError(
            f"profile {shown!r} has {profile.source_where}, but neither a source_profile nor a "
            "stored key to assume the role with",
            hint="add source_profile = NAME below it, or another source of credentials such as "
            f"credential_source, or store a key for it: {add}",
        )
    return NoCredentialsError(
        f"profile {shown!r} has neither a stored key nor a source of credentials",
        hint=f"{add} stores a key for it (`~/.aws/credentials` is never a source; filevault import "
        "stores what it has)",
    )
