"""The `age` backend beside the age program: both read what the other writes."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filevault.backends.age import age_file
from filevault.backends.item_header import ItemHeader
from filevault.backends.values import IdentityText
from filevault.errors import (
    BackendError,
    DamagedError,
    FilevaultError,
    IntegrityError,
    LockedError,
    NotARecipientError,
    NoVaultError,
    ProgramError,
    TamperedError,
)
from filevault.system.installation import install_hint
from tests.backends.contract import *  # noqa: F403 - the contract's tests run here
from tests.backends.contract import HEADER, shared
from tests.samples import EXAMPLE_ITEM
from tests.worlds.age_store import (
    PLUGIN_IDENTITY,
    PLUGIN_RECIPIENT,
    age,
    bech32,
    install_plugin,
    make_store,
    open_store,
    pair,
    protect,
    pyrage,
    ssh_key,
)
from tests.worlds.file_vault import PASSPHRASE, GivenSecrets, SameAnswer

if TYPE_CHECKING:
    from pathlib import Path

    from filevault.backends.age.backend import AgeBackend
    from filevault.backends.protocols import OpenBackend

ALICE, ALICE_TO = pair()
BOB, BOB_TO = pair()
POST_QUANTUM = bech32("age1pq", bytes(1216))
SESSION_KEY = ItemHeader("session-key", "0123456789abcdef" * 2, 1, "2026-11-23T21:45:13Z")


@pytest.fixture
def backend(tmp_path: Path) -> AgeBackend:
    return open_store(make_store(tmp_path / "store", ALICE_TO), ALICE)


@pytest.fixture
def stranger(tmp_path: Path) -> AgeBackend:
    return open_store(make_store(tmp_path / "other", BOB_TO), BOB)


# Of the contract, what age cannot promise: a changed stanza is one for somebody else.


@shared  # type: ignore[no-redef]
@given(where=st.integers(min_value=0), bit=st.integers(0, 7))
def test_flipped_bit_never_gives_another_plaintext(
    backend: OpenBackend, where: int, bit: int
) -> None:
    data = bytearray(backend.encrypt(HEADER, EXAMPLE_ITEM))
    data[where % len(data)] ^= 1 << bit
    with pytest.raises(FilevaultError) as caught:
        backend.decrypt("credentials", "work/prod", bytes(data))
    assert caught.value.exit_status in (5, 6)


def test_suffix_is_the_one_of_the_table(backend: OpenBackend) -> None:  # type: ignore[no-redef]
    assert backend.suffix == ".age"


def stanzas(data: bytes) -> list[str]:
    """Return the types of a file's stanzas, without the one that means nothing."""
    found = [stanza.type for stanza in age_file.parse(data, "it").stanzas]
    return sorted(kind for kind in found if not kind.endswith("-grease"))


def identity_file(folder: Path, *lines: bytes | str) -> str:
    path = folder / f"identity-{len(list(folder.iterdir()))}"
    path.write_bytes(b"".join(x if isinstance(x, bytes) else x.encode() + b"\n" for x in lines))
    path.chmod(0o600)
    return str(path)


# Beside the age program


def test_age_program_opens_what_is_written_with_each_kind_of_key(tmp_path: Path) -> None:
    ed25519, rsa = ssh_key("ed25519"), ssh_key("rsa")
    store = make_store(tmp_path / "store", ALICE_TO, ed25519[1], rsa[1], BOB_TO)
    data = open_store(store).encrypt(HEADER, EXAMPLE_ITEM)
    assert data.startswith(b"age-encryption.org/v1\n")
    assert stanzas(data) == ["X25519", "X25519", "ssh-ed25519", "ssh-rsa"]
    for key in (ALICE, BOB, ed25519[0], rsa[0]):
        assert age("-d", "-i", identity_file(tmp_path, key), given=data) == EXAMPLE_ITEM


