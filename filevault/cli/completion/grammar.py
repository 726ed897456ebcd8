"""What may stand at the cursor of a command line, found in the program's own parsers."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

from filevault.cli.command import ALIASES, COMMANDS, module_of, parser_of
from filevault.cli.parser import find_command, global_parser, split_command
from filevault.config.settings import GlobalOptions
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filevault.cli.parser import Parser

FILE, FOLDER, COMMAND = "files", "folders", "command"
PROFILE, STORED, SESSION = "profile", "stored", "session"
UNUSED = "unused"  # a profile for a key: one that has none stored
SIGN_IN, CLEARABLE = "sign-in", "clearable"
KEYSLOT, RECIPIENT, BACKEND = "keyslot", "recipient", "backend"
REGION, VAULT, PREFIX = "region", "vault", "prefix"
# Values that the AWS config has: the kind is the name of the setting.
MFA_SERIAL, ROLE_ARN = "mfa_serial", "role_arn"
SSO_ACCOUNT, SSO_ROLE = "sso_account_id", "sso_role_name"

# By the option, with the command in front where it differs between commands, or by the command
# and the name of a positional: what its value is. A value that is in neither table, such as a
# duration, cannot be known here.
OPTION_VALUES = {
    "--vault": FOLDER,
    "--pass-dir": FOLDER,
    "--prefix": PREFIX,
    "--to": VAULT,
    "--identity": FILE,
    "--passphrase-file": FILE,
    "--key-file": FILE,
    "--new-key-file": FILE,
    "--token-file": FILE,
    "--backend": BACKEND,
    "--slot": KEYSLOT,
    "--sdk-profile": PROFILE,
    "--region": REGION,
    "--mfa-serial": MFA_SERIAL,
    "--allow-role": ROLE_ARN,
    "--account": SSO_ACCOUNT,
    "--role": SSO_ROLE,
    "import --name": UNUSED,
}
POSITIONALS = {
    "add profile": UNUSED,
    "import source": FILE,
    "exec profile": PROFILE,
    "export profile": PROFILE,
    "serve profiles": PROFILE,
    "list profile": PROFILE,
    "login profile": PROFILE,
    "sso session": SESSION,
    "signin profile": SIGN_IN,
    "rotate profiles": STORED,
    "verify profiles": STORED,
    "remove profiles": STORED,
    "rename old": STORED,
    "rename new": UNUSED,
    "copy profile": STORED,
    "copy new": UNUSED,
    "clear profiles": CLEARABLE,
    "recipients remove": RECIPIENT,
    "recipients accept": STORED,
    "slot remove": KEYSLOT,
}
_WORDS = {
    "--prompt": ("terminal", "ykman", "none"),
    "help of": tuple(COMMANDS),
}
# With one of these a name may be that of a stored key, which is replaced, or is in another vault.
_REPLACING = frozenset({"-f", "--force", "--to"})
_SEVERAL = (STORED, CLEARABLE)  # a name that is given already is not offered again
_ACTION = re.compile(r"(\w+)(?: [A-Z.]+)? {2,}(.+)")


class Place(Record):
    """What may stand at the cursor.

    `kind` is one of the kinds above, or "" for nothing but `words`, which are (text, description).
    For COMMAND, `index` says at which word the other program's command line begins.
    """

    kind: str = ""
    words: tuple[tuple[str, str], ...] = ()
    index: int = 0


def place(words: Sequence[str]) -> Place:
    """Return what may stand in the place of the last word.

    `words` follow the name of the program and end with the one at the cursor, which may be empty.
    """
    before, current = list(words[:-1]), words[-1]
    index = find_command(before)
    if index is None:
        return _before_command(before, current)
    name = ALIASES.get(before[index], before[index])
    if name not in COMMANDS:
        return Place()
    if name == "git":
        return Place(COMMAND, index=index)
    parser = parser_of(name)
    own = before[:index] + before[index + 1 :]
    if hasattr(module_of(name), "split"):
        begin = _begin_of_command(parser, own, current)
        if begin is not None:
            return Place(COMMAND, index=begin + (begin >= index))
    return _in_command(name, parser, own, current)


def settings_given(words: Sequence[str]) -> GlobalOptions:
    """Return the options in a command line that say which vault is meant."""
    parser = global_parser()
    given: dict[str, str] = {}
    for word, values, is_option in parser.items(words):
        name, equals, text = word.partition("=")
        dest = name[2:].replace("-", "_") if is_option else ""
        if dest == "pass_prefix":
            dest = "prefix"
        if dest in ("vault", "backend", "prefix", "pass_dir") and (equals or values):
            given[dest] = text if equals else values[0]
    return GlobalOptions(**given)  # type: ignore[arg-type]


def _before_command(before: Sequence[str], current: str) -> Place:
    if "--" in before:
        return Place()
    found = _option("", global_parser(), before, current)
    return found if found is not None else Place(words=tuple(COMMANDS.items()))


def _in_command(name: str, parser: Parser, own: Sequence[str], current: str) -> Place:
    found = _option(name, parser, own, current)
    if found is not None:
        return found
    positionals: list[str] = []
    for word, values, is_option in parser.items(own):
        if word == "--":
            positionals += values
        elif not is_option:
            positionals.append(word)
    left = list(positionals)
    for action in parser.actions():
        if action.option_strings:
            continue
        if left and action.nargs != argparse.ZERO_OR_MORE:
            left.pop(0)
            continue
        dest = action.dest
        if dest in ("names", "id"):  # what they are depends on the word before
            dest = positionals[0]
        found = _values(action, f"{name} {dest}", left)
        if dest == "action":
            texts = _actions(parser.description)
            return Place(words=tuple((word, texts.get(word, "")) for word, _ in found.words))
        return _replaceable(found, parser, own)
    return Place()


def _replaceable(found: Place, parser: Parser, words: Sequence[str]) -> Place:
    """Return a place for unused profiles as one for any, if the options let a key be replaced."""
    given = {word.partition("=")[0] for word, _, is_option in parser.items(words) if is_option}
    return found._replace(kind=PROFILE) if found.kind == UNUSED and given & _REPLACING else found


def _actions(description: str) -> dict[str, str]:
    """Return what the description of a command says of each of its actions.

    There each is a line `NAME [ARGUMENT]  what it does`, which may go on in lines that are
    indented.
    """
    lines = re.sub(r"\n {2,}", " ", description).splitlines()
    return {each[1]: each[2] for line in lines if (each := _ACTION.match(line))}


def _option(command: str, parser: Parser, before: Sequence[str], current: str) -> Place | None:
    """Return the options or the values of one that may stand here; None for a positional."""
    if "--" in before:
        return None
    items = list(parser.items(before))
    if items and items[-1][2] and parser.takes_value(items[-1][0]) and not items[-1][1]:
        return _replaceable(_values_of_option(command, parser, items[-1][0]), parser, before)
    if not current.startswith("-"):
        return None
    if current.startswith("--") and "=" in current:
        value = _values_of_option(command, parser, current.partition("=")[0])
        return _replaceable(value, parser, before)
    given = {word.partition("=")[0] for word, _, is_option in items if is_option}
    words = []
    for action in parser.actions():
        if given.intersection(action.option_strings) and not isinstance(
            action, argparse._AppendAction
        ):
            continue
        words += [(each, action.help or "") for each in action.option_strings]
    return Place(words=tuple(words))


def _values_of_option(command: str, parser: Parser, word: str) -> Place:
    name = word if word.startswith("--") else f"-{word[-1]}"  # of a cluster the last letter
    for action in parser.actions():
        if name in action.option_strings and action.nargs != 0:
            option = action.option_strings[0]
            own = f"{command} {option}"
            return _values(action, own if own in OPTION_VALUES else option, ())
    return Place()


def _values(action: argparse.Action, key: str, given: Sequence[str]) -> Place:
    """Return the values of an option or positional, without those that are given already."""
    texts = _WORDS.get(key) or tuple(map(str, action.choices or ()))
    if texts:
        meanings = COMMANDS if key == "help of" else {}
        return Place(words=tuple((each, meanings.get(each, "")) for each in texts))
    kind = OPTION_VALUES.get(key) or POSITIONALS.get(key, "")
    return Place(kind, tuple((each, "") for each in given) if kind in _SEVERAL else ())


def _begin_of_command(parser: Parser, own: Sequence[str], current: str) -> int | None:
    """Return the index in `own` of the first word of the command to run, None before it."""
    mine, command = split_command(parser, own)
    if command or "--" in own:
        return len(own) - len(command)
    items = list(parser.items(mine))
    waiting = items and items[-1][2] and parser.takes_value(items[-1][0]) and not items[-1][1]
    if waiting or current.startswith("-"):
        return None
    return len(own) if any(not is_option for _, _, is_option in items) else None
