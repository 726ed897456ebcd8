"""A profile with every setting decided, and the chain of profiles that it needs.

Pure: config and overrides go in, a `Profile` comes out; no key is read. A loop is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filevault.config.aws_variables import ChildSettings
from filevault.config.credential_source import choose_source
from filevault.config.inheritance import (
    Inheritance,
    ProfileSetting,
    comment_hint,
    not_found,
    profile_header,
    single_line,
)
from filevault.errors import ConfigError
from filevault.system.printable import printable
from filevault.system.record import Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from filevault.config.aws_config import AwsConfig
    from filevault.config.credential_process import ExportCommand
    from filevault.config.overrides import Overrides


METADATA = (
    "ec2_instance_profile_name",
    "ec2_metadata_service_endpoint",
    "ec2_metadata_service_endpoint_mode",
    "metadata_service_num_attempts",
    "metadata_service_timeout",
)
"""The keys about the metadata service of EC2, which SDKs read as well."""


class Profile(Record):
    """A profile with every setting decided.

    `source` is the credential source: `stored`, a key of `credential_source.SETTINGS`, or `none`.
    `source_where` is the setting that names it, with file and line, for `none` that of the role.
    `shadowed` are the settings that name sources which are not used. The endpoint URLs
    of services are the effective ones; `endpoint_url` is the general one. `account_id` is
    `aws_account_id`, `child` the other settings that a command gets. `warnings` are sentences
    about lines of the config that have no effect. `metadata_settings` has the keys of METADATA that
    are set.
    """

    name: str
    region: str | None
    endpoint_url: str | None
    sts_endpoint_url: str | None
    iam_endpoint_url: str | None
    sso_endpoint_url: str | None
    sso_oidc_endpoint_url: str | None
    signin_endpoint_url: str | None
    sts_regional_endpoints: str | None
    use_fips_endpoint: bool
    use_dualstack_endpoint: bool
    mfa_serial: str | None
    mfa_process: str | None
    role_arn: str | None
    external_id: str | None
    role_session_name: str | None
    duration_seconds: int | None
    session_tags: tuple[tuple[str, str], ...]
    transitive_session_tags: tuple[str, ...]
    source_identity: str | None
    source: str
    source_where: str | None
    source_profile: Profile | None
    shadowed: tuple[str, ...]
    warnings: tuple[str, ...]
    sso_start_url: str | None
    sso_region: str | None
    sso_account_id: str | None
    sso_role_name: str | None
    sso_session: str | None
    sso_registration_scopes: str | None
    web_identity_token_file: str | None
    web_identity_token_process: str | None
    web_identity_token_env: str | None
    web_identity_token_source: str | None
    web_identity_token_audience: str | None
    credential_process: str | None
    credential_source: str | None
    metadata_settings: tuple[tuple[str, str], ...]
    login_session: str | None
    account_id: str | None
    child: ChildSettings

    @property
    def chain(self) -> list[Profile]:
        """The profiles that lead to this one: where the credentials begin first, this one last."""
        chain = [self]
        while chain[0].source == "profile" and chain[0].source_profile is not None:
            chain.insert(0, chain[0].source_profile)
        return chain


def resolve(
    config: AwsConfig,
    name: str,
    *,
    overrides: Overrides,
    has_item: Callable[[str], bool],
    follows: Callable[[ExportCommand], bool] = lambda _: False,
) -> Profile:
    """Decide every setting of a profile and of the profiles in its chain.

    `has_item` returns whether a key is stored under exactly that name, `follows` whether a
    `credential_process` that runs filevault would use the same vault as this run: its profile
    then counts as the `source_profile`, unless further options change what it prints.

    Raises:
        ProfileNotFoundError: if it, or one it refers to, has neither section nor stored key.
        ProfileLoopError: if profiles refer to each other in a loop.
        ConfigError: if a value cannot be used, or too many profiles follow each other.
    """
    links: list[tuple[Inheritance, bool]] = []
    referrer: ProfileSetting | None = None
    while True:
        section = config.profile(name)
        stored = has_item(name)
        if section is None and not stored:
            raise not_found(config, name, referrer)
        settings = Inheritance(config, name, section)
        links.append((settings, stored))
        referrer = (
            None if stored else settings.find("source_profile") or _exported(settings, follows)
        )
        # A profile that names itself means its own key (AWS CLI); without one it means nothing.
        if referrer is None or referrer.value == name:
            break
        name = referrer.value
        from filevault.config.profile_loop import refuse_loop

        refuse_loop([each.name for each, _stored in links], name, referrer.key)
    profile: Profile | None = None
    for settings, stored in reversed(links[1:]):
        profile = _decide(settings, stored, profile, overrides.for_parents(), follows)
    return _decide(*links[0], profile, overrides, follows)


_BEFORE_PROCESS = (
    "role_arn",
    "sso_session",
    "sso_start_url",
    "web_identity_token_file",
    "web_identity_token_process",
    "web_identity_token_source",
    "web_identity_token_env",
)


def _exported(
    settings: Inheritance, follows: Callable[[ExportCommand], bool]
) -> ProfileSetting | None:
    """Return the profile that filevault exports by the section's `credential_process`."""
    process = settings.find("credential_process")
    if process is None or any(settings.find(key) for key in _BEFORE_PROCESS):
        return None
    from filevault.config.credential_process import parse

    command = parse(process.value)
    if command is None or not command.plain or not follows(command):
        return None
    return ProfileSetting(process.key, command.profile, process.section)


