"""`filevault agent`: cache keys in a process, for a user or for one command."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from filevault.cli.parser import split_command
from filevault.cli.replace_process import find_command, replace_process
from filevault.cli.start_agent import (
    NO_FOLDER_HINT,
    START_TIMEOUT,
    agent_argv,
    refuse_in_job,
    start_agent,
)
from filevault.errors import BackendError, StorageError, UsageError
from filevault.keycache.agent_folders import agent_folders
from filevault.keycache.cache import JOB_VARIABLE, job_agent_folder
from filevault.keycache.client import AgentClient
from filevault.system import programs
from filevault.system.files import storage_error
from filevault.system.printable import printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from filevault.cli.context import Context
    from filevault.cli.parser import Parser
    from filevault.keycache.agent import Agent

DESCRIPTION = """Cache keys in the memory of a process, as ssh-agent does.

This is needed only where the kernel keyring is refused, as in most containers; unlock starts
the agent there automatically. With CMD, start an agent that serves this command alone and ends
with it."""


def configure(parser: Parser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--foreground", action="store_true", help="serve in this process, for service managers"
    )
    parser.add_argument(
        "--parent",
        type=int,
        metavar="PID",
        help="with --foreground: serve one job in the background, and end when the process PID, "
        "which started the agent, ends",
    )
    parser.usage = "filevault agent [OPTIONS] [-- CMD [ARGS...]]"


def split(parser: Parser, argv: Sequence[str], _command: int) -> tuple[list[str], list[str]]:
    """Split the words of filevault from those of the command."""
    return split_command(parser, argv)


def needs_stdout(_args: argparse.Namespace) -> bool:
    """Return False: the output is only a confirmation."""
    return False


def run(args: argparse.Namespace, context: Context) -> int:
    """Start an agent, serve as one, or start one for a command."""
    if args.command and (args.foreground or args.parent is not None):
        raise UsageError(
            "an agent in the foreground runs no command",
            hint="leave --foreground out: filevault agent -- CMD",
        )
    if args.parent is not None and not args.foreground:
        raise UsageError(
            "--parent goes with --foreground",
            hint="leave --parent out: filevault agent starts in the background by itself",
        )
    if args.foreground:
        return _serve(context, args.parent)
    if args.command:
        return _for_command(args.command, context)
    client = AgentClient(agent_folders(context.settings.get, context.runtime.root))
    if client.running():
        context.reporter.result("An agent is running already.")
        return 0
    failure = client.last_error()
    if failure is not None:
        raise failure
    started = start_agent(context, client.running)
    context.reporter.result("The agent is running." if started else "An agent is running already.")
    return 0


def _for_command(command: Sequence[str], context: Context) -> int:
    """Replace this process by the command, and start an agent that serves it and ends with it."""
    import shutil
    import tempfile

    settings = context.settings
    environment = settings.whole_environment()
    path = find_command(command[0], environment.get("PATH"))
    temporary = _temporary(settings.get("TMPDIR"))
    try:
        folder = tempfile.mkdtemp(prefix="filevault-job-", dir=temporary)
    except OSError as error:
        raise storage_error(
            error,
            "create a folder in",
            temporary,
            hint="set TMPDIR to a folder of yours that can be written",
        ) from error
    job = {JOB_VARIABLE: folder}
    try:
        programs.start(
            [*agent_argv(context), "--parent", str(os.getpid())],
            {**settings.program_environment(), **job},
            origin="the agent",
            timeout=START_TIMEOUT,
            leaves=True,
        )
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    context.reporter.flush()
    return replace_process(path, command, {**environment, **job})


def _temporary(folder: str | None) -> str:
    return folder if folder and folder.startswith("/") else "/tmp"  # noqa: S108 - mkdtemp's own


def _serve(context: Context, parent: int | None) -> int:
    from filevault.keycache.agent import run as serve
    from filevault.keycache.job import enter

    if parent is None:
        refuse_in_job(context)
    else:
        job = job_agent_folder(context.settings.get)
        if job is None:
            raise UsageError(
                f"--parent is for the agent of a job, whose folder {JOB_VARIABLE} names",
                hint="leave --parent out",
            )
        enter(parent, job)
    agent = _listen(context)

    def ready() -> None:
        context.reporter.result("The agent is running.", flush=True)

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
        raise StorageError("there is no folder for the agent's socket", hint=NO_FOLDER_HINT)
    raise StorageError(refused.message, hint=NO_FOLDER_HINT) from refused
