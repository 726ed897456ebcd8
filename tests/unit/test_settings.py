from __future__ import annotations

import os
import pwd
from pathlib import Path
from types import SimpleNamespace

import pytest

from filevault.config.config_toml import ConfigFile
from filevault.config.settings import GlobalOptions, Settings
from filevault.errors import ConfigError, ConfigSyntaxError, UsageError
from filevault.vault.defaults import option_store

SECRET_VARIABLES = [
    f"{prefix}{suffix}"
    for prefix in ("FILEVAULT_PASSPHRASE", "FILEVAULT_NEW_PASSPHRASE", "FILEVAULT_KEY")
    for suffix in ("", "_FD", "_FILE", "_COMMAND")
] + ["FILEVAULT_AGE_IDENTITY", "FILEVAULT_AGE_IDENTITY_FILE", "AWS_VAULT_FILE_PASSPHRASE"]


def settings(
    environ: dict[str, str] | None = None,
    config: str | None = None,
    *,
    home: Path,
    **options: object,
) -> Settings:
    if config is not None:
        path = home / ".config/filevault/config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(config, encoding="utf-8")
    return Settings.capture(
        GlobalOptions(**options),  # type: ignore[arg-type]
        {"HOME": str(home), **(environ or {})},
    )


@pytest.mark.parametrize("name", SECRET_VARIABLES)
def test_capturing_takes_every_secret_source_out_of_the_environment(name: str) -> None:
    environ = {name: "secret", "PATH": "/bin"}
    captured = Settings.capture(GlobalOptions(), environ)
    assert environ == {"PATH": "/bin"}
    assert captured.environ == {"PATH": "/bin"}
    assert captured.get(name) is None
    assert "secret" not in captured.program_environment().values()


def test_an_entry_without_a_name_is_given_to_no_program() -> None:
    """`=x` in the environment, which Python refuses to pass on."""
    settings = Settings.capture(GlobalOptions(), {"": "x", "HOME": "/home/jon"})
    assert "" not in settings.environ
    assert "" not in settings.program_environment()


@pytest.mark.parametrize(
    "name", ["FILEVAULT_PASSPHRASE2", "FILEVAULT_KEYS", "FILEVAULT_AGE_IDENTITYFILE"]
)
def test_names_that_begin_like_a_secret_s_go_too(name: str) -> None:
    environ = {name: "secret", "FILEVAULT_DIR": "/v"}
    assert Settings.capture(GlobalOptions(), environ).environ == {"FILEVAULT_DIR": "/v"}
    assert environ == {"FILEVAULT_DIR": "/v"}


def test_a_secret_variable_does_not_show_itself(tmp_path: Path) -> None:
    (found,) = settings({"FILEVAULT_KEY_FILE": "/key"}, home=tmp_path).secret_variables(
        "FILEVAULT_KEY"
    )
    assert (found.name, found.transport, found.content) == ("FILEVAULT_KEY_FILE", "file", "/key")
    assert "/key" not in repr(found)


def test_helper_programs_see_no_credentials(tmp_path: Path) -> None:
    given = {
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_SESSION_TOKEN": "x",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": "x",
        "AWS_CONFIG_FILE": "/c",
    }
    assert settings(given, home=tmp_path).program_environment() == {
        "HOME": str(tmp_path),
        "AWS_CONFIG_FILE": "/c",
    }


def test_folders_follow_xdg_where_it_is_absolute(tmp_path: Path) -> None:
    plain = settings(home=tmp_path)
    assert plain.default_vault == f"{tmp_path}/.local/share/filevault"
    assert plain.state_home == f"{tmp_path}/.local/state/filevault"
    assert plain.config_path == f"{tmp_path}/.config/filevault/config.toml"
    given = {"XDG_DATA_HOME": "/d", "XDG_STATE_HOME": "/s", "XDG_CONFIG_HOME": "/c"}
    absolute = settings(given, home=tmp_path)
    assert absolute.default_vault == "/d/filevault"
    assert absolute.state_home == "/s/filevault"
    assert absolute.config_path == "/c/filevault/config.toml"
    relative = settings(dict.fromkeys(given, "here"), home=tmp_path)
    assert relative.default_vault == plain.default_vault
    assert relative.state_home == plain.state_home
    assert relative.config_path == plain.config_path


