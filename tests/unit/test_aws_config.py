from __future__ import annotations

import configparser
import contextlib
import os
import stat
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import botocore.session
import pytest

from filevault.config import aws_config
from filevault.config.aws_config import LIMIT, AwsConfig
from filevault.config.aws_config_edit import append_profile, profile_section
from filevault.errors import ConfigError, ConfigSyntaxError, StorageError
from filevault.system.config_files import EditRules
from tests.conditions.work_limits import at_most

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(autouse=True, params=["short by lines", "all by one expression"])
def _both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read short files in each of the two ways."""
    if request.param == "all by one expression":
        monkeypatch.setattr(aws_config, "_SHORT", 0)


def parse(text: str | bytes) -> AwsConfig:
    return AwsConfig.parse(text.encode() if isinstance(text, str) else text, "/h/.aws/config")


def values(text: str, name: str = "a") -> dict[str, str]:
    section = parse(text).profile(name)
    assert section is not None
    return dict(section.values)


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("[default]", ["default"]),
        ("[profile default]", ["default"]),
        ("[profile a]", ["a"]),
        ('[profile "a b"]', ["a b"]),
        ("[profile 'a b']", ["a b"]),
        (r'[profile "a\"b"]', ['a"b']),
        (r"[profile a\ b]", ["a b"]),
        ("[profile   a]", ["a"]),
        ("[profile\ta]", ["a"]),
        ("[profile a ]", ["a"]),
        ("[profile a] # a comment", ["a"]),
        ("[profile a]b]", ["a]b"]),
        ("[profile a#b]", ["a#b"]),
        ("[profile team/prod]", ["team/prod"]),
        ("[profile é]", ["é"]),
        ("[profile a\xa0b]", ["a\xa0b"]),
        ('[profile ""]', [""]),
        ("[profiles a]", ["a"]),
        ("[profile a b]", []),
        ("[profile]", []),
        ('[profile "a]', []),
        ("[ profile a]", []),
        ("[Profile a]", []),
        ("[Default]", []),
        ("[DEFAULT]", []),
        ("[ default]", []),
        ("[foo]", []),
        ("[plugins]", []),
        ("[sso-session a]", []),
        ("[services a]", []),
    ],
)
def test_a_header_names_the_profile_that_botocore_sees(header: str, names: list[str]) -> None:
    assert parse(f"{header}\nregion = x\n").profile_names() == names


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("region = x", {"region": "x"}),
        ("region=x", {"region": "x"}),
        ("REGION : x", {"region": "x"}),
        ("Role_Arn: arn:aws:iam::1:role/a=b", {"role_arn": "arn:aws:iam::1:role/a=b"}),
        ("region = x # c", {"region": "x # c"}),
        ("region = x ; c", {"region": "x ; c"}),
        ("region = 100%(a)s%", {"region": "100%(a)s%"}),
        ("region =", {"region": ""}),
        ("a key = x", {"a key": "x"}),
        ("[k = v", {"[k": "v"}),
        ("[] = v", {"[]": "v"}),
        ("region = one\n  two\n\n\tthree\n", {"region": "one\ntwo\n\nthree"}),
        ("region = one\n  # c\n  two", {"region": "one\ntwo"}),
        ("region = one\n  [profile b]\n", {"region": "one\n[profile b]"}),
        ("region = one\n\n\n", {"region": "one"}),
        ("  region = x\n  output = y", {"region": "x", "output": "y"}),
        ("  region = x\noutput = y\n z", {"region": "x", "output": "y\nz"}),
        ("# c\n\n ; c\nregion = x", {"region": "x"}),
        ("région = x", {"région": "x"}),
        ("\xa0region = x\x0c", {"region": "x"}),
    ],
)
def test_a_line_gives_the_value_that_botocore_reads(line: str, expected: dict[str, str]) -> None:
    assert values(f"[profile a]\n{line}") == expected


def test_crlf_and_lone_carriage_returns_end_lines() -> None:
    section = parse(b"[default]\r\nregion = x\r\n\r\n[profile a]\routput = y\r\n").profile("a")
    assert section is not None
    assert (dict(section.values), section.line) == ({"output": "y"}, 4)


def test_indented_blocks_become_nested_values() -> None:
    section = parse(
        "[profile a]\ns3 =\n  max_bandwidth=1\n\n  # c\n  Style = path = x\nregion = r\n"
    ).profile("a")
    assert section is not None
    assert section.nested == {"s3": {"max_bandwidth": "1", "Style": "path = x"}}
    assert section.values == {"region": "r"}


def test_sso_sessions_and_services_are_found_by_name() -> None:
    config = parse(
        "[sso-session my-sso]\nsso_region = r\n[services loc]\nsts =\n  endpoint_url = http://s\n"
    )
    session = config.sso_session("my-sso")
    services = config.services("loc")
    assert session is not None
    assert session.values == {"sso_region": "r"}
    assert (session.section_type, session.name, session.line) == ("sso-session", "my-sso", 1)
    assert services is not None
    assert services.nested == {"sts": {"endpoint_url": "http://s"}}
    assert config.sso_session("other") is None
    assert config.profile("my-sso") is None
    assert config.profile_names() == []


def test_names_are_case_sensitive_and_keep_the_order_of_the_file() -> None:
    config = parse(
        "[profile b]\nx=1\n[sso-session s]\nx=1\n[default]\nx=1\n[profile B]\nx=2\n[profile a]\n"
    )
    assert config.profile_names() == ["b", "default", "B", "a"]
    assert values("[profile b]\nx=1\n[profile B]\nx=2\n", "B") == {"x": "2"}
    assert config.profile("c") is None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("[default]", "[profile default]"),
        ("[profile default]", "[default]"),
        ("[profile default]", '[profile "default"]'),
    ],
)
def test_of_two_headers_for_one_profile_the_last_wins_whole(first: str, second: str) -> None:
    config = parse(f"{first}\nregion = 1\noutput = o\n[profile z]\n{second}\nregion = 2\n")
    section = config.profile("default")
    assert section is not None
    assert dict(section.values) == {"region": "2"}
    assert config.profile_names() == ["default", "z"]


def test_default_in_capitals_gives_its_keys_to_every_section() -> None:
    text = "[DEFAULT]\nregion = d\noutput = d\n[profile a]\nregion = a\n[DEFAULT]\nother = d\n"
    assert values(text) == {"region": "a", "output": "d", "other": "d"}
    section = parse(text).profile("a")
    assert section is not None
    assert section.lines == {"region": 5, "output": 3, "other": 7}


def test_lines_are_counted_from_one() -> None:
    section = parse("# c\n\n[profile a]\nregion = x\n\n# c\ns3 =\n  a = b\n").profile("a")
    assert section is not None
    assert section.line == 3
    assert section.lines == {"region": 4, "s3": 7}


def test_lines_are_right_whatever_the_order_of_asking() -> None:
    config = parse("".join(f"[profile p{i}]\nregion = r\n\n" for i in range(1000)))
    for number in (7, 3, 999, 0, 400):
        section = config.profile(f"p{number}")
        assert section is not None
        assert section.line == 3 * number + 1


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("region = x\n", 1, "before the first section"),
        ("\n# c\nnonsense\n", 3, "before the first section"),
        ("[default]\nregion x\n", 2, "neither a section"),
        ("[default]\n[]\n", 2, "neither a section"),
        ("[default]\nregion = x\n= y\n", 3, "no key"),
        ("[default]\n: y\n", 2, "no key"),
        ("[default]\nregion = x\nRegion = y\n", 3, "sets 'region' a second time"),
        ("[default]\na b = x\n\na b: y\n", 4, "sets 'a b' a second time"),
        ("[profile a]\nx=1\n[profile a]\n", 3, "[profile a] a second time"),
        ("[profile a]\na b=1\n[profile a]\n", 3, "[profile a] a second time"),
        ("[foo]\n\n[foo]\n", 3, "[foo] a second time"),
        ("[DEFAULT]\na=1\n[x]\n[DEFAULT]\na=2\n", 5, "sets 'a' a second time in [DEFAULT]"),
        ("[DEFAULT]\na=\n  b\n[default]\n", 2, "indented block"),
        ("[default]\ns3 =\n  a = b\n  nonsense\n", 2, "indented block"),
        ("[foo]\ns3 =\n  nonsense\n", 2, "indented block"),
        ("[default]\ns3 =\n  a = b\x0cc\n", 2, "indented block"),
        ("\ufeff[default]\n", 1, "byte order mark"),
        ("\n\n\ufeff[default]\n", 3, "before the first section"),
    ],
)
def test_one_bad_line_refuses_the_whole_file_with_its_number(
    text: str, line: int, part: str
) -> None:
    with pytest.raises(ConfigSyntaxError) as caught:
        parse(text + "[profile fine]\nregion = x\n")
    assert caught.value.message.startswith(f"line {line} of '/h/.aws/config' ")
    assert part in caught.value.message
    assert caught.value.exit_status == 3


@pytest.mark.parametrize(
    "text",
    [
        "[profile a]\n [profile b]\nx = 1\n[profile c]\n [profile b]\nx = 1\n",
        "[DEFAULT]\ns3 =\n  no pair\n[profile a]\ns3 =\n  no pair\n",
        "[profile a]\nx = 1\n[profile b]\nx = 1\n[profile a]\nx = 1\n",
    ],
)
def test_sections_that_are_alike_below_their_headers_are_not_all_right_alike(text: str) -> None:
    with pytest.raises(ConfigSyntaxError):
        parse(text)


def test_a_bad_line_is_found_behind_a_thousand_good_sections() -> None:
    good = "".join(f"[profile p{i}]\nregion = r\noutput = json\n" for i in range(1000))
    for bad in ("nonsense", "output = again", "[profile p3]"):
        with pytest.raises(ConfigSyntaxError, match="line 3001 "):
            parse(f"{good}{bad}\n")


def test_bytes_that_are_not_utf8_are_refused_with_their_line() -> None:
    with pytest.raises(ConfigSyntaxError, match=r"line 2 of '/h/\.aws/config' is not UTF-8"):
        parse(b"[default]\nregion = \xe9\n")
    with pytest.raises(ConfigSyntaxError, match="not UTF-8"):
        parse("[default]\n".encode("utf-16"))


def test_a_default_block_that_no_section_inherits_is_not_looked_into() -> None:
    assert parse("[DEFAULT]\na=\n  b\n").profile_names() == []
    assert values("[DEFAULT]\nz=\n  b\n[profile a]\nz=1\n") == {"z": "1"}


def test_messages_and_reprs_hold_no_value() -> None:
    secret = "wJalrXUtnFEMI"
    config = parse(f"[profile a]\naws_secret_access_key = {secret}\n")
    assert secret not in repr(config.profile("a"))
    assert secret not in repr(config)
    for bad in (f"{secret}\n", f"aws_secret_access_key = {secret}\n" * 2, f"={secret}\n"):
        with pytest.raises(ConfigSyntaxError) as caught:
            parse(f"[default]\n{bad}")
        assert secret not in f"{caught.value!r} {caught.value.hint}"


def test_names_in_messages_are_printable() -> None:
    with pytest.raises(ConfigSyntaxError) as caught:
        AwsConfig.parse(b"[a\x1b[31m]\n[a\x1b[31m]\n", "/h/\x1b[2Jconfig")
    assert "\x1b" not in str(caught.value)


def test_a_header_that_was_meant_to_be_a_profile_is_remembered() -> None:
    config = parse("[work]\nregion = x\n[profile a b]\nregion = x\n[profile c]\n")
    assert config.unread_header("work") == "work"
    assert config.unread_header("a b") == "profile a b"
    assert config.unread_header("c") is None


def test_missing_and_empty_files_and_dev_null_are_empty(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for path in (tmp_path / "missing", tmp_path / "no" / "folder", tmp_path / "empty"):
        config = AwsConfig.load(str(path))
        assert (config.profile_names(), config.path) == ([], str(path))
    assert AwsConfig.load("/dev/null").profile_names() == []
    assert AwsConfig.load("/dev/null").profile("default") is None


def test_reading_does_not_create_the_folder(tmp_path: Path) -> None:
    AwsConfig.load(str(tmp_path / ".aws" / "config"))
    assert not (tmp_path / ".aws").exists()


def test_files_that_others_can_write_or_that_are_too_long_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("[default]\n")
    path.chmod(0o666)
    with pytest.raises(ConfigError, match="writable"):
        AwsConfig.load(str(path))
    path.chmod(0o600)
    path.write_bytes(b"#" * (LIMIT + 1))
    with pytest.raises(ConfigError, match="longer"):
        AwsConfig.load(str(path))


def _fastest(action: Callable[[], object]) -> float:
    times = []
    for _ in range(5):
        start = time.process_time()
        action()
        times.append(time.process_time() - start)
    return min(times)


def test_a_thousand_profiles_cost_a_fraction_of_configparser() -> None:
    text = "".join(
        f"[profile p{i}]\nregion = eu-west-1\nrole_arn = arn:aws:iam::123456789012:role/r{i}\n"
        f"source_profile = base\nmfa_serial = arn:aws:iam::123456789012:mfa/me\n"
        f"s3 =\n  addressing_style = path\n\n"
        for i in range(1000)
    )
    ours = _fastest(lambda: parse(text).profile("p500"))
    theirs = _fastest(lambda: configparser.RawConfigParser().read_string(text))
    assert ours < theirs / 2.5


def test_time_stays_linear_on_hostile_text() -> None:
    for text in (
        "[" * 200_000,
        "[a]\n" + "[" * 200_000 + "=",
        "[a]\n" + "k" * 200_000 + "\n",
        "[a]\nk =" + " " * 200_000 + "\n",
        "[a]\nk =\n" + " a = b\n" * 30_000 + " c\n",
        "[a]\nk = v\n" + "\n" * 200_000 + "x\n",
        "".join(f"[{i}]\nx y = 1\n" for i in range(10_000)),
        "".join(f"[{i}]\nk{i} = 1\n[x{i}]\nx y = 1\nk{i} = 1\n" for i in range(3000)),
    ):
        with at_most(2), contextlib.suppress(ConfigSyntaxError):
            parse(text)


def test_reading_imports_nothing_heavy() -> None:
    code = (
        "import sys; import filevault.config.profile, filevault.config.aws_config as a\n"
        "a.AwsConfig.parse(b'[profile a]\\nregion = x\\n', 'x').profile('a')\n"
        "print([m for m in ('configparser','shlex','difflib','pathlib','inspect','logging',"
        "'dataclasses','datetime','subprocess') if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    assert run.stdout == "[]\n"


# Appending.

NESTED = (
    b"[default]\nregion = us-west-2\ns3=\n  max_concurrent_requests=10\n  max_queue_size=1000\n"
)
LLAMAS = {"mfa_serial": "testserial", "region": "us-east-1"}
ADDED = b"[profile llamas]\nmfa_serial = testserial\nregion = us-east-1\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, ADDED),
        (b"", ADDED),
        (NESTED, NESTED + b"\n" + ADDED),
        (NESTED.rstrip(b"\n"), NESTED + b"\n" + ADDED),
        (NESTED + b"\n", NESTED + b"\n" + ADDED),
        (b"# only a comment", b"# only a comment\n\n" + ADDED),
        (
            NESTED.replace(b"\n", b"\r\n"),
            (NESTED + b"\n" + ADDED).replace(b"\n", b"\r\n"),
        ),
        (
            b"[default]\r\nregion = x",
            b"[default]\r\nregion = x\r\n\r\n" + ADDED.replace(b"\n", b"\r\n"),
        ),
        (b"[default]\r\n\r\n", b"[default]\r\n\r\n" + ADDED.replace(b"\n", b"\r\n")),
        (b"[default]\nx = y\r\n", b"[default]\nx = y\r\n\n" + ADDED),
        (b" [x]  \n\n\t# odd \n k  :v \n", b" [x]  \n\n\t# odd \n k  :v \n\n" + ADDED),
    ],
)
def test_appending_keeps_every_byte_and_adds_one_section(
    tmp_path: Path, before: bytes | None, after: bytes
) -> None:
    path = tmp_path / "config"
    if before is not None:
        path.write_bytes(before)
    append_profile(str(path), "llamas", LLAMAS, EditRules(None))
    assert path.read_bytes() == after


def test_appending_to_nothing_makes_private_folder_and_file(tmp_path: Path) -> None:
    path = tmp_path / ".aws" / "config"
    append_profile(str(path), "default", {"region": "x"}, EditRules(None))
    assert path.read_text() == "[default]\nregion = x\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_appending_goes_through_a_link_and_keeps_the_mode(tmp_path: Path) -> None:
    target = tmp_path / "dotfiles" / "aws"
    target.parent.mkdir()
    target.write_bytes(NESTED)
    target.chmod(0o640)
    link = tmp_path / "config"
    link.symlink_to(target)
    append_profile(str(link), "llamas", LLAMAS, EditRules(None))
    assert link.is_symlink()
    assert target.read_bytes() == NESTED + b"\n" + ADDED
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert os.listdir(target.parent) == ["aws"]


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "default",
        "a b",
        "team/prod",
        "it's",
        'a"b',
        "a\\b",
        "a]b",
        "é",
        "a#b",
        ";",
        "a=b",
        "x:",
    ],
)
def test_botocore_reads_back_what_was_appended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = tmp_path / "config"
    path.write_bytes(b"[profile other]\nregion = r\ns3 =\n  a = b")
    settings = {
        "credential_process": f'filevault export "{name}" --format json # 100%',
        "region": "eu-west-1",
    }
    append_profile(str(path), name, settings, EditRules(None))
    for variable in [each for each in os.environ if each.startswith("AWS_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    session = botocore.session.Session(profile=name)
    assert session.get_scoped_config() == settings
    assert session.full_config["profiles"] == {
        "other": {"region": "r", "s3": {"a": "b"}},
        name: settings,
    }
    section = AwsConfig.load(str(path)).profile(name)
    assert section is not None
    assert section.values == settings


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("a\nb", {}),
        ("a\x1b[31m", {}),
        ("a\u202eb", {}),
        ("a\udcffb", {}),
        ("a", {"region": "x\n[profile evil]\ncredential_process = sh"}),
        ("a", {"region": "x\ry"}),
        ("a", {"region": "x\x00"}),
        ("a", {"region": " x"}),
        ("a", {"region": "x\xa0"}),
        ("a", {"region\nx": "x"}),
        ("a", {"": "x"}),
        ("a", {"# region": "x"}),
        ("a", {"[x]": "x"}),
        ("a", {"Region": "x"}),
        ("a", {"a:b": "x"}),
        ("old", {"region": "x"}),
        ("spaced out", {"region": "x"}),
    ],
)
def test_what_would_not_read_back_is_refused_and_nothing_written(
    tmp_path: Path, name: str, settings: dict[str, str]
) -> None:
    path = tmp_path / "config"
    before = b'[profile old]\nregion = y\n[profile "spaced out"]\n'
    path.write_bytes(before)
    with pytest.raises(ConfigError) as caught:
        append_profile(str(path), name, settings, EditRules(None))
    assert not isinstance(caught.value, ConfigSyntaxError)
    assert caught.value.message.isprintable()
    assert path.read_bytes() == before


def test_a_broken_file_is_not_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_bytes(b"nonsense\n")
    with pytest.raises(ConfigSyntaxError, match="line 1 "):
        append_profile(str(path), "a", {"region": "x"}, EditRules(None))
    assert path.read_bytes() == b"nonsense\n"


def test_a_file_that_would_grow_too_long_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_bytes(b"#" * (LIMIT - 1) + b"\n")
    with pytest.raises(ConfigError, match="longer"):
        append_profile(str(path), "a", {"region": "x"}, EditRules(None))
    assert path.stat().st_size == LIMIT


def test_a_device_is_not_replaced() -> None:
    with pytest.raises(ConfigError, match="regular file"):
        append_profile("/dev/null", "a", {"region": "x"}, EditRules(None))
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_place_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        append_profile(str(tmp_path / "file" / "config"), "a", {"region": "x"}, EditRules(None))


def test_the_lines_to_add_can_be_shown_without_writing() -> None:
    assert profile_section("a b", {"region": "x"}) == '[profile "a b"]\nregion = x\n'
    assert profile_section("default", {}) == "[default]\n"
