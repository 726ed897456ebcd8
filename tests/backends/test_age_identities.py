"""Identities: their texts, passphrases, and what is said when nothing opens."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from filevault.backends.age import identity_text
from filevault.backends.age.identity_text import LockedFile, LockedSshKey
from filevault.backends.item_header import ItemHeader
from filevault.backends.values import IdentityText, Secret
from filevault.errors import LockedError, WrongPassphraseError
from tests.conditions.work_limits import at_most
from tests.worlds.age_store import (
    PLENTY,
    PLUGIN_IDENTITY,
    GivenIdentities,
    age,
    age_at_terminal,
    bech32,
    make_store,
    open_store,
    pair,
    protect,
    ssh_key,
)
from tests.worlds.file_vault import PASSPHRASE, GivenSecrets

if TYPE_CHECKING:
    from pathlib import Path

    from filevault.backends.age.identity_text import ParsedIdentities

HEADER = ItemHeader("credentials", "x", 1, "2026-11-23T21:45:13Z")
ALICE, ALICE_TO = pair()
BOB, BOB_TO = pair()
POST_QUANTUM = bech32("age-secret-key-pq-", bytes(range(32))).upper()


def parse(data: bytes | str, available: int = PLENTY) -> ParsedIdentities:
    text = data.encode() if isinstance(data, str) else data
    return identity_text.parse(IdentityText(text, "~/keys"), lambda: available)


def recipients(opened: ParsedIdentities) -> list[str]:
    return [key.recipient for key in opened.keys]


@pytest.fixture
def item(tmp_path: Path) -> bytes:
    """An item that Alice can open."""
    return open_store(make_store(tmp_path / "item", ALICE_TO)).encrypt(HEADER, b"secret")


def test_lines_comments_and_line_ends_are_read_as_age_does() -> None:
    for end in ("\n", "\r\n"):
        lines = ["# created: now", "", ALICE, f"# public key: {BOB_TO}", BOB]
        opened = parse(end.join(lines))
        assert recipients(opened) == [ALICE_TO, BOB_TO]
        assert opened.problems == ()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f" {BOB}", "is not an identity"),
        ("nonsense", "is not an identity"),
        (BOB[:-1], "was changed or cut short"),
        (BOB.lower(), "is not an identity"),
        (f"{BOB} # mine", "was changed or cut short"),
        (BOB_TO, "is a recipient, not an identity"),
        (POST_QUANTUM, "is a post-quantum identity, which pyrage"),
        ("AGE-PLUGIN-X", "was changed or cut short"),
        (b"\xff", "is not an identity"),
    ],
    ids=range(9),  # the lines are new in each run
)
def test_unusable_line_is_told_by_number_and_the_others_serve(
    line: str | bytes, message: str
) -> None:
    data = line if isinstance(line, bytes) else line.encode()
    opened = parse(ALICE.encode() + b"\n" + data + b"\n")
    assert recipients(opened) == [ALICE_TO]
    (problem,) = opened.problems
    assert problem.message.startswith("line 2 of ~/keys ")
    assert message in problem.message
    shown = problem.message + str(problem.hint) + repr(problem.__cause__)
    assert BOB[20:40] not in shown
    assert POST_QUANTUM[20:40] not in shown
    assert "nonsense" not in shown


def test_text_without_an_identity_is_a_problem() -> None:
    for text in ("", "\n", "# nothing\n"):
        assert "contains no identity" in parse(text).problems[0].message


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
@pytest.mark.parametrize("passphrase", ["", "open sesame"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_ssh_key_opens_what_the_age_program_encrypts_to_it(
    tmp_path: Path, kind: str, passphrase: str, end: bytes
) -> None:
    private, public = ssh_key(kind, passphrase)
    backend = open_store(
        tmp_path, private.replace(b"\n", end), source=GivenSecrets(b"wrong", passphrase.encode())
    )
    data = age("-r", public, given=b"secret")
    assert backend.decrypt("credentials", "x", data) == b"secret"


@pytest.mark.parametrize("form", ["PEM", "PKCS8"])
def test_ssh_key_in_an_older_form_is_read(tmp_path: Path, form: str) -> None:
    for passphrase in ("", "open sesame"):
        private, public = ssh_key("rsa", passphrase, "-b", "2048", "-m", form)
        backend = open_store(tmp_path, private, source=GivenSecrets(passphrase.encode()))
        assert backend.decrypt("credentials", "x", age("-r", public, given=b"s")) == b"s"


@pytest.mark.parametrize(
    "cipher",
    [
        *("aes128-cbc", "aes192-cbc", "aes256-cbc", "3des-cbc"),
        *("aes128-ctr", "aes192-ctr", "aes256-ctr"),
        *("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com"),
    ],
)
def test_ssh_key_under_each_cipher_that_ssh_keygen_knows(tmp_path: Path, cipher: str) -> None:
    """It opens, also after a wrong passphrase, or the message names the cipher and the way out."""
    private, public = ssh_key("ed25519", "open sesame", "-Z", cipher)
    file = tmp_path / "my key"
    opened = identity_text.parse(IdentityText(private, str(file)), lambda: PLENTY)
    if cipher.startswith("aes256-"):
        backend = open_store(tmp_path, private, source=GivenSecrets(b"wrong", b"open sesame"))
        assert backend.decrypt("credentials", "x", age("-r", public, given=b"s")) == b"s"
        return
    (problem,) = opened.problems
    assert f"is encrypted with the cipher {cipher} that is not read here" in problem.message
    assert problem.hint == (f"ssh-keygen -p -Z aes256-ctr -f '{file}' encrypts it with another one")
    file.write_bytes(private)
    file.chmod(0o600)
    again = ("ssh-keygen", "-q", "-p", "-P", "open sesame", "-N", "open sesame")
    subprocess.run([*again, "-Z", "aes256-ctr", "-f", str(file)], check=True)
    backend = open_store(tmp_path, file.read_bytes(), source=GivenSecrets(b"open sesame"))
    assert backend.decrypt("credentials", "x", age("-r", public, given=b"s")) == b"s"


@pytest.mark.parametrize("cipher", ["des3", "aes128", "aes192", "aes256", "camellia128"])
def test_ssh_key_in_an_older_form_under_each_cipher(cipher: str) -> None:
    """The library calls a cipher that it does not know a wrong passphrase."""
    argv = ("openssl", "genrsa", "-traditional", f"-{cipher}", "-passout", "pass:secret", "2048")
    text = subprocess.run(argv, capture_output=True, check=True).stdout
    opened = parse(text)
    if opened.locked:
        (key,) = opened.locked
        assert isinstance(key, LockedSshKey)
        assert key.open(b"wrong") is None
        assert key.open(b"secret") is not None
    else:
        assert "that is not read here" in opened.problems[0].message


def test_ssh_key_of_a_type_that_age_does_not_use_is_a_problem() -> None:
    for key in (ssh_key("ecdsa")[0], ssh_key("ecdsa", "open sesame")[0]):
        opened = parse(key)
        assert not opened.keys
        assert opened.locked or "not a private key that age can use" in opened.problems[0].message
    assert parse(b"-----BEGIN OPENSSH PRIVATE KEY-----\nx\n").problems
    assert parse(b"-----BEGIN CERTIFICATE-----\nx\n").problems


def test_ssh_passphrase_is_asked_only_for_files_of_that_key(tmp_path: Path, item: bytes) -> None:
    private, public = ssh_key("ed25519", "open sesame")
    other = ssh_key("ed25519", "other sesame")[0]
    source = GivenSecrets(b"open sesame")
    backend = open_store(tmp_path, other, private, ALICE, source=source)
    assert backend.decrypt("credentials", "x", item) == b"secret"
    assert source.asked == 0
    assert backend.decrypt("credentials", "x", age("-r", public, given=b"s")) == b"s"
    assert source.asked == 1


def test_missing_bcrypt_is_named_with_what_to_install() -> None:
    program = """
