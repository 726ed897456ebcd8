"""The headless matrix: each command on each kind of machine works, or says the way out."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.cli.test_unprivileged import place, program
from tests.conditions.kernel_keyring import needs_kernel_keyring
from tests.conditions.other_user import NOBODY, needs_root
from tests.fakes import FakeAws
from tests.launch import botocore_data, launcher
from tests.launch.preload import import_everything
from tests.samples import KEY_ID, SECRET
from tests.worlds import restricted
from tests.worlds.in_process import InProcess
from tests.worlds.key_cache import CRON
from tests.worlds.machine import PASSPHRASE, Machine, TypedAnswer
from tests.worlds.restricted import Conditions, RestrictedResult

__all__ = ["place", "program"]
pytestmark = needs_root

QUESTION = "Passphrase for"
KEY = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET}
REGION = "eu-west-1"


class Cell(NamedTuple):
    """What a command ends with: its status, and a pattern of stdout or of the error's lines."""

    status: int
    text: str


WORKS: Mapping[str, Cell] = {
    "list": Cell(0, r"(?m)^jonsmith +jonsmith "),
    "status": Cell(0, r"^vault: .*\nlocked\n$"),
    "exec": Cell(0, r"^ASIA\w{16}\n$"),
    "export": Cell(0, r"^A[SK]IA\w{16}\n$"),
    "add": Cell(0, r"^Stored the key of profile new\.\n$"),
    "unlock": Cell(0, r"^Unlocked for sessions until \S+ \((kernel keyring|agent)\)\.\n$"),
    "held": Cell(0, r"^vault: .*\nsessions: unlocked until \S+ \((kernel keyring|agent)\)\n$"),
    "lock": Cell(0, r"^Locked .*; 1 key forgotten\.\n$"),
    "rotate": Cell(0, r'"result": "rotated"'),
}
COLUMNS = tuple(WORKS)
ARGV = {
    "list": ("list",),
    "status": ("status",),
    "exec": ("exec", "jonsmith", "--", "sh", "-c", "echo $AWS_ACCESS_KEY_ID"),
    "add": ("add", "new", "--env", "--no-config"),
    "unlock": ("unlock",),
    "held": ("status",),
    "lock": ("lock",),
    "rotate": ("rotate", "jonsmith", "--json"),
}


def every(status: int, text: str, *but: str) -> dict[str, Cell]:
    """The same end of every command; that of `exec` is 125."""
    return {
        column: Cell(125 if column == "exec" else status, text)
        for column in COLUMNS
        if column not in but
    }


class PreparedMachine:
    """A machine with a vault, a key at AWS, and every way to open the vault prepared."""

    def __init__(self, folder: Path, aws: FakeAws, uid: int, kdf: str = "cheap") -> None:
        folder.chmod(0o755)
        self.folder = folder
        self.home = folder / "home"
        self.machine = Machine(self.home)
        self.user = aws.add_user("jonsmith")
        inside = InProcess({**self.machine.env, "FILEVAULT_PASSPHRASE": PASSPHRASE})
        (folder / "tmp").mkdir(0o1777)
        made = inside.run(
            "init",
            "--new-key-file",
            str(self.home / "machine.key"),
            runtime=launcher.runtime({"kdf": kdf}),
        )
        assert made.status == 0, made
        self.pin = made.out.split("pin: ")[1].split()[0]
        inside.env |= {
            "AWS_ACCESS_KEY_ID": self.user.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.user.secret_access_key,
        }
        argv = ("add", "jonsmith", "--env", "--no-config")
        added = inside.run(*argv, runtime=launcher.runtime({"kdf": kdf}))
        assert added.status == 0, added
        self.machine.write_config(
            f"[profile jonsmith]\nregion = {REGION}\nendpoint_url = {aws.url}\n"
        )
        self.passphrase = self.home / "passphrase"
        self.passphrase.write_text(PASSPHRASE)
        self.passphrase.chmod(0o600)
        (folder / "credentials").mkdir()
        shutil.copy(self.home / "machine.key", folder / "credentials/filevault-key")
        (folder / "state").mkdir()
        (folder / "foreign").mkdir(0o700)
        for path in (self.home, folder / "credentials", folder / "state"):
            give(path, uid)
        self.machine.clock_file.chmod(0o644)

    def orders(self, places: str) -> dict[str, str]:
        """Return what the launcher is told."""
        return {"clock": str(self.machine.clock_file), "places": places, "root": str(self.folder)}

    def base(self) -> dict[str, str]:
        """Return a user's environment, without anything that opens the vault."""
        return dict(self.machine.env)

    def job(self, **more: str) -> dict[str, str]:
        """Return the environment of a job that is told all that it needs by variables."""
        return {
            "PATH": "/usr/bin:/bin",
            "FILEVAULT_DIR": str(self.machine.vault),
            "FILEVAULT_PIN": self.pin,
            "AWS_CONFIG_FILE": str(self.machine.config),
            **more,
        }

    def key(self) -> dict[str, str]:
        """Return the variable that holds the key."""
        return {"FILEVAULT_KEY": (self.home / "machine.key").read_text().strip()}


