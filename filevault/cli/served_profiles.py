"""ServedProfiles: plans that a server carries out again and again, in short-lived copies."""

from __future__ import annotations

import argparse
import binascii
import contextlib
from typing import TYPE_CHECKING

from filevault.aws.endpoint import Endpoint
from filevault.calls.call import calls_of
from filevault.cli.obtain import Obtainer
from filevault.cli.open_vault import open_vault_if_any
from filevault.errors import FilevaultError, UsageError
from filevault.keycache.cached_key import IDENTITIES_MARK, MAX_KEY_SIZE, SESSION, VAULT
from filevault.keycache.process_memory import ProcessMemory
from filevault.partitions import FALLBACK_REGION
from filevault.server.metadata_endpoint import RELIED_ON
from filevault.server.peer_uid import can_find_peers
from filevault.server.renewing_process import Obtained, Order, Outcome
from filevault.server.served_credentials import ADVISORY, ServedCredentials
from filevault.system.exhaustion import exhausted
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filevault.cli.context import Context
    from filevault.cli.open_vault import OpenVault
    from filevault.config.settings import Settings
    from filevault.plan.planner import Plan
    from filevault.vault.choose import VaultChoice

_INTERRUPTED = 130
_ROLE_LIFE = 3600  # seconds; AWS grants a role that is assumed from a session no more
_LONGEST_FAILURE = 600  # characters


