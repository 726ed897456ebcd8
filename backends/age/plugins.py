"""Run age plugins: programs named `age-plugin-NAME` that keep keys elsewhere, e.g. in hardware.

A plugin is started by the age library, from PATH and with this process's environment. It is run
for an identity of the user and for an accepted recipient, never for one that only a file in the
vault names.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from filevault.backends.age.library import library, said
from filevault.errors import FilevaultError, InterruptedByUserError, LockedError, ProgramError
from filevault.system.printable import printable
from filevault.system.search_path import find_program

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from filevault.backends.protocols import Person

_LONGEST = 200


class Dialogue:
    """Callbacks for the questions of a plugin; all are declined if there is no terminal.

    The library aborts on an exception, so none is raised; Ctrl-C is recorded for later.
    """

    def __init__(self, plugin: str, person: Callable[[], Person] | None) -> None:
        self._plugin = plugin
        asked = None if person is None else person()
        self._person = asked if asked is not None and asked.present else None
        self.interrupted = False
        self.declined = False

    def display_message(self, message: str) -> None:
        """Show a message of the plugin, e.g. that a key must be touched."""
        if self._person is not None:
            self._ask(self._person.say, message)

    def confirm(self, message: str, yes: str, no: str | None) -> bool | None:
        """Ask a question with two answers; None declines."""
        if self._person is None:
            self.declined = True
            return None
        answers = f"y: {printable(yes, 40)}" + ("" if no is None else f", n: {printable(no, 40)}")
        answer = self._ask(self._person.line, message, f" ({answers}) ")
        return None if answer is None else str(answer).lower() in ("y", "yes")

    def request_public_string(self, message: str) -> str | None:
        """Ask for something that is not secret."""
        if self._person is None:
            self.declined = True
            return None
        answer = self._ask(self._person.line, message, ": ")
        return None if answer is None else str(answer)

    def request_passphrase(self, message: str) -> str | None:
        """Ask for a secret, e.g. a PIN."""
        if self._person is None:
            self.declined = True
            return None
        answer = self._ask(self._person.hidden, message, ": ")
        try:
            return None if answer is None else answer.decode("utf-8")
        except UnicodeDecodeError:
            return None

    def _ask(self, way: Any, message: str, end: str = "") -> Any:  # noqa: ANN401
        try:
            return way(f"age-plugin-{self._plugin}: {printable(message, _LONGEST)}{end}")
        except (KeyboardInterrupt, InterruptedByUserError):
            self.interrupted = True
        except (FilevaultError, OSError, ValueError):
            self.declined = True
        return None


class Plugins:
    """Finds and runs plugins.

    Args:
        environment: has the PATH; it is the process's own, without credentials.
        person: returns who answers the questions of plugins; None declines them.
    """

    __slots__ = ("_path", "_person")

    def __init__(self, environment: Mapping[str, str], person: Callable[[], Person] | None) -> None:
        self._path = environment.get("PATH")
        self._person = person

    def missing(self, plugin: str) -> ProgramError | None:
        """Return the error if a plugin cannot be run, None if it can."""
        program = printable(f"age-plugin-{plugin}", 80)
        # The library would find a program in the working directory where PATH names that.
        if any(not entry.startswith("/") for entry in (self._path or "/").split(os.pathsep)):
            return ProgramError(
                f"{program} is not run: PATH has an empty or relative entry",
                hint="take it out of PATH: it would run programs from whatever folder you are in",
            )
        if find_program(f"age-plugin-{plugin}", self._path) is None:
            return ProgramError(
                f"the age plugin {program} is not on the PATH", hint=f"install {program}"
            )
        return None

    def recipient(self, recipients: Sequence[Any]) -> tuple[Any, Dialogue]:
        """Return pyrage's object that encrypts to recipients of one plugin. Raises ProgramError."""
        age = library()
        name = recipients[0].plugin()
        problem = self.missing(name)
        if problem is not None:
            raise problem
        dialogue = Dialogue(name, self._person)
        try:
            return age.plugin.RecipientPluginV1(name, list(recipients), [], dialogue), dialogue
        except age.EncryptError as error:
            raise ProgramError(f"age-plugin-{name} cannot be run: {said(error)}") from error

    def identity(self, identity: Any) -> tuple[Any, Dialogue]:  # noqa: ANN401
        """Return pyrage's object that decrypts with a plugin's identity. Raises ProgramError."""
        age = library()
        name = identity.plugin()
        problem = self.missing(name)
        if problem is not None:
            raise problem
        dialogue = Dialogue(name, self._person)
        try:
            return age.plugin.IdentityPluginV1(name, [identity], dialogue), dialogue
        except age.DecryptError as error:
            raise ProgramError(f"age-plugin-{name} cannot be run: {said(error)}") from error


def refusal(plugin: str, dialogue: Dialogue, reason: str, origin: str) -> LockedError:
    """Return the error of a plugin that failed. Raises InterruptedByUserError after Ctrl-C."""
    if dialogue.interrupted:
        raise InterruptedByUserError("interrupted while an age plugin was asking")
    if dialogue.declined:
        return LockedError(
            f"age-plugin-{printable(plugin, 60)} ({printable(origin)}) wants to ask something, "
            "and there is no terminal",
            hint="run it on a terminal, or use an identity that needs no person",
        )
    return LockedError(f"age-plugin-{printable(plugin, 60)} ({printable(origin)}): {reason}")