def test_home_that_is_unset_or_relative_comes_from_the_password_database() -> None:
    expected = pwd.getpwuid(os.geteuid()).pw_dir
    for environ in ({}, {"HOME": ""}, {"HOME": "relative"}, {"HOME": "~"}):
        assert Settings.capture(GlobalOptions(), dict(environ)).home == expected


@pytest.mark.parametrize("directory", [None, "", "relative", "~"])
def test_without_any_home_the_error_names_home(
    directory: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def entry(_user: int) -> SimpleNamespace:
        if directory is None:
            raise KeyError(_user)
        return SimpleNamespace(pw_dir=directory)

    monkeypatch.setattr(pwd, "getpwuid", entry)
    with pytest.raises(ConfigError, match="HOME") as caught:
        _ = Settings.capture(GlobalOptions(), {"HOME": ""}).default_vault
    assert "FILEVAULT_DIR" in str(caught.value.hint)
    given = {"XDG_DATA_HOME": "/d", "XDG_STATE_HOME": "/s", "XDG_CONFIG_HOME": "/c"}
    assert Settings.capture(GlobalOptions(), given).default_vault == "/d/filevault"


def test_a_home_that_is_the_root_doubles_no_slash() -> None:
    found = Settings.capture(GlobalOptions(), {"HOME": "/"})
    assert found.home == "/"
    assert found.default_vault == "/.local/share/filevault"
    assert found.aws_config_path == "/.aws/config"
    assert found.expand("~/x") == "/x"
    assert (
        Settings.capture(GlobalOptions(), {"HOME": "/h/"}).state_home == "/h/.local/state/filevault"
    )


def test_a_tilde_means_home_in_the_option_too(tmp_path: Path) -> None:
    for name in ("vault", "pass_dir"):
        chosen = option_store(settings(None, None, home=tmp_path, **{name: "~/x"}))
        assert chosen == (f"{tmp_path}/x", f"--{name.replace('_', '-')}")


def test_the_aws_config_is_where_its_variable_says(tmp_path: Path) -> None:
    assert settings(home=tmp_path).aws_config_path == f"{tmp_path}/.aws/config"
    given = settings({"AWS_CONFIG_FILE": "~/other"}, home=tmp_path)
    assert given.aws_config_path == f"{tmp_path}/other"


def test_an_option_beats_a_variable_beats_the_file_beats_aws_vaults(tmp_path: Path) -> None:
    config = 'prompt = "none"\n'
    environ = {"AWS_VAULT_PROMPT": "ykman", "FILEVAULT_PROMPT": "terminal"}
    assert settings(environ, config, home=tmp_path, prompt="ykman").prompt == "ykman"
    assert settings(environ, config, home=tmp_path).prompt == "terminal"
    del environ["FILEVAULT_PROMPT"]
    assert settings(environ, config, home=tmp_path).prompt == "none"
    assert settings(environ, "", home=tmp_path).prompt == "ykman"
    assert settings(home=tmp_path).prompt is None


def test_strict_can_be_switched_off_for_one_run(tmp_path: Path) -> None:
    assert settings({}, "strict = true", home=tmp_path).strict is True
    assert settings({"FILEVAULT_STRICT": "0"}, "strict = true", home=tmp_path).strict is False
    off = settings({"FILEVAULT_STRICT": "0"}, home=tmp_path, strict=True)
    assert off.strict is True


@pytest.mark.parametrize("value", ["yes", "2", "on", "nope", " "])
def test_a_switch_that_is_neither_on_nor_off_is_an_error(value: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="FILEVAULT_STRICT is neither true nor false"):
        _ = settings({"FILEVAULT_STRICT": value}, home=tmp_path).strict


def test_a_variable_that_is_set_but_empty_counts_as_absent(tmp_path: Path) -> None:
    empty = settings({"FILEVAULT_STRICT": "", "FILEVAULT_DIR": ""}, home=tmp_path)
    assert empty.strict is False
    assert empty.vault is None


@pytest.mark.parametrize("name", ["AWS_VAULT_DURATION", "AWS_ASSUME_ROLE_TTL", "AWS_MIN_TTL"])
def test_a_malformed_duration_variable_is_an_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"{name} is not a duration"):
        settings({name: "soon"}, home=tmp_path).duration(name)
    assert settings({name: "1h30m"}, home=tmp_path).duration(name) == 5400
    assert settings(home=tmp_path).duration(name) is None


