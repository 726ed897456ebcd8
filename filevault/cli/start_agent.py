"""Start the key agent in the background."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from filevault.errors import BackendError, ProgramError
from filevault.keycache.agent_folders import agent_folders
from filevault.keycache.cache import JOB_VARIABLE, job_agent_folder
from filevault.system import programs
from filevault.system.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.cli.context import Context

START_TIMEOUT = 10.0  # seconds; a busy machine starts an interpreter slowly
_OTHER_AGENT_TIMEOUT = 2.0  # seconds from another agent's lock to its first answer
_PAUSE = 0.02
NO_FOLDER_HINT = "set XDG_RUNTIME_DIR to a folder of yours that can be written"


def start_agent(context: Context, answers: Callable[[], bool]) -> bool:
    """Start an agent that outlives this process; returns when it answers.

    Another process may do the same at this moment, and its agent serves as well: then this
    returns False once `answers` says that it is there.

    Raises BackendError if none can be started, and in a job, whose agent never comes back: a new
    one in its place would outlive the job.
    """
    refuse_in_job(context)
    try:
        programs.start(
            agent_argv(context),
            context.settings.program_environment(),
            origin="the agent",
            timeout=START_TIMEOUT,
        )
    except ProgramError as error:
        deadline = time.monotonic() + _OTHER_AGENT_TIMEOUT
        while not answers():
            if time.monotonic() > deadline:
                raise _with_way_out(error, context) from error
            time.sleep(_PAUSE)
        return False
    return True


def _with_way_out(error: ProgramError, context: Context) -> ProgramError:
    """Return the error of an agent that did not start, with a hint if there is no folder for it."""
    parents = [
        os.path.dirname(each) for each in agent_folders(context.settings.get, context.runtime.root)
    ]
    usable = any(os.access(parent, os.W_OK | os.X_OK) for parent in parents)
    message = error.message.replace("filevault: error: ", "")
    return ProgramError(message, hint=error.hint if usable else NO_FOLDER_HINT)


def refuse_in_job(context: Context) -> None:
    """Raise BackendError in a job with an agent of its own: a new one would outlive the job."""
    job = job_agent_folder(context.settings.get)
    if job is not None:
        raise BackendError(
            f"the agent of this job has ended: {JOB_VARIABLE} names {printable(job)!r}",
            hint=f"start the job again with filevault agent -- CMD, or unset {JOB_VARIABLE}",
        )


def agent_argv(context: Context) -> list[str]:
    """Return the command line that serves as an agent."""
    return [*context.runtime.program, "agent", "--foreground"]
