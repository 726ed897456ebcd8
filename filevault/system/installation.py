"""The Python environment that runs filevault, and the command that installs a package into it."""

from __future__ import annotations

import os
import sys


def install_hint(package: str) -> str:
    """Return what a person has to do to install a missing package.

    package: a name on the package index, of a library that filevault can do without.

    The environment is told by what its installer leaves in it: pipx keeps `pipx_metadata.json`
    in the prefix, `venv` makes the prefix differ from the base prefix, and a distribution that
    manages its own Python marks it with EXTERNALLY-MANAGED (PEP 668).
    """
    import importlib.util
    import shlex

    prefix = sys.prefix
    if os.path.exists(os.path.join(prefix, "pipx_metadata.json")):
        return f"pipx inject {shlex.quote(os.path.basename(prefix))} {package}"
    if prefix == sys.base_prefix and os.path.exists(_managed_marker()):
        return (
            "this Python belongs to the system: install filevault in a virtual environment or "
            f"with pipx, and {package} into the same one"
        )
    if importlib.util.find_spec("pip") is None:
        return f"pip --python {shlex.quote(sys.executable)} install {package}"
    return f"{shlex.quote(sys.executable)} -m pip install {package}"


def _managed_marker() -> str:
    """Return where PEP 668 puts the file by which a system claims a Python for itself."""
    import sysconfig

    return os.path.join(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")
