"""A stand-in for any service of AWS that notes who signed what, and verifies the signature."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qs

from tests.fakes.server import FakeServer
from tests.fakes.sigv4 import parse_authorization, verify
from tests.fakes.wire import HttpAnswer, HttpRequest

MACHINE_KEY = "ASIATHEMACHINESROLE1"
MACHINE_SECRET = "the-machines-own-secret"
_ROLE = (
    f'{{"AccessKeyId": "{MACHINE_KEY}", "SecretAccessKey": "{MACHINE_SECRET}", "Code": "Success", '
    '"Token": "token", "Expiration": "2099-01-01T00:00:00Z", "Type": "AWS-HMAC"}'
).encode()
_BUCKETS = (
    b'<ListAllMyBucketsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    b"<Owner><ID>x</ID></Owner><Buckets></Buckets></ListAllMyBucketsResult>"
)
_STS = "https://sts.amazonaws.com/doc/2011-06-15/"
_WEB_IDENTITY = (
    f'<AssumeRoleWithWebIdentityResponse xmlns="{_STS}"><AssumeRoleWithWebIdentityResult>'
    f"<Credentials><AccessKeyId>{MACHINE_KEY}</AccessKeyId><SecretAccessKey>{MACHINE_SECRET}"
    "</SecretAccessKey><SessionToken>token</SessionToken><Expiration>2099-01-01T00:00:00Z"
    "</Expiration></Credentials><AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/a/b</Arn>"
    "<AssumedRoleId>a:b</AssumedRoleId></AssumedRoleUser></AssumeRoleWithWebIdentityResult>"
    "</AssumeRoleWithWebIdentityResponse>"
).encode()
_IDENTITY = (
    f'<GetCallerIdentityResponse xmlns="{_STS}"><GetCallerIdentityResult><Arn>arn:aws:iam::1:user/x'
    "</Arn><UserId>x</UserId><Account>1</Account></GetCallerIdentityResult>"
    "</GetCallerIdentityResponse>"
).encode()


class Seen(NamedTuple):
    """One request: what was asked, and which key id signed it with which session token."""

    what: str
    key_id: str
    token: str


class Recorder(FakeServer):
    """Answers S3, STS, DynamoDB, Bedrock, and a machine's or container's role.

    `secrets` has the secret of each key id that is known; others are noted, not verified.
    """

    def __init__(self) -> None:
        super().__init__(self._respond)
        self.seen: list[Seen] = []
        self.secrets = {MACHINE_KEY: MACHINE_SECRET}

    def signers(self) -> set[str]:
        """Return the key ids that signed, and forget the requests."""
        found = {each.key_id for each in self.seen if each.key_id}
        self.seen.clear()
        return found

    def _respond(self, request: HttpRequest) -> HttpAnswer:
        form = parse_qs(request.body.decode("utf-8", "replace"))
        action = form.get("Action", [""])[0] or request.header("X-Amz-Target").rpartition(".")[2]
        what = action or f"{request.method} {request.path}"
        if request.path.startswith("/role"):
            self.seen.append(Seen("the machine's role", "", ""))
            return HttpAnswer(200, _ROLE, "application/json")
        if action == "AssumeRoleWithWebIdentity":
            self.seen.append(Seen(what, "", ""))
            return HttpAnswer(200, _WEB_IDENTITY)
        header = request.header("Authorization")
        if not header.startswith("AWS4-"):
            self.seen.append(Seen(what, header.partition(" ")[0] or "nobody", ""))
            return HttpAnswer(403, b"{}", "application/json")
        found = parse_authorization(request)
        secret = self.secrets.get(found.access_key_id)
        if secret is not None:
            try:
                verify(request, found, secret)
            except Exception as error:  # noqa: BLE001 - a test looks at them
                self.defects.append(error)
        self.seen.append(Seen(what, found.access_key_id, request.header("X-Amz-Security-Token")))
        if action == "GetCallerIdentity":
            return HttpAnswer(200, _IDENTITY)
        if found.service == "s3":
            return HttpAnswer(200, _BUCKETS)
        return HttpAnswer(200, b"{}", "application/x-amz-json-1.0")
