"""An old key is taken out of use only if nobody hands it out and nobody has taken it up again."""

from __future__ import annotations

from filevault.vault.rotation_fields import RotationFields, with_rotation
from tests.worlds.rotation import RotationMachine

DAY = 86400


def test_a_key_made_active_again_during_its_grace_is_left_alone(scene: RotationMachine) -> None:
    user = scene.user()
    scene.rotate("jon", "--grace", "24h")
    scene.aws.directory.keys[user.access_key_id].status = "Active"
    scene.aws.clock.advance(DAY + 3600)
    ended = scene.rotate("jon", "--grace", "24h", status=None)
    assert ended.status not in (0, 2)
    assert "was made active again" in ended.err
    assert "the next run deletes it" in ended.err
    assert scene.keys(user)[user.access_key_id] == "Active"
    assert scene.rotation("jon").previous is not None
    scene.aws.directory.keys[user.access_key_id].status = "Inactive"
    scene.rotate("jon", "--grace", "24h")
    assert user.access_key_id not in scene.keys(user)
    assert scene.works("jon")


def test_grace_counts_from_the_deactivation(scene: RotationMachine) -> None:
    scene.user()
    scene.rotate("jon", "--grace", "24h")
    deactivated = scene.rotation("jon").deactivated
    assert deactivated is not None
    assert scene.report("jon", "--grace", "24h")[0]["result"] == "waiting"


def test_an_orphan_is_not_deleted_while_an_item_cannot_be_opened(scene: RotationMachine) -> None:
    user = scene.user()
    scene.user("torn")
    other = scene.aws.add_access_key(user)
    path = scene.machine.vault / "torn.fv"
    path.write_bytes(path.read_bytes()[:-20])
    ended = scene.rotate("jon", "--delete-orphan", other.access_key_id, status=None)
    assert ended.status not in (0, 2)
    assert "'torn', which may contain its secret, cannot be opened" in ended.err
    assert scene.keys(user)[other.access_key_id] == "Active"


def test_a_key_of_another_user_is_not_taken_for_gone(scene: RotationMachine) -> None:
    """Somebody put bob's key into the item, where jon's old one is still to be retired."""
    jon = scene.user()
    bob = scene.aws.add_user("bob")
    scene.rotate("jon", "--grace", "24h")
    previous = scene.rotation("jon").previous
    assert previous is not None
    scene.aws.directory.keys[jon.access_key_id].status = "Active"
    key = f"{bob.access_key_id}\n{bob.secret_access_key}\n".encode()
    scene.run("add", "jon", "--stdin", "--no-config", "--force", stdin=key)
    scene.store(
        "jon", with_rotation(scene.text("jon"), RotationFields(scene.now(), previous=previous))
    )
    ended = scene.rotate("jon", status=None)
    assert ended.status != 0
    assert "it belongs to" in ended.err
    assert scene.keys(jon)[jon.access_key_id] == "Active"
    assert scene.rotation("jon").previous == previous  # its secret is not forgotten


def test_a_new_key_that_aws_lost_gives_way_to_the_old_one_that_works(
    scene: RotationMachine,
) -> None:
    user = scene.user()
    scene.rotate("jon", "--grace", "24h")
    previous = scene.rotation("jon").previous
    new = scene.item("jon").key
    assert previous is not None
    scene.aws.directory.keys[user.access_key_id].status = "Active"
    scene.store(
        "jon", with_rotation(scene.text("jon"), RotationFields(scene.now(), previous=previous))
    )
    scene.aws.directory.delete_access_key(user.keys[new.access_key_id])
    ended = scene.rotate("jon", status=None)
    assert ended.status != 0
    assert "is the current key again" in ended.err
    assert scene.item("jon").key == previous
    assert scene.rotation("jon").next == new  # nothing is forgotten
    assert scene.works("jon")
    scene.rotate("jon", status=None)
    assert scene.works("jon")
