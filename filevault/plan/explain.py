"""A plan as text for `--explain`: nothing is called, nothing is decrypted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.aws.endpoint import redact_url
from filevault.config.overrides import URL, pod_variables, used_variables
from filevault.plan.steps import (
    AssumeRole,
    FederationToken,
    SessionToken,
    StoredKey,
    calls,
    session_name,
    source_names,
    stored_key,
)
from filevault.system.printable import printable
from filevault.system.times import format_duration, format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from filevault.aws.endpoint import Endpoint
    from filevault.config.settings import Settings
    from filevault.plan.planner import Plan
    from filevault.plan.steps import Call, Step
    from filevault.sessions import SessionCache
    from filevault.sources.protocols import KeySource


def kept_until(
    plan: Plan, keys: KeySource, cache: SessionCache | None
) -> Callable[[Call], int | None]:
    """Return what tells until when a call's session is kept, as its file's name has it.

    The item is read, never decrypted, and no session is opened.
    """

    def until(call: Call) -> int | None:
        if cache is None:
            return None
        digest = keys.item_digest(stored_key(call).profile)
        name = session_name(call, digest)
        found = cache.expiration(name)
        if found is None and call is not plan.step:
            others = (
                cache.expiration(other) for other in source_names(call, digest, cache.lives(name))
            )
            return next((each for each in others if each is not None), None)
        return found

    return until


def explain(
    plan: Plan,
    now: float,
    *,
    until: Callable[[Call], int | None],
    keeps: bool = True,
    cache_roles: bool = True,
) -> list[str]:
    """Return the lines that show a plan: its tree, its calls in order, and why.

    Args:
        plan: what would be done.
        now: Unix seconds.
        until: tells until when the session of a call is kept, None where it is not.
        keeps: whether sessions are kept at all.
        cache_roles: whether those of roles are.
    """
    lines = [f"profile {printable(plan.profile)}"]
    lines.append(f"region {'none' if plan.region is None else printable(plan.region)}")
    lines.extend(_tree(plan.step))
    made = calls(plan.step)
    if not made:
        lines.append("no calls: the stored long-term key itself is handed out")
    else:
        lines.append("calls, in order:")
    for number, call in enumerate(made, start=1):
        lines.append(f"  {number}. {_call(call, number)}")
        kept = keeps and (cache_roles or isinstance(call, SessionToken))
        lines.append(f"     {_keeping(until(call) if kept else None, now, kept)}")
    lines.append("because:")
    lines.extend(f"  - {reason}" for reason in plan.reasons)
    return lines


def variable_lines(settings: Settings, options: Container[str]) -> list[str]:
    """Return the lines that name each value of a plan that came from a variable.

    `options` are the options that were given, which go before variables.
    """
    lines = []
    for used in used_variables(settings, options):
        value = printable(used.value)
        if used.variable.type == URL:
            value = redact_url(used.value)
        elif used.name == "AWS_CONFIG_FILE":
            value = printable(settings.aws_config_path)
        of = f" of {printable(used.service)}" if used.service else ""
        meaning = used.variable.meaning or used.variable.setting
        lines.append(f"  - {printable(used.name)}: {meaning}{of} {value}")
    pod = pod_variables(settings)
    if pod:
        names = ", ".join(pod)
        lines.append(f"  - ignored, because together they are the identity of a pod: {names}")
    return ["from variables:", *lines] if lines else []


def _tree(step: Step) -> list[str]:
    lines = []
    depth = 0
    while True:
        indent = "   " * (depth - 1) + "└─ " if depth else ""
        lines.append(f"  {indent}{_title(step)}")
        if isinstance(step, StoredKey):
            return lines
        step = step.source
        depth += 1


def _title(step: Step) -> str:
    name = printable(step.profile)
    if isinstance(step, AssumeRole):
        return f"{name}: role {printable(step.role_arn)}"
    if isinstance(step, SessionToken):
        return f"{name}: session token"
    if isinstance(step, FederationToken):
        return f"{name}: federated user"
    return f"{name}: stored key"


def _call(call: Call, number: int) -> str:
    what = "GetSessionToken"
    if isinstance(call, AssumeRole):
        what = f"AssumeRole {printable(call.role_arn)}"
    elif isinstance(call, FederationToken):
        what = "GetCallerIdentity for the user's name and GetFederationToken"
    mfa = "no MFA" if call.mfa is None else f"MFA {printable(call.mfa.serial)}"
    signer = "the stored key" if number == 1 else f"the session of call {number - 1}"
    where = _where(call.endpoint)
    return f"{what}, {format_duration(call.duration)}, {mfa}, signed by {signer}, in {where}"


def _where(endpoint: Endpoint) -> str:
    kinds = {"FIPS": endpoint.use_fips, "dual-stack": endpoint.use_dualstack}
    chosen = ", ".join(kind for kind, wanted in kinds.items() if wanted)
    where = printable(endpoint.region) if endpoint.url is None else redact_url(endpoint.url)
    return f"{where} ({chosen})" if chosen else where


def _keeping(until: int | None, now: float, kept: bool) -> str:
    if not kept:
        return "its session is not kept"
    if until is None or until <= now:
        return "its session will be kept"
    return f"a session is kept until {format_time(until)}"
