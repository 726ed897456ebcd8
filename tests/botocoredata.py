"""botocore's data files, read once for all runs of the program inside one test process.

Each run makes a botocore session of its own, which parses a megabyte of JSON: most of the time
that a forked child takes. Whole processes start without this, as production does.
"""

from __future__ import annotations

import functools
from typing import Any


@functools.cache
def keep() -> None:
    """Let every loader of this process share what was read, and read what STS and IAM need."""
    import botocore.session
    from botocore.loaders import JSONFileLoader

    read = JSONFileLoader.load_file
    loader = JSONFileLoader()
    kept = functools.cache(functools.partial(read, loader))

    def load_file(_self: object, path: str) -> Any:
        return kept(path)

    setattr(JSONFileLoader, "load_file", load_file)  # noqa: B010 - mypy would refuse a plain one
    session = botocore.session.Session()
    for service in ("iam", "sts"):
        session.create_client(
            service, "eu-west-1", aws_access_key_id="x", aws_secret_access_key="x"
        )
    session.get_partition_for_region("eu-west-1")
