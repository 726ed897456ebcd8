"""`filevault agent`: the key cache where the kernel's keyring is refused, or of one job."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from filevault.cli.commands.exec import find_program, replace
from filevault.cli.parser import split_command
from filevault.errors import BackendError, ProgramError, StorageError, UsageError
from filevault.keycache.agent_folders import JOB_VARIABLE, agent_folders, job_agent_folder
from filevault.keycache.client import AgentClient
from filevault.system import programs
from filevault.system.files import storage_error
from filevault.system.printable import printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from filevault.cli.context import Context
    from filevault.cli.parser import Parser
    from filevault.keycache.agent import Agent

DESCRIPTION = """Hold keys in the memory of a process, as ssh-agent does.

It is needed only where the kernel's keyring is refused, as in most containers; unlock starts it
there by itself. With a command, an agent for that command alone is started, which dies with it."""

_START = 10.0  # seconds; a busy machine takes its time to start an interpreter
_QUICKER = 2.0  # seconds from another agent's lock to its first answer
_PAUSE = 0.02
_PLACE = "set XDG_RUNTIME_DIR to a folder of yours that can be written"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--foreground", action="store_true", help="serve in this process, for service managers"
    )
    parser.add_argument(
        "--parent",
        type=int,
        metavar="PID",
        help="with --foreground: the agent of a job, which goes on in the background and ends when "
        "this process, which started it, ends",
    )
    parser.usage = "filevault agent [OPTIONS] [-- CMD [ARGS...]]"


def split(parser: Parser, argv: Sequence[str], _command: int) -> tuple[list[str], list[str]]:
    """Split our own words from the command's."""
    return split_command(parser, argv)


def needs_stdout(_args: argparse.Namespace) -> bool:
    """Return False: what is printed only confirms what was done."""
    return False


def run(args: argparse.Namespace, context: Context) -> int:
    """Start an agent, be one, or start one for a command."""
    if args.command and (args.foreground or args.parent is not None):
        raise UsageError("an agent in the foreground runs no command")
    if args.parent is not None and not args.foreground:
        raise UsageError("--parent goes with --foreground")
    if args.foreground:
        return _serve(context, args.parent)
    if args.command:
        return _for_command(args.command, context)
    client = AgentClient(agent_folders(context.settings.get, context.runtime.root))
    if client.running():
        print("An agent is running already.")
        return 0
    trouble = client.last_error()
    if trouble is not None:
        raise trouble
    ours = start(context, client.running)
    print("The agent is running." if ours else "An agent is running already.")
    return 0


def start(context: Context, answers: Callable[[], bool]) -> bool:
    """Start an agent that outlives this process; returns when it answers.

    Another process may do the same at this moment, and its agent serves as well: then this
    returns False once `answers` says that it is there.

    Raises BackendError if none can be started, and in a job, whose agent never comes back: a new
    one in its place would outlive the job.
    """
    _refuse_in_job(context)
    try:
        programs.start(
            _argv(context),
            context.settings.program_environment(),
            origin="the agent",
            timeout=_START,
        )
    except ProgramError as error:
        deadline = time.monotonic() + _QUICKER
        while not answers():
            if time.monotonic() > deadline:
                raise _with_way_out(error, context) from error
            time.sleep(_PAUSE)
        return False
    return True


def _with_way_out(error: ProgramError, context: Context) -> ProgramError:
    """Return the error of an agent that did not start, with a hint if it has no place to be."""
    places = [
        os.path.dirname(each) for each in agent_folders(context.settings.get, context.runtime.root)
    ]
    usable = any(os.access(place, os.W_OK | os.X_OK) for place in places)
    said = error.message.replace("filevault: error: ", "")
    return ProgramError(said, hint=error.hint if usable else _PLACE)


def _refuse_in_job(context: Context) -> None:
    job = job_agent_folder(context.settings.get)
    if job is not None:
        raise BackendError(
            f"the agent of this job has ended: {JOB_VARIABLE} names {printable(job)!r}",
            hint=f"start the job again with filevault agent -- CMD, or unset {JOB_VARIABLE}",
        )


def _argv(context: Context) -> list[str]:
    return [*context.runtime.program, "agent", "--foreground"]


def _for_command(command: Sequence[str], context: Context) -> int:
    """Let the command take our place, with an agent of its own that ends with it."""
    import shutil
    import tempfile

    settings = context.settings
    environment = settings.whole_environment()
    path = find_program(command[0], environment.get("PATH"))
    temporary = _temporary(settings.get("TMPDIR"))
    try:
        folder = tempfile.mkdtemp(prefix="filevault-job-", dir=temporary)
    except OSError as error:
        refused = storage_error(error, "create a folder in", temporary)
        refused.hint = "set TMPDIR to a folder of yours that can be written"
        raise refused from error
    place = {JOB_VARIABLE: folder}
    try:
        programs.start(
            [*_argv(context), "--parent", str(os.getpid())],
            {**settings.program_environment(), **place},
            origin="the agent",
            timeout=_START,
            leaves=True,
        )
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    sys.stdout.flush()
    sys.stderr.flush()
    return replace(path, command, {**environment, **place})


def _temporary(folder: str | None) -> str:
    return folder if folder and folder.startswith("/") else "/tmp"  # noqa: S108 - mkdtemp's own


def _serve(context: Context, parent: int | None) -> int:
    from filevault.keycache.agent import run as serve
    from filevault.keycache.job import enter

    if parent is None:
        _refuse_in_job(context)
    else:
        job = job_agent_folder(context.settings.get)
        if job is None:
            raise UsageError(
                f"--parent is for the agent of a job, whose folder {JOB_VARIABLE} names"
            )
        enter(parent, job)
    agent = _listen(context)

    def ready() -> None:
        print("The agent is running.", flush=True)

    serve(agent, ready)
    return 0


def _listen(context: Context) -> Agent:
    from filevault.keycache.agent import listen

    refused: StorageError | None = None
    for folder in agent_folders(context.settings.get, context.runtime.root):
        if not os.path.isdir(os.path.dirname(folder)):
            continue
        try:
            agent = listen(folder, context.runtime.boottime)
        except StorageError as error:
            refused = refused or error
            continue
        if agent is None:
            raise BackendError(f"an agent is running already in {printable(folder)!r}")
        return agent
    if refused is None:
        raise StorageError("there is no folder for the agent's socket", hint=_PLACE)
    raise StorageError(refused.message, hint=_PLACE) from refused
