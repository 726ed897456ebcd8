"""The table of `list`: made column by column, and the same as one made line by line."""

from __future__ import annotations

import io
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filevault.cli import streams
from filevault.cli.commands import list as command
from filevault.cli.reporter import Reporter
from filevault.cli.sign_ins import SignIn
from filevault.system.printable import printable
from filevault.system.times import format_duration, format_local

NOW = 1_795_953_600.5
DAY = 86400

names = st.one_of(
    st.sampled_from(
        ["a", "b", "b-c", "team/a", "x" * 23, "y" * 24, "z" * 60, "ä", "a\x1b[0m", "≥"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30),
)
times = st.one_of(
    st.none(),
    st.tuples(st.integers(0, int(NOW) + 2 * DAY), st.sampled_from([None, "iam", "add"])),
)
sessions = st.lists(
    st.tuples(
        st.sampled_from(["get-session-token", "assume-role", "login", "process"]),
        st.integers(int(NOW) + 1, int(NOW) + 2 * DAY),
    ),
    min_size=1,
    max_size=3,
)
sign_ins = st.builds(
    SignIn,
    st.sampled_from(["sso:work", "login:a\tb"]),
    st.one_of(st.none(), st.integers(int(NOW) + 1, int(NOW) + DAY)),
    st.booleans(),
)


@st.composite
def listings(draw: st.DrawFn) -> command._Listing:
    """Return what `list` finds: profiles in the order of the config, keys sorted."""
    profiles = draw(st.lists(names, max_size=5, unique=True))
    known = st.one_of(names, st.sampled_from(profiles)) if profiles else names
    stored = draw(st.dictionaries(known, times, max_size=8))
    known = st.one_of(known, st.sampled_from(sorted(stored))) if stored else known
    found = draw(st.dictionaries(known, sessions, max_size=6))
    listing = command._Listing(profiles, dict(sorted(stored.items())), found)
    if profiles:
        listing.signed_in = draw(st.dictionaries(st.sampled_from(profiles), sign_ins, max_size=2))
    return listing


def line_by_line(listing: command._Listing, *, local: bool) -> str:
    """Return the table as a person would make it."""
    shown = {name: printable(name) for name in listing.names}
    width = max([25, *(len(text) + 2 for text in shown.values())])
    lines = [
        f"{'Profile':{width}}{'Credentials':{width}}{'Age':7}Sessions",
        f"{'=======':{width}}{'===========':{width}}{'===':7}========",
    ]
    for name in listing.names:
        has_key = name in listing.stored
        time = listing.stored.get(name)
        age = "-"
        if time is not None:
            sign = "" if time[1] == "iam" else "≥"
            age = f"{sign}{max(0, (int(NOW) - time[0]) // DAY)}d"
        cells = []
        if name in listing.signed_in:
            cells.append(listing.signed_in[name].label(NOW, local=local))
        for operation, end in sorted(listing.sessions.get(name, ())):
            until = format_local(end) if local else format_duration(end - NOW)
            cells.append(f"{command._LABELS.get(operation, operation)}:{until}")
        first = shown[name] if name in listing.configured or not has_key else "-"
        second = shown[name] if has_key else "-"
        lines.append(f"{first:{width}}{second:{width}}{age:7}{', '.join(cells) or '-'}")
    return "".join(f"{line}\n" for line in lines)


def printed(text: str, encoding: str) -> bytes:
    """Return what stdout gets of a table, between other results."""
    sink = io.BytesIO()
    stream = streams._Output(
        io.BufferedWriter(sink),
        encoding=encoding,
        errors="backslashreplace",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        reporter = Reporter()
        reporter.result("before")
        reporter.write_marked(text, command._MARK, command._SINCE)
        reporter.result("after")
        stream.flush()
        return sink.getvalue()


@settings(deadline=None, max_examples=150)
@given(listings(), st.booleans(), st.sampled_from(["utf-8", "ascii", "iso8859-1", "utf-16-le"]))
def test_the_table_is_the_same_as_line_by_line(
    listing: command._Listing, local: bool, encoding: str
) -> None:
    text = command._table(listing, command._Ages(NOW), command._Labels(NOW, local=local))
    expected = f"before\n{line_by_line(listing, local=local)}after\n"
    assert printed(text, encoding) == expected.encode(encoding, "backslashreplace")
