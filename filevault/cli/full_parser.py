"""The parser of argparse: reads command lines of every form, words refusals, prints help."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, NoReturn

from filevault.cli import streams
from filevault.cli.parser import ONCE
from filevault.errors import UsageError
from filevault.system.printable import printable

if TYPE_CHECKING:
    from filevault.cli.parser import Parser

# Messages are English and part of the interface, so argparse must not translate its own. Not
# looking for catalogues also saves a millisecond.
setattr(argparse, "_", str)  # noqa: B010 - mypy knows no such attribute


class _Once(argparse.Action):
    """Store a value; refuse a second, different one: one of them would be lost."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,  # noqa: ANN401 - as argparse declares it
        option_string: str | None = None,
    ) -> None:
        """Store the value. Raises UsageError."""
        before = getattr(namespace, self.dest, None)
        if before is not None and before != values:
            parser.error(f"{option_string} is given twice, with different values")
        setattr(namespace, self.dest, values)


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """A formatter of fixed width.

    argparse makes one for each option that is declared, and one without a width imports shutil
    to ask the terminal for it: 2 ms.
    """

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=96)


class FullParser(argparse.ArgumentParser):
    """An argparse parser with the declarations of a `Parser`; raises UsageError."""

    def __init__(self, parser: Parser) -> None:
        super().__init__(
            prog=parser.prog,
            usage=parser.usage,
            description=parser.description,
            allow_abbrev=False,
            formatter_class=_HelpFormatter,
        )
        self.register("action", ONCE, _Once)
        groups: dict[str | int, Any] = {}
        for each in parser.arguments[1:]:  # the first is --help, which argparse adds itself
            place: Any = self
            if isinstance(each.group, int):
                place = groups.get(each.group) or self.add_mutually_exclusive_group()
            elif each.group is not None:
                place = groups.get(each.group) or self.add_argument_group(each.group)
            if each.group is not None:
                groups[each.group] = place
            place.add_argument(*each.names, **each.keywords)
        # What argparse makes of the options is six lines, most of them of the global ones.
        self.usage = self.usage or self._form()

    def _form(self) -> str:
        words = [f"{self.prog} [OPTIONS]"]
        for action in self._actions:
            if not action.option_strings:
                form = {"?": "[{}]", "*": "[{} ...]"}.get(str(action.nargs), "{}")
                words.append(form.format(action.metavar))
        return " ".join(words)

    def actions(self) -> list[argparse.Action]:
        """Return the options and positionals in the order of their declaration."""
        return list(self._actions)  # argparse has no public view of it

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:  # noqa: ANN401
        """Convert the words of an argument; `--vault=--` has the value `--`.

        argparse drops that before Python 3.13, and the option would have no value: `[]`.
        """
        if arg_strings == ["--"] and action.option_strings:
            value = self._get_value(action, "--")
            self._check_value(action, value)
            return value
        return super()._get_values(action, arg_strings)

    def error(self, message: str) -> NoReturn:
        """Raise UsageError instead of exiting."""
        raise UsageError(printable(message), hint=f"{self.prog} --help")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Exit after --help and --version, once stdout has taken what was printed."""
        streams.flush()
        super().exit(status, message)
