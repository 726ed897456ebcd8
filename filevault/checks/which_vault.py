"""Which folder is the vault, what decided it, and whether it is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.backends import BACKENDS, backend_names
from filevault.backends.definition import RECIPIENTS, SEALED
from filevault.backends.file import keyslots, vault_json
from filevault.checks.diagnosis import Diagnosis, Fact
from filevault.checks.finding import ERROR, WARNING, Finding, error_finding
from filevault.checks.profiles import MAX_PROFILES
from filevault.config.overrides import Overrides
from filevault.config.profile import resolve
from filevault.errors import FilevaultError, NoVaultError
from filevault.system.files import Folder
from filevault.system.printable import printable
from filevault.vault.choose import must_exist
from filevault.vault.defaults import other_stores

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filevault.checks.diagnosis import MachineState
    from filevault.config.settings import Settings
    from filevault.vault.choose import VaultChoice

_OUTSIDE = {"credential-source", "process", "web-identity"}


def check(machine: MachineState) -> Diagnosis:
    """Return each source of the decision, the folder, and what is wrong with it."""
    settings = machine.settings
    try:
        choice = machine.choice()
    except FilevaultError as error:
        return Diagnosis(
            tuple(_sources(settings, None)), (error_finding("the vault", "vault", error),)
        )
    folder = f"{printable(choice.root)} ({choice.backend.name})"
    facts = [Fact("folder", folder), *_sources(settings, choice)]
    findings = [*_other_stores(settings, choice)]
    ignored = settings.aws_vault_backend[1]
    if ignored is not None:
        message = f"{printable(ignored, 40)!r} is no backend, and is ignored"
        findings.append(
            Finding("AWS_VAULT_BACKEND", "vault", WARNING, message, hint=backend_names())
        )
    if choice.exists:
        facts += _contents(choice)
    else:
        facts.append(Fact("state", "there is no vault yet"))
        if choice.explicit or _is_needed(machine):
            findings += _missing(settings, choice)
    return Diagnosis(tuple(facts), tuple(findings))


def _is_needed(machine: MachineState) -> bool:
    """Return whether a vault would be of use: unless each source of a profile is outside of it."""
    config = machine.config_if_read()
    if config is None:
        return True
    sources = set()
    for name in config.profile_names()[:MAX_PROFILES]:
        try:
            profile = resolve(config, name, overrides=Overrides(), has_item=lambda _: False)
        except FilevaultError:  # another check reports it
            return True
        sources.add(profile.chain[0].source)
    used = sources - {"none"}  # settings alone, as in many a [default]
    return not used or not used <= _OUTSIDE


def _missing(settings: Settings, choice: VaultChoice) -> Iterator[Finding]:
    try:
        must_exist(choice, settings.state_home)
    except NoVaultError as error:
        severity, status = (ERROR, error.exit_status) if choice.explicit else (WARNING, 0)
        yield Finding("the vault", "vault", severity, error.message, status, error.hint)


def _contents(choice: VaultChoice) -> Iterator[Fact]:
    """Yield what the folder shows without being unlocked. Raises what reading it raises."""
    if choice.backend.family != SEALED:
        return
    with Folder.open(choice.store) as folder:
        vault_json.read(folder)
        slots = keyslots.listing(folder)
    kinds = [each.type for each in slots]
    counted = ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds)))
    yield Fact("keyslots", counted or "none")


def _other_stores(settings: Settings, choice: VaultChoice) -> Iterator[Finding]:
    if choice.backend.family != RECIPIENTS:
        return
    for name, path in other_stores(settings, choice.store, choice.prefix, choice.backend):
        message = f"names {printable(path)!r}, which is not the vault"
        hint = f"unset it, or leave {printable(choice.origin)} out"
        yield Finding(name, "vault", WARNING, message, hint=hint)


def _sources(settings: Settings, choice: VaultChoice | None) -> Iterator[Fact]:
    """Yield what can decide, in its order, with its value."""
    unset = []
    for name, value, origin in _candidates(settings):
        if value is None:
            unset.append(name)
            continue
        decides = choice is not None and choice.origin == origin
        yield Fact(name, printable(value), decides)
    if choice is not None and choice.origin == "default":
        yield Fact("default", printable(choice.store), decides=True)
    yield Fact("not set", ", ".join(unset))


def _candidates(settings: Settings) -> Iterator[tuple[str, str | None, str]]:
    """Yield name, value and `VaultChoice.origin` of each source, by precedence."""
    options, get = settings.options, settings.environ.get
    yield "--vault", options.vault, "--vault"
    yield "--pass-dir", options.pass_dir, "--pass-dir"
    yield "FILEVAULT_DIR", get("FILEVAULT_DIR") or None, "FILEVAULT_DIR"
    yield "--backend", options.backend, "--backend"
    yield "FILEVAULT_BACKEND", get("FILEVAULT_BACKEND") or None, "FILEVAULT_BACKEND"
    path = settings.config_path
    try:
        config = settings.config
    except FilevaultError:
        config = None  # reported by the check of the file
    yield "vault in config.toml", None if config is None else config.vault, path
    yield "backend in config.toml", None if config is None else config.backend, path
    yield "AWS_VAULT_BACKEND", get("AWS_VAULT_BACKEND") or None, "AWS_VAULT_BACKEND"
    for backend in BACKENDS.values():
        if backend.tool is not None:
            variable = backend.tool.variable
            yield variable, get(variable) or None, variable
    store = "AWS_VAULT_PASS_PASSWORD_STORE_DIR"
    yield store, get(store) or None, store
    yield "--prefix", options.prefix, "--prefix"
    yield "FILEVAULT_PREFIX", get("FILEVAULT_PREFIX"), "FILEVAULT_PREFIX"
    yield "prefix in config.toml", None if config is None else config.prefix, ""
