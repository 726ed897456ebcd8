"""Passphrases, agents and time limits on a machine where nobody can be asked."""

from __future__ import annotations

import os
import pty
import shutil
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from filevault.backends.item_header import ItemHeader
from filevault.backends.values import Secret
from filevault.errors import (
    FilevaultError,
    LockedError,
    NoTerminalError,
    ProgramError,
    WrongPassphraseError,
)
from tests.conditions.tools import tool
from tests.conditions.work_limits import within
from tests.samples import EXAMPLE_ITEM
from tests.worlds.file_vault import GivenSecrets, keyfile
from tests.worlds.gpg_store import PASSPHRASE

if TYPE_CHECKING:
    from pathlib import Path

    from filevault.backends.gpg.backend import GpgBackend
    from tests.worlds.gpg_store import GpgStore

PINENTRY = """#!/bin/sh
echo OK ready
while read -r line; do
  echo "$line" >> {log}
  case "$line" in
    GETPIN*) {answer} ;;
    BYE*) echo OK; exit ;;
    *) echo OK ;;
  esac
done
"""


@pytest.fixture
def locked(gpg_store: GpgStore) -> bytes:
    """An item for the key that has a passphrase; no agent knows it."""
    data = gpg_store.home.encrypt(EXAMPLE_ITEM, gpg_store.keys["locked"])
    gpg_store.home.kill_agent()
    return data


def read(backend: GpgBackend, data: bytes) -> bytes:
    return backend.decrypt("credentials", "prod", data)


def use_pinentry(scene: GpgStore, answer: str) -> Path:
    log = scene.home.path / "asked"
    program = scene.home.path / "pinentry"
    program.write_text(PINENTRY.format(log=log, answer=answer))
    program.chmod(0o700)
    scene.home.configure_agent(f"pinentry-program {program}")
    return log


@pytest.mark.timed
def test_locked_key_without_a_terminal_fails_at_once_and_says_why(
    gpg_store: GpgStore, locked: bytes
) -> None:
    log = use_pinentry(gpg_store, f"echo D {PASSPHRASE.decode()}; echo OK")
    with within(2), pytest.raises(NoTerminalError) as caught:
        read(gpg_store.backend(), locked)
    assert caught.value.exit_status == 5
    assert caught.value.message == (
        "the gpg key of item 'prod' needs its passphrase, and gpg-agent has no way to ask for it"
    )
    for way in ("--passphrase-file", "--passphrase-fd", "FILEVAULT_PASSPHRASE_FILE", "GPG_TTY"):
        assert way in (caught.value.hint or "")
    assert not log.exists()


def test_passphrase_from_a_source_opens_the_key(gpg_store: GpgStore, locked: bytes) -> None:
    source = GivenSecrets(PASSPHRASE)
    backend = gpg_store.backend(passphrase=source)
    assert read(backend, locked) == EXAMPLE_ITEM
    assert read(backend, locked) == EXAMPLE_ITEM
    assert (source.asked, source.refused) == (1, 0)


def test_passphrase_is_kept_where_the_agent_forgets_it(gpg_store: GpgStore, locked: bytes) -> None:
    source = GivenSecrets(PASSPHRASE)
    backend = gpg_store.backend(passphrase=source)
    assert read(backend, locked) == EXAMPLE_ITEM
    gpg_store.home.kill_agent()
    assert read(backend, locked) == EXAMPLE_ITEM
    assert source.asked == 1


def test_source_beats_a_pinentry_that_could_ask(gpg_store: GpgStore, locked: bytes) -> None:
    log = use_pinentry(gpg_store, "echo ERR 83886179 cancelled")
    assert (
        read(gpg_store.backend(passphrase=GivenSecrets(PASSPHRASE), terminal=True), locked)
        == EXAMPLE_ITEM
    )
    assert not log.exists()


def test_nobody_is_asked_for_a_key_without_passphrase(gpg_store: GpgStore) -> None:
    source = GivenSecrets()
    data = gpg_store.home.encrypt(EXAMPLE_ITEM, gpg_store.keys["alice"])
    assert read(gpg_store.backend(passphrase=source), data) == EXAMPLE_ITEM
    assert source.asked == 0


