"""The settings of one run, from options, environment and config.toml: one table with precedence.

Only this module reads the process environment. It removes the variables that contain or name a
secret, so that no helper program and no command inherits them. Variables that override a profile
are in `filevault.config.overrides`, those that a command gets in `filevault.config.aws_variables`.
"""

from __future__ import annotations

import contextlib
import os
import posix

from filevault.backends import backend_names, find_backend
from filevault.config.aws_variables import MARKER, is_credential, unchanged_settings
from filevault.config.config_toml import ConfigFile, load
from filevault.errors import ConfigError, UsageError
from filevault.system.config_files import TRUST_VARIABLE
from filevault.system.inputs import Inputs
from filevault.system.printable import printable
from filevault.system.record import Record
from filevault.system.times import parse_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

_AGE_IDENTITY = "FILEVAULT_AGE_IDENTITY"
_SECRET_PREFIXES = (
    "FILEVAULT_PASSPHRASE",
    "FILEVAULT_NEW_PASSPHRASE",
    "FILEVAULT_SOURCE_PASSPHRASE",
    "FILEVAULT_SOURCE_KEY",
    "FILEVAULT_SOURCE_AGE_IDENTITY",
    "FILEVAULT_KEY",
    _AGE_IDENTITY,
    "AWS_VAULT_FILE_PASSPHRASE",
)
_TERMINALS = frozenset({"GPG_TTY", "DISPLAY", "WAYLAND_DISPLAY"})
# What chooses or identifies the vault of the run, and no other.
_ONE_VAULT = ("FILEVAULT_DIR", "FILEVAULT_BACKEND", "FILEVAULT_PREFIX", "FILEVAULT_PIN")
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
_VARIABLE = r"\$(?:(\w+)|\{([^}]*)\})"  # as os.path.expandvars finds them
_PROMPTS = ("terminal", "ykman", "none")

TEXT = "text"
PATH = "path"
SWITCH = "switch"


class SettingDefinition(Record):
    """A setting that can be given in several ways, here in the order of precedence.

    `option` is the global option without hyphens, which is also the field of `GlobalOptions`.
    `variable` is a `FILEVAULT_*` variable, `config_key` a key of config.toml, `aws_vault` a
    variable of AWS Vault's. `type` is TEXT, PATH or SWITCH.
    """

    type: str
    meaning: str
    option: str
    variable: str
    config_key: str | None = None
    aws_vault: str | None = None


SETTINGS = (
    SettingDefinition(PATH, "the vault's folder", "vault", "FILEVAULT_DIR", "vault"),
    SettingDefinition(
        TEXT,
        "the backend: file, pass or age",
        "backend",
        "FILEVAULT_BACKEND",
        "backend",
        "AWS_VAULT_BACKEND",
    ),
    SettingDefinition(
        PATH,
        "the folder of the items in a pass or passage store",
        "prefix",
        "FILEVAULT_PREFIX",
        "prefix",
        "AWS_VAULT_PASS_PREFIX",
    ),
    SettingDefinition(
        TEXT, "the vault's identity, instead of the pinned one", "pin", "FILEVAULT_PIN"
    ),
    SettingDefinition(
        SWITCH, "refuse what is otherwise a warning", "strict", "FILEVAULT_STRICT", "strict"
    ),
    SettingDefinition(
        TEXT,
        "the source of MFA codes: terminal, ykman or none",
        "prompt",
        "FILEVAULT_PROMPT",
        "prompt",
        "AWS_VAULT_PROMPT",
    ),
    SettingDefinition(SWITCH, "permit plain http", "allow_http", "FILEVAULT_ALLOW_HTTP"),
    SettingDefinition(SWITCH, "print more on stderr", "debug", "FILEVAULT_DEBUG"),
)
_BY_NAME = {setting.option: setting for setting in SETTINGS}


class GlobalOptions(Record):
    """The global options of the command line; None and False mean not given."""

    vault: str | None = None
    backend: str | None = None
    prefix: str | None = None
    pass_dir: str | None = None
    passphrase_fd: int | None = None
    passphrase_file: str | None = None
    key_file: str | None = None
    identity: tuple[str, ...] = ()
    strict: bool = False
    pin: str | None = None
    slot: str | None = None
    allow_weak_kdf: bool = False
    allow_http: bool = False
    prompt: str | None = None
    debug: bool = False


class Choice(Record):
    """A value with its origin; `explicit` if an option or a `FILEVAULT_*` variable gave it."""

    value: str
    origin: str
    explicit: bool


