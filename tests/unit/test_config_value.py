"""One value of a profile is set in the AWS config; every other byte stays, as botocore sees it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from botocore.configloader import load_config

from filevault.config.aws_config_edit import set_profile_value
from filevault.errors import ConfigError, ConfigSyntaxError
from filevault.system.config_files import EditRules

ARN = "arn:aws:sts::123456789012:assumed-role/Admin=1/jon@example.com"
LINE = f"login_session = {ARN}"

# The old config and the new one, where `%%` is the line.
EDITS = {
    "an empty section": ("[profile work]\n", "[profile work]\n%%\n"),
    "no final line end": ("[profile work]", "[profile work]\n%%\n"),
    "a section with values": (
        "[profile work]\nregion = x\n\n[profile b]\nregion = y\n",
        "[profile work]\n%%\nregion = x\n\n[profile b]\nregion = y\n",
    ),
    "carriage returns": (
        "# a\r\n[profile work]\r\nregion = x\r\n",
        "# a\r\n[profile work]\r\n%%\r\nregion = x\r\n",
    ),
    "indented values": (
        "[profile work]\n# c\n\n  region = x\n  output = y\n",
        "[profile work]\n  %%\n# c\n\n  region = x\n  output = y\n",
    ),
    "a nested block first": (
        "[profile work]\ns3 =\n  a = b\nregion = x\n",
        "[profile work]\n%%\ns3 =\n  a = b\nregion = x\n",
    ),
    "an indented header below": (
        "[profile work]\n\n  [profile b]\n  region = y\n",
        "[profile work]\n  %%\n\n  [profile b]\n  region = y\n",
    ),
    "the last section": (
        "[default]\nregion = x\n[profile work]",
        "[default]\nregion = x\n[profile work]\n%%\n",
    ),
    "default": None,
    "a value to replace": (
        "[profile work]\na = b\nlogin_session=old\nregion = x\n",
        f"[profile work]\na = b\nlogin_session={ARN}\nregion = x\n",
    ),
    "a value to replace, in another form": (
        "[profile work]\n  Login_Session :  old value \r\n[profile b]\n",
        f"[profile work]\n  Login_Session :  {ARN}\r\n[profile b]\n",
    ),
    "an empty value to replace": (
        "[profile work]\nlogin_session =\nregion = x\n",
        f"[profile work]\nlogin_session ={ARN}\nregion = x\n",
    ),
    "the same value in another section": (
        "[profile b]\nlogin_session = old\n[profile work]\nregion = x\n",
        "[profile b]\nlogin_session = old\n[profile work]\n%%\nregion = x\n",
    ),
    "comments and oddities": (
        "; c\n#[profile work]\n[sso-session s]\na = b\n[profile work]\n; region = z\n[foo]\n",
        "; c\n#[profile work]\n[sso-session s]\na = b\n[profile work]\n%%\n; region = z\n[foo]\n",
    ),
}
_DEFAULT = ("[default]\nregion = x\n", "[default]\n%%\nregion = x\n")


def profiles(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = load_config(str(path))["profiles"]
    return found


@pytest.mark.parametrize("name", EDITS)
def test_only_that_line_changes_and_botocore_reads_it(name: str, tmp_path: Path) -> None:
    old, new = EDITS[name] or _DEFAULT
    profile = "default" if name == "default" else "work"
    path = tmp_path / "config"
    path.write_bytes(old.encode())
    path.chmod(0o640)
    before = profiles(path)
    set_profile_value(str(path), profile, "login_session", ARN, EditRules(None))
    assert path.read_bytes() == new.replace("%%", LINE).encode()
    after = profiles(path)
    assert after[profile].pop("login_session") == ARN
    before[profile].pop("login_session", None)
    assert after == before
    assert path.stat().st_mode & 0o777 == 0o640


REFUSED = {
    "no such profile": ("[profile b]\n", ConfigError),
    "a value of several lines": (
        "[profile work]\nlogin_session = a\n  b\nregion = x\n",
        ConfigError,
    ),
    "a broken file": ("[profile work]\nregion\n", ConfigSyntaxError),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_changed_alone_stays(name: str, tmp_path: Path) -> None:
    old, kind = REFUSED[name]
    path = tmp_path / "config"
    path.write_text(old)
    with pytest.raises(kind):
        set_profile_value(str(path), "work", "login_session", ARN, EditRules(None))
    assert path.read_text() == old
    assert os.listdir(tmp_path) == ["config"]


@pytest.mark.parametrize("value", ["a\nb = c", "a\x1b", "a\u202e"])
def test_no_value_can_add_a_line(value: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("[profile work]\n")
    with pytest.raises(ConfigError):
        set_profile_value(str(path), "work", "login_session", value, EditRules(None))
    assert path.read_text() == "[profile work]\n"