@pytest.mark.parametrize("plaintext", [b"", b"x", EXAMPLE_ITEM, bytes(70000)])
@pytest.mark.parametrize("armor", [[], ["-a"]])
def test_what_the_age_program_writes_is_read(
    tmp_path: Path, plaintext: bytes, armor: list[str]
) -> None:
    store = make_store(tmp_path / "store", BOB_TO, ALICE_TO)
    data = age(*armor, "-R", str(store / ".age-recipients"), given=plaintext)
    assert open_store(store, ALICE).decrypt("credentials", "x", data) == plaintext
    if armor:
        crlf = data.replace(b"\n", b"\r\n")
        assert open_store(store, ALICE).decrypt("credentials", "x", crlf) == plaintext


def test_each_item_goes_to_its_nearest_recipients_and_nobody_else(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ALICE_TO)
    make_store(store / "team", BOB_TO)
    backend = open_store(store)
    alice, bob = identity_file(tmp_path, ALICE), identity_file(tmp_path, BOB)
    for name, reader, other in (("x", alice, BOB), ("team/x", bob, ALICE)):
        data = backend.encrypt(HEADER._replace(name=name), EXAMPLE_ITEM)
        assert age("-d", "-i", reader, given=data) == EXAMPLE_ITEM
        with pytest.raises(LockedError):
            open_store(store, other).decrypt("credentials", name, data)


def test_writing_needs_no_identity(tmp_path: Path) -> None:
    source = GivenSecrets()
    backend = open_store(make_store(tmp_path / "store", ALICE_TO), source=source)
    assert backend.encrypt(HEADER, EXAMPLE_ITEM)
    with pytest.raises(LockedError, match="there is no identity"):
        backend.decrypt("credentials", "work/prod", backend.encrypt(HEADER, EXAMPLE_ITEM))
    assert source.asked == 0


# What is refused


def test_nothing_is_encrypted_where_a_recipient_cannot_be(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ALICE_TO, POST_QUANTUM)
    with pytest.raises(BackendError, match="is post-quantum, and pyrage") as caught:
        open_store(store, ALICE).encrypt(HEADER, EXAMPLE_ITEM)
    assert POST_QUANTUM[:40] in caught.value.message
    assert caught.value.exit_status == 7


def test_item_that_nobody_governs_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(NoVaultError):
        open_store(tmp_path, ALICE).encrypt(HEADER, EXAMPLE_ITEM)


def test_item_longer_than_it_could_be_read_back_is_refused(backend: AgeBackend) -> None:
    longest = bytes((1 << 20) - 1000)
    assert backend.decrypt("credentials", "x", backend.encrypt(HEADER, longest)) == longest
    with pytest.raises(BackendError, match="longer than an item may be"):
        backend.encrypt(HEADER, bytes(1 << 20))


def test_item_that_a_passphrase_opens_is_refused(backend: AgeBackend) -> None:
    data = protect(EXAMPLE_ITEM, PASSPHRASE)
    with pytest.raises(TamperedError, match="item 'x' is encrypted with a passphrase"):
        backend.decrypt("credentials", "x", data)


def test_damage_is_told_apart_from_a_missing_identity(backend: AgeBackend) -> None:
    data = backend.encrypt(HEADER, EXAMPLE_ITEM)
    payload = data.index(b"\n--- ") + 49
    body = bytearray(data)
    body[-1] ^= 1
    mac = data.replace(data[payload - 44 : payload - 34], b"AAAAAAAAAA")
    for damaged in (bytes(body), mac, data[:-1], data[: payload + 3], data[:payload], data + b"x"):
        with pytest.raises(DamagedError, match=r"^item 'x' is damaged: ") as caught:
            backend.decrypt("credentials", "x", damaged)
        assert caught.value.message.isascii()
    with pytest.raises(LockedError):
        backend.decrypt("credentials", "x", age("-r", BOB_TO, given=EXAMPLE_ITEM))


