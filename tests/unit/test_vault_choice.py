"""Which store is used, for every combination of what can name one, against a separate oracle."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filevault.config.settings import GlobalOptions, Settings
from filevault.errors import FilevaultError, UsageError, VaultChoiceError
from filevault.vault.choose import choose
from filevault.vault.defaults import other_stores

MARKERS = {"file": ".filevault/vault.json", "pass": ".gpg-id", "age": ".age-recipients"}
KINDS = (None, "file", "pass", "age")
HOMES = ("bare", "filled")
TOOLS = {"pass": "PASSWORD_STORE_DIR", "age": "PASSAGE_DIR"}
AWS_VAULT = "AWS_VAULT_PASS_PASSWORD_STORE_DIR"


class ChoiceCase(NamedTuple):
    """What names a store: each place by the kind that lies there, `empty` for a folder of none."""

    vault: str | None  # --vault
    pass_dir: str | None  # --pass-dir
    same: bool  # both options name the same folder
    backend: str | None  # --backend
    prefix: str | None  # --prefix
    env_vault: str | None  # FILEVAULT_DIR
    env_backend: str | None  # FILEVAULT_BACKEND
    config_vault: str | None
    config_backend: str | None
    aws_vault_backend: str | None  # AWS_VAULT_BACKEND
    tools: bool  # PASSWORD_STORE_DIR and PASSAGE_DIR are set
    aws_vault: bool  # AWS_VAULT_PASS_PASSWORD_STORE_DIR is set
    home: str


PLACES = (None, "empty", "file", "pass", "age")
AXES: tuple[tuple[object, ...], ...] = (
    PLACES, PLACES, (False, True), KINDS, (None, "", "p"), PLACES, KINDS, PLACES, KINDS,
    (None, "file", "pass", "passage", "keychain"), (False, True), (False, True), HOMES,
)  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of every kind at every place, homes, and a config.toml for each combination."""
    root = tmp_path_factory.mktemp("world")
    for place in ("option", "pass-dir", "variable", "config"):
        for kind in PLACES[1:]:
            fill(root / f"{place}-{kind}", kind)
    for kind, name in (("pass", "psd"), ("age", "passage"), ("empty", "aws-vault")):
        fill(root / name, kind)
    (root / "bare").mkdir()
    fill(root / "filled/.local/share/filevault", "file")
    for vault, backend in itertools.product(PLACES, KINDS):
        folder = root / f"xdg-{vault}-{backend}/filevault"
        folder.mkdir(parents=True)
        lines = [f"vault = '{root}/config-{vault}'"] if vault else []
        lines += [f"backend = '{backend}'"] if backend else []
        (folder / "config.toml").write_text("\n".join(lines))
    return root


def fill(folder: Path, kind: str | None) -> None:
    marker = folder / MARKERS.get(kind or "", "nothing")
    marker.parent.mkdir(parents=True)
    if kind in MARKERS:
        marker.touch()


# The oracle: paths are relative to the world.


def usual(case: ChoiceCase, kind: str) -> str:
    """Where a kind of vault lies that no option, no FILEVAULT_DIR and no config.toml names."""
    named = [name for name, _ in variables(case, kind)]
    home = {"pass": ".password-store"}.get(kind, ".local/share/filevault")
    return dict(variables(case, kind))[named[0]] if named else f"{case.home}/{home}"


def variables(case: ChoiceCase, kind: str) -> list[tuple[str, str]]:
    """The tools' variables that count for a kind, the strongest first."""
    aws_vaults = "age" if case.aws_vault_backend == "passage" else "pass"
    found = [(AWS_VAULT, "aws-vault")] if case.aws_vault and kind == aws_vaults else []
    if case.tools and kind in TOOLS:
        found.append((TOOLS[kind], {"pass": "psd", "age": "passage"}[kind]))
    return found


def there(place: str | None) -> str | None:
    return place if place in MARKERS else None


