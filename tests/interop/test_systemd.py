"""The recipe for systemd, with systemd's own tools; no service manager runs where this does."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.conditions.tools import tool
from tests.samples import EXAMPLE_KEY
from tests.worlds.machine import Machine

DOCS = Path(__file__).parents[2] / "docs/how-to"
PAGE = (DOCS / "services.md").read_text(encoding="utf-8")
ROTATION = (DOCS / "rotate-from-cron.md").read_text(encoding="utf-8")


def unit() -> str:
    found = re.search(r"```ini\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def app(machine: Machine) -> Machine:
    """A machine with the page's vault, at another place."""
    told = re.search(r"^# filevault --vault \S+ (init .*)$", PAGE, re.MULTILINE)
    assert told is not None
    words = told[1].replace("/run/app.key", str(machine.home / "app.key")).split()
    machine.env["FILEVAULT_DIR"] = str(machine.home / "vault")
    machine.ok(*words)
    machine.env["FILEVAULT_KEY_FILE"] = str(machine.home / "app.key")
    machine.add("app", *EXAMPLE_KEY, "--no-config")
    del machine.env["FILEVAULT_KEY_FILE"]
    return machine


def run(machine: Machine, *argv: str) -> subprocess.CompletedProcess[bytes]:
    # The host's key would lie in /var/lib/systemd: that of the test lies beside it.
    env = {
        **machine.environment({"LAUNCH": None}),
        "SYSTEMD_CREDENTIAL_SECRET": str(machine.home / "host.secret"),
    }
    return subprocess.run(argv, env=env, cwd=machine.home, capture_output=True, timeout=60)


def test_an_encrypted_credential_opens_the_vault(app: Machine) -> None:
    if os.geteuid() != 0:
        pytest.skip("systemd-creds wants to own the host's key")
    creds = tool("systemd-creds")
    told = re.search(r"^# systemd-creds (encrypt .*)$", PAGE, re.MULTILINE)
    assert told is not None
    words = told[1].replace("/run", str(app.home)).replace("/etc/filevault", str(app.home)).split()
    done = run(app, creds, *words, "--with-key=host")
    assert done.returncode == 0, done
    (app.home / "app.key").unlink()
    without = app.run("export", "app", "-n", "--region", "eu-west-1")
    assert without.status == 5
    # What systemd does when the service starts: a folder for it alone, a file of mode 0400.
    provided = app.home / "credentials"
    provided.mkdir(mode=0o700)
    source, name = str(app.home / "app.cred"), "filevault-key"
    done = run(app, creds, "decrypt", f"--name={name}", source, str(provided / name))
    assert done.returncode == 0, done
    (provided / name).chmod(0o400)
    provided.chmod(0o500)
    env = {"CREDENTIALS_DIRECTORY": str(provided)}
    shown = app.ok("exec", "app", "-n", "--region", "eu-west-1", "--", "env", env=env)
    assert f"AWS_SECRET_ACCESS_KEY={EXAMPLE_KEY[1]}" in shown.out
    renamed = run(app, creds, "decrypt", "--name=filevault-passphrase", source, "-")
    assert renamed.returncode != 0


def test_the_unit_is_one_and_names_the_credential_that_filevault_looks_for(
    app: Machine,
) -> None:
    text = unit()
    assert re.search(r"^LoadCredentialEncrypted=filevault-key:\S+$", text, re.MULTILINE)
    analyze = tool("systemd-analyze")
    program = "/usr/bin/env"
    text = text.replace("/usr/local/bin/filevault", program).replace("User=app", "User=root")
    file = app.home / "app.service"
    file.write_text(text)
    done = run(app, analyze, "verify", "--man=no", "--recursive-errors=no", str(file))
    assert b"app.service" not in done.stderr, done
    file.write_text(text.replace("LoadCredentialEncrypted", "LoadCredentialEncripted"))
    done = run(app, analyze, "verify", "--man=no", "--recursive-errors=no", str(file))
    assert b"LoadCredentialEncripted" in done.stderr, "the check checks nothing"


def test_the_unit_and_the_timer_of_the_rotation_are_sound(machine: Machine) -> None:
    analyze = tool("systemd-analyze")
    named = re.findall(r"`/etc/systemd/system/(\S+)`.*?```ini\n(.*?)```", ROTATION, re.DOTALL)
    texts: dict[str, str] = dict(named)
    assert list(texts) == ["rotate-keys.service", "rotate-keys.timer"]
    service = texts["rotate-keys.service"].replace("/usr/local/bin/filevault", "/usr/bin/env")
    texts["rotate-keys.service"] = service.replace("User=keys", "User=root")

    def verify(texts: dict[str, str]) -> bytes:
        for name, text in texts.items():
            (machine.home / name).write_text(text)
        files = [str(machine.home / name) for name in texts]
        words = (analyze, "verify", "--man=no", "--recursive-errors=no", *files)
        return run(machine, *words).stderr

    assert b"rotate-keys" not in verify(texts)
    for name, right, wrong in (
        ("rotate-keys.service", "TimeoutStopSec", "TimeoutStopSek"),
        ("rotate-keys.timer", "03:00", "33:00"),
    ):
        broken = {**texts, name: texts[name].replace(right, wrong)}
        assert name.encode() in verify(broken), "the check checks nothing"


def test_a_service_whose_folder_is_not_writable_works(app: Machine) -> None:
    provided = app.home / "credentials"
    provided.mkdir(mode=0o700)
    (app.home / "app.key").rename(provided / "filevault-key")
    app.env["CREDENTIALS_DIRECTORY"] = str(provided)
    nowhere = {"XDG_STATE_HOME": "/proc/nowhere"}
    shown = app.ok("export", "app", "-n", "--region", "eu-west-1", env=nowhere)
    assert EXAMPLE_KEY[1] in shown.out
