"""A machine whose vault has a cached session of a role, and on which AWS is gone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from filevault.keycache.kernel import KernelKeyring
from tests.fakes import FakeAws, User
from tests.worlds.machine import Machine


def warmed(machine: Machine, aws: FakeAws, user: User) -> Machine:
    """Store the key in the machine's vault and cache a session of the role."""
    role = aws.add_role("admin", trusts=[user])
    machine.env["AWS_ENDPOINT_URL"] = aws.url
    machine.add("work", user.access_key_id, user.secret_access_key, "--no-config")
    machine.write_config(
        f"[profile work]\nregion=eu-west-1\nmfa_serial={user.mfa_serial}\n"
        f"[profile admin]\nregion=eu-west-1\nsource_profile=work\nrole_arn={role.arn}\n"
        f"mfa_serial={user.mfa_serial}\n"
    )
    machine.ok("export", "admin", "-t", user.totp())
    # Cached sessions depend on the endpoint: keep the address, take away what answers there.
    aws.__exit__(None, None, None)
    return machine


@contextlib.contextmanager
def locked_at_the_end(machine: Machine) -> Iterator[None]:
    """Leave nothing in the keyring of whoever runs the tests."""
    (state,) = [path.name for path in machine.state.iterdir() if len(path.name) == 32]
    try:
        yield
    finally:
        KernelKeyring().forget(state)