import sys
sys.modules["bcrypt"] = None
from filevault.backends.age import identity_text
from filevault.backends.values import IdentityText
(locked,) = identity_text.parse(IdentityText(sys.stdin.buffer.read(), "key")).locked
try:
    locked.open(b"open sesame")
except Exception as error:
    print(type(error).__name__, error, error.hint)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=ssh_key("ed25519", "open sesame")[0],
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode().strip() == (
        "ProgramError key has a passphrase, and the Python package bcrypt, which opens it, is "
        f"not installed {sys.executable} -m pip install bcrypt"
    )


def test_protected_identity_file_opens_with_its_passphrase(tmp_path: Path, item: bytes) -> None:
    protected = protect(f"# mine\r\n{BOB}\r\n{ALICE}\r\n".encode(), PASSPHRASE)
    source = GivenSecrets(b"wrong", PASSPHRASE)
    backend = open_store(tmp_path, protected, source=source)
    assert backend.decrypt("credentials", "x", item) == b"secret"
    assert (source.asked, source.refused) == (2, 1)
    assert backend.decrypt("credentials", "x", item) == b"secret"
    assert source.asked == 2


def test_identity_file_protected_by_the_age_program_opens(tmp_path: Path, item: bytes) -> None:
    plain, armored = tmp_path / "plain", tmp_path / "armored"
    plain.write_text(f"{ALICE}\n")
    age_at_terminal(PASSPHRASE, "-p", "-a", "-o", str(armored), str(plain))
    backend = open_store(tmp_path, armored.read_bytes(), source=GivenSecrets(PASSPHRASE))
    assert backend.decrypt("credentials", "x", item) == b"secret"


def test_wrong_passphrase_is_told_apart_and_names_the_file(tmp_path: Path, item: bytes) -> None:
    protected = protect(ALICE.encode(), PASSPHRASE)
    text = IdentityText(protected, "~/.passage/identities")
    with pytest.raises(WrongPassphraseError, match=r"asked for ~/\.passage/identities") as caught:
        open_store(tmp_path, text, source=GivenSecrets(b"wrong")).decrypt("credentials", "x", item)
    assert caught.value.exit_status == 5


