"""The export formats, evaluated by the shells that they are for, over hostile values."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from filevault.credentials import Credentials
from filevault.issued.export_formats import export
from filevault.issued.issued_credentials import IssuedCredentials
from tests.conditions.tools import tool
from tests.samples import EXAMPLE_SESSION_ID

POSIX = {
    "bash": ["bash", "--norc", "--noprofile", "-c"],
    "dash": ["dash", "-c"],
    "zsh": ["zsh", "-f", "-c"],
}
EVALUATE = 'eval "$1"; shift; for name; do eval "printf \'%s\\\\0\' \\"\\$$name\\""; done'
INHERIT = 'eval "$1"; env -0'
FISH = "source $argv[1]; for name in $argv[2..]; printf '%s\\0' $$name; end; env -0"

printable = st.characters(min_codepoint=0x21, max_codepoint=0x7E)
awkward = st.sampled_from(list("'\"\\$`!#~*?[]{}()<>|&;%^=:-@, "))
secret = st.text(st.one_of(printable, awkward.filter(str.strip)), min_size=1, max_size=40)
loose = st.text(st.one_of(printable, awkward), min_size=1, max_size=40)
handouts = st.builds(
    lambda key, secret, token, region, url: IssuedCredentials(
        "work", Credentials(key, secret, token, 1795470313), region, url
    ),
    secret,
    secret,
    secret,
    loose,
    loose,
)
ZSH_WOULD_EXPAND = IssuedCredentials("work", Credentials("=ls", "a:=ls", "a=:=ls", None), "~", ":~")
quickly = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.parametrize("shell", POSIX)
@quickly
@given(handout=handouts)
@example(handout=ZSH_WOULD_EXPAND)
def test_env_sets_the_values_in_the_shell(shell: str, handout: IssuedCredentials) -> None:
    tool(shell)
    wanted = handout.variables()
    done = subprocess.run(
        [*POSIX[shell], EVALUATE, shell, export(handout, "env"), *wanted],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=True,
    )
    assert done.stderr == b""
    assert done.stdout.decode().split("\0")[:-1] == list(wanted.values())


@pytest.mark.parametrize("shell", POSIX)
@quickly
@given(handout=handouts)
@example(handout=ZSH_WOULD_EXPAND)
def test_export_env_reaches_the_programs_that_the_shell_starts(
    shell: str, handout: IssuedCredentials
) -> None:
    tool(shell)
    done = subprocess.run(
        [*POSIX[shell], INHERIT, shell, export(handout, "export-env")],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=True,
    )
    assert done.stderr == b""
    seen = dict(entry.split("=", 1) for entry in done.stdout.decode().split("\0") if entry)
    wanted = handout.variables()
    assert {name: seen.get(name) for name in wanted} == wanted


@settings(quickly, max_examples=15)
@given(handout=handouts)
def test_fish_sets_and_exports_the_values(tmp_path: Path, handout: IssuedCredentials) -> None:
    tool("fish")
    script = tmp_path / "script.fish"
    script.write_text(export(handout, "fish"))
    wanted = handout.variables()
    done = subprocess.run(
        ["fish", "--no-config", "-c", FISH, str(script), *wanted],
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        check=True,
    )
    assert done.stderr == b""
    entries = done.stdout.decode().split("\0")
    assert entries[: len(wanted)] == list(wanted.values())
    seen = dict(entry.split("=", 1) for entry in entries[len(wanted) :] if entry)
    assert {name: seen.get(name) for name in wanted} == wanted


@pytest.mark.parametrize("form", ["env", "env-file"])
def test_a_set_minus_a_of_usual_values_needs_no_quotes(form: str, tmp_path: Path) -> None:
    usual = IssuedCredentials(
        "work",
        Credentials(EXAMPLE_SESSION_ID, "wJalrXUtn/K7+MDENG=", "IQoJ//8==", 1795470313),
        "eu-west-1",
    )
    file = tmp_path / "aws.env"
    file.write_text(export(usual, form))
    done = subprocess.run(
        ["sh", "-c", f"set -a; . {file}; env -0"],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    seen = dict(entry.split("=", 1) for entry in done.stdout.split("\0") if entry)
    assert usual.variables().items() <= seen.items()
