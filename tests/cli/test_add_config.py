"""What `add` does to the AWS config: a section more, every other byte kept."""

from __future__ import annotations

import os

import pytest

from tests.conditions.mounts import read_only
from tests.conditions.other_user import needs_root
from tests.launch.installed import install
from tests.samples import EXAMPLE_ID, EXAMPLE_LINES, SECRET
from tests.worlds.machine import Machine, ProcessResult


def add(machine: Machine, profile: str, *options: str) -> ProcessResult:
    return machine.run("add", profile, "--stdin", *options, stdin=EXAMPLE_LINES)


def stored(machine: Machine, profile: str) -> bool:
    return profile in machine.ok("list", "--credentials").out.splitlines()


def test_a_missing_config_is_made_for_its_owner_alone(vault: Machine) -> None:
    result = add(vault, "jon", "--region", "eu-west-1", "--mfa-serial", "arn:aws:iam::1:mfa/jon")
    assert result.status == 0
    assert vault.config.read_bytes() == (
        b"[profile jon]\nregion = eu-west-1\nmfa_serial = arn:aws:iam::1:mfa/jon\n"
    )
    assert vault.config.stat().st_mode & 0o777 == 0o600
    assert vault.config.parent.stat().st_mode & 0o777 == 0o700
    assert f"added profile jon to {vault.config}" in result.err


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b"[profile jon]\n"),
        (b"[default]\nregion = x\n", b"[default]\nregion = x\n\n[profile jon]\n"),
        (b"[default]\nregion = x", b"[default]\nregion = x\n\n[profile jon]\n"),
        (b"[default]\nregion = x\n\n", b"[default]\nregion = x\n\n[profile jon]\n"),
        (b"[default]\r\nregion = x\r\n", b"[default]\r\nregion = x\r\n\r\n[profile jon]\r\n"),
        (b"[default]\r\nregion = x", b"[default]\r\nregion = x\r\n\r\n[profile jon]\r\n"),
        (b"# only\n; comments \xc3\xa9", b"# only\n; comments \xc3\xa9\n\n[profile jon]\n"),
        (b"[other]\nodd =  spaces \t\n", b"[other]\nodd =  spaces \t\n\n[profile jon]\n"),
    ],
    ids=["empty", "usual", "no-end", "blank", "crlf", "crlf-no-end", "comments", "spaces"],
)
def test_every_byte_stays_and_line_ends_are_the_files(
    vault: Machine, before: bytes, after: bytes
) -> None:
    vault.config.parent.mkdir()
    vault.config.write_bytes(before)
    vault.config.chmod(0o644)
    assert add(vault, "jon").status == 0
    assert vault.config.read_bytes() == after
    assert vault.config.stat().st_mode & 0o777 == 0o644


def test_a_link_stays_and_its_target_gets_the_section(vault: Machine) -> None:
    target = vault.home / "dotfiles/aws-config"
    target.parent.mkdir()
    target.write_text("[default]\n")
    vault.config.parent.mkdir()
    vault.config.symlink_to("../dotfiles/aws-config")
    assert add(vault, "jon").status == 0
    assert os.readlink(vault.config) == "../dotfiles/aws-config"
    assert target.read_text() == "[default]\n\n[profile jon]\n"


def test_a_folder_that_is_a_link_stays_too(vault: Machine) -> None:
    real = vault.home / "dotfiles/aws"
    real.mkdir(parents=True)
    vault.config.parent.symlink_to(real)
    assert add(vault, "jon").status == 0
    assert vault.config.parent.is_symlink()
    assert (real / "config").read_text() == "[profile jon]\n"


def test_the_config_is_where_its_variable_says(vault: Machine) -> None:
    vault.env["AWS_CONFIG_FILE"] = "~/elsewhere/config"
    assert add(vault, "jon").status == 0
    assert (vault.home / "elsewhere/config").read_text() == "[profile jon]\n"
    assert not vault.config.parent.exists()