def test_wrong_passphrase_is_told_to_its_source(gpg_store: GpgStore, locked: bytes) -> None:
    source = GivenSecrets(b"wrong")
    with pytest.raises(WrongPassphraseError) as caught:
        read(gpg_store.backend(passphrase=source), locked)
    assert caught.value.message == "the passphrase from the test is wrong"
    assert caught.value.exit_status == 5
    assert source.refused == 1


def test_another_passphrase_is_tried_where_the_source_has_one(
    gpg_store: GpgStore, locked: bytes
) -> None:
    source = GivenSecrets(b"wrong", PASSPHRASE.decode().encode("latin-1"), PASSPHRASE)
    assert read(gpg_store.backend(passphrase=source), locked) == EXAMPLE_ITEM
    assert (source.asked, source.refused) == (3, 2)


@pytest.mark.parametrize("passphrase", [b"", b"a\nb", b"a\rb", b"a\0b"])
def test_passphrase_that_gpg_cannot_be_given_is_refused(
    gpg_store: GpgStore, locked: bytes, passphrase: bytes
) -> None:
    with pytest.raises(LockedError, match="is empty or has a line end in it"):
        read(gpg_store.backend(passphrase=GivenSecrets(passphrase)), locked)


def test_key_file_opens_no_gpg_key(gpg_store: GpgStore, locked: bytes) -> None:
    with pytest.raises(LockedError, match="opened with a passphrase, and the test gives a key"):
        read(gpg_store.backend(passphrase=GivenSecrets(keyfile(b"filevault-key-1:x"))), locked)


def test_source_that_has_nothing_speaks_for_itself(gpg_store: GpgStore, locked: bytes) -> None:
    class Empty(GivenSecrets):
        def secret(self) -> Secret:
            raise LockedError("the file is empty")

    with pytest.raises(LockedError, match="the file is empty"):
        read(gpg_store.backend(passphrase=Empty()), locked)


def test_agent_that_knows_the_passphrase_needs_no_source(
    gpg_store: GpgStore, locked: bytes
) -> None:
    assert read(gpg_store.backend(passphrase=GivenSecrets(PASSPHRASE)), locked) == EXAMPLE_ITEM
    assert read(gpg_store.backend(), locked) == EXAMPLE_ITEM


def test_forbidden_loopback_is_explained(gpg_store: GpgStore, locked: bytes) -> None:
    gpg_store.home.configure_agent("no-allow-loopback-pinentry")
    with pytest.raises(ProgramError) as caught:
        read(gpg_store.backend(passphrase=GivenSecrets(PASSPHRASE)), locked)
    assert "its loopback mode is forbidden" in caught.value.message
    assert "no-allow-loopback-pinentry" in (caught.value.hint or "")


def test_pinentry_may_ask_on_a_terminal(gpg_store: GpgStore, locked: bytes) -> None:
    log = use_pinentry(gpg_store, f"echo D {PASSPHRASE.decode()}; echo OK")
    questions: list[str] = []
    backend = gpg_store.backend(
        terminal=True, asked=lambda: questions.append("asked"), GPG_TTY="/dev/pts/77"
    )
    assert read(backend, locked) == EXAMPLE_ITEM
    assert questions == ["asked"]
    assert read(backend, locked) == EXAMPLE_ITEM  # the agent remembers it
    assert questions == ["asked"]
    assert "OPTION ttyname=/dev/pts/77" in log.read_text().splitlines()


def test_terminal_is_named_to_pinentry_where_nobody_has(gpg_store: GpgStore, locked: bytes) -> None:
    log = use_pinentry(gpg_store, f"echo D {PASSPHRASE.decode()}; echo OK")
    primary, secondary = pty.openpty()
    saved = os.dup(0)
    try:
        os.dup2(secondary, 0)
        name = os.ttyname(secondary)
        assert read(gpg_store.backend(terminal=True), locked) == EXAMPLE_ITEM
    finally:
        os.dup2(saved, 0)
        for fd in (saved, primary, secondary):
            os.close(fd)
    assert f"OPTION ttyname={name}" in log.read_text().splitlines()


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        ("echo ERR 83886179 cancelled", LockedError, "was cancelled"),
        ("echo ERR 83886142 timeout", LockedError, "was not answered in time"),
        ("echo ERR 83918950 no tty", NoTerminalError, "has no way to ask for it"),
        ("echo D wrong; echo OK", WrongPassphraseError, "wrong passphrase for the gpg key of item"),
    ],
)
def test_what_pinentry_answers_is_told(
    gpg_store: GpgStore, locked: bytes, answer: str, kind: type[FilevaultError], message: str
) -> None:
    use_pinentry(gpg_store, answer)
    with pytest.raises(kind, match=message) as caught:
        read(gpg_store.backend(terminal=True), locked)
    assert caught.value.exit_status == 5