def test_key_file_where_a_passphrase_is_needed_is_refused(tmp_path: Path, item: bytes) -> None:
    source = GivenSecrets(Secret("keyfile", b"filevault-key-1 x", "FILEVAULT_KEY"))
    backend = open_store(tmp_path, protect(ALICE.encode(), PASSPHRASE), source=source)
    with pytest.raises(LockedError, match="FILEVAULT_KEY gives a key"):
        backend.decrypt("credentials", "x", item)


def test_passphrase_is_not_asked_where_a_plain_identity_opens(tmp_path: Path, item: bytes) -> None:
    source = GivenSecrets()
    backend = open_store(tmp_path, protect(BOB.encode(), PASSPHRASE), ALICE, source=source)
    backend.unlock()
    assert backend.decrypt("credentials", "x", item) == b"secret"
    assert source.asked == 0


def test_one_passphrase_opens_all_that_it_fits(tmp_path: Path, item: bytes) -> None:
    files = [protect(key.encode(), PASSPHRASE) for key in (BOB, ALICE)]
    source = GivenSecrets(PASSPHRASE)
    assert open_store(tmp_path, *files, source=source).decrypt("c", "x", item) == b"secret"
    assert source.asked == 1


def test_file_that_costs_too_much_is_not_tried_and_the_rest_serves(
    tmp_path: Path, item: bytes
) -> None:
    costly = protect(ALICE.encode(), PASSPHRASE).replace(b" 10\n", b" 23\n", 1)
    source = GivenSecrets()
    assert open_store(tmp_path, costly, ALICE, source=source).decrypt("c", "x", item) == b"secret"
    with at_most(0.5), pytest.raises(LockedError, match=r"work factor of 2\^23") as caught:
        open_store(tmp_path, costly, source=source).decrypt("c", "x", item)
    assert "age -p" in str(caught.value.hint)
    assert source.asked == 0


def test_damaged_protected_file_is_told_as_damage(tmp_path: Path, item: bytes) -> None:
    protected = bytearray(protect(ALICE.encode(), PASSPHRASE))
    protected[-1] ^= 1
    with pytest.raises(LockedError, match="identities-1 is damaged"):
        open_store(tmp_path, bytes(protected), source=GivenSecrets(PASSPHRASE)).decrypt(
            "c", "x", item
        )
    with pytest.raises(LockedError, match="encrypted, but not with a passphrase"):
        open_store(tmp_path, item).unlock()


def test_identities_are_read_once(tmp_path: Path, item: bytes) -> None:
    source = GivenIdentities(ALICE)
    backend = open_store(tmp_path, identities=source)
    assert source.asked == 0
    backend.unlock()
    backend.decrypt("c", "x", item)
    backend.decrypt("c", "x", item)
    assert source.asked == 1


def test_unlocking_asks_for_the_passphrase_where_nothing_else_is_there(tmp_path: Path) -> None:
    source = GivenSecrets(PASSPHRASE)
    backend = open_store(tmp_path, protect(ALICE.encode(), PASSPHRASE), source=source)
    backend.unlock()
    backend.unlock()
    assert source.asked == 1


def test_unlocking_without_any_usable_identity_says_why(tmp_path: Path) -> None:
    for texts, message in (
        ((), "there is no identity"),
        ((POST_QUANTUM,), "post-quantum identity"),
        (("x", POST_QUANTUM), "line 1 of identities-1 is not an identity"),
    ):
        with pytest.raises(LockedError, match=message):
            open_store(tmp_path, *texts).unlock()


def test_no_match_names_what_was_tried(tmp_path: Path, item: bytes) -> None:
    backend = open_store(
        tmp_path, IdentityText(BOB.encode(), "~/bob"), IdentityText(BOB.encode(), "FILEVAULT_\x1b")
    )
    with pytest.raises(LockedError) as caught:
        backend.decrypt("credentials", "x", item)
    assert caught.value.exit_status == 5
    assert caught.value.message == (
        r"no identity here opens item 'x'; tried were those from ~/bob, FILEVAULT_\x1b"
    )
    backend = open_store(tmp_path, f"{BOB}\n{POST_QUANTUM}\n")
    with pytest.raises(LockedError, match="besides, line 2 of identities-1 is a post-quantum"):
        backend.decrypt("credentials", "x", item)


def test_secrets_are_in_no_repr() -> None:
    text = IdentityText(ALICE.encode(), "here")
    private = ssh_key("ed25519", "open sesame")[0]
    opened = [parse(ALICE), parse(PLUGIN_IDENTITY), parse(private), parse(ssh_key("ed25519")[0])]
    assert isinstance(opened[2].locked[0], LockedSshKey)
    locked = parse(protect(ALICE.encode(), PASSPHRASE)).locked[0]
    assert isinstance(locked, LockedFile)
    shown = repr([text, opened, locked, locked.open(PASSPHRASE)])
    for secret in (ALICE[20:40], PLUGIN_IDENTITY[20:], private.decode().splitlines()[3]):
        assert secret not in shown
