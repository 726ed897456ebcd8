"""What every command that writes does to a vault of each kind, for faults at its calls.

`SCENARIOS` and the cases of `test_keys` are for the `file` vault alone, and know more of it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from typing import NamedTuple

from filevault.backends.age.library import library
from tests.faults.harness import HarnessCommand, survey
from tests.faults.scenarios import KEEP, KEEP_OTHER, NEW, ONE, TWO, adding
from tests.faults.tokens import REFRESH, SHOW, STORE
from tests.samples import ANN
from tests.worlds.fault_store import BOTH, KINDS, FaultStore
from tests.worlds.other_programs import commit_identity

SHARED = ("pass", "age")
_IDENTITY = library().x25519.Identity.generate()
ANNS = str(_IDENTITY)


def ann(store: FaultStore) -> str:
    """Return what lets Ann in."""
    return ANN if store.kind == "pass" else str(_IDENTITY.to_public())


def _nothing(_store: FaultStore) -> None:
    """Do nothing more, require nothing more."""


class StoreCase(NamedTuple):
    """A command on a vault: `prepare` makes what it starts from, the vault itself included.

    `after` is what is stored then, `again` how a second try may end, `settled` what else must
    be true then. `retry` is what a person gives for a second try, if not the same. `between` is
    what else may be stored after a fault.
    """

    kinds: tuple[str, ...]
    command: Callable[[FaultStore], HarnessCommand]
    prepare: Callable[[FaultStore], None]
    after: dict[str, object] = BOTH  # type: ignore[assignment] # never changed
    again: tuple[int, ...] = (0,)
    settled: Callable[[FaultStore], None] = _nothing
    retry: Callable[[FaultStore], HarnessCommand] | None = None
    between: tuple[dict[str, object], ...] = ()


def _made(*commands: HarnessCommand) -> Callable[[FaultStore], None]:
    return lambda store: store.make().run(*commands)


def _with_ann(store: FaultStore) -> None:
    store.make().run(KEEP, HarnessCommand(("recipients", "add", ann(store))))


def _changed_by_somebody(store: FaultStore) -> None:
    store.make()
    with store.recipients.open("a") as file:
        file.write(f"{ann(store)}\n")


def _forgotten(store: FaultStore) -> None:
    """Let the machine see the vault for the first time."""
    store.make()
    shutil.rmtree(store.machine.state)


def _in_repository(store: FaultStore) -> None:
    commit_identity(store.machine)
    store.make().run(HarnessCommand(("git", "init", "--quiet")))


def _for_a_repository(store: FaultStore) -> None:
    commit_identity(store.machine)
    store.make()


def _is_pinned(store: FaultStore) -> None:
    trust = store.trust()
    assert trust is not None
    assert trust.pin is not None
    assert trust.pending_pin is None


def _ann_reads_all(store: FaultStore) -> None:
    _is_pinned(store)
    assert store.opens_with(ANNS) == {*BOTH}


def _ann_reads_nothing(store: FaultStore) -> None:
    _is_pinned(store)
    assert store.opens_with(ANNS) == set()


def _ann_is_pinned(store: FaultStore) -> None:
    trust = store.trust()
    assert trust is not None
    assert trust.pin is not None
    assert any(len(each) == 2 for _, each in trust.pin.recipients)


def _has_no_sessions(store: FaultStore) -> None:
    assert not list(store.machine.state.glob("*/sessions/*/*.fvs"))


def _has_new_tokens(store: FaultStore) -> None:
    assert survey(SHOW, store.machine).out == "new\n"


def _has_session_key(store: FaultStore) -> None:
    _is_pinned(store)
    assert list(store.machine.state.glob(f"*/session-key{store.suffix}"))


def _is_committed(store: FaultStore) -> None:
    done = store.git("status", "--porcelain", "--untracked-files=all")
    assert done == "", done
    assert store.git("rev-list", "--count", "HEAD") != "0\n"


CASES = {
    "init": StoreCase(
        SHARED,
        lambda store: HarnessCommand(("init", *store.words)),
        _nothing,
        {},
        settled=_is_pinned,
        retry=lambda store: HarnessCommand(
            ("init", *(() if store.recipients.exists() else store.words))  # adopted, or made
        ),
    ),
    "recipients-add": StoreCase(
        SHARED,
        lambda store: HarnessCommand(("recipients", "add", ann(store))),
        _made(KEEP),
        settled=_ann_reads_all,
    ),
    "recipients-remove": StoreCase(
        SHARED,
        lambda store: HarnessCommand(("recipients", "remove", ann(store))),
        _with_ann,
        again=(0, 2),  # all was done: the recipient is none any more, and the hint says so
        settled=_ann_reads_nothing,
    ),
    "recipients-accept": StoreCase(
        SHARED,
        lambda _: HarnessCommand(("recipients", "accept")),
        _changed_by_somebody,
        settled=_ann_is_pinned,
    ),
    "recipients-accept-first": StoreCase(
        ("file",),
        lambda _: HarnessCommand(("recipients", "accept")),
        _forgotten,
        settled=_is_pinned,
    ),
    "keep-session": StoreCase(SHARED, lambda _: KEEP, _made(), settled=_has_session_key),
    "keep-tokens": StoreCase(KINDS, lambda _: REFRESH, _made(STORE), settled=_has_new_tokens),
    "clear": StoreCase(
        SHARED,
        lambda _: HarnessCommand(("clear",)),
        _made(KEEP, KEEP_OTHER),
        settled=_has_no_sessions,
    ),
    "first-use": StoreCase(
        KINDS, lambda _: HarnessCommand(("list",)), _forgotten, settled=_is_pinned
    ),
    "unlock": StoreCase(
        KINDS, lambda _: HarnessCommand(("unlock",)), _forgotten, settled=_has_session_key
    ),
    "git-init": StoreCase(
        KINDS,
        lambda _: HarnessCommand(("git", "init", "--quiet")),
        _for_a_repository,
        settled=_is_committed,
    ),
    "add-and-commit": StoreCase(
        KINDS,
        lambda _: adding("one", NEW, "--no-config", "--force"),
        _in_repository,
        {**BOTH, "one": NEW},
        settled=_is_committed,
    ),
}

_JSON = json.dumps({"AccessKeyId": NEW.access_key_id, "SecretAccessKey": NEW.secret_access_key})
_IMPORT = ("import", "-", "--name", "one", "--force", "--yes", "--no-config")
CASES |= {
    "import": StoreCase(
        KINDS,
        lambda _: HarnessCommand(_IMPORT, _JSON.encode()),
        _made(),
        {**BOTH, "one": NEW},
    ),
    "copy": StoreCase(
        KINDS, lambda _: HarnessCommand(("copy", "one", "new")), _made(), {**BOTH, "new": ONE}
    ),
    "rename": StoreCase(
        KINDS,
        lambda _: HarnessCommand(("rename", "one", "new")),
        _made(KEEP),
        {"new": ONE, "team/two": TWO},
        again=(0, 4),  # all was done: the old name is not known any more
        between=({**BOTH, "new": ONE},),
    ),
}

WRITING = {
    "init": {"file": "init", "pass": "init", "age": "init"},
    "add": {"file": "add", "pass": "add", "age": "add"},
    "import": {
        "file": "import import-and-remove",
        "pass": "import",
        "age": "import",
    },
    "copy": {"file": "copy", "pass": "copy", "age": "copy"},
    "rename": {"file": "rename", "pass": "rename", "age": "rename"},
    "migrate": {"file": "migrate", "pass": "migrate", "age": "migrate"},
    "remove": {"file": "remove", "pass": "remove", "age": "remove"},
    "list": {"file": "first-use", "pass": "first-use", "age": "first-use"},
    "exec": {"file": "keep-session", "pass": "keep-session", "age": "keep-session"},
    "export": {"file": "keep-session", "pass": "keep-session", "age": "keep-session"},
    "serve": {"file": "keep-session", "pass": "keep-session", "age": "keep-session"},
    "login": {"file": "keep-session", "pass": "keep-session", "age": "keep-session"},
    "sso": {"file": "keep-tokens", "pass": "keep-tokens", "age": "keep-tokens"},
    "signin": {"file": "keep-tokens", "pass": "keep-tokens", "age": "keep-tokens"},
    "rotate": {"file": "rotate", "pass": "rotate", "age": "rotate"},
    "clear": {"file": "clear", "pass": "clear", "age": "clear"},
    "unlock": {"file": "unlock", "pass": "unlock", "age": "unlock"},
    "recipients": {
        "file": "recipients-accept-first",
        "pass": "recipients-add recipients-remove recipients-accept",
        "age": "recipients-add recipients-remove recipients-accept",
    },
    "slot": {"file": "slot-add slot-add-key-file slot-remove"},
    "passphrase": {"file": "passphrase"},
    "rekey": {"file": "rekey rekey-finish"},
    "git": {
        "file": "git-init add-and-commit",
        "pass": "git-init add-and-commit",
        "age": "git-init add-and-commit",
    },
}
"""The campaigns of each command that writes, by the kind of the vault, names between blanks.

A kind that is left out refuses the command.
"""

READING = {
    "status": ("status",),
    "verify": ("verify",),
    "doctor": ("doctor",),
    "log": ("log",),
    "lock": ("lock",),
    "agent": ("agent", "--", "true"),
    "completion": ("completion", "bash"),
    "help": ("help", "exec"),
    "version": ("version",),
}
"""Commands that write no file, each with a run that shows it."""
