"""Choose a profile's credential source: its stored key, or one that its section names.

The order is AWS Vault's: a key stored under the profile's name, `source_profile`, SSO, web
identity, a process; then the sources that AWS Vault does not know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import ConfigError
from filevault.system.printable import printable
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.config.credential_process import ExportCommand
    from filevault.config.inheritance import Inheritance, ProfileSetting

SETTINGS = {
    "profile": ("source_profile",),
    "sso": ("sso_session", "sso_start_url"),
    "web-identity": (
        "web_identity_token_file",
        "web_identity_token_process",
        "web_identity_token_source",
        "web_identity_token_env",
    ),
    "process": ("credential_process",),
    "credential-source": ("credential_source",),
    "login-session": ("login_session",),
    "config-keys": ("aws_access_key_id", "aws_secret_access_key"),
}
"""The credential sources that a section can name, in their order, with the settings of each."""


class ChosenSource(Record):
    """The credential source of a profile.

    `name` is `stored`, a key of SETTINGS, or `none`. `where` is the setting that names it, with
    file and line; for `none` that of a role, if there is one. `unused` are the settings that name
    other sources.
    """

    name: str
    where: str | None
    unused: tuple[str, ...]


def choose_source(
    settings: Inheritance,
    *,
    stored: bool,
    has_source_profile: bool,
    follows: Callable[[ExportCommand], bool],
) -> ChosenSource:
    """Choose the credential source of a profile.

    Args:
        settings: those of the profile.
        stored: whether a key is stored under its name.
        has_source_profile: whether it gets its credentials from another profile. Where
            `source_profile` is not set, `credential_process` runs filevault for that profile.
        follows: returns whether a `credential_process` that runs filevault uses this run's vault.

    Raises ConfigError for a profile with both `source_profile` and `credential_source`, which
    botocore refuses as well.
    """
    found: dict[str, ProfileSetting] = {}
    for source, keys in SETTINGS.items():
        setting = next((each for each in map(settings.find, keys) if each is not None), None)
        if setting is not None and not (source == "profile" and setting.value == settings.name):
            found[source] = setting
    process = found.get("process")
    if process is not None and _exports(process.value, settings.name, follows):
        del found["process"]  # by it SDKs get what filevault has for the profile
    elif process is not None and not stored and has_source_profile and "profile" not in found:
        del found["process"]
        found = {"profile": process, **found}
    if not stored and "profile" in found and "credential-source" in found:
        raise ConfigError(
            f"profile {printable(settings.name)!r} has two sources: {found['profile'].where}, and "
            f"{found['credential-source'].where}",
            hint="take one of them out; the AWS CLI and the SDKs refuse both together",
        )
    if stored:
        name, where = "stored", None
    elif found:
        name, setting = next(iter(found.items()))
        where = setting.where
    else:
        role = settings.find("role_arn")
        name, where = "none", None if role is None else role.where
    unused = tuple(each.key for source, each in found.items() if source != name)
    if name == "web-identity":
        unused = (*_other_tokens(settings, found[name]), *unused)
    return ChosenSource(name, where, unused)


def _other_tokens(settings: Inheritance, used: ProfileSetting) -> list[str]:
    """Return the settings of web identity tokens that are not used, beside the one that is."""
    keys = SETTINGS["web-identity"]
    if (used.key, used.value) == ("web_identity_token_source", "gitlab"):
        keys = keys[:-1]  # the last one names its variable
    return [key for key in keys if key != used.key and settings.find(key) is not None]


def _exports(process: str, name: str, follows: Callable[[ExportCommand], bool]) -> bool:
    """Return whether a `credential_process` makes filevault export a profile of this vault."""
    from filevault.config.credential_process import parse

    command = parse(process)
    return command is not None and command.profile == name and follows(command)
