"""Which way a profile gets its web identity token."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filevault.errors import ConfigError
from filevault.system.printable import printable

if TYPE_CHECKING:
    from filevault.config.profile import Profile
    from filevault.identity_tokens.way import TokenWay

_AUDIENCE = "sts.amazonaws.com"
"""The audience that IAM's console proposes for an identity provider."""
_GITLAB_NAME = "GITLAB_OIDC_TOKEN"
_SYSTEMS = ("github", "gitlab", "circleci", "buildkite", "bitbucket")


def way_of(profile: Profile) -> TokenWay:
    """Return the way that a profile names. Raises ConfigError for a value that cannot be used."""
    name = printable(profile.name)
    if profile.web_identity_token_file is not None:
        from filevault.identity_tokens.file import FileToken

        return FileToken(profile.web_identity_token_file)
    if profile.web_identity_token_process is not None:
        from filevault.identity_tokens.process import ProcessToken

        return ProcessToken(profile.web_identity_token_process)
    variable, system = profile.web_identity_token_env, profile.web_identity_token_source
    if variable is not None and not re.match(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z", variable):
        raise ConfigError(
            f"web_identity_token_env of profile {name!r} is no name of a variable: "
            f"{printable(variable, 80)!r}",
            hint="it names the variable that contains the token; the token itself never "
            "belongs into a file",
        )
    if system is None:
        from filevault.identity_tokens.variable import VariableToken

        return VariableToken((variable or "",), "the job must set it")
    return _of_system(profile, system, variable)


def _of_system(profile: Profile, system: str, variable: str | None) -> TokenWay:
    """Return the way of a CI system, by the value of `web_identity_token_source`."""
    from filevault.identity_tokens.variable import VariableToken

    asked = profile.web_identity_token_audience
    if asked is not None and not re.match(r"[!-~]{1,1024}\Z", asked):
        raise ConfigError(
            f"web_identity_token_audience of profile {printable(profile.name)!r} contains other "
            "than printable ASCII characters"
        )
    if system == "github":
        from filevault.identity_tokens.github import GithubToken

        return GithubToken(asked or _AUDIENCE)
    if system == "buildkite":
        from filevault.identity_tokens.buildkite import BuildkiteToken

        return BuildkiteToken(asked or _AUDIENCE)
    if system == "circleci":
        from filevault.identity_tokens.circleci import NAMES, CircleciToken

        if asked is not None:
            return CircleciToken(asked)
        return VariableToken(NAMES, "CircleCI sets it in jobs that use a context")
    if system == "gitlab":
        return VariableToken(
            (variable or _GITLAB_NAME,),
            f"in GitLab the job needs `id_tokens: {variable or _GITLAB_NAME}: aud: AUDIENCE`",
        )
    if system == "bitbucket":
        return VariableToken(
            ("BITBUCKET_STEP_OIDC_TOKEN",), "in Bitbucket the step needs `oidc: true`"
        )
    raise ConfigError(
        f"web_identity_token_source of profile {printable(profile.name)!r} is "
        f"{printable(system, 80)!r}, which filevault does not know",
        hint=f"choose one of {', '.join(_SYSTEMS)}",
    )
