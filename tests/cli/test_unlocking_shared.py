"""What opens `pass` and `age` vaults, from every source, and what is said where it does not.

A limit of ten seconds stands for "at once": what hangs would take minutes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conditions.tools import tool
from tests.samples import JON, KEY_ID, LINES, SECRET
from tests.worlds.age_store import (
    PLUGIN_IDENTITY,
    PLUGIN_RECIPIENT,
    install_plugin,
    new_identity,
    protect,
    ssh_key,
)
from tests.worlds.machine import LAUNCHER, ON_STDERR, Machine, ProcessResult, TypedAnswer
from tests.worlds.pass_store import GpgHome, pass_machine

AT_ONCE = 10.0
PASSPHRASE = "pässwörd with blanks"
PLAIN = ("--stdin", "--no-config")
EXPORT = ("export", "work", "-n")


def timed(machine: Machine, *argv: str, **options: object) -> ProcessResult:
    """Run filevault, which must end at once, and print how long it took."""
    start = time.monotonic()
    result = machine.run(*argv, timeout=AT_ONCE, **options)  # type: ignore[arg-type]
    print(f"{' '.join(argv[:2])}: {time.monotonic() - start:.2f} s")
    return result


def refused(result: ProcessResult, status: int, *texts: str) -> None:
    """One error line, at most one hint, no secret."""
    assert (result.status, result.out) == (status, ""), result
    lines = result.err.splitlines()
    assert lines[0].startswith("filevault: error: "), result.err
    assert len(lines) <= 2, result.err
    for text in texts:
        assert text in result.err
    assert PASSPHRASE not in result.err


class Descriptor:
    """A pipe that holds a text."""

    def __init__(self, text: str) -> None:
        self.fd, writer = os.pipe()
        os.write(writer, text.encode())
        os.close(writer)

    def __enter__(self) -> int:
        return self.fd

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


def private(path: Path, data: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    path.chmod(0o600)
    return path


def from_every_source(
    machine: Machine, what: str, before: Callable[[], None] = lambda: None
) -> None:
    """Require that a passphrase opens the vault wherever it comes from, and a wrong one not.

    `what` is what it opens. `before` is called before each run: gpg-agent remembers what it was
    given once.
    """
    secret, wrong = PASSPHRASE, "not the passphrase"
    right = private(machine.home / "secrets/filevault-passphrase", secret + "\n")
    for env in (
        {"FILEVAULT_PASSPHRASE": secret},
        {"FILEVAULT_PASSPHRASE_FILE": str(right)},
        {"FILEVAULT_PASSPHRASE_COMMAND": f"cat {right}"},
        {"CREDENTIALS_DIRECTORY": str(right.parent)},
    ):
        before()
        assert KEY_ID in machine.ok(*EXPORT, env=env).out, env
    before()
    with Descriptor(secret + "\n") as fd:
        shown = machine.ok("exec", "work", "-n", "--passphrase-fd", str(fd), "--", "sh", "-c",
                           f"env; test ! -e /proc/self/fd/{fd}", pass_fds=(fd,))  # fmt: skip
    assert KEY_ID in shown.out
    assert secret not in shown.everything
    before()
    with Descriptor(secret + "\n") as fd:
        env = {"FILEVAULT_PASSPHRASE_FD": str(fd)}
        assert KEY_ID in machine.ok(*EXPORT, env=env, pass_fds=(fd,)).out
    before()
    with Descriptor(wrong + "\n") as fd:
        refused(timed(machine, *EXPORT, "--passphrase-fd", str(fd), pass_fds=(fd,)), 5, "pass")
    refused(timed(machine, *EXPORT, env={"FILEVAULT_PASSPHRASE": wrong}), 5, f"opens no {what}")
    two = {"FILEVAULT_PASSPHRASE": secret, "FILEVAULT_PASSPHRASE_FILE": str(right)}
    refused(timed(machine, *EXPORT, env=two), 2, "only one")


# gpg


@pytest.fixture(scope="module")
def locked_gpg() -> Iterator[GpgHome]:
    """A gpg home whose key has a passphrase with blanks and letters beyond ASCII."""
    tool("gpg")
    home = GpgHome()
    home.make_key(JON, PASSPHRASE)
    yield home
    home.close()


@pytest.fixture
def locked_vault(tmp_path: Path, locked_gpg: GpgHome) -> Machine:
    """A vault for that key, while the agent remembers nothing."""
    machine = pass_machine(tmp_path / "home", locked_gpg)
    machine.ok("init", "--recipient", JON)
    machine.ok("add", "work", *PLAIN, stdin=LINES)
    locked_gpg.forget_passphrases()
    return machine


def test_a_cold_agent_without_a_terminal_is_an_error_that_says_so(locked_vault: Machine) -> None:
    texts = ("the gpg key of item 'work' needs its passphrase", "--passphrase-fd")
    refused(timed(locked_vault, *EXPORT), 5, *texts)
    refused(timed(locked_vault, "exec", "work", "-n", "--", "true"), 125, *texts)
    before = (locked_vault.home / ".password-store/aws/work.gpg").read_bytes()
    refused(timed(locked_vault, "add", "work", *PLAIN, "--force", stdin=LINES), 5, *texts)
    assert (locked_vault.home / ".password-store/aws/work.gpg").read_bytes() == before
    # Public keys are all that writing and listing take.
    timed(locked_vault, "add", "two", *PLAIN, stdin=LINES)
    assert timed(locked_vault, "list", "--credentials").out == "two\nwork\n"


def test_a_gpg_passphrase_comes_from_every_source(
    locked_vault: Machine, locked_gpg: GpgHome
) -> None:
    from_every_source(locked_vault, "gpg key of yours", locked_gpg.forget_passphrases)
    locked_gpg.forget_passphrases()
    with Descriptor(PASSPHRASE + "\n") as fd:
        options = ("--force", "--passphrase-fd", str(fd))
        locked_vault.ok("add", "work", "--env", "--no-config", *options, pass_fds=(fd,),
               env={"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET})  # fmt: skip


def test_a_warm_agent_needs_nothing(locked_vault: Machine, locked_gpg: GpgHome) -> None:
    # As a person's agent is after they have typed the passphrase once.
    argv = ["gpg", "--batch", "--pinentry-mode", "loopback", "--passphrase-fd", "0", "-d"]
    file = str(locked_vault.home / ".password-store/aws/work.gpg")
    subprocess.run(
        [*argv, file],
        env=locked_vault.environment(locked_gpg.env()),
        input=PASSPHRASE.encode(),
        capture_output=True,
        check=True,
    )
    assert KEY_ID in locked_vault.ok(*EXPORT).out
    locked_gpg.forget_passphrases()
    assert locked_vault.run(*EXPORT).status == 5


def test_the_agents_own_question_is_answered_on_the_terminal(locked_vault: Machine) -> None:
    tool("pinentry-curses")
    locked_vault.env["TERM"] = "xterm"
    # The agent is another process, and told by name which terminal that is: that of stderr.
    locked_vault.launcher = (*ON_STDERR, *locked_vault.launcher)
    answers = [TypedAnswer("assphrase:", PASSPHRASE + "\r")]
    result = locked_vault.on_terminal(*EXPORT, answers=answers)
    assert KEY_ID in result.out, result
    assert PASSPHRASE not in result.tty


# age


def age_machine(home: Path, *recipients: str) -> Machine:
    tool("age")
    machine = Machine(home)
    machine.env["FILEVAULT_BACKEND"] = "age"
    words = [word for each in recipients for word in ("--recipient", each)]
    machine.ok("init", *words)
    machine.ok("add", "work", *PLAIN, stdin=LINES)
    return machine


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    """An identity file, outside of any home."""
    return tmp_path / "identity"


def opens(machine: Machine, path: Path, **env: str) -> None:
    """Require that an identity file opens the vault by option and by variable."""
    assert KEY_ID in machine.ok(*EXPORT, "--identity", str(path), env=env).out
    env["FILEVAULT_AGE_IDENTITY_FILE"] = str(path)
    assert KEY_ID in machine.ok(*EXPORT, env=env).out


@pytest.mark.parametrize("armor", [False, True], ids=["binary", "armored"])
def test_a_protected_identity_file(tmp_path: Path, identity: Path, *, armor: bool) -> None:
    machine = age_machine(tmp_path / "home", new_identity(identity))
    own = machine.home / ".config/filevault/identities"
    data = protect(identity.read_bytes(), PASSPHRASE.encode())
    if armor:
        import base64
        import textwrap

        body = "\n".join(textwrap.wrap(base64.b64encode(data).decode(), 64))
        head, foot = (f"-----{word} AGE ENCRYPTED FILE-----" for word in ("BEGIN", "END"))
        data = f"{head}\n{body}\n{foot}\n".encode()
    private(own, data)
    shown = timed(machine, *EXPORT)
    refused(shown, 5, "no terminal to ask for the passphrase", "--passphrase-fd")
    refused(timed(machine, "exec", "work", "--", "true"), 125)
    assert timed(machine, "add", "two", *PLAIN, stdin=LINES).status == 0
    from_every_source(machine, "age identity of yours")
    answers = [TypedAnswer("assphrase for", "a typo"), TypedAnswer("assphrase for", PASSPHRASE)]
    result = machine.on_terminal(*EXPORT, answers=answers)
    assert KEY_ID in result.out
    assert PASSPHRASE not in result.tty


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_ssh_keys_open_a_vault_with_and_without_a_passphrase(
    tmp_path: Path, identity: Path, kind: str
) -> None:
    key, public = ssh_key(kind)
    locked, locked_public = ssh_key(kind, PASSPHRASE)
    machine = age_machine(tmp_path / "home", public, locked_public)
    opens(machine, private(identity, key))
    private(identity, locked)
    refused(timed(machine, *EXPORT, "--identity", str(identity)), 5, "passphrase")
    opens(machine, identity, FILEVAULT_PASSPHRASE=PASSPHRASE)
    wrong = {"FILEVAULT_PASSPHRASE": "not the passphrase"}
    refused(timed(machine, *EXPORT, "--identity", str(identity), env=wrong), 5, "PASSPHRASE")
    file = str(machine.vault / "work.age")
    private(identity, key)
    shown = subprocess.run(["age", "-d", "-i", identity, file], capture_output=True, check=True)
    assert shown.stdout.startswith(SECRET.encode())


def test_one_of_several_identities_opens_the_vault(tmp_path: Path, identity: Path) -> None:
    recipient = new_identity(identity)
    machine = age_machine(tmp_path / "home", recipient)
    others = []
    for number in range(3):
        new_identity(tmp_path / f"other{number}")
        others.append((tmp_path / f"other{number}").read_text())
    private(identity, others[0] + others[1] + identity.read_text() + others[2])
    opens(machine, identity)
    private(identity, "".join(others))
    refused(timed(machine, *EXPORT, "--identity", str(identity)), 5, "no identity", "'work'")


def test_an_identity_comes_from_every_source(tmp_path: Path, identity: Path) -> None:
    machine = age_machine(tmp_path / "home", new_identity(identity))
    secret = identity.read_text().splitlines()[-1]
    refused(timed(machine, *EXPORT), 5, "there is no age identity", "FILEVAULT_AGE_IDENTITY")
    opens(machine, identity)
    provided = private(tmp_path / "provided/filevault-age-identity", secret + "\n")
    for env in (
        {"FILEVAULT_AGE_IDENTITY": secret},
        {"FILEVAULT_AGE_IDENTITY_COMMAND": f"cat {identity}"},
        {"PASSAGE_IDENTITIES_FILE": str(identity)},
        {"CREDENTIALS_DIRECTORY": str(provided.parent)},
    ):
        result = machine.run("exec", "work", "-n", "--", "env", env=env)
        assert KEY_ID in result.out, (env, result)
        assert secret not in result.everything
        assert "FILEVAULT_AGE" not in result.out
    with Descriptor(identity.read_text()) as fd:
        env = {"FILEVAULT_AGE_IDENTITY_FD": str(fd)}
        assert KEY_ID in machine.ok(*EXPORT, env=env, pass_fds=(fd,)).out
    two = {"FILEVAULT_AGE_IDENTITY": secret, "FILEVAULT_AGE_IDENTITY_FILE": str(identity)}
    refused(timed(machine, *EXPORT, env=two), 2, "only one")
    identity.chmod(0o644)
    refused(timed(machine, *EXPORT, "--identity", str(identity)), 5, "chmod")


def test_a_passphrase_that_nothing_needs_disturbs_nothing(tmp_path: Path, identity: Path) -> None:
    machine = age_machine(tmp_path / "home", new_identity(identity))
    opens(machine, identity, FILEVAULT_PASSPHRASE="of something else")


def test_what_cannot_be_read_is_named(tmp_path: Path, identity: Path) -> None:
    recipient = new_identity(identity)
    machine = age_machine(tmp_path / "home", recipient)
    for text, *said in (
        ("AGE-SECRET-KEY-PQ-1QQQQQQQQ", "post-quantum identity", "pyrage"),
        (PLUGIN_IDENTITY, "age-plugin-toy"),
        ("AGE-SECRET-KEY-1QQQQQQQQQQQ", "changed or cut short"),
        (recipient, "is a recipient, not an identity"),
        ("# nothing but a comment", "contains no identity"),
        ("", "contains no identity"),
    ):
        wrong = private(tmp_path / "wrong", text + "\n")
        refused(timed(machine, *EXPORT, "--identity", str(wrong)), 5, *said)


def test_a_plugin_serves_where_it_is_installed_and_is_named_where_not(
    tmp_path: Path, identity: Path
) -> None:
    runs = install_plugin(tmp_path / "bin")
    machine = Machine(tmp_path / "home")
    path = machine.env["PATH"]
    machine.env |= {"FILEVAULT_BACKEND": "age", "PATH": f"{tmp_path}/bin:{path}"}
    machine.ok("init", "--recipient", PLUGIN_RECIPIENT)
    machine.ok("add", "work", *PLAIN, stdin=LINES)
    private(identity, PLUGIN_IDENTITY + "\n")
    assert KEY_ID in machine.ok(*EXPORT, "--identity", str(identity)).out
    assert "identity" in runs.read_text()
    machine.env["PATH"] = path
    refused(timed(machine, *EXPORT, "--identity", str(identity)), 5, "age-plugin-toy")
    result = timed(machine, "add", "two", *PLAIN, stdin=LINES)
    refused(result, 7, "age-plugin-toy")
    assert not (machine.vault / "two.age").exists()


def test_without_pyrage_the_command_that_installs_it_is_named(
    tmp_path: Path, identity: Path
) -> None:
    machine = age_machine(tmp_path / "home", new_identity(identity))
    block = (
        "import runpy, sys; sys.modules['pyrage'] = None; sys.argv = sys.argv[1:]; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    machine.launcher = (sys.executable, "-c", block, LAUNCHER)
    for argv in (
        (*EXPORT, "--identity", str(identity)),
        ("add", "two", *PLAIN),
    ):
        refused(timed(machine, *argv, stdin=LINES), 7, "-m pip install pyrage")
    assert machine.ok("list", "--credentials").out == "work\n"
