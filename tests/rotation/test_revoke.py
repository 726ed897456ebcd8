"""An old key is revoked only if no item contains it and it was not reactivated."""

from __future__ import annotations

from filevault.vault.rotation_fields import RotationFields, with_rotation
from tests.worlds.rotation import RotationMachine

DAY = 86400


def test_a_key_made_active_again_during_its_grace_is_left_alone(rotating: RotationMachine) -> None:
    user = rotating.user()
    rotating.rotate("jon", "--grace", "24h")
    rotating.aws.directory.keys[user.access_key_id].status = "Active"
    rotating.aws.clock.advance(DAY + 3600)
    ended = rotating.rotate("jon", "--grace", "24h", status=None)
    assert ended.status not in (0, 2)
    assert "was made active again" in ended.err
    assert "the next run deletes it" in ended.err
    assert rotating.keys(user)[user.access_key_id] == "Active"
    assert rotating.rotation("jon").previous is not None
    rotating.aws.directory.keys[user.access_key_id].status = "Inactive"
    rotating.rotate("jon", "--grace", "24h")
    assert user.access_key_id not in rotating.keys(user)
    assert rotating.works("jon")


def test_grace_counts_from_the_deactivation(rotating: RotationMachine) -> None:
    rotating.user()
    rotating.rotate("jon", "--grace", "24h")
    deactivated = rotating.rotation("jon").deactivated
    assert deactivated is not None
    assert rotating.report("jon", "--grace", "24h")[0]["result"] == "waiting"


def test_an_orphan_is_not_deleted_while_an_item_cannot_be_opened(rotating: RotationMachine) -> None:
    user = rotating.user()
    rotating.user("torn")
    other = rotating.aws.add_access_key(user)
    path = rotating.machine.vault / "torn.fv"
    path.write_bytes(path.read_bytes()[:-20])
    ended = rotating.rotate("jon", "--delete-orphan", other.access_key_id, status=None)
    assert ended.status not in (0, 2)
    assert "'torn', which may contain its secret, cannot be opened" in ended.err
    assert rotating.keys(user)[other.access_key_id] == "Active"


def test_a_key_of_another_user_is_not_taken_for_gone(rotating: RotationMachine) -> None:
    """Somebody put bob's key into the item, where jon's old one is still to be retired."""
    jon = rotating.user()
    bob = rotating.aws.add_user("bob")
    rotating.rotate("jon", "--grace", "24h")
    previous = rotating.rotation("jon").previous
    assert previous is not None
    rotating.aws.directory.keys[jon.access_key_id].status = "Active"
    key = f"{bob.access_key_id}\n{bob.secret_access_key}\n".encode()
    rotating.run("add", "jon", "--stdin", "--no-config", "--force", stdin=key)
    rotating.store(
        "jon",
        with_rotation(rotating.text("jon"), RotationFields(rotating.now(), previous=previous)),
    )
    ended = rotating.rotate("jon", status=None)
    assert ended.status != 0
    assert "it belongs to" in ended.err
    assert rotating.keys(jon)[jon.access_key_id] == "Active"
    assert rotating.rotation("jon").previous == previous  # its secret is not forgotten


def test_a_new_key_that_aws_lost_gives_way_to_the_old_one_that_works(
    rotating: RotationMachine,
) -> None:
    user = rotating.user()
    rotating.rotate("jon", "--grace", "24h")
    previous = rotating.rotation("jon").previous
    new = rotating.item("jon").key
    assert previous is not None
    rotating.aws.directory.keys[user.access_key_id].status = "Active"
    rotating.store(
        "jon",
        with_rotation(rotating.text("jon"), RotationFields(rotating.now(), previous=previous)),
    )
    rotating.aws.directory.delete_access_key(user.keys[new.access_key_id])
    ended = rotating.rotate("jon", status=None)
    assert ended.status != 0
    assert "is the current key again" in ended.err
    assert rotating.item("jon").key == previous
    assert rotating.rotation("jon").next == new  # nothing is forgotten
    assert rotating.works("jon")
    rotating.rotate("jon", status=None)
    assert rotating.works("jon")
