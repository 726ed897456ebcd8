"""config.toml: the optional file in which a person sets what options would say each time."""

from __future__ import annotations

from filevault.errors import ConfigError, ConfigSyntaxError
from filevault.printable import printable
from filevault.times import parse_duration
from filevault.userfiles import read_config
from filevault.values import Value

BACKEND_NAMES = {
    "file": "file",
    "passphrase": "file",
    "pass": "pass",
    "gpg": "pass",
    "age": "age",
    "passage": "age",
}
BACKENDS = "the backends are file, pass and age"


class ConfigFile(Value):
    """What config.toml says; None where it says nothing."""

    path: str
    backend: str | None = None
    vault: str | None = None
    prefix: str | None = None
    strict: bool | None = None
    prompt: str | None = None
    cache_roles: bool | None = None
    key_age_warning: str | None = None


def load(path: str) -> ConfigFile:
    """Read config.toml, if there is one.

    Raises ConfigError for a file that others can write, does not parse, or holds a key that
    means nothing here.
    """
    data = read_config(path, 64 << 10)
    if data is None:
        return ConfigFile(path)
    import tomllib

    shown = printable(path)
    try:
        content = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # an int of 5,000 digits is a bare ValueError
        raise ConfigSyntaxError(f"{shown!r} is not TOML: {printable(error, 200)}") from error
    known: dict[str, type] = {
        "backend": str,
        "vault": str,
        "prefix": str,
        "strict": bool,
        "prompt": str,
        "cache_roles": bool,
        "key_age_warning": str,
    }
    for key, value in content.items():
        if key not in known:
            raise ConfigError(
                f"{shown!r} has a key that means nothing: {printable(key, 80)!r}",
                hint="the keys are " + ", ".join(known),
            )
        if type(value) is not known[key]:
            raise ConfigError(f"{shown!r}: {key} must be {_TYPE_WORDS[known[key]]}")
    backend = content.get("backend")
    if backend is not None:
        if backend not in BACKEND_NAMES:
            raise ConfigError(
                f"{shown!r} names no backend: {printable(backend, 80)!r}",
                hint=BACKENDS,
            )
        content["backend"] = BACKEND_NAMES[backend]
    vault = content.get("vault")
    if vault is not None and (not vault.startswith(("/", "~/")) or "\0" in vault):
        raise ConfigError(f"{shown!r}: vault must be an absolute path")
    _check_duration(content.get("key_age_warning"), shown)
    return ConfigFile(path, **content)


def _check_duration(text: str | None, shown: str) -> None:
    try:
        parse_duration(text or "0")
    except ValueError as error:
        raise ConfigError(f"{shown!r}: key_age_warning is {error}") from error


_TYPE_WORDS: dict[type, str] = {str: "text", bool: "true or false"}