@pytest.mark.parametrize("option", ["--no-config", "--no-add-config"])
def test_the_config_is_left_alone_on_demand(vault: Machine, option: str) -> None:
    result = add(vault, "jon", option)
    assert (result.status, result.err) == (0, "")
    assert not vault.config.parent.exists()
    assert stored(vault, "jon")


def test_a_section_that_is_there_stays_as_it_is(vault: Machine) -> None:
    text = "[profile jon]\nregion = eu-west-1\n"
    vault.write_config(text)
    result = add(vault, "jon", "--mfa-serial", "arn:aws:iam::1:mfa/jon")
    assert result.status == 0
    assert "is in the AWS config already" in result.err
    assert "check that it has mfa_serial = arn:aws:iam::1:mfa/jon" in result.err
    assert vault.config.read_text() == text
    assert add(vault, "jon", "--force").err == ""


@pytest.mark.parametrize("what", ["file", "folder"])
def test_where_the_config_cannot_be_written_the_key_is_stored_and_the_lines_are_shown(
    vault: Machine, what: str
) -> None:
    program = install(vault)
    vault.write_config("[default]\n")
    place = vault.config if what == "file" else vault.config.parent
    read_only(vault, place)
    result = add(vault, "jon", "--region", "eu-west-1", "--sdk-profile", "sdk")
    assert result.status == 0
    assert result.out == "Stored the key of profile jon.\n"
    assert "the AWS config was not changed" in result.err
    for line in (
        "[profile jon]",
        "region = eu-west-1",
        "[profile sdk]",
        f"credential_process = {program} export jon --format json",
    ):
        assert f"filevault:     {line}\n" in result.err
    assert vault.config.read_text() == "[default]\n"
    assert list(vault.config.parent.iterdir()) == [vault.config]
    assert stored(vault, "jon")


def test_a_config_with_a_syntax_error_is_named_before_a_secret_is_read(vault: Machine) -> None:
    vault.write_config("[default]\nregion = x\nnonsense\n")
    result = add(vault, "jon")
    assert result.status == 3
    assert "line 3" in result.err
    assert not stored(vault, "jon")


def test_an_sdk_profile_holds_a_process_and_the_region_only(vault: Machine) -> None:
    program = install(vault)
    result = add(vault, "jon smith", "--sdk-profile", "sdk", "--region", "eu-west-1")
    assert result.status == 0
    assert vault.config.read_text() == (
        '[profile "jon smith"]\nregion = eu-west-1\n\n'
        "[profile sdk]\n"
        f"credential_process = {program} export 'jon smith' --format json\nregion = eu-west-1\n"
    )
    for name in (
        "AWS_EC2_METADATA_DISABLED=true",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_PROFILE=sdk",
    ):
        assert name in result.err


def test_an_sdk_profile_keeps_the_settings_that_choose_endpoints(vault: Machine) -> None:
    vault.write_config(
        "[default]\nregion = eu-west-1\n[profile jon]\nuse_fips_endpoint = true\nservices = s\n"
        "ca_bundle = /etc/our.pem\nmfa_serial = x\n[services s]\ns3 =\n  endpoint_url = http://h\n"
    )
    assert add(vault, "jon", "--sdk-profile", "sdk").status == 0
    section = vault.config.read_text().partition("[profile sdk]\n")[2].splitlines()[1:]
    assert section == [
        "region = eu-west-1",
        "services = s",
        "use_fips_endpoint = true",
        "ca_bundle = /etc/our.pem",
    ]


@pytest.mark.parametrize("name", ["a b", "a,b", "Zoë", "a=b", 'a"b', "a#b"])
def test_a_name_that_some_sdk_cannot_read_is_warned_of(vault: Machine, name: str) -> None:
    # Before the key is read: there is none.
    result = vault.run("add", "jon", "--stdin", "--sdk-profile", name, stdin="")
    assert result.status != 0
    assert "warning: not every SDK can read a profile called" in result.err
    assert name in result.err


def test_an_sdk_profile_may_begin_with_a_dash(vault: Machine) -> None:
    program = install(vault)
    result = vault.run("add", "--stdin", "--sdk-profile=-sdk", "--", "-jon", stdin=EXAMPLE_LINES)
    assert result.status == 0
    assert "warning" not in result.err
    assert vault.config.read_text().endswith(
        f"[profile -sdk]\ncredential_process = {program} export --format json -- -jon\n"
    )


