"""Variables that make SDKs use another identity than expected, or fail: one table."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from filevault.checks.diagnosis import Diagnosis, Fact
from filevault.checks.finding import WARNING, Finding
from filevault.checks.leftovers import head
from filevault.config.aws_variables import find as known
from filevault.system.printable import printable
from filevault.system.times import parse_time

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filevault.checks.diagnosis import MachineState

# Each is a trap whatever its value is.
_TRAPS = {
    "AWS_SECURITY_TOKEN": (
        "Python SDKs and the AWS CLI send this token instead of AWS_SESSION_TOKEN"
    ),
    "AWS_ACCESS_KEY": "some tools, such as s3cmd, use this key before AWS_ACCESS_KEY_ID",
    "AWS_SECRET_KEY": "some tools, such as s3cmd, use this key before AWS_SECRET_ACCESS_KEY",
    "AWS_CREDENTIAL_FILE": "old SDKs read credentials from the file that it names",
}
_SHOWN = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
)
_UNSET = "filevault exec removes it for its command; unset it in the shell for everything else"


def check(machine: MachineState) -> Diagnosis:
    """Return the variables that choose an identity, and those that mislead."""
    values = [(name, machine.get(name)) for name in _SHOWN]
    facts = [Fact(name, printable(value, 200)) for name, value in values if value]
    inside = machine.get("AWS_VAULT")
    if inside:
        facts.append(Fact("inside exec of", printable(inside, 200)))
    return Diagnosis(tuple(facts), tuple(_findings(machine)))


def _warning(name: str, message: str, hint: str) -> Finding:
    return Finding(name, "environment", WARNING, message, hint=hint)


def _findings(machine: MachineState) -> Iterator[Finding]:
    environ = machine.settings.environ
    for name, message in _TRAPS.items():
        if environ.get(name):
            yield _warning(name, message, _UNSET)
    for name in sorted(environ):
        if name.startswith("AWS_BEARER_TOKEN_") and environ[name]:
            message = "Python SDKs send this token instead of signing with the credentials"
            yield _warning(printable(name, 80), message, _UNSET)
        elif name.startswith("AWS_") and not environ[name] and known(name) is not None:
            message = "is empty, which SDKs do not take for unset"
            yield _warning(printable(name, 80), message, f"unset {printable(name, 80)}")
    yield from _keys(machine)
    yield from _profile(machine)
    yield from _web_identity(machine)
    yield from _expiration(machine)
    yield from _differing(machine)
    yield from _endpoints(machine)
    yield from _files(machine)


def _keys(machine: MachineState) -> Iterator[Finding]:
    """Keys that a shell exports for every program, unless filevault or AWS Vault set them."""
    name = "AWS_ACCESS_KEY_ID"
    if machine.get(name) is None or machine.get("AWS_VAULT"):
        return
    message = "credentials are set in this shell: every program started here has them"
    hint = "unset them, and store the key: filevault add NAME --env"
    if machine.get("AWS_SESSION_TOKEN"):
        hint = "unset them, or run one command: filevault exec NAME -- CMD"
    yield _warning(name, message, hint)
    if machine.get("AWS_PROFILE"):
        message = "and AWS_ACCESS_KEY_ID are set: JavaScript SDKs use the profile, others the key"
        yield _warning("AWS_PROFILE", message, "unset one of the two")


def _profile(machine: MachineState) -> Iterator[Finding]:
    profile, other = machine.get("AWS_PROFILE"), machine.get("AWS_DEFAULT_PROFILE")
    if profile and other and profile != other:
        message = (
            "and AWS_PROFILE name two profiles: botocore uses this one, the other SDKs the other"
        )
        yield _warning("AWS_DEFAULT_PROFILE", message, "unset AWS_DEFAULT_PROFILE")
    config = machine.config_if_read()
    if profile and config is not None and config.profile(profile) is None:
        in_credentials = profile in _credential_sections(machine)
        if profile not in machine.stored_names() and not in_credentials:
            message = f"names {printable(profile, 80)!r}, which is no profile and no stored key"
            yield _warning("AWS_PROFILE", message, "filevault list shows the profiles")


def _credential_sections(machine: MachineState) -> set[str]:
    from filevault.checks.credentials_file import sections

    return {each.name for each in sections(machine)}


def _web_identity(machine: MachineState) -> Iterator[Finding]:
    path = machine.get("AWS_WEB_IDENTITY_TOKEN_FILE")
    if path is None:
        return
    name = "AWS_WEB_IDENTITY_TOKEN_FILE"
    if machine.get("AWS_PROFILE"):
        message = (
            "and AWS_PROFILE are set: botocore uses the web identity, JavaScript SDKs the profile"
        )
        yield _warning(name, message, "unset one of the two")
    if not os.path.exists(path):
        message = f"names {printable(path, 200)!r}, which is not there"
        yield _warning(name, message, "correct the mount of the token, or unset it")
    if machine.get("AWS_ROLE_ARN") is None:
        yield _warning(name, "is set without AWS_ROLE_ARN", "set AWS_ROLE_ARN too, or unset it")


def _expiration(machine: MachineState) -> Iterator[Finding]:
    name = "AWS_CREDENTIAL_EXPIRATION"
    value = machine.get(name)
    if value is None:
        return
    hint = "leave this shell and start exec again, or unset it"
    try:
        over = parse_time(value) <= machine.clock()
    except ValueError:
        message = f"is no time: {printable(value, 40)!r}; botocore fails on it"
        yield _warning(name, message, hint)
        return
    if over:
        message = "is in the past: the credentials have expired, and botocore refuses to use them"
        yield _warning(name, message, hint)


def _differing(machine: MachineState) -> Iterator[Finding]:
    one, other = machine.get("AWS_REGION"), machine.get("AWS_DEFAULT_REGION")
    if one and other and one != other:
        message = "and AWS_REGION differ: botocore uses this one, the other SDKs the other"
        yield _warning("AWS_DEFAULT_REGION", message, "give both the same value, or unset one")


def _endpoints(machine: MachineState) -> Iterator[Finding]:
    name = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
    value = machine.get(name)
    if value is not None and not value.endswith("/"):
        message = "does not end in a slash: version 2.9 of the AWS CLI then asks a wrong address"
        yield _warning(name, message, "write a / at its end")
    if value is not None and value.partition("://")[2].rstrip("/").count("/"):
        message = "has a path, which JavaScript SDKs drop and botocore keeps"
        yield _warning(name, message, "let it be an address and a / alone")
    for name in ("AWS_EC2_METADATA_DISABLED", "AWS_EC2_METADATA_V1_DISABLED"):
        value = machine.get(name)
        if value is not None and value.lower() not in ("true", "false"):
            message = f"is {printable(value, 40)!r}: SDKs agree on true alone"
            yield _warning(name, message, f"write {name}=true")
    yield from _container(machine)


def _container(machine: MachineState) -> Iterator[Finding]:
    name = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
    if machine.get(name) and machine.get("AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        message = (
            "and AWS_CONTAINER_CREDENTIALS_FULL_URI are set: botocore and JavaScript SDKs use "
            "this one, Go the other"
        )
        yield _warning(name, message, "unset one of the two")

    name = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
    value = machine.get(name)
    host = None if value is None else _plain_host(value)
    if host is not None and not _is_near(host):
        message = f"is plain http to {printable(host, 80)!r}: SDKs ask this machine alone so"
        yield _warning(name, message, "use 127.0.0.1 or https")
    name = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
    path = machine.get(name)
    if path is None:
        return
    if not os.path.exists(path):
        message = f"names {printable(path, 200)!r}, which is not there"
        yield _warning(name, message, "correct the mount of the token, or unset it")
    elif not {*b"\r\n"}.isdisjoint(head(path)):
        message = f"names {printable(path, 200)!r}, which has a line end: SDKs refuse that token"
        yield _warning(name, message, "write the file without a newline, as with printf %s")


def _plain_host(uri: str) -> str | None:
    """Return the host of an http address, None for any other."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(uri)
        return parts.hostname if parts.scheme.lower() == "http" else None
    except ValueError:
        return None


def _is_near(host: str) -> bool:
    """Return whether SDKs ask a host without TLS: loopback, or the addresses of ECS and EKS."""
    import ipaddress

    if host == "localhost" or host in ("169.254.170.2", "169.254.170.23", "fd00:ec2::23"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _files(machine: MachineState) -> Iterator[Finding]:
    value = machine.get("AWS_CA_BUNDLE")
    if value is not None and not os.path.exists(value):
        message = f"names {printable(value, 200)!r}, which is not there: every call fails"
        yield _warning("AWS_CA_BUNDLE", message, "correct it, or unset it")
