"""`PASSWORD_STORE_SIGNING_KEY`: recipients count only if they are signed."""

from __future__ import annotations

import pytest

from filevault.backends.item_header import ItemHeader
from filevault.errors import (
    BackendError,
    LockedError,
    NoTerminalError,
    TamperedError,
    WrongPassphraseError,
)
from tests.samples import EXAMPLE_ITEM
from tests.worlds.file_vault import GivenSecrets
from tests.worlds.gpg_store import PASSPHRASE, GpgStore

HEADER = ItemHeader("credentials", "prod", 1, "")


def sign(scene: GpgStore, *signers: str, armor: bool = False) -> None:
    """Sign a .gpg-id with keys named by name or fingerprint."""
    file = scene.store / ".gpg-id"
    users = [word for signer in signers for word in ("-u", scene.keys.get(signer, signer))]
    options = ["--armor"] if armor else []
    done = scene.home.gpg(*users, *options, "--detach-sign", data=file.read_bytes())
    (scene.store / ".gpg-id.sig").write_bytes(done.stdout)


def refusal(scene: GpgStore, signing_key: str) -> str:
    backend = scene.backend(PASSWORD_STORE_SIGNING_KEY=signing_key)
    messages = set()
    for use in (
        backend.governing,
        lambda: backend.governs("prod"),
        lambda: backend.encrypt(HEADER, EXAMPLE_ITEM),
    ):
        with pytest.raises(TamperedError) as caught:
            use()
        messages.add(caught.value.message)
    assert len(messages) == 1
    return messages.pop()


@pytest.mark.parametrize("armor", [False, True])
def test_signed_recipients_are_used(gpg_store: GpgStore, armor: bool) -> None:
    gpg_store.write_ids("bob")
    sign(gpg_store, "alice", armor=armor)
    for key in (gpg_store.keys["alice"], gpg_store.keys["alice"].lower()):
        backend = gpg_store.backend(PASSWORD_STORE_SIGNING_KEY=key)
        assert backend.governing()[0].recipients == (gpg_store.keys["bob"],)
        assert backend.encrypt(HEADER, EXAMPLE_ITEM)


def test_any_of_several_keys_and_any_of_several_signatures_will_do(gpg_store: GpgStore) -> None:
    gpg_store.write_ids("bob")
    sign(gpg_store, "jbob", "alice")
    keys = f"{gpg_store.keys['bob']}  {gpg_store.keys['alice']}"
    assert gpg_store.backend(PASSWORD_STORE_SIGNING_KEY=keys).governing()


def test_signing_subkey_may_be_named_itself_or_by_its_key(gpg_store: GpgStore) -> None:
    alice = gpg_store.keys["alice"]
    quiet = ("--pinentry-mode", "loopback", "--passphrase", "")
    gpg_store.home.gpg(*quiet, "--quick-add-key", alice, "ed25519", "sign", "never")
    subkey = gpg_store.home.fingerprints("Alice Liddell <alice@example.com>")[2]
    gpg_store.write_ids("bob")
    sign(gpg_store, f"{subkey}!")
    for key in (alice, subkey):
        assert gpg_store.backend(PASSWORD_STORE_SIGNING_KEY=key).governing()
    sign(gpg_store, f"{alice}!")
    assert "does not name" in refusal(gpg_store, subkey)


def test_unsigned_changed_and_strangers_files_are_refused(gpg_store: GpgStore) -> None:
    gpg_store.write_ids("bob")
    alice = gpg_store.keys["alice"]
    assert refusal(gpg_store, alice) == "'.gpg-id' is not signed: there is no .gpg-id.sig"
    sign(gpg_store, "jbob")
    assert refusal(gpg_store, alice) == (
        "the signature of '.gpg-id' is not valid: it is by a key that "
        "PASSWORD_STORE_SIGNING_KEY does not name"
    )
    sign(gpg_store, "alice")
    gpg_store.write_ids("bob", "jbob")
    assert refusal(gpg_store, alice) == "the signature of '.gpg-id' is not valid: it is bad"
    (gpg_store.store / ".gpg-id.sig").write_bytes(b"not a signature")
    assert "is damaged: it is no OpenPGP message" in refusal(gpg_store, alice)
    (gpg_store.store / ".gpg-id.sig").write_bytes(b"")
    assert refusal(gpg_store, alice) == ".gpg-id.sig is not a detached signature"


def test_message_that_brings_its_own_text_is_no_signature(gpg_store: GpgStore) -> None:
    gpg_store.write_ids("jbob")
    whole = gpg_store.home.gpg(
        "-u", gpg_store.keys["alice"], "-z", "0", "--sign", data=b"bob\n"
    ).stdout
    (gpg_store.store / ".gpg-id.sig").write_bytes(whole)
    assert refusal(gpg_store, gpg_store.keys["alice"]) == ".gpg-id.sig is not a detached signature"


