"""The configuration files: which there are, and whether they can be read and parsed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from filevault.checks.diagnosis import Diagnosis, Fact
from filevault.checks.finding import ERROR, WARNING, Finding, error_finding
from filevault.config.aws_config import AwsConfig
from filevault.errors import ConfigError, FilevaultError
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.checks.diagnosis import MachineState


def check(machine: MachineState) -> Diagnosis:
    """Return each file, and why one is refused."""
    settings = machine.settings
    facts: list[Fact] = []
    found: list[Finding] = []
    for name, path, read in (
        ("config.toml", settings.config_path, lambda: settings.config),
        ("AWS config", settings.aws_config_path, machine.aws_config),
        ("credentials file", settings.aws_credentials_path, lambda: _credentials(machine)),
    ):
        facts.append(Fact(name, _state(path)))
        found += _read(name, path, read)
    for variable, path in (
        ("AWS_CONFIG_FILE", settings.aws_config_path),
        ("AWS_SHARED_CREDENTIALS_FILE", settings.aws_credentials_path),
    ):
        if machine.get(variable) and not os.path.exists(path):
            message = f"names {printable(path)!r}, which is not there"
            hint = f"correct it, or unset {variable}"
            severity = ERROR if variable == "AWS_CONFIG_FILE" else WARNING
            status = ConfigError.exit_status if severity == ERROR else 0
            found.append(Finding(variable, "config", severity, message, status, hint))
    return Diagnosis(tuple(facts), tuple(found))


def _credentials(machine: MachineState) -> AwsConfig:
    settings = machine.settings
    return AwsConfig.load(settings.aws_credentials_path, settings.trusted_configs)


def _read(name: str, path: str, read: Callable[[], object]) -> list[Finding]:
    if not os.path.lexists(path):
        return []
    if os.path.islink(path) and not os.path.exists(path):
        message = f"{printable(path)!r} is a link to nothing"
        return [Finding(name, "config", WARNING, message, hint="restore its target, or delete it")]
    try:
        read()
    except FilevaultError as error:
        return [error_finding(name, "config", error)]
    return []


def _state(path: str) -> str:
    shown = printable(path)
    if not os.path.exists(path):
        return f"{shown} (not there)"
    real = os.path.realpath(path)
    return shown if real == os.path.abspath(path) else f"{shown} -> {printable(real)}"
