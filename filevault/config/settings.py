"""Every variable, option and folder that filevault reads: the only place that sees the environment.

Precedence is: command-line option, `FILEVAULT_*`, config.toml, `AWS_VAULT_*`, default.
Variables that hold or name a secret leave the process environment as soon as they are read, so
that no helper program and no child inherits them.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from filevault.backends import backend_names, find_backend
from filevault.config.aws_variables import MARKER, given, is_credential
from filevault.config.config_toml import ConfigFile, load
from filevault.errors import ConfigError, UsageError
from filevault.system.printable import printable
from filevault.system.record import Record
from filevault.system.times import parse_duration
from filevault.system.user_files import TRUST_VARIABLE, home_of_user

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

_SECRET_PREFIXES = (
    "FILEVAULT_PASSPHRASE",
    "FILEVAULT_NEW_PASSPHRASE",
    "FILEVAULT_KEY",
    "FILEVAULT_AGE_IDENTITY",
    "AWS_VAULT_FILE_PASSPHRASE",
)
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
_PROMPTS = ("terminal", "ykman", "none")


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
    """A value with where it came from; `explicit` if an option or `FILEVAULT_*` said so."""

    value: str
    origin: str
    explicit: bool


class SecretVariable(Record):
    """One variable that is or names a secret: `kind` is value, fd, file or command."""

    _secret = ("content",)

    name: str
    kind: str
    content: str


class Settings:
    """The settings of one run.

    `environ` is the caller's environment without any variable that holds or names a secret, and
    without what another filevault set in it.
    """

    __slots__ = ("_config", "_given", "_home", "_process", "_secrets", "environ", "options")

    def __init__(
        self,
        environ: Mapping[str, str],
        options: GlobalOptions = GlobalOptions(),  # noqa: B008 - immutable
        secrets: Mapping[str, str] | None = None,
        given: Mapping[str, str] | None = None,
    ) -> None:
        self.options = options
        self._secrets = secrets or {}
        self._given = given or {}
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
        """Read the process environment and take secret sources and AWS credentials out of it.

        What `exec` set for this command goes too: it overrides no other profile's settings.
        """
        secrets = {name: environ.pop(name) for name in list(environ) if _is_secret(name)}
        # botocore would read them in this process.
        outer = {name: environ.pop(name) for name in given(environ)}
        if MARKER in environ:
            outer[MARKER] = environ.pop(MARKER)
        settings = cls(dict(environ), options, secrets, outer)
        settings._process = environ
        # A library that starts a program by itself, as pyrage does for age plugins, hands on
        # what the process has.
        for name in list(environ):
            # botocore, in this process, takes an empty AWS_CA_BUNDLE for a file that is missing.
            empty = name.startswith("AWS_") and not environ[name]
            if empty or is_credential(name):
                del environ[name]
        return settings

    def take_given(self) -> None:
        """Count what another filevault set, for the credentials that it set with it."""
        self.environ = {**self.environ, **self._given}
        if self._process is not None:
            self._process.update(self._given)

    def get(self, name: str) -> str | None:
        """Return a variable's value; one that is set but empty counts as absent."""
        return self.environ.get(name) or None

    # Folders

    @property
    def home(self) -> str:
        """The user's home directory: `$HOME`, else what the password database says.

        Without a slash at its end, except for `/` itself. Raises ConfigError if neither names an
        absolute path.
        """
        if self._home is None:
            home = self.get("HOME")
            if home is None or not home.startswith("/"):
                home = home_of_user()
            self._home = home.rstrip("/") or "/"
        return self._home

    @property
    def home_if_known(self) -> str | None:
        """The same, None where nothing names a home directory."""
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
        """Where config.toml would lie."""
        return self._xdg("XDG_CONFIG_HOME", ".config") + "/filevault/config.toml"

    @property
    def default_vault(self) -> str:
        """The default root of a `file` vault."""
        return self._xdg("XDG_DATA_HOME", ".local/share") + "/filevault"

    @property
    def state_home(self) -> str:
        """The folder that holds one state directory for each vault."""
        return self._xdg("XDG_STATE_HOME", ".local/state") + "/filevault"

    @property
    def aws_config_path(self) -> str:
        """`$AWS_CONFIG_FILE`, else `~/.aws/config`."""
        value = self.get("AWS_CONFIG_FILE")
        return self.expand(os.path.expandvars(value)) if value else self._at_home(".aws/config")

    def expand(self, path: str) -> str:
        """Return `path` with a leading `~` replaced by the home directory."""
        if path == "~":
            return self.home
        if path.startswith("~/"):
            return self._at_home(path[2:])
        return os.path.expanduser(path)

    # config.toml

    @property
    def config(self) -> ConfigFile:
        """What config.toml says. Raises as `configfile.load`."""
        if self._config is None:
            given = self.options.strict or self.flag("FILEVAULT_STRICT") is not None
            self._config = load(self.config_path, self._trusted(), strictness_given=given)
        return self._config

    @property
    def trusted_configs(self) -> list[str]:
        """The configuration files that are read whoever can write them, by absolute path."""
        named = self.config.trust_writers_of
        return [*self._trusted(), *([os.path.abspath(self.expand(named))] if named else [])]

    def _trusted(self) -> list[str]:
        paths = (self.get(TRUST_VARIABLE) or "").split(":")
        return [os.path.abspath(self.expand(path)) for path in paths if path[:1] in ("/", "~")]

    # Which vault

    @property
    def vault(self) -> Choice | None:
        """`FILEVAULT_DIR`; `--vault` and `--pass-dir` are `filevault.vault.defaults`' matter."""
        value = self.get("FILEVAULT_DIR")
        return Choice(self.expand(value), "FILEVAULT_DIR", explicit=True) if value else None

    @property
    def backend(self) -> Choice | None:
        """`--backend` or `FILEVAULT_BACKEND`, by its canonical name."""
        for value, origin in (
            (self.options.backend, "--backend"),
            (self.get("FILEVAULT_BACKEND"), "FILEVAULT_BACKEND"),
        ):
            if value:
                backend = find_backend(value)
                if backend is None:
                    raise UsageError(
                        f"{origin} names no backend: {printable(value)!r}",
                        hint=backend_names(),
                    )
                return Choice(backend.name, origin, explicit=True)
        return None

    @property
    def aws_vault_backend(self) -> tuple[Choice | None, str | None]:
        """`AWS_VAULT_BACKEND` as (choice, ignored value): a value that we lack is no error."""
        value = self.get("AWS_VAULT_BACKEND")
        if value is None:
            return None, None
        backend = find_backend(value)
        if backend is not None:
            return Choice(backend.name, "AWS_VAULT_BACKEND", explicit=False), None
        return None, value

    def prefix(self, store: str) -> str | None:
        """Return the folder that holds the items of a shared store; empty means the store's top.

        The prefix in config.toml belongs to the store that config.toml names, if it names one.
        """
        config = self.config
        if config.vault and os.path.abspath(self.expand(config.vault)) != store:
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
        """Where passage keeps its identities."""
        value = self.get("PASSAGE_IDENTITIES_FILE")
        return self.expand(value) if value else f"{self.home}/.passage/identities"

    @property
    def default_identities(self) -> str:
        """The identities that are read where no other source is named and no store is passage's."""
        value = self.get("PASSAGE_IDENTITIES_FILE")
        return self.expand(value) if value else self.own_identities

    @property
    def own_identities(self) -> str:
        """Where `init` keeps the identity of an age vault that is not passage's."""
        return self._xdg("XDG_CONFIG_HOME", ".config") + "/filevault/identities"

    # Switches

    @property
    def strict(self) -> bool:
        """Refuse what is otherwise a warning: name mismatches, rollbacks, an unpinned vault."""
        if self.options.strict:
            return True
        value = self.flag("FILEVAULT_STRICT")
        if value is None:
            value = self.config.strict
        return bool(value)

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
        """Show more on stderr; never a secret."""
        return self.options.debug or bool(self.flag("FILEVAULT_DEBUG"))

    @property
    def pin(self) -> str | None:
        """`--pin` or `FILEVAULT_PIN`: 64 hex digits that replace the local pin."""
        value = self.options.pin or self.get("FILEVAULT_PIN")
        if value is None:
            return None
        value = value.strip().lower()
        if len(value) != 64 or not all(c in "0123456789abcdef" for c in value):
            raise UsageError(
                "the pin is not 64 hex digits", hint="filevault recipients list shows it"
            )
        return value

    @property
    def allow_http(self) -> bool:
        """`--allow-http` or `FILEVAULT_ALLOW_HTTP`: plain http endpoints beyond loopback."""
        return self.options.allow_http or bool(self.flag("FILEVAULT_ALLOW_HTTP"))

    @property
    def prompt(self) -> str | None:
        """How an MFA code is asked for: terminal, ykman or none; None leaves it to us."""
        for value, origin in (
            (self.options.prompt, "--prompt"),
            (self.get("FILEVAULT_PROMPT"), "FILEVAULT_PROMPT"),
            (self.config.prompt, self.config.path),
            (self.get("AWS_VAULT_PROMPT"), "AWS_VAULT_PROMPT"),
        ):
            if value:
                if value in _PROMPTS:
                    return value
                if origin == "AWS_VAULT_PROMPT":
                    return None  # a prompt program of AWS Vault's that is no use without a desktop
                wrong = ConfigError if origin == self.config.path else UsageError
                raise wrong(
                    f"{printable(origin)} names no way of asking: {printable(value)!r}",
                    hint="choose terminal, ykman or none",
                )
        return None

    @property
    def cache_roles(self) -> bool:
        """Whether sessions of roles are kept; config.toml's `cache_roles`, default yes."""
        value = self.config.cache_roles
        return True if value is None else value

    def flag(self, name: str) -> bool | None:
        """Return a switch variable: 1/t/true or 0/f/false, None where absent.

        Raises UsageError for anything else, because a guess could turn a safeguard off.
        """
        value = self.get(name)
        if value is None:
            return None
        if value in _TRUE:
            return True
        if value in _FALSE:
            return False
        raise UsageError(f"{name} is neither true nor false: {printable(value)!r}")

    def duration(self, name: str) -> int | None:
        """Return a duration variable in seconds, None where absent. Raises UsageError."""
        value = self.get(name)
        if value is None:
            return None
        try:
            return parse_duration(value)
        except ValueError as error:
            raise UsageError(f"{name} is {error}: {printable(value)!r}") from error

    # Secrets' sources

    def secret_variables(self, prefix: str) -> list[SecretVariable]:
        """Return the variables set among `PREFIX`, `PREFIX_FD`, `PREFIX_FILE`, `PREFIX_COMMAND`."""
        found = []
        for suffix, kind in (
            ("", "value"),
            ("_FD", "fd"),
            ("_FILE", "file"),
            ("_COMMAND", "command"),
        ):
            content = self._secrets.get(prefix + suffix)
            if content is not None:
                found.append(SecretVariable(prefix + suffix, kind, content))
        return found

    @property
    def secret_names(self) -> list[str]:
        """The names of the variables that were taken out because they hold or name a secret."""
        return sorted(self._secrets)

    def system_credentials(self, name: str) -> list[str]:
        """Return where systemd or a container would have put a credential, likeliest first.

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
        """Return the environment that we were started with, for what only passes through us."""
        return {**self.environ, **self._secrets, **self._given}

    def program_environment(self) -> dict[str, str]:
        """Return the environment for helper programs: no secret source, no AWS credential."""
        return {name: value for name, value in self.environ.items() if not is_credential(name)}


def _is_secret(name: str) -> bool:
    return name.startswith(_SECRET_PREFIXES)
