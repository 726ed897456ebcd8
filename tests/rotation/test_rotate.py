"""What `rotate` does when nothing goes wrong."""

from __future__ import annotations

from tests.rotation.scene import Scene


def test_a_key_is_replaced_proven_and_the_old_one_deleted(scene: Scene) -> None:
    user = scene.user()
    ended = scene.rotate("jon")
    assert (ended.out, ended.err) == ("", "")
    assert scene.aws.actions() == [
        "GetCallerIdentity",
        "ListAccessKeys",
        "CreateAccessKey",
        "GetCallerIdentity",
        "UpdateAccessKey",
        "DeleteAccessKey",
    ]
    scene.check_rotated(user, "jon")
    assert scene.may_call("jon") == user.arn
