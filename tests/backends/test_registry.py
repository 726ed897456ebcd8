"""The registry of backends: its names, aliases and light import."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

from filevault.backends import BACKENDS, backend_names, find_backend
from filevault.backends.definition import SEALED

LOADED = """
import sys
import filevault.backends
loaded = {name.removeprefix("filevault.backends.") for name in sys.modules}
print(*sorted(loaded & {"cryptography", "pyrage", "gnupg", "argon2", "subprocess", "sealing"}))
print(*sorted(name for name in loaded if name.partition(".")[0] in ("file", "gpg", "age")))
"""


def test_looking_into_the_registry_loads_no_backend() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("\nage file gpg\n", "")


def test_no_two_backends_share_what_tells_them_apart() -> None:
    every = BACKENDS.values()
    words = [word for each in every for word in (each.name, *each.aliases)]
    words += [each.suffix for each in every] + [each.marker for each in every]
    assert {word for word, count in Counter(words).items() if count > 1} == set()


def test_backend_is_found_by_name_and_alias_alone() -> None:
    found = {name: find_backend(name) for name in ("file", "passphrase", "gpg", "passage")}
    assert {name: each.name for name, each in found.items() if each is not None} == {
        "file": "file",
        "passphrase": "file",
        "gpg": "pass",
        "passage": "age",
    }
    assert find_backend("keychain") is None
    assert backend_names() == "the backends are file, pass and age"


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_says_what_its_family_needs(name: str) -> None:
    backend = BACKENDS[name]
    sealed = backend.family == SEALED
    assert (backend.creator is not None, not backend.recipient_term) == (sealed, sealed)
    assert backend.has_keyslots or backend.keys_hint