def test_missing_library_is_named_with_what_to_install(
    backend: AgeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = backend.encrypt(HEADER, EXAMPLE_ITEM)
    backend.forget()
    monkeypatch.setitem(sys.modules, "pyrage", None)
    for call in (
        lambda: backend.encrypt(HEADER, EXAMPLE_ITEM),
        lambda: backend.decrypt("credentials", "x", data),
        backend.governing,
    ):
        with pytest.raises(ProgramError, match="pyrage") as caught:
            call()
        assert caught.value.hint == install_hint("pyrage")


def test_secrets_are_in_no_error(tmp_path: Path) -> None:
    text = IdentityText(f"{ALICE}\n{BOB[:-1]}x\n".encode(), "here")
    backend = open_store(make_store(tmp_path / "store", BOB_TO), text)
    for data in (
        backend.encrypt(HEADER, EXAMPLE_ITEM),
        b"",
        backend.encrypt(HEADER, EXAMPLE_ITEM)[:-1],
    ):
        try:
            backend.decrypt("credentials", "x", data)
        except FilevaultError as error:
            chain: BaseException | None = error
            while chain is not None:
                assert ALICE[20:40] not in repr(chain)
                assert BOB[20:40] not in repr(chain)
                chain = chain.__cause__ or chain.__context__
        else:
            pytest.fail("it opened")


# The session key


def test_session_key_goes_to_the_own_identities_only(tmp_path: Path) -> None:
    private, public = ssh_key("ed25519", "open sesame")
    store = make_store(tmp_path / "store", ALICE_TO, BOB_TO, public)
    source = GivenSecrets()
    data = open_store(store, ALICE, private, source=source).encrypt(SESSION_KEY, EXAMPLE_ITEM)
    assert stanzas(data) == ["X25519", "ssh-ed25519"]
    assert source.asked == 0
    assert open_store(store, ALICE).decrypt("session-key", SESSION_KEY.name, data) == EXAMPLE_ITEM
    with pytest.raises(LockedError, match="opens the session key"):
        open_store(store, BOB).decrypt("session-key", SESSION_KEY.name, data)


def test_session_key_opens_a_protected_file_to_know_whose_it_is(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ALICE_TO, BOB_TO)
    source = GivenSecrets(PASSPHRASE)
    backend = open_store(store, protect(ALICE.encode(), PASSPHRASE), source=source)
    data = backend.encrypt(SESSION_KEY, EXAMPLE_ITEM)
    assert stanzas(data) == ["X25519"]
    assert backend.decrypt("session-key", SESSION_KEY.name, data) == EXAMPLE_ITEM
    assert source.asked == 1


def test_session_key_without_an_own_recipient_is_not_written(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", BOB_TO)
    with pytest.raises(LockedError, match="none of the recipients"):
        open_store(store, ALICE).encrypt(SESSION_KEY, EXAMPLE_ITEM)


def test_session_key_goes_to_whom_is_pinned_where_a_plugin_does_not_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = plugin_on_path(tmp_path, monkeypatch)
    store = make_store(tmp_path / "store", BOB_TO, PLUGIN_RECIPIENT)
    with pytest.raises(NotARecipientError):
        open_store(store, PLUGIN_IDENTITY).encrypt(SESSION_KEY, EXAMPLE_ITEM)
    assert not runs.exists()  # nobody has accepted that recipient
    pinned = open_store(store, PLUGIN_IDENTITY, pinned_recipients=lambda: (PLUGIN_RECIPIENT,))
    assert stanzas(pinned.encrypt(SESSION_KEY, EXAMPLE_ITEM)) == ["toy"]


# Whether an item must be encrypted anew


def test_ssh_recipients_tell_whether_they_changed(tmp_path: Path) -> None:
    keys = [ssh_key("ed25519")[1], ssh_key("rsa")[1], ssh_key("ed25519", "open sesame")[1]]
    store = make_store(tmp_path / "store", *keys[:2])
    backend = open_store(store)
    ours = backend.encrypt(HEADER._replace(name="x"), EXAMPLE_ITEM)
    theirs = age("-r", keys[1], "-r", keys[0], given=EXAMPLE_ITEM)
    for data in (ours, theirs):
        assert not backend.differs("x", data)
    for recipients in (keys, keys[:1], keys[1:], [*keys[:2], ALICE_TO]):
        changed = make_store(tmp_path / f"store-{len(list(tmp_path.iterdir()))}", *recipients)
        assert open_store(changed).differs("x", ours)


def test_other_recipients_tell_only_how_many_they_are(tmp_path: Path) -> None:
    ssh = ssh_key("ed25519")[1]

    def differs(recipients: list[str], *to: str) -> bool | None:
        store = make_store(tmp_path / f"store-{len(list(tmp_path.iterdir()))}", *recipients)
        words = [word for each in to for word in ("-r", each)]
        return open_store(store).differs("x", age(*words, given=EXAMPLE_ITEM))

    for recipients in ([ALICE_TO], [ALICE_TO, ssh], [PLUGIN_RECIPIENT, ssh]):
        assert differs(recipients, BOB_TO, *recipients[1:]) is None
    for others in ([ALICE_TO, BOB_TO], [ssh], [ALICE_TO, ssh]):
        assert differs([ALICE_TO], *others) is True
    assert differs([ALICE_TO, ssh], ALICE_TO) is True
    assert differs([PLUGIN_RECIPIENT, ssh], ssh) is True
    assert differs([PLUGIN_RECIPIENT, ssh], ALICE_TO) is True
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoVaultError):
        open_store(tmp_path / "empty").differs("x", b"")


def test_damaged_item_is_told_when_it_is_compared(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ssh_key("ed25519")[1])
    with pytest.raises(IntegrityError):
        open_store(store).differs("x", b"nonsense")


# Whose keys are here


def test_whose_identity_is_here_is_told(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ALICE_TO)
    backend = open_store(store, ALICE, PLUGIN_IDENTITY)
    assert backend.opens([BOB_TO, ALICE_TO]) is True
    assert backend.opens([BOB_TO]) is False
    assert backend.opens([BOB_TO, PLUGIN_RECIPIENT]) is None  # only the plugin knows its own
    assert open_store(store).opens([ALICE_TO]) is False


def test_a_protected_identity_is_opened_to_know_whose_it_is(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", ALICE_TO)
    protected = protect(ALICE.encode(), b"open sesame")
    source = GivenSecrets(b"open sesame")
    backend = open_store(store, BOB, protected, source=source)
    assert backend.opens([BOB_TO]) is True
    assert source.asked == 0
    assert backend.opens([ALICE_TO]) is True
    assert source.asked == 1


# Plugins


def plugin_on_path(folder: Path, monkeypatch: pytest.MonkeyPatch, *, ask: bool = False) -> Path:
    runs = install_plugin(folder / "bin", ask=ask)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
    return runs


def test_plugin_serves_both_ways_as_it_serves_the_age_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = plugin_on_path(tmp_path, monkeypatch)
    store = make_store(tmp_path / "store", PLUGIN_RECIPIENT)
    backend = open_store(store, BOB, PLUGIN_IDENTITY)
    data = backend.encrypt(HEADER, EXAMPLE_ITEM)
    assert stanzas(data) == ["toy"]
    assert backend.decrypt("credentials", "x", data) == EXAMPLE_ITEM
    assert runs.read_text().split() == ["--age-plugin=recipient-v1", "--age-plugin=identity-v1"]
    assert age("-d", "-i", identity_file(tmp_path, PLUGIN_IDENTITY), given=data) == EXAMPLE_ITEM
    assert (
        backend.decrypt("c", "x", age("-r", PLUGIN_RECIPIENT, given=EXAMPLE_ITEM)) == EXAMPLE_ITEM
    )


def test_plugin_is_not_run_where_a_key_of_the_own_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = plugin_on_path(tmp_path, monkeypatch)
    backend = open_store(make_store(tmp_path / "store", ALICE_TO), PLUGIN_IDENTITY, ALICE)
    backend.unlock()
    assert (
        backend.decrypt("credentials", "x", backend.encrypt(HEADER, EXAMPLE_ITEM)) == EXAMPLE_ITEM
    )
    assert not runs.exists()


def test_absent_plugin_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin_on_path(tmp_path, monkeypatch)
    store = make_store(tmp_path / "store", PLUGIN_RECIPIENT)
    data = open_store(store).encrypt(HEADER, EXAMPLE_ITEM)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(LockedError, match="age-plugin-toy is not on the PATH") as caught:
        open_store(store, PLUGIN_IDENTITY).decrypt("credentials", "x", data)
    assert caught.value.hint == "install age-plugin-toy"
    with pytest.raises(ProgramError, match="age-plugin-toy is not on the PATH"):
        open_store(store).encrypt(HEADER, EXAMPLE_ITEM)


@pytest.mark.parametrize("path", ["", ".:{bin}", "{bin}:", "{bin}::/usr/bin", "bin:{bin}"])
def test_plugin_is_never_looked_for_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    runs = install_plugin(tmp_path / "bin")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", path.format(bin=tmp_path / "bin"))
    store = make_store(tmp_path / "store", PLUGIN_RECIPIENT)
    with pytest.raises(ProgramError, match="PATH"):
        open_store(store).encrypt(HEADER, EXAMPLE_ITEM)
    assert not runs.exists()


def test_plugin_that_asks_is_declined_without_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin_on_path(tmp_path, monkeypatch)
    store = make_store(tmp_path / "store", PLUGIN_RECIPIENT)
    data = open_store(store).encrypt(HEADER, EXAMPLE_ITEM)
    plugin_on_path(tmp_path, monkeypatch, ask=True)
    with pytest.raises(LockedError, match="age-plugin-toy .* wants to ask") as caught:
        open_store(store, PLUGIN_IDENTITY).decrypt("credentials", "x", data)
    assert "terminal" in str(caught.value.hint)
    with pytest.raises(ProgramError, match="age-plugin-toy .* wants to ask"):
        open_store(store).encrypt(HEADER, EXAMPLE_ITEM)


def test_plugin_asks_the_person_who_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin_on_path(tmp_path, monkeypatch, ask=True)
    store = make_store(tmp_path / "store", PLUGIN_RECIPIENT)
    person = SameAnswer("1234")
    backend = open_store(store, PLUGIN_IDENTITY, person=lambda: person)
    assert backend.decrypt("c", "x", backend.encrypt(HEADER, EXAMPLE_ITEM)) == EXAMPLE_ITEM
    assert person.heard == ["age-plugin-toy: PIN?: "] * 2
    wrong = open_store(store, PLUGIN_IDENTITY, person=lambda: SameAnswer("0000"))
    with pytest.raises(LockedError, match="no PIN"):
        wrong.decrypt("c", "x", backend.encrypt(HEADER, EXAMPLE_ITEM))


def test_damage_is_told_through_a_plugin_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin_on_path(tmp_path, monkeypatch)
    backend = open_store(make_store(tmp_path / "store", PLUGIN_RECIPIENT), PLUGIN_IDENTITY)
    data = backend.encrypt(HEADER, EXAMPLE_ITEM)
    for damaged in (data[:-1], data[:-1] + b"\0\0", data[: data.index(b"\n--- ") + 52]):
        with pytest.raises(DamagedError):
            backend.decrypt("c", "x", damaged)


def test_passage_store_with_a_plugin_identity_alone_needs_a_recipients_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin_on_path(tmp_path, monkeypatch)
    backend = open_store(tmp_path, PLUGIN_IDENTITY, passage=True)
    assert backend.governing()[0].unresolved == ("an identity of age-plugin-toy",)
    with pytest.raises(BackendError, match="its recipient is unknown"):
        backend.encrypt(HEADER, EXAMPLE_ITEM)


def test_tagged_recipients_are_encrypted_to(tmp_path: Path) -> None:
    # P-256's base point, compressed, in the place of a hardware key's point.
    point = bytes.fromhex("036b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296")
    recipient = bech32("age1tag", point)
    pyrage.tag.Recipient.from_str(recipient)
    store = make_store(tmp_path / "store", recipient, ALICE_TO)
    assert stanzas(open_store(store).encrypt(HEADER, EXAMPLE_ITEM)) == ["X25519", "p256tag"]
