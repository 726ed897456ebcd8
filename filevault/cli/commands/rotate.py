"""`filevault rotate`: replace stored keys by new ones."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from filevault import errors
from filevault.cli.parser import duration
from filevault.cli.push import Publisher
from filevault.cli.rotations import Rotations
from filevault.cli.wiring import choose_vault, open_vault
from filevault.rotation.report import json_text, line
from filevault.system.printable import printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from filevault.cli.context import Context
    from filevault.cli.wiring import OpenVault
    from filevault.rotation.items import Items
    from filevault.rotation.outcome import Outcome
    from filevault.vault.vault import Vault

_KEY_ID = r"[A-Z0-9]{16,128}"  # as IAM makes them
DESCRIPTION = """Replace the stored key of profiles by a new one.

The new key is made, stored, and proven to work before the old one is deactivated and deleted. A
run that is cut off, wherever that is, is finished or undone by the next one."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("profiles", metavar="PROFILE", nargs="*")
    parser.add_argument("--all", action="store_true", help="every stored key")
    parser.add_argument(
        "--older-than",
        type=duration,
        metavar="TIME",
        help="only keys of at least that age, e.g. 90d",
    )
    parser.add_argument(
        "-n",
        "--no-session",
        action="store_true",
        help="never call GetSessionToken; a plain profile signs with its long-term key",
    )
    parser.add_argument(
        "--keep-old", action="store_true", help="leave the old key at AWS, inactive"
    )
    parser.add_argument(
        "--grace",
        type=duration,
        metavar="TIME",
        help="leave the old key inactive for a time; the first run after it deletes it",
    )
    parser.add_argument(
        "--delete-orphan",
        metavar="KEYID",
        help="first delete this key of the user, which the vault does not have",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="tell what would be done; call nothing"
    )
    parser.add_argument(
        "--push",
        action="store_true",
        help="push the new key with git before the old one is deactivated, and the end of it too",
    )
    parser.add_argument("--json", action="store_true", help="print an array of objects")
    parser.add_argument(
        "-t",
        "--mfa-token",
        metavar="CODE",
        help="the MFA code; - reads it from stdin (every local user can see arguments)",
    )
    parser.add_argument("--region", metavar="NAME", help="use this region for all calls")


def needs_stdout(args: argparse.Namespace) -> bool:
    """Tell whether more is printed than what was done."""
    return bool(args.json or args.dry_run)


def run(args: argparse.Namespace, context: Context) -> int:
    """Rotate one key after the other and report."""
    _check_options(args)
    choice = choose_vault(context)
    with open_vault(choice, context) as opened:
        return _rotate(args, opened, context)


def _rotate(args: argparse.Namespace, opened: OpenVault, context: Context) -> int:
    vault = opened.vault
    names = vault.names() if args.all else list(dict.fromkeys(args.profiles))
    with vault.memory.batch() if args.dry_run else _alone(vault):
        from filevault.rotation.items import Items

        publisher = Publisher(opened, context.reporter, pushing=args.push)
        items = Items(vault, context.reporter.warn, publisher.push if args.push else None)
        rotations = Rotations(args, opened, context, items, publisher)
        # What cannot be resolved shall not be learnt after the vault was opened.
        first = rotations.target(names[0]) if args.profiles and len(names) == 1 else None
        if not args.dry_run:
            vault.check_recipients()
            opened.require_commits(["/".join((*opened.choice.prefix, "any"))])
        items.load()
        opened.remember_slot()
        if args.all:
            names = _ours(names, items, context)
        outcomes: list[Outcome | str] = []
        try:
            for name in names:
                outcomes.append(_kept(args, rotations.rotate(name, first)))
        except (KeyboardInterrupt, errors.InterruptedByUserError):
            _tell_the_rest(args, context, rotations.settled(outcomes), len(names))
            raise
    outcomes = rotations.settled(outcomes)
    rotations.tell_unused_code()
    ended = [outcome for outcome in outcomes if not isinstance(outcome, str)]  # not a dry run's
    if any(outcome.done or outcome.result == "partly" for outcome in ended):
        publisher.tell_clones()
    return _report(args, context, outcomes)


def _kept(args: argparse.Namespace, outcome: Outcome) -> Outcome | str:
    """Return what is needed of an outcome in the end: of a dry run the text, of very many keys."""
    return _text(args, outcome) if args.dry_run and outcome.error is None else outcome


def _text(args: argparse.Namespace, outcome: Outcome) -> str:
    return json_text(outcome) if args.json else line(outcome)


def _ours(names: list[str], items: Items, context: Context) -> list[str]:
    """Leave out what others keep in a shared store: it is no failure of ours."""
    others = [name for name in names if items.is_others(name)]
    if not others:
        return names
    shown = ", ".join(repr(printable(name)) for name in others)
    context.reporter.notice(f"passed over, as encrypted to others or no AWS key: {shown}")
    return [name for name in names if not items.is_others(name)]


