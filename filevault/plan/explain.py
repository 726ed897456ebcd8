"""The text of `--explain`: nothing is called, nothing is decrypted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.aws.endpoint import redact_url
from filevault.calls.call import calls_of
from filevault.config.overrides import URL, pod_variables, used_variables
from filevault.plan.providers import is_kept
from filevault.sessions.session_hash import equivalent_names, session_name
from filevault.system.printable import printable
from filevault.system.times import format_duration, format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from filevault.aws.endpoint import Endpoint
    from filevault.calls.call import Call
    from filevault.config.settings import Settings
    from filevault.plan.planner import Plan
    from filevault.sessions import SessionCache
    from filevault.sources.source import SourceDependencies, Step


def kept_until(
    plan: Plan, dependencies: SourceDependencies, cache: SessionCache | None
) -> Callable[[Step], int | None]:
    """Return a function from a step to the expiry of its kept session, by its file's name.

    Unix seconds; None where no session is kept. Nothing is decrypted.
    """

    def until(step: Step) -> int | None:
        if cache is None:
            return None
        identity = step.source.identity(dependencies)
        name = session_name(step, identity)
        found = cache.expiration(name)
        if found is None and step is not plan.step:
            others = equivalent_names(step, identity, cache.lives(name))
            expirations = (cache.expiration(other) for other in others)
            return next((each for each in expirations if each is not None), None)
        return found

    return until


def explain(
    plan: Plan,
    now: float,
    *,
    until: Callable[[Step], int | None],
    keeps: bool = True,
    cache_roles: bool = True,
) -> list[str]:
    """Return the lines that show a plan: its tree, its calls in order, and the reasons.

    Args:
        plan: the plan.
        now: Unix seconds.
        until: as `kept_until` returns it.
        keeps: whether sessions are kept at all.
        cache_roles: whether sessions of roles are kept.
    """
    lines = [f"profile {printable(plan.profile)}"]
    lines.append(f"region {'none' if plan.region is None else printable(plan.region)}")
    lines.extend(_tree(plan.step))
    made = calls_of(plan.step)
    source = plan.step.source
    if source.operation is not None or not made:
        begins = made or source.calls_aws
        lines.append(f"{'begins' if begins else 'no calls'}: {source.description}")
    if source.operation is not None:
        kept = keeps and is_kept(source, cache_roles=cache_roles)
        lines.append(f"     {_keeping(until(source) if kept else None, now, kept)}")
    if made:
        lines.append("calls, in order:")
    for number, call in enumerate(made, start=1):
        lines.append(f"  {number}. {_call(call, number)}")
        kept = keeps and is_kept(call, cache_roles=cache_roles)
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
    each: Step | None = step
    while each is not None:
        indent = "   " * (depth - 1) + "└─ " if depth else ""
        lines.append(f"  {indent}{printable(each.profile)}: {each.title}")
        each = each.parent
        depth += 1
    return lines


def _call(call: Call, number: int) -> str:
    mfa = "no MFA" if call.mfa is None else f"MFA {printable(call.mfa.serial)}"
    signer = call.source.signer if number == 1 else f"the session of call {number - 1}"
    signed = f"{call.proof} {signer}"
    where = _where(call.endpoint)
    duration = format_duration(call.duration)
    return f"{call.description}, {duration}, {mfa}, {signed}, in {where}"


def _where(endpoint: Endpoint) -> str:
    variants = {"FIPS": endpoint.use_fips, "dual-stack": endpoint.use_dualstack}
    chosen = ", ".join(name for name, wanted in variants.items() if wanted)
    where = printable(endpoint.region) if endpoint.url is None else redact_url(endpoint.url)
    return f"{where} ({chosen})" if chosen else where


def _keeping(until: int | None, now: float, kept: bool) -> str:
    if not kept:
        return "its session is not kept"
    if until is None or until <= now:
        return "its session will be kept"
    return f"a session is kept until {format_time(until)}"
