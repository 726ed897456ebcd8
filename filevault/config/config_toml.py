"""config.toml: the optional file with the user's default settings."""

from __future__ import annotations

from filevault import errors
from filevault.backends import backend_names, find_backend
from filevault.errors import ConfigError, StorageError
from filevault.system.config_files import read_config
from filevault.system.printable import printable
from filevault.system.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from filevault.system.inputs import Inputs


FILE_LOG, JOURNALD = "file", "journald"


class ConfigFile(Record):
    """The content of config.toml; None, or the default, for missing keys."""

    path: str
    backend: str | None = None
    vault: str | None = None
    prefix: str | None = None
    strict: bool | None = None
    prompt: str | None = None
    cache_roles: bool | None = None
    cache_sso_refresh: bool | None = None  # whether refresh tokens of Identity Center are kept
    cache_ttl: int = 8 * 3600  # seconds for which a vault stays unlocked
    key_age_warning: int = 90 * 86400  # seconds; 0 is never
    lane: bool | None = None  # whether answers are cached for the hot lane
    log: str | None = None  # where issued credentials are recorded: FILE_LOG or JOURNALD
    trust_writers_of: str | None = None  # a file that others may own or write


def load(
    path: str,
    trusted: Collection[str] = (),
    *,
    strictness_given: bool = False,
    inputs: Inputs | None = None,
) -> ConfigFile:
    """Read config.toml, if there is one.

    A file in a folder that cannot be searched is an error, because it could demand `strict`. With
    `strictness_given` (by an option or a variable) it counts as missing, but with nothing cached,
    which is the most that it could demand. `inputs` notes what is read.

    Raises:
        ConfigError: if others can write it, it does not parse, or has an unknown key; `trusted`
            is as for `read_config`.
        StorageError: if it cannot be read.
    """
    try:
        data = read_config(path, 64 << 10, trusted=trusted, inputs=inputs)
    except StorageError as error:
        if not isinstance(error.__cause__, PermissionError):
            raise
        if strictness_given:
            return ConfigFile(path, cache_roles=False, cache_sso_refresh=False, cache_ttl=0)
        raise StorageError(
            f"{error.message}, and it could demand --strict",
            hint="set HOME, or XDG_CONFIG_HOME, to a folder of your own; to go on without it say "
            "whether unknown vaults are refused: FILEVAULT_STRICT=1 or 0",
        ) from error
    if data is None:
        return ConfigFile(path)
    import tomllib

    shown = printable(path)
    try:
        content = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # an int of 5,000 digits is a bare ValueError
        raise errors.ConfigSyntaxError(f"{shown!r} is not TOML: {printable(error, 200)}") from error
    known: dict[str, type] = {
        "backend": str,
        "vault": str,
        "prefix": str,
        "strict": bool,
        "prompt": str,
        "cache_roles": bool,
        "cache_sso_refresh": bool,
        "cache_ttl": str,
        "key_age_warning": str,
        "lane": bool,
        "log": str,
        "trust_writers_of": str,
    }
    for key, value in content.items():
        if key not in known:
            raise ConfigError(
                f"{shown!r} has a key that means nothing: {printable(key, 80)!r}",
                hint="the keys are " + ", ".join(known),
            )
        if key in ("cache_ttl", "key_age_warning"):
            content[key] = _duration(value, f"{shown!r}: {key}")
        elif key == "log":
            content[key] = _log(value, shown)
        elif type(value) is not known[key]:
            raise ConfigError(f"{shown!r}: {key} must be {_TYPE_WORDS[known[key]]}")
    backend = content.get("backend")
    if backend is not None:
        found = find_backend(backend)
        if found is None:
            raise ConfigError(
                f"{shown!r} names no backend: {printable(backend, 80)!r}",
                hint=backend_names(),
            )
        content["backend"] = found.name
    for key in ("vault", "trust_writers_of"):
        named = content.get(key)
        if named is not None and (not named.startswith(("/", "~/")) or "\0" in named):
            raise ConfigError(f"{shown!r}: {key} must be an absolute path")
    return ConfigFile(path, **content)


def _duration(value: object, what: str) -> int:
    """Return the seconds of a duration such as "8h", or of a plain number."""
    from filevault.system.times import parse_duration

    text = str(value) if type(value) is int else value
    try:
        return parse_duration(text if isinstance(text, str) else "")
    except ValueError as error:
        raise ConfigError(f"{what} is {error}") from error


def _log(value: object, shown: str) -> str | None:
    """Return where issued credentials are recorded: true is the file, false nowhere."""
    if type(value) is bool:
        return FILE_LOG if value else None
    if value == JOURNALD:
        return JOURNALD
    raise ConfigError(
        f'{shown!r}: log must be true, false or "journald"',
        hint="true records in a file, which filevault log prints",
    )


_TYPE_WORDS: dict[type, str] = {str: "text", bool: "true or false"}
