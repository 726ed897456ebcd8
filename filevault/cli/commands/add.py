"""`filevault add`: store a long-term access key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault import errors
from filevault.cli import new_key, sdk_profile
from filevault.cli.first_vault import add_options, check_vault, open_or_make
from filevault.cli.open_vault import choose_vault
from filevault.cli.profile_sections import append_or_say
from filevault.cli.questions import confirm_or_decline, require_terminal
from filevault.config.aws_config_edit import profile_section
from filevault.partitions import check_region
from filevault.plan.limits import serial_fault
from filevault.sources.stored import item_reference
from filevault.system.config_files import check_writable
from filevault.system.printable import printable, shell_word
from filevault.system.times import format_time
from filevault.vault.item import compose, parse_for_rewrite
from filevault.vault.names import encode_name

if TYPE_CHECKING:
    import argparse

    from filevault.cli.context import Context
    from filevault.cli.parser import Parser
    from filevault.vault.choose import VaultChoice
    from filevault.vault.vault import Vault

DESCRIPTION = """Store a long-term access key under the name of a profile.

The key id and the secret are asked for on the terminal, the secret without echo, unless --env or
--stdin gives them. A profile that the AWS config does not have is added to it."""


def configure(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument("profile", metavar="PROFILE")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--env", action="store_true", help="take AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    )
    source.add_argument(
        "--stdin",
        action="store_true",
        help="read JSON (aws iam create-access-key, credential_process), the console's CSV file, "
        "or two lines",
    )
    config = parser.add_mutually_exclusive_group()
    config.add_argument(
        "--no-config",
        "--no-add-config",
        action="store_true",
        dest="no_config",
        help="leave the AWS config alone",
    )
    config.add_argument(
        "--add-config",
        action="store_false",
        default=False,
        dest="no_config",
        help="add the profile to the AWS config (default)",
    )
    parser.add_argument("--mfa-serial", metavar="ARN", help="the user's MFA device")
    parser.add_argument("--region", metavar="R", help="the profile's region")
    parser.add_argument(
        "--sdk-profile",
        metavar="NAME",
        help="also add a profile through which SDKs get these credentials by themselves",
    )
    add_options(parser)
    parser.add_argument("--force", action="store_true", help="replace a stored key without asking")
    parser.add_argument(
        "--discard",
        action="store_true",
        help="with --force: replace even an item that cannot be decrypted",
    )


def needs_stdout(_args: argparse.Namespace) -> bool:
    """Return False: the output is only a confirmation."""
    return False


def run(args: argparse.Namespace, context: Context) -> int:
    """Check everything that can fail, then ask, then store."""
    _check_options(args)
    choice = choose_vault(context)
    check_vault(choice, context, makes=args.init)
    _check_profile(args, context)
    sections = _sections(args, choice, context)
    _check_writable(args, choice, context)
    with open_or_make(args, choice, context) as opened:
        uncommitted = _store(args, context, opened.vault)
        opened.remember_slot()
        context.reporter.result(f"Stored the key of profile {printable(args.profile)}.")
        sessions = opened.sessions_to_delete()
        dropped = sessions.drop_source(item_reference(args.profile)) if sessions is not None else 0
    if dropped:
        context.reporter.result(
            f"Deleted {dropped} session{'' if dropped == 1 else 's'} made from the old key."
        )
    _add_sections(args, context, sections)
    if uncommitted is not None:
        raise uncommitted
    return 0


def _store(
    args: argparse.Namespace, context: Context, vault: Vault
) -> errors.NotCommittedError | None:
    """Ask for the key and store it; return the error if git has no commit of it."""
    vault.check_recipients()
    before = _digest(vault, args.profile)
    old = _old_text(args, context, vault)
    new = _new_key(args, context)
    now = context.runtime.clock()
    created = new.created or format_time(now)
    origin = "iam" if new.created else "add"
    subject = f"Add given password for {vault.entry_path(args.profile)} to store."
    with vault.transaction():
        if _digest(vault, args.profile) != before:
            raise errors.StorageError(
                f"the key of {printable(args.profile)!r} was changed by another process; "
                "nothing was replaced",
                hint="run the command again",
            )
        text = compose(
            vault.path_name(args.profile),
            new.key,
            created=created,
            created_from=origin,
            mfa_serial=args.mfa_serial,
            old=old,
        )
        try:
            vault.write(args.profile, text, created=created, created_from=origin, subject=subject)
        except errors.NotCommittedError as error:
            return error  # the key is stored: the rest is done, too
    return None


def _digest(vault: Vault, name: str) -> str | None:
    try:
        return vault.item_digest(name) if vault.has(name) else None
    except errors.DamagedError:
        return "too large to be an item"  # which may be discarded, as every damaged one


def _check_options(args: argparse.Namespace) -> None:
    encode_name(args.profile, ".fv")
    if args.profile.startswith("mfa/"):
        raise errors.UsageError(
            "names that begin with mfa/ are reserved for TOTP seeds",
            hint="give the key another name, such as mfa-work",
        )
    if args.discard and not args.force:
        raise errors.UsageError(
            "--discard goes with --force",
            hint="add --force, or leave --discard out",
        )
    if args.region:
        check_region(args.region, "--region")
    fault = serial_fault(args.mfa_serial) if args.mfa_serial else None
    if fault is not None:
        raise errors.UsageError(
            f"--mfa-serial {printable(args.mfa_serial, 200)!r} is {fault[0]}", hint=fault[1]
        )
    if args.sdk_profile == args.profile:
        raise errors.UsageError(
            "--sdk-profile needs another name: a profile cannot be its own credential_process",
            hint="give the name of a profile to be made, such as work-sdk",
        )


def _check_profile(args: argparse.Namespace, context: Context) -> None:
    section = context.aws_config.profile(args.profile)
    source = section.values.get("source_profile") if section is not None else None
    # A profile that names itself means its own stored key.
    if section is not None and source and source != args.profile:
        raise errors.ConfigError(
            f"profile {printable(args.profile)!r} has a source_profile, which a key stored for "
            "it would hide",
            hint=f"store the key for {printable(source)!r}, or take "
            f"source_profile out at {printable(section.path)}:{section.line}",
        )
    if args.sdk_profile and context.aws_config.profile(args.sdk_profile) is not None:
        raise errors.ConfigError(
            f"the AWS config has a profile {printable(args.sdk_profile)!r} already"
        )
    warning = sdk_profile.warning(args.sdk_profile) if args.sdk_profile else None
    if warning is not None:
        context.reporter.warn(warning)


def _check_writable(args: argparse.Namespace, choice: VaultChoice, context: Context) -> None:
    """Fail early: raise StorageError if the key could not be stored, before prompting."""
    home = context.settings.home_if_known
    check_writable(f"{choice.root}/{encode_name(args.profile, choice.backend.suffix)}", home)
    if args.no_config:
        return
    try:
        check_writable(context.settings.aws_config_path, home)
    except errors.StorageError as error:
        context.reporter.warn(f"{error.message}; the key is stored anyway")


def _old_text(args: argparse.Namespace, context: Context, vault: Vault) -> bytes:
    """Return the text to rewrite, empty for a new item or a discarded one."""
    shown = printable(args.profile)
    if not vault.has(args.profile):
        if vault.is_sealed:  # writing to a pass or age vault needs no secret
            vault.unlock()
        return b""
    if not args.force:
        require_terminal(
            context.prompter,
            f"the key that is stored for {shown!r} would be replaced",
            "--force replaces it without asking",
        )
        confirm_or_decline(context.prompter, f"Replace the key that is stored for {shown}?")
    try:
        text = vault.plaintext(args.profile)
    except (errors.IntegrityError, errors.LockedError) as error:
        locked = isinstance(error, errors.LockedError)
        if locked and vault.is_sealed:  # nothing could be written either
            raise
        way = "--force --discard replaces it with the new key alone"
        lost: errors.FilevaultError
        if locked:
            hint = f"{error.hint}; {way}" if error.hint else way
            lost = errors.LockedError(error.message, hint=hint)
        else:
            lost = errors.DamagedError(f"{error.message}, and would be lost", hint=way)
        _discard(args, context, error, lost)
        return b""
    try:
        parse_for_rewrite(text, f"item {shown!r}")
    except errors.IntegrityError as error:
        _discard(args, context, error, error)
        return b""
    return text


def _discard(
    args: argparse.Namespace,
    context: Context,
    error: errors.FilevaultError,
    lost: errors.FilevaultError,
) -> None:
    """Ask whether an unreadable item may be discarded; raise `lost` if that cannot be asked."""
    if args.discard:
        return
    if args.force or not context.prompter.present:
        if lost is error:
            raise error
        raise lost from error
    context.prompter.say(f"{error.message[:1].upper()}{error.message[1:]}.")
    confirm_or_decline(context.prompter, "Discard it?")


def _new_key(args: argparse.Namespace, context: Context) -> new_key.NewKey:
    if args.env:
        return new_key.from_environment(context.settings.environ)
    if args.stdin:
        return new_key.from_stdin()
    require_terminal(
        context.prompter,
        "the key has to be typed in",
        "--env takes it from the environment, --stdin from a pipe",
    )
    return new_key.from_terminal(context.prompter)


def _sections(
    args: argparse.Namespace, choice: VaultChoice, context: Context
) -> list[tuple[str, dict[str, str]]]:
    """Return the sections to add; raises ConfigError for a value that the config cannot contain."""
    sections: list[tuple[str, dict[str, str]]] = []
    section = context.aws_config.profile(args.profile)
    if not args.no_config and section is None:
        sections.append((args.profile, _own_settings(args)))
    if args.sdk_profile:
        values = sdk_profile.section(context, choice, args.profile, args.region)
        sections.append((args.sdk_profile, values))
    for name, values in [*sections, (args.sdk_profile or "default", _own_settings(args))]:
        profile_section(name, values)
    return sections


def _own_settings(args: argparse.Namespace) -> dict[str, str]:
    wanted = (("region", args.region), ("mfa_serial", args.mfa_serial))
    return {key: value for key, value in wanted if value}


def _add_sections(
    args: argparse.Namespace, context: Context, sections: list[tuple[str, dict[str, str]]]
) -> None:
    own = _own_settings(args)
    if own and not args.no_config and args.profile not in [name for name, _ in sections]:
        lines = ", ".join(f"{key} = {printable(value)}" for key, value in own.items())
        context.reporter.warn(
            f"profile {printable(args.profile)!r} is in the AWS config already and stays as it "
            f"is: check that it has {lines}"
        )
    for name, values in sections:
        append_or_say(context, name, values)
    if args.sdk_profile:
        context.reporter.say(
            f"AWS_PROFILE={shell_word(args.sdk_profile)} uses it: {sdk_profile.SAFEGUARD}"
        )
