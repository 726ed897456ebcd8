"""Files that somebody else may have written: whatever they hold, a clean error, soon and cheaply.

Every field of every file is replaced by everything that a field should not be, and the real
command line reads it. 3 is another version or a configuration that means nothing, 5 a vault
that stays locked, 6 damage, 7 the file system's refusal, 10 another vault than the one known.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filevault.backends.file import keyslots
from tests.fakes import FakeAws
from tests.fakes.remote import RemoteFake
from tests.faults import hostile
from tests.samples import ONE_KEY
from tests.worlds.aws_machine import REGION, SERIAL
from tests.worlds.in_process import InProcess, InProcessResult, Tree, calm
from tests.worlds.machine import PASSPHRASE, ROOT, Machine

STATUSES = {0, 3, 5, 6, 7, 10}
READ = ("export", "one", "--no-session")
SESSION = ("--prompt", "none", "export", "user")
LISTS = (("list",), ("list", "--json"))
RECIPIENTS = ("recipients", "list")
COMMANDS = (READ, *LISTS, RECIPIENTS, SESSION)


class Victim:
    """A machine with a vault, two items and a kept session, whose files are replaced."""

    def __init__(self, home: Path) -> None:
        self.machine = Machine(home).with_vault()
        with FakeAws() as aws:
            user = aws.add_user("jonsmith", mfa=True)
            self.machine.write_config(
                f"[profile user]\nregion = {REGION}\nendpoint_url = {aws.url}\n"
                f"mfa_serial = {SERIAL}\n"
            )
            self.machine.add("user", user.access_key_id, user.secret_access_key, "--no-config")
            self.machine.add("one", *ONE_KEY, "--no-config")
            code = RemoteFake(aws.url).totp(SERIAL)
            self.session = self.machine.ok("export", "user", "--mfa-token", code).out
            self.secrets = {*aws.issued_secrets(), ONE_KEY[1], PASSPHRASE}
        self.inside = InProcess(self.machine.env)
        self.tree = Tree(self.machine.home)
        self.right = {READ: self.inside.run(*READ).out, SESSION: self.session}
        assert self.inside.run(*SESSION).out == self.session

    def file(self, pattern: str) -> Path:
        """Return the one file below the home that a pattern fits."""
        (path,) = self.machine.home.glob(pattern)
        return path

    def try_all(self, statuses: set[int] = STATUSES, *, changed: str = "") -> list[InProcessResult]:
        """Run the commands that read, judge each, and put everything back.

        Where only one file was changed, those that never look at it are left out.
        """
        ends = []
        try:
            for argv in LOOKING.get(changed, COMMANDS):
                ended = self.inside.run(*argv)
                calm(ended, secrets=self.secrets)
                assert ended.status in statuses, (argv, ended)
                if ended.status == 0 and argv in self.right:
                    assert ended.out == self.right[argv], (argv, ended)
                ends.append(ended)
        finally:
            self.tree.restore()
        return ends


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Victim:
    return Victim(tmp_path_factory.mktemp("victim") / "home")


ITEM = ".local/share/filevault/one.fv"
USER = ".local/share/filevault/user.fv"
SLOT = ".local/share/filevault/.filevault/slots/*.slot"
VAULT = ".local/share/filevault/.filevault/vault.json"
TRUST = ".local/state/filevault/*/trust.json"
SESSION_KEY = ".local/state/filevault/*/session-key.fv"
KEPT = ".local/state/filevault/*/sessions/user/*.fvs"

LOOKING = {
    ITEM: (READ, *LISTS),
    USER: (*LISTS, SESSION),
    SLOT: (READ, RECIPIENTS, SESSION),
    SESSION_KEY: (SESSION,),
    KEPT: (SESSION,),
}
"""The commands that look at a file; all of them at one that is not here."""

_ENVELOPE = ("format", "vault", "key", "kind", "name", "generation", "created", "created_from")
_SLOT = ("format", "vault", "master", "type", "label", "created", "salt", "check")
FIELDS = {
    ITEM: (*_ENVELOPE, "source", "more"),
    SLOT: (*_SLOT, "memory_kib", "iterations", "lanes", "more"),
    VAULT: ("format", "vault", "master", "commit", "more"),
    SESSION_KEY: (*_ENVELOPE, "source", "more"),
    KEPT: (*_ENVELOPE, "source", "more"),
    TRUST: ("format", "backend", "vault", "commit", "last_slot", "items", "more"),
}
EVERY_FIELD = [(file, field) for file, fields in FIELDS.items() for field in fields]


def test_a_command_that_is_left_out_for_a_file_never_looks_at_it(
    victim: Victim, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it runs as if that file were as it was, whatever the file contains."""
    seen: set[str] = set()

    def watched(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *args: Any, **named: Any) -> Any:
            if not isinstance(path, int):
                seen.add(Path(os.fsdecode(path)).name)
            return real(path, *args, **named)

        return call

    for owner, calls in ((os, ("open", "stat", "lstat", "readlink", "scandir")), (io, ("open",))):
        for name in calls:
            monkeypatch.setattr(owner, name, watched(getattr(owner, name)))
    monkeypatch.setattr("builtins.open", io.open)
    names = {pattern: victim.file(pattern).name for pattern in LOOKING} | {SLOT: "slots"}
    for argv in COMMANDS:
        seen.clear()
        victim.inside.run(*argv)
        looking = {pattern for pattern, name in names.items() if name in seen}
        assert looking == {pattern for pattern, commands in LOOKING.items() if argv in commands}
    monkeypatch.undo()
    victim.tree.restore()


