"""Open a link in a browser: BROWSER, else xdg-open if there is a display."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.errors import ProgramError
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.cli.context import Context

_OPENER = "xdg-open"
_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")
_PLACEHOLDER = "%s"


class Browser(Record):
    """A command that opens an address; `origin` names it in messages."""

    words: tuple[str, ...]
    origin: str

    def argv(self, address: str) -> list[str]:
        """Return the command with the address in place of `%s`, or at its end."""
        if any(_PLACEHOLDER in word for word in self.words):
            return [word.replace(_PLACEHOLDER, address) for word in self.words]
        return [*self.words, address]


def find(context: Context) -> list[Browser]:
    """Return the browsers to try, in this order; none if no browser could show anything.

    BROWSER is a list of commands separated by colons, as for other programs; it is used without a
    display too: remote shells of editors set it to a program that opens a browser on the user's
    machine.
    """
    from filevault.server.peer_uid import can_find_peers
    from filevault.system import programs
    from filevault.system.config_files import refuse_choice_of_others
    from filevault.system.search_path import find_program

    if not can_find_peers():  # the link is given to processes of this user only
        return []
    get = context.settings.get
    found = []
    for entry in (get("BROWSER") or "").split(":"):
        command = entry.strip().removesuffix("&")
        if not command:
            continue
        try:
            words = tuple(programs.split(command, "BROWSER"))
        except ProgramError as error:
            context.reporter.warn(error.message)
            continue
        if find_program(words[0], get("PATH")) is not None:
            found.append(Browser(words, "the browser of BROWSER"))
    displayed = any(get(name) for name in _DISPLAYS)
    if displayed and find_program(_OPENER, get("PATH")) is not None:
        try:
            # It runs the program that the desktop files in the home directory name.
            refuse_choice_of_others(
                context.settings.home, _OPENER, context.settings.program_environment()
            )
        except ProgramError as error:
            context.reporter.warn(error.message)
        else:
            found.append(Browser((_OPENER,), _OPENER))
    return found


def open_link(
    link: str,
    browsers: list[Browser],
    context: Context,
    *,
    otherwise: str | None = "--stdout prints the link instead",
    done: Callable[[], bool] = lambda: False,
) -> bool:
    """Open a link in the first browser that works; return whether one requested it.

    If a browser fails, the next one is tried; if it runs and requests nothing, no other is.
    Failures are printed as warnings. `otherwise` says how to do without; None if that has been
    said. `done` is called repeatedly, and ends the wait by returning True: the user may have
    opened the link without filevault.
    """
    from filevault.server.one_time_link import TIMEOUT, OneTimeLink
    from filevault.system import programs

    if context.reporter.messages_on_terminal and otherwise is not None:
        context.reporter.say(f"waiting {TIMEOUT:.0f} s for the browser; {otherwise}")
    with OneTimeLink(link) as served:
        for browser in browsers:
            try:
                status = programs.launch(
                    browser.argv(served.address),
                    context.settings.program_environment(),
                    origin=browser.origin,
                )
            except ProgramError as error:
                context.reporter.warn(error.message)
                continue
            failed = _failed(status)
            if served.serve(lambda: failed() or done()) or done():  # noqa: B023 - called at once
                return True
            if not status():
                context.reporter.warn(f"no browser requested the link within {TIMEOUT:.0f} seconds")
                return False
            context.reporter.warn(f"{browser.origin} failed with status {status()}")
    return False


def _failed(status: Callable[[], int | None]) -> Callable[[], bool]:
    return lambda: bool(status())
