"""config.toml: the optional file in which a person sets what options would say each time."""

from __future__ import annotations

from filevault.errors import ConfigError, ConfigSyntaxError
from filevault.printable import printable
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
    """What config.toml says; None, or the default, where it says nothing."""

    path: str
    backend: str | None = None
    vault: str | None = None
    prefix: str | None = None
    strict: bool | None = None
    prompt: str | None = None
    cache_roles: bool | None = None
    cache_ttl: int = 8 * 3600  # seconds for which a vault stays unlocked
    key_age_warning: int = 90 * 86400  # seconds; 0 is never


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
        "cache_ttl": str,
        "key_age_warning": str,
    }
    for key, value in content.items():
        if key not in known:
            raise ConfigError(
                f"{shown!r} has a key that means nothing: {printable(key, 80)!r}",
                hint="the keys are " + ", ".join(known),
            )
        if key in ("cache_ttl", "key_age_warning"):
            content[key] = _duration(value, f"{shown!r}: {key}")
        elif type(value) is not known[key]:
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
    return ConfigFile(path, **content)


def _duration(value: object, what: str) -> int:
    """Return seconds that are written as text like 8h, or as a plain number."""
    from filevault.times import parse_duration

    text = str(value) if type(value) is int else value
    try:
        return parse_duration(text if isinstance(text, str) else "")
    except ValueError as error:
        raise ConfigError(f"{what} is {error}") from error


_TYPE_WORDS: dict[type, str] = {str: "text", bool: "true or false"}