def split(data: bytes) -> tuple[dict[str, Any], bytes]:
    line, newline, body = data.partition(b"\n")
    return json.loads(line), newline + body


def put(victim: Victim, pattern: str, data: bytes) -> None:
    """Replace a file; a slot gets the name that belongs to its content."""
    path = victim.file(pattern)
    path.unlink()  # ext4 waits for the disk where a file is truncated and written anew
    if path.suffix == ".slot":
        path = path.with_name(keyslots.file_name(data))
    path.write_bytes(data)


def original(victim: Victim, pattern: str) -> bytes:
    return victim.file(pattern).read_bytes()


@pytest.mark.parametrize(("pattern", "field"), EVERY_FIELD)
def test_any_value_of_any_field_is_refused_cleanly(
    victim: Victim, pattern: str, field: str
) -> None:
    fields, body = split(original(victim, pattern))
    for name, text in hostile.texts(fields, field):
        put(victim, pattern, text + body)
        try:
            victim.try_all(changed=pattern)
        except AssertionError as error:
            raise AssertionError(f"{field}: {name}") from error


@pytest.mark.parametrize("field", ["generation", "sha256", "created", "created_from", "more"])
def test_any_value_of_what_was_seen_of_an_item(victim: Victim, field: str) -> None:
    content = json.loads(original(victim, TRUST))
    seen = content["items"]["one"]
    for name, text in hostile.texts(seen, field):
        whole = json.dumps({**content, "items": {"one": "HERE"}}).replace('"HERE"', text.decode())
        put(victim, TRUST, whole.encode())
        try:
            victim.try_all(changed=TRUST)
        except AssertionError as error:
            raise AssertionError(f"{field}: {name}") from error


def _profile(examples: int) -> Callable[[Any], Any]:
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def _some_field(victim: Victim, data: st.DataObject) -> None:
    pattern, field = data.draw(st.sampled_from(EVERY_FIELD))
    fields, body = split(original(victim, pattern))
    put(victim, pattern, hostile.replaced(fields, field, data.draw(hostile.JSON)) + body)
    victim.try_all(changed=pattern)


def _some_bytes(victim: Victim, data: st.DataObject) -> None:
    pattern = data.draw(st.sampled_from(sorted(FIELDS)))
    content = bytearray(original(victim, pattern))
    for _ in range(data.draw(st.integers(1, 4))):
        where = data.draw(st.integers(0, len(content)))
        content[where : where + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    put(victim, pattern, bytes(content))
    victim.try_all(changed=pattern)


_NORMAL = 60
_TORTURE = 20 * _NORMAL


@_profile(_NORMAL)
@given(data=st.data())
def test_any_json_in_any_field(victim: Victim, data: st.DataObject) -> None:
    _some_field(victim, data)


@pytest.mark.torture
@_profile(_TORTURE)
@given(data=st.data())
def test_much_more_json_in_any_field(victim: Victim, data: st.DataObject) -> None:
    _some_field(victim, data)


@_profile(_NORMAL)
@given(data=st.data())
def test_any_damage_to_any_file(victim: Victim, data: st.DataObject) -> None:
    _some_bytes(victim, data)


@pytest.mark.torture
@_profile(_TORTURE)
@given(data=st.data())
def test_much_more_damage_to_any_file(victim: Victim, data: st.DataObject) -> None:
    _some_bytes(victim, data)


@pytest.mark.parametrize("pattern", FIELDS)
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"{}\n",
        b"[]\n",
        b"null\n",
        b"\xff\xfe{\x00}\x00\n",
        b"\xef\xbb\xbf{}\n",
        b'{"format":"filevault/2"}\n',
        b'{"format":"filevault/2"' + b"\x00" * 5000,
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b"9" * 4090 + b"\n" + bytes(300),
        bytes(3 << 20),
    ],
    ids=lambda data: f"{data[:12]!r}x{len(data)}",
)
def test_any_other_file_in_its_place(victim: Victim, pattern: str, data: bytes) -> None:
    put(victim, pattern, data)
    victim.try_all(changed=pattern)


