"""Which roles clients may name, and how many are kept."""

from __future__ import annotations

import time

import pytest

from filevault.credentials import Credentials
from filevault.server.renewals import Renewals
from filevault.server.renewing_process import Obtained, Order, Outcome, RenewingProcess
from filevault.server.role_paths import RolePaths

NOW = 1_800_000_000.0
ROLE = "arn:aws:iam::123456789012:role/"


class Process(RenewingProcess):
    """Takes orders and never carries one out by itself."""

    def __init__(self) -> None:
        self.orders: list[Order] = []

    def order(self, order: Order) -> None:
        self.orders.append(order)


class Scene:
    """Role paths without a process."""

    def __init__(self, *patterns: str) -> None:
        self.process = Process()
        self.renewals = Renewals(self.process, lambda: NOW, lambda _text: None)
        self.paths = RolePaths(self.renewals, 0, 3600, patterns)

    def allows(self, arn: str) -> bool:
        """Return whether a client may ask for a role."""
        return self.paths.find(f"/role-arn/{arn}".encode("latin-1")) is not None

    def obtain(self, arn: str, *, ends: bool = True) -> bool:
        """Let a client ask for a role that has not been asked for; return whether it is begun."""
        served = self.paths.find(f"/role-arn/{arn}".encode())
        assert served is not None
        before = len(self.process.orders)
        self.renewals.ask(served)
        if len(self.process.orders) == before:
            return False
        if ends:
            credentials = Credentials("ASIA", "secret", "token", int(NOW) + 3600)
            self.renewals._take(Outcome(self.process.orders[-1].served, credentials))
        return True


@pytest.mark.parametrize(
    ("pattern", "arn", "allowed"),
    [
        (f"{ROLE}app", f"{ROLE}app", True),
        (f"{ROLE}app", f"{ROLE}app2", False),
        (f"{ROLE}app", f"{ROLE}xapp", False),
        (f"{ROLE}app-*", f"{ROLE}app-", True),
        (f"{ROLE}app-*", f"{ROLE}app-one", True),
        (f"{ROLE}app-*", f"{ROLE}app-path/one", True),
        (f"{ROLE}app.one", f"{ROLE}app-one", False),
        (f"{ROLE}*-one", f"{ROLE}a-one-one", True),
        (f"{ROLE}*a*b", f"{ROLE}xaxbxb", True),
        (f"{ROLE}*a*b", f"{ROLE}xbxa", False),
        (f"{ROLE}a**b", f"{ROLE}ab", True),
        (f"{ROLE}ab*ba", f"{ROLE}aba", False),
        ("*", f"{ROLE}any", True),
        ("*", "arn:aws:iam::123456789012:user/any", False),
        ("*", "arn:aws:iam::12345678901:role/any", False),
        ("*", "arn:aws:iam::123456789012:role/", False),
        ("*", "arn:aws:iam::123456789012:role//any", False),
        ("*", f"{ROLE}any\n", False),
        ("*", f"{ROLE}ány", False),
        ("*", f"{ROLE}any%2e", False),
        ("*", "arn:aws:iam::١٢٣٤٥٦٧٨٩٠١٢:role/any".encode().decode("latin-1"), False),
        ("", f"{ROLE}any", False),
        ("[a-z]*", f"{ROLE}any", False),
    ],
)
def test_a_pattern_allows_what_it_says(pattern: str, arn: str, allowed: bool) -> None:
    assert Scene(pattern).allows(arn) == allowed


def test_no_pattern_takes_long_for_any_role() -> None:
    scene = Scene("*" + "a*" * 30 + "b")
    begun = time.process_time()
    assert not scene.allows(ROLE + ("a" * 128 + "/") * 16 + "a" * 64)
    assert time.process_time() - begun < 0.5


def test_a_thousand_roles_fill_no_memory_and_keep_no_one_out() -> None:
    scene = Scene("*")
    first = scene.paths.find(f"/role-arn/{ROLE}first".encode())
    for number in range(1000):
        assert scene.obtain(f"{ROLE}r{number}")
        assert scene.paths.find(f"/role-arn/{ROLE}first".encode()) is first  # is in use
    assert len(scene.renewals._served) == len(scene.renewals._orders) == 32
    assert {order.role for order in scene.renewals._orders} >= {f"{ROLE}first", f"{ROLE}r999"}
    assert not scene.obtain(f"{ROLE}r999")
    assert scene.obtain(f"{ROLE}r0")


def test_roles_on_their_way_are_not_forgotten() -> None:
    scene = Scene("*")
    for number in range(32):
        assert scene.obtain(f"{ROLE}r{number}", ends=False)
    served = scene.paths.find(f"/role-arn/{ROLE}more".encode())
    assert served is not None
    assert not scene.renewals.ask(served)
    assert served.failure == "too many roles are being obtained at once"
    scene.renewals._take(Outcome(5, failure="refused"))
    assert scene.obtain(f"{ROLE}more")
    assert scene.process.orders[-1] == Order(5, 0, f"{ROLE}more")


class _LongWork:
    """Obtains what no message can carry."""

    def obtain(self, order: Order) -> Obtained:
        return Obtained(Outcome(order.served, Credentials("ASIA", "secret", "t" * 200_000, 1)))

    def keep(self, _keys: object) -> None:
        pass

    def reload(self) -> None:
        pass


def test_credentials_that_are_too_long_are_a_failure_and_no_hang() -> None:
    process = RenewingProcess(_LongWork())
    process._socket.settimeout(20)
    process.order(Order(0, 0))
    outcome = process.receive()
    process.close()
    assert outcome is not None
    assert outcome.credentials is None
    assert outcome.failure == "the credentials are too long to be served"
