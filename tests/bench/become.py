"""An installed program up to the moment in which it becomes its command, where it ends instead.

For counting instructions: no counter sees past execve(2). `python become.py PROGRAM WORDS...`
"""

import os
import posix
import sys


def end(*_arguments: object) -> None:
    """Stand in for execve(2)."""
    posix._exit(0)


setattr(posix, "execve", end)  # noqa: B010 - mypy would refuse a plain assignment
setattr(os, "execve", end)  # noqa: B010
del sys.argv[0]
with open(sys.argv[0], encoding="utf-8") as script:
    code = script.read()
# As text: compile() would make the classes of `ast`, ten million instructions that no start takes.
exec(code, {"__name__": "__main__", "__file__": sys.argv[0]})
