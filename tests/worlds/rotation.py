"""A machine and AWS users whose keys are rotated, in this process and on the stand-in's clock."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any

from filevault.backends.item_header import ItemHeader
from filevault.backends.protocols import SealedBackend
from filevault.cli.context import Runtime
from filevault.system.files import Folder
from filevault.vault.item import LongTermItem, parse
from filevault.vault.rotation_fields import RotationFields, read_rotation
from tests.fakes import FakeAws, User
from tests.fakes.clients import client
from tests.launch import botocore_data
from tests.launch.launcher import CHEAP
from tests.worlds.file_vault import KnownPassphrase, opened
from tests.worlds.in_process import InProcess, InProcessResult
from tests.worlds.machine import PASSPHRASE, Machine

REGION = "eu-west-1"


class RotationMachine:
    """A machine with a vault, and users at the fake whose keys it holds.

    It is a `file` vault; `init` makes another kind, which the machine's variables ask for.

    Time passes only by `sleep`, which moves the fake's clock and is noted in `slept`.
    """

    def __init__(self, machine: Machine, aws: FakeAws, init: tuple[str, ...] = ()) -> None:
        self.machine = machine
        self.aws = aws
        self.slept: list[float] = []
        botocore_data.keep()
        machine.env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
        machine.env["AWS_ENDPOINT_URL"] = aws.url
        machine.env["AWS_MAX_ATTEMPTS"] = "1"
        self.run("init", *init)
        self.config("")

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.slept.append(seconds)
        self.aws.clock.advance(seconds)

    @property
    def runtime(self) -> Runtime:
        """The outside world of a run."""
        return Runtime(clock=self.aws.clock, sleep=self.sleep, kdf=CHEAP)

    def config(self, text: str) -> None:
        """Write the AWS config, a default region before all else."""
        self.machine.write_config(f"[default]\nregion = {REGION}\n{text}")

    def run(
        self,
        *argv: str,
        status: int | None = 0,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
    ) -> InProcessResult:
        """Run a command and require a status."""
        whole = {**self.machine.environment(), **(env or {})}
        whole.pop("LAUNCH")
        ended = InProcess(whole, tidy=False).run(*argv, runtime=self.runtime, stdin=stdin)
        assert status is None or ended.status == status, ended
        return ended

    def check_quiet(self, ended: InProcessResult) -> None:
        """Require that no secret of anybody shows, and no inside of the program."""
        shown = ended.out + ended.err
        for text in (*self.aws.issued_secrets(), PASSPHRASE, "Traceback", "unexpected"):
            assert text not in shown, ended

    def rotate(self, *argv: str, status: int | None = 0) -> InProcessResult:
        """Run `rotate`, without the calls made before."""
        self.aws.reset_calls()
        ended = self.run("rotate", *argv, status=status)
        self.check_quiet(ended)
        return ended

    def report(self, *argv: str, status: int | None = 0) -> list[dict[str, Any]]:
        """Run `rotate --json` and return what it prints."""
        found: list[dict[str, Any]] = json.loads(self.rotate(*argv, "--json", status=status).out)
        return found

    def user(self, name: str = "jon", *, profiles: tuple[str, ...] = (), **traits: Any) -> User:
        """Make a user, and store its key under its name and these profiles."""
        user = self.aws.add_user(name, **traits)
        for profile in profiles or (name,):
            self.add(profile, user.access_key_id, user.secret_access_key)
        return user

    def add(self, profile: str, key_id: str, secret: str) -> None:
        """Store a key that IAM made just now."""
        made = {"AccessKeyId": key_id, "SecretAccessKey": secret, "CreateDate": self.now()}
        self.run(
            "add", profile, "--stdin", "--no-config", stdin=json.dumps({"AccessKey": made}).encode()
        )

    def now(self) -> str:
        """The time at AWS."""
        from filevault.system.times import format_time

        return format_time(self.aws.clock())

    @functools.cached_property
    def _backend(self) -> SealedBackend:
        """The vault's backend, opened once: each one keeps a descriptor."""
        root = Folder.open(str(self.machine.vault))
        backend = opened(root, KnownPassphrase())
        backend.unlock()
        return backend

    def text(self, name: str) -> bytes:
        """Decrypt an item."""
        data = (self.machine.vault / f"{name}.fv").read_bytes()
        return self._backend.decrypt("credentials", name, data)

    def store(self, name: str, text: bytes) -> None:
        """Put a text into an item, past filevault's commands."""
        generation = int(self.aws.clock()) + 1000
        header = ItemHeader("credentials", name, generation, self.now(), "add")
        (self.machine.vault / f"{name}.fv").write_bytes(self._backend.encrypt(header, text))

    def item(self, name: str) -> LongTermItem:
        """Read an item."""
        return parse(self.text(name), name)

    def rotation(self, name: str) -> RotationFields:
        """Read an item's rotation fields."""
        return read_rotation(self.text(name), name)

    def works(self, name: str) -> bool:
        """Tell whether AWS takes the key in the vault."""
        key = self.item(name).key
        made = self.aws.directory.keys.get(key.access_key_id)
        if made is None or made.status != "Active":
            return False
        return made.secret_access_key == key.secret_access_key

    def may_call(self, name: str) -> str:
        """Ask the fake with the key in the vault who it is."""
        key = self.item(name).key
        sts = client("sts", self.aws.url, key.access_key_id, key.secret_access_key)
        found: str = sts.get_caller_identity()["Arn"]
        return found

    def keys(self, user: User) -> dict[str, str]:
        """Return the user's keys at AWS with their states."""
        return {key.access_key_id: key.status for key in user.keys.values()}

    def check_rotated(self, user: User, name: str) -> None:
        """Require that the user has one key, another than at first, and the item has it."""
        assert self.keys(user) == {self.item(name).key.access_key_id: "Active"}
        assert self.item(name).key.access_key_id != user.access_key_id
        assert self.rotation(name) == RotationFields()
        assert self.works(name)
