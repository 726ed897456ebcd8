"""filevault as production starts it, up to the moment in which it becomes its command.

For counting instructions: no counter sees past execve(2), so the process ends there instead.
`python tests/launch/counted.py exec PROFILE -- COMMAND` under `valgrind --tool=callgrind`.
"""

import os
import posix
import sys


def end(*_arguments: object) -> None:
    """Stand in for execve(2)."""
    posix._exit(0)


setattr(posix, "execve", end)  # noqa: B010 - mypy would refuse a plain assignment
setattr(os, "execve", end)  # noqa: B010
names = os.environ.pop("COUNTED_NAMES", None)
sys.path[0] = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
if names is not None:  # of keys in the kernel keyring, as tests choose them
    from filevault.lane import serve

    serve._NAMES = names.encode()

from filevault.__main__ import entry  # noqa: E402 - the path is set above

entry()