class SecretVariable(Record):
    """A variable that contains or names a secret: `transport` is value, fd, file or command."""

    _secret = ("content",)

    name: str
    transport: str
    content: str


class Settings:
    """The settings of one run.

    `environ` is the environment of this process without the variables that contain or name a
    secret, and without the settings of an outer filevault. `inputs` notes what the run reads.
    """

    __slots__ = (
        "_config",
        "_home",
        "_outer",
        "_process",
        "_secrets",
        "environ",
        "inputs",
        "options",
    )

    def __init__(
        self,
        environ: Mapping[str, str],
        options: GlobalOptions = GlobalOptions(),  # noqa: B008 - immutable
        secrets: Mapping[str, str] | None = None,
        outer: Mapping[str, str] | None = None,
        inputs: Inputs | None = None,
    ) -> None:
        self.options = options
        self.inputs = inputs or Inputs()
        self._secrets = secrets or {}
        self._outer = outer or {}
        self._process: MutableMapping[str, str] | None = None
        self.environ = environ
        self._config: ConfigFile | None = None
        self._home: str | None = None

    @classmethod
    def capture(
        cls,
        options: GlobalOptions,
        environ: MutableMapping[str, str] = os.environ,
    ) -> Settings:
        """Read the process environment; remove secret sources and AWS credentials from it.

        The settings that an outer filevault set are removed, too: they belong to its profile, or
        to its endpoint. The user's own values, which it overrode, are there again.
        """
        if environ is os.environ and b"LC_CTYPE" not in posix.environ:
            environ.pop("LC_CTYPE", None)  # Python's own: `__main__` has found out
        secrets = {name: environ.pop(name) for name in list(environ) if _is_secret(name)}
        # botocore would read them in this process.
        former = unchanged_settings(environ)
        outer = {name: environ.pop(name) for name in former if name in environ}
        environ.update({name: value for name, value in former.items() if value is not None})
        if MARKER in environ:
            outer[MARKER] = environ.pop(MARKER)
        # An entry such as `=x` has no name, and Python can start no program with it.
        named = {name: value for name, value in environ.items() if name}
        settings = cls(named, options, secrets, outer)
        settings._process = environ
        # Programs that a library starts, as pyrage does for age plugins, inherit the environment
        # of the process.
        for name in list(environ):
            # botocore treats an empty AWS_CA_BUNDLE as a missing file.
            empty = name.startswith("AWS_") and not environ[name]
            if empty or is_credential(name):
                del environ[name]
        return settings

    def restore_outer_settings(self) -> None:
        """Restore the settings of an outer filevault, which belong to the credentials it set."""
        self.environ = {**self.environ, **self._outer}
        if self._process is not None:
            self._process.update(self._outer)

    def without_terminal(self) -> Settings:
        """Return the same settings without the variables that lead a program to a terminal.

        gpg would let its pinentry ask there.
        """
        found = Settings(
            {name: self.environ[name] for name in self.environ if name not in _TERMINALS},
            self.options,
            self._secrets,
            self._outer,
            self.inputs,
        )
        found._config = self._config
        return found

    def forget_secrets(self) -> None:
        """Forget the variables that contain or name a secret: this process needs none of them."""
        self._secrets = {}

    def for_other_vault(
        self, which: str, *, vault: str | None, backend: str | None, prefix: str | None
    ) -> Settings:
        """Return the settings with which a second vault of the run is chosen and opened.

        Args:
            which: `SOURCE` or `NEW`. `FILEVAULT_SOURCE_PASSPHRASE` and the like, if one is set,
                replace passphrase and key file of the first vault; else the same serve.
            vault: the folder, None for the default one of the backend.
            backend: its name or alias, None for that of its marker.
            prefix: the folder of its items, None for the default.
        """
        options = self.options._replace(
            vault=vault, backend=backend, prefix=prefix, pass_dir=None, pin=None, slot=None
        )
        prefixed = f"FILEVAULT_{which}_"
        own = {
            name.replace(prefixed, "FILEVAULT_", 1): value
            for name, value in self._secrets.items()
            if name.startswith(prefixed)
        }
        if any(name.startswith(_AGE_IDENTITY) for name in own):
            options = options._replace(identity=())
        else:
            own |= {
                name: value
                for name, value in self._secrets.items()
                if own and name.startswith(_AGE_IDENTITY)
            }
        if own:
            options = options._replace(passphrase_fd=None, passphrase_file=None, key_file=None)
        environ = {name: value for name, value in self.environ.items() if name not in _ONE_VAULT}
        return Settings(environ, options, own or self._secrets, self._outer)

    def get(self, name: str) -> str | None:
        """Return a variable's value, None if it is unset or empty."""
        self.inputs.variable(name)
        return self.environ.get(name) or None

    # Folders

    @property
    def home(self) -> str:
        """The user's home directory: `$HOME`, else that of the password database.

        Without a slash at its end, except for `/`. Raises ConfigError if neither is absolute.
        """
        if self._home is None:
            home = self.get("HOME")
            if home is None or not home.startswith("/"):
                self.inputs.spoil("the password database was asked")
                home = _home_of_user()
            self._home = home.rstrip("/") or "/"
        return self._home

    @property
    def home_if_known(self) -> str | None:
        """The same, None if there is no home directory."""
        with contextlib.suppress(ConfigError):
            return self.home
        return None

    def _at_home(self, path: str) -> str:
        return f"{self.home.rstrip('/')}/{path}"

    def _xdg(self, variable: str, default: str) -> str:
        # XDG Base Directory Specification: relative values are invalid and ignored.
        value = self.get(variable)
        return value if value and value.startswith("/") else self._at_home(default)

    @property
    def config_path(self) -> str:
        """The path of config.toml."""
        return self._xdg("XDG_CONFIG_HOME", ".config") + "/filevault/config.toml"

    @property
    def default_vault(self) -> str:
        """The default root of a `file` vault."""
        return self._xdg("XDG_DATA_HOME", ".local/share") + "/filevault"

    @property
    def state_home(self) -> str:
        """The folder that contains one state directory for each vault."""
        return self._xdg("XDG_STATE_HOME", ".local/state") + "/filevault"

    @property
    def aws_credentials_path(self) -> str:
        """`$AWS_SHARED_CREDENTIALS_FILE`, else `~/.aws/credentials`."""
        value = self.get("AWS_SHARED_CREDENTIALS_FILE")
        return (
            self.expand(os.path.expandvars(value)) if value else self._at_home(".aws/credentials")
        )

    @property
    def aws_vault_files(self) -> str:
        """`$AWS_VAULT_FILE_DIR`, else `~/.awsvault/keys`: AWS Vault's `file` store."""
        value = self.get("AWS_VAULT_FILE_DIR")
        return self.expand(value) if value else self._at_home(".awsvault/keys")

    @property
    def aws_vault_passphrase(self) -> str | None:
        """`AWS_VAULT_FILE_PASSPHRASE`, which may be empty; None if it is not set."""
        return self._secrets.get("AWS_VAULT_FILE_PASSPHRASE")

    @property
    def aws_config_path(self) -> str:
        """`$AWS_CONFIG_FILE`, else `~/.aws/config`."""
        return self._aws_file("AWS_CONFIG_FILE", ".aws/config")

    def _aws_file(self, variable: str, default: str) -> str:
        value = self.get(variable)
        if not value:
            return self._at_home(default)
        if "$" in value:
            import re

            for plain, braced in re.findall(_VARIABLE, value, re.ASCII):
                self.inputs.variable(plain or braced)
        return self.expand(os.path.expandvars(value))

    def expand(self, path: str) -> str:
        """Return `path` with a leading `~` replaced by the home directory."""
        if path == "~":
            return self.home
        if path.startswith("~/"):
            return self._at_home(path[2:])
        if path.startswith("~"):
            self.inputs.spoil("the password database was asked")
        return os.path.expanduser(path)

    # config.toml

    @property
    def config(self) -> ConfigFile:
        """The content of config.toml. Raises what `config_toml.load` raises."""
        if self._config is None:
            given = self.options.strict or self.flag("FILEVAULT_STRICT") is not None
            self._config = load(
                self.config_path, self._trusted(), strictness_given=given, inputs=self.inputs
            )
        return self._config

    @property
    def trusted_configs(self) -> list[str]:
        """Absolute paths of the configuration files that others may own or write."""
        named = self.config.trust_writers_of
        return [*self._trusted(), *([self._absolute(named)] if named else [])]

    def _trusted(self) -> list[str]:
        paths = (self.get(TRUST_VARIABLE) or "").split(":")
        return [self._absolute(path) for path in paths if path[:1] in ("/", "~")]

    def _absolute(self, path: str) -> str:
        return self.inputs.absolute(self.expand(path))

    # Which vault

    @property
    def vault(self) -> Choice | None:
        """`FILEVAULT_DIR`; `filevault.vault.defaults` handles `--vault` and `--pass-dir`."""
        value = self.get("FILEVAULT_DIR")
        return Choice(self.expand(value), "FILEVAULT_DIR", explicit=True) if value else None

    @property
    def backend(self) -> Choice | None:
        """`--backend` or `FILEVAULT_BACKEND`, by its canonical name. Raises UsageError."""
        choice = self._explicit("backend")
        if choice is None:
            return None
        backend = find_backend(choice.value)
        if backend is None:
            raise UsageError(
                f"{choice.origin} names no backend: {printable(choice.value)!r}",
                hint=backend_names(),
            )
        return choice._replace(value=backend.name)

    def _explicit(self, option: str) -> Choice | None:
        """Return the value of a setting that an option or a `FILEVAULT_*` variable gives."""
        given = getattr(self.options, option)
        if given:
            return Choice(given, f"--{option}", explicit=True)
        variable = _BY_NAME[option].variable
        value = self.get(variable)
        return Choice(value, variable, explicit=True) if value else None

    def _choice(self, option: str) -> Choice | None:
        """Return the value of a setting with the highest precedence."""
        choice = self._explicit(option)
        if choice is not None:
            return choice
        setting = _BY_NAME[option]
        configured = getattr(self.config, setting.config_key) if setting.config_key else None
        if configured:
            return Choice(configured, self.config.path, explicit=False)
        value = self.get(setting.aws_vault) if setting.aws_vault else None
        return Choice(value, setting.aws_vault or "", explicit=False) if value else None

    def _switch(self, option: str) -> bool:
        """Return a switch of the table, off by default. Raises UsageError."""
        setting = _BY_NAME[option]
        if getattr(self.options, option):
            return True
        value = self.flag(setting.variable)
        if value is None and setting.config_key is not None:
            value = getattr(self.config, setting.config_key)
        return bool(value)

    @property
    def aws_vault_backend(self) -> tuple[Choice | None, str | None]:
        """`AWS_VAULT_BACKEND` as (choice, unknown value), since an unknown backend is no error."""
        value = self.get("AWS_VAULT_BACKEND")
        if value is None:
            return None, None
        backend = find_backend(value)
        if backend is not None:
            return Choice(backend.name, "AWS_VAULT_BACKEND", explicit=False), None
        return None, value

    def prefix(self, store: str) -> str | None:
        """Return the folder of the items in a shared store, "" for the store's top.

        The prefix in config.toml is for the store that config.toml names, if it names one.
        """
        config = self.config
        if config.vault and self._absolute(config.vault) != store:
            config = config._replace(prefix=None)
        for value in (
            self.options.prefix,
            self.environ.get("FILEVAULT_PREFIX"),
            config.prefix,
        ):
            if value is not None:
                return value
        return None

    @property
    def passage_identities(self) -> str:
        """The path of passage's identities."""
        value = self.get("PASSAGE_IDENTITIES_FILE")
        return self.expand(value) if value else f"{self.home}/.passage/identities"

    @property
    def default_identities(self) -> str:
        """The path of the identities of a store that is not passage's, unless one is named."""
        value = self.get("PASSAGE_IDENTITIES_FILE")
        return self.expand(value) if value else self.own_identities

    @property
    def own_identities(self) -> str:
        """The path where `init` writes the identity of an age vault that is not passage's."""
        return self._xdg("XDG_CONFIG_HOME", ".config") + "/filevault/identities"

    # Switches

    @property
    def strict(self) -> bool:
        """Refuse what is otherwise a warning: name mismatches, rollbacks, an unpinned vault."""
        return self._switch("strict")

    @property
    def adopts_repositories(self) -> bool:
        """`FILEVAULT_GIT=adopt`: use every git repository of the store as it is."""
        value = self.get("FILEVAULT_GIT")
        if value not in (None, "adopt"):
            raise UsageError(
                f"FILEVAULT_GIT is {printable(value or '', 40)!r}",
                hint="adopt is the only value it takes",
            )
        return value is not None

    @property
    def debug(self) -> bool:
        """Print more on stderr; never a secret."""
        return self._switch("debug")

    @property
    def pin(self) -> str | None:
        """`--pin` or `FILEVAULT_PIN`: 64 hex digits that replace the local pin."""
        choice = self._explicit("pin")
        if choice is None:
            return None
        value = choice.value.strip().lower()
        if len(value) != 64 or not all(c in "0123456789abcdef" for c in value):
            raise UsageError(
                "the pin is not 64 hex digits", hint="filevault recipients list shows it"
            )
        return value

    @property
    def allow_http(self) -> bool:
        """`--allow-http` or `FILEVAULT_ALLOW_HTTP`: plain http endpoints beyond loopback."""
        return self._switch("allow_http")

    @property
    def prompt(self) -> str | None:
        """The source of MFA codes: terminal, ykman or none; None by default."""
        choice = self._choice("prompt")
        if choice is None or choice.value in _PROMPTS:
            return None if choice is None else choice.value
        if choice.origin == "AWS_VAULT_PROMPT":
            return None  # a prompt program of AWS Vault's that needs a desktop
        wrong = ConfigError if choice.origin == self.config.path else UsageError
        raise wrong(
            f"{printable(choice.origin)} names no way of asking: {printable(choice.value)!r}",
            hint="choose terminal, ykman or none",
        )

    @property
    def cache_roles(self) -> bool:
        """Whether sessions of roles are cached: `cache_roles` in config.toml, by default true."""
        value = self.config.cache_roles
        return True if value is None else value

    @property
    def cache_sso_refresh(self) -> bool:
        """Whether refresh tokens of Identity Center are kept: the key of config.toml, or true."""
        return self.config.cache_sso_refresh is not False

    @property
    def uses_lane(self) -> bool:
        """Whether answers are cached for the hot lane: by default; not with `FILEVAULT_NO_LANE`.

        Nor with a log, in which the lane would record nothing.
        """
        if self.flag("FILEVAULT_NO_LANE") or self.config.log is not None:
            return False
        return self.config.lane is not False

    def flag(self, name: str) -> bool | None:
        """Return the value of a switch variable, None if it is unset or empty.

        Raises UsageError for a value other than 1, t, true, 0, f and false: a guess could turn a
        safeguard off.
        """
        value = self.get(name)
        if value is None:
            return None
        if value in _TRUE:
            return True
        if value in _FALSE:
            return False
        raise UsageError(
            f"{name} is neither true nor false: {printable(value)!r}",
            hint="set it to true or false, or unset it",
        )

    def duration(self, name: str) -> int | None:
        """Return the value of a duration variable in seconds, None if unset. Raises UsageError."""
        value = self.get(name)
        if value is None:
            return None
        try:
            return parse_duration(value)
        except ValueError as error:
            raise UsageError(
                f"{name} is {error}: {printable(value)!r}",
                hint="set it to a duration such as 30m or 8h, or unset it",
            ) from error

    # Sources of secrets

    def secret_variables(self, prefix: str) -> list[SecretVariable]:
        """Return which of `PREFIX`, `PREFIX_FD`, `PREFIX_FILE` and `PREFIX_COMMAND` are set."""
        found = []
        for suffix, transport in (
            ("", "value"),
            ("_FD", "fd"),
            ("_FILE", "file"),
            ("_COMMAND", "command"),
        ):
            content = self._secrets.get(prefix + suffix)
            if content is not None:
                found.append(SecretVariable(prefix + suffix, transport, content))
        return found

    @property
    def names_descriptor(self) -> bool:
        """Whether an option or a variable names a descriptor from which a secret is read."""
        return self.options.passphrase_fd is not None or any(
            name.endswith("_FD") for name in self._secrets
        )

    @property
    def secret_names(self) -> list[str]:
        """The names of the removed variables, which contain or name a secret."""
        return sorted(self._secrets)

    def system_credentials(self, name: str) -> list[str]:
        """Return the paths at which systemd or a container runtime provides a credential.

        `name` is written with a hyphen as systemd does (`systemd.exec(5)`,
        `$CREDENTIALS_DIRECTORY`); containers use an underscore under `/run/secrets`.
        """
        paths = []
        directory = self.get("CREDENTIALS_DIRECTORY")
        if directory and directory.startswith("/"):
            paths.append(f"{directory}/{name}")
        paths.append(f"/run/secrets/{name.replace('-', '_')}")
        return paths

    def whole_environment(self) -> dict[str, str]:
        """Return the environment that this process was started with."""
        return {**self.environ, **self._secrets, **self._outer}

    def program_environment(self) -> dict[str, str]:
        """Return the environment for helper programs: no secret sources, no AWS credentials."""
        return {name: value for name, value in self.environ.items() if not is_credential(name)}


def _is_secret(name: str) -> bool:
    return name.startswith(_SECRET_PREFIXES)


def _home_of_user() -> str:
    """Return this user's home directory in the password database.

    Raises ConfigError if there is none, or no absolute path.
    """
    import pwd

    with contextlib.suppress(KeyError):  # a container's user that has no entry
        home = pwd.getpwuid(os.geteuid()).pw_dir
        if home.startswith("/"):
            return home
    raise ConfigError(
        "HOME is not an absolute path, and the password database knows none for this user",
        hint="set HOME, or FILEVAULT_DIR, AWS_CONFIG_FILE, XDG_CONFIG_HOME and XDG_STATE_HOME",
    )
