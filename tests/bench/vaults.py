"""Vaults of a given size for the bench, made through the program's own parts."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from filevault.backends.item_header import ItemHeader
from filevault.cli.context import Context, Runtime
from filevault.cli.open_vault import OpenVault, choose_vault, open_vault
from filevault.cli.reporter import Reporter
from filevault.config.settings import GlobalOptions, Settings
from filevault.credentials import AccessKey, Credentials
from filevault.sessions import SessionName
from filevault.system.times import format_time
from filevault.vault.item import compose
from filevault.vault.vault import Vault
from tests.fakes import FakeAws
from tests.fakes.identity_center import START_URL
from tests.worlds.login_machine import BROWSER

BIN = Path(sys.executable).parent
PASSPHRASE = "a passphrase for the bench"
REGION = "eu-west-1"


class Bench:
    """Makes users' homes; all keys are the fake's one user's."""

    def __init__(self, fake: FakeAws) -> None:
        self.fake = fake
        self._user = fake.add_user("bench")

    def long_term(self) -> dict[str, str]:
        """Return the key as variables, for programs that are not filevault."""
        return {
            "AWS_ACCESS_KEY_ID": self._user.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self._user.secret_access_key,
        }

    def user(
        self, home: Path, *, profiles: int, items: int, sessions: int, key: bool = True
    ) -> dict[str, str]:
        """Make a home with profiles p0, p1, ...; return its environment.

        `sessions` counts cached sessions; the first is p0's own and is really obtained.
        """
        home.mkdir()
        env = {
            "HOME": str(home),
            "PATH": f"{BIN}:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "AWS_ENDPOINT_URL": self.fake.url,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        if key:
            env["FILEVAULT_KEY_FILE"] = str(home / "key")
            self._run(env, "init", "--new-key-file", str(home / "key"), "--no-passphrase")
        else:
            env["FILEVAULT_PASSPHRASE"] = PASSPHRASE
            self._run(env, "init")
        (home / ".aws").mkdir()
        (home / ".aws/config").write_text(
            "".join(
                f"[profile p{number}]\nregion = {REGION}\noutput = json\n"
                f"duration_seconds = 3600\n\n"
                for number in range(profiles)
            ),
            encoding="utf-8",
        )
        self._fill(env, items, sessions)
        return env

    def signed_in(self, home: Path) -> dict[str, str]:
        """Make a home with a profile `sso` of Identity Center, signed in; return its environment.

        The AWS CLI gets the same token in a file of its own.
        """
        env = self.user(home, profiles=30, items=1, sessions=1)
        sso = self.fake.sso
        sso.assign("111122223333", "prod", "Admin")
        sso.confirm_after, sso.enforces_interval = 1, False
        with (home / ".aws/config").open("a", encoding="utf-8") as config:
            config.write(
                f"[sso-session work]\nsso_start_url = {START_URL}\nsso_region = {REGION}\n"
                f"[profile sso]\nsso_session = work\nsso_account_id = 111122223333\n"
                f"sso_role_name = Admin\nregion = {REGION}\n"
            )
        self._run(env, "sso", "login", "work")
        self._run(env, "export", "sso")
        cache = home / ".aws/sso/cache"
        cache.mkdir(parents=True)
        values = {"startUrl": START_URL, "region": REGION, "accessToken": next(iter(sso.access))}
        expires = format_time(time.time() + 3500)
        (cache / f"{hashlib.sha1(b'work').hexdigest()}.json").write_text(
            json.dumps({**values, "expiresAt": expires}), encoding="utf-8"
        )
        return env

    def logged_in(self, home: Path) -> dict[str, str]:
        """Make a home with a profile `console` that has a login session; return its environment."""
        env = self.user(home, profiles=30, items=1, sessions=1)
        self.fake.login.user = next(iter(self.fake.directory.users.values()))
        with (home / ".aws/config").open("a", encoding="utf-8") as config:
            config.write(f"[profile console]\nregion = {REGION}\n")
        self._run({**env, "BROWSER": BROWSER}, "signin", "console")
        self._run(env, "export", "console")
        return env

    def unlocked(self, env: dict[str, str]) -> dict[str, str]:
        """Unlock a home for four hours; return its environment without what opens the vault."""
        self._run(env, "unlock", "--ttl", "4h")
        return _without_key(env)

    @contextlib.contextmanager
    def in_job(self, env: dict[str, str]) -> Iterator[dict[str, str]]:
        """Unlock a home in a job with an agent of its own; yield the environment in there."""
        script = 'filevault unlock --ttl 4h >&2 && echo "$FILEVAULT_AGENT_DIR" && exec cat'
        with subprocess.Popen(
            [str(BIN / "filevault"), "agent", "--", "sh", "-c", script],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as job:
            assert job.stdin is not None
            assert job.stdout is not None
            yield {**_without_key(env), "FILEVAULT_AGENT_DIR": job.stdout.readline().strip()}
            job.stdin.close()  # which ends it

    def _run(self, env: dict[str, str], *argv: str) -> None:
        subprocess.run(
            [str(BIN / "filevault"), *argv], env=env, check=True, stdout=subprocess.DEVNULL
        )

    def _fill(self, env: dict[str, str], items: int, sessions: int) -> None:
        context = Context(Settings.capture(GlobalOptions(), dict(env)), Runtime(), Reporter())
        with open_vault(choose_vault(context), context) as opened:
            self._fill_vault(env, opened, items, sessions)

    def _fill_vault(
        self, env: dict[str, str], opened: OpenVault, items: int, sessions: int
    ) -> None:
        vault = opened.vault
        secret = AccessKey(self._user.access_key_id, self._user.secret_access_key)
        created = format_time(time.time())
        for number in range(items):
            name = f"p{number}"
            text = compose(name, secret, created=created, created_from="add")
            if number == 0 or items <= 1000:
                vault.write(name, text, created=created, created_from="add", subject="Add a key.")
            else:
                self._copy(vault, name, text, created)
        if sessions:
            self._run(env, "export", "p0")
        cache = opened.sessions()
        assert cache is not None
        for number in range(1, sessions):
            cache.store(
                SessionName(f"p{number}", "get-session-token", f"{number:032x}", f"item:p{number}"),
                Credentials("ASIA" + "X" * 16, "s" * 40, "t" * 200, int(time.time()) + 3600),
            )

    @staticmethod
    def _copy(vault: Vault, name: str, text: bytes, created: str) -> None:
        """Write an item without an fsync: 10,000 of them would take minutes."""
        header = ItemHeader("credentials", name, int(time.time()), created, "add")
        data = vault.backend.encrypt(header, text)
        path = f"{vault.folder.path}/{name}.fv"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(fd, data)
        os.close(fd)


def _without_key(env: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name != "FILEVAULT_KEY_FILE"}
