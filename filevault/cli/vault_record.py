"""Record in config.toml which vault `init` made or adopted, so that commands find it again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from filevault.backends.definition import RECIPIENTS, SEALED
from filevault.config.config_toml_edit import name_vault
from filevault.config.settings import Settings
from filevault.errors import ConfigError, FilevaultError, StorageError
from filevault.system.config_files import edit_config
from filevault.system.printable import printable, shell_word
from filevault.vault.choose import at_default, choose
from filevault.vault.lost_vault import is_lost

if TYPE_CHECKING:
    from filevault.cli.context import Context
    from filevault.vault.choose import VaultChoice


def record(choice: VaultChoice, context: Context) -> None:
    """Make the new vault the one that commands use, or print how to.

    Values of options are recorded, and only if nothing else is recorded or exists by default. For a
    store of another tool all values that lead to it are recorded: its default path may change.
    """
    wanted = _wanted(choice, context)
    config = context.settings.config
    vault = config.vault and os.path.abspath(context.settings.expand(config.vault))
    noted = {"backend": config.backend, "vault": vault, "prefix": config.prefix}
    if all(noted[key] == value for key, value in wanted.items()):
        return
    free = all(value is None for value in noted.values()) and not _is_another_there(choice, context)
    if free and _note(wanted, context) and _leads_back(choice, context):
        context.reporter.say(
            f"commands use this vault from now on: noted in {printable(config.path)}"
        )
    else:
        _say_how(choice, context)


def _wanted(choice: VaultChoice, context: Context) -> dict[str, str]:
    """Return the keys of config.toml that lead to the vault; none if no option chose it."""
    settings = context.settings
    options = settings.options
    if choice.backend.family == SEALED:
        if options.vault is None:
            return {}
        known = settings.home_if_known is not None
        usual = os.path.abspath(settings.default_vault) if known else None
        return {} if choice.store == usual else {"vault": choice.store}
    if (options.backend, options.vault, options.pass_dir, options.prefix) == (None,) * 4:
        return {}
    prefix = "/".join(choice.prefix)
    return {"backend": choice.backend.name, "vault": choice.store, "prefix": prefix}


def _is_another_there(choice: VaultChoice, context: Context) -> bool:
    """Return whether another vault exists, or existed, at a default path."""
    settings = context.settings
    if settings.home_if_known is None:  # the default paths are unknown
        return True
    return any(
        (other.exists or is_lost(other, settings.state_home)) and other.store != choice.store
        for other in at_default(settings)
    )


def _note(wanted: dict[str, str], context: Context) -> bool:
    """Add keys to config.toml; return whether that was possible."""
    # Values that TOML would have to escape are not written into a user's configuration.
    if not all(value.isprintable() and "'" not in value for value in wanted.values()):
        return False
    text = "".join(f"{key} = '{value}'\n" for key, value in wanted.items()).encode()
    settings = context.settings
    try:
        edit_config(
            settings.config_path,
            lambda old: old + (b"" if old[-1:] in (b"", b"\n") else b"\n") + text,
            context.edit_rules,
        )
    except (ConfigError, StorageError) as error:
        context.reporter.warn(error.message)
        return False
    return True


def _leads_back(choice: VaultChoice, context: Context) -> bool:
    """Return whether commands without options find the vault; a variable may choose another."""
    try:
        found = choose(Settings(context.settings.environ))
    except FilevaultError:
        return False
    return (found.root, found.backend) == (choice.root, choice.backend)


def move_record(old: VaultChoice, new: VaultChoice, context: Context) -> None:
    """Make commands use another vault than before, or print how to.

    config.toml is changed if nothing but config.toml and the defaults led to the old vault: what
    an option or a variable names stays named there. Nothing is done if commands use the new one.
    """
    if _leads_back(new, context):
        return
    sealed = new.backend.family == SEALED
    values = {"backend": new.backend.name, "vault": new.store, "prefix": "/".join(new.prefix)}
    settings = context.settings
    if _leads_back(old, context) and not _is_named_by_variable(context):
        try:
            name_vault(
                settings.config_path,
                {"vault": new.store} if sealed else values,
                context.edit_rules,
            )
        except (ConfigError, StorageError) as error:
            context.reporter.warn(error.message)
        if _leads_back(new, context):
            context.reporter.say(
                f"commands use this vault from now on: noted in {printable(settings.config_path)}"
            )
            return
    _say_how(new, context)


def _is_named_by_variable(context: Context) -> bool:
    settings = Settings(context.settings.environ)
    return settings.vault is not None or settings.backend is not None


def say_how_to_name_identities(choice: VaultChoice, context: Context) -> None:
    """Print how commands find identities that options named: these are not recorded."""
    paths = context.settings.options.identity
    if not paths or not choice.backend.has_identities:
        return
    words = [shell_word(os.path.abspath(context.settings.expand(path))) for path in paths]
    options = " ".join(f"--identity {word}" for word in words)
    export = f", or export FILEVAULT_AGE_IDENTITY_FILE={words[0]}" if len(words) == 1 else ""
    context.reporter.say(
        f"which identity opens the vault is not noted: give {options} to each command{export}"
    )


def _say_how(choice: VaultChoice, context: Context) -> None:
    named = {"vault": choice.store}
    if choice.backend.family == RECIPIENTS:
        named |= {"backend": choice.backend.name, "prefix": "/".join(choice.prefix)}
    variables = {
        "vault": "FILEVAULT_DIR",
        "backend": "FILEVAULT_BACKEND",
        "prefix": "FILEVAULT_PREFIX",
    }
    options = " ".join(f"--{key} {shell_word(value)}" for key, value in named.items())
    exports = " ".join(f"{variables[key]}={shell_word(value)}" for key, value in named.items())
    context.reporter.say(f"to use it: filevault {options} ..., or export {exports}")
