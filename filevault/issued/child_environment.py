"""The environment of a command that gets issued credentials."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from filevault.config.aws_variables import (
    MARKER,
    OVERRIDDEN,
    is_removed,
    is_setting,
    marker_text,
)
from filevault.issued.issued_credentials import check_value

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from filevault.issued.issued_credentials import IssuedCredentials

_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")


def child_environment(
    parent: Mapping[str, str], issued: IssuedCredentials, hidden: Collection[str] = ()
) -> dict[str, str]:
    """Return the environment of a command: the parent's, cleaned, with the issued credentials.

    Variables of other credentials, such as a stale AWS_PROFILE, are removed. `parent` contains
    neither sources of secrets nor settings of an outer filevault: `filevault.config.settings`
    has removed both. `hidden` are further variables that the command does not inherit. Raises
    FilevaultError for a value with forbidden characters.
    """
    child = {
        name: value
        for name, value in parent.items()
        if not is_removed(name, value) and name not in hidden
    }
    child["AWS_VAULT"] = issued.profile
    found = issued.unchecked_variables()
    for name, value in found.items():
        if parent.get(name) != value:  # the user's own value passes as it is
            check_value(name, value)
    child.update(found)
    if issued.sdk_profile is not None:
        # An SDK that cannot read the profile, as from a locked vault, must fail: the JavaScript
        # SDK would fall back to the machine's role.
        child["AWS_EC2_METADATA_DISABLED"] = "true"
    if issued.metadata is not None:
        # Any value turns the JavaScript SDK v2 (2.1693) off, `false` as well.
        child.pop("AWS_EC2_METADATA_DISABLED", None)
        child["AWS_EC2_METADATA_V1_DISABLED"] = "false" if issued.metadata.version_1 else "true"
    if issued.container is not None or issued.metadata is not None:
        # Every SDK prefers a static [default] to an endpoint; the second is of the Java SDK v1.
        child["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
        child["AWS_CREDENTIAL_PROFILES_FILE"] = os.devnull
        # Without it the JavaScript SDK v2 (2.1693) reads ~/.aws/credentials whatever the first is.
        child["AWS_SDK_LOAD_CONFIG"] = "1"
    settings = {
        name: value
        for name, value in found.items()
        if is_setting(name) and not _is_inherited(parent.get(name), name, value)
    }
    overridden = [name for name in OVERRIDDEN if child.get(name) != parent.get(name)]
    settings |= {name: child[name] for name in overridden if name in child}
    former = {name: parent[name] for name in overridden if name in parent}
    if settings or former:
        child[MARKER] = marker_text(settings, former)
    return child


def _is_inherited(inherited: str | None, name: str, value: str) -> bool:
    """Return whether a setting comes from the user's variable, which only `--region` overrides."""
    return bool(inherited) and (inherited == value or name not in _REGIONS)