def give(path: Path, uid: int) -> None:
    for each in (path, *path.rglob("*")):
        os.chown(each, uid, uid)


class HeadlessRow(NamedTuple):
    """A kind of machine. `cells` are what differs from what works everywhere."""

    name: str
    env: Callable[[PreparedMachine], dict[str, str]]
    cells: Mapping[str, Cell] = {}
    uid: int = 0
    mounts: Callable[[PreparedMachine], str] = lambda _stage: ""
    without_keys: bool = False


def cron(stage: PreparedMachine) -> dict[str, str]:
    env = {**stage.base(), **{name: value for name, value in CRON.items() if value}}
    return {name: value for name, value in env.items() if CRON.get(name, "") is not None}


def cron_with_source(stage: PreparedMachine) -> dict[str, str]:
    return cron(stage) | {"FILEVAULT_PASSPHRASE_FILE": str(stage.passphrase)}


LOCKED = every(
    5,
    r"^filevault: error: the vault is locked, there is no terminal to ask for the passphrase, and "
    r"no other source is given\nfilevault: hint: give --passphrase-file[^\n]*FILEVAULT_KEY[^\n]*$",
    "list",
    "status",
    "held",
    "lock",
) | {"held": WORKS["status"], "lock": Cell(0, r"^Locked .*; 0 keys forgotten\.\n$")}
NOTHING_HELD = {"held": WORKS["status"], "lock": Cell(0, r"^Locked .*; 0 keys forgotten\.\n$")}
NO_STATE_FOLDER = Cell(
    7,
    r"^filevault: error: the state directory cannot be written, so [^\n]*\n"
    r"filevault: hint: set HOME or XDG_STATE_HOME to a folder of yours that can be written\n$",
)
NO_STATE = {"unlock": NO_STATE_FOLDER, "rotate": NO_STATE_FOLDER, **NOTHING_HELD}
READ_ONLY = {
    "add": Cell(
        7,
        r"^filevault: error: cannot write [^\n]*: read-only file system\n"
        r"filevault: hint: [^\n]*write where it is mounted writable\n$",
    ),
    **NO_STATE,
}
ROWS = [
    HeadlessRow("cron with source", cron_with_source),
    HeadlessRow("cron without source", cron, LOCKED),
    HeadlessRow(
        "service with state",
        lambda stage: stage.job(
            HOME="/nonexistent",
            CREDENTIALS_DIRECTORY=str(stage.folder / "credentials"),
            XDG_STATE_HOME=str(stage.folder / "state"),
        ),
        uid=NOBODY,
    ),
    HeadlessRow(
        "service without state",
        lambda stage: stage.job(
            HOME="/nonexistent", CREDENTIALS_DIRECTORY=str(stage.folder / "credentials")
        ),
        NO_STATE,
        uid=NOBODY,
    ),
    HeadlessRow(
        "CI with HOME=/nonexistent",
        lambda stage: stage.job(HOME="/nonexistent", FILEVAULT_STRICT="1", **stage.key()),
        NO_STATE,
    ),
    HeadlessRow(
        "CI with HOME of root as another user",
        lambda stage: stage.job(
            HOME=str(stage.folder / "foreign"), FILEVAULT_STRICT="1", **stage.key()
        ),
        NO_STATE
        | {"unlock": Cell(2, r"error: nothing would be cached: the time is 0\n.*--ttl 8h\n$")},
        uid=NOBODY,
    ),
    HeadlessRow(
        "HOME of root as another user, nothing said",
        lambda stage: {"PATH": "/usr/bin:/bin", "HOME": str(stage.folder / "foreign")},
        every(
            7,
            r"^filevault: error: cannot read '[^\n]*/foreign/.config/filevault/config.toml': "
            r"permission denied, and it could demand --strict\n"
            r"filevault: hint: set HOME, or XDG_CONFIG_HOME, to a folder of your own[^\n]*\n$",
        ),
        uid=NOBODY,
    ),
    HeadlessRow(
        "read-only HOME",
        cron_with_source,
        READ_ONLY,
        mounts=lambda stage: (
            f"mount --bind {stage.home} {stage.home} && mount -o remount,bind,ro {stage.home}"
        ),
    ),
    HeadlessRow(
        "read-only root",
        cron_with_source,
        READ_ONLY,
        mounts=lambda _stage: restricted.READ_ONLY_ROOT,
    ),
    HeadlessRow(
        "no /dev/tty", cron_with_source, mounts=lambda _stage: restricted.NO_TERMINAL_DEVICE
    ),
    HeadlessRow(
        "no /dev/tty, no source", cron, LOCKED, mounts=lambda _stage: restricted.NO_TERMINAL_DEVICE
    ),
    HeadlessRow("keyctl refused", cron_with_source, without_keys=True),
]


