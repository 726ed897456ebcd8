"""Where each kind of vault lies unless something says otherwise."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filevault.settings import Settings


def default_store(settings: Settings, backend: str) -> str:
    """Return the store of a kind of vault that `--vault` does not name."""
    if backend == "pass":
        return password_store(settings)
    if backend == "age":
        named = _named_passage_store(settings)
        if named is not None:
            return named
        if os.path.isdir(passage_store(settings)):
            return passage_store(settings)
    return settings.default_vault


def password_store(settings: Settings) -> str:
    """Return where pass keeps its store."""
    value = _pass_dir(settings, "pass")
    for name in ("AWS_VAULT_PASS_PASSWORD_STORE_DIR", "PASSWORD_STORE_DIR"):
        value = value or settings.get(name)
    return settings.expand(value) if value else f"{settings.home}/.password-store"


def passage_store(settings: Settings) -> str:
    """Return where passage keeps its store, whether there is one or not."""
    return _named_passage_store(settings) or usual_passage_store(settings)


def usual_passage_store(settings: Settings) -> str:
    """Return where passage keeps its store if nothing names another."""
    return f"{settings.home}/.passage/store"


def _named_passage_store(settings: Settings) -> str | None:
    value = _pass_dir(settings, "age") or settings.get("PASSAGE_DIR")
    return settings.expand(value) if value else None


def _pass_dir(settings: Settings, backend: str) -> str | None:
    """Return `--pass-dir` if it is meant for a kind of store: the one asked for, else `pass`."""
    if settings.options.pass_dir is None:
        return None
    asked, old = settings.backend, settings.aws_vault_backend[0]
    kind = (asked and asked.value) or settings.config.backend or (old and old.value) or "pass"
    return settings.options.pass_dir if kind == backend else None