def _check_options(args: argparse.Namespace) -> None:
    if args.all == bool(args.profiles):
        raise errors.UsageError(
            "profiles and --all do not go together" if args.all else "no profile is given",
            hint="name one or more, or give --all",
        )
    if args.push and args.dry_run:
        raise errors.UsageError("--push and --dry-run do not go together")
    if any(not name for name in args.profiles):
        raise errors.UsageError("a profile is empty", hint="is a variable of the script unset?")
    if args.keep_old and args.grace is not None:
        raise errors.UsageError("--keep-old and --grace do not go together")
    if args.delete_orphan is not None and len(args.profiles) != 1:
        raise errors.UsageError("--delete-orphan goes with exactly one profile")
    if args.delete_orphan is not None and not re.fullmatch(_KEY_ID, args.delete_orphan, re.ASCII):
        raise errors.UsageError(
            "the value of --delete-orphan is no access key id",
            hint="it has capital letters and digits, such as AKIAIOSFODNN7EXAMPLE",
        )


@contextlib.contextmanager
def _alone(vault: Vault) -> Iterator[None]:
    """Let no second rotation of the vault begin. Raises LockedError if one is under way."""
    from filevault.system.locks import key_lock

    def give_up() -> None:
        raise errors.LockedError(
            "another rotation of this vault is under way", hint="wait for it to end"
        )

    state = vault.state
    if state is None:
        raise errors.StorageError(
            "the state directory cannot be written, so a second rotation could not be kept away",
            hint="set HOME or XDG_STATE_HOME to a folder of yours that can be written",
        )
    with key_lock(state, "rotate.lock", give_up):
        yield


def _report(args: argparse.Namespace, context: Context, outcomes: list[Outcome | str]) -> int:
    """Print what came of it, errors on stderr, and return the exit status.

    Raises the error where there is just one profile.
    """
    _show(args, context, outcomes, told=args.dry_run or context.reporter.messages_on_terminal)
    whole = [outcome for outcome in outcomes if not isinstance(outcome, str)]
    failed = [outcome for outcome in whole if outcome.error is not None]
    if not failed:
        return 0
    some = any(outcome.done or outcome.result == "partly" for outcome in whole)
    if len(outcomes) == 1:
        raise _single(failed[0])
    _report_errors(context, failed)
    statuses = [outcome.error.exit_status for outcome in failed if outcome.error is not None]
    if all(
        isinstance(outcome.error, errors.NotCommittedError) and outcome.done for outcome in failed
    ):
        return statuses[0]  # all is done, but not committed
    return errors.PartlyDoneError.exit_status if some else statuses[0]


def _show(
    args: argparse.Namespace, context: Context, outcomes: list[Outcome | str], *, told: bool
) -> None:
    """Print the results; as text only where they are to be `told`."""
    if not (args.json or told):
        return
    texts = (each if isinstance(each, str) else _text(args, each) for each in outcomes)
    if not args.json:
        for text in texts:
            context.reporter.result(text)
        return
    import textwrap

    # What json.dumps makes of a list, one at a time.
    context.reporter.write("[")
    for number, text in enumerate(texts):
        context.reporter.write(f"{',' if number else ''}\n{textwrap.indent(text, '  ')}")
    context.reporter.result("\n]" if outcomes else "]")


def _report_errors(context: Context, outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        if outcome.error is not None:
            said = f"{printable(outcome.profile)}: {outcome.error.message}"
            context.reporter.error(errors.FilevaultError(said, hint=outcome.error.hint))


def _tell_the_rest(
    args: argparse.Namespace, context: Context, outcomes: list[Outcome | str], count: int
) -> None:
    """Say after Ctrl-C what is done, and who does the rest."""
    _show(args, context, outcomes, told=True)
    _report_errors(context, [each for each in outcomes if not isinstance(each, str)])
    rest = ""
    if count > 1:
        rest = f", which does the rest too: {len(outcomes)} of {count} profiles are dealt with"
    context.reporter.say(f"what was begun is finished by the next filevault rotate{rest}")


def _single(outcome: Outcome) -> errors.FilevaultError:
    error = outcome.error
    assert error is not None  # noqa: S101 - for mypy
    if outcome.result != "partly":
        return error
    state = "not gone" if outcome.old_state is None else f"still {outcome.old_state}"
    partly = errors.PartlyDoneError(
        f"the new key {outcome.new_key} is in place, but the old one, {outcome.old_key}, is "
        f"{state}: {error.message}",
        hint=error.hint or "give the command again to finish",
    )
    partly.__cause__ = error
    return partly
