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
def test_pass_shows_what_we_wrote(scene: GpgStore, text: bytes) -> None:
    scene.write_ids("alice", "bob")
    write(scene, "work/prod", text)
    assert scene.run_pass("show", "work/prod").stdout == text
    assert b"prod" in scene.run_pass("ls", "work").stdout


@pytest.mark.parametrize("text", TEXTS)
def test_we_read_what_pass_inserted(scene: GpgStore, text: bytes) -> None:
    scene.run_pass("init", scene.keys["alice"], scene.keys["bob"])
    scene.run_pass("insert", "-m", "work/prod", data=text)
    data = (scene.store / "work" / "prod.gpg").read_bytes()
    backend = scene.backend()
    assert backend.decrypt("credentials", "work/prod", data) == text
    assert not backend.differs("work/prod", data)


def test_pass_finds_nothing_to_encrypt_again_in_what_we_wrote(scene: GpgStore) -> None:
    scene.run_pass("init", scene.keys["alice"], scene.keys["bob"])
    scene.run_pass("init", "-p", "team", scene.keys["bob"])
    before = write(scene, "prod", EXAMPLE_ITEM), write(scene, "team/prod", EXAMPLE_ITEM)
    said = scene.run_pass("init", scene.keys["alice"], scene.keys["bob"]).stdout
    said += scene.run_pass("init", "-p", "team", scene.keys["bob"]).stdout
    assert b"reencrypting" not in said
    after = [(scene.store / f"{name}.gpg").read_bytes() for name in ("prod", "team/prod")]
    assert tuple(after) == before


def test_we_and_pass_agree_on_what_differs_after_a_change(scene: GpgStore) -> None:
    scene.run_pass("init", scene.keys["alice"])
    data = write(scene, "prod", EXAMPLE_ITEM)
    scene.write_ids("alice", "bob")
    assert scene.backend().differs("prod", data)
    said = scene.run_pass("init", scene.keys["alice"], scene.keys["bob"]).stdout
    assert b"prod: reencrypting to" in said
    again = (scene.store / "prod.gpg").read_bytes()
    assert not scene.backend().differs("prod", again)
    assert scene.backend().decrypt("credentials", "prod", again) == EXAMPLE_ITEM


def test_groups_mean_to_us_what_they_mean_to_pass(scene: GpgStore) -> None:
    (scene.home.path / "gpg.conf").write_text(
        f"group team={scene.keys['alice']} {scene.keys['bob']}\n"
    )
    scene.run_pass("init", "team")
    scene.run_pass("insert", "-m", "theirs", data=EXAMPLE_ITEM)
    theirs = (scene.store / "theirs.gpg").read_bytes()
    assert not scene.backend().differs("theirs", theirs)
    write(scene, "ours", EXAMPLE_ITEM)
    assert b"reencrypting" not in scene.run_pass("init", "team").stdout


def test_nearest_folder_means_to_us_what_it_means_to_pass(scene: GpgStore) -> None:
    scene.run_pass("init", scene.keys["alice"])
    scene.run_pass("init", "-p", "aws/team", scene.keys["bob"])
    for name in ("top", "aws/prod", "aws/team/prod", "aws/team/deep/prod"):
        scene.run_pass("insert", "-m", name, data=EXAMPLE_ITEM)
        data = (scene.store / f"{name}.gpg").read_bytes()
        assert not scene.backend().differs(name, data)


def test_pass_uses_recipients_that_we_built(scene: GpgStore) -> None:
    data = gpg_id.build([scene.keys["alice"], scene.keys["bob"]])
    (scene.store / ".gpg-id").write_bytes(data)
    scene.run_pass("insert", "-m", "prod", data=EXAMPLE_ITEM)
    assert not scene.backend().differs("prod", (scene.store / "prod.gpg").read_bytes())


def test_pass_drops_the_last_line_without_an_end_and_we_keep_it(scene: GpgStore) -> None:
    (scene.store / ".gpg-id").write_text(f"{scene.keys['alice']}\n{scene.keys['bob']}")
    scene.run_pass("insert", "-m", "prod", data=EXAMPLE_ITEM)
    backend = scene.backend()
    assert backend.differs("prod", (scene.store / "prod.gpg").read_bytes())
    assert any("pass ignores its last line" in notice for notice in scene.notes)


def test_signatures_are_good_to_either_side(scene: GpgStore) -> None:
    alice, bob = scene.keys["alice"], scene.keys["bob"]
    scene.run_pass("init", bob, PASSWORD_STORE_SIGNING_KEY=alice)
    backend = scene.backend(PASSWORD_STORE_SIGNING_KEY=alice)
    assert backend.governing()[0].recipients == (bob,)
    text = gpg_id.build([alice, bob])
    signature = backend.sign(text)
    assert signature
    (scene.store / ".gpg-id").write_bytes(text)
    (scene.store / ".gpg-id.sig").write_bytes(signature)
    scene.run_pass("insert", "-m", "prod", data=EXAMPLE_ITEM, PASSWORD_STORE_SIGNING_KEY=alice)
    backend.forget()
    assert not backend.differs("prod", (scene.store / "prod.gpg").read_bytes())


def test_variables_of_pass_mean_the_same(scene: GpgStore) -> None:
    scene.write_ids("alice")
    keys = f"{scene.keys['bob']} jbob@example.com"
    scene.run_pass("insert", "-m", "prod", data=EXAMPLE_ITEM, PASSWORD_STORE_KEY=keys)
    data = (scene.store / "prod.gpg").read_bytes()
    assert not scene.backend(PASSWORD_STORE_KEY=keys).differs("prod", data)
    assert scene.backend().differs("prod", data)