def oracle(case: ChoiceCase) -> tuple[str, str] | type[FilevaultError]:
    """Return the store and the kind of the vault, or the error."""
    asked = case.backend or case.env_backend
    old = {"passage": "age"}.get(case.aws_vault_backend or "", case.aws_vault_backend)
    old = old if old in MARKERS else None
    kind = asked
    if case.pass_dir is not None:
        if case.vault is not None and not case.same:
            return UsageError
        if asked == "file":
            return UsageError if case.backend else VaultChoiceError
        store, marker = f"pass-dir-{case.pass_dir}", there(case.pass_dir)
        if kind is None:
            guesses = (marker, case.config_backend, old, "pass")
            kind = next(each for each in guesses if each in TOOLS)
    elif case.vault is not None:
        store, marker = f"option-{case.vault}", there(case.vault)
    elif case.env_vault is not None:
        store, marker = f"variable-{case.env_vault}", there(case.env_vault)
    elif case.config_vault is not None and asked in (
        None,
        case.config_backend or there(case.config_vault) or "file",
    ):
        store, marker = f"config-{case.config_vault}", there(case.config_vault)
        kind = asked or case.config_backend
    else:
        kind = asked or case.config_backend
        if kind is None and case.home == "bare":
            kind = old
        store = usual(case, kind or "file")
        marker = {"psd": "pass", "passage": "age"}.get(store)
        if store == "filled/.local/share/filevault":
            marker = "file"
    if kind is None:
        kind = marker or "file"
    if marker is not None and marker != kind:
        return VaultChoiceError
    if kind == "file" and case.prefix:
        return UsageError
    return store, kind


def run(case: ChoiceCase, world: Path) -> tuple[str, str, list[str]] | type[FilevaultError]:
    """Ask the program."""

    def path(place: str, kind: str | None) -> str | None:
        return None if kind is None else str(world / f"{place}-{kind}")

    vault = path("pass-dir", case.pass_dir) if case.same and case.pass_dir else None
    options = GlobalOptions(
        vault=path("option", case.vault) if vault is None or case.vault is None else vault,
        pass_dir=path("pass-dir", case.pass_dir),
        backend=case.backend,
        prefix=case.prefix,
    )
    environ = {
        "HOME": str(world / case.home),
        "XDG_CONFIG_HOME": str(world / f"xdg-{case.config_vault}-{case.config_backend}"),
        "FILEVAULT_DIR": path("variable", case.env_vault),
        "FILEVAULT_BACKEND": case.env_backend,
        "AWS_VAULT_BACKEND": case.aws_vault_backend,
        "PASSWORD_STORE_DIR": str(world / "psd") if case.tools else None,
        "PASSAGE_DIR": str(world / "passage") if case.tools else None,
        AWS_VAULT: str(world / "aws-vault") if case.aws_vault else None,
    }
    given = Settings({name: value for name, value in environ.items() if value}, options)
    try:
        choice = choose(given)
    except FilevaultError as error:
        return type(error)
    others = other_stores(given, choice.store, choice.prefix, choice.backend)
    names = [name for name, _ in others]
    return os.path.relpath(choice.store, world), choice.backend.name, names


def check(case: ChoiceCase, world: Path) -> None:
    found, wanted = run(case, world), oracle(case)
    if isinstance(wanted, type):
        assert found is wanted, case
        return
    store, kind = wanted
    others = [name for name, other in variables(case, kind) if other != store]
    assert found == (store, kind, others), case


CASES = st.tuples(*map(st.sampled_from, AXES)).map(lambda values: ChoiceCase(*values))


@given(CASES)
@settings(max_examples=400, deadline=None)
def test_the_store_that_is_named_is_the_one_used(world: Path, case: ChoiceCase) -> None:
    check(case, world)


@pytest.mark.torture
def test_the_store_that_is_named_is_the_one_used_in_every_combination(world: Path) -> None:
    """Every second value of the axes that only repeat each other is left out."""
    for values in every():
        check(ChoiceCase(*values), world)  # type: ignore[arg-type]


def every() -> Iterator[tuple[object, ...]]:
    """Two options and their variables at a time, in full; then what lies below them in full."""
    nothing = (None, None, False, None, None, None, None)
    yield from (
        (*above, *below)
        for above in itertools.product(*AXES[:7])
        for below in itertools.product(
            (None, "pass"), (None, "age"), (None,), (True,), (True,), HOMES
        )
    )
    yield from ((*nothing, *below) for below in itertools.product(*AXES[7:]))
    for kind in KINDS:
        yield from (
            (None, None, False, kind, None, None, None, *below)
            for below in itertools.product(*AXES[7:])
        )
