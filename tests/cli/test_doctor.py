"""`doctor` finds each trap that is planted, nothing on a clean machine, and changes nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from filevault.checks import doctor, leftovers
from tests.conditions.other_user import needs_root
from tests.conditions.tools import tool
from tests.fakes import FakeAws
from tests.launch import launcher
from tests.samples import EXAMPLE_ID, KEY_ID, OTHER_SECRET, SECRET
from tests.worlds.backend_machine import KINDS, BackendMachine, GpgHomes
from tests.worlds.in_process import InProcess, InProcessResult, Tree
from tests.worlds.other_programs import OtherPrograms

PLANTED = "c1earTextThatIsNotShown"  # a secret of each leftover
STATIC = f"aws_access_key_id = {EXAMPLE_ID}\naws_secret_access_key = {PLANTED}\n"
SESSION = f"{STATIC}aws_session_token = {PLANTED}\n"


def run(
    home: BackendMachine, *argv: str, clock: str | None = None, **env: str | None
) -> InProcessResult:
    merged = {**home.machine.env, "PATH": "/nonexistent", **env}
    runtime = launcher.runtime({} if clock is None else {"clock": clock})
    given = {name: value for name, value in merged.items() if value is not None}
    # A thread of this process serves where AWS is asked.
    tidy = "--online" not in argv
    return InProcess(given, tidy=tidy).run(*argv, runtime=runtime)


@pytest.fixture(scope="module")
def made_home(tmp_path_factory: pytest.TempPathFactory) -> BackendMachine:
    """A machine with two keys in a `file` vault, and a section for each."""
    folder = tmp_path_factory.mktemp("doctor") / "home"
    made = BackendMachine("file", folder)
    for name in ("one", "two"):
        made.add(name)
    write(made, ".aws/config", "[profile one]\nregion = eu-west-1\n[profile two]\n")
    return made


@pytest.fixture
def home(made_home: BackendMachine) -> Iterator[BackendMachine]:
    """The same machine for each test, put back as it was afterwards."""
    root = made_home.machine.home
    tree = Tree(root)
    modes = {path: path.stat().st_mode & 0o777 for path in [root, *root.rglob("*")]}
    yield made_home
    tree.restore()
    for path, mode in modes.items():
        path.chmod(mode)


def write(home: BackendMachine, name: str, text: str, mode: int = 0o600) -> Path:
    path = home.machine.home / name
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def times(root: Path) -> dict[str, tuple[object, ...]]:
    """Return everything below a folder with its bytes and what lstat(2) says but the last use."""
    found: dict[str, tuple[object, ...]] = {}
    for path in [root, *root.rglob("*")]:
        info = path.lstat()
        plain = path.is_file() and not path.is_symlink()
        content = path.read_bytes() if plain else b""
        found[str(path)] = (
            info.st_ino,
            info.st_mode,
            info.st_size if plain else 0,
            info.st_mtime_ns,
            info.st_ctime_ns,
            content,
        )
    return found


def findings(done: InProcessResult) -> list[dict[str, Any]]:
    return [each for group in json.loads(done.out)["groups"] for each in group["findings"]]


@pytest.mark.parametrize("kind", KINDS)
def test_a_clean_machine_has_no_finding_and_is_left_as_it_was(
    kind: str, tmp_path: Path, keyrings: GpgHomes
) -> None:
    home = BackendMachine(kind, tmp_path / "home", keyrings)
    home.add("one")
    write(home, ".aws/config", "[profile one]\nregion = eu-west-1\n")
    gpg = [Path(value) for name, value in home.machine.env.items() if name == "GNUPGHOME"]
    before = [times(root) for root in (home.machine.home, *gpg)]
    done = run(home, "doctor", "--json", PATH=os.environ["PATH"])
    assert done.status == 0, done
    assert findings(done) == []
    shown = run(home, "doctor")
    assert shown.status in (0, 7)  # without PATH there is no gpg
    assert str(home.root) in shown.out
    assert "<- decides" in shown.out
    assert [times(root) for root in (home.machine.home, *gpg)] == before


@pytest.mark.parametrize("never_used", [False, True])
def test_reading_makes_and_pins_nothing(home: BackendMachine, never_used: bool) -> None:
    """A machine that never used the vault has no state directory afterwards either."""
    state = str(home.machine.home / "new-state") if never_used else None
    env = {} if state is None else {"XDG_STATE_HOME": state}
    before = times(home.machine.home)
    assert run(home, "doctor", **env).status == 0
    assert times(home.machine.home) == before


class Trap(NamedTuple):
    """What is planted: files with their text and mode, variables, or anything else."""

    check: str
    contains: str
    files: Mapping[str, str] = {}
    env: Mapping[str, str | None] = {}
    mode: int = 0o600
    status: int = 0
    do: Callable[[BackendMachine], None] = lambda _: None


def _vault_mode(mode: int) -> Callable[[BackendMachine], None]:
    return lambda home: home.root.chmod(mode)


def _state_mode(home: BackendMachine) -> None:
    for path in home.machine.state.iterdir():
        path.chmod(0o777)


CREDENTIALS, CONFIG = ".aws/credentials", ".aws/config"
TOKENS = json.dumps({"accessToken": PLANTED, "expiresAt": "2020-01-01T00:00:00Z"})
KEYS = json.dumps({"Credentials": {"SecretAccessKey": PLANTED, "Expiration": "2099-01-01T00:00Z"}})
CSV = f"Access key ID,Secret access key\n{EXAMPLE_ID},{PLANTED}\n"
TRAPS = {
    "static default": Trap("default", "static key", {CREDENTIALS: f"[default]\n{STATIC}"}),
    "long-term keys": Trap("clear-key", "long-term keys", {CREDENTIALS: f"[x]\n{STATIC}"}),
    "a session": Trap("clear-session", "temporary", {CREDENTIALS: f"[x]\n{SESSION}"}),
    "a session in the config beside a key": Trap(
        "mixed-keys",
        "with the session token",
        {CREDENTIALS: f"[x]\n{STATIC}", CONFIG: f"[profile x]\n{SESSION}"},
    ),
    "hidden stored key": Trap("shadowed", "the stored key", {CREDENTIALS: f"[one]\n{STATIC}"}),
    "hidden role": Trap(
        "shadowed",
        "role_arn",
        {
            CREDENTIALS: f"[r]\n{STATIC}",
            CONFIG: "[profile r]\nsource_profile = one\n"
            "role_arn = arn:aws:iam::123456789012:role/r\n",
        },
    ),
    "the word profile": Trap(
        "credentials", "the word in its name", {CREDENTIALS: "[profile x]\nregion = eu-west-1\n"}
    ),
    "keys in the config": Trap("clear-key", "long-term", {CONFIG: f"[profile x]\n{STATIC}"}),
    "a default role": Trap(
        "default",
        "role_arn",
        {CONFIG: "[default]\nsource_profile = one\nrole_arn = arn:aws:iam::123456789012:role/r\n"},
    ),
    "header without profile": Trap("section", "is no profile", {CONFIG: "[x]\nregion = a\n"}),
    "a name with a blank": Trap(
        "section", "not all SDKs", {CONFIG: '[profile "a b"]\nregion = eu-west-1\n'}
    ),
    "a name with a comma": Trap(
        "section", "not all SDKs", {CONFIG: "[profile a,b]\nregion = eu-west-1\n"}
    ),
    "a name with an umlaut": Trap(
        "section", "not all SDKs", {CONFIG: "[profile kürzel]\nregion = eu-west-1\n"}
    ),
    "two defaults": Trap(
        "section",
        "[default] and [profile default]",
        {CONFIG: "[default]\nregion = eu-west-1\n[profile default]\nregion = eu-west-1\n"},
    ),
    "no TOML": Trap("vault", "is not TOML", {".config/filevault/config.toml": "=\n"}, status=3),
    "an unknown key": Trap(
        "vault", "means nothing", {".config/filevault/config.toml": "x = 1\n"}, status=3
    ),
    "a broken config": Trap("config", "line 1", {CONFIG: "broken\n"}, status=3),
    "a broken credentials file": Trap("config", "line 1", {CREDENTIALS: "broken\n"}, status=3),
    "a missing config": Trap("config", "not there", env={"AWS_CONFIG_FILE": "/no/x"}, status=3),
    "a missing credentials file": Trap(
        "config", "not there", env={"AWS_SHARED_CREDENTIALS_FILE": "/no/x"}
    ),
    "a role without source": Trap(
        "profile",
        "does not exist",
        {CONFIG: "[profile r]\nsource_profile = absent\nrole_arn = arn:aws:iam::1:role/r\n"},
        status=3,
    ),
    "a role with nothing to assume it with": Trap(
        "profile",
        "to assume the role with",
        {CONFIG: "[profile r]\nrole_arn = arn:aws:iam::123456789012:role/r\n"},
        status=3,
    ),
    "a role that STS refuses": Trap(
        "profile",
        "role_session_name",
        {
            CONFIG: "[profile r]\nsource_profile = one\nrole_session_name = one-%\n"
            "role_arn = arn:aws:iam::123456789012:role/r\n"
        },
        status=3,
    ),
    "a duration that STS refuses": Trap(
        "profile",
        "asks for 1m40s",
        {
            CONFIG: "[profile r]\nsource_profile = one\nduration_seconds = 100\n"
            "role_arn = arn:aws:iam::123456789012:role/r\n"
        },
        status=3,
    ),
    "a comment in a value": Trap(
        "profile", "region", {CONFIG: "[profile r]\nregion = eu-west-1 # here\n"}, status=3
    ),
    "two sources": Trap(
        "shadowed",
        "several sources",
        {CONFIG: "[profile one]\ncredential_process = /bin/true\n"},
    ),
    "a stale process": Trap(
        "process", "not there", {CONFIG: "[profile x]\ncredential_process = /no/x y\n"}, status=7
    ),
    "a process beside a role": Trap(
        "process",
        "beside role_arn",
        {
            CONFIG: "[profile x]\ncredential_process = /bin/true\n"
            "role_arn = arn:aws:iam::123456789012:role/r\n"
        },
    ),
    "a process beside a source": Trap(
        "process",
        "beside source_profile",
        {CONFIG: "[profile x]\ncredential_process = /bin/true\nsource_profile = one\n"},
    ),
    "a token in clear in the config alone": Trap(
        "clear-session", "temporary", {CONFIG: f"[profile x]\n{SESSION}"}
    ),
    "security token": Trap("environment", "send this", env={"AWS_SECURITY_TOKEN": PLANTED}),
    "s3cmd's secret": Trap("environment", "s3cmd", env={"AWS_SECRET_KEY": PLANTED}),
    "an old SDK's file": Trap("environment", "old SDKs", env={"AWS_CREDENTIAL_FILE": "/no/x"}),
    "s3cmd's key": Trap("environment", "s3cmd", env={"AWS_ACCESS_KEY": PLANTED}),
    "bearer token": Trap("environment", "send this", env={"AWS_BEARER_TOKEN_BEDROCK": PLANTED}),
    "empty profile": Trap("environment", "is empty", env={"AWS_PROFILE": ""}),
    "empty region": Trap("environment", "is empty", env={"AWS_REGION": ""}),
    "exported keys": Trap(
        "environment",
        "set in this shell",
        env={"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": PLANTED},
    ),
    "keys and a profile": Trap(
        "environment",
        "JavaScript SDKs use the profile",
        env={"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_PROFILE": "one"},
    ),
    "two profiles": Trap(
        "environment",
        "two profiles",
        env={"AWS_PROFILE": "one", "AWS_DEFAULT_PROFILE": "two"},
    ),
    "an unknown profile": Trap("environment", "no stored key", env={"AWS_PROFILE": "onne"}),
    "web identity and a profile": Trap(
        "environment",
        "botocore uses the web identity",
        env={
            "AWS_WEB_IDENTITY_TOKEN_FILE": "/dev/null",
            "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/r",
            "AWS_PROFILE": "one",
        },
    ),
    "web identity without a token": Trap(
        "environment", "not there", env={"AWS_WEB_IDENTITY_TOKEN_FILE": "/no/x"}
    ),
    "a past expiration": Trap(
        "environment",
        "in the past",
        env={"AWS_CREDENTIAL_EXPIRATION": "2020-01-01T00:00:00Z", "AWS_VAULT": "one"},
    ),
    "no expiration": Trap(
        "environment", "is no time", env={"AWS_CREDENTIAL_EXPIRATION": "x", "AWS_VAULT": "one"}
    ),
    "two regions": Trap(
        "environment",
        "differ",
        env={"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2"},
    ),
    "a metadata endpoint": Trap(
        "environment", "slash", env={"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1"}
    ),
    "metadata disabled by 1": Trap(
        "environment", "true alone", env={"AWS_EC2_METADATA_DISABLED": "1"}
    ),
    "old metadata disabled by 1": Trap(
        "environment", "true alone", env={"AWS_EC2_METADATA_V1_DISABLED": "1"}
    ),
    "a metadata endpoint with a path": Trap(
        "environment",
        "JavaScript SDKs drop",
        env={"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1/x/"},
    ),
    "a container elsewhere": Trap(
        "environment",
        "plain http to 'example.com'",
        env={"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://example.com/creds"},
    ),
    "no container token": Trap(
        "environment",
        "not there",
        env={"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/no/x"},
    ),
    "a container token with a newline": Trap(
        "environment",
        "line end",
        {"token": f"{PLANTED}\n"},
        env={"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "~/token"},
    ),
    "two container addresses": Trap(
        "environment",
        "Go the other",
        env={
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/x",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1/",
        },
    ),
    "no bundle": Trap("environment", "not there", env={"AWS_CA_BUNDLE": "/no/x"}),
    "CLI sessions": Trap("leftover", "1 of them not exp", {".aws/cli/cache/x.json": KEYS}),
    "SSO tokens": Trap("leftover", "0 of them not exp", {".aws/sso/cache/x.json": TOKENS}),
    "console logins": Trap("leftover", "clear text", {".aws/login/cache/x.json": TOKENS}),
    "awsume sessions": Trap("leftover", "clear text", {".awsume/cache/x": KEYS}),
    "a downloaded key": Trap("leftover", "console", {"Downloads/jon_accessKeys.csv": CSV}),
    "open credentials": Trap("mode", "read it", {CREDENTIALS: "[x]\nregion = a\n"}, mode=0o644),
    "open cache": Trap("mode", "read it", {".aws/sso/cache/x.json": "{}"}, mode=0o604),
    "writable config": Trap("mode", "choose your", {CONFIG: "[profile x]\n"}, mode=0o620),
    "readable vault": Trap("mode", "guess its passphrase", do=_vault_mode(0o755)),
    "writable vault": Trap("mode", "exchange items", do=_vault_mode(0o777)),
    "writable state": Trap("state", "others can write", do=_state_mode),
    "two secrets": Trap(
        "unlocking", "only one can be meant", env={"FILEVAULT_KEY": PLANTED}, status=2
    ),
    "no file of a secret": Trap(
        "unlocking",
        "cannot be read",
        env={"FILEVAULT_PASSPHRASE": None, "FILEVAULT_PASSPHRASE_FILE": "/no/x"},
        status=5,
    ),
    "no command": Trap(
        "unlocking",
        "not there",
        env={"FILEVAULT_PASSPHRASE": None, "FILEVAULT_PASSPHRASE_COMMAND": "/no/x"},
        status=7,
    ),
    "no vault": Trap("vault", "no vault", env={"FILEVAULT_DIR": "/no/x"}, status=4),
    "no backend": Trap("vault", "names no backend", env={"FILEVAULT_BACKEND": "x"}, status=2),
    "a backend of AWS Vault": Trap("vault", "is ignored", env={"AWS_VAULT_BACKEND": "kwallet"}),
}


@pytest.mark.parametrize("name", TRAPS)
def test_each_trap_is_found_with_a_way_out(home: BackendMachine, name: str) -> None:
    trap = TRAPS[name]
    for file, text in trap.files.items():
        write(home, file, text, trap.mode)
    trap.do(home)
    before = times(home.machine.home)
    home_folder = str(home.machine.home)
    env = {name: value and value.replace("~", home_folder) for name, value in trap.env.items()}
    done = run(home, "doctor", "--json", **env)
    found = [each for each in findings(done) if trap.contains in each["message"]]
    assert trap.check in {each["check"] for each in found}, findings(done)
    assert done.status == trap.status, done
    assert all(each["hint"] for each in found), found
    assert times(home.machine.home) == before
    for secret in (PLANTED, PLANTED[:8], SECRET, SECRET[:8]):
        assert secret not in done.out + done.err
    assert "Traceback" not in done.err


CLEAN: dict[str, tuple[str, dict[str, str]]] = {
    "a command of exec --server": (
        "",
        {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:4040/creds/one",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": PLANTED,
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "~/token",
            "AWS_REGION": "eu-west-1",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_VAULT": "one",
        },
    ),
    "a command of exec": (
        "",
        {
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": PLANTED,
            "AWS_SESSION_TOKEN": PLANTED,
            "AWS_CREDENTIAL_EXPIRATION": "2099-01-01T00:00:00Z",
            "AWS_VAULT": "one",
        },
    ),
    "a pod of EKS": (
        "",
        {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://[fd00:ec2::23]/v1/credentials",
            "AWS_EC2_METADATA_DISABLED": "TRUE",
        },
    ),
    "metadata elsewhere": (
        "",
        {"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1338/"},
    ),
    "a role with its source in another profile": (
        (
            "[profile p]\ncredential_process = /bin/true\n[profile r]\nsource_profile = p\n"
            "role_arn = arn:aws:iam::123456789012:role/r\n"
        ),
        {"AWS_PROFILE": "r"},
    ),
    "Identity Center": (
        (
            "[sso-session corp]\nsso_start_url = https://x.awsapps.com/start\n"
            "sso_region = eu-west-1\n[profile s]\nsso_session = corp\n"
            "sso_account_id = 123456789012\nsso_role_name = Admin\n"
        ),
        {},
    ),
}


@pytest.mark.parametrize("name", CLEAN)
def test_what_is_right_is_no_finding(home: BackendMachine, name: str) -> None:
    """The counterpart of each trap: the same files and variables as they should be."""
    text, env = CLEAN[name]
    write(home, "token", PLANTED)
    write(home, CONFIG, f"[profile one]\nregion = eu-west-1\n{text}")
    folder = str(home.machine.home)
    given = {key: value.replace("~", folder) for key, value in env.items()}
    done = run(home, "doctor", "--json", **given)
    assert (done.status, findings(done)) == (0, [])


@pytest.mark.parametrize(
    ("config", "warned"),
    [
        ("", True),
        ("[default]\nregion = eu-west-1\n", True),
        ("[profile p]\ncredential_process = /bin/true\n", False),
        (
            (
                "[default]\nregion = eu-west-1\n[profile j]\nweb_identity_token_source = github\n"
                "role_arn = arn:aws:iam::123456789012:role/r\n"
                "[profile k]\nsource_profile = j\nrole_arn = arn:aws:iam::123456789012:role/k\n"
            ),
            False,
        ),
        (
            (
                "[profile p]\ncredential_process = /bin/true\n"
                "[sso-session s]\nsso_region = eu-west-1\nsso_start_url = https://x.awsapps.com/start\n"
                "[profile s]\nsso_session = s\nsso_account_id = 123456789012\n"
                "sso_role_name = Admin\n"
            ),
            True,
        ),
    ],
)
def test_without_a_vault_one_is_asked_for_only_if_a_profile_can_use_it(
    tmp_path: Path, config: str, warned: bool
) -> None:
    """A job that gets its role with a token of the CI system needs none."""
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/config").write_text(config)
    done = InProcess({"HOME": str(tmp_path), "PATH": "/nonexistent"}).run("doctor", "--json")
    found = [each for each in findings(done) if each["check"] == "vault"]
    assert (done.status, bool(found)) == (0, warned), done


def test_a_file_of_a_secret_that_others_can_read_is_found(home: BackendMachine) -> None:
    path = write(home, "passphrase", PLANTED, 0o644)
    env = {"FILEVAULT_PASSPHRASE": None, "FILEVAULT_PASSPHRASE_FILE": str(path)}
    done = run(home, "doctor", "--json", **env)
    assert done.status == 5
    assert [each["hint"] for each in findings(done)] == [f"chmod 600 {path}"]


def test_keys_older_than_the_limit_are_found(home: BackendMachine, tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_text(str(91 * 86400), encoding="ascii")
    done = run(home, "doctor", "--json", clock=str(clock))
    assert [each["hint"] for each in findings(done)] == [
        "filevault rotate one",
        "filevault rotate two",
    ]
    write(home, ".config/filevault/config.toml", 'key_age_warning = "100d"\n')
    assert findings(run(home, "doctor", "--json", clock=str(clock))) == []


@pytest.mark.parametrize(
    ("ahead", "severity", "status"), [(0, None, 0), (60, "warning", 0), (-900, "error", 8)]
)
def test_the_clock_is_compared_with_that_of_aws_if_asked(
    home: BackendMachine, aws: FakeAws, tmp_path: Path, ahead: int, severity: str, status: int
) -> None:
    clock = tmp_path / "clock"
    clock.write_text(str(ahead), encoding="ascii")
    env = {"AWS_ENDPOINT_URL_STS": aws.url, "FILEVAULT_ALLOW_HTTP": "1"}
    done = run(home, "doctor", "--online", "--json", clock=str(clock), **env)
    assert done.status == status, done
    assert [each["severity"] for each in findings(done)] == ([severity] if severity else [])
    assert [call.access_key_id for call in aws.calls] == [""]  # not signed


def test_aws_that_cannot_be_reached_is_a_finding(home: BackendMachine) -> None:
    env = {"AWS_ENDPOINT_URL_STS": "http://127.0.0.1:1"}
    done = run(home, "doctor", "--online", "--json", **env)
    assert done.status == 9
    assert [each["check"] for each in findings(done)] == ["clock"]


def test_a_check_that_fails_is_a_finding_and_the_others_go_on(
    home: BackendMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KeyError(SECRET)

    monkeypatch.setattr(leftovers, "_counted", broken)
    write(home, CREDENTIALS, f"[default]\n{STATIC}", 0o644)
    done = run(home, "doctor", "--json")
    assert done.status == 1
    found = {each["check"]: each for each in findings(done)}
    assert {"leftovers", "default", "mode"} <= found.keys()
    assert "KeyError" in found["leftovers"]["message"]
    assert SECRET not in done.out + done.err


def test_hundreds_of_findings_are_counted(home: BackendMachine) -> None:
    write(home, CONFIG, "".join(f"[x{number}]\nregion = a\n" for number in range(300)))
    done = run(home, "doctor", "--json")
    found = findings(done)
    assert len(found) == doctor.MAX_FINDINGS
    assert "281 more" in found[-1]["message"]


def test_control_characters_of_others_are_escaped(home: BackendMachine) -> None:
    write(home, CONFIG, '[profile "\x1b[31mred"]\nregion = x\x1b[2J\n')
    done = run(home, "doctor", AWS_PROFILE="\x1b]0;x\x07")
    assert "\x1b" not in done.out + done.err
    assert OTHER_SECRET not in done.out


def test_a_command_of_a_secret_is_not_run(home: BackendMachine, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    command = f"/usr/bin/touch {mark}"
    env = {"FILEVAULT_PASSPHRASE": None, "FILEVAULT_PASSPHRASE_COMMAND": command}
    done = run(home, "doctor", **env)
    assert done.status == 0
    assert not mark.exists()
    assert str(mark) not in done.out


@pytest.mark.parametrize(
    ("conf", "mode", "tty", "contains"),
    [
        ("pinentry-program /no/pinentry\n", 0o700, None, "is not there"),
        ("", 0o755, None, "others have access"),
        ("", 0o700, "/dev/null/x", "no terminal"),
        (None, 0o700, None, "has no keys here"),
    ],
)
def test_what_keeps_gpg_from_asking_is_found(
    tmp_path: Path,
    keyrings: GpgHomes,
    conf: str | None,
    mode: int,
    tty: str | None,
    contains: str,
) -> None:
    made = BackendMachine("pass", tmp_path / "home", keyrings)
    gnupg = tmp_path / "gnupg"
    if conf is not None:
        gnupg.mkdir()
        (gnupg / "gpg-agent.conf").write_text(conf, encoding="ascii")
        gnupg.chmod(mode)
    done = run(made, "doctor", "--json", GNUPGHOME=str(gnupg), GPG_TTY=tty)
    found = [each for each in findings(done) if each["check"] == "gpg"]
    assert any(contains in each["message"] for each in found), found
    assert all(each["hint"] for each in found)
    assert not (tmp_path / "gnupg/pubring.kbx").exists()


@needs_root
def test_a_file_with_which_another_user_could_choose_what_gpg_runs_is_found(
    tmp_path: Path, keyrings: GpgHomes
) -> None:
    made = BackendMachine("pass", tmp_path / "home", keyrings)
    gnupg = tmp_path / "gnupg"
    gnupg.mkdir(mode=0o700)
    (gnupg / "gpg.conf").touch()
    os.chown(gnupg / "gpg.conf", 12345, 12345)
    done = run(made, "doctor", "--json", GNUPGHOME=str(gnupg))
    found = [each for each in findings(done) if "gpg is not run" in each["message"]]
    assert len(found) == 1
    trusted = found[0]["hint"].rpartition("FILEVAULT_TRUST_WRITERS_OF=")[2]
    again = run(made, "doctor", "--json", GNUPGHOME=str(gnupg), FILEVAULT_TRUST_WRITERS_OF=trusted)
    assert "gpg is not run" not in again.out


@needs_root
def test_a_file_with_which_another_user_could_choose_what_git_runs_is_found(
    home: BackendMachine, tmp_path: Path
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "git").symlink_to(tool("git"))
    config = write(home, ".gitconfig", "")
    os.chown(config, 12345, 12345)
    assert "git is not run" not in run(home, "doctor", "--json", PATH=str(programs)).out
    (home.machine.vault / ".git").mkdir()
    done = run(home, "doctor", "--json", PATH=str(programs))
    (found,) = (each for each in findings(done) if each["subject"] == "git")
    assert f"git is not run: '{config}' belongs to user 12345" in found["message"]
    assert found["hint"].endswith(f"FILEVAULT_TRUST_WRITERS_OF={config}")
    assert done.status == 7


def _repository(home: BackendMachine, below: str = "") -> Path:
    path = home.store / below / ".git"
    tools = OtherPrograms(home.machine)
    tools.run("git", "init", "--quiet", str(path.parent))
    return path


def _about_git(home: BackendMachine, **env: str | None) -> list[tuple[str, int, str, str]]:
    """Return what `doctor` says of repositories; git cannot be found, and its files stay."""
    before = times(home.store)
    done = run(home, "doctor", "--json", **env)
    assert times(home.store) == before
    found = [each for each in findings(done) if each["check"] == "repository"]
    assert not found or done.status == 10
    return [(each["severity"], each["status"], each["message"], each["hint"]) for each in found]


def test_a_repository_that_the_next_write_would_not_use_is_found_without_git(
    home: BackendMachine,
) -> None:
    path = _repository(home)
    ((severity, status, message, hint),) = _about_git(home)
    assert (severity, status) == ("error", 10)
    assert message.endswith("is not used: this machine was not told to use it")
    assert hint.startswith("filevault git adopt ")
    assert message in run(home, "rotate", "one").err
    assert _about_git(home, FILEVAULT_GIT="adopt") == []
    assert _about_git(home, XDG_STATE_HOME=str(home.machine.home / "never-used")) == []

    assert run(home, "git", "adopt", PATH=os.environ["PATH"]).status == 0
    assert _about_git(home) == []
    shown = run(home, "doctor").out
    assert f"repository  {home.store} (used)\n" in shown
    with (path / "config").open("a") as config:
        config.write("[user]\n\tname = Jon\n")
    assert _about_git(home) == []
    with (path / "config").open("a") as config:
        config.write("[core]\n\teditor = run\n")
    ((_, status, message, _),) = _about_git(home)
    assert (status, message.partition(" has changed: ")[2]) == (10, "core.editor")
    _repository(home, "team")
    assert [each[1] for each in _about_git(home)] == [10, 10]


def test_a_repository_beside_the_items_is_a_warning(tmp_path: Path, keyrings: GpgHomes) -> None:
    """It keeps `filevault git` from work, and no write."""
    home = BackendMachine("pass", tmp_path / "home", keyrings)
    inner = _repository(home, ".extensions/otp").parent
    OtherPrograms(home.machine).run(
        "git", "-C", str(inner), "commit", "--quiet", "--allow-empty", "--message", "x"
    )
    done = run(home, "doctor", "--json", PATH=os.environ["PATH"])
    (found,) = findings(done)
    assert (done.status, found["severity"]) == (0, "warning")
    assert found["subject"] == "the git repository .extensions/otp"
    assert run(home, "git", "init", "--quiet", PATH=os.environ["PATH"]).status == 0
    home.add("one")
    assert run(home, "git", "status", PATH=os.environ["PATH"]).status == 10
