"""Debian's `pass` reads what we write, and the other way round."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from filevault.backends.gpg import gpg_id
from filevault.backends.item_header import ItemHeader
from tests.samples import EXAMPLE_ITEM

if TYPE_CHECKING:
    from tests.worlds.gpg_store import GpgStore

TEXTS = [
    EXAMPLE_ITEM,
    b"one line without an end",
    b"secret\r\nuser: x\r\n",
    b"secret\n\notpauth://totp/x?secret=ABC\n\xc3\xa9\n",
    b"",
]


def write(scene: GpgStore, name: str, text: bytes) -> bytes:
    data = scene.backend().encrypt(ItemHeader("credentials", name, 1, ""), text)
    path = scene.store / f"{name}.gpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return data


@pytest.mark.parametrize("text", TEXTS)
def test_pass_shows_what_we_wrote(gpg_store: GpgStore, text: bytes) -> None:
    gpg_store.write_ids("alice", "bob")
    write(gpg_store, "work/prod", text)
    assert gpg_store.run_pass("show", "work/prod").stdout == text
    assert b"prod" in gpg_store.run_pass("ls", "work").stdout


@pytest.mark.parametrize("text", TEXTS)
def test_we_read_what_pass_inserted(gpg_store: GpgStore, text: bytes) -> None:
    gpg_store.run_pass("init", gpg_store.keys["alice"], gpg_store.keys["bob"])
    gpg_store.run_pass("insert", "-m", "work/prod", data=text)
    data = (gpg_store.store / "work" / "prod.gpg").read_bytes()
    backend = gpg_store.backend()
    assert backend.decrypt("credentials", "work/prod", data) == text
    assert not backend.differs("work/prod", data)


def test_pass_finds_nothing_to_encrypt_again_in_what_we_wrote(gpg_store: GpgStore) -> None:
    gpg_store.run_pass("init", gpg_store.keys["alice"], gpg_store.keys["bob"])
    gpg_store.run_pass("init", "-p", "team", gpg_store.keys["bob"])
    before = write(gpg_store, "prod", EXAMPLE_ITEM), write(gpg_store, "team/prod", EXAMPLE_ITEM)
    said = gpg_store.run_pass("init", gpg_store.keys["alice"], gpg_store.keys["bob"]).stdout
    said += gpg_store.run_pass("init", "-p", "team", gpg_store.keys["bob"]).stdout
    assert b"reencrypting" not in said
    after = [(gpg_store.store / f"{name}.gpg").read_bytes() for name in ("prod", "team/prod")]
    assert tuple(after) == before


def test_we_and_pass_agree_on_what_differs_after_a_change(gpg_store: GpgStore) -> None:
    gpg_store.run_pass("init", gpg_store.keys["alice"])
    data = write(gpg_store, "prod", EXAMPLE_ITEM)
    gpg_store.write_ids("alice", "bob")
    assert gpg_store.backend().differs("prod", data)
    said = gpg_store.run_pass("init", gpg_store.keys["alice"], gpg_store.keys["bob"]).stdout
    assert b"prod: reencrypting to" in said
    again = (gpg_store.store / "prod.gpg").read_bytes()
    assert not gpg_store.backend().differs("prod", again)
    assert gpg_store.backend().decrypt("credentials", "prod", again) == EXAMPLE_ITEM


def test_groups_mean_to_us_what_they_mean_to_pass(gpg_store: GpgStore) -> None:
    (gpg_store.home.path / "gpg.conf").write_text(
        f"group team={gpg_store.keys['alice']} {gpg_store.keys['bob']}\n"
    )
    gpg_store.run_pass("init", "team")
    gpg_store.run_pass("insert", "-m", "theirs", data=EXAMPLE_ITEM)
    theirs = (gpg_store.store / "theirs.gpg").read_bytes()
    assert not gpg_store.backend().differs("theirs", theirs)
    write(gpg_store, "ours", EXAMPLE_ITEM)
    assert b"reencrypting" not in gpg_store.run_pass("init", "team").stdout


def test_nearest_folder_means_to_us_what_it_means_to_pass(gpg_store: GpgStore) -> None:
    gpg_store.run_pass("init", gpg_store.keys["alice"])
    gpg_store.run_pass("init", "-p", "aws/team", gpg_store.keys["bob"])
    for name in ("top", "aws/prod", "aws/team/prod", "aws/team/deep/prod"):
        gpg_store.run_pass("insert", "-m", name, data=EXAMPLE_ITEM)
        data = (gpg_store.store / f"{name}.gpg").read_bytes()
        assert not gpg_store.backend().differs(name, data)


def test_pass_uses_recipients_that_we_built(gpg_store: GpgStore) -> None:
    data = gpg_id.build([gpg_store.keys["alice"], gpg_store.keys["bob"]])
    (gpg_store.store / ".gpg-id").write_bytes(data)
    gpg_store.run_pass("insert", "-m", "prod", data=EXAMPLE_ITEM)
    assert not gpg_store.backend().differs("prod", (gpg_store.store / "prod.gpg").read_bytes())


def test_pass_drops_the_last_line_without_an_end_and_we_keep_it(gpg_store: GpgStore) -> None:
    (gpg_store.store / ".gpg-id").write_text(f"{gpg_store.keys['alice']}\n{gpg_store.keys['bob']}")
    gpg_store.run_pass("insert", "-m", "prod", data=EXAMPLE_ITEM)
    backend = gpg_store.backend()
    assert backend.differs("prod", (gpg_store.store / "prod.gpg").read_bytes())
    assert any("pass ignores its last line" in notice for notice in gpg_store.notes)


def test_signatures_are_good_to_either_side(gpg_store: GpgStore) -> None:
    alice, bob = gpg_store.keys["alice"], gpg_store.keys["bob"]
    gpg_store.run_pass("init", bob, PASSWORD_STORE_SIGNING_KEY=alice)
    backend = gpg_store.backend(PASSWORD_STORE_SIGNING_KEY=alice)
    assert backend.governing()[0].recipients == (bob,)
    text = gpg_id.build([alice, bob])
    signature = backend.sign(text)
    assert signature
    (gpg_store.store / ".gpg-id").write_bytes(text)
    (gpg_store.store / ".gpg-id.sig").write_bytes(signature)
    gpg_store.run_pass("insert", "-m", "prod", data=EXAMPLE_ITEM, PASSWORD_STORE_SIGNING_KEY=alice)
    backend.forget()
    assert not backend.differs("prod", (gpg_store.store / "prod.gpg").read_bytes())


def test_variables_of_pass_mean_the_same(gpg_store: GpgStore) -> None:
    gpg_store.write_ids("alice")
    keys = f"{gpg_store.keys['bob']} jbob@example.com"
    gpg_store.run_pass("insert", "-m", "prod", data=EXAMPLE_ITEM, PASSWORD_STORE_KEY=keys)
    data = (gpg_store.store / "prod.gpg").read_bytes()
    assert not gpg_store.backend(PASSWORD_STORE_KEY=keys).differs("prod", data)
    assert gpg_store.backend().differs("prod", data)