@pytest.mark.parametrize(
    ("terminal", "kind", "message"),
    [
        (False, NoTerminalError, "has no way to ask for it"),
        # gpg 2.2 says nothing then, gpg 2.4 what the pinentry said.
        (
            True,
            LockedError,
            (
                "(gpg-agent did not get|the question for) the passphrase of item 'prod'"
                "( was cancelled)?$"
            ),
        ),
    ],
)
def test_reason_is_told_where_gpg_conf_silences_it(
    gpg_store: GpgStore, locked: bytes, terminal: bool, kind: type[FilevaultError], message: str
) -> None:
    use_pinentry(gpg_store, "echo ERR 83886179 cancelled")
    (gpg_store.home.path / "gpg.conf").write_text("quiet\n")
    with pytest.raises(kind, match=message):
        read(gpg_store.backend(terminal=terminal), locked)
    with pytest.raises(WrongPassphraseError):
        read(gpg_store.backend(passphrase=GivenSecrets(b"wrong")), locked)
    assert read(gpg_store.backend(passphrase=GivenSecrets(PASSPHRASE)), locked) == EXAMPLE_ITEM


def test_missing_pinentry_is_told(gpg_store: GpgStore, locked: bytes) -> None:
    gpg_store.home.configure_agent("pinentry-program /nonexistent/pinentry")
    with pytest.raises(NoTerminalError, match="has no way to ask"):
        read(gpg_store.backend(terminal=True), locked)


@pytest.mark.timed
def test_time_limit_ends_gpg_and_says_so(gpg_store: GpgStore, locked: bytes) -> None:
    log = use_pinentry(gpg_store, "read -r never")
    with within(2), pytest.raises(ProgramError) as caught:
        read(gpg_store.backend(terminal=True, timeout=0.5), locked)
    assert caught.value.message == "gpg did not end within 0.5 seconds and was killed"
    assert "GETPIN" in log.read_text()
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert not [
        line for line in running.splitlines() if f"{tool('gpg')} " in line and "--decrypt" in line
    ]


