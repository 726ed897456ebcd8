"""Make the files that a build of filevault leaves on a machine, for later builds to read.

    cd CHECKOUT && PYTHONPATH=. PYTHON .../tests/vectors/older/make.py FOLDER

CHECKOUT is a checkout of that build and PYTHON an interpreter with its requirements; README.md
beside this file tells what is made.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from tests.fakes import FakeAws
from tests.worlds.machine import LAUNCHER, PASSPHRASE, Machine

HOME = "/home/jon"
"""Where the files say they lie: a state directory is named after the path of its vault."""
PORT = 21873
"""Where the AWS config says that AWS is, without anything that listens there."""
TIME = 1768471200  # 2026-01-15T10:00:00Z
OWNER = "Jon Smith <jon@example.com>"
VAULTS: dict[str, dict[str, str]] = {
    "file": {},
    "age": {"FILEVAULT_BACKEND": "age", "FILEVAULT_DIR": "{home}/age"},
    "pass": {"FILEVAULT_BACKEND": "pass", "GNUPGHOME": "{gpg}"},
}
ROOTS = {"file": ".local/share/filevault", "age": "age", "pass": ".password-store/aws"}
KEY_FILE = "robot.key"
CONFIG = 'strict = true\ncache_ttl = "4h"\nkey_age_warning = "60d"\n'
AWS_CONFIG = """\
[default]
region = eu-west-1
endpoint_url = http://127.0.0.1:{port}

[profile jonsmith]
mfa_serial = arn:aws:iam::123456789012:mfa/jonsmith

[profile admin]
source_profile = jonsmith
role_arn = arn:aws:iam::123456789012:role/admin
mfa_serial = arn:aws:iam::123456789012:mfa/jonsmith

[profile reader]
source_profile = ann
role_arn = arn:aws:iam::123456789012:role/reader
"""

# Starts the program with a vault that seems to lie below HOME, and AWS to answer at PORT. Only
# the bytes of the real path are other ones, which name the state directory; whoever opens the
# path gets to the vault.
PLACED = """
import os, runpy, socket, sys
home, shown, roots, asked, port = sys.argv[1:6]
real, connect = os.path.realpath, socket.socket.connect

class Placed(str):
    def encode(self, *_):
        return (shown + self[len(home):]).encode()

def realpath(path, **options):
    found = real(path, **options)
    return Placed(found) if found in [f"{home}/{root}" for root in roots.split(":")] else found

def connect_there(self, address):
    if address == ("127.0.0.1", int(asked)):
        if not int(port):
            raise ConnectionRefusedError("nothing is to be asked")
        address = ("127.0.0.1", int(port))
    return connect(self, address)

os.path.realpath, socket.socket.connect = realpath, connect_there
sys.argv = sys.argv[6:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def place(machine: Machine, aws: FakeAws | None) -> Machine:
    """Let a machine's programs find themselves below HOME, and AWS at PORT, or nobody there."""
    port = "0" if aws is None else aws.url.rpartition(":")[2]
    home = os.path.realpath(machine.home)
    words = (home, HOME, ":".join(ROOTS.values()), str(PORT), port)
    machine.launcher = (sys.executable, "-c", PLACED, *words, LAUNCHER)
    return machine


def variables(kind: str, home: Path, gpg: Path) -> dict[str, str]:
    """Return the variables that lead to a vault and open it; the `file` vault has a passphrase."""
    return {name: each.format(home=home, gpg=gpg) for name, each in VAULTS[kind].items()}


def main(target: Path) -> None:
    """Make everything in a folder that is not there yet."""
    target.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="fvo", dir="/tmp") as name, FakeAws() as aws:
        folder = Path(os.path.realpath(name))
        (folder / "gpg").mkdir(mode=0o700)
        try:
            Maker(folder, aws).make(target)
        finally:
            _gpg(folder / "gpg", "gpgconf", "--kill", "all")


