"""The command line: find the command, parse its options, run it, report its failure."""

from __future__ import annotations

from filevault import errors
from filevault.cli import streams
from filevault.cli.command import (
    ALIASES,
    COMMANDS,
    KEEPS_ANSWERS,
    command_at,
    module_of,
    parser_of,
    usage,
)
from filevault.cli.context import Context, Runtime
from filevault.cli.parser import find_command, global_options, global_parser
from filevault.cli.reporter import Reporter
from filevault.config.settings import Settings
from filevault.errors import FilevaultError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from filevault.cli.protocols import Split
    from filevault.lane.serve import Attempt

_EXEC_FAILED = 125  # as env(1) and docker run: filevault failed, not the command
_INTERRUPTED = 130
_KEPT_BY_EXEC = (126, 127, _INTERRUPTED)  # about its command, and Ctrl-C


def main(
    argv: Sequence[str],
    runtime: Runtime = Runtime(),  # noqa: B008 - immutable
    attempt: Attempt | None = None,
) -> int:
    """Run one command and return its exit status; reports on stderr.

    `attempt` is what the hot lane found out, which did not serve this run.
    """
    if argv and argv[0] == "__complete":
        return _complete(argv[1:])
    debug = "--debug" in (argv[: argv.index("--")] if "--" in argv else argv)
    reporter = Reporter(debug=debug)
    is_exec_run = False
    streams.prepare()
    try:
        if argv[:1] == ["serve"] and argv[1:] and argv[1].startswith("__state="):
            return _serve(argv[1], runtime)
        index = find_command(argv)
        if index is None:
            return _no_command(argv, reporter)
        is_exec_run = is_exec(argv, index)
        line = CommandLine(argv, index)
        is_exec_run = is_exec_run and not line.prints_json()
        namespace = line.parse()
        settings = Settings.capture(global_options(namespace))
        reporter = Reporter(debug=settings.debug)
        needs_stdout: Callable[[argparse.Namespace], bool] = getattr(
            line.module, "needs_stdout", _always
        )
        if needs_stdout(namespace):
            streams.require()
        else:
            streams.tolerate_closed()
        context = Context(settings, runtime, reporter, attempt)
        if attempt is not None and attempt.failure is not None:
            streams.fail(attempt.failure)  # a part of the result is printed already
        try:
            status = line.module.run(namespace, context)
        except errors.DeclinedError as declined:
            reporter.say(declined.message)
            status = 0
        finally:
            if line.name not in KEEPS_ANSWERS:
                from filevault.cli.cached_answers import forget_answers

                forget_answers(context)
            if settings.names_descriptor:
                from filevault.unlock.secret_sources import close_descriptors

                close_descriptors(settings)
        streams.finish()
        return status
    except FilevaultError as error:
        return _failed(error, error, reporter, is_exec_run=is_exec_run)
    except KeyboardInterrupt:
        reporter.say("interrupted")
        return _INTERRUPTED
    except BrokenPipeError:  # the reader of stdout has closed it
        return _EXEC_FAILED if is_exec_run else 1
    except Exception as error:  # noqa: BLE001 - a bug; caught only here
        from filevault.system.exhaustion import exhausted
        from filevault.system.working_directory import directory_error

        reason = exhausted(error) or directory_error(error)
        if reason is not None:
            return _failed(reason, error, reporter, is_exec_run=is_exec_run)
        reporter.bug(error)
        reporter.trace(error)
        return _EXEC_FAILED if is_exec_run else 1


def _failed(
    error: FilevaultError, cause: Exception, reporter: Reporter, *, is_exec_run: bool
) -> int:
    """Report an error, with `--debug` where its cause came from; return the exit status."""
    reporter.error(error)
    reporter.lost_results()
    reporter.trace(cause)
    keeps_status = not is_exec_run or error.exit_status in _KEPT_BY_EXEC
    return error.exit_status if keeps_status else _EXEC_FAILED


def _complete(argv: Sequence[str]) -> int:
    """Print what completes a command line; the scripts of `filevault completion` ask so."""
    from filevault.cli.completion.answer import answer

    streams.prepare()
    Reporter().write(answer(argv))
    return 0


def _serve(word: str, runtime: Runtime) -> int:
    """Serve what another `serve` has obtained, whose process this is."""
    from filevault.cli.serving_process import ServingProcess
    from filevault.cli.serving_state import ServingState

    state = ServingState.from_word(word)
    return ServingProcess(state, runtime.clock, Reporter(debug=state.debug)).run()


def _always(_args: argparse.Namespace) -> bool:
    return True


class CommandLine:
    """The command line of one command: the name, the module, the parser and the words.

    `argv[index]` is the command's name. Raises UsageError if there is no such command.
    """

    def __init__(self, argv: Sequence[str], index: int) -> None:
        self.name = command_at(argv, index)
        self.module = module_of(self.name)
        self._parser = parser_of(self.name)
        self._words = [*argv[:index], *argv[index + 1 :]]
        self._program: list[str] | None = None
        self._command: list[str] = []
        split: Split | None = getattr(self.module, "split", None)
        if split is not None:
            # Words of git are never options of filevault, so that it needs no `--`.
            if "--" not in argv and self.name != "git":
                self._program = self._words[self._parser.first_positional(self._words) :]
            self._words, self._command = split(self._parser, self._words, index)

    def prints_json(self) -> bool:
        """Return whether `exec` prints JSON and runs no program."""
        return self.name == "exec" and self._parser.has_flag(self._words, "--json")

    def parse(self) -> argparse.Namespace:
        """Return the values of the options.

        `command` has the words of the program to run, `program` all words from the first
        positional on if there is no `--` among them. Raises UsageError.
        """
        namespace = self._parser.parse_words(self._words, self._program)
        namespace.command = self._command
        namespace.program = self._program
        return namespace


def is_exec(argv: Sequence[str], index: int) -> bool:
    """Return whether a command line means `exec`, even one with an unknown option before it."""
    misread = index > 0 and argv[index] not in COMMANDS and argv[index] not in ALIASES
    # `list` is a module of this package once it is imported.
    return [*argv[index + misread : index + misread + 1]] == ["exec"]


def _no_command(argv: Sequence[str], reporter: Reporter) -> int:
    before = argv[: argv.index("--")] if "--" in argv else argv
    if "--help" in before or "-h" in before:
        reporter.write(usage())
        streams.flush()
        return 0
    # The parser of the global options reports the first wrong word.
    global_parser().parse_words(before)
    raise UsageError(
        "no command is given",
        hint="filevault --help lists the commands, and says how to begin",
    )