def _decide(
    settings: Inheritance,
    stored: bool,
    source_profile: Profile | None,
    overrides: Overrides,
    follows: Callable[[ExportCommand], bool],
) -> Profile:
    text = settings.text
    raw = settings.raw
    sso_session = raw("sso_session")
    sso = {key: text(key) for key in ("sso_start_url", "sso_region", "sso_registration_scopes")}
    source = choose_source(
        settings,
        stored=stored,
        has_source_profile=source_profile is not None,
        follows=follows,
    )
    if sso_session:
        session = settings.session(sso_session)
        if session is not None:
            sso |= session
        elif source.name == "sso":
            raise _no_session(settings.find("sso_session"), sso_session)
    is_sso = source.name == "sso"
    endpoint_url = _general_endpoint(settings, overrides)
    mfa_process = raw("mfa_process")
    if mfa_process is None and source_profile is not None:
        mfa_process = source_profile.mfa_process
    session_tags = _written(settings, "session_tags", overrides.session_tags, "AWS_SESSION_TAGS")
    tag_keys = _written(
        settings,
        "transitive_session_tags",
        overrides.transitive_session_tags,
        "AWS_TRANSITIVE_TAGS",
    )
    return Profile(
        name=settings.name,
        region=overrides.region or settings.region(),
        endpoint_url=endpoint_url,
        sts_endpoint_url=_endpoint(settings, overrides, "sts"),
        iam_endpoint_url=_endpoint(settings, overrides, "iam"),
        sso_endpoint_url=_endpoint(settings, overrides, "sso") if is_sso else None,
        sso_oidc_endpoint_url=_endpoint(settings, overrides, "sso_oidc") if is_sso else None,
        signin_endpoint_url=_endpoint(settings, overrides, "signin"),
        sts_regional_endpoints=_sts_mode(settings, overrides),
        use_fips_endpoint=_switch(settings, "use_fips_endpoint", overrides.use_fips_endpoint),
        use_dualstack_endpoint=_switch(
            settings, "use_dualstack_endpoint", overrides.use_dualstack_endpoint
        ),
        mfa_serial=overrides.mfa_serial or text("mfa_serial"),
        mfa_process=mfa_process,
        role_arn=overrides.role_arn or text("role_arn"),
        external_id=text("external_id"),
        role_session_name=overrides.role_session_name or text("role_session_name"),
        duration_seconds=settings.duration(),
        session_tags=() if session_tags is None else _session_tags(*session_tags),
        transitive_session_tags=() if tag_keys is None else _tag_keys(*tag_keys),
        source_identity=overrides.source_identity or text("source_identity"),
        source=source.name,
        source_where=source.where,
        source_profile=source_profile,
        shadowed=source.unused,
        warnings=_warnings(settings),
        sso_start_url=sso["sso_start_url"],
        sso_region=sso["sso_region"],
        sso_account_id=text("sso_account_id"),
        sso_role_name=text("sso_role_name"),
        sso_session=sso_session,
        sso_registration_scopes=sso["sso_registration_scopes"],
        web_identity_token_file=text("web_identity_token_file"),
        web_identity_token_process=raw("web_identity_token_process"),
        web_identity_token_env=text("web_identity_token_env"),
        web_identity_token_source=text("web_identity_token_source"),
        web_identity_token_audience=text("web_identity_token_audience"),
        credential_process=raw("credential_process"),
        credential_source=text("credential_source"),
        metadata_settings=tuple((key, value) for key in METADATA if (value := text(key))),
        login_session=text("login_session"),
        account_id=settings.account_id(),
        child=_child(settings, overrides),
    )


