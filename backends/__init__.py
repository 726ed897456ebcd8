"""Registry of the backends: the ways in which the items of a vault can be encrypted.

A backend turns an item's bytes into a file's bytes and back, nothing else: it knows neither
AWS nor paths. Each is a package that defines one record; nothing else of it is imported before a
vault of that backend is opened.
"""

from __future__ import annotations

from filevault.backends.age import AGE
from filevault.backends.definition import Backend
from filevault.backends.file import FILE
from filevault.backends.gpg import PASS

BACKENDS: dict[str, Backend] = {each.name: each for each in (FILE, PASS, AGE)}
"""Each backend by its name, in the order in which they are listed and looked for."""

DEFAULT = FILE
"""The backend of a new vault if nothing says otherwise."""


def find_backend(name: str) -> Backend | None:
    """Return the backend with a name or alias, None if there is none."""
    for backend in BACKENDS.values():
        if name == backend.name or name in backend.aliases:
            return backend
    return None


def backend_names() -> str:
    """Return the sentence that lists the backends, for hints."""
    *names, last = BACKENDS
    return f"the backends are {', '.join(names)} and {last}"
