"""Whom items are encrypted to, and what is read back."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from filevault.backends.definition import RECIPIENTS
from filevault.backends.item_header import ItemHeader
from filevault.backends.values import RecipientsFile
from filevault.errors import (
    BackendError,
    LockedError,
    NotARecipientError,
    NoVaultError,
    ProgramError,
    StorageError,
)
from tests.samples import EXAMPLE_ITEM

if TYPE_CHECKING:
    from pathlib import Path

    from tests.worlds.gpg_store import GpgStore

WHEN = "2026-11-23T21:45:13Z"


def header(name: str = "prod", kind: str = "credentials") -> ItemHeader:
    return ItemHeader(kind, name, 1, WHEN)


def readers(scene: GpgStore, data: bytes) -> set[str]:
    """Names of the keys that a message names, told by gpg."""
    said = scene.home.gpg("--status-fd", "1", "--list-only", "-d", data=data).stdout.decode()
    ids = [line.split()[2] for line in said.splitlines() if " ENC_TO " in line]
    found: set[str] = set()
    for key_id in ids:
        listing = scene.home.gpg("--list-keys", "--with-colons", key_id).stdout.decode()
        fingerprint = next(x for x in listing.splitlines() if x.startswith("fpr:")).split(":")[9]
        found.update(name for name, known in scene.keys.items() if known == fingerprint)
    assert len(ids) == len(found)
    return found


def test_item_is_encrypted_to_exactly_the_nearest_recipients(gpg_store: GpgStore) -> None:
    gpg_store.write_ids("alice")
    gpg_store.write_ids("alice", "bob", folder="aws")
    gpg_store.write_ids("bob", folder="aws/team")
    (gpg_store.store / "aws" / "team" / "deep").mkdir()
    backend = gpg_store.backend(("aws",))
    wanted = {
        "prod": {"alice", "bob"},
        "team/prod": {"bob"},
        "team/deep/prod": {"bob"},
        "other/prod": {"alice", "bob"},
    }
    for name, keys in wanted.items():
        data = backend.encrypt(header(name), EXAMPLE_ITEM)
        assert readers(gpg_store, data) == keys
        assert backend.decrypt("credentials", name, data) == EXAMPLE_ITEM
        assert not backend.differs(name, data)


def test_governing_files_are_those_of_the_root_and_below(gpg_store: GpgStore) -> None:
    gpg_store.write_ids("alice", "bob")
    gpg_store.write_ids("bob", folder="aws/team")
    gpg_store.write_ids("jbob", folder="web")
    alice, bob = gpg_store.keys["alice"], gpg_store.keys["bob"]
    both = tuple(sorted([alice, bob]))
    backend = gpg_store.backend(("aws",))
    assert backend.governing() == (
        RecipientsFile(".gpg-id", both),
        RecipientsFile("aws/team/.gpg-id", (bob,)),
    )
    assert backend.governs("prod") == RecipientsFile(".gpg-id", both)
    assert backend.governs("team/prod").path == "aws/team/.gpg-id"


def test_variable_overrides_every_file_and_is_pinned_beside_them(gpg_store: GpgStore) -> None:
    gpg_store.write_ids("alice")
    gpg_store.write_ids("alice", folder="team")
    bob = gpg_store.keys["bob"]
    backend = gpg_store.backend(PASSWORD_STORE_KEY=f"{bob} jbob@example.com")
    places = [file.path for file in backend.governing()]
    assert places == [".gpg-id", "team/.gpg-id", "env:PASSWORD_STORE_KEY"]
    assert backend.governs("team/x").path == "env:PASSWORD_STORE_KEY"
    assert readers(gpg_store, backend.encrypt(header("team/x"), EXAMPLE_ITEM)) == {"bob", "jbob"}


def test_recipients_are_read_once_until_they_are_forgotten(gpg_store: GpgStore) -> None:
    gpg_store.write_ids("alice")
    backend = gpg_store.backend()
    before = backend.governing()
    gpg_store.write_ids("bob")
    gpg_store.write_ids("bob", folder="team")
    assert backend.governing() == before
    assert readers(gpg_store, backend.encrypt(header("team/x"), EXAMPLE_ITEM)) == {"alice"}
    backend.forget()
    assert readers(gpg_store, backend.encrypt(header("team/x"), EXAMPLE_ITEM)) == {"bob"}


def test_store_without_recipients_says_what_makes_them(gpg_store: GpgStore) -> None:
    backend = gpg_store.backend()
    assert backend.governing() == ()
    for use in (
        lambda: backend.governs("prod"),
        lambda: backend.encrypt(header(), EXAMPLE_ITEM),
        lambda: backend.encrypt(header("0" * 32, "session-key"), EXAMPLE_ITEM),
    ):
        with pytest.raises(NoVaultError) as caught:
            use()
        assert caught.value.exit_status == 4
        assert "filevault init" in (caught.value.hint or "")


def test_notices_tell_what_pass_would_read_otherwise(gpg_store: GpgStore) -> None:
    (gpg_store.store / ".gpg-id").write_text(
        f"{gpg_store.keys['alice']}\r\n{gpg_store.keys['bob']}"
    )
    backend = gpg_store.backend()
    assert gpg_store.notes == []
    assert readers(gpg_store, backend.encrypt(header(), EXAMPLE_ITEM)) == {"alice", "bob"}
    assert [notice.split(": ")[-1] for notice in gpg_store.notes] == [
        "pass ignores its last line",
        "'.gpg-id' has CRLF line ends, which pass cannot read",
    ]


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("expired", "it has expired"),
        ("revoked", "it is revoked"),
        ("disabled", "it is disabled"),
        ("0123456789ABCDEF0123456789ABCDEF01234567", "it has no key in gpg's keyring"),
        ("nobody@example.com", "it has no key in gpg's keyring"),
        ("example.com", "it fits several keys in gpg's keyring"),
    ],
)
def test_recipient_that_cannot_be_encrypted_to_is_named(
    gpg_store: GpgStore, key: str, reason: str
) -> None:
    gpg_store.write_ids("alice", key)
    backend = gpg_store.backend()
    name = gpg_store.keys.get(key, key)
    governing = backend.governing()[0]
    assert governing.unresolved == (name,)
    assert set(governing.recipients) == {gpg_store.keys["alice"], name}
    with pytest.raises(BackendError) as caught:
        backend.encrypt(header(), EXAMPLE_ITEM)
    assert caught.value.message == f"item 'prod' cannot be encrypted to {name!r}: {reason}"
    assert caught.value.exit_status == 7
    with pytest.raises(BackendError) as caught:
        backend.resolve(["alice@example.com", name])
    assert caught.value.message == f"the vault cannot be encrypted to {name!r}: {reason}"


def test_unusable_recipients_of_a_folder_leave_the_rest_of_the_vault_alone(
    gpg_store: GpgStore,
) -> None:
    gpg_store.write_ids("alice")
    gpg_store.write_ids("nobody@example.com", folder="team")
    backend = gpg_store.backend()
    assert readers(gpg_store, backend.encrypt(header("prod"), EXAMPLE_ITEM)) == {"alice"}
    with pytest.raises(BackendError, match="nobody@example.com"):
        backend.encrypt(header("team/prod"), EXAMPLE_ITEM)


def test_gpg_conf_adds_no_reader_and_changes_no_byte(gpg_store: GpgStore) -> None:
    gpg_store.write_ids("alice")
    bob = gpg_store.keys["bob"]
    (gpg_store.home.path / "gpg.conf").write_text(
        f"encrypt-to {bob}\nhidden-encrypt-to {bob}\nthrow-keyids\narmor\ntextmode\n"
        f"compress-algo zip\ngroup {gpg_store.keys['alice']}={bob}\n"
    )
    backend = gpg_store.backend()
    text = b"one\ntwo\r\nthree\n" * 200
    # The group renames alice to bob, which is what the file then says.
    assert backend.governing()[0].recipients == (bob,)
    data = backend.encrypt(header(), text)
    assert readers(gpg_store, data) == {"bob"}
    assert data[0] & 0x80
    assert len(data) > len(text)
    assert backend.decrypt("credentials", "prod", data) == text


def test_group_named_like_a_fingerprint_does_not_divert_what_was_resolved(
    gpg_store: GpgStore,
) -> None:
    keys = gpg_store.keys
    (gpg_store.home.path / "gpg.conf").write_text(f"group {keys['alice']}={keys['bob']}\n")
    gpg_store.write_ids("alice@example.com")
    assert readers(gpg_store, gpg_store.backend().encrypt(header(), EXAMPLE_ITEM)) == {"alice"}


def test_hidden_reader_that_gpg_conf_slips_in_is_noticed(gpg_store: GpgStore) -> None:
    gpg_store.write_ids("alice")
    (gpg_store.home.path / "gpg.conf").write_text(f"hidden-recipient {gpg_store.keys['bob']}\n")
    with pytest.raises(BackendError, match="to others than its recipients, so it was not stored"):
        gpg_store.backend().encrypt(header(), EXAMPLE_ITEM)
    (gpg_store.home.path / "gpg.conf").unlink()
    options = f"-r {gpg_store.keys['bob']}"
    with pytest.raises(BackendError, match="to others than its recipients"):
        gpg_store.backend(PASSWORD_STORE_GPG_OPTS=options).encrypt(header(), EXAMPLE_ITEM)


def test_difference_is_told_without_a_secret_key_or_an_agent(gpg_store: GpgStore) -> None:
    gpg_store.write_ids("alice", "bob")
    keys = gpg_store.keys
    both = gpg_store.home.encrypt(EXAMPLE_ITEM, keys["alice"], keys["bob"])
    alone = gpg_store.home.encrypt(EXAMPLE_ITEM, keys["alice"])
    more = gpg_store.home.encrypt(EXAMPLE_ITEM, keys["alice"], keys["bob"], keys["jbob"])
    other = gpg_store.home.encrypt(EXAMPLE_ITEM, keys["alice"], keys["jbob"])
    hidden = gpg_store.home.encrypt(
        EXAMPLE_ITEM, keys["alice"], keys["bob"], options=["--throw-keyids"]
    )
    (gpg_store.home.path / "private-keys-v1.d").rename(gpg_store.home.path / "away")
    gpg_store.home.kill_agent()
    backend = gpg_store.backend(PATH=os.environ["PATH"])
    assert [backend.differs("x", d) for d in (both, alone, more, other, hidden)] == [
        False,
        True,
        True,
        True,
        None,
    ]
    assert not (gpg_store.home.path / "S.gpg-agent").exists()


def test_difference_cannot_be_ruled_out_where_a_key_is_missing(gpg_store: GpgStore) -> None:
    gpg_store.write_ids("alice", "bob")
    data = gpg_store.home.encrypt(EXAMPLE_ITEM, gpg_store.keys["alice"], gpg_store.keys["bob"])
    assert not gpg_store.backend().differs("x", data)
    gpg_store.home.gpg("--delete-secret-and-public-key", gpg_store.keys["bob"])
    assert gpg_store.backend().differs("x", data) is None


def test_whose_secret_key_is_here_is_told_without_asking(gpg_store: GpgStore) -> None:
    keys = gpg_store.keys
    gpg_store.home.forget_secret("Bob <bob@example.com>")
    backend = gpg_store.backend()
    assert backend.opens([keys["locked"], keys["bob"]]) is True
    assert backend.opens([keys["bob"], "nobody@example.com"]) is False
    assert backend.opens(["nobody@example.com"]) is False


def test_the_keys_that_an_id_may_mean_are_named(gpg_store: GpgStore) -> None:
    second = gpg_store.home.make_key("Bob at work <bob@example.com>")
    both = tuple(sorted([gpg_store.keys["bob"], second]))
    gpg_store.write_ids("alice", "bob@example.com")
    backend = gpg_store.backend()
    assert backend.candidates("bob@example.com") == both
    assert backend.candidates("nobody@example.com") == backend.candidates(both[0]) == ()
    for attempt in (
        lambda: backend.encrypt(header(), EXAMPLE_ITEM),
        lambda: backend.resolve(["bob@example.com"]),
    ):
        with pytest.raises(BackendError, match="fits several keys") as caught:
            attempt()
        assert "write the full fingerprint" in str(caught.value.hint)
        assert " or ".join(both) in str(caught.value.hint)


def test_session_key_goes_to_those_whose_secret_key_is_here(gpg_store: GpgStore) -> None:
    gpg_store.write_ids("alice", "bob", "expired", "nobody@example.com")
    gpg_store.home.forget_secret("Bob <bob@example.com>")
    backend = gpg_store.backend()
    state_id = "0123456789abcdef" * 2
    data = backend.encrypt(header(state_id, "session-key"), EXAMPLE_ITEM)
    assert readers(gpg_store, data) == {"alice"}
    assert backend.decrypt("session-key", state_id, data) == EXAMPLE_ITEM


def test_session_key_is_locked_where_no_secret_key_is_here(gpg_store: GpgStore) -> None:
    gpg_store.write_ids("bob")
    gpg_store.home.forget_secret("Bob <bob@example.com>")
    with pytest.raises(LockedError, match="no secret key of the recipients in '.gpg-id' is here"):
        gpg_store.backend().encrypt(header("0" * 32, "session-key"), EXAMPLE_ITEM)


def test_session_key_goes_to_whom_is_pinned_where_the_agent_cannot_tell(
    gpg_store: GpgStore,
) -> None:
    gpg_store.write_ids("alice", "bob")
    gpg_store.home.kill_agent()
    options = "--agent-program /bin/false"
    backend = gpg_store.backend(PASSWORD_STORE_GPG_OPTS=options)
    with pytest.raises(NotARecipientError):
        backend.encrypt(header("0" * 32, "session-key"), EXAMPLE_ITEM)
    backend = gpg_store.backend(trusted=(gpg_store.keys["alice"],), PASSWORD_STORE_GPG_OPTS=options)
    data = backend.encrypt(header("0" * 32, "session-key"), EXAMPLE_ITEM)
    assert readers(gpg_store, data) == {"alice"}


def test_item_for_other_keys_is_locked_and_names_them(gpg_store: GpgStore) -> None:
    data = gpg_store.home.encrypt(EXAMPLE_ITEM, gpg_store.keys["bob"])
    key_id = gpg_store.home.fingerprints("Bob <bob@example.com>")[1][-16:]
    gpg_store.home.forget_secret("Bob <bob@example.com>")
    gpg_store.write_ids("bob")
    with pytest.raises(LockedError) as caught:
        gpg_store.backend().decrypt("credentials", "prod", data)
    assert caught.value.message == (
        f"no secret key is here that opens item 'prod': it is encrypted to {key_id}"
    )


def test_armored_and_hidden_items_of_others_are_read(gpg_store: GpgStore) -> None:
    # gpg exits with an error where it has to try several secret keys for a hidden recipient.
    for user_id in ("Alice Liddell <alice@example.com>", "J. Bob <jbob@example.com>"):
        gpg_store.home.forget_secret(user_id)
    gpg_store.home.forget_secret("Locked <locked@example.com>")
    for options in (["--armor"], ["--throw-keyids"], ["-z", "9"], ["--set-filename", "x\ny"]):
        data = gpg_store.home.encrypt(EXAMPLE_ITEM, gpg_store.keys["bob"], options=options)
        assert gpg_store.backend().decrypt("credentials", "prod", data) == EXAMPLE_ITEM


def test_resolved_ids_are_full_fingerprints(gpg_store: GpgStore) -> None:
    alice, bob = gpg_store.keys["alice"], gpg_store.keys["bob"]
    backend = gpg_store.backend()
    subkey = gpg_store.home.fingerprints("Alice Liddell <alice@example.com>")[1]
    for entry in (
        alice,
        alice.lower(),
        f"0x{alice}",
        alice[-16:],
        f"0x{alice[-16:]}",
        alice[-8:],
        subkey,
        subkey[-16:],
        "alice@example.com",
        "<ALICE@example.com>",
        "Liddell",
        "=Alice Liddell <alice@example.com>",
    ):
        assert backend.resolve([entry]) == (alice,)
    assert backend.resolve(["bob@example.com", alice]) == tuple(sorted([alice, bob]))


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_id_with_letters_beyond_ascii_is_found_in_any_locale(
    gpg_store: GpgStore, locale: str
) -> None:
    """As under cron and systemd, where there is no locale."""
    fingerprint = gpg_store.home.make_key("Zoë Ünal <zoe@example.com>")
    (gpg_store.store / ".gpg-id").write_text("Zoë Ünal\n", encoding="utf-8")
    backend = gpg_store.backend(LC_ALL=locale)
    assert backend.governs("prod").recipients == (fingerprint,)


def test_id_with_an_exclamation_mark_means_that_subkey(gpg_store: GpgStore) -> None:
    alice = gpg_store.keys["alice"]
    quiet = ("--pinentry-mode", "loopback", "--passphrase", "")
    gpg_store.home.gpg(*quiet, "--quick-add-key", alice, "cv25519", "encr", "never")
    primary, first, second = gpg_store.home.fingerprints("Alice Liddell <alice@example.com>")
    for subkey in (first, second):
        gpg_store.write_ids(f"{subkey}!")
        backend = gpg_store.backend()
        assert backend.governing()[0].recipients == (f"{subkey}!",)
        data = backend.encrypt(header(), EXAMPLE_ITEM)
        assert not backend.differs("prod", data)
        said = gpg_store.home.gpg("--status-fd", "1", "--list-only", "-d", data=data).stdout
        assert f"ENC_TO {subkey[-16:]}".encode() in said
    gpg_store.write_ids(f"{first}!")
    assert gpg_store.backend().differs("prod", data)
    gpg_store.write_ids(f"{primary}!")
    with pytest.raises(BackendError, match="is not exactly one encryption key"):
        gpg_store.backend().encrypt(header(), EXAMPLE_ITEM)


def test_groups_of_gpg_conf_are_expanded(gpg_store: GpgStore) -> None:
    keys = gpg_store.keys
    (gpg_store.home.path / "gpg.conf").write_text(
        f"group team = {keys['alice']} bob@example.com\ngroup odd:name = jbob@example.com\n"
        "group evil = --output=x\n"
    )
    gpg_store.write_ids("Team")
    backend = gpg_store.backend()
    assert backend.governing()[0].recipients == tuple(sorted([keys["alice"], keys["bob"]]))
    assert readers(gpg_store, backend.encrypt(header(), EXAMPLE_ITEM)) == {"alice", "bob"}
    assert backend.resolve(["odd:name"]) == (keys["jbob"],)
    with pytest.raises(BackendError, match="which is an option, not a key id"):
        backend.resolve(["evil"])


def test_user_id_with_odd_characters_fakes_no_record(gpg_store: GpgStore) -> None:
    alice = gpg_store.keys["alice"]
    evil = f"Å\u2028sub:u:255:18:{alice[-16:]}:1::::::e:::+::cv25519::\u0085 <evil@example.com>"
    mallory = gpg_store.home.make_key(evil)
    backend = gpg_store.backend()
    assert backend.resolve(["evil@example.com"]) == (mallory,)
    assert backend.resolve([alice[-16:]]) == (alice,)


def test_option_like_line_is_refused_before_gpg_sees_it(gpg_store: GpgStore) -> None:
    gpg_store.write_ids("alice", f"--output={gpg_store.store}/x")
    with pytest.raises(BackendError, match="which is an option, not a key id"):
        gpg_store.backend().governing()
    assert not (gpg_store.store / "x").exists()


def test_link_to_another_recipients_file_is_refused(gpg_store: GpgStore, tmp_path: Path) -> None:
    gpg_store.write_ids("alice")
    (tmp_path / "ids").write_text(f"{gpg_store.keys['bob']}\n")
    (gpg_store.store / "team").mkdir()
    (gpg_store.store / "team" / ".gpg-id").symlink_to(tmp_path / "ids")
    with pytest.raises(StorageError, match="is a link, which is refused"):
        gpg_store.backend().governing()


def test_store_may_be_reached_through_a_link(gpg_store: GpgStore, tmp_path: Path) -> None:
    gpg_store.write_ids("alice", folder="aws")
    (tmp_path / "dotfiles").symlink_to(gpg_store.store)
    gpg_store.store = tmp_path / "dotfiles"
    assert gpg_store.backend(("aws",)).governs("prod").path == "aws/.gpg-id"


def test_missing_gpg_says_what_to_install(gpg_store: GpgStore, tmp_path: Path) -> None:
    gpg_store.write_ids("alice")
    data = gpg_store.home.encrypt(EXAMPLE_ITEM, gpg_store.keys["alice"])
    backend = gpg_store.backend(PATH=str(tmp_path))
    for use in (backend.governing, lambda: backend.decrypt("credentials", "prod", data)):
        with pytest.raises(ProgramError) as caught:
            use()
        assert caught.value.message == "there is no program gpg, which a pass vault needs"
        assert "gnupg" in (caught.value.hint or "")


def test_missing_home_of_gpg_is_named(gpg_store: GpgStore, tmp_path: Path) -> None:
    gpg_store.write_ids("alice")
    data = gpg_store.home.encrypt(EXAMPLE_ITEM, gpg_store.keys["alice"])
    missing = str(tmp_path / "missing")
    for named, home in ((missing, str(tmp_path)), ("", missing)):
        backend = gpg_store.backend(GNUPGHOME=named, HOME=home)
        with pytest.raises(ProgramError, match="gpg has no keys: its folder '.*missing"):
            backend.governing()
        with pytest.raises(ProgramError, match="gpg has no keys: its folder '.*missing"):
            backend.decrypt("credentials", "prod", data)
    assert not (tmp_path / "missing").exists()


def test_options_of_pass_are_honoured_without_a_shell(gpg_store: GpgStore, tmp_path: Path) -> None:
    gpg_store.write_ids("alice")
    marker = tmp_path / "marker"
    home = f"--homedir {gpg_store.home.path} --comment '$(touch {marker}); `touch {marker}`'"
    backend = gpg_store.backend(GNUPGHOME=str(tmp_path / "missing"), PASSWORD_STORE_GPG_OPTS=home)
    data = backend.encrypt(header(), EXAMPLE_ITEM)
    assert backend.decrypt("credentials", "prod", data) == EXAMPLE_ITEM
    assert not marker.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--output x", "would write secrets to a file"),
        ("--outp=x", "would write secrets to a file"),
        ("-ox", "would write secrets to a file"),
        ("-qo x", "would write secrets to a file"),
        ("--passphrase hunter2", "which any user of the machine can see"),
        ("'unclosed", "PASSWORD_STORE_GPG_OPTS cannot be split into words"),
        ("--no-such-option", "gpg cannot be used"),
    ],
)
def test_options_that_cannot_serve_are_refused(
    gpg_store: GpgStore, options: str, message: str
) -> None:
    gpg_store.write_ids("alice")
    with pytest.raises(ProgramError, match=message) as caught:
        gpg_store.backend(PASSWORD_STORE_GPG_OPTS=options).encrypt(header(), EXAMPLE_ITEM)
    assert "hunter2" not in f"{caught.value.message} {caught.value.hint}"


def test_listing_needs_no_look_into_items(gpg_store: GpgStore) -> None:
    backend = gpg_store.backend()
    assert (backend.suffix, backend.family) == (".gpg", RECIPIENTS)
    backend.unlock()
    assert not (gpg_store.home.path / "S.gpg-agent").exists()
