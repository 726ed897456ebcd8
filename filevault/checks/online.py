"""Whether AWS accepts a key, and whose it is, by GetCallerIdentity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.aws.call import Caller
from filevault.aws.clients import Clients
from filevault.aws.sts import get_caller_identity
from filevault.checks.finding import Finding, error_finding
from filevault.credentials import Credentials
from filevault.errors import FilevaultError, PinError
from filevault.plan.sts_endpoint import sts_endpoint
from filevault.system.printable import printable
from filevault.system.record import Record
from filevault.vault.pin import accept_hint

if TYPE_CHECKING:
    from filevault.config.profile import Profile
    from filevault.vault.item import LongTermItem
    from filevault.vault.vault import Vault


class KeyAtAws(Record):
    """What AWS says of a key; `account` and `arn` are None if it says nothing.

    `accepted` is None if AWS could not be asked.
    """

    name: str
    access_key_id: str
    created: str | None
    accepted: bool | None = None
    account: str | None = None
    arn: str | None = None


def check_key(
    vault: Vault, name: str, item: LongTermItem, profile: Profile, *, allow_http: bool
) -> tuple[KeyAtAws, FilevaultError | None, list[Finding]]:
    """Ask AWS for the identity of a key; return it, the error if AWS refused, and the findings.

    Region and endpoint are those of the profile. The account is compared with the remembered one.
    """
    subject = f"item {printable(name)!r}"
    found = KeyAtAws(name, item.key.access_key_id, item.created)
    clients = Clients.short_timeouts(profile=name, allow_http=allow_http)
    credentials = Credentials(item.key.access_key_id, item.key.secret_access_key)
    try:
        endpoint = sts_endpoint(profile, profile.chain)
        identity = get_caller_identity(Caller(clients, endpoint, credentials, subject))
    except FilevaultError as error:
        refused = error.exit_status == 8
        accepted = False if refused else None
        return found._replace(accepted=accepted), error, [error_finding(subject, "aws", error)]
    found = found._replace(accepted=True, account=identity.account, arn=identity.arn)
    seen = vault.trust.seen(vault.path_name(name))
    if seen is not None and seen.account not in (None, identity.account):
        other = PinError(
            f"belongs to the AWS account {printable(identity.account, 40)}, and this machine knows "
            f"{printable(seen.account, 40)} for it",
            hint=accept_hint(name),
        )
        return found, None, [error_finding(subject, "account", other)]
    return found, None, []
