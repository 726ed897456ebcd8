"""The command that installs a Python package into the environment that runs filevault."""

from __future__ import annotations

import os
import sys


def install_hint(package: str) -> str:
    """Return the command that installs an optional package, or another instruction.

    `package` is its name on the package index. The environment is detected by what its installer
    leaves in it: pipx keeps `pipx_metadata.json` in the prefix, `venv` makes the prefix differ
    from the base prefix, and a distribution marks its Python with EXTERNALLY-MANAGED (PEP 668).
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
    """Return the path of the file that marks a Python as the system's (PEP 668)."""
    import sysconfig

    return os.path.join(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")