@pytest.fixture
def prepared_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fvh", dir="/tmp") as name:
        yield Path(name)


def check(row: str, column: str, expected: Cell, ended: RestrictedResult) -> str:
    """Return what is wrong with a cell, nothing if it is as it should be."""
    wrong = []
    if ended.status != expected.status:
        wrong.append(f"status {ended.status} instead of {expected.status}")
    text = ended.out if expected.status == 0 else ended.err
    if not re.search(expected.text, text):
        wrong.append(f"{text!r} instead of {expected.text!r}")
    if expected.status == 0 and "error" in ended.err:
        wrong.append(f"it worked, and said {ended.err!r}")
    if expected.status != 0 and len(ended.err.splitlines()) > 2:
        wrong.append(f"more than an error and a hint: {ended.err!r}")
    return f"{row}, {column}: {'; '.join(wrong)}\n" if wrong else ""


@needs_kernel_keyring
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_each_command_works_or_says_the_way_out(
    row: HeadlessRow, prepared_folder: Path, aws: FakeAws, program: tuple[str, ...]
) -> None:
    import_everything()
    botocore_data.keep()
    stage = PreparedMachine(prepared_folder, aws, row.uid)
    env = row.env(stage)
    conditions = Conditions(row.uid, row.mounts(stage), row.without_keys)
    places = "kernel agent" if row.without_keys else "kernel"
    orders = stage.orders(places)
    wrong = ""
    for column in COLUMNS:
        expected = row.cells.get(column, WORKS[column])
        if column == "export":
            ended = export(stage, env, conditions, program)
        else:
            more = KEY if column == "add" else {}
            ended = restricted.run(ARGV[column], {**env, **more}, conditions, orders)
        wrong += check(row.name, column, expected, ended)
    assert not wrong, wrong


def export(
    stage: PreparedMachine, env: Mapping[str, str], conditions: Conditions, program: tuple[str, ...]
) -> RestrictedResult:
    """Let boto3 ask for credentials by `credential_process`; its error has ours in it."""
    config = stage.folder / "sdk"
    launcher = " ".join(program[program.index("env") :])
    config.write_text(
        f"[profile sdk]\nregion = {REGION}\n"
        f"credential_process = {launcher} export jonsmith -n --format json\n"
    )
    config.chmod(0o644)

    def ask() -> int:
        import botocore.exceptions
        import botocore.session

        # The program that boto3 starts reads its own config, as its wrapper script says.
        session = botocore.session.Session(profile="sdk")
        session.set_config_variable("config_file", str(config))
        try:
            credentials = session.get_credentials()
        except botocore.exceptions.CredentialRetrievalError as error:
            said = str(error).partition("from custom-process: ")[2]
            sys.stderr.write(said)
            return 5 if "the vault is locked" in said else 7
        assert credentials is not None
        print(credentials.access_key)
        return 0

    return restricted.run((), env, conditions, {}, ask)


MEMORY = 256 << 20
BOTO = """
import sys
import botocore.session
session = botocore.session.Session(profile="sdk")
session.set_config_variable("config_file", sys.argv[1])
print(session.get_credentials().access_key)
"""
ASKS = ("exec", "export", "add", "rotate", "unlock")


@pytest.mark.parametrize("kind", ["terminal", "256 MiB"])
def test_a_terminal_and_a_small_machine_need_no_way_out(
    kind: str, prepared_folder: Path, aws: FakeAws
) -> None:
    stage = PreparedMachine(prepared_folder, aws, 0, "standard" if kind == "256 MiB" else "cheap")
    machine = stage.machine
    machine.places = "agent"
    machine.root = str(prepared_folder)
    limit: tuple[str, ...] = ()
    if kind == "256 MiB":
        machine.kdf = "standard"
        limit = ("prlimit", f"--as={MEMORY}")
        machine.env["FILEVAULT_PASSPHRASE_FILE"] = str(stage.passphrase)
    launcher = (*limit, *machine.launcher)
    config = prepared_folder / "sdk"
    config.write_text(
        f"[profile sdk]\nregion = {REGION}\n"
        f"credential_process = {' '.join(launcher)} export jonsmith --format json\n"
    )
    wrong = ""
    for column in ("list", "status", "exec", "export", "add", "rotate", "unlock", "held", "lock"):
        env = KEY if column == "add" else {}
        argv = (str(config),) if column == "export" else ARGV[column]
        machine.launcher = (*limit, sys.executable, "-c", BOTO) if column == "export" else launcher
        if kind == "terminal":
            answers = [TypedAnswer(QUESTION, PASSPHRASE)] if column in ASKS else []
            ended = machine.on_terminal(*argv, answers=answers, env=env)
        else:
            ended = machine.run(*argv, env=env)
        wrong += check(kind, column, WORKS[column], RestrictedResult(*ended[:3]))
    assert not wrong, wrong