def _warnings(settings: Inheritance) -> tuple[str, ...]:
    """Return sentences about lines that have no effect."""
    found = []
    shown = printable(settings.name)
    parent = settings.find("parent_profile")
    if parent is not None:
        found.append(
            f"{parent.where} has no effect: AWS Vault has called it include_profile since version 7"
        )
    if not settings.own:
        header = settings.config.unread_header(settings.name)
        if header is not None:
            found.append(
                f"the section [{printable(header)}] in {printable(settings.config.path)!r} has no "
                f"effect on profile {shown!r}: write {profile_header(settings.name)}"
            )
    return tuple(found)


def _sts_mode(settings: Inheritance, overrides: Overrides) -> str | None:
    """Return `sts_regional_endpoints`, in lower case as botocore compares it."""
    override = overrides.sts_regional_endpoints
    given = override or settings.text("sts_regional_endpoints")
    if given is None or given.lower() in ("regional", "legacy"):
        return given and given.lower()
    setting = settings.find("sts_regional_endpoints")
    where = "AWS_STS_REGIONAL_ENDPOINTS" if override or setting is None else setting.where
    raise ConfigError(
        f"{where} is neither regional nor legacy: {printable(given, 80)!r}",
        hint=comment_hint(given),
    )


def _child(settings: Inheritance, overrides: Overrides) -> ChildSettings:
    """Return the settings that an SDK would read from the profile's section.

    A service's variable goes before the general variable, and that before `[services]`.
    """
    variables = overrides.endpoint_urls
    ignoring = _ignores_endpoints(settings, overrides)
    services: dict[str, str] = {}
    if not ignoring:
        if not variables.get(""):
            services |= settings.services_endpoints()
        services |= {service: url for service, url in variables.items() if service and url}

    return ChildSettings(
        service_endpoints=tuple(services.items()),
        ignore_configured_endpoint_urls=ignoring,
        use_fips_endpoint=_switch(settings, "use_fips_endpoint", overrides.use_fips_endpoint),
        use_dualstack_endpoint=_switch(
            settings, "use_dualstack_endpoint", overrides.use_dualstack_endpoint
        ),
        sts_regional_endpoints=_sts_mode(settings, overrides),
        account_id_endpoint_mode=overrides.account_id_endpoint_mode
        or settings.text("account_id_endpoint_mode"),
        ca_bundle=overrides.ca_bundle or settings.text("ca_bundle"),
    )


def _no_session(setting: ProfileSetting | None, name: str) -> ConfigError:
    where = "sso_session" if setting is None else setting.where
    return ConfigError(
        f"{where} names the section [sso-session {printable(name)}], which does not exist"
    )


def _switch(settings: Inheritance, key: str, override: bool | None) -> bool:
    """Return a setting that is on or off; as for botocore, everything but `true` is off."""
    return (settings.text(key) or "").lower() == "true" if override is None else override


def _ignores_endpoints(settings: Inheritance, overrides: Overrides) -> bool:
    ignoring = overrides.ignore_configured_endpoints or None
    return _switch(settings, "ignore_configured_endpoint_urls", ignoring)


def _general_endpoint(settings: Inheritance, overrides: Overrides) -> str | None:
    if _ignores_endpoints(settings, overrides):
        return None
    return overrides.endpoint_urls.get("") or settings.text("endpoint_url")


def _endpoint(settings: Inheritance, overrides: Overrides, service: str) -> str | None:
    """Return the endpoint of one service (botocore ConfiguredEndpointProvider).

    The service's variable, the general variable, the `[services]` section, the profile's own.
    """
    if _ignores_endpoints(settings, overrides):
        return None
    variables = overrides.endpoint_urls
    return (
        variables.get(service)
        or variables.get("")
        or settings.services_endpoint(service)
        or settings.text("endpoint_url")
    )


def _written(
    settings: Inheritance, key: str, override: str | None, variable: str
) -> tuple[str, str] | None:
    """Return a value of several parts, and where it was set, for messages."""
    if override:
        return override, variable
    setting = settings.find(key)
    return None if setting is None else (setting.value, setting.where)


def _session_tags(text: str, where: str) -> tuple[tuple[str, str], ...]:
    """Parse `key=value,key=value`; there is no way to write a comma into a value."""
    tags: dict[str, str] = {}
    for piece in text.split(","):
        key, separator, value = (part.strip() for part in piece.partition("="))
        if not separator or not key:
            raise ConfigError(
                f"{where} is not of the form key=value,key=value: {printable(text, 80)!r}",
                hint=comment_hint(text),
            )
        if key in tags:
            raise ConfigError(f"{where} has the tag {printable(key, 80)!r} twice")
        tags[single_line(key, where)] = single_line(value, where)
    return tuple(tags.items())


def _tag_keys(text: str, where: str) -> tuple[str, ...]:
    """Parse `key,key`; empty pieces are dropped."""
    pieces = (piece.strip() for piece in text.split(","))
    return tuple(single_line(piece, where) for piece in pieces if piece)