class Maker:
    """One user at one machine, with the stand-in for AWS."""

    def __init__(self, folder: Path, aws: FakeAws) -> None:
        self.folder = folder
        self.aws = aws
        aws.clock.set(TIME)
        self.jon = aws.add_user("jonsmith", mfa=True)
        self.ann = aws.add_user("ann")
        self.robot = aws.add_user("robot")
        aws.add_role("admin", require_mfa=True)
        aws.add_role("reader")
        self.machine = place(Machine(folder / "home"), aws)
        self.machine.clock_file = folder / "clock"
        self.machine.clock_file.write_text(str(TIME - time.time()), encoding="ascii")
        (self.machine.home / ".clock").unlink()
        self.pins: dict[str, str] = {}
        self.sessions: dict[str, str] = {}

    def make(self, target: Path) -> None:
        """Do what a user does in the first hour, and copy what is left of it."""
        self.machine.write_config(AWS_CONFIG.format(port=PORT))
        (self.machine.home / ".config/filevault").mkdir(parents=True)
        (self.machine.home / ".config/filevault/config.toml").write_text(CONFIG, encoding="utf-8")
        self.file_vault()
        self.shared_vault("age", "init", "--no-passphrase")
        gpg = self.folder / "gpg"
        argv = ("gpg", "--batch", "--quiet", "--faked-system-time", "20250101T000000!")
        loopback = ("--pinentry-mode", "loopback", "--passphrase", "")
        words = ("--quick-gen-key", OWNER, "future-default", "default", "never")
        _gpg(gpg, *argv, *loopback, *words)
        secret = _gpg(gpg, "gpg", "--batch", "--armor", "--export-secret-keys")
        self.shared_vault("pass", "init", "--recipient", OWNER)
        config = self.machine.config.read_text(encoding="utf-8")
        self.machine.config.write_text(
            re.sub(r"= /usr/bin/env .*launch(?:er)?\.py ", "= filevault ", config)
        )
        shutil.copytree(self.machine.home, target / "home")
        shutil.copy(self.folder / "rotated.fv", target)
        (target / "gpg-key.asc").write_text(secret, encoding="ascii")
        _write(target / "facts.json", self.facts())

    def file_vault(self) -> None:
        """Make a vault with two keyslots, three items, one of them rotated, and sessions."""
        env = {"FILEVAULT_PASSPHRASE": PASSPHRASE}
        run = self.machine.ok
        run("init", env=env)
        key_file = str(self.machine.home / KEY_FILE)
        run("slot", "add", "--type", "keyfile", "--new-key-file", key_file, env=env)
        for name, user in (("jonsmith", self.jon), ("ann", self.ann), ("work/prod:eu", self.robot)):
            key = f"{user.access_key_id}\n{user.secret_access_key}\n"
            run("add", name, "--stdin", "--sdk-profile", f"{name}-sdk", env=env, stdin=key)
        shutil.copy(self.machine.vault / "work/prod%3Aeu.fv", self.folder / "rotated.fv")
        run("rotate", "work/prod:eu", "-n", env=env)
        self.pin("file", env)
        self.session("ann", env)
        self.session("reader", env)
        self.session("jonsmith", env, "--mfa-token", self.jon.totp())
        self.session("admin", env)
        self.session("admin", env, "-n", "--mfa-token", self.jon.totp(ahead=1), called="admin -n")

    def shared_vault(self, kind: str, *init: str) -> None:
        """Make an `age` or `pass` vault with two items and a session."""
        env = variables(kind, self.machine.home, self.folder / "gpg")
        self.machine.ok(*init, env=env)
        for name in ("ann", "team/two"):
            key = f"{self.ann.access_key_id}\n{self.ann.secret_access_key}\n"
            self.machine.ok("add", name, "--stdin", "--no-config", env=env, stdin=key)
        self.pin(kind, env)
        self.session("reader", env, called=f"{kind} reader")

    def pin(self, kind: str, env: Mapping[str, str]) -> None:
        """Note what a user would set FILEVAULT_PIN to."""
        shown = self.machine.ok("recipients", "list", env=env).out
        (self.pins[kind],) = re.findall(r"^pin: ([0-9a-f]{64})", shown, re.MULTILINE)

    def session(
        self, profile: str, env: Mapping[str, str], *options: str, called: str = ""
    ) -> None:
        """Have a session obtained and kept; the next code is another one."""
        out = self.machine.ok("export", profile, "--format", "json", *options, env=env).out
        self.sessions[called or profile] = json.loads(out)["AccessKeyId"]

    def facts(self) -> dict[str, object]:
        """Tell what the files hold, and the secrets that AWS has on its side."""
        (rotated,) = self.robot.keys.values()
        return {
            "items": {
                "jonsmith": [self.jon.access_key_id, self.jon.secret_access_key],
                "ann": [self.ann.access_key_id, self.ann.secret_access_key],
                "work/prod:eu": [rotated.access_key_id, rotated.secret_access_key],
            },
            "mfa_seed": self.jon.mfa_seed,
            "pins": self.pins,
            "sessions": self.sessions,
        }


def _gpg(home: Path, *argv: str) -> str:
    env = {"PATH": os.environ["PATH"], "GNUPGHOME": str(home), "HOME": str(home)}
    return subprocess.run(argv, env=env, check=True, text=True, stdout=subprocess.PIPE).stdout


def _write(path: Path, content: Mapping[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
