"""The default folders of vaults, and the stores that other tools' variables name."""

from __future__ import annotations

from filevault import errors
from filevault.backends import BACKENDS
from filevault.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from filevault.backends.definition import Backend, OtherTool
    from filevault.config.settings import Settings

_AWS_VAULT_DIR = "AWS_VAULT_PASS_PASSWORD_STORE_DIR"
_AWS_VAULT_PREFIX = "AWS_VAULT_PASS_PREFIX"


def option_store(settings: Settings) -> tuple[str, str] | None:
    """Return the store that `--vault` or `--pass-dir` names, and the option's name.

    Raises:
        UsageError: if both name a store and the two differ, or `--pass-dir` is given with
            `--backend file`.
        VaultChoiceError: if `--pass-dir` contradicts `FILEVAULT_BACKEND=file`.
    """
    vault, pass_dir = settings.options.vault, settings.options.pass_dir
    if pass_dir is None:
        return (settings.expand(vault), "--vault") if vault is not None else None
    store = settings.expand(pass_dir)
    if vault is not None and not _same(settings, store, settings.expand(vault)):
        raise UsageError(
            "--vault and --pass-dir name different stores", hint="give one of them only"
        )
    asked = settings.backend
    if asked is not None and BACKENDS[asked.value].tool is None:
        wrong = UsageError if asked.origin == "--backend" else errors.VaultChoiceError
        raise wrong(
            f"--pass-dir names a pass or passage store, and {asked.origin} asks for {asked.value}",
            hint="--vault DIR names the folder of a file vault",
        )
    return store, "--pass-dir"


def fallback_backend(settings: Settings) -> Backend:
    """Return the backend for `--pass-dir` if neither a marker nor an option determines one."""
    configured = settings.config.backend
    if configured is not None and BACKENDS[configured].tool is not None:
        return BACKENDS[configured]
    return aws_vault_backend(settings)


def default_store(settings: Settings, backend: Backend) -> tuple[str, str | None]:
    """Return the store of a backend if no option names one, and the variable that names it."""
    for name, store in variable_stores(settings, backend):
        return store, name
    tool = backend.tool
    if tool is not None and tool.exclusive:
        return f"{settings.home}/{tool.store}", None
    default = None if tool is None else _tool_default(settings, tool)
    if default is not None and settings.inputs.is_folder(default):
        return default, None
    return settings.default_vault, None


def variable_stores(settings: Settings, backend: Backend) -> Iterator[tuple[str, str]]:
    """Yield variables of other tools and the stores they name for a backend, by precedence.

    AWS Vault's variable counts for the backend that `AWS_VAULT_BACKEND` names, else for `pass`.
    """
    names = [] if backend.tool is None else [backend.tool.variable]
    if backend is aws_vault_backend(settings):
        names.insert(0, _AWS_VAULT_DIR)
    for name in names:
        value = settings.get(name)
        if value is not None:
            yield name, settings.expand(value)


def aws_vault_backend(settings: Settings) -> Backend:
    """Return the backend that AWS Vault's variables about pass are for."""
    old = settings.aws_vault_backend[0]
    if old is not None and BACKENDS[old.value].tool is not None:
        return BACKENDS[old.value]
    return next(each for each in BACKENDS.values() if each.tool is not None)


def prefix(settings: Settings, store: str, backend: Backend) -> str | None:
    """Return the folder of a shared store that contains the items; empty for the store's top.

    None if nothing names one. `AWS_VAULT_PASS_PREFIX` counts for AWS Vault's backend only.
    """
    named = settings.prefix(store)
    if named is None and backend is aws_vault_backend(settings):
        return settings.environ.get(_AWS_VAULT_PREFIX)
    return named


def other_stores(
    settings: Settings, store: str, prefix: Sequence[str], backend: Backend
) -> Iterator[tuple[str, str]]:
    """Yield the variables that name another store or prefix than the one used.

    Each with the path that it names.
    """
    for name, other in variable_stores(settings, backend):
        if not _same(settings, other, store):
            yield name, other
    value = settings.environ.get(_AWS_VAULT_PREFIX)
    if value is not None and backend is aws_vault_backend(settings):
        parts = [part for part in value.split("/") if part]
        if parts != list(prefix):
            yield _AWS_VAULT_PREFIX, "/".join((store, *parts))


def tool_stores(settings: Settings, backend: Backend) -> list[str]:
    """Return the folders that the tool of a backend uses as its store, existing or not."""
    named = [store for _, store in variable_stores(settings, backend)]
    default = None if backend.tool is None else _tool_default(settings, backend.tool)
    return named if default is None else [*named, default]


def _tool_default(settings: Settings, tool: OtherTool) -> str | None:
    """Return the default store of a tool, None without a home directory."""
    home = settings.home_if_known
    return None if home is None else f"{home}/{tool.store}"


def _same(settings: Settings, one: str, other: str) -> bool:
    real_path = settings.inputs.real_path
    return real_path(one) == real_path(other)
