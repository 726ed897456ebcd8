"""botocore and filevault understand each other's login sessions, and ask AWS for the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from filevault.sources.login_record import LoginRecord, record_name
from tests.fakes import FakeAws
from tests.fakes.wire import HttpRequest
from tests.unit.test_login_session import Keeping
from tests.unit.test_login_tokens import REGION
from tests.worlds import cli_login

pytest.importorskip("awscrt", reason="botocore needs awscrt for login sessions")


class Both:
    """A login that filevault keeps, and botocore with the file made of it."""

    def __init__(self, keeping: Keeping, home: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.keeping = keeping
        self.home = home
        self.requests: list[HttpRequest] = []
        real = keeping.aws.login.identify

        def identify(request: HttpRequest) -> Any:
            self.requests.append(request)
            return real(request)

        monkeypatch.setattr(keeping.aws.login, "identify", identify)
        config = home / "config"
        config.write_text(
            f"[profile work]\nregion = us-west-2\nlogin_session = {keeping.user.arn}\n"
        )
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
        monkeypatch.setenv("AWS_LOGIN_CACHE_DIRECTORY", str(home / cli_login.FOLDER))
        base = f"{keeping.aws.url}/signin/{REGION}"
        monkeypatch.setenv("AWS_ENDPOINT_URL_SIGNIN", base)

    def write(self, **changes: Any) -> Any:
        token = {**cli_login.cli_token(self.keeping.kept(), **changes), "idToken": "a.b.c"}
        return cli_login.write(self.home, self.keeping.user.arn, token)

    def botocore(self) -> Any:
        import botocore.session

        return botocore.session.Session(profile="work").get_credentials()


@pytest.fixture
def both(aws: FakeAws, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Both]:
    (tmp_path / "state").mkdir()
    keeping = Keeping(aws, tmp_path / "state")
    keeping.sign_in()
    yield Both(keeping, tmp_path, monkeypatch)
    keeping.folder.close()


@pytest.mark.parametrize("sec1", [True, False])
def test_botocore_reads_and_refreshes_a_file_made_of_the_record(both: Both, sec1: bool) -> None:
    both.write(sec1=sec1)
    made = both.keeping.get()
    found = both.botocore().get_frozen_credentials()
    assert (found.access_key, found.secret_key, found.token, found.account_id) == (
        made.access_key_id,
        made.secret_access_key,
        made.session_token,
        "123456789012",
    )
    over = both.keeping.kept()
    both.keeping.store.replace(
        both.keeping.name,
        over._replace(credentials=over.credentials._replace(expiration=1)).record(),
    )
    path = both.write(sec1=sec1)
    fresh = both.botocore().get_frozen_credentials()
    assert both.keeping.aws.session(fresh.access_key).kind == "login"
    assert cli_login.read(path)["refreshToken"] != over.refresh_token


def test_both_send_the_same_request_but_for_time_and_proof(both: Both) -> None:
    both.keeping.aws.login.idempotent = True
    record = both.keeping.kept()
    ended = record._replace(credentials=record.credentials._replace(expiration=1))
    both.keeping.store.replace(both.keeping.name, ended.record())
    both.write()
    both.requests.clear()
    both.botocore().get_frozen_credentials()
    both.keeping.store.replace(both.keeping.name, ended.record())
    both.keeping.get()
    theirs, ours = (each for each in both.requests if each.path.endswith("/v1/token"))
    assert ours.target == theirs.target
    assert json.loads(ours.body) == json.loads(theirs.body)
    assert list(json.loads(ours.body)) == list(json.loads(theirs.body))
    assert ours.header("Content-Type") == theirs.header("Content-Type")
    assert ours.header("Authorization") == theirs.header("Authorization") == ""
    proofs = [_parts(each.header("DPoP")) for each in (theirs, ours)]
    assert proofs[0][0] == proofs[1][0]
    assert [list(each[1]) for each in proofs] == [["htm", "htu", "iat", "jti"]] * 2
    assert proofs[0][1]["htu"] == proofs[1][1]["htu"]


def _parts(proof: str) -> list[dict[str, Any]]:
    import base64

    return [
        json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        for part in proof.split(".")[:2]
    ]


def test_a_file_that_botocore_has_refreshed_is_what_filevault_would_keep(both: Both) -> None:
    record = both.keeping.kept()
    ended = record._replace(credentials=record.credentials._replace(expiration=1))
    both.keeping.store.replace(both.keeping.name, ended.record())
    path = both.write()
    fresh = both.botocore().get_frozen_credentials()
    token = cli_login.read(path)
    given = token["accessToken"]
    assert given["accessKeyId"] == fresh.access_key
    adopted = ended._replace(
        credentials=ended.credentials._replace(
            access_key_id=given["accessKeyId"],
            secret_access_key=given["secretAccessKey"],
            session_token=given["sessionToken"],
            expiration=int(both.keeping.aws.clock()) + 900,
        ),
        refresh_token=token["refreshToken"],
    )
    assert token["dpopKey"] == cli_login.cli_token(ended)["dpopKey"]
    both.keeping.store.replace(record_name(both.keeping.user.arn), adopted.record())
    assert LoginRecord.of(adopted.record()) == adopted
    both.keeping.aws.clock.advance(900)
    assert both.keeping.get().access_key_id != fresh.access_key