@pytest.mark.parametrize("pin", ["", "ab", "g" * 64, "a" * 63])
def test_a_pin_is_64_hex_digits(pin: str, tmp_path: Path) -> None:
    if not pin:
        assert settings({"FILEVAULT_PIN": pin}, home=tmp_path).pin is None
        return
    with pytest.raises(UsageError, match="64 hex digits"):
        _ = settings({"FILEVAULT_PIN": pin}, home=tmp_path).pin
    assert settings({"FILEVAULT_PIN": f" {'AB' * 32}\n"}, home=tmp_path).pin == "ab" * 32


def test_backends_have_aliases_and_no_others(tmp_path: Path) -> None:
    chosen = settings(home=tmp_path, backend="passphrase").backend
    assert chosen is not None
    assert (chosen.value, chosen.origin, chosen.explicit) == ("file", "--backend", True)
    with pytest.raises(UsageError, match="'keychain'"):
        _ = settings({"FILEVAULT_BACKEND": "keychain"}, home=tmp_path).backend


def test_a_backend_of_aws_vault_that_we_lack_is_only_ignored(tmp_path: Path) -> None:
    assert settings({"AWS_VAULT_BACKEND": "kwallet"}, home=tmp_path).aws_vault_backend == (
        None,
        "kwallet",
    )
    choice, ignored = settings({"AWS_VAULT_BACKEND": "file"}, home=tmp_path).aws_vault_backend
    assert ignored is None
    assert choice is not None
    assert not choice.explicit


@pytest.mark.parametrize(
    ("config", "kind", "message"),
    [
        ("vault = ", ConfigSyntaxError, "not TOML"),
        ("\xff", ConfigSyntaxError, "not TOML"),
        ("vaults = 'x'", ConfigError, "means nothing: 'vaults'"),
        ("strict = 1", ConfigError, "strict must be true or false"),
        ("strict = 'true'", ConfigError, "strict must be true or false"),
        ("vault = 7", ConfigError, "vault must be text"),
        ("vault = 'relative'", ConfigError, "must be an absolute path"),
        ("backend = 'keychain'", ConfigError, "names no backend: 'keychain'"),
    ],
)
def test_a_config_file_that_means_nothing_is_refused(
    config: str, kind: type[ConfigError], message: str, tmp_path: Path
) -> None:
    found = settings(home=tmp_path)
    path = Path(found.config_path)
    path.parent.mkdir(parents=True)
    path.write_bytes(config.encode("latin-1"))
    with pytest.raises(kind, match=message) as caught:
        _ = found.config
    assert str(path) in caught.value.message


def test_without_a_config_file_everything_is_default(tmp_path: Path) -> None:
    config = settings(home=tmp_path).config
    assert config == ConfigFile(config.path)
    assert settings(home=tmp_path).cache_roles is True
    assert settings({}, "cache_roles = false", home=tmp_path).cache_roles is False
    assert settings(home=tmp_path).cache_sso_refresh is True
    assert settings({}, "cache_sso_refresh = false", home=tmp_path).cache_sso_refresh is False


def test_system_credentials_lie_where_systemd_and_containers_put_them(tmp_path: Path) -> None:
    given = settings({"CREDENTIALS_DIRECTORY": "/run/credentials/x"}, home=tmp_path)
    assert given.system_credentials("filevault-key") == [
        "/run/credentials/x/filevault-key",
        "/run/secrets/filevault_key",
    ]
    relative = settings({"CREDENTIALS_DIRECTORY": "here"}, home=tmp_path)
    assert relative.system_credentials("filevault-key") == ["/run/secrets/filevault_key"]


def test_aws_credentials_leave_the_environment_that_libraries_hand_on() -> None:
    environ = {"AWS_SECRET_ACCESS_KEY": "s", "AWS_CONTAINER_AUTHORIZATION_TOKEN": "t", "PATH": "/"}
    settings = Settings.capture(GlobalOptions(), environ)
    assert environ == {"PATH": "/"}
    assert settings.get("AWS_SECRET_ACCESS_KEY") == "s"
