"""One run opens any number of vaults, and resolving a profile opens none."""

from __future__ import annotations

from pathlib import Path

import pytest

from filevault.cli.context import Context
from filevault.cli.open_vault import choose_vault, open_vault, open_vault_if_any
from filevault.cli.profiles import Profiles, StoredNames
from filevault.cli.reporter import Reporter
from filevault.config.overrides import read_overrides
from filevault.config.settings import GlobalOptions, Settings
from filevault.credentials import AccessKey
from filevault.errors import NoVaultError, ProfileNotFoundError, VaultChoiceError
from filevault.vault.choose import VaultChoice, choose
from filevault.vault.item import compose
from filevault.vault.vault import Vault
from tests.conditions.tools import tool
from tests.launch import launcher
from tests.samples import EXAMPLE_ID, SECRET
from tests.worlds.machine import Machine

KEY = AccessKey(EXAMPLE_ID, SECRET)
NO_OPTIONS = GlobalOptions()
CREATED = "2026-01-02T03:04:05Z"


def context_of(machine: Machine, options: GlobalOptions = NO_OPTIONS) -> Context:
    """Return the dependencies of a run on a machine."""
    environ = {name: value for name, value in machine.environment().items() if name != "LAUNCH"}
    orders = {"clock": str(machine.clock_file), "kdf": "cheap", "places": "", "root": ""}
    return Context(Settings.capture(options, environ), launcher.runtime(orders), Reporter())


def copy(source: Vault, target: Vault, name: str) -> None:
    """Copy a key from one open vault to another."""
    key = source.access_key(name)
    with target.transaction():
        text = compose(target.path_name(name), key, created=CREATED, created_from="add")
        target.write(name, text, created=CREATED, created_from="add", subject=None)


@pytest.fixture
def both(machine: Machine) -> tuple[Context, VaultChoice, VaultChoice]:
    """A `file` vault with a key, an empty `age` vault, and one run's dependencies."""
    tool("age")
    machine.with_vault().add("jon", *KEY.__dict__.values(), "--no-config")
    team = str(machine.home / "team")
    machine.ok("init", "--backend", "age", "--vault", team, "--no-passphrase")
    context = context_of(machine)
    others = GlobalOptions(vault=team, backend="age")
    return context, choose_vault(context), choose(Settings(context.settings.environ, others))


def test_two_vaults_of_two_backends_are_open_at_once(
    machine: Machine, both: tuple[Context, VaultChoice, VaultChoice]
) -> None:
    context, file_choice, age_choice = both
    assert (file_choice.backend.name, age_choice.backend.name) == ("file", "age")
    with open_vault(file_choice, context) as source, open_vault(age_choice, context) as target:
        copy(source.vault, target.vault, "jon")
        assert target.vault.access_key("jon") == source.vault.access_key("jon") == KEY
        assert source.pin() != target.pin()
        copy(target.vault, source.vault, "jon")
    for vault in (str(machine.vault), str(machine.home / "team")):
        assert KEY.secret_access_key in machine.ok("--vault", vault, "export", "jon", "-n").out


def test_each_open_vault_has_its_own_state(
    both: tuple[Context, VaultChoice, VaultChoice],
) -> None:
    context, file_choice, age_choice = both
    with open_vault(file_choice, context) as first, open_vault(age_choice, context) as second:
        assert first.vault.state_id != second.vault.state_id
        assert first.vault.trust.pin == first.pin()
        assert second.vault.trust.pin == second.pin()
        first.vault.unlock()
        assert first.vault.is_open
        assert not second.vault.is_open
    with open_vault(file_choice, context) as again:
        assert not again.vault.is_open


def test_a_vault_whose_pin_is_not_checked_can_be_shown(
    machine: Machine, both: tuple[Context, VaultChoice, VaultChoice]
) -> None:
    context, file_choice, _age_choice = both
    strict = context_of(machine, GlobalOptions(pin="0" * 64))
    with pytest.raises(Exception, match="not the vault that the given pin"):
        open_vault(file_choice, strict)
    with open_vault(file_choice, strict, checks_pin=False) as shown:
        assert shown.vault.names() == ["jon"]
    assert context.settings.pin is None


def test_resolving_a_profile_opens_no_vault(machine: Machine) -> None:
    machine.write_config("[profile other]\nregion = eu-west-1\n")
    context = context_of(machine)
    choice = choose_vault(context)
    profiles = Profiles(context, choice, None, read_overrides(context.settings, None))
    with pytest.raises(ProfileNotFoundError, match="there is no vault at"):
        profiles.resolve("nobody")
    assert profiles.resolve("other").region == "eu-west-1"
    assert not machine.state.exists()


def test_no_vault_is_none_unless_one_is_named(machine: Machine) -> None:
    context = context_of(machine)
    with open_vault_if_any(choose_vault(context), context) as opened:
        assert opened is None
    named = context_of(machine, GlobalOptions(vault=str(machine.home / "misspelt")))
    with pytest.raises(NoVaultError), open_vault_if_any(choose_vault(named), named):
        pass
    something = Path(machine.home / "something")
    something.mkdir()
    (something / "file").touch()
    named = context_of(machine, GlobalOptions(vault=str(something)))
    with pytest.raises(VaultChoiceError), open_vault_if_any(choose_vault(named), named):
        pass


def test_names_that_are_not_stored_are_recorded(
    both: tuple[Context, VaultChoice, VaultChoice],
) -> None:
    context, file_choice, _age_choice = both
    with open_vault(file_choice, context) as opened:
        names = StoredNames(opened.vault)
        assert [names.has(each) for each in ("jon", "zoe", "a//b")] == [True, False, False]
    assert names.missing == ["zoe", "a//b"]
    nothing = StoredNames(None)
    assert not nothing.has("jon")
    assert nothing.missing == ["jon"]