class ServedProfile:
    """A plan to serve, and roles on top of it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    @property
    def life(self) -> int:
        """The seconds that a new session is planned to live, 0 if its source decides that."""
        calls = calls_of(self.plan.step)
        return calls[-1].duration if calls else 0

    @property
    def longest_window(self) -> float:
        """The seconds before the expiry in which it is renewed, if the life is long enough."""
        from filevault.sources.login_session import MINIMUM_LIFE, LoginSession

        return MINIMUM_LIFE if isinstance(self.plan.step, LoginSession) else ADVISORY

    def served(self, *, lazy: bool, ec2: bool) -> ServedCredentials:
        """Return what is to be served, with `ec2` at a metadata endpoint; nothing is obtained."""
        return ServedCredentials(
            repr(printable(self.plan.profile)),
            self.life,
            on_demand=lazy,
            longest=self.longest_window,
            least=RELIED_ON if ec2 else 0,
        )

    def role_life(self) -> int:
        """Return the seconds that a session of a role on top of it lives."""
        return min(_ROLE_LIFE, self.life) if self.life else _ROLE_LIFE

    def with_role(self, arn: str) -> Plan:
        """Return the plan of a role that is assumed with these credentials."""
        from filevault.calls.assume_role import AssumeRole

        plan = self.plan
        calls = calls_of(plan.step)
        endpoint = (
            calls[-1].endpoint
            if calls
            else Endpoint(plan.region or FALLBACK_REGION, plan.endpoint_url)
        )
        step = AssumeRole(plan.profile, plan.step, arn, self.role_life(), endpoint)
        return plan._replace(step=step, account_id=arn.split(":")[4], warnings=())


def plan_profiles(
    args: argparse.Namespace, context: Context, choice: VaultChoice, names: Sequence[str]
) -> list[ServedProfile]:
    """Return the plans of profiles. Raises what planning raises, and UsageError."""
    found = []
    with open_vault_if_any(choice, context) as opened:
        obtainer = Obtainer(args, context, choice, opened)
        for name in names:
            plan = obtainer.plan(name)
            refuse_long_term(plan)
            found.append(ServedProfile(plan))
    return found


class ServedProfiles:
    """Carries out orders of a server; see `filevault.server.renewing_process`.

    Args:
        args: the options for sessions.
        context: the run's dependencies; another key store is added to it.
        choice: the vault.
        profiles: by the numbers of the orders.
        verb: the command that serves, for the log of issued credentials.

    `program` is the program that the credentials are served to, None for any.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        context: Context,
        choice: VaultChoice,
        profiles: Sequence[ServedProfile],
        verb: str,
    ) -> None:
        self.program: str | None = None
        self._verb = verb
        self._args = args
        self._context = context
        self._choice = choice
        self._profiles = profiles
        self._memory = ProcessMemory()
        context.add_key_store(self._memory)

    def reload(self) -> str | None:
        """Plan all profiles again, by the AWS config as it is now; return why if one fails.

        Then the former plans stay.
        """
        names = [each.plan.profile for each in self._profiles]
        try:
            self._profiles = plan_profiles(
                self._args, self._context.unattended(), self._choice, names
            )
        except FilevaultError as error:
            return printable(error.message, _LONGEST_FAILURE)
        except Exception as error:  # noqa: BLE001 - it must not end what is served
            return _bug(error).message
        return None

    def keep(self, keys: Sequence[tuple[str, str, str]]) -> None:
        """Keep keys of the vault for later orders."""
        for key_type, mark, key in keys:
            self._memory.keep(self._choice.state_id, key_type, mark, binascii.a2b_base64(key))

    def obtain(self, order: Order) -> Obtained:
        """Carry out an order; a failure is an outcome."""
        try:
            return self._obtained(order)
        except KeyboardInterrupt:
            return Obtained(Outcome(order.served, failure="interrupted", status=_INTERRUPTED))
        except FilevaultError as error:
            message = printable(error.message, _LONGEST_FAILURE)
            hint = printable(error.hint, _LONGEST_FAILURE) if error.hint else None
            status = error.exit_status
        except Exception as error:  # noqa: BLE001 - a bug must not end in silence
            reason = _bug(error)
            message, hint, status = reason.message, reason.hint, reason.exit_status
        return Obtained(Outcome(order.served, failure=message, hint=hint, status=status))

    def _obtained(self, order: Order) -> Obtained:
        profile = self._profiles[order.profile]
        plan = profile.plan if order.role is None else profile.with_role(order.role)
        context = self._context if order.attended else self._context.unattended()
        with open_vault_if_any(self._choice, context) as opened:
            obtainer = Obtainer(self._options(order), context, self._choice, opened)
            issued = obtainer.credentials(plan)
            keys = self._keys(opened) if opened is not None and order.attended else ()
        outcome = Outcome(order.served, issued.credentials, issued.account_id, plan.region)
        if issued.credentials.session_token is None or issued.credentials.expiration is None:
            outcome = Outcome(
                order.served,
                failure="a server issues temporary credentials with an expiry only, and these "
                "have none",
                hint="leave --no-session out, or assume a role",
                status=2,
            )
        else:
            context.record_issued(plan.profile, self._verb, issued.credentials, self.program)
        return Obtained(outcome, keys)

    def _options(self, order: Order) -> argparse.Namespace:
        values = dict(vars(self._args))
        if not order.attended:
            values |= {"refresh": False, "mfa_token": None}
        if order.min_ttl is not None:
            given = values["min_ttl"]
            if given is None:
                given = self._context.settings.duration("AWS_MIN_TTL") or 0
            values["min_ttl"] = max(order.min_ttl, given)
        return argparse.Namespace(**values)

    def _keys(self, opened: OpenVault) -> tuple[tuple[str, str, str], ...]:
        """Return the keys of an opened vault that renewals without a person need."""
        if not opened.vault.is_open:
            return ()
        found = []
        if opened.keys.unwrapped is not None:
            found.append((SESSION, *opened.keys.unwrapped))
        if self._uses_long_term_keys():
            with contextlib.suppress(FilevaultError):
                key = opened.vault.backend.vault_key()
                if key is not None and len(key) <= MAX_KEY_SIZE:
                    found.append((VAULT, opened.pin().commitment or IDENTITIES_MARK, key))
        return tuple(
            (kind, mark, binascii.b2a_base64(key, newline=False).decode("ascii"))
            for kind, mark, key in found
        )

    def _uses_long_term_keys(self) -> bool:
        """Return whether a renewal can use a long-term key without a person."""
        return any(
            all(
                call.mfa is None or call.mfa.process is not None
                for call in calls_of(each.plan.step)
            )
            for each in self._profiles
        )


def _bug(error: Exception) -> FilevaultError:
    """Return the error for an exception that is none of filevault's."""
    return exhausted(error) or FilevaultError(f"unexpected {type(error).__name__}")


def refuse_long_term(plan: Plan) -> None:
    """Raise UsageError for a plan without a session."""
    if plan.step.is_long_term:
        raise UsageError(
            f"profile {printable(plan.profile)!r}: only temporary credentials can be served, and "
            "these are a long-term key",
            hint="leave --no-session out",
        )


def forget_secrets(settings: Settings) -> None:
    """Forget in this process, and so in a command, what only renewals need."""
    if settings.names_descriptor:
        from filevault.unlock.secret_sources import close_descriptors

        close_descriptors(settings)
    settings.forget_secrets()


def refuse_unknown_users(*, allow: bool) -> None:
    """Raise UsageError if a metadata endpoint cannot see which user asks, unless all may."""
    if not allow and not can_find_peers():
        raise UsageError(
            "the users who ask cannot be told apart here: /proc/net/tcp cannot be read, or this "
            "user is the one that stands for all unknown ones",
            hint="use a container credentials endpoint, or give --allow-local-users",
        )