def test_user_who_gave_gpg_a_passphrase_file_is_served(
    gpg_store: GpgStore, locked: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "passphrase"
    file.write_bytes(PASSPHRASE + b"\n")
    options = f"--pinentry-mode loopback --passphrase-file {file}"
    assert read(gpg_store.backend(PASSWORD_STORE_GPG_OPTS=options), locked) == EXAMPLE_ITEM


def test_agent_that_cannot_start_is_explained(gpg_store: GpgStore) -> None:
    gpg_store.write_ids("alice")
    data = gpg_store.home.encrypt(EXAMPLE_ITEM, gpg_store.keys["alice"])
    long = gpg_store.home.path / ("d" * 100)
    long.mkdir(mode=0o700)
    shutil.copy(gpg_store.home.path / "pubring.kbx", long)
    shutil.copytree(gpg_store.home.path / "private-keys-v1.d", long / "private-keys-v1.d")
    if os.path.isdir(f"/run/user/{os.getuid()}"):
        pytest.skip("the agent's socket lies in /run/user here, whatever its home")
    with pytest.raises(ProgramError) as caught:
        read(gpg_store.backend(GNUPGHOME=str(long)), data)
    assert caught.value.message == (
        f"gpg cannot start its agent, which keeps the secret keys: the path '{long}' is too long "
        "for its socket"
    )
    assert "GNUPGHOME" in (caught.value.hint or "")


READ_ONLY = """
import sys
from filevault.backends.item_header import ItemHeader
from filevault.backends.gpg.backend import GpgBackend
from filevault.errors import ProgramError
from filevault.system.files import Folder
from tests.worlds.file_vault import GivenSecrets, parts

home, store, data, path = sys.argv[1:]
environment = {"PATH": path, "GNUPGHOME": home, "HOME": home}
given = parts(Folder.open(store), GivenSecrets(), environment=lambda: environment)
backend = GpgBackend.open(given._replace(named_secrets=lambda request: None))
try:
    backend.decrypt("credentials", "prod", open(data, "rb").read())
except ProgramError as error:
    print(error.message)
print(len(backend.encrypt(ItemHeader("credentials", "prod", 1, ""), b"text")) > 100)
"""


def test_read_only_home_of_gpg_is_explained_and_still_encrypts(
    gpg_store: GpgStore, tmp_path: Path
) -> None:
    unshare = tool("unshare")
    if os.path.isdir(f"/run/user/{os.getuid()}"):
        pytest.skip("the agent's socket lies in /run/user here, whatever its home")
    gpg_store.write_ids("alice")
    (tmp_path / "item").write_bytes(gpg_store.home.encrypt(EXAMPLE_ITEM, gpg_store.keys["alice"]))
    gpg_store.home.kill_agent()
    home = gpg_store.home.path
    mounted = f"mount --bind {home} {home} && mount -o remount,ro,bind {home}"
    if subprocess.run([unshare, "-m", "sh", "-c", mounted], capture_output=True).returncode != 0:
        pytest.skip("nobody may mount here")
    done = subprocess.run(
        [
            *(unshare, "-m", "sh", "-c", f'{mounted} && exec "$@"', "sh"),
            *(sys.executable, "-c", READ_ONLY, str(home), str(gpg_store.store)),
            *(str(tmp_path / "item"), os.environ["PATH"]),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        f"gpg cannot start its agent, which keeps the secret keys: '{home}' cannot be written to",
        "True",
    ]


SPY = """#!/bin/sh
{{
  echo "call $*"
  ls /proc/self/fd | tr '\\n' ' ' | sed 's/^/fds /'
  echo
  tr '\\0' '\\n' < /proc/self/environ | sed 's/^/env /'
}} >> {log}
exec {gpg} "$@"
"""


def test_gpg_sees_no_secret_no_descriptor_and_nothing_but_what_it_needs(
    gpg_store: GpgStore, tmp_path: Path
) -> None:
    folder, log = tmp_path / "bin", tmp_path / "log"
    folder.mkdir()
    spy = folder / "gpg"
    spy.write_text(SPY.format(log=log, gpg=tool("gpg")))
    spy.chmod(spy.stat().st_mode | stat.S_IXUSR)
    gpg_store.write_ids("locked", "bob@example.com")
    leak = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(leak, True)
    try:
        backend = gpg_store.backend(
            passphrase=GivenSecrets(PASSPHRASE), PATH=f":.:relative:{folder}:{os.environ['PATH']}"
        )
        data = backend.encrypt(ItemHeader("credentials", "prod", 1, ""), EXAMPLE_ITEM)
        gpg_store.home.forget_secret("Bob <bob@example.com>")
        assert read(backend, data) == EXAMPLE_ITEM
    finally:
        os.close(leak)
    seen = log.read_bytes()
    assert PASSPHRASE not in seen
    assert PASSPHRASE.decode().encode("latin-1") not in seen
    assert b"wJalrXUtnFEMI" not in seen
    lines = seen.decode().splitlines()
    names = {line.split("=")[0] for line in lines if line.startswith("env ")}
    assert names <= {
        f"env {name}" for name in (*backend_variables(gpg_store), "PWD", "_", "OLDPWD")
    }
    # ls adds one descriptor for the folder that it lists
    assert {tuple(line.split()[1:]) for line in lines if line.startswith("fds ")} == {
        ("0", "1", "2", "3")
    }
    calls = [line.split() for line in lines if line.startswith("call ")]
    for call in calls:
        assert not {"-o", "--output"} & set(call)
        if "--decrypt" in call or "--encrypt" in call or "--list-keys" in call:
            assert {
                "--no-encrypt-to",
                "--compress-algo=none",
                "--no-auto-key-locate",
                "--no-auto-key-retrieve",
                "--disable-dirmngr",
                "--no-auto-check-trustdb",
                "--max-output=1048576",
            } <= set(call)
    trusting = [call for call in calls if "--trust-model" in call]
    assert len(trusting) == 1
    named = {trusting[0][at + 1] for at, word in enumerate(trusting[0]) if word == "--recipient"}
    assert named == {gpg_store.keys["locked"], gpg_store.keys["bob"]}


def backend_variables(scene: GpgStore) -> set[str]:
    return set(scene.environment)
