"""botocore's data and signatures, cached for all runs of filevault inside one test process.

Each run makes a botocore session, which parses a megabyte of JSON and looks through the folders
of four hundred services: most of the time that a forked child takes. Whole processes start
without this, as production does.
"""

from __future__ import annotations

import functools
from types import FunctionType
from typing import Any


@functools.cache
def keep() -> None:
    """Let every botocore session of this process share that, and read what STS and IAM need."""
    import botocore.session

    _share_loaded_files()
    _share_signatures()
    _share_event_names()
    session = botocore.session.Session()
    for service in ("iam", "sts"):
        session.create_client(
            service, "eu-west-1", aws_access_key_id="x", aws_secret_access_key="x"
        )
    session.get_partition_for_region("eu-west-1")


def _share_loaded_files() -> None:
    """Let loaders that look in the same folders share one cache."""
    from botocore.loaders import Loader

    init = Loader.__init__
    caches: dict[tuple[str, ...], dict[Any, Any]] = {}

    def sharing_init(self: Any, *args: Any, **named: Any) -> None:
        init(self, *args, **named)
        self._cache = caches.setdefault(tuple(self.search_paths), {})

    _replace(Loader, "__init__", sharing_init)


def _share_signatures() -> None:
    """Inspect each function that handles events once."""
    from botocore import hooks

    accepts = hooks.accepts_kwargs
    kept = functools.cache(accepts)

    def accepts_kwargs(handler: Any) -> Any:
        return (kept if isinstance(handler, FunctionType) else accepts)(handler)

    _replace(hooks, "accepts_kwargs", accepts_kwargs)


def _share_event_names() -> None:
    """Translate each old name of an event once; the names are the same for all sessions."""
    from botocore.hooks import EVENT_ALIASES, EventAliaser

    init = EventAliaser.__init__
    names: dict[str, str] = {}

    def sharing_init(self: Any, event_emitter: Any, event_aliases: Any = None) -> None:
        init(self, event_emitter, event_aliases)
        if event_aliases is None or event_aliases == EVENT_ALIASES:
            self._alias_name_cache = names

    _replace(EventAliaser, "__init__", sharing_init)


def _replace(owner: object, name: str, function: object) -> None:
    """Set an attribute as an assignment would, which mypy refuses."""
    setattr(owner, name, function)
