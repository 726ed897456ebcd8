"""Keys in clear text in the credentials file and the AWS config, and what they hide."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from filevault.checks.diagnosis import Diagnosis
from filevault.checks.finding import WARNING, Finding
from filevault.config.aws_config import AwsConfig
from filevault.config.inheritance import profile_header
from filevault.errors import FilevaultError
from filevault.system.printable import printable, shell_word

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from filevault.checks.diagnosis import MachineState
    from filevault.config.aws_config import Section

_NAMES = 5  # that one finding names
_SECRET = "aws_secret_access_key"  # noqa: S105 - the name of a setting
_TOKENS = ("aws_session_token", "aws_security_token")
_IDENTITY = (
    "aws_access_key_id",
    "credential_process",
    "credential_source",
    "login_session",
    "role_arn",
    "sso_session",
    "sso_start_url",
    "web_identity_token_file",
)


def check(machine: MachineState) -> Diagnosis:
    """Return what SDKs find in clear text, and prefer to other sources."""
    return Diagnosis(findings=_findings(machine))


def sections(machine: MachineState) -> list[Section]:
    """Return the sections of the credentials file; none if it cannot be parsed."""
    path = machine.settings.aws_credentials_path
    try:
        if not os.path.exists(path):
            return []
        return [*AwsConfig.load(path, machine.settings.trusted_configs).own_sections()]
    except FilevaultError:
        return []


def _findings(machine: MachineState) -> Iterator[Finding]:
    path = machine.settings.aws_credentials_path
    found = sections(machine)
    keys = [each for each in found if each.values.get(_SECRET)]
    yield from _clear(path, keys)
    for each in found:
        if each.section_type == "profile" and each.name != "default":
            message = f"{profile_header(each.name)} is a profile with the word in its name"
            hint = f"write [{printable(each.name, 80)}] there, without the word profile"
            yield Finding(printable(path), "credentials", WARNING, message, hint=hint)
    config = machine.config_if_read()
    default = None if config is None else config.profile("default")
    if any(each.name == "default" for each in keys):
        message = (
            "[default] has a static key: SDKs prefer it to an endpoint or an instance role, so "
            "programs without a profile use it"
        )
        yield Finding(printable(path), "default", WARNING, message, hint=_import_hint(path))
    if default is not None:
        names = [key for key in _IDENTITY if default.values.get(key)]
        if names:
            message = (
                f"[default] has {' and '.join(names[:_NAMES])}: SDKs prefer it to the endpoint of "
                "exec --server and serve, and programs without a profile use it"
            )
            hint = "give that profile a name of its own, and select it with AWS_PROFILE"
            yield Finding(printable(default.path), "default", WARNING, message, hint=hint)
    if config is not None:
        in_config = [each for each in config.own_sections() if each.values.get(_SECRET)]
        yield from _clear(config.path, in_config)
    yield from _shadowing(machine, path, keys)


def _clear(path: str, found: Sequence[Section]) -> Iterator[Finding]:
    long_term = [each.name for each in found if not _has_token(each)]
    if long_term:
        message = f"long-term keys in clear text: {_listed(long_term)}"
        yield Finding(printable(path), "clear-key", WARNING, message, hint=_import_hint(path))
    temporary = [each.name for each in found if _has_token(each)]
    if temporary:
        message = f"temporary credentials in clear text: {_listed(temporary)}"
        hint = "delete these sections; filevault exec needs no such file"
        yield Finding(printable(path), "clear-session", WARNING, message, hint=hint)


def _shadowing(machine: MachineState, path: str, found: Sequence[Section]) -> Iterator[Finding]:
    """Sections with keys that hide what the config or the vault has for the same profile.

    And those whose key SDKs that merge both files send with the token of a session in the config.
    """
    config = machine.config_if_read()
    stored = machine.stored_names()
    for each in found:
        name = each.name
        section = None if config is None else config.profile(name)
        others = [] if section is None else [key for key in _IDENTITY if section.values.get(key)]
        if name in stored:
            others.append("the stored key")
        if others:
            message = (
                f"the clear key of {printable(name, 80)!r} hides {' and '.join(others[:_NAMES])} "
                "of the same profile from most SDKs"
            )
            hint = f"delete the section [{printable(name, 80)}] from that file"
            yield Finding(printable(path), "shadowed", WARNING, message, hint=hint)
        if section is not None and _has_token(section) and not _has_token(each):
            message = (
                f"some SDKs send the clear key of {printable(name, 80)!r} with the session token "
                f"that {printable(section.path)} has for it"
            )
            hint = "delete the session from the config"
            yield Finding(printable(path), "mixed-keys", WARNING, message, hint=hint)


def _has_token(section: Section) -> bool:
    return any(section.values.get(key) for key in _TOKENS)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(printable(name, 60) for name in names[:_NAMES])
    return shown + (f" and {len(names) - _NAMES} more" if len(names) > _NAMES else "")


def _import_hint(path: str) -> str:
    return f"filevault import {shell_word(path)} --remove-source stores them and takes them away"
