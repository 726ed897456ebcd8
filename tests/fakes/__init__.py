"""Strict stand-ins for AWS: loopback servers that refuse what AWS would refuse."""

from __future__ import annotations

from tests.fakes.aws import FakeAws
from tests.fakes.calls import RecordedCall
from tests.fakes.faults import Fault, drop, error, server_error, stall, throttle
from tests.fakes.identities import IamKey, MfaDevice, Role, Session, User

__all__ = [
    "FakeAws",
    "Fault",
    "IamKey",
    "MfaDevice",
    "RecordedCall",
    "Role",
    "Session",
    "User",
    "drop",
    "error",
    "server_error",
    "stall",
    "throttle",
]
