"""`.age-recipients`: the grammar beside the age program's, and which file governs what."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filevault.backends.age import recipients_file
from filevault.backends.values import RecipientsFile
from filevault.errors import BackendError, NoVaultError, StorageError, UsageError
from tests.conditions.tools import tool
from tests.worlds.age_store import (
    PLUGIN_RECIPIENT,
    bech32,
    install_plugin,
    make_store,
    open_store,
    pair,
    ssh_key,
)
from tests.worlds.file_vault import GivenSecrets

if TYPE_CHECKING:
    from pathlib import Path

ALICE, ALICE_TO = pair()
BOB, BOB_TO = pair()
ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN"
ECDSA = (
    "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBHFliOyIZs1gxGF3fmDx"
    "FykQhE88wy6AKDGFBfn0R6ZuvRmENABZQa9+pj9hMki+LX0qDJbmHTiWDbYv/cmFt/Q="
)
POST_QUANTUM = bech32("age1pq", bytes(1216))


def nothing(text: str) -> None:
    raise AssertionError(text)


def parse(data: bytes | str) -> tuple[str, ...]:
    return recipients_file.parse(
        data.encode() if isinstance(data, str) else data, "it", lambda _text: None
    ).all


def accepted_by_age(data: bytes, folder: Path) -> bool:
    """Tell whether the age program encrypts to a recipients file."""
    file = folder / "recipients"
    file.write_bytes(data)
    done = subprocess.run(
        [tool("age"), "-R", str(file)], input=b"x", capture_output=True, env={"PATH": "/nowhere"}
    )
    return done.returncode == 0


GRAMMAR = [
    f"{ALICE_TO}\n",
    f"{ALICE_TO}",
    f"{ALICE_TO}\r\n{BOB_TO}\r\n",
    f"# who\n\n{ALICE_TO}\n\n#{BOB_TO}\n",
    f"{ALICE_TO}\n{ALICE_TO}\n",
    f" {ALICE_TO}\n",
    f"{ALICE_TO} \n",
    f"\t{ALICE_TO}\n",
    f"{ALICE_TO} # Alice\n",
    f"{ALICE_TO}\n #\n",
    f"{ALICE_TO}\n \n",
    f"{ALICE_TO}\n\r\n",
    f"{ALICE_TO}\r\r\n",
    f"{ALICE_TO}\rx\n",
    f"{ALICE_TO.upper()}\n",
    f"{ALICE_TO[:-1]}\n",
    f"{ALICE_TO}\nx\n",
    f"{ALICE}\n",
    "\n",
    "# nobody\n",
    "",
    f"{ED25519}\n",
    f"{ED25519} alice@here # and more\n",
    f"{ED25519}x\n",
    f" {ED25519}\n",
    f"{ALICE_TO}\n{ECDSA} bob@here\n",
    f"{ECDSA}\n",
    f" {ECDSA}\n{ALICE_TO}\n",
    f"{ALICE_TO}\n{ECDSA[:-4]}\n",
    f"{ALICE_TO}\nssh-ed25519\n",
    f"{ALICE_TO}\nssh-ed25519 {ECDSA.split()[1]}\n",
    f"{ALICE_TO}\n{ED25519[:60]}\n",
    f"{ALICE_TO}\n#{'x' * 9000}\n",
    f"{ALICE_TO}\n{ED25519} {'x' * 9000}\n",
    f"{ALICE_TO}\n#{'x' * 70000}\n",
    f"{ALICE_TO}\n#{'x' * 65533}\n",
    "github:FiloSottile\n",
    "scrypt\n",
    f"{ALICE_TO}\0\n",
    f"{ALICE_TO} {BOB_TO}\n",
    f"# \xff\n{ALICE_TO}\n",
]
# The program skips an ssh key that was cut short, and then the file has one reader less; and it
# decides by a key's blob alone, whatever the line calls it. Both are refused here.
STRICTER = {
    f"{ALICE_TO}\n{ED25519[:60]}\n",
    f"{ALICE_TO}\nssh-ed25519 {ECDSA.split()[1]}\n",
}


@pytest.mark.parametrize("number", range(len(GRAMMAR)))
def test_grammar_is_that_of_the_age_program(number: int, tmp_path: Path) -> None:
    text = GRAMMAR[number]
    data = text.encode("latin-1")
    try:
        parse(data)
    except BackendError:
        ours = False
    else:
        ours = True
    theirs = accepted_by_age(data, tmp_path)
    assert ours == theirs or (theirs and text in STRICTER)


LINES = [ALICE_TO, BOB_TO, ED25519, ECDSA, "", "#", "# x", " ", "x", f" {BOB_TO}", f"{BOB_TO} #"]


@settings(max_examples=60, deadline=None)
@given(
    lines=st.lists(st.tuples(st.sampled_from(LINES), st.sampled_from(["\n", "\r\n"])), max_size=5),
    last=st.booleans(),
)
def test_any_file_is_read_as_the_age_program_reads_it(
    lines: list[tuple[str, str]], last: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = "".join(line + end for line, end in lines).encode()
    if last:
        data = data.rstrip(b"\r\n")
    try:
        parse(data)
    except BackendError:
        ours = False
    else:
        ours = True
    assert ours == accepted_by_age(data, tmp_path_factory.mktemp("grammar"))


def test_recipients_are_sorted_and_each_stands_once_without_comments() -> None:
    text = f"{ED25519} alice@here\n{BOB_TO}\n{ALICE_TO}\n{ED25519}  other\n{BOB_TO}\n"
    assert parse(text) == tuple(sorted([ALICE_TO, BOB_TO, ED25519]))


def test_ssh_key_that_age_ignores_is_ignored_with_a_warning() -> None:
    small = ssh_key("rsa", "", "-b", "1024")[1]
    said: list[str] = []
    found = recipients_file.parse(f"{ALICE_TO}\n{ECDSA} x\n{small}\n".encode(), "it", said.append)
    assert found == recipients_file.AgeRecipients((ALICE_TO,))
    assert ["line 2" in said[0], "line 3" in said[1]] == [True, True]
    assert "ecdsa-sha2-nistp256" in said[0]


def test_what_the_library_cannot_encrypt_to_stands_as_unresolved() -> None:
    large = ssh_key("rsa", "", "-b", "4104")[1]
    found = recipients_file.parse(f"{POST_QUANTUM}\n{ALICE_TO}\n{large}\n".encode(), "it", nothing)
    assert set(found.unresolved) == {POST_QUANTUM, " ".join(large.split()[:2])}
    assert set(found.all) == {*found.unresolved, ALICE_TO}


def test_error_names_the_line_and_never_quotes_it() -> None:
    with pytest.raises(BackendError) as caught:
        parse(f"{BOB_TO}\n{ALICE}\n")
    assert "line 2 of it contains an identity" in caught.value.message
    assert ALICE[20:30] not in str(caught.value) + str(caught.value.hint)
    with pytest.raises(BackendError, match="line 1 of it is no recipient: no blanks"):
        parse(f"{BOB_TO} # Bob\n")


def test_file_beyond_a_mebibyte_is_refused() -> None:
    with pytest.raises(BackendError, match="longer than"):
        parse(b"#\n" * (1 << 19) + ALICE_TO.encode())


def test_recipient_from_a_person_is_checked() -> None:
    assert recipients_file.checked(f" {ALICE_TO}\n") == ALICE_TO
    assert recipients_file.checked(f"{ED25519} me") == ED25519
    for text in ("", "x", ALICE_TO[:-1], ECDSA, POST_QUANTUM):
        with pytest.raises(UsageError):
            recipients_file.checked(text)
    with pytest.raises(UsageError) as caught:
        recipients_file.checked(ALICE)
    assert ALICE[20:30] not in str(caught.value)


def test_built_file_ends_in_a_newline_and_is_read_back() -> None:
    for wanted in ([ALICE_TO], [BOB_TO, ED25519, ALICE_TO]):
        data = recipients_file.build(wanted)
        assert data.endswith(b"\n")
        assert parse(data) == tuple(sorted(wanted))
    with pytest.raises(UsageError):
        recipients_file.build([])


@given(
    before=st.lists(st.sampled_from([ALICE_TO, BOB_TO, f"{ED25519} me", "# note", "", ECDSA])),
    wanted=st.lists(st.sampled_from([ALICE_TO, BOB_TO, ED25519]), min_size=1, unique=True),
    end=st.sampled_from(["\n", "\r\n"]),
    last=st.booleans(),
)
def test_rebuilt_file_keeps_comments_and_has_just_the_wanted(
    before: list[str], wanted: list[str], end: str, last: bool
) -> None:
    old = "".join(line + end for line in before).encode()
    if not last:
        old = old.removesuffix(b"\n")
    new = recipients_file.build(wanted, old)
    assert parse(new) == tuple(sorted(wanted))
    assert new.endswith(b"\n")
    assert new.count(b"# note") == before.count("# note")
    assert new.count(ECDSA.encode()) == before.count(ECDSA)
    assert (f"{ED25519} me".encode() in new) == (f"{ED25519} me" in before and ED25519 in wanted)


# Which file governs what


def test_nearest_file_upward_governs(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ALICE_TO)
    make_store(store / "aws" / "team", BOB_TO)
    backend = open_store(store, ALICE, prefix=("aws",))
    assert backend.governs("x") == RecipientsFile(".age-recipients", (ALICE_TO,))
    assert backend.governs("new/folder/x") == RecipientsFile(".age-recipients", (ALICE_TO,))
    assert backend.governs("team/x") == RecipientsFile("aws/team/.age-recipients", (BOB_TO,))
    assert backend.governs("team/deep/x").recipients == (BOB_TO,)


def test_file_above_the_store_never_governs(tmp_path: Path) -> None:
    make_store(tmp_path / "outer", BOB_TO)
    (tmp_path / "outer" / "store").mkdir()
    backend = open_store(tmp_path / "outer" / "store", ALICE, prefix=("aws",))
    with pytest.raises(NoVaultError):
        backend.governs("x")
    assert backend.governing() == ()


def test_pinned_are_the_files_that_govern_the_root_and_those_below_it(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ALICE_TO)
    for folder in ("aws/b", "aws/a/deep", "other", "aws/.git", "aws/.hidden"):
        make_store(store / folder, BOB_TO)
    places = [file.path for file in open_store(store, prefix=("aws",)).governing()]
    assert places == [
        ".age-recipients",
        "aws/a/deep/.age-recipients",
        "aws/b/.age-recipients",
    ]
    (store / "aws" / ".age-recipients").write_text(BOB_TO)
    places = [file.path for file in open_store(store, prefix=("aws",)).governing()]
    assert places[0] == "aws/.age-recipients"
    assert ".age-recipients" not in places


def test_files_are_read_once_until_forgotten(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ALICE_TO)
    backend = open_store(store)
    assert backend.governing()[0].recipients == (ALICE_TO,)
    (store / ".age-recipients").write_text(f"{BOB_TO}\n")
    assert backend.governs("x").recipients == (ALICE_TO,)
    backend.forget()
    assert backend.governs("x").recipients == (BOB_TO,)


def test_linked_file_is_refused(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ALICE_TO)
    (tmp_path / "planted").write_text(BOB_TO)
    (store / "aws").mkdir()
    (store / "aws" / ".age-recipients").symlink_to(tmp_path / "planted")
    (store / "linked").symlink_to(tmp_path)
    backend = open_store(store, prefix=("aws",))
    with pytest.raises(StorageError, match="is a link"):
        backend.governs("x")
    with pytest.raises(StorageError, match="is a link"):
        open_store(store).governs("linked/x")


def test_unusable_file_below_the_root_stops_only_what_it_governs(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ALICE_TO)
    make_store(store / "bad", "nonsense")
    backend = open_store(store)
    good, bad = backend.governing()
    assert good.recipients == (ALICE_TO,)
    assert bad.path == "bad/.age-recipients"
    assert bad.unresolved == bad.recipients
    assert backend.governs("x").recipients == (ALICE_TO,)
    with pytest.raises(BackendError, match="line 1 of 'bad/.age-recipients'"):
        backend.governs("bad/x")
    (store / "bad" / ".age-recipients").write_text("other nonsense")
    backend.forget()
    assert backend.governing()[1] != bad


def test_passage_variables_override_in_passages_order(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ALICE_TO)
    file = tmp_path / "elsewhere"
    file.write_text(f"# mine\n{BOB_TO}")
    both = {"PASSAGE_RECIPIENTS_FILE": str(file), "PASSAGE_RECIPIENTS": f" {ALICE_TO} \t{BOB_TO}\n"}
    backend = open_store(store, environment=both, passage=True)
    override = RecipientsFile("env:PASSAGE_RECIPIENTS_FILE", (BOB_TO,))
    assert backend.governs("x") == override
    assert backend.governing() == (RecipientsFile(".age-recipients", (ALICE_TO,)), override)

    del both["PASSAGE_RECIPIENTS_FILE"]
    backend = open_store(store, environment=both, passage=True)
    assert backend.governs("x") == RecipientsFile(
        "env:PASSAGE_RECIPIENTS", tuple(sorted([ALICE_TO, BOB_TO]))
    )
    empty = {"PASSAGE_RECIPIENTS_FILE": "", "PASSAGE_RECIPIENTS": ""}
    assert open_store(store, environment=empty, passage=True).governs("x").recipients == (ALICE_TO,)


def test_passage_variables_say_nothing_about_other_stores(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ALICE_TO)
    environment = {"PASSAGE_RECIPIENTS": BOB_TO}
    assert open_store(store, environment=environment).governs("x").recipients == (ALICE_TO,)


def test_override_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ALICE_TO)
    for environment in (
        {"PASSAGE_RECIPIENTS_FILE": str(tmp_path / "absent")},
        {"PASSAGE_RECIPIENTS_FILE": str(tmp_path)},
        {"PASSAGE_RECIPIENTS": f"{ALICE_TO},{BOB_TO}"},
        {"PASSAGE_RECIPIENTS": " "},
    ):
        with pytest.raises(BackendError):
            open_store(store, environment=environment, passage=True).governs("x")


def test_passage_store_without_a_file_uses_the_own_identities(tmp_path: Path) -> None:
    private, public = ssh_key("ed25519")
    backend = open_store(tmp_path, f"{ALICE}\n{BOB}\n", private, passage=True)
    mine = tuple(sorted([ALICE_TO, BOB_TO, " ".join(public.split()[:2])]))
    assert backend.governs("x") == RecipientsFile("identities", mine)
    assert backend.governing() == (RecipientsFile("identities", mine),)
    assert backend.own_recipients() == mine


def test_looking_at_recipients_runs_no_plugin_and_asks_nobody(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", PLUGIN_RECIPIENT, ALICE_TO)
    runs = install_plugin(tmp_path / "bin")
    source = GivenSecrets()
    backend = open_store(store, ALICE, source=source, environment={"PATH": str(tmp_path / "bin")})
    assert PLUGIN_RECIPIENT in backend.governing()[0].recipients
    assert backend.governing()[0].unresolved == ()
    assert source.asked == 0
    assert not runs.exists()
