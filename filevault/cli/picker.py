"""The list from which a person picks a profile, where a command got none."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from filevault.errors import NoTerminalError
from filevault.system.printable import printable
from filevault.system.raw_terminal import can_draw, raw_terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filevault.cli.context import Context
    from filevault.unlock.prompt import Prompter

_QUESTION = "profile: "
_HELP = "type to filter, Enter takes, Esc leaves"
_SELECTED, _PLAIN = "\x1b[7m", "\x1b[0m"
_NUMBERED = 40  # profiles that the plain list shows at once
_LONGEST = 200


def pick_profile(context: Context) -> str | None:
    """Return the profile that a person picks; None without a terminal or a profile.

    Only where stdin and stderr are terminals: a script that forgot the profile must not wait.
    Raises KeyboardInterrupt if the person leaves, NoTerminalError if the terminal fails.
    """
    if not (context.reporter.messages_on_terminal and os.isatty(0) and context.prompter.present):
        return None
    names = _profiles(context)
    if not names:
        return None
    # What a person picks now says nothing about the next run.
    context.settings.inputs.spoil("a person picked the profile")
    if can_draw(context.settings.get("TERM")):
        return Picker(names, color=context.settings.get("NO_COLOR") is None).run()
    return pick_by_number(names, context.prompter)


def _profiles(context: Context) -> list[str]:
    from filevault.cli.completion.names import profile_names

    context.aws_config.profile_names()  # a config that cannot be read is an error
    return profile_names(context.settings)


def matching(names: Sequence[str], typed: str) -> list[str]:
    """Return the names that have every word that is typed, those that begin with it first."""
    words = typed.casefold().split()
    if not words:
        return list(names)
    found = [name for name in names if all(word in name.casefold() for word in words)]
    return sorted(found, key=lambda name: not name.casefold().startswith(words[0]))


class Picker:
    """The list on the screen: what is typed, what matches, which line is selected."""

    def __init__(self, names: Sequence[str], *, color: bool) -> None:
        self._names = names
        self._color = color
        self.typed = ""
        self.found = list(names)
        self.selected = 0
        self._top = 0

    def run(self) -> str:
        """Return the name that is picked. Raises KeyboardInterrupt, NoTerminalError."""
        try:
            with raw_terminal() as terminal:
                while True:
                    columns, lines = terminal.size
                    shown, cursor = self.draw(columns, lines)
                    terminal.show(shown, cursor)
                    key = terminal.key()
                    if key is None:
                        continue
                    if key.name == "cancel":
                        raise KeyboardInterrupt
                    if key.name == "enter":
                        if self.found:
                            return self.found[self.selected]
                    elif key.name in ("", "backspace", "clear"):
                        self._type(key.name, key.text)
                    else:
                        self._move(key.name, max(1, lines - 2))
        except OSError as error:
            raise NoTerminalError(
                "cannot show the profiles: the terminal failed", hint="name a profile"
            ) from error

    def _type(self, name: str, text: str) -> None:
        if name == "":
            self.typed = (self.typed + text)[:_LONGEST]
        else:
            self.typed = self.typed[:-1] if name == "backspace" else ""
        self.found = matching(self._names, self.typed)
        self.selected = 0

    def _move(self, name: str, page: int) -> None:
        last = len(self.found) - 1
        steps = {"up": -1, "down": 1, "page up": -page, "page down": page}
        target = {"home": 0, "end": last}.get(name, self.selected + steps.get(name, 0))
        self.selected = max(0, min(target, last))

    def draw(self, columns: int, lines: int) -> tuple[list[str], int]:
        """Return the lines that fit into a window, and the column of the cursor in the first."""
        width = max(1, columns - 1)  # a full line would wrap on some terminals
        room = max(1, lines - 2)
        self._top = min(self._top, self.selected)
        self._top = max(self._top, self.selected - room + 1)
        shown = [cut_left(_QUESTION + printable(self.typed), width)]
        cursor = display_width(shown[0])
        for index in range(self._top, min(self._top + room, len(self.found))):
            marker = "> " if index == self.selected else "  "
            line = cut(marker + printable(self.found[index]), width)
            if index == self.selected and self._color:
                line = f"{_SELECTED}{line}{_PLAIN}"
            shown.append(line)
        shown.append(cut(f"{len(self.found)} of {len(self._names)}; {_HELP}", width))
        return shown[: max(1, lines)], cursor


def pick_by_number(names: Sequence[str], prompter: Prompter) -> str:
    """Return the name whose number, or a part of which, a person types.

    Raises KeyboardInterrupt for an empty answer, NoTerminalError.
    """
    found = list(names)
    while True:
        for number, name in enumerate(found[:_NUMBERED], 1):
            prompter.say(f"{number:>4}  {printable(name)}")
        if len(found) > _NUMBERED:
            prompter.say(f"      and {len(found) - _NUMBERED} more")
        answer = prompter.line("Number, or part of a name: ")
        if not answer:
            raise KeyboardInterrupt
        if answer in names:
            return answer
        if answer.isascii() and answer.isdigit() and 0 < int(answer[:9]) <= len(found[:_NUMBERED]):
            return found[int(answer[:9]) - 1]
        some = matching(names, answer)
        if len(some) == 1:
            return some[0]
        if some:
            found = some
        else:
            prompter.say(f"no profile has {printable(answer, 40)!r} in its name")


def display_width(text: str) -> int:
    """Return how many columns a text takes on a terminal (Unicode Standard Annex 11)."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1
        for each in text
    )


def cut(text: str, width: int) -> str:
    """Return the beginning of a text that fits."""
    if display_width(text) <= width:
        return text
    while text and display_width(text) > width:
        text = text[:-1]
    return text


def cut_left(text: str, width: int) -> str:
    """Return the end of a text that fits."""
    while text and display_width(text) > width:
        text = text[1:]
    return text
