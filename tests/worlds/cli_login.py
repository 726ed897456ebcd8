"""The AWS CLI's file of a login session, written and read with botocore's own code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from botocore.utils import JSONFileCache, LoginTokenLoader
from cryptography.hazmat.primitives import serialization

from filevault.aws.dpop import DpopKey
from filevault.credentials import Credentials
from filevault.sources.login_record import LoginRecord
from filevault.system.times import format_time

FOLDER = ".aws/login/cache"
USER = "arn:aws:iam::123456789012:user/jon"


def sample() -> LoginRecord:
    """Return a login that no AWS has given."""
    made = Credentials(
        "ASIASESSION000000001", "ses0" * 10, "token/" * 30, 2_000_000_000, "123456789012", USER
    )
    pem = DpopKey.generate().pem()
    return LoginRecord(made, "ASOR" + "r" * 300, "arn:aws:signin:::x", pem, "eu-west-1")


def cli_token(record: LoginRecord, *, sec1: bool = True) -> dict[str, Any]:
    """Return a login as the AWS CLI keeps it; its key is SEC 1, in SDKs' test data PKCS #8."""
    made = record.credentials
    key = serialization.load_pem_private_key(record.dpop_key.encode(), None)
    form = serialization.PrivateFormat
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        form.TraditionalOpenSSL if sec1 else form.PKCS8,
        serialization.NoEncryption(),
    )
    return {
        "accessToken": {
            "accessKeyId": made.access_key_id,
            "secretAccessKey": made.secret_access_key,
            "sessionToken": made.session_token,
            "accountId": made.account_id,
            "expiresAt": format_time(made.expiration or 0),
        },
        "tokenType": record.token_type,
        "clientId": record.client_id,
        "refreshToken": record.refresh_token,
        "idToken": record.id_token,
        "dpopKey": pem.decode(),
        "signInRegion": record.region,
    }


def write(home: Path, user: str, token: dict[str, Any]) -> Path:
    """Write the file as the AWS CLI does, and return its path."""
    folder = home / FOLDER
    cache: Any = JSONFileCache(str(folder))
    loader: Any = LoginTokenLoader(cache)
    loader.save_token(user, token)
    (path,) = folder.glob("*.json")
    return path


def read(path: Path) -> dict[str, Any]:
    """Read the file."""
    found: dict[str, Any] = json.loads(path.read_text())
    return found
