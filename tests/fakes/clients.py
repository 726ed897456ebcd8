"""Real boto3 clients for the fake, without retries unless asked for.

They leave the checking of parameters to the fake: botocore would refuse some values by itself.
"""

from __future__ import annotations

import functools
from typing import Any

import boto3
from botocore.config import Config

from tests.fakes.identities import IamKey, Session, User


@functools.cache
def _session() -> Any:
    return boto3.session.Session()


def client(
    service: str,
    url: str,
    access_key_id: str,
    secret_access_key: str,
    session_token: str | None = None,
    *,
    region: str = "us-east-1",
    attempts: int = 1,
    timeout: float = 20.0,
) -> Any:
    """Make a client of a service at a URL."""
    return _session().client(
        service,
        endpoint_url=url,
        region_name=region,
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret_access_key,
        aws_session_token=session_token,
        config=Config(
            retries={"total_max_attempts": attempts, "mode": "standard"},
            connect_timeout=timeout,
            read_timeout=timeout,
            max_pool_connections=64,
            parameter_validation=False,
            proxies={},
        ),
    )


def client_of(
    service: str, url: str, holder: User | IamKey | Session | dict[str, Any], **options: Any
) -> Any:
    """Make a client with the credentials of a user, key or session, or of an STS answer."""
    if isinstance(holder, dict):
        credentials = holder.get("Credentials", holder)
        return client(
            service,
            url,
            credentials["AccessKeyId"],
            credentials["SecretAccessKey"],
            credentials.get("SessionToken"),
            **options,
        )
    token = holder.session_token if isinstance(holder, Session) else None
    return client(service, url, holder.access_key_id, holder.secret_access_key, token, **options)