def test_key_that_is_revoked_expired_or_not_here_signs_nothing(gpg_store: GpgStore) -> None:
    gpg_store.write_ids("bob")
    signer = gpg_store.home.make_key("Signer <signer@example.com>")
    sign(gpg_store, signer)
    assert gpg_store.backend(PASSWORD_STORE_SIGNING_KEY=signer).governing()
    gpg_store.home.revoke(signer)
    assert "its key is revoked" in refusal(gpg_store, signer)
    gpg_store.home.gpg("--delete-secret-and-public-key", signer)
    assert "its key is not here" in refusal(gpg_store, signer)
    expired = gpg_store.keys["expired"]
    past = ("--faked-system-time", "20200101T010000")
    text = (gpg_store.store / ".gpg-id").read_bytes()
    signature = gpg_store.home.gpg(*past, "-u", expired, "--detach-sign", data=text).stdout
    (gpg_store.store / ".gpg-id.sig").write_bytes(signature)
    assert "its key has expired" in refusal(gpg_store, expired)


def test_every_file_in_force_must_be_signed(gpg_store: GpgStore) -> None:
    gpg_store.write_ids("bob")
    sign(gpg_store, "alice")
    gpg_store.write_ids("jbob", folder="team")
    backend = gpg_store.backend(PASSWORD_STORE_SIGNING_KEY=gpg_store.keys["alice"])
    backend.encrypt(HEADER, EXAMPLE_ITEM)  # what is governed by the signed file
    with pytest.raises(BackendError, match="is not signed: there is no team/.gpg-id.sig"):
        backend.encrypt(HEADER._replace(name="team/x"), EXAMPLE_ITEM)
    (place, names, unresolved) = [tuple(file._asdict().values()) for file in backend.governing()][1]
    assert (place, names) == ("team/.gpg-id", unresolved)
    assert names[0].startswith("unusable, sha256:")


@pytest.mark.parametrize("value", [" ", "alice@example.com", "0123456789ABCDEF", "A" * 39])
def test_variable_that_names_no_fingerprint_fails_closed(gpg_store: GpgStore, value: str) -> None:
    gpg_store.write_ids("bob")
    backend = gpg_store.backend(PASSWORD_STORE_SIGNING_KEY=value)
    with pytest.raises(BackendError, match="^PASSWORD_STORE_SIGNING_KEY "):
        backend.encrypt(HEADER, EXAMPLE_ITEM)


def test_user_id_that_reads_like_a_status_line_signs_nothing(gpg_store: GpgStore) -> None:
    """Python takes U+0085 and U+2028 for line ends; gpg writes user ids with them."""
    alice = gpg_store.keys["alice"]
    fake = f"[GNUPG:] VALIDSIG {alice} 2026-11-24 1795483671 0 4 0 22 10 00 {alice}"
    for end in ("Å", "\u0085", "\u2028"):
        gpg_store.home.make_key(f"x{end}{fake}{end}y")
    gpg_store.write_ids("jbob")
    listing = gpg_store.home.gpg("--list-keys", "--with-colons").stdout.decode().split("\n")
    primaries = [
        listing[at + 1].split(":")[9]
        for at, line in enumerate(listing)
        if line.startswith("pub:") and listing[at + 1].split(":")[9] not in gpg_store.keys.values()
    ]
    assert len(primaries) == 3
    for mallory in primaries:
        sign(gpg_store, mallory)
        assert "it is by a key that" in refusal(gpg_store, alice)


def test_signature_that_is_made_is_the_one_that_is_wanted(gpg_store: GpgStore) -> None:
    gpg_store.write_ids("bob")
    alice = gpg_store.keys["alice"]
    backend = gpg_store.backend(PASSWORD_STORE_SIGNING_KEY=alice)
    data = (gpg_store.store / ".gpg-id").read_bytes()
    signature = backend.sign(data)
    assert signature
    (gpg_store.store / ".gpg-id.sig").write_bytes(signature)
    assert backend.governing()[0].recipients == (gpg_store.keys["bob"],)
    assert gpg_store.backend().sign(data) is None


def test_signing_key_with_passphrase_is_opened_as_any_other(gpg_store: GpgStore) -> None:
    locked = gpg_store.keys["locked"]
    gpg_store.home.kill_agent()
    with pytest.raises(NoTerminalError) as caught:
        gpg_store.backend(PASSWORD_STORE_SIGNING_KEY=locked).sign(b"x\n")
    assert locked in caught.value.message
    with pytest.raises(WrongPassphraseError):
        gpg_store.backend(PASSWORD_STORE_SIGNING_KEY=locked, passphrase=GivenSecrets(b"no")).sign(
            b"x\n"
        )
    made = gpg_store.backend(
        PASSWORD_STORE_SIGNING_KEY=locked, passphrase=GivenSecrets(PASSPHRASE)
    ).sign(b"x\n")
    assert made


def test_signing_key_that_is_not_here_gives_way_to_no_other(gpg_store: GpgStore) -> None:
    with pytest.raises(LockedError, match="the secret key for a signature by A{40} is not here"):
        gpg_store.backend(PASSWORD_STORE_SIGNING_KEY="A" * 40).sign(b"x\n")
