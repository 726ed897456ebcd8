"""The reporter: prints every result on stdout and every message on stderr.

`filevault.cli.streams` documents what happens if a stream fails. Questions and passphrase prompts
go to the terminal itself, see `filevault.unlock.prompt`.
"""

from __future__ import annotations

import sys

from filevault.cli import streams
from filevault.errors import StorageError
from filevault.system.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from filevault.errors import FilevaultError

_LONGEST = 1400  # characters of an error message
_ERASE_LINE = "\x1b[K"


class Reporter:
    """Print the results and the messages of one run.

    Args:
        debug: print debug messages, and the messages that are otherwise for terminals only.

    `silent` is True until there is a message, even one that is shown on terminals only.
    """

    def __init__(self, *, debug: bool = False) -> None:
        self._debug = debug
        self._warned: set[str] = set()
        self._has_progress_line = False
        self.silent = True

    # Results, on stdout.

    def result(self, text: str, *, flush: bool = False) -> None:
        """Print a line of the result. With `flush`, write it out at once."""
        print(text, flush=flush)

    def write(self, text: str) -> None:
        """Print a part of the result that has its own line ends."""
        sys.stdout.write(text)

    def write_marked(self, text: str, mark: str, sign: str) -> None:
        """Print the same with a sign in the place of each mark, a character of ASCII."""
        streams.write_marked(text, mark, sign)

    def json(self, value: object) -> None:
        """Print a value as JSON."""
        import json

        print(json.dumps(value, indent=2))

    def json_array(self, values: Iterable[object]) -> None:
        """Print an array as `json` does, one value after the other: there may be very many."""
        from filevault.system.indented_json import indented

        start = "[\n  "
        for value in values:
            self.write(start + indented(value, "  "))
            start = ",\n  "
        self.result("\n]" if start[0] == "," else "[]")

    def result_once(self, text: str) -> None:
        """Print a line that cannot be printed again. Raises StorageError if it was not written."""
        streams.deliver(text)

    def encoded(self, text: str) -> bytes:
        """Return the bytes that stdout writes for a text."""
        return text.encode(sys.stdout.encoding, sys.stdout.errors or "strict")

    @property
    def results_on_terminal(self) -> bool:
        """Whether stdout is a terminal."""
        return sys.stdout.isatty()

    def flush(self) -> None:
        """Write out what is buffered: another program is about to use the streams."""
        sys.stdout.flush()
        sys.stderr.flush()

    # Messages, on stderr.

    def say(self, text: str) -> None:
        """Print a message."""
        self.silent = False
        print(f"filevault: {text}", file=sys.stderr)

    def warn(self, text: str) -> None:
        """Print a warning, once for each text."""
        if text not in self._warned:
            self._warned.add(text)
            self.say(f"warning: {text}")

    def warn_again(self, text: str) -> None:
        """Print a warning, even if the same one was printed before."""
        self.say(f"warning: {text}")

    def notice(self, text: str) -> None:
        """Print a warning that matters to a person only: on a terminal, or with `--debug`."""
        self.silent = False
        if self._debug or self.messages_on_terminal:
            self.warn(text)

    def hint(self, text: str) -> None:
        """Print a hint for a person: on a terminal, or with `--debug`."""
        self.silent = False
        if self._debug or self.messages_on_terminal:
            self.say(f"hint: {text}")

    def debug(self, text: str) -> None:
        """Print a message with `--debug` only."""
        if self._debug:
            self.say(f"debug: {text}")

    def error(self, error: FilevaultError) -> None:
        """Print an error and its hint."""
        # A name out of a file can be as long as the file.
        self.say(f"error: {printable(error.message, _LONGEST)}")
        if error.hint:
            self.say(f"hint: {printable(error.hint, _LONGEST)}")

    def bug(self, error: Exception) -> None:
        """Print that an error that is not a FilevaultError ended the command."""
        self.say(f"error: unexpected {type(error).__name__}, which is a bug in filevault")
        self.say("hint: run it again with --debug and report what it prints; it contains no secret")

    def lost_results(self) -> None:
        """Warn if stdout failed too, in a command that failed for another reason."""
        try:
            sys.stdout.flush()
        except StorageError as error:
            self.say(f"warning: {error.message}")
        except BrokenPipeError:
            pass

    def trace(self, error: BaseException) -> None:
        """With `--debug`, print where an error came from: lines and types, never a value."""
        if not self._debug:
            return
        import traceback

        cause: BaseException | None = error
        printed: list[BaseException] = []
        while cause is not None and cause not in printed:
            printed.append(cause)
            self.debug(f"{type(cause).__module__}.{type(cause).__name__}")
            for frame in traceback.extract_tb(cause.__traceback__):
                self.debug(f"  {printable(frame.filename)}:{frame.lineno} in {frame.name}")
            cause = cause.__cause__

    @property
    def messages_on_terminal(self) -> bool:
        """Whether stderr is a terminal."""
        return sys.stderr.isatty()

    def workflow_command(self, text: str) -> None:
        """Print a line for the runner of a CI job, which must begin with the command."""
        print(text, file=sys.stderr, flush=True)

    # Progress, on a terminal.

    def step(self, text: str) -> None:
        """Print the step that begins: on a terminal, or with `--debug`."""
        self.silent = False
        self.end_countdown()
        if self._debug or self.messages_on_terminal:
            self.say(text)

    def countdown(self, text: str) -> None:
        """Show a line that the next one replaces, on a terminal only."""
        if self.messages_on_terminal:
            self._has_progress_line = True
            print(f"\rfilevault: {text}{_ERASE_LINE}", end="", file=sys.stderr, flush=True)

    def end_countdown(self) -> None:
        """Erase the line of a countdown."""
        if self._has_progress_line:
            print(f"\r{_ERASE_LINE}", end="", file=sys.stderr, flush=True)
            self._has_progress_line = False
