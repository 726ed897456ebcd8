"""The entry point of the program, for `bin/filevault` and for `python -P -m filevault`."""

# With -m, Python searches the working directory first, so anyone who can write there could plant a
# module. Python imports some modules before this runs (types, for one): only -P protects those.
# Removing the folder below protects all later imports. Until then only built-in modules are
# imported, and no `from __future__`, which is a module as well.
import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    del sys.path[0]

import gc

# The process lives for milliseconds; garbage collection during imports costs two of them.
gc.disable()

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_COERCED = (b"C.UTF-8", b"C.utf8", b"UTF-8")  # PEP 538


def entry() -> "NoReturn":
    """Run the command line and end the process.

    Python's clean-up is skipped: it frees each object, which takes 3 ms, and the kernel frees the
    whole process at once. Files are closed and synced where they are written.
    """
    import posix

    if posix.environ.get(b"LC_CTYPE") in _COERCED:
        _forget_coerced_locale(posix.environ)
    tried = None
    try:
        if "exec" in sys.argv or "export" in sys.argv:
            from filevault.lane.serve import attempt

            # Serves a cached answer and does not return, or says why not.
            tried = attempt(sys.argv[1:], posix.environ)
        _find_faster(hot=tried is not None, lists=sys.argv[1:2] in (["list"], ["ls"]))
        import contextlib
        import os

        from filevault.system.hardening import harden

        harden()
        from filevault.cli import main

        status = main(sys.argv[1:], attempt=tried)
    except KeyboardInterrupt:
        posix.write(2, b"filevault: interrupted\n")
        posix._exit(130)
    except MemoryError:  # not even enough to report it in the usual way
        posix.write(2, b"filevault: error: there is not enough memory\n")
        posix._exit(125 if sys.argv[1:2] == ["exec"] else 7)
    except SystemExit as ending:  # --help and --version, by argparse
        status = ending.code if isinstance(ending.code, int) else 0
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(status)


def _forget_coerced_locale(environ: dict[bytes, bytes]) -> None:
    """Remove LC_CTYPE if Python has set it, as it does in the C locale: no command must inherit it.

    `environ` is that of `posix`; `Settings.capture` removes what is missing there from its own.
    """
    try:
        with open("/proc/self/environ", "rb") as file:
            given = file.read()
    except OSError:  # no /proc
        return
    if b"\0LC_CTYPE=" not in b"\0" + given:
        del environ[b"LC_CTYPE"]


def _find_faster(*, hot: bool, lists: bool) -> None:
    """Use the finder of filevault's own modules, where this Python has what that needs.

    `hot` and `lists` say whether a cached `exec` or `list` is likely to follow.
    """
    try:
        from filevault.finder import HOT, LISTING, install, preload
    except ImportError:  # of private functions: all is found as Python finds it
        return
    install()
    if hot or lists:
        preload(HOT if hot else LISTING)


if __name__ == "__main__":
    entry()
