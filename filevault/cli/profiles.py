"""Resolve profiles against the AWS config and the keys of a vault, and plan them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault import errors
from filevault.config.profile import resolve
from filevault.plan.planner import Plan, PlanOptions, plan
from filevault.system.printable import printable
from filevault.vault.lookup import hint_at_top

if TYPE_CHECKING:
    from collections.abc import Container

    from filevault.cli.context import Context
    from filevault.config.credential_process import ExportCommand
    from filevault.config.overrides import Overrides
    from filevault.config.profile import Profile
    from filevault.vault.choose import VaultChoice
    from filevault.vault.vault import Vault


def profile_name(given: str | None, context: Context, *, may_ask: bool = False) -> str:
    """Return the profile that is meant: the argument, else `AWS_PROFILE`.

    With `may_ask` a person at the terminal picks one where neither is given. Raises UsageError,
    and KeyboardInterrupt if the person picks none.
    """
    if given == "":
        raise errors.UsageError(
            "the profile is empty", hint="is a variable of the script unset? name a profile"
        )
    name = given or context.settings.get("AWS_PROFILE")
    if name is None and may_ask:
        from filevault.cli.picker import pick_profile

        name = pick_profile(context)
    if name is None:
        raise errors.UsageError(
            "no profile is given", hint="name one, or set AWS_PROFILE; filevault list shows them"
        )
    return name


class StoredNames:
    """Look up which profiles have a stored key, and record those that have none.

    Args:
        vault: None if there is no vault; then no profile has one.
        loaded: names of items that were loaded already, which need no look into the store.
    """

    def __init__(self, vault: Vault | None, loaded: Container[str] = ()) -> None:
        self._vault = vault
        self._loaded = loaded
        self.missing: list[str] = []

    def has(self, name: str) -> bool:
        """Return whether a key is stored for a profile; nothing is decrypted."""
        if name in self._loaded:
            return True
        try:
            found = self._vault is not None and self._vault.has(name)
        except errors.UsageError:
            found = False  # no item can have such a name
        if not found:
            self.missing.append(name)
        return found


class Profiles:
    """Resolve and plan profiles; nothing is decrypted and AWS is not called.

    Args:
        context: the run's dependencies.
        choice: the vault that was looked for.
        vault: the same, open; None if it does not exist.
        overrides: settings of options and variables that replace those of every profile.
        loaded: as in `StoredNames`.
    """

    def __init__(
        self,
        context: Context,
        choice: VaultChoice,
        vault: Vault | None,
        overrides: Overrides,
        loaded: Container[str] = (),
    ) -> None:
        self._context = context
        self._choice = choice
        self._vault = vault
        self._overrides = overrides
        self._stored = StoredNames(vault, loaded)

    def resolve(self, name: str) -> Profile:
        """Decide every setting of a profile; warn of lines that have no effect.

        Raises ConfigError, NoCredentialsError, and PinError for a planted key.
        """
        context = self._context
        try:
            profile = resolve(
                context.aws_config,
                name,
                overrides=self._overrides,
                has_item=self._stored.has,
                follows=self._uses_this_vault,
            )
        except (errors.ProfileNotFoundError, errors.NoCredentialsError) as error:
            raise self._with_absent(error) from error
        _warn(profile, context)
        if profile.chain[0].shadowed:  # a planted key would hide another source
            from filevault.vault.planted_key import refuse_planted_key

            refuse_planted_key(self._vault, profile)
        for sentence in absent_config(context):
            context.reporter.notice(sentence)
        return profile

    def plan(self, profile: Profile, options: PlanOptions) -> Plan:
        """Decide which calls a profile needs. Raises what `filevault.plan.planner.plan` raises."""
        try:
            return plan(profile, options)
        except (errors.NoCredentialsError, errors.NoSourceError) as error:
            if not self._choice.exists:
                from filevault.vault.lost_vault import adoptions, no_vault

                reason = no_vault(self._choice).message
                if isinstance(error, errors.NoSourceError):
                    raise error.add_context(reason) from error
                hint = "; ".join([*adoptions(self._choice), error.hint or ""])
                raise errors.NoVaultError(f"{error.message}; {reason}", hint=hint) from error
            if isinstance(error, errors.NoCredentialsError):
                raise self._with_absent(error) from error
            raise

    def _uses_this_vault(self, command: ExportCommand) -> bool:
        from filevault.cli.sdk_profile import same_vault

        return same_vault(command, self._context, self._choice)

    def _with_absent(
        self, error: errors.ProfileNotFoundError | errors.NoCredentialsError
    ) -> errors.FilevaultError:
        """Return the error with the files and folders that were searched and do not exist."""
        absent = absent_config(self._context)
        hint = hint_at_top(self._choice, self._stored.missing) or error.hint
        unknown = isinstance(error, errors.ProfileNotFoundError)
        missing = self._stored.missing  # empty where an included profile is the unknown one
        if unknown and missing and self._vault is not None and "did you mean" not in (hint or ""):
            from filevault.cli.absent_key import similar_key

            guess = similar_key(missing[-1], self._vault)
            hint = hint if guess is None else f"did you mean {printable(guess)!r}?"
        if absent:
            hint = "check AWS_CONFIG_FILE"
        if not self._choice.exists:
            from filevault.vault.lost_vault import no_vault

            absent.append(no_vault(self._choice).message)
        return error.add_context("; ".join(absent), hint=hint)


def absent_config(context: Context) -> list[str]:
    """Return one sentence if `AWS_CONFIG_FILE` names a file that does not exist, else nothing."""
    config = context.settings.aws_config_path
    if not context.settings.get("AWS_CONFIG_FILE") or context.settings.inputs.exists(config):
        return []
    return [f"AWS_CONFIG_FILE names {printable(config)!r}, which is not there"]


def _warn(profile: Profile, context: Context) -> None:
    """Warn of lines in the sections of a chain that have no effect."""
    for each in reversed(profile.chain):
        for text in each.warnings:
            context.reporter.warn(text)
        if each.shadowed:
            stored = each.source == "stored"
            setting = "source_profile"
            if not stored and each.source != "profile":
                setting = (each.source_where or "").partition(" ")[0]
            has, used = ("a stored key", "the stored key") if stored else (setting, setting)
            context.reporter.warn(
                f"profile {printable(each.name)!r} has {has} and also "
                f"{' and '.join(each.shadowed)}: {used} is used"
            )
