"""The request for a token to the service of a CI system."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from filevault.errors import ConfigError, ProviderError
from filevault.identity_tokens.way import checked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filevault.identity_tokens.way import TokenRequest

_OPERATION = "the request for a web identity token"
_TIMEOUT = 10.0  # seconds for an attempt
_ATTEMPTS = 3


def required(request: TokenRequest, names: tuple[str, ...], hint: str) -> dict[str, str]:
    """Return the values of variables that a CI system sets, without white space around them.

    Raises ProviderError without one, ConfigError for a value that can be no part of a request.
    """
    found = {name: (request.settings.get(name) or "").strip() for name in names}
    missing = [name for name, value in found.items() if not value]
    if missing:
        raise ProviderError(
            f"{request.subject} needs a web identity token, but {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not set",
            hint=hint,
        )
    for name, value in found.items():
        # The error of an HTTP library about a header contains the header.
        if not (value.isascii() and value.isprintable()):
            raise ConfigError(f"{name} contains a line end or another forbidden character")
    return found


def fetched(
    request: TokenRequest,
    method: str,
    url: str,
    authorization: str,
    *,
    field: str,
    setting: str,
    service: str,
    body: Mapping[str, str] | None = None,
) -> str:
    """Ask a CI system's service for a token and return it.

    Args:
        request: as for a way.
        method: of HTTP.
        url: where the service is; https, or http on the loopback interface.
        authorization: the header with the secret that lets the job ask.
        field: the token's name in the answer, a JSON object.
        setting: the variable with the URL, for messages.
        service: the service's name, for messages.
        body: sent as JSON, None for no body.

    Raises ConfigError for an unsafe URL, ProviderError if the service refuses, NetworkError.
    """
    from filevault.aws.endpoint import check_url
    from filevault.aws.http_request import HttpRequest

    check_url(url, allow_http=request.allow_http, setting=setting)
    headers = {"Accept": "application/json", "Authorization": authorization}
    data = b""
    if body is not None:
        headers["Content-Type"] = "application/json"
        data = json.dumps(body).encode("ascii")
    answer = HttpRequest(method, url, headers, data).send(
        operation=_OPERATION,
        subject=request.subject,
        seconds=_TIMEOUT,
        attempts=_ATTEMPTS,
        ca_bundle=request.ca_bundle,
        say=request.say,
    )
    if answer.status >= 400 or answer.status in range(300, 400):
        raise ProviderError(
            f"{service} refused {request.subject} a web identity token: status {answer.status}",
            hint="the job may have ended, or lack the permission to ask for tokens",
        )
    token = answer.json().get(field)
    if not isinstance(token, str):
        raise ProviderError(f"{service} answered {request.subject} without a token")
    return checked(token, f"the token of {service}")
