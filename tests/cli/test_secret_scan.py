"""While each command runs, and after it, no secret is in an argv, an environment or a temp file."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from filevault.cli.command import COMMANDS
from tests.conditions.tools import tool
from tests.fakes.ci import FakeCi
from tests.fakes.identity_center import START_URL
from tests.samples import ANN, JON
from tests.worlds.age_store import pair
from tests.worlds.agent import short_folder
from tests.worlds.aws_machine import AwsMachine
from tests.worlds.login_machine import BROWSER
from tests.worlds.machine import PASSPHRASE
from tests.worlds.standing_server import StandingServer

CHILD = ("sleep", "0.05")
# A command has its endpoint's token in its environment, as was asked for.
COMMANDS_OWN = ("environment of b'sleep", "environment of b'sh")
DPOP_KEY = "PRIVATE KEY-----"  # the stand-in does not know the keys of logins
NEW = "an altogether different passphrase"
SECOND = ("--vault", "second")
# `@` stands for the keyslot or recipient that the scene has at hand. What `add` reads from stdin
# is the key of another user.
RUNS: dict[str, list[tuple[str, ...]]] = {
    "init": [
        (*SECOND, "init", "--new-key-file", "second.key"),
        ("--vault", "third", "init", "--generate"),
    ],
    "add": [("add", "ann", "--stdin"), ("add", "ann", "--stdin", "--force")],
    "import": [
        ("import", "--dry-run"),
        ("import", "--yes", "--remove-source", "--only", "old"),
        ("import", "--json", "--yes", "--only", "older", "--rename", "older=ann"),
    ],
    "list": [("list",), ("list", "--json")],
    "exec": [
        ("exec", "jonsmith", "--explain"),
        ("exec", "admin", "--explain"),
        ("exec", "admin", "--", *CHILD),
        ("exec", "--server", "--debug", "admin", "--", *CHILD),
    ],
    "export": [("export", "admin"), ("export", "jonsmith", "-n", "--format", "json")],
    "serve": [("serve", "admin", "--explain")],  # a server that runs has a test of its own
    "login": [("login", "admin", "--stdout"), ("login", "jonsmith", "--stdout")],
    "signin": [
        ("signin", "console"),
        ("export", "console", "--refresh"),
        ("exec", "console", "--", *CHILD),
        ("clear", "console"),
    ],
    "sso": [
        ("sso", "login", "corp"),
        ("sso", "list", "corp"),
        ("sso", "profiles", "corp", "--yes"),
        ("export", "corp", "--refresh"),
        ("exec", "corp", "--", *CHILD),
        ("sso", "logout", "corp"),
    ],
    "rotate": [("rotate", "jonsmith", "--dry-run"), ("rotate", "jonsmith")],
    "unlock": [
        ("unlock", "--ttl", "1m"),
        ("export", "admin"),
        ("unlock", "--ttl", "1m", "--vault-key"),
        ("export", "jonsmith", "-n"),
    ],
    "status": [("unlock", "--ttl", "1m"), ("status",)],
    "lock": [("unlock", "--ttl", "1m"), ("lock",)],
    "agent": [("agent",), ("agent", "--", *CHILD)],
    "slot": [
        ("slot", "add", "--label", "two"),
        ("slot", "add", "--new-key-file", "slot.key"),
        ("slot", "add", "--generate"),
        ("slot", "list"),
        ("slot", "remove", "@"),
    ],
    "passphrase": [("passphrase",)],
    "passphrase --generate": [("passphrase", "--generate")],
    "rekey": [("rekey", "--drop-slots"), ("rekey", "--finish")],
    "recipients": [("recipients", "list"), ("recipients", "accept")],
    "git": [("git", "init", "--quiet"), ("git", "status")],
    "rename": [("rename", "jonsmith", "jon", "--config")],
    "copy": [("copy", "jonsmith", "jon")],
    "migrate": [("migrate", "--to", "second", "--yes"), ("migrate", "--to", "third", "--dry-run")],
    "doctor": [("doctor",), ("doctor", "--json")],
    "log": [("export", "admin"), ("log",), ("log", "--json")],
    "verify": [("export", "admin"), ("verify",), ("verify", "--online", "--json")],
    "clear": [("clear",)],
    "completion": [("completion", "zsh")],
    "help": [("help", "exec")],
    "version": [("version",)],
    "remove": [("remove", "--force", "jonsmith")],
}
# What handles secrets in another way where gpg or age keeps them.
SHARED_RUNS: list[tuple[str, ...]] = [
    ("add", "ann", "--stdin"),
    ("export", "admin"),
    ("exec", "admin", "--", *CHILD),
    ("unlock", "--ttl", "1m"),
    ("recipients", "add", "@"),
    ("recipients", "remove", "@"),
    ("rotate", "jonsmith"),
    ("remove", "--force", "ann"),
]
KIND_RUNS: dict[str, list[tuple[str, ...]]] = {
    "pass": SHARED_RUNS,
    "age": [
        *SHARED_RUNS,
        ("unlock", "--ttl", "1m", "--vault-key"),
        (*SECOND, "init"),  # a new identity, under a passphrase
    ],
}


class Scanner:
    """Looks at all processes of a machine, and its temporary folder, as often as it can.

    The passphrases come from files, so that not even filevault's own environment holds one.
    """

    def __init__(self, scene: AwsMachine, temporary: Path) -> None:
        self._scene = scene
        self._home = f"HOME={scene.machine.home}".encode()
        self.temporary = temporary
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.seen: set[bytes] = set()
        self.found: set[str] = set()
        self._texts: set[tuple[str, bytes]] = set()
        self._others = set(filter(str.isdigit, os.listdir("/proc")))  # here before the machine

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Look a last time and end."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.is_set():
            needles = [s.encode() for s in {*self._scene.secrets(), PASSPHRASE, NEW, DPOP_KEY}]
            for pid in set(filter(str.isdigit, os.listdir("/proc"))) - self._others:
                self._look(Path("/proc") / pid, needles)
            for folder, _, names in os.walk(self.temporary):  # passes over what has gone
                for path in (Path(folder, name) for name in names):
                    self._compare(f"{path}", _bytes(path), needles)
            self._stop.wait(0.001)

    def is_ours(self, process: Path) -> bool:
        """Tell whether a process is of this machine."""
        return self._home in _bytes(process / "environ").split(b"\0")

    def _look(self, process: Path, needles: list[bytes]) -> None:
        if not self.is_ours(process):
            return
        environment = _bytes(process / "environ")
        argv = _bytes(process / "cmdline")
        self.seen.add(argv)
        self._compare(f"argv {argv!r}", argv, needles)
        self._compare(f"environment of {argv!r}", environment, needles)

    def showed(self, secret: str) -> bool:
        """Tell whether anything that was looked at held a secret that came up only then."""
        return bool(self.found_of(secret))

    def found_of(self, secret: str) -> set[str]:
        """Return what of all that was looked at held a secret that came up only then."""
        return {what for what, text in self._texts if secret.encode() in text}

    def _compare(self, what: str, data: bytes, needles: list[bytes]) -> None:
        self._texts.add((what, data))
        if any(needle in data for needle in needles):
            self.found.add(what)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.fixture
def temporary() -> Iterator[Path]:
    with short_folder() as folder:
        yield folder


@pytest.fixture
def scanner(
    request: pytest.FixtureRequest, scene: AwsMachine, temporary: Path
) -> Iterator[Scanner]:
    kind = getattr(request, "param", "file")
    if kind != "file":
        scene.machine.env["FILEVAULT_BACKEND"] = kind
        if kind == "pass":
            scene.machine.env |= request.getfixturevalue("keyrings").jon.env()
        tool(kind)
        scene.machine.ok(
            "init", *(("--recipient", JON) if kind == "pass" else ("--no-passphrase",))
        )
    corp = (
        f"[profile corp]\nsso_start_url = {START_URL}\nsso_region = eu-west-1\n"
        f"sso_account_id = 111122223333\nsso_role_name = Admin\nendpoint_url = {scene.aws.url}\n"
    )
    scene.configure(more=corp).store()
    scene.aws.sso.assign("111122223333", "prod", "Admin", "ReadOnly")
    scene.aws.sso.confirm_after, scene.aws.sso.enforces_interval = 2, False
    secret = scene.machine.home / "secret"
    secret.mkdir()
    for name, text in (("old", PASSPHRASE), ("new", NEW)):
        (secret / name).write_text(text)
        (secret / name).chmod(0o600)
    machine = scene.machine
    machine.places = "agent"  # the kernel's keyring belongs to the whole user
    machine.root = str(temporary)
    machine.fresh = True  # whose command line shows
    machine.env.pop("FILEVAULT_PASSPHRASE", None)
    machine.env |= {
        "TMPDIR": str(temporary),
        "XDG_RUNTIME_DIR": str(temporary),
        "FILEVAULT_PASSPHRASE_FILE": str(secret / "old"),
        "FILEVAULT_NEW_PASSPHRASE_FILE": str(secret / "new"),
        "AWS_ENDPOINT_URL_SIGNIN": scene.aws.url,
        "AWS_ENDPOINT_URL_IAM": scene.aws.url,
        "FILEVAULT_DEBUG": "1",
        "BROWSER": BROWSER,
    }
    scene.aws.login.user = scene.user
    scanner = Scanner(scene, temporary)
    scanner.start()
    yield scanner
    scanner.stop()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if scanner.is_ours(Path("/proc") / pid):
            os.kill(int(pid), signal.SIGKILL)  # an agent goes on by itself


def run_all(scene: AwsMachine, scanner: Scanner, runs: list[tuple[str, ...]], other: str) -> None:
    """Run the commands; require that nothing showed, nor what they made themselves."""
    machine = scene.machine
    (machine.home / ".gitconfig").write_text("[user]\n\tname = Jon\n\temail = jon@example.com\n")
    ann = scene.aws.add_user("ann")
    made = set()
    clear = machine.home / ".aws/credentials"
    pair = f"aws_access_key_id={ann.access_key_id}\naws_secret_access_key={ann.secret_access_key}\n"
    for argv in runs:
        if argv[0] == "import":
            clear.write_text(f"[old]\n{pair}[older]\n{pair}")
        if argv[-1] == "init":  # it makes an identity, and there is one in the usual place
            machine.env["XDG_CONFIG_HOME"] = str(machine.home / "other")
        scene.aws.clock.advance(30)  # each token code works once
        stdin = f"{ann.access_key_id}\n{ann.secret_access_key}\n" if argv[0] == "add" else None
        done = machine.ok(*(other if word == "@" else word for word in argv), stdin=stdin)
        added = re.search(r"^Added keyslot (\w+)", done.out, re.MULTILINE)
        other = added[1] if added else other
        made |= set(re.findall(r"^passphrase: (.*)$", done.out, re.MULTILINE))
    made |= {path.read_text().strip() for path in machine.home.glob("*.key")}
    for path in machine.home.glob(".config/*/identities"):
        made |= set(re.findall("AGE-SECRET-KEY-.*", path.read_text()))
    assert not any(map(scanner.showed, made))
    # A command gets its credentials in its environment, as was asked for.
    own = f"environment of {b'sleep' + bytes(1)!r}"[:-1]
    assert {what for what in scanner.found if not what.startswith(own)} == set()


def test_every_command_is_scanned() -> None:
    assert {command.partition(" ")[0] for command in RUNS} == set(COMMANDS)
    for command, runs in RUNS.items():
        assert all(any(word in argv for argv in runs) for word in command.split())


@pytest.mark.parametrize("command", RUNS)
def test_nothing_shows_during_a_command_or_after_it(
    scene: AwsMachine, scanner: Scanner, command: str
) -> None:
    run_all(scene, scanner, RUNS[command], "")
    name = command.partition(" ")[0].encode()
    assert any(name in argv for argv in scanner.seen), scanner.seen


def test_no_token_shows_on_its_way_to_a_role(scene: AwsMachine, scanner: Scanner) -> None:
    machine, aws = scene.machine, scene.aws
    provider = aws.add_identity_provider("https://ci.example")
    role = aws.add_role("deploy")
    aws.trust_web_identity(role, provider, "job")
    token = machine.home / "token"
    token.write_text(provider.issue("job"))
    user = aws.add_user("broker")
    output = machine.home / "output"
    output.write_text(
        f'{{"Version": 1, "AccessKeyId": "{user.access_key_id}", '
        f'"SecretAccessKey": "{user.secret_access_key}"}}'
    )
    common = f"region = eu-west-1\nendpoint_url = {aws.url}\n"
    web = f"{common}role_arn = {role.arn}\n"
    machine.write_config(
        f"[profile file]\n{web}web_identity_token_file = {token}\n"
        f"[profile process]\n{web}web_identity_token_process = sleep 0.05; cat {token}\n"
        f"[profile github]\n{web}web_identity_token_source = github\n"
        f"[profile program]\n{common}credential_process = cat {output}\n"
        f"[profile top]\n{common}role_arn = {role.arn}\nsource_profile = program\n"
    )
    with FakeCi(provider, "job") as ci:
        machine.env |= ci.github()
        runs = [("export", name) for name in ("file", "process", "github", "program", "top")]
        run_all(scene, scanner, [*runs, ("exec", "github", "--", *CHILD)], "")
    aws.sts.web_trusts.clear()
    refused = machine.run("export", "file", "--refresh")
    assert refused.status == 8
    assert not [secret for secret in scene.secrets() if secret in refused.everything]


def test_the_token_of_an_endpoint_shows_to_the_command_alone(
    scene: AwsMachine, scanner: Scanner
) -> None:
    """It is in the environment of the command, as was asked for, and in the file of `serve`."""
    machine = scene.machine
    scene.aws.clock.advance(30)
    script = 'printf %s "$AWS_CONTAINER_AUTHORIZATION_TOKEN"; exec sleep 0.1'
    token = machine.ok("exec", "--server", "admin", "--", "sh", "-c", script).out
    assert len(token) == 43
    shown = {what for what in scanner.found_of(token) if not what.startswith(COMMANDS_OWN)}
    assert shown == set()
    assert scanner.found_of(token)  # in the environment of the command, so it looks
    folder = machine.home / "tokens"
    folder.mkdir(mode=0o700)
    path = folder / "token"
    with StandingServer(machine, "--token-file", str(path), "admin") as server:
        token = path.read_text()
        assert server.get("admin").status == 200
        assert server.get("admin", f"/{token}").status == 404
        status, err = server.end()
    assert status == 0
    assert "/: 200" in err  # the log of requests
    assert token not in err
    assert scanner.found_of(token) == set()


@pytest.mark.parametrize("scanner", ["pass", "age"], indirect=True)
def test_nothing_shows_where_gpg_or_age_keeps_the_keys(scene: AwsMachine, scanner: Scanner) -> None:
    kind = scene.machine.env["FILEVAULT_BACKEND"]
    run_all(scene, scanner, KIND_RUNS[kind], ANN if kind == "pass" else pair()[1])


def test_the_scanner_finds_what_it_looks_for(scene: AwsMachine, scanner: Scanner) -> None:
    machine = scene.machine
    secret = scene.user.secret_access_key
    machine.ok("exec", "jonsmith", "-n", "--", "sleep", "0.2")
    assert any(what.startswith("environment of") for what in scanner.found)  # as was asked for
    scanner.found.clear()
    machine.ok("exec", "jonsmith", "-n", "--", "sh", "-c", f"sleep 0.2; : {secret}")
    assert any(what.startswith("argv") for what in scanner.found)
