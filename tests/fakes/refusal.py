"""What a service answers when it does not do what was asked."""

from __future__ import annotations


class Refusal(Exception):  # noqa: N818  it is an answer of the service, not a failure of the fake
    """An error response: AWS's code, its message and the HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(code, message, status)
        self.code = code
        self.message = message
        self.status = status


def access_denied(message: str) -> Refusal:
    """Refuse for want of permission."""
    return Refusal("AccessDenied", message, 403)


def invalid_token() -> Refusal:
    """Refuse an access key id or session token that means nothing to the service."""
    return Refusal(
        "InvalidClientTokenId", "The security token included in the request is invalid.", 403
    )


def validation_error(message: str) -> Refusal:
    """Refuse a parameter."""
    return Refusal("ValidationError", message, 400)


def invalid_value(message: str) -> Refusal:
    """Refuse a combination of parameters."""
    return Refusal("InvalidParameterValue", message, 400)