@pytest.mark.parametrize("pattern", [*FIELDS, USER])
def test_a_file_cut_anywhere(victim: Victim, pattern: str) -> None:
    data = original(victim, pattern)
    for end in range(0, len(data), max(1, len(data) // 25)):
        put(victim, pattern, data[:end])
        victim.try_all(changed=pattern)


@pytest.mark.parametrize("pattern", [KEPT, SESSION_KEY])
def test_a_damaged_session_is_as_good_as_none(victim: Victim, pattern: str) -> None:
    data = original(victim, pattern)
    put(victim, pattern, data[:-1] + bytes([data[-1] ^ 1]))
    *_, ended = victim.try_all(changed=pattern)
    assert ended.status == 5
    assert "needs a code" in ended.err


def test_a_huge_sparse_file_is_not_read(victim: Victim) -> None:
    for pattern in FIELDS:
        if pattern == SLOT:
            continue  # its name would be that of its content
        path = victim.file(pattern)
        data = path.read_bytes()
        path.unlink()
        with path.open("wb") as file:
            file.truncate(1 << 40)
        try:
            for argv in COMMANDS:
                ended = victim.inside.run(*argv)
                calm(ended, secrets=victim.secrets)
                assert ended.status in STATUSES, (argv, ended)
        finally:
            path.unlink()
            path.write_bytes(data)
            victim.tree.restore()


# What Argon2id may cost

_MEASURED = """
import resource, sys, time
from tests.launch import launcher
from filevault.cli import main
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.process_time()
status = main(sys.argv[1:], launcher.runtime({}))
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(f"{time.process_time() - start} {grown}", file=sys.stderr)
sys.exit(status)
"""
BOMBS = {
    "memory": {"memory_kib": 2**40},
    "most memory": {"memory_kib": 2**53 - 1},
    "iterations": {"iterations": 10**9},
    "lanes": {"lanes": 10**6},
    "all": {"memory_kib": 2**40, "iterations": 10**9, "lanes": 10**6},
    "product": {"memory_kib": 2**20, "iterations": 16},
    "nothing": {"memory_kib": 0, "iterations": 0, "lanes": 0},
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_slot_that_asks_for_too_much_is_refused_before_anything_is_derived(
    victim: Victim, bomb: str
) -> None:
    fields, body = split(original(victim, SLOT))
    put(victim, SLOT, json.dumps({**fields, **BOMBS[bomb]}).encode() + body)
    try:
        done = subprocess.run(
            [sys.executable, "-c", _MEASURED, *READ],
            env={**victim.machine.env, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=20,
            cwd=ROOT,
        )
    finally:
        victim.tree.restore()
    *said, measured = done.stderr.splitlines()
    assert done.returncode == 6, done
    assert said[0].startswith("filevault: error: keyslot "), said
    assert "asks for" in said[0]
    seconds, grown = map(float, measured.split())
    assert seconds < 2
    assert grown < 100 << 10  # KiB


# Configuration

CONFIG = ".config/filevault/config.toml"
TOML = {
    "nothing": "",
    "empty": '""',
    "true": "true",
    "number": "1",
    "huge": "9" * 4000,
    "beyond any number": "9" * 20_000,
    "hex": "0x" + "f" * 5000,
    "fraction": "1e999999",
    "infinite": "inf",
    "time": "2026-11-23T21:45:13Z",
    "no time": "2026-13-99T99:99:99Z",
    "list": "[]",
    "table": "{}",
    "deep lists": "[" * 30_000,
    "deep closed": "[" * 2000 + "]" * 2000,
    "deep tables": "{a=" * 30_000,
    "word": '"jonsmith"',
    "NUL": '"/tmp/a\\u0000b"',
    "raw NUL": '"/tmp/a\x00b"',
    "surrogate": '"\\ud800"',
    "escape sequence": '"/\\u001b[2J\\u202e"',
    "new line": '"/a\\nfilevault: error: b"',
    "long": f'"/{"A" * 60_000}"',
    "long path": f'"/{"A/" * 20_000}"',
    "stranger": '"~nobody/x"',
    "a file": '"/etc/passwd"',
    "a folder": '"/etc"',
    "a device": '"/dev/null"',
    "kernel": '"/proc/self"',
    "unclosed": '"abc',
}


@pytest.mark.parametrize(
    "field", ["backend", "vault", "strict", "prompt", "cache_roles", "more", "a.b.c", ""]
)
def test_any_value_in_config_toml(victim: Victim, field: str) -> None:
    path = victim.machine.home / CONFIG
    path.parent.mkdir(parents=True, exist_ok=True)
    prompted = ("export", "user", "--refresh")
    for name, value in TOML.items():
        path.write_text(f"{field} = {value}\n", encoding="utf-8")
        try:
            # Only what reads: the paths lead out of the home.
            for argv in (READ, ("list",), ("recipients", "list"), prompted):
                ended = victim.inside.run(*argv)
                calm(ended, secrets=victim.secrets)
                assert ended.status in {*STATUSES, 4}, (argv, ended)
        except AssertionError as error:
            raise AssertionError(f"{field}: {name}") from error
    victim.tree.restore()


@pytest.mark.parametrize(
    "data",
    [b"\xff\xfe", b"\x00", b"[" * 30_000, b"a" * 100_000, b"a.b.c" * 3000, b"[a]\n[a]\n", b"\r"],
    ids=lambda data: f"{data[:5]!r}x{len(data)}",
)
def test_config_toml_that_is_no_toml(victim: Victim, data: bytes) -> None:
    path = victim.machine.home / CONFIG
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    for ended in victim.try_all({0, 3}):
        assert ended.status == 3 or data == b"\r"


KEYS = (
    "region",
    "sts_regional_endpoints",
    "endpoint_url",
    "services",
    "ignore_configured_endpoint_urls",
    "mfa_serial",
    "mfa_process",
    "role_arn",
    "role_session_name",
    "source_profile",
    "include_profile",
    "external_id",
    "duration_seconds",
    "session_tags",
    "transitive_session_tags",
    "source_identity",
    "credential_source",
    "credential_process",
    "web_identity_token_file",
    "sso_start_url",
    "sso_session",
    "parent_profile",
    "more",
)
AWS_VALUES = {
    "empty": b"",
    "word": b"jonsmith",
    "itself": b"user",
    "negative": b"-1",
    "huge": b"9" * 5000,
    "fraction": b"1.5",
    "infinite": b"inf",
    "NUL": b"a\x00b",
    "no UTF-8": b"\xff\xfe",
    "surrogate": b"\xed\xa0\x80",
    "escape sequence": b"\x1b[2J\xe2\x80\xae",
    "other line ends": b"a\x0bb\x0cc\x85\xe2\x80\xa8d",
    "nested": b"\n  a = b\n  c =\n    d",
    "half nested": b"\n  a",
    "interpolation": b"%(region)s %s %%",
    "quotes": b'"\'"',
    "long": b"A" * 1_000_000,
    "list": b"," * 10_000,
    "pairs": b"a=b," * 10_000,
    "broken URL": b"http://[::1",
    "no host": b"https://",
    "user in URL": b"https://u:p@h/",
    "port": b"http://127.0.0.1:99999",
    "other scheme": b"file:///etc/passwd",
    "broken ARN": b"arn:aws:iam::123456789012:role/" + b"x" * 5000,
    "climbing": b"../../../../etc/passwd",
    "digits of another script": "١٢٣".encode(),
}
EXPLAIN = ("export", "user", "--explain")
# 4: a profile that has neither key nor source any more.
CONFIG_STATUSES = {*STATUSES, 4}


def _configured(victim: Victim, data: bytes) -> None:
    victim.machine.config.unlink()
    victim.machine.config.write_bytes(data)
    # Nothing that would run mfa_process: what is in it here is not for a shell.
    for argv in (EXPLAIN, ("list",), ("list", "--json"), ("list", "--profiles")):
        ended = victim.inside.run(*argv)
        calm(ended, secrets=victim.secrets)
        assert ended.status in CONFIG_STATUSES, (argv, ended)


@pytest.mark.parametrize("key", KEYS)
def test_any_value_in_the_aws_config(victim: Victim, key: str) -> None:
    before = victim.machine.config.read_bytes()
    lines = [line for line in before.splitlines(True) if not line.startswith(key.encode() + b" ")]
    try:
        for name, value in AWS_VALUES.items():
            own = key.encode() + b" = " + value + b"\n"
            added, default = before + own, b"[default]\n" + own + before
            for data in dict.fromkeys((b"".join(lines) + own, added, default)):
                try:
                    _configured(victim, data)
                except AssertionError as error:
                    raise AssertionError(f"{key}: {name}") from error
    finally:
        victim.tree.restore()


STRUCTURES = {
    "nothing": b"",
    "NUL": b"\x00",
    "UTF-16": "[profile user]\n".encode("utf-16"),
    "BOM": b"\xef\xbb\xbf[profile user]\nregion = x\n",
    "no section": b"region = x\n",
    "unclosed": b"[profile user\n",
    "no name": b"[profile ]\n[profile]\n[]\n",
    "open quote": b'[profile "user]\n',
    "doubled section": b"[profile user]\n[profile user]\n",
    "doubled key": b"[profile user]\nregion = a\nregion = b\n",
    "no equals": b"[profile user]\nregion\n",
    "no key": b"[profile user]\n = x\n",
    "starts indented": b"  [profile user]\n  region = x\n",
    "old line ends": b"[profile user]\rregion = x\r",
    "brackets": b"[" * 100_000,
    "long name": b"[profile " + b"A" * 1_000_000 + b"]\nregion = x\n",
    "escape in name": b"[profile \x1b[2J\xe2\x80\xae]\nregion = x\n",
    "many": b"".join(b"[profile p%d]\nregion = x\n" % number for number in range(3000)),
    "circle": b"[profile user]\nsource_profile = b\nrole_arn = arn:aws:iam::123456789012:role/r\n"
    b"[profile b]\nsource_profile = user\nrole_arn = arn:aws:iam::123456789012:role/r\n",
    "include circle": b"[profile user]\ninclude_profile = b\n[profile b]\ninclude_profile = user\n",
    "chain": b"[profile user]\nsource_profile = p0\nrole_arn = arn:aws:iam::123456789012:role/r\n"
    + b"".join(
        b"[profile p%d]\nsource_profile = p%d\nrole_arn = arn:aws:iam::123456789012:role/r\n"
        % (number, number + 1)
        for number in range(3000)
    ),
    "include chain": b"[profile user]\ninclude_profile = p0\n"
    + b"".join(
        b"[profile p%d]\ninclude_profile = p%d\n" % (number, number + 1) for number in range(3000)
    ),
    "too large": b"# \n" * 2_000_000,
}


@pytest.mark.parametrize("structure", STRUCTURES)
def test_any_aws_config(victim: Victim, structure: str) -> None:
    try:
        _configured(victim, STRUCTURES[structure])
    finally:
        victim.tree.restore()


def _some_config(victim: Victim, data: st.DataObject) -> None:
    pieces = st.sampled_from(
        [*AWS_VALUES.values()][:25] + [key.encode() for key in KEYS]
        + [b"[profile user]", b"[default]", b"[", b"]", b"=", b"\n", b"\n  ", b"\r\n", b"#", b";"]
    )  # fmt: skip
    text = b"".join(data.draw(st.lists(pieces | st.binary(max_size=6), max_size=30)))
    try:
        _configured(victim, text)
    finally:
        victim.tree.restore()


@_profile(_NORMAL)
@given(data=st.data())
def test_any_pieces_as_an_aws_config(victim: Victim, data: st.DataObject) -> None:
    _some_config(victim, data)


@pytest.mark.torture
@_profile(_TORTURE)
@given(data=st.data())
def test_many_more_pieces_as_an_aws_config(victim: Victim, data: st.DataObject) -> None:
    _some_config(victim, data)


@pytest.mark.parametrize("name", ["user", "one"])
def test_the_files_are_whole_after_all_that(victim: Victim, name: str) -> None:
    assert victim.inside.run("export", name, "--no-session").status == 0
