"""Profiles for SDKs: sections whose `credential_process` is filevault itself."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING

from filevault import errors
from filevault.backends.definition import RECIPIENTS
from filevault.config.credential_process import ExportCommand, parse
from filevault.config.inheritance import profile_header
from filevault.config.settings import GlobalOptions, Settings
from filevault.system.printable import printable
from filevault.vault.choose import choose

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from filevault.cli.context import Context
    from filevault.config.aws_config import Section
    from filevault.vault.choose import VaultChoice

# What the JavaScript SDK takes in a section's name (parseIni of @smithy/core), the narrowest of
# the SDKs that the tests run.
_READABLE = r"[A-Za-z0-9_@+.%:/-]+\Z"
_LONGEST_CHAIN = 64

SAFEGUARD = (
    "run the program with AWS_EC2_METADATA_DISABLED=true and without AWS_WEB_IDENTITY_TOKEN_FILE, "
    "AWS_ROLE_ARN and AWS_CONTAINER_CREDENTIALS_*: where filevault cannot answer, some SDKs use "
    "the machine's role instead"
)


def same_vault(command: ExportCommand, context: Context, choice: VaultChoice) -> bool:
    """Return whether a command uses the chosen vault."""
    options = GlobalOptions(vault=command.vault, backend=command.backend, prefix=command.prefix)
    try:
        settings = Settings(context.settings.environ, options, inputs=context.settings.inputs)
        theirs = choose(settings)
    except errors.FilevaultError:
        return False
    return _identity(theirs) == _identity(choice)


def _identity(choice: VaultChoice) -> tuple[str, str]:
    return choice.backend.name, choice.real_root


def warning(name: str) -> str | None:
    """Return a warning for the name of a new profile that not every SDK can read, else None."""
    if re.match(_READABLE, name):
        return None
    return (
        f"not every SDK can read a profile called {printable(name)!r}: only letters without "
        "accents, digits and _ - . @ + % : / are safe"
    )


def command(context: Context, chosen: VaultChoice, profile: str) -> str:
    """Return the `credential_process` of a profile.

    It works from any folder, whatever the PATH, and names the vault unless a process that
    inherits nothing but HOME would choose the same.
    """
    if _identity(chosen) == _default(context):
        return ExportCommand(profile).written(_program(context))
    shared = chosen.backend.family == RECIPIENTS
    return ExportCommand(
        profile,
        chosen.store,
        chosen.backend.name if shared else None,
        "/".join(chosen.prefix) if shared else None,
    ).written(_program(context))


def _default(context: Context) -> tuple[str, str] | None:
    try:
        return _identity(choose(Settings({"HOME": context.settings.home})))
    except errors.FilevaultError:
        return None


def _program(context: Context) -> Sequence[str]:
    """Return the command line that starts this program from any folder."""
    started = os.path.abspath(sys.argv[0])
    if os.path.basename(started) == "filevault" and os.access(started, os.X_OK):
        return (started,)
    return context.runtime.program


def section(
    context: Context, choice: VaultChoice, profile: str, region: str | None
) -> dict[str, str]:
    """Return the lines of a section through which SDKs get a profile's credentials.

    They are the command and what else an SDK reads from its own section only: the region, and
    the settings that choose endpoints. Raises ConfigError for invalid values.
    """
    from filevault.config.inheritance import Inheritance

    config = context.aws_config
    settings = Inheritance(config, profile, config.profile(profile))
    values = {"credential_process": command(context, choice, profile), "region": region}
    for key in (
        "region",
        "endpoint_url",
        "services",
        "ignore_configured_endpoint_urls",
        "use_fips_endpoint",
        "use_dualstack_endpoint",
        "sts_regional_endpoints",
        "account_id_endpoint_mode",
        "ca_bundle",
    ):
        values[key] = values.get(key) or settings.text(key)
    return {key: value for key, value in values.items() if value}


def reading(context: Context, choice: VaultChoice, profile: str) -> str:
    """Return the profile through which an SDK gets the credentials of `profile`.

    Raises ConfigError if the AWS config has none.
    """
    config = context.aws_config
    if _exported(context, choice, config.profile(profile)) is not None:
        return profile
    for name in config.profile_names():
        if _exported(context, choice, config.profile(name)) == profile:
            return name
    if _reads_chain(context, choice, profile):
        return profile
    raise errors.ConfigError(
        "AWS_VAULT_PROFILE_ENV is set, but the AWS config has no profile through which SDKs could "
        f"get the credentials of {printable(profile)!r}",
        hint=f"add {profile_header(f'{profile}-sdk')} with credential_process = "
        f"{command(context, choice, profile)}, or unset AWS_VAULT_PROFILE_ENV",
    )


def _exported(context: Context, choice: VaultChoice, found: Section | None) -> str | None:
    """Return the profile that a section's `credential_process` exports from the same vault."""
    process = found.values.get("credential_process") if found is not None else None
    exported = parse(process) if process else None
    if exported is None or not exported.plain or not same_vault(exported, context, choice):
        return None
    return exported.profile


def _reads_chain(context: Context, choice: VaultChoice, profile: str) -> bool:
    """Return whether an SDK that assumes the profile's roles itself ends at filevault."""
    name = profile
    for _ in range(_LONGEST_CHAIN):
        found = context.aws_config.profile(name)
        source = found.values.get("source_profile") if found is not None else None
        if source is None or source == name:
            return (
                found is not None
                and name != profile
                and _exported(context, choice, found) is not None
            )
        name = source
    return False


def locked_out(secrets: Sequence[str], options: Mapping[str, object]) -> str | None:
    """Return a warning if the command's SDK cannot unlock the vault as this run does, else None.

    `secrets` are the variables that were taken out, `options` the global ones.
    """
    given = [
        f"--{name.replace('_', '-')}"
        for name in ("passphrase_fd", "passphrase_file", "key_file", "identity")
        if options.get(name) not in (None, ())
    ]
    names = [*secrets, *given]
    if not names:
        return None
    return (
        f"the command's SDK runs filevault again, without {' and '.join(names)}: it gets "
        f"credentials as long as the vault is unlocked (filevault unlock)"
    )
