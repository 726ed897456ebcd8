"""What `list PROFILE` shows of a profile besides its row: key, account, MFA, role, vault."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from filevault.cli.open_vault import open_vault
from filevault.cli.profiles import StoredNames
from filevault.config.overrides import read_overrides
from filevault.config.profile import resolve
from filevault.credentials import account_of
from filevault.errors import FilevaultError
from filevault.system.record import Record

if TYPE_CHECKING:
    from filevault.cli.context import Context
    from filevault.cli.open_vault import OpenVault
    from filevault.config.profile import Profile
    from filevault.vault.choose import VaultChoice

_SHOWN = 4  # characters of an access key id


class ProfileDetails(Record):
    """The settings of a profile, and of the key that its credentials begin with.

    `key_profile` has that key, None if they begin elsewhere. `key` has the last characters of its
    id, None if it is not known without asking for a passphrase.
    """

    region: str | None
    role_arn: str | None
    mfa_serial: str | None
    account_id: str | None
    key_profile: str | None
    key: str | None
    vault: str | None
    backend: str | None


def profile_details(
    name: str, context: Context, choice: VaultChoice, opened: OpenVault | None
) -> ProfileDetails:
    """Return the details of a profile, with what options and variables override.

    The item of its key is opened only if that needs no prompt. Raises ConfigError,
    ProfileNotFoundError.
    """
    stored = StoredNames(None if opened is None else opened.vault)
    profile = resolve(
        context.aws_config,
        name,
        overrides=read_overrides(context.settings, None),
        has_item=stored.has,
    )
    chain = profile.chain
    owner = chain[0].name if chain[0].source == "stored" else None
    key, account = None, None
    if owner is not None and opened is not None:
        key, account = _key(owner, context, choice, opened)
    serials = (each.mfa_serial for each in reversed(chain))
    return ProfileDetails(
        profile.region,
        profile.role_arn,
        next((each for each in serials if each), None),
        _account(profile) or account,
        owner,
        None if key is None else key[-_SHOWN:],
        None if opened is None else choice.root,
        None if opened is None else choice.backend.name,
    )


def _account(profile: Profile) -> str | None:
    if profile.role_arn is not None:
        parts = profile.role_arn.split(":")
        return parts[4] if len(parts) > 5 and parts[4] else None
    return profile.account_id or profile.sso_account_id


def _key(
    name: str, context: Context, choice: VaultChoice, opened: OpenVault
) -> tuple[str | None, str | None]:
    """Return the id of a stored key and its account, as far as they are known without asking.

    In a vault for recipients both are what was seen last: opening an item might ask.
    """
    vault = opened.vault
    seen = vault.trust.seen(vault.path_name(name))
    known = (None, None) if seen is None else (seen.key_id, seen.account)
    if not vault.is_sealed:
        return known
    with (
        contextlib.suppress(FilevaultError),
        open_vault(
            choice, context.unattended(), checks_pin=False, asks=False, remembers=False
        ) as quiet,
    ):
        key_id = quiet.vault.item(name).key.access_key_id
        return key_id, account_of(key_id)
    return known