def test_an_sdk_profile_must_be_another_and_new(vault: Machine) -> None:
    vault.write_config("[profile taken]\n")
    assert add(vault, "jon", "--sdk-profile", "jon").status == 2
    assert add(vault, "jon", "--sdk-profile", "taken").status == 3
    assert not stored(vault, "jon")
    assert vault.config.read_text() == "[profile taken]\n"


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("default", "[default]"),
        ("work/prod", "[profile work/prod]"),
        ("a b", '[profile "a b"]'),
        ("Zoë", '[profile "Zoë"]'),
        ('quo"te', '[profile "quo\\"te"]'),
        ("back\\slash", '[profile "back\\\\slash"]'),
        ("it's", '[profile "it\'s"]'),
        ("#hash", '[profile "#hash"]'),
        ("-dash", "[profile -dash]"),
    ],
)
def test_odd_names_are_written_as_botocore_reads_them(
    vault: Machine, name: str, header: str
) -> None:
    result = vault.run("add", "--stdin", "--", name, stdin=EXAMPLE_LINES)
    assert result.status == 0, result
    assert vault.config.read_text().splitlines()[0] == header
    import botocore.configloader

    profiles = botocore.configloader.load_config(str(vault.config))["profiles"]
    assert list(profiles) == [name]
    assert stored(vault, name)


def test_a_name_with_hidden_characters_is_not_written_down(vault: Machine) -> None:
    result = add(vault, "evil\u202egpj")
    assert result.status == 3
    assert "must not go into the AWS config" in result.err
    assert "\u202e" not in result.everything
    assert add(vault, "evil\u202egpj", "--no-config").status == 0
    assert not vault.config.exists()


def test_a_profile_whose_source_the_key_would_hide_is_refused(vault: Machine) -> None:
    vault.write_config("[profile admin]\nrole_arn = x\nsource_profile = jon\n")
    result = add(vault, "admin")
    assert result.status == 3
    assert "store the key for 'jon'" in result.err


READING = [
    ("list",),
    ("list", "--json"),
    ("export", "jon", "-n"),
    ("export", "nowhere"),
    ("exec", "jon", "-n", "--", "true"),
    ("export", "jon", "--explain"),
    ("clear",),
    ("recipients", "list"),
    ("remove", "jon", "-f"),
]


def test_commands_that_read_never_make_a_config_folder(vault: Machine) -> None:
    add(vault, "jon", "--no-config")
    for argv in READING:
        vault.run(*argv)
        assert not vault.config.parent.exists(), argv


@needs_root
def test_a_config_of_somebody_else_is_named_before_a_secret_is_read(vault: Machine) -> None:
    vault.config.parent.mkdir()
    vault.config.write_text("[default]\n")
    os.chown(vault.config, 65534, 65534)
    result = add(vault, "jon")
    assert result.status == 3
    assert "belongs to user 65534" in result.err
    os.chown(vault.config, 0, 0)
    assert not stored(vault, "jon")


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (("--region", "EU-WEST-1"), 3, "names of regions are in lower case: eu-west-1"),
        (("--mfa-serial", "arn:aws:iam::123456789012:user/jon"), 2, "the ARN of a user"),
        (("--mfa-serial", "arn:aws:iam::123456789012:u2f/user/jon/x"), 2, "a FIDO security key"),
    ],
)
def test_what_no_call_could_use_is_refused_before_the_key_is_asked_for(
    machine: Machine, options: tuple[str, ...], status: int, words: str
) -> None:
    result = machine.on_terminal("add", "jon", *options)
    assert (result.status, result.tty) == (status, "")
    assert words in result.err


def test_a_profile_that_names_itself_as_its_source_takes_a_key(machine: Machine) -> None:
    machine.with_vault()
    machine.write_config("[profile jon]\nsource_profile = jon\n")
    machine.add("jon", EXAMPLE_ID, SECRET)
    assert machine.run("export", "-n", "jon").err == ""
