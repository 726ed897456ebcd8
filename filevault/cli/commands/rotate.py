"""`filevault rotate`: replace stored keys by new ones."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from filevault import errors
from filevault.cli.open_vault import choose_vault, open_vault
from filevault.cli.parser import duration
from filevault.cli.rotation_push import Publisher
from filevault.cli.rotations import ProfileRotator
from filevault.credentials import is_key_id
from filevault.rotation.batch import Batch
from filevault.rotation.items import Items
from filevault.rotation.report import exit_status, json_text, line, single_error
from filevault.system.printable import printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from filevault.cli.context import Context
    from filevault.cli.open_vault import OpenVault
    from filevault.cli.parser import Parser
    from filevault.rotation.outcome import Outcome
    from filevault.vault.vault import Vault

DESCRIPTION = """Replace the stored key of profiles by a new one.

The new key is made, stored, and proven to work before the old one is deactivated and deleted. If
a run is interrupted at any step, the next one finishes or undoes it."""


def configure(parser: Parser) -> None:
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
        "--dry-run", action="store_true", help="print what would be done; call nothing"
    )
    parser.add_argument(
        "--push",
        action="store_true",
        help="push with git: the new key before the old one is deactivated, and later its end",
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
    """Return whether a result is printed, not only messages about the keys."""
    return bool(args.json or args.dry_run)


def run(args: argparse.Namespace, context: Context) -> int:
    """Rotate one key after the other and report."""
    _check_options(args)
    with open_vault(choose_vault(context), context) as opened:
        return _rotate(args, opened, context)


def _rotate(args: argparse.Namespace, opened: OpenVault, context: Context) -> int:
    vault = opened.vault
    with contextlib.nullcontext() if args.dry_run else _rotation_lock(vault):
        publisher = Publisher(opened, context.reporter, pushing=args.push)
        items = Items(vault, context.reporter.warn, publisher.push if args.push else None)
        rotator = ProfileRotator(args, opened, context, items, publisher)
        names = list(dict.fromkeys(args.profiles))
        # Report a profile that cannot be resolved before asking for a secret.
        target = rotator.target(names[0]) if len(names) == 1 else None
        if not args.dry_run:
            vault.check_recipients()
            opened.require_commits(["/".join((*opened.choice.prefix, "any"))])
        stored = items.load(names[0] if len(names) == 1 else None)
        opened.remember_slot()
        if args.all:
            names = _without_others(stored, items, context)
        batch = Batch(
            items,
            rotator,
            retry_as_user=args.all,
            dry_run=args.dry_run,
            notice=context.reporter.notice,
        )
        outcomes: list[Outcome | str] = []
        try:
            with vault.memory.batch() if args.dry_run else contextlib.nullcontext():
                for name in names:
                    outcomes.append(_outcome_or_text(args, batch.rotate(name, target)))
        except (KeyboardInterrupt, errors.InterruptedByUserError):
            _report_interrupted(args, context, batch.settled(outcomes), len(names))
            raise
    outcomes = batch.settled(outcomes)
    rotator.warn_of_unused_code()
    if any(outcome.changed_key for outcome in _whole(outcomes)):
        publisher.hint_at_clones()
    return _report(args, context, outcomes)


def _outcome_or_text(args: argparse.Namespace, outcome: Outcome) -> Outcome | str:
    """Return an outcome, but of a dry run only its text: there may be very many."""
    return _text(args, outcome) if args.dry_run and outcome.error is None else outcome


def _whole(outcomes: list[Outcome | str]) -> list[Outcome]:
    return [outcome for outcome in outcomes if not isinstance(outcome, str)]


def _text(args: argparse.Namespace, outcome: Outcome) -> str:
    return json_text(outcome, "  ") if args.json else line(outcome)


def _without_others(names: list[str], items: Items, context: Context) -> list[str]:
    """Return names without the items of a shared store that belong to others."""
    others = [name for name in names if items.belongs_to_others(name)]
    if not others:
        return names
    shown = ", ".join(repr(printable(name)) for name in others)
    context.reporter.notice(f"passed over, as encrypted to others or no AWS key: {shown}")
    return [name for name in names if not items.belongs_to_others(name)]


def _check_options(args: argparse.Namespace) -> None:
    if args.all == bool(args.profiles):
        raise errors.UsageError(
            "profiles and --all do not go together" if args.all else "no profile is given",
            hint="name one or more, or give --all",
        )
    if args.push and args.dry_run:
        raise errors.UsageError(
            "--push and --dry-run do not go together", hint="leave one of them out"
        )
    if any(not name for name in args.profiles):
        raise errors.UsageError("a profile is empty", hint="is a variable of the script unset?")
    if args.keep_old and args.grace is not None:
        raise errors.UsageError(
            "--keep-old and --grace do not go together",
            hint="leave one of them out: --grace revokes the old key later, --keep-old never",
        )
    if args.delete_orphan is not None and len(args.profiles) != 1:
        raise errors.UsageError(
            "--delete-orphan goes with exactly one profile",
            hint="name the profile whose user has that key",
        )
    orphan = args.delete_orphan
    if orphan is not None and not (is_key_id(orphan) and orphan.isupper()):
        raise errors.UsageError(
            "the value of --delete-orphan is not an access key id",
            hint="it has capital letters and digits, such as AKIAIOSFODNN7EXAMPLE",
        )


@contextlib.contextmanager
def _rotation_lock(vault: Vault) -> Iterator[None]:
    """Hold the rotation lock of the vault; raise BusyError if another rotation is running."""
    from filevault.system.locks import key_lock

    def give_up() -> None:
        raise errors.BusyError(
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
    """Print the outcomes, errors on stderr, and return the exit status.

    Raises the error if there is only one profile.
    """
    _print(args, context, outcomes, as_text=args.dry_run or context.reporter.messages_on_terminal)
    whole = _whole(outcomes)
    if len(outcomes) == 1 and whole:
        error = single_error(whole[0])
        if error is not None:
            raise error
    _print_errors(context, whole)
    return exit_status(whole)


def _print(
    args: argparse.Namespace, context: Context, outcomes: list[Outcome | str], *, as_text: bool
) -> None:
    """Print the outcomes with `--json`, else if they are wanted `as_text`."""
    if not (args.json or as_text):
        return
    texts = (each if isinstance(each, str) else _text(args, each) for each in outcomes)
    if not args.json:
        for text in texts:
            context.reporter.result(text)
        return
    # The same as json.dumps writes, one object at a time.
    context.reporter.write("[")
    for number, text in enumerate(texts):
        context.reporter.write(f"{',' if number else ''}\n{text}")
    context.reporter.result("\n]" if outcomes else "]")


def _print_errors(context: Context, outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        if outcome.error is not None:
            message = f"{printable(outcome.profile)}: {outcome.error.message}"
            context.reporter.error(errors.FilevaultError(message, hint=outcome.error.hint))


def _report_interrupted(
    args: argparse.Namespace, context: Context, outcomes: list[Outcome | str], count: int
) -> None:
    """Print after Ctrl-C which profiles are done, and which command does the rest."""
    _print(args, context, outcomes, as_text=True)
    _print_errors(context, _whole(outcomes))
    rest = ""
    if count > 1:
        rest = f", which does the rest too: {len(outcomes)} of {count} profiles are done"
    context.reporter.say(f"what was begun is finished by the next filevault rotate{rest}")
