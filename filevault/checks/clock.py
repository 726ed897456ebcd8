"""The clock of this machine against the `Date` of AWS, with `--online` only."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from filevault.aws.server_time import server_date, sts_url
from filevault.checks.diagnosis import Diagnosis, Fact
from filevault.checks.finding import ERROR, WARNING, Finding, error_finding
from filevault.config.overrides import Overrides, read_overrides
from filevault.config.profile import resolve
from filevault.errors import ClockError, FilevaultError, NotAwsError
from filevault.partitions import FALLBACK_REGION
from filevault.plan.sts_endpoint import sts_endpoint

if TYPE_CHECKING:
    from filevault.aws.endpoint import Endpoint
    from filevault.checks.diagnosis import MachineState

REFUSED = 300
"""Seconds from which STS refuses a signature for its time."""

_DOUBTFUL = 30  # seconds: one step of a TOTP code (RFC 6238)
_HINT = "set the clock, e.g. timedatectl set-ntp true"


def check(machine: MachineState) -> Diagnosis:
    """Return how far the clock is off; nothing without `--online`."""
    if not machine.online:
        return Diagnosis((Fact("clock", "not compared; --online asks AWS"),))
    endpoint = _endpoint(machine)
    url = sts_url(endpoint)
    before = machine.clock()
    try:
        date = server_date(url, allow_http=machine.settings.allow_http)
    except FilevaultError as error:
        return Diagnosis(findings=(error_finding("the clock", "clock", error),))
    now = (before + machine.clock()) / 2
    try:
        theirs = parsedate_to_datetime(date or "").timestamp()
    except (ValueError, OverflowError):
        message = "the answer had no Date, so it is not from AWS"
        finding = Finding("the clock", "clock", ERROR, message, NotAwsError.exit_status)
        return Diagnosis(findings=(finding,))
    off = now - theirs
    whole = round(abs(off))
    text = f"{whole} second{'' if whole == 1 else 's'} {'ahead of' if off > 0 else 'behind'} AWS"
    findings = []
    if abs(off) >= REFUSED:
        message = f"is {text}: AWS refuses every signed request"
        status = ClockError.exit_status
        findings.append(Finding("the clock", "clock", ERROR, message, status, _HINT))
    elif abs(off) >= _DOUBTFUL:
        message = f"is {text}: MFA codes that are made here are wrong"
        findings.append(Finding("the clock", "clock", WARNING, message, hint=_HINT))
    return Diagnosis((Fact("clock", text),), tuple(findings))


def _endpoint(machine: MachineState) -> Endpoint:
    """Return the endpoint of STS for AWS_PROFILE or, without one, for `[default]`.

    Raises ConfigError for an override that cannot be used.
    """
    overrides = read_overrides(machine.settings, None)
    name = machine.get("AWS_PROFILE") or "default"
    try:
        profile = resolve(
            machine.aws_config(), name, overrides=overrides, has_item=lambda each: each == name
        )
    except FilevaultError:
        return _plain(overrides)
    return sts_endpoint(profile, profile.chain)


def _plain(overrides: Overrides) -> Endpoint:
    from filevault.aws.endpoint import Endpoint

    urls = overrides.endpoint_urls
    return Endpoint(overrides.region or FALLBACK_REGION, urls.get("sts") or urls.get(""))
